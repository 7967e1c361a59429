"""How far a training is: loss, accuracy, samples per second, time left; a bar on a terminal, else lines."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import Any

from fastconv import nn

#: Plain lines that a whole training prints, about.
LINES = 20

#: Seconds between two redrawings of the bar.
REDRAW = 0.1

#: Part that the newest loss has in the one that is shown: single batches jump.
NEWEST = 0.05


def spoken(seconds: float) -> str:
    """A duration in words.

    Examples
    --------
    >>> from fastconv.train.progress import spoken
    >>> spoken(4.23), spoken(75), spoken(3720)
    ('4.2 s', '1 min 15 s', '1 h 2 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


class Display:
    """Shows nothing; also the base of those that do. A context manager.

    Parameters
    ----------
    epochs, steps, samples : int
        Of the training; steps and samples of an epoch.
    """

    def __init__(self, epochs: int, steps: int, samples: int) -> None:
        self.epochs, self.steps, self.samples = epochs, steps, samples
        self.loss = math.nan
        self._begun = time.perf_counter()
        self._first = 0  # steps that were done before
        self._done = 0

    def begin(self, epochs_done: int) -> None:
        """The training begins, or goes on."""
        self._begun, self._first = time.perf_counter(), epochs_done * self.steps
        self._done = self._first

    def step(self, state: nn.TrainingState) -> None:
        """A step is done."""
        newest = 1.0 if math.isnan(self.loss) else NEWEST
        self.loss = state.loss if newest == 1.0 else self.loss + newest * (state.loss - self.loss)
        self._done = state.step + 1

    def epoch(self, state: nn.TrainingState) -> None:
        """An epoch is over."""
        self.loss = math.nan

    @property
    def speed(self) -> float:
        """Samples per second since it began, held-out ones not counted."""
        seconds = time.perf_counter() - self._begun
        return (self._done - self._first) / max(self.steps, 1) * self.samples / max(seconds, 1e-9)

    @property
    def left(self) -> float:
        """Seconds that the rest will take, if it goes on like this."""
        seconds, done = time.perf_counter() - self._begun, self._done - self._first
        return (self.epochs * self.steps - self._done) * seconds / max(done, 1)

    def close(self) -> None:
        """Nothing more will be shown."""

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Lines(Display):
    def epoch(self, state: nn.TrainingState) -> None:
        super().epoch(state)
        number, every = state.epoch + 1, math.ceil(self.epochs / LINES)
        if number % every == 0 or number in (1, self.epochs):
            width = len(str(self.epochs))
            sys.stderr.write(
                f"epoch {number:>{width}}/{self.epochs}  {state.history.line()}; "
                f"{self.speed:,.0f} samples/s, {spoken(self.left)} left\n"
            )


class _Bar(Display):
    def __init__(self, epochs: int, steps: int, samples: int, progress: Any, console: Any) -> None:
        super().__init__(epochs, steps, samples)
        self._bar = progress.Progress(
            progress.TextColumn("epoch {task.fields[epoch]}"),
            progress.BarColumn(16),
            progress.TextColumn("{task.fields[left]}"),
            progress.TextColumn("{task.fields[text]}"),
            console=console,
        )
        self._task = self._bar.add_task("", total=epochs * steps, epoch=f"1/{epochs}", left="", text="")
        self._drawn, self._told = -math.inf, ""
        self._bar.start()

    def step(self, state: nn.TrainingState) -> None:
        super().step(state)
        now = time.perf_counter()
        if now - self._drawn > REDRAW:
            self._drawn = now
            self._draw(state.epoch)

    def _draw(self, epoch: int) -> None:
        loss = "" if math.isnan(self.loss) else f"loss {self.loss:.3g}  "
        self._bar.update(
            self._task,
            completed=self._done,
            epoch=f"{epoch + 1}/{self.epochs}",
            left=f"{spoken(self.left)} left",
            text=f"{loss}{self._told}{self.speed:,.0f}/s",
        )

    def epoch(self, state: nn.TrainingState) -> None:
        super().epoch(state)
        history = state.history
        told = f"{history.accuracy[-1]:.1%} right  " if history.accuracy else ""
        if history.validation_accuracy:
            told += f"held out {history.validation_accuracy[-1]:.1%}  "
        self._told = told
        self._draw(state.epoch)

    def close(self) -> None:
        self._bar.stop()


def open_display(wanted: bool | None, epochs: int, steps: int, samples: int) -> Display:
    """The display of a training, on standard error.

    Parameters
    ----------
    wanted : bool or None
        None: a bar if standard error is a terminal and rich is installed, else lines. True: a bar if rich is
        installed, else lines. False: nothing.
    epochs, steps, samples : int
    """
    if wanted is False:
        return Display(epochs, steps, samples)
    if wanted or sys.stderr.isatty():
        try:
            from rich import console, progress
        except ImportError:
            return _Lines(epochs, steps, samples)
        return _Bar(epochs, steps, samples, progress, console.Console(stderr=True))
    return _Lines(epochs, steps, samples)
