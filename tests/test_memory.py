"""How much memory a call takes: a few MiB per thread beside its arrays; and a call when there is none."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc and RLIMIT_AS as Linux has them")

Run = Callable[..., "subprocess.CompletedProcess[str]"]

# ---- how much ----------------------------------------------------------------------------------------

MEASURE = """
import numpy as np, fastconv
MIB = 2**20

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field + ":")) * 1024

def extra(call):
    \"\"\"Most memory in use at any moment of `call`, beyond what was in use before it.\"\"\"
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    before = status("VmRSS")
    result = call()
    return status("VmHWM") - before, result

def full(*shape, dtype="f"):
    array = np.empty(shape, dtype)
    array[...] = 1
    return array

def channels_last(array):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
"""

#: name: (setup, call, bytes of the result that the call itself allocates, bytes of its packed weights)
LARGE_LAYERS = {
    "3x3, the im2col matrix would take 220 MiB": (
        "x, w, out = full(8, 64, 112, 112), full(64, 64, 3, 3), full(8, 64, 112, 112)",
        "fastconv.conv2d(x, w, padding=1, out=out)",
        "0",
        "w.nbytes",
    ),
    "3x3, channels-last": (
        "x, w = channels_last(full(8, 64, 112, 112)), full(64, 64, 3, 3); out = x.copy(order='K')",
        "fastconv.conv2d(x, w, padding=1, out=out)",
        "0",
        "w.nbytes",
    ),
    "sliced input": (
        "x, w, out = full(8, 64, 120, 224)[..., 4:-4, ::2], full(64, 64, 3, 3), full(8, 64, 112, 112)",
        "fastconv.conv2d(x, w, padding=1, out=out)",
        "0",
        "w.nbytes",
    ),
    "float64": (
        "x, w = full(4, 64, 112, 112, dtype='d'), full(64, 64, 3, 3, dtype='d'); out = x.copy()",
        "fastconv.conv2d(x, w, padding=1, out=out)",
        "0",
        "w.nbytes",
    ),
    "many weights": (
        "x, w, out = full(4, 512, 14, 14), full(512, 512, 3, 3), full(4, 512, 14, 14)",
        "fastconv.conv2d(x, w, padding=1, out=out)",
        "0",
        "w.nbytes",
    ),
    "large kernel": (
        "x, w, out = full(2, 16, 200, 200), full(16, 16, 31, 31), full(2, 16, 200, 200)",
        "fastconv.conv2d(x, w, padding=15, out=out)",
        "0",
        "w.nbytes",
    ),
    "by FFT": (
        "x, w, out = full(4, 3, 256, 256), full(3, 3, 63, 63), full(4, 3, 256, 256)",
        "fastconv.conv2d(x, w, padding=31, out=out, algorithm='fft')",
        "0",
        "w.nbytes",
    ),
    "many channels by FFT": (
        "x, w, out = full(2, 48, 100, 100), full(48, 48, 21, 21), full(2, 48, 100, 100)",
        "fastconv.conv2d(x, w, padding=10, out=out, algorithm='fft')",
        "0",
        "w.nbytes",
    ),
    "weight gradient by FFT": (
        "x, g = full(2, 16, 100, 100), full(2, 16, 100, 100)",
        "fastconv.grad.conv2d_weight(x, (16, 16, 21, 21), g, padding=10, algorithm='fft')",
        "16 * 16 * 21 * 21 * 4",
        "16 * 16 * 21 * 21 * 4",
    ),
    "depthwise": (
        "x, w, out = full(8, 128, 112, 112), full(128, 1, 3, 3), full(8, 128, 112, 112)",
        "fastconv.conv2d(x, w, padding=1, groups=128, out=out)",
        "0",
        "w.nbytes",
    ),
    "stride 2": (
        "x, w, out = full(8, 64, 224, 112), full(64, 64, 3, 3), full(8, 64, 112, 56)",
        "fastconv.conv2d(x, w, stride=2, padding=1, out=out)",
        "0",
        "w.nbytes",
    ),
    "3-D": (
        "x, w, out = full(1, 32, 32, 64, 64), full(32, 32, 3, 3, 3), full(1, 32, 32, 64, 64)",
        "fastconv.conv3d(x, w, padding=1, out=out)",
        "0",
        "w.nbytes",
    ),
    "input gradient": (
        "g, w = full(8, 64, 112, 112), full(64, 64, 3, 3)",
        "fastconv.grad.conv2d_input((8, 64, 112, 112), w, g, padding=1)",
        "g.nbytes",
        "w.nbytes",
    ),
    "3x3 at high precision": (
        "x, w, out = full(8, 64, 112, 112), full(64, 64, 3, 3), full(8, 64, 112, 112);"
        "fastconv.set_precision('high')",
        "fastconv.conv2d(x, w, padding=1, out=out)",
        "0",
        "4 * w.nbytes",  # F(4, 3): 36 numbers for 9
    ),
    "one image, not finite": (
        "x, w, out = full(4, 64, 112, 112), full(64, 64, 3, 3), full(4, 64, 112, 112); x[2, 3] = np.nan",
        "fastconv.conv2d(x, w, padding=1, out=out)",
        "0",
        "16 / 9 * w.nbytes",
    ),
    "input gradient of small planes": (
        "g, w = full(8, 512, 14, 14, dtype='d'), full(512, 64, 9, 9, dtype='d')",
        "fastconv.grad.conv2d_input((8, 64, 22, 22), w, g, algorithm='col2im')",
        "8 * 64 * 22 * 22 * 8",
        "w.nbytes",
    ),
    "input gradient of large planes, channels-last, from few columns": (
        "g, w = channels_last(full(2, 8, 5)), full(8, 128, 2)",
        "fastconv.grad.conv1d_input((2, 128, 100000), w, g, dilation=99995, algorithm='col2im')",
        "2 * 128 * 100000 * 4",
        "w.nbytes",
    ),
    "input gradient, stride 2": (
        "g, w = full(8, 64, 56, 56), full(64, 64, 3, 3)",
        "fastconv.grad.conv2d_input((8, 64, 112, 112), w, g, stride=2, padding=1)",
        "4 * g.nbytes",
        "w.nbytes",
    ),
    "weight gradient": (
        "x, g = full(8, 64, 112, 112), full(8, 64, 112, 112)",
        "fastconv.grad.conv2d_weight(x, (64, 64, 3, 3), g, padding=1)",
        "64 * 64 * 9 * 4",
        "64 * 64 * 9 * 4",
    ),
    "weight gradient, channels-last": (
        "x, g = channels_last(full(8, 64, 112, 112)), channels_last(full(8, 64, 112, 112))",
        "fastconv.grad.conv2d_weight(x, (64, 64, 3, 3), g, padding=1)",
        "64 * 64 * 9 * 4",
        "64 * 64 * 9 * 4",
    ),
    "weight gradient, many weights": (
        "x, g = full(4, 512, 14, 14), full(4, 512, 14, 14)",
        "fastconv.grad.conv2d_weight(x, (512, 512, 3, 3), g, padding=1)",
        "512 * 512 * 9 * 4",
        "512 * 512 * 9 * 4",
    ),
    "bias gradient": (
        "g = channels_last(full(8, 64, 112, 112))",
        "fastconv.grad.conv_bias(g)",
        "0",
        "0",
    ),
    "transposed, stride 2": (
        "x, w = full(8, 64, 56, 56), full(64, 64, 2, 2)",
        "fastconv.conv_transpose2d(x, w, stride=2)",
        "4 * x.nbytes",
        "w.nbytes",
    ),
    "linear": (
        "x, w = full(20000, 512), full(256, 512)",
        "fastconv.linear(x, w)",
        "20000 * 256 * 4",
        "w.nbytes",
    ),
    "linear on transposed axes": (
        "x, w = full(100, 200, 512).transpose(1, 0, 2), full(256, 512)",
        "fastconv.linear(x, w)",
        "20000 * 256 * 4",
        "w.nbytes",
    ),
    "linear weight gradient": (
        "x, g = full(20000, 512), full(20000, 256)",
        "fastconv.grad.linear_weight(x, g)",
        "256 * 512 * 4",
        "256 * 512 * 4",
    ),
}


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="cannot reset the peak of memory use"
)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layer", LARGE_LAYERS.values(), ids=LARGE_LAYERS)
def test_extra_memory_is_packed_weights_and_8_mib_per_thread(
    run_forked: Run, layer: tuple[str, str, str, str], threads: int
) -> None:
    """From a cold start, scratch and thread stacks included; the batch is never copied or unrolled."""
    setup, call, result_bytes, packed_bytes = layer
    result = run_forked(
        MEASURE + f"fastconv.set_num_threads({threads})\n{setup}\n"
        f"taken, result = extra(lambda: {call})\n"
        f"allowed = {result_bytes} + {packed_bytes} + {threads} * 8 * MIB\n"
        "print(taken / MIB, allowed / MIB)\n"
        "assert taken <= allowed\n",
    )
    assert result.returncode == 0, f"MiB taken and allowed: {result.stdout} {result.stderr[-500:]}"


def test_the_measurement_sees_a_copy(run_forked: Run) -> None:
    """An unrolled batch would be noticed: the test above can fail."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("cannot reset the peak of memory use")
    result = run_forked(
        MEASURE + "x = full(8, 64, 112, 112)\n"
        "taken, _ = extra(lambda: float(x.repeat(2, 1).sum()))\n"
        "assert 40 * MIB < taken < 80 * MIB, taken / MIB\n"
    )
    assert result.returncode == 0, result.stderr


