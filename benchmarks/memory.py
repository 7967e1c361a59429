"""Extra memory of a call: how far the process grows beyond its arrays, in a fresh process per call.

`python -m benchmarks.memory torch forward rn50-64 2` prints bytes. Needs Linux, which keeps the peak of
resident memory (VmHWM) and sets it back on request (clear_refs), and glibc.
"""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import fastconv
from benchmarks.cases import Case
from benchmarks.problems import Problem
from benchmarks.worker import make_engine

AVAILABLE = Path("/proc/self/clear_refs").exists() and hasattr(ctypes.CDLL(None), "malloc_trim")
M_MMAP_THRESHOLD = -3  # of mallopt, in malloc.h

#: Convolutions whose memory is worth looking at, and who is looked at.
CASES = ("vgg-1_2", "rn50-64", "rn50-512", "rn50-1x1-s2", "large-15", "audio-1d-k9", "c3d-64")
ENGINES = ("fastconv", "torch")


def resident_bytes(field: str) -> int:
    """A memory field of this process: VmRSS is now, VmHWM the peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def measure_here(engine: str, problem: Problem, threads: int) -> int:
    """Peak growth of this process over its first call, without the result."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 64 * 1024)  # what is freed goes back, instead of hiding later growth
    there = make_engine(engine)
    there.job(Problem(problem.kind, "toy"), threads).call()  # load everything
    job = there.job(problem, threads)
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    result = job.call()
    peak = resident_bytes("VmHWM")
    return max(0, peak - before - job.result(result).nbytes)


def extra_bytes(engine: str, problem: Problem, threads: int) -> int | None:
    """`measure_here` in a process of its own; None if that fails."""
    command = [sys.executable, "-m", "benchmarks.memory", engine, problem.kind, problem.case_id, str(threads)]
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}  # count pages that are used, not huge ones
    root = Path(__file__).parent.parent
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root)
    return int(done.stdout) if done.returncode == 0 else None


def allowed_bytes(problem: Problem, threads: int) -> int:
    """The promise: packed weights and 8 MiB per thread. Winograd packs more weights than there are."""
    case = problem.case
    assert isinstance(case, Case)
    weight_bytes = math.prod(case.weight_shape) * np.dtype(case.dtype).itemsize
    info = fastconv.conv_info(case.input_shape, case.weight_shape, dtype=case.dtype, **case.parameters)
    return max(weight_bytes, info.packed_weight_bytes) + threads * 8 * 2**20


if __name__ == "__main__":
    sys.stdout.write(f"{measure_here(sys.argv[1], Problem(sys.argv[2], sys.argv[3]), int(sys.argv[4]))}\n")
