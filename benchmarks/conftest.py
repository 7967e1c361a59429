"""What every benchmark records, and the table at the end: fastconv beside the naive loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastconv
from benchmarks import machine, measure


@dataclass(frozen=True)
class Row:
    """One measurement."""

    problem: str
    engine: str
    threads: int
    seconds: float
    flops: int
    peak_share: float


ROWS = pytest.StashKey[list[Row]]()
Run = Callable[..., np.ndarray]

peak = cache(machine.fma_peak)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    config.option.benchmark_quiet = True  # the table below says it shorter; --benchmark-verbose has both


@pytest.fixture(params=machine.threads_to_time(), ids=lambda count: f"{count}t")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Run the benchmark at each number of threads."""
    with machine.threads(request.param):
        yield request.param


@pytest.fixture
def run(benchmark: BenchmarkFixture, pytestconfig: pytest.Config) -> Run:
    """Time a call within a small budget and record what it was and what it ran on."""

    def timed(
        call: Callable[[], np.ndarray], problem: str, engine: str, flops: int = 0, dtype: str = "float32"
    ) -> np.ndarray:
        if engine == "fastconv":
            count, (rounds, iterations) = fastconv.get_num_threads(), measure.plan(call, 0.1, 5, 100)
        else:
            count, rounds, iterations = 1, 1, 1
        benchmark.group = problem
        result = benchmark.pedantic(call, rounds=rounds, iterations=iterations)
        benchmark.extra_info |= {"engine": engine, "isa": fastconv.get_isa(), "threads": count}
        if benchmark.stats is None:  # --benchmark-disable: called, not timed
            return result
        seconds = benchmark.stats.stats.median
        share = flops / seconds / (count * peak(dtype)) if engine == "fastconv" else 0.0
        if flops:
            benchmark.extra_info |= {"gflops": flops / seconds / 1e9, "peak_share": share}
        pytestconfig.stash[ROWS].append(Row(problem, engine, count, seconds, flops, share))
        return result

    return timed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if not rows:
        return
    terminalreporter.section("fastconv and naive loops, one line per problem")
    terminalreporter.line(", ".join(f"{name}: {value}" for name, value in machine.machine().items()))
    terminalreporter.line(
        "us per call; GFLOP/s; share of the FMA peak of as many threads; times faster than naive"
    )
    for problem in dict.fromkeys(row.problem for row in rows):
        terminalreporter.line(summary_line(problem, [row for row in rows if row.problem == problem]))


def summary_line(problem: str, rows: list[Row]) -> str:
    cells = [f"{problem:32}"]
    naive = [row for row in rows if row.engine != "fastconv"]
    for row in rows:
        if row.engine != "fastconv":
            continue
        cell = f"{row.threads} threads {row.seconds * 1e6:10.1f} us"
        if row.flops:
            cell += f" {row.flops / row.seconds / 1e9:7.1f} {row.peak_share:4.0%}"
        if naive:
            cell += f" {naive[0].seconds / row.seconds:8.1f}x"
        cells.append(cell)
    cells += [f"{row.engine} {row.seconds * 1e6:12.1f} us" for row in naive]
    return " | ".join(cells)