def test_many_shapes_do_not_grow_memory(run_python: Run) -> None:
    """Plans are remembered, but only so many; after that, a new shape costs nothing that stays."""
    result = run_python(
        MEASURE + "fastconv.set_num_threads(2)\n"
        "def visit(first, last):\n"
        "    for i in range(first, last):\n"
        "        x, w = np.ones((1, 2, 5 + i % 97, 5 + i // 97), 'f'), np.ones((3, 2, 3, 3), 'f')\n"
        "        y = fastconv.conv2d(x, w)\n"
        "        fastconv.grad.conv2d_input(x.shape, w, y)\n"
        "        fastconv.grad.conv2d_weight(x, w.shape, y)\n"
        "        fastconv.linear(x[0, 0], np.ones((3, x.shape[-1]), 'f'))\n"
        "visit(0, 1500)\n"
        "before = status('VmRSS')\n"
        "visit(1500, 6000)\n"
        "grown = status('VmRSS') - before\n"
        "print(grown / MIB)\n"
        "assert grown < 2 * MIB\n"
    )
    assert result.returncode == 0, f"{result.stdout} MiB {result.stderr[-500:]}"


def test_repeated_calls_do_not_grow_memory(run_python: Run) -> None:
    """Neither calls nor errors nor threads that come and go leave anything behind."""
    result = run_python(
        MEASURE + "import threading\n"
        "fastconv.set_num_threads(2)\n"
        "x, w = np.ones((2, 32, 30, 30), 'f'), np.ones((32, 32, 3, 3), 'f')\n"
        "def once():\n"
        "    y = fastconv.conv2d(x, w)\n"
        "    fastconv.grad.conv2d_weight(x, w.shape, y)\n"
        "    try: fastconv.conv2d(x, w, stride=0)\n"
        "    except ValueError: pass\n"
        "    thread = threading.Thread(target=fastconv.conv2d, args=(x, w))\n"
        "    thread.start(); thread.join()\n"
        "for _ in range(50): once()\n"
        "before = status('VmRSS')\n"
        "for _ in range(300): once()\n"
        "grown = status('VmRSS') - before\n"
        "print(grown / MIB)\n"
        "assert grown < 2 * MIB\n"
    )
    assert result.returncode == 0, f"{result.stdout} MiB {result.stderr[-500:]}"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have their own ways")
