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


class Progress:
    """Shows nothing; also the base of those that do. A context manager."""

    def batch(self, done: int) -> None:
        """So many batches of the whole training are done."""

    def epoch(self, number: int, text: str) -> None:
        """Epoch `number` (from 1) is over; `text` says how it went."""

    def close(self) -> None:
        """Nothing more will be shown."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Lines(Progress):
    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._every = math.ceil(epochs / LINES)

    def epoch(self, number: int, text: str) -> None:
        if number % self._every == 0 or number in (1, self._epochs):
            sys.stderr.write(f"epoch {number:>{len(str(self._epochs))}}/{self._epochs}  {text}\n")


class _Bar(Progress):
    def __init__(
        self, rich_progress: Any, rich_table: Any, console: Any, epochs: int, batches: int | None
    ) -> None:
        self._epochs, self._batches = epochs, batches
        # on a narrow terminal the text about the last epoch is what gets cut
        count = rich_table.Column(no_wrap=True, min_width=len(f"epoch {epochs}/{epochs}"))
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}", table_column=count),
            rich_progress.BarColumn(12),
            rich_progress.TimeRemainingColumn(compact=True),
            rich_progress.TextColumn("{task.fields[text]}"),
            console=console,
        )
        # without a number of batches the bar runs to and fro until an epoch has shown it
        total = None if batches is None else epochs * batches
        self._task = self._bar.add_task("", total=total, epoch=0, epochs=epochs, text="")
        self._drawn = -math.inf
        self._done = 0
        self._bar.start()

    def batch(self, done: int) -> None:
        self._done = done
        now = time.perf_counter()
        if now - self._drawn > REDRAW:
            self._drawn = now
            self._bar.update(self._task, completed=done)
            if self._batches is None:
                self._bar.update(self._task, text=f"{done:,} batches")

    def epoch(self, number: int, text: str) -> None:
        if self._batches is None:
            self._batches = max(1, round(self._done / number))
            self._bar.update(self._task, total=self._epochs * self._batches)
        self._bar.update(self._task, epoch=number, text=text)

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
        return Progress()
    if wanted or sys.stderr.isatty():
        try:
            from rich import console, progress, table
        except ImportError:
            return _Lines(epochs)
        return _Bar(progress, table, console.Console(stderr=True), epochs, batches)
    return _Lines(epochs)
