"""The machine a number was measured on: what it is, and the most that can be had from it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

import fastconv
from benchmarks import measure
from fastconv._kernels.engine import fastconv_native as native
from fastconv.runtime import cpu_name

#: Bytes of each of the two arrays whose copying is timed: more than any cache of one core.
COPY_BYTES = 2**26


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


def together(call: Callable[[], float], count: int) -> float:
    """The sum over `count` threads that make the call at the same time."""
    with ThreadPoolExecutor(count) as pool:
        return sum(future.result() for future in [pool.submit(call) for _ in range(count)])


def fma_peak(dtype: str, count: int = 1) -> float:
    """FLOP/s of `count` threads on fused multiply-adds of the instruction set in use."""
    return together(lambda: native.fma_peak(dtype, 0.2), count)


def copy_bandwidth(count: int = 1) -> float:
    """Bytes per second that `count` threads read and write, copying large arrays."""

    def copy() -> float:
        source, target = np.ones(COPY_BYTES, np.uint8), np.ones(COPY_BYTES, np.uint8)
        best = min(measure.seconds(lambda: np.copyto(target, source)) for _ in range(8))
        return 2 * COPY_BYTES / best

    return together(copy, count)


def machine() -> dict[str, str]:
    """What a number was measured on."""
    return {
        "CPU": cpu_name(),
        "CPUs this process may use": str(native.cpu_count()),
        "instruction set": fastconv.get_isa(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
    }