def test_training_steps_use_the_same_memory_again(run_python: Run) -> None:
    """Fresh pages for what the step before has given back would be a third of a step's time."""
    result = run_python(
        MEASURE + "import resource\n"
        "from fastconv import nn\n"
        "net = nn.Sequential(\n"
        "    nn.Conv2d(1, 6, 5, padding=2, activation='relu', rng=0), nn.MaxPool2d(2),\n"
        "    nn.Conv2d(6, 16, 5, activation='relu', rng=1), nn.Flatten(), nn.Linear(1600, 2, rng=2))\n"
        "optimizer = nn.SGD(net.parameters(), 1e-6, momentum=0.9)\n"
        "x, y = full(64, 1, 28, 28), full(64, 2)\n"
        "def steps(count):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(count): optimizer.learn(net, nn.MSELoss(), x, y)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "steps(5)\n"
        "faults = steps(20) / 20\n"
        "print(faults)\n"
        "assert faults < 100\n"
    )
    assert result.returncode == 0, f"{result.stdout} pages {result.stderr[-500:]}"


# ---- when there is none ------------------------------------------------------------------------------

STARVED_CALLS = {
    "output": "fastconv.conv2d(x, w, padding=1)",
    "workspace": "fastconv.conv2d(x, w, padding=1, out=out)",
    "input gradient": "fastconv.grad.conv2d_input(x.shape, w, out, padding=1)",
    "weight gradient": "fastconv.grad.conv2d_weight(x, w.shape, out, padding=1)",
    "transposed": "fastconv.conv_transpose2d(x, w, padding=1)",
    "linear": "fastconv.linear(x.reshape(-1, 512), w.reshape(-1, 512))",
    "fft": "fastconv.conv2d(x, w, padding=1, out=out, algorithm='fft')",
    "weight gradient by FFT": "fastconv.grad.conv2d_weight(x, w.shape, out, padding=1, algorithm='fft')",
    "reference": "fastconv.grad.conv2d_input(x.shape, w, out, padding=1, algorithm='reference')",
}


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("call", STARVED_CALLS.values(), ids=STARVED_CALLS)
def test_without_memory_a_call_raises_and_recovers(run_forked: Run, call: str, threads: int) -> None:
    """RLIMIT_AS at what the process has already: MemoryError, inputs unharmed; with memory again it works."""
    result = run_forked(
        MEASURE + "import resource\n"
        f"fastconv.set_num_threads({threads})\n"
        "x, w, out = full(2, 512, 28, 28), full(512, 512, 3, 3), full(2, 512, 28, 28)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (status('VmSize') + MIB, resource.RLIM_INFINITY))\n"
        f"try: {call}\n"
        "except MemoryError as error: print('MemoryError')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "assert (x == 1).all() and (w == 1).all()\n"
        "fastconv.conv2d(x, w, padding=1, out=out)\n"
        "assert (abs(out[:, :, 1:-1, 1:-1] - 512 * 9) < 0.01).all()\n"
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout == "MemoryError\n"


def test_threads_that_cannot_be_started_are_done_without(run_forked: Run) -> None:
    """No room for the stacks of new threads: fewer threads, the same result."""
    result = run_forked(
        MEASURE + "import resource\n"
        "x, w, out = full(2, 64, 28, 28), full(64, 64, 3, 3), full(2, 64, 28, 28)\n"
        "fastconv.set_num_threads(1); fastconv.conv2d(x, w, padding=1, out=out)\n"
        "expected = out.copy()\n"
        "fastconv.set_num_threads(8)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (status('VmSize') + 2 * MIB, resource.RLIM_INFINITY))\n"
        "fastconv.conv2d(x, w, padding=1, out=out)\n"
        "assert np.array_equal(out, expected)\n"
    )
    assert result.returncode == 0, result.stderr[-2000:]
