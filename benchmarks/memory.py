"""Extra memory of a call: how far the process grows beyond its arrays, in a fresh process per call.

`python -m benchmarks.memory rn50-64 forward 2` prints bytes. Needs Linux, which keeps the peak of resident
memory (VmHWM) and sets it back on request (clear_refs), and glibc.
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
from benchmarks.cases import conv_case
from benchmarks.passes import conv_pair

AVAILABLE = Path("/proc/self/clear_refs").exists() and hasattr(ctypes.CDLL(None), "malloc_trim")
M_MMAP_THRESHOLD = -3  # of mallopt, in malloc.h


def resident_bytes(field: str) -> int:
    """A memory field of this process: VmRSS is now, VmHWM the peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def measure_here(case_id: str, name: str, threads: int) -> int:
    """Peak growth of this process over its first call, without the result."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 64 * 1024)  # what is freed goes back, instead of hiding later growth
    case = conv_case(case_id)
    call = conv_pair(case, name).fastconv
    fastconv.set_num_threads(threads)
    fastconv.conv2d(np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 3, 3), np.float32))  # load everything
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    result = call()
    return max(0, resident_bytes("VmHWM") - before - result.nbytes)


def extra_bytes(case_id: str, name: str, threads: int) -> int:
    """`measure_here` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", case_id, name, str(threads)]
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}  # count pages that are used, not huge ones
    root = Path(__file__).parent.parent
    return int(
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=root).stdout
    )


def allowed_bytes(case_id: str, threads: int) -> int:
    """The promise: packed weights and 8 MiB per thread. Winograd packs more weights than there are."""
    case = conv_case(case_id)
    weight_bytes = math.prod(case.weight_shape) * np.dtype(case.dtype).itemsize
    info = fastconv.conv_info(case.input_shape, case.weight_shape, dtype=case.dtype, **case.parameters)
    return max(weight_bytes, info.packed_weight_bytes) + threads * 8 * 2**20


if __name__ == "__main__":
    sys.stdout.write(f"{measure_here(sys.argv[1], sys.argv[2], int(sys.argv[3]))}\n")
