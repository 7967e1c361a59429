"""What a call may touch: nothing outside its arrays, and it writes none but its output."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from fastconv.runtime import runnable_isas

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mprotect as Linux has it")

Run = Callable[..., "subprocess.CompletedProcess[str]"]

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

def winograd(kernel, stride, dilation):
    return (stride == 1 or dilation == 1) and kernel[1] > max(1, stride)

def variants(kernel, stride, dilation):  # algorithms, precisions, and whether exact in small integers
    yield from (("auto", "highest", True), ("direct", "highest", True))
    if winograd(kernel, stride, dilation):
        yield "winograd", "highest", True
        yield "winograd", "high", False
    if stride == 1 and kernel[0] * kernel[1] >= 9:
        yield "fft", "highest", dtype == "float32"

def gradient_variants(kernel, stride, dilation):
    yield from variants(kernel, stride, dilation)
    if stride == 1:
        yield "col2im", "highest", True

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
    (2, 3, 17, (15, 19), (6, 5), 2, 1, 1, 1),
    (1, 5, 16, (14, 37), (4, 4), 2, 1, 1, 1),
    (1, 4, 16, (31, 47), (11, 12), 4, ((2, 0), (1, 3)), 1, 2),
    (2, 5, 5, (9, 2), (3, 3), 1, 1, 1, 5),
    (1, 3, 3, (3, 1), (3, 1), 1, ((1, 1), (0, 0)), 1, 3),
    (1, 9, 9, (7, 7), (3, 3), 1, 1, 1, 9),
    (1, 3, 3, (13, 5), (5, 5), 2, 2, 1, 3),
    (2, 4, 4, (5, 14), (3, 3), 1, 1, 1, 4),
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
            for algorithm, precision, exact in variants(kernel, stride, dilation):
                fastconv.set_precision(precision)
                fastconv.conv2d(gx_, gw_, gb, *parameters, algorithm=algorithm, out=out)
                assert close(out, y, exact)
        for gg, gw_ in itertools.product(memory_orders(g, end), memory_orders(w, end)):
            for algorithm, precision, exact in gradient_variants(kernel, stride, dilation):
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


POOL_GUARDS = """
from fastconv import grad, nn
isa, dtype = sys.argv[1:]
fastconv.set_isa(isa)
rng = np.random.default_rng(0)
plain = {"algorithm": "reference"}
def integers(*shape): return rng.integers(-3, 4, shape).astype(dtype)
def close(result, expected): return np.allclose(result, expected, rtol=1e-5, atol=1e-5)

windows = [  # size, kernel, stride, padding, dilation, ceil_mode
    ((1, 1), (1, 1), 1, 0, 1, False),
    ((5, 7), (2, 2), 2, 0, 1, True),
    ((6, 31), (3, 3), 2, 1, 1, False),
    ((9, 67), (3, 2), (1, 3), 1, (2, 1), True),
    ((4, 129), (1, 5), 1, (0, 2), 1, False),
    ((40, 45), (31, 9), 1, (15, 4), 1, False),
    ((11, 2), (3, 1), 1, (1, 0), 1, False),
    ((7, 7), (3, 3), 2, 1, 1, False),
    ((9, 27), (3, 3), 2, 0, 1, True),
]
for channels, (size, kernel, stride, padding, dilation, ceil_mode) in itertools.product((1, 17), windows):
    x, where = integers(2, channels, *size), (kernel, stride, padding)
    y, places = fastconv.max_pool2d(x, *where, dilation, ceil_mode, return_indices=True, **plain)
    g = integers(*y.shape)
    gx = grad.max_pool2d_input(x.shape, places, g, **plain)
    sums = fastconv.avg_pool2d(x, *where, ceil_mode, divisor_override=1, **plain)
    h = integers(*sums.shape)
    gsums = grad.avg_pool2d_input(x.shape, h, *where, ceil_mode, divisor_override=1, **plain)
    parts = tuple(max(1, s - 2) for s in size)
    adapted = fastconv.adaptive_avg_pool2d(x, parts, **plain)
    gadapted = grad.adaptive_avg_pool2d_input(x.shape, adapted, **plain)
    norms = fastconv.lp_pool2d(x, 2, kernel, stride, ceil_mode, **plain)
    gnorms = grad.lp_pool2d_input(x, norms, norms, 2, kernel, stride, ceil_mode, **plain)
    for end in (0, 1):
        for input in memory_orders(x, end):
            output, indices = fastconv.max_pool2d(input, *where, dilation, ceil_mode, return_indices=True)
            assert np.array_equal(output, y) and np.array_equal(indices, places)
            assert np.array_equal(fastconv.avg_pool2d(input, *where, ceil_mode, divisor_override=1), sums)
            assert close(fastconv.adaptive_avg_pool2d(input, parts), adapted)
            assert close(fastconv.lp_pool2d(input, 2, kernel, stride, ceil_mode), norms)
            for output in memory_orders(norms, end):
                result = grad.lp_pool2d_input(input, output, output, 2, kernel, stride, ceil_mode)
                assert close(result, gnorms)
            backprop = nn.MaxPool2d(*where, dilation, ceil_mode=ceil_mode).vjp(input)[1]
            for gradient in memory_orders(g, end):
                assert np.array_equal(backprop(gradient), gx)
        for gradient, indices in itertools.product(memory_orders(g, end), memory_orders(places, end)):
            assert np.array_equal(grad.max_pool2d_input(x.shape, indices, gradient), gx)
        for gradient in memory_orders(h, end):
            result = grad.avg_pool2d_input(x.shape, gradient, *where, ceil_mode, divisor_override=1)
            assert np.array_equal(result, gsums)
        for gradient in memory_orders(adapted, end):
            assert close(grad.adaptive_avg_pool2d_input(x.shape, gradient), gadapted)
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
@pytest.mark.parametrize("calls", [CONV_GUARDS, POOL_GUARDS], ids=["conv", "pool"])
def test_calls_touch_nothing_outside_their_arrays(tmp_path: object, calls: str, isa: str, dtype: str) -> None:
    """Every array flush against an unreadable page, at either end; inputs in pages that cannot be written."""
    script = os.path.join(str(tmp_path), "guards.py")
    with open(script, "w") as file:
        file.write(GUARDS + calls)
    result = subprocess.run(
        [sys.executable, "-X", "faulthandler", script, isa, dtype],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stdout == "done\n", result.stderr[-2000:]
