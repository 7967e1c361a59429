"""Time calls fairly: warm, interleaved where they are compared, medians with their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import fastconv
from fastconv._kernels import native
from fastconv.runtime import config

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


def threads_to_time() -> tuple[int, ...]:
    """1, and 2 if this process may use that many CPUs."""
    return tuple(range(1, min(2, native.cpu_count()) + 1))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let fastconv use `count` threads for a while."""
    before = fastconv.get_num_threads()
    fastconv.set_num_threads(count)
    try:
        yield
    finally:
        fastconv.set_num_threads(before)


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


def compare(calls: dict[str, Callable[[], object]], budget: float = 1.0) -> dict[str, Timing]:
    """Time several calls in turns, so that a disturbance hits all of them; `budget` seconds in all."""
    plans = {name: plan(call, budget / len(calls), 5, 200) for name, call in calls.items()}
    turns = min(rounds for rounds, _ in plans.values())
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            samples[name].append(seconds(call, plans[name][1]))
    return {name: Timing.of(rounds) for name, rounds in samples.items()}


def fma_peak(dtype: str) -> float:
    """FLOP/s of one thread of this machine on fused multiply-adds of the instruction set in use."""
    return native.fma_peak(dtype, 0.2)


def machine() -> dict[str, str]:
    """What a number was measured on."""
    return {
        name: str(value) for name, value in config().items() if name in ("fastconv", "isa", "cpus", "machine")
    }
