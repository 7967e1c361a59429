"""Seconds per call: the clock, and medians with their spread. Knows nothing of who is timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Calls shorter than this are timed several at a time.
CLOCK_SECONDS = 2e-4


@dataclass(frozen=True)
class Timing:
    """Seconds per call: median, quartiles and minimum over rounds."""

    median: float
    low: float
    high: float
    best: float

    @classmethod
    def of(cls, rounds: list[float]) -> Timing:
        if len(rounds) < 2:
            return cls(*rounds * 4)
        low, median, high = statistics.quantiles(rounds, n=4, method="inclusive")
        return cls(median, low, high, min(rounds))

    @property
    def spread(self) -> float:
        """Distance of the quartiles relative to the median."""
        return (self.high - self.low) / self.median


def seconds(call: Callable[[], object], calls: int = 1) -> float:
    """Seconds per call, over `calls` of them."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def plan(call: Callable[[], object], budget: float, least: int, most: int) -> tuple[int, int]:
    """(rounds, calls per round) that fill `budget` seconds, after two calls to warm up."""
    call()
    once = max(seconds(call), 1e-7)
    calls = max(1, round(CLOCK_SECONDS / once))
    return max(least, min(most, int(budget / (once * calls)))), calls
