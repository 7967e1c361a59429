"""Showing how far a training is: a bar where there is a terminal and rich, else a few plain lines."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import Any

#: Plain lines that a whole training prints, about.
LINES = 20

#: Seconds between two redrawings of the bar; a step of a tiny net takes less than drawing.
REDRAW = 0.1

#: Part that the newest loss has in the one that the bar shows: single batches jump.
NEWEST = 0.05

#: Characters of the bar, and what stands around it.
BAR, FIELDS = 12, ("epoch", "left", "speed", "text")


def spoken(seconds: float) -> str:
    """A duration in words.

    Examples
    --------
    >>> from fastconv.nn.progress import spoken
    >>> spoken(4.23), spoken(59.7), spoken(75), spoken(3599.6), spoken(3720)
    ('4.2 s', '1 min 0 s', '1 min 15 s', '1 h 0 min', '1 h 2 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Progress:
    """Keeps count, and shows nothing; also the base of those that do. A context manager.

    Parameters
    ----------
    epochs : int
    batches : int or None
        Of an epoch; None until one has shown it.
    """

    def __init__(self, epochs: int, batches: int | None) -> None:
        self._epochs, self._batches = epochs, batches
        self._begun = time.perf_counter()
        self._number = self._first = self._done = self._examples = 0

    def begin(self, epochs: int, batches: int) -> None:
        """The training begins, or goes on after so many of them: these took no time of now."""
        self._number, self._first, self._done = epochs, batches, batches
        self._begun = time.perf_counter()

    def batch(self, done: int, examples: int, loss: float) -> None:
        """So many batches of the whole training are done, the last with so many examples and this loss."""
        self._done = done
        self._examples += examples

    def epoch(self, number: int, text: str) -> None:
        """Epoch `number` (from 1) is over; `text` says how it went."""
        self._number = number
        if self._batches is None:
            self._batches = max(1, round(self._done / number))

    def close(self) -> None:
        """Nothing more will be shown."""

    @property
    def speed(self) -> float:
        """Examples learned from per second, since it began or went on."""
        return self._examples / max(time.perf_counter() - self._begun, 1e-9)

    @property
    def left(self) -> float:
        """Seconds that the rest will take, if it goes on like this; NaN while that is unknown."""
        done = self._done - self._first
        if self._batches is None or not done:
            return math.nan
        rest = max(0, self._epochs * self._batches - self._done)
        return rest * (time.perf_counter() - self._begun) / done

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Lines(Progress):
    def epoch(self, number: int, text: str) -> None:
        super().epoch(number, text)
        if number % math.ceil(self._epochs / LINES) == 0 or number in (1, self._epochs):
            count = f"{number:>{len(str(self._epochs))}}/{self._epochs}"
            clock = f"{self.speed:,.0f} a second, {spoken(self.left)} left"
            sys.stderr.write(f"epoch {count}  {text}; {clock}\n")


class _Bar(Progress):
    def __init__(self, rich_progress: Any, console: Any, epochs: int, batches: int | None) -> None:
        super().__init__(epochs, batches)
        self._console = console
        texts = [rich_progress.TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in FIELDS]
        bar = rich_progress.BarColumn(BAR)
        self._bar = rich_progress.Progress(texts[0], bar, *texts[1:], console=console)
        self._loss, self._told = math.nan, ""
        self._task = self._bar.add_task("", total=None, **dict.fromkeys(FIELDS, ""))
        self._drawn = -math.inf
        self._bar.start()

    def batch(self, done: int, examples: int, loss: float) -> None:
        super().batch(done, examples, loss)
        self._loss = loss if math.isnan(self._loss) else self._loss + NEWEST * (loss - self._loss)
        now = time.perf_counter()
        if now - self._drawn > REDRAW:
            self._drawn = now
            text = f"now {self._loss:.4g}; {self._told}" if self._told else f"loss {self._loss:.4g}"
            text = text if self._batches is not None else f"{done:,} batches, {text}"
            self._draw(min(self._number + 1, self._epochs), text)

    def epoch(self, number: int, text: str) -> None:
        super().epoch(number, text)
        self._loss, self._told = math.nan, text
        self._draw(number, text)

    def _draw(self, number: int, text: str) -> None:
        left = self.left
        told = {
            "epoch": f"epoch {number}/{self._epochs}",
            "left": "" if math.isnan(left) else f"{spoken(left)} left",
            "speed": f"{self.speed:,.0f}/s",
        }
        # on a narrow terminal it is the text about the last epoch that gets cut
        room = self._console.width - BAR - len(FIELDS) - sum(map(len, told.values()))
        # without a number of batches the bar runs to and fro
        total = None if self._batches is None else self._epochs * self._batches
        self._bar.update(self._task, total=total, completed=self._done, text=text[: max(room, 0)], **told)

    def close(self) -> None:
        self._bar.update(self._task, completed=self._done)
        self._bar.stop()


def open_progress(wanted: bool | None, epochs: int, batches: int | None) -> Progress:
    """The progress display for `fit(progress=wanted)`; everything goes to stderr. `batches` are of an epoch.

    None: a bar if stderr is a terminal and rich is installed, else lines. True: a bar if rich is installed,
    else lines. False: nothing.
    """
    if wanted is not None and not isinstance(wanted, bool):
        raise TypeError(f"progress={wanted!r}: must be True, False or None")
    if wanted is False:
        return Progress(epochs, batches)
    if wanted or sys.stderr.isatty():
        try:
            from rich import console, progress
        except ImportError:
            return _Lines(epochs, batches)
        return _Bar(progress, console.Console(stderr=True), epochs, batches)
    return _Lines(epochs, batches)
