"""What a call may touch and how much memory it takes: nothing outside its arrays, a few MiB per thread."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable

import pytest

from fastconv.runtime import runnable_isas

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="mprotect, /proc and RLIMIT_AS as Linux has them"
)

Run = Callable[..., "subprocess.CompletedProcess[str]"]

# ---- guard pages -------------------------------------------------------------------------------------

GUARDS = '''
import ctypes, itertools, mmap, sys
import numpy as np, fastconv

PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
PRIVATE_ANONYMOUS = 0x22
mapped = []

def guarded(values, end, writable=False):
    """A copy of `values` that begins right behind an unreadable page (end = 0) or ends before one (1)."""
    values = np.ascontiguousarray(values)
    pages = -(-values.nbytes // PAGE)
    size = (pages + 2) * PAGE
    start = libc.mmap(None, size, 0, PRIVATE_ANONYMOUS, -1, 0)
    assert start not in (None, ctypes.c_void_p(-1).value)
    mapped.append((start, size))
    assert libc.mprotect(start + PAGE, pages * PAGE, 3) == 0
    address = start + PAGE + (pages * PAGE - values.nbytes if end else 0)
    memory = (ctypes.c_char * values.nbytes).from_address(address)
    array = np.frombuffer(memory, values.dtype).reshape(values.shape)
    array[...] = values
    if not writable:  # neither may inputs be written
        assert libc.mprotect(start + PAGE, pages * PAGE, 1) == 0
    return array

def unmap():
    while mapped:
        libc.munmap(*mapped.pop())

def memory_orders(values, end, writable=False):
    """The array as it is, and channels-last."""
    yield guarded(values, end, writable)
    if values.ndim > 2:
        yield np.moveaxis(guarded(np.moveaxis(values, 1, -1), end, writable), -1, 1)
'''

CONV_GUARDS = """
isa, dtype = sys.argv[1:]
fastconv.set_isa(isa)
rng = np.random.default_rng(0)
def integers(*shape): return rng.integers(-3, 4, shape).astype(dtype)

def variants(kernel, stride):  # algorithms, precisions, and whether exact in small integers
    yield from (("auto", "highest", True), ("direct", "highest", True))
    if stride == 1 and kernel[0] != 2 and kernel[1] > 2:
        yield "winograd", "highest", True
        yield "winograd", "high", False
    if stride == 1 and kernel[0] * kernel[1] >= 9:
        yield "fft", "highest", dtype == "float32"

def close(result, expected, exact):
    if exact:
        return np.array_equal(result, expected)
    return abs(result - expected).max() <= 1e-4 * abs(expected).max()

