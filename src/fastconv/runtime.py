"""What is chosen at run time: instruction set and threads, and how to see it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from fastconv._kernels.engine import fastconv_native as native
from fastconv._kernels.engine import machine


def set_num_threads(count: int) -> None:
    """Set how many threads a large call uses; results do not depend on it.

    The default is `FASTCONV_NUM_THREADS`, or else the CPUs this process may use (affinity and cgroup quota),
    of which `OMP_NUM_THREADS` or `OMP_THREAD_LIMIT` may leave fewer. `threadpoolctl.threadpool_limits` sets
    the same count. Calls below about 25 microseconds of work stay on the calling thread. A build without
    threads stays at 1.

    Parameters
    ----------
    count : int, from 1 to 256

    Raises
    ------
    TypeError, ValueError
        Not an int, or out of range.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_num_threads(2)
    >>> fastconv.get_num_threads()
    2
    """
    native.set_num_threads(count)


def get_num_threads() -> int:
    """The number of threads a large call uses; see `set_num_threads`."""
    return native.num_threads()


def set_isa(name: str) -> None:
    """Use the kernels of one instruction set from now on; `FASTCONV_ISA` does the same at import.

    Parameters
    ----------
    name : str
        One of `runnable_isas()`.

    Raises
    ------
    ValueError
        Not compiled in, or this machine cannot run it.
    """
    native.set_isa(name)


def get_isa() -> str:
    """The instruction set in use: "avx512", "avx2", "baseline" or "neon"."""
    return native.isa()


def runnable_isas() -> tuple[str, ...]:
    """The instruction sets compiled in that this machine runs, best first."""
    return native.runnable_isa_names()


def set_precision(precision: str) -> None:
    """Set how exact float32 and float64 convolutions must be; after `torch.set_float32_matmul_precision`.

    This is the default of the whole process, for every thread; where a `with precision(...)` block is open,
    the block's precision stays in force until it ends.

    Parameters
    ----------
    precision : {"highest", "high", "medium"}
        Bound of the rms error against exact arithmetic. "highest" (default): at most twice that of plain
        accumulation in the arrays' own dtype. "high": at most 1e-5 of the output's rms. "medium": 5e-3 of it.
        A precision allows faster algorithms, it does not demand them.

    Raises
    ------
    ValueError
        Any other word.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_precision("highest")
    """
    native.set_precision(precision)


def get_precision() -> str:
    """The precision in force here: that of the innermost `with precision(...)` block, or the process's."""
    return native.precision()


@contextmanager
def precision(precision: str) -> Iterator[None]:
    """A precision for the calls of a `with` block, and for nobody else's.

    It belongs to the context (`contextvars`, PEP 567): calls of other threads and asyncio tasks keep their
    own, and blocks of several threads may overlap. A thread started inside the block begins with the
    process's precision, as Python's threads begin with an empty context, unless it runs in a copy of the
    context (`contextvars.copy_context().run`, `asyncio.to_thread`) or Python hands contexts on itself (the
    default of free-threaded Python 3.14).

    Parameters
    ----------
    precision : {"highest", "high", "medium"}
        See `set_precision`.

    Raises
    ------
    ValueError
        Any other word.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.precision("high"):
    ...     fastconv.get_precision()
    'high'
    """
    token = native.context_precision.set(native.level_of(precision))
    try:
        yield
    finally:
        native.context_precision.reset(token)


def get_include() -> str:
    """The folder of `fastconv.h`, for C compilers: convolutions and poolings from C, see docs/from-c.md.

    Examples
    --------
    >>> import fastconv, os
    >>> os.path.exists(os.path.join(fastconv.get_include(), "fastconv.h"))
    True
    """
    return os.path.join(os.path.dirname(__file__), "include")


def config() -> dict[str, object]:
    """What `show_config` prints, as a dictionary."""
    from importlib.metadata import version  # which takes longer to import than fastconv

    return {
        "fastconv": version("fastconv"),
        "isa": native.isa(),
        "isas compiled": native.isa_names(),
        "isas runnable": native.runnable_isa_names(),
        "threads": native.num_threads(),
        "cpus": native.cpu_count(),
        "L2 of a core": f"{machine.cache_bytes() // 1024} KiB" if machine.cache_bytes() else "unknown",
        "precision": native.precision(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def show_config() -> None:
    """Print versions, the instruction set in use and those available, and the number of threads."""
    for key, value in config().items():
        text = ", ".join(value) if isinstance(value, tuple) else str(value)
        sys.stdout.write(f"{key + ':':15}{text}\n")


def cpu_name() -> str:
    """What this machine's processor calls itself."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
