"""How far a run is, and how it ended: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.results import Run
from benchmarks.tables import summaries


class Show:
    """Told of every step before it is done."""

    def step(self, what: str) -> None:
        """What comes next."""
        raise NotImplementedError


class Bar(Show):
    """A bar that says what is being measured."""

    def __init__(self, progress: Any, steps: int) -> None:
        self.progress = progress
        self.task = progress.add_task("", total=steps)
        self.done = -1

    def step(self, what: str) -> None:
        self.done += 1
        self.progress.update(self.task, completed=self.done, description=what)


class Lines(Show):
    """A line for every twentieth of the way."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done = steps, 0

    def step(self, what: str) -> None:
        every = max(1, self.steps // 20)
        if self.done % every == 0:
            sys.stderr.write(f"{self.done}/{self.steps} {what}\n")
        self.done += 1


@contextmanager
def show(steps: int) -> Iterator[Show]:
    """Whatever suits standard error."""
    from rich import console, progress

    errors = console.Console(stderr=True)
    if not errors.is_terminal:
        yield Lines(steps)
        return
    columns = (
        progress.BarColumn(24),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.description}"),
    )
    with progress.Progress(*columns, console=errors, transient=True) as bar:
        yield Bar(bar, steps)


def show_summary(run: Run) -> None:
    """The last table of the page."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "threads", "geomean", "goal", "worst case", "", "goal", "losses")
    for line in summaries(run):
        goals = ["" if goal is None else f"{goal:g}" for goal in (line.goal_geomean, line.goal_worst)]
        table.add_row(
            line.title,
            line.threads,
            f"{line.geomean:.2f}",
            goals[0],
            f"{line.worst:.2f}",
            f"{line.worst_problem.case_id} {line.worst_problem.kind}",
            goals[1],
            f"{line.losses} of {line.count}",
            style=None if line.reached else "red",
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