geometries = [  # n, in, out, size, kernel, stride, padding, dilation, groups
    (1, 1, 1, (1, 1), (1, 1), 1, 0, 1, 1),
    (1, 1, 1, (3, 3), (3, 3), 1, 0, 1, 1),
    (2, 3, 5, (5, 7), (3, 3), 1, 1, 1, 1),
    (1, 2, 17, (4, 33), (1, 3), 1, 0, 1, 1),
    (3, 5, 15, (7, 19), (2, 2), 2, 0, 1, 1),
    (1, 4, 6, (9, 9), (3, 2), 3, ((2, 0), (1, 3)), 1, 2),
    (2, 7, 7, (6, 31), (3, 3), 1, 2, 2, 7),
    (1, 33, 31, (3, 5), (1, 1), 1, 0, 1, 1),
    (1, 1, 3, (1, 65), (1, 1), 2, 0, 1, 1),
    (1, 130, 9, (4, 4), (3, 3), 1, 1, 1, 1),
    (1, 3, 29, (11, 13), (5, 5), 4, 0, 1, 1),
    (1, 3, 3, (5, 70), (3, 5), 1, ((1, 0), (2, 3)), 1, 3),
    (2, 2, 2, (9, 67), (3, 3), 2, 1, 1, 2),
    (1, 5, 5, (1, 129), (1, 7), 3, 0, 2, 5),
    (2, 17, 19, (11, 13), (3, 3), 1, 1, 1, 1),
    (1, 16, 16, (23, 25), (3, 3), 1, 1, 1, 1),
]
for n, c, k, size, kernel, stride, padding, dilation, groups in geometries:
    x, w, b = integers(n, c, *size), integers(k, c // groups, *kernel), integers(k)
    parameters = (stride, padding, dilation, groups)
    y = fastconv.conv2d(x, w, b, *parameters, algorithm="reference")
    g = integers(*y.shape)
    gx = fastconv.grad.conv2d_input(x.shape, w, g, *parameters, algorithm="reference")
    gw = fastconv.grad.conv2d_weight(x, w.shape, g, *parameters, algorithm="reference")
    gt = fastconv.conv_transpose2d(g, w, None, stride, padding, 0, groups, dilation)
    for end in (0, 1):
        gb = guarded(b, end)
        for gx_, gw_, out in itertools.product(
            memory_orders(x, end), memory_orders(w, end), memory_orders(np.zeros_like(y), end, True)
        ):
            for algorithm, precision, exact in variants(kernel, stride):
                fastconv.set_precision(precision)
                fastconv.conv2d(gx_, gw_, gb, *parameters, algorithm=algorithm, out=out)
                assert close(out, y, exact)
        for gg, gw_ in itertools.product(memory_orders(g, end), memory_orders(w, end)):
            for algorithm, precision, exact in variants(kernel, stride):
                fastconv.set_precision(precision)
                gradient = fastconv.grad.conv2d_input(x.shape, gw_, gg, *parameters, algorithm=algorithm)
                assert close(gradient, gx, exact)
            fastconv.set_precision("highest")
            transposed = fastconv.conv_transpose2d(gg, gw_, None, stride, padding, 0, groups, dilation)
            assert np.array_equal(transposed, gt)
        for gx_, gg in itertools.product(memory_orders(x, end), memory_orders(g, end)):
            assert np.array_equal(fastconv.grad.conv2d_weight(gx_, w.shape, gg, *parameters), gw)
        unmap()
for rows, c, k in [(1, 1, 1), (3, 17, 33), (19, 31, 5), (1, 129, 65)]:
    x, w, b, g = integers(rows, c), integers(k, c), integers(k), integers(rows, k)
    for end in (0, 1):
        arrays = guarded(x, end), guarded(w, end), guarded(b, end), guarded(g, end)
        assert np.array_equal(fastconv.linear(*arrays[:3]), x @ w.T + b)
        assert np.array_equal(fastconv.grad.linear_input(arrays[1], arrays[3]), g @ w)
        assert np.array_equal(fastconv.grad.linear_weight(arrays[0], arrays[3]), g.T @ x)
        unmap()
for end in (0, 1):  # 1-D, 3-D, reversed and sliced arrays that reach both guards
    x, w = integers(2, 3, 21), integers(4, 3, 5)
    y = fastconv.conv1d(x, w, padding=2, algorithm="reference")
    assert np.array_equal(fastconv.conv1d(guarded(x, end), guarded(w, end), padding=2), y)
    backwards = guarded(x[::-1, ::-1, ::-1], end)[::-1, ::-1, ::-1]
    assert np.array_equal(fastconv.conv1d(backwards, guarded(w[..., ::-1], end)[..., ::-1], padding=2), y)
    wide = np.repeat(x, 2, axis=2)
    sliced = guarded(wide[..., :-1], end)[..., ::2]
    assert np.array_equal(fastconv.conv1d(sliced, guarded(w, end), padding=2), y)
    x, w = integers(1, 2, 3, 4, 5), integers(3, 2, 2, 2, 2)
    y = fastconv.conv3d(x, w, padding=1, algorithm="reference")
    for gx_, gw_ in itertools.product(memory_orders(x, end), memory_orders(w, end)):
        assert np.array_equal(fastconv.conv3d(gx_, gw_, padding=1), y)
    unmap()
print("done")
"""


def test_the_guards_catch_a_read_outside(run_python: Run) -> None:
    """One element behind the end, or before the beginning, is a crash: the tests below can fail."""
    for index, end in ((-1, 0), (8, 1)):
        code = GUARDS + (
            f"array = guarded(np.ones(8, 'f'), {end})\n"
            f"np.lib.stride_tricks.as_strided(array[{index} + {1 - end} :], (1,), (4,))\n"
            f"print(ctypes.c_float.from_address(array.ctypes.data + 4 * {index}).value)\n"
        )
        result = run_python(code)
        assert "Segmentation fault" in result.stderr
        assert result.returncode == -11


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", runnable_isas())
def test_convolutions_touch_nothing_outside_their_arrays(tmp_path: object, isa: str, dtype: str) -> None:
    """Every array flush against an unreadable page, at either end; inputs in pages that cannot be written."""
    script = os.path.join(str(tmp_path), "guards.py")
    with open(script, "w") as file:
        file.write(GUARDS + CONV_GUARDS)
    result = subprocess.run(
        [sys.executable, "-X", "faulthandler", script, isa, dtype],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stdout == "done\n", result.stderr[-2000:]


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
    run_python: Run, layer: tuple[str, str, str, str], threads: int
) -> None:
    """From a cold start, scratch and thread stacks included; the batch is never copied or unrolled."""
    setup, call, result_bytes, packed_bytes = layer
    result = run_python(
        MEASURE + f"fastconv.set_num_threads({threads})\n{setup}\n"
        f"taken, result = extra(lambda: {call})\n"
        f"allowed = {result_bytes} + {packed_bytes} + {threads} * 8 * MIB\n"
        "print(taken / MIB, allowed / MIB)\n"
        "assert taken <= allowed\n",
    )
    assert result.returncode == 0, f"MiB taken and allowed: {result.stdout} {result.stderr[-500:]}"


def test_the_measurement_sees_a_copy(run_python: Run) -> None:
    """An unrolled batch would be noticed: the test above can fail."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("cannot reset the peak of memory use")
    result = run_python(
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
def test_without_memory_a_call_raises_and_recovers(run_python: Run, call: str, threads: int) -> None:
    """RLIMIT_AS at what the process has already: MemoryError, inputs unharmed; with memory again it works."""
    result = run_python(
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


def test_threads_that_cannot_be_started_are_done_without(run_python: Run) -> None:
    """No room for the stacks of new threads: fewer threads, the same result."""
    result = run_python(
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
