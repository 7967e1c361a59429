"""fastconv.ndimage and fastconv.signal, each call beside the one of SciPy that it is named after."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import fastconv
from benchmarks.conftest import Run

SHAPES = ((512, 512), (2048, 2048), (128, 128, 128))
DTYPES = ("float32", "float64", "uint8")
SIZES = (3, 7, 31)

#: What is timed: a call of `ndimage` or `signal`, for an array, a kernel of as many axes and its size.
CALLS: dict[str, Callable] = {
    "correlate": lambda home, x, w: home.ndimage.correlate(x, w),
    "correlate1d-last": lambda home, x, w: home.ndimage.correlate1d(x, w[(0,) * (w.ndim - 1)]),
    "correlate1d-first": lambda home, x, w: home.ndimage.correlate1d(x, w[(0,) * (w.ndim - 1)], 0),
    "uniform": lambda home, x, w: home.ndimage.uniform_filter(x, len(w)),
    "gaussian": lambda home, x, w: home.ndimage.gaussian_filter(x, len(w) / 8),
    "maximum": lambda home, x, w: home.ndimage.maximum_filter(x, len(w)),
    "minimum1d": lambda home, x, w: home.ndimage.minimum_filter1d(x, len(w)),
    "sobel": lambda home, x, w: home.ndimage.sobel(x),
    "convolve-same": lambda home, x, w: home.signal.convolve(x, w.astype(x.dtype), "same"),
    "oaconvolve": lambda home, x, w: home.signal.oaconvolve(x, w),
}


def arrays(shape: tuple[int, ...], dtype: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture or volume of values from 0 to 255, and a kernel of sum 1."""
    rng = np.random.default_rng(size)
    values = (50 * rng.standard_normal(shape) + 120).clip(0, 255).astype(dtype)
    kernel = rng.random((size,) * len(shape))
    return values, kernel / kernel.sum()


def skip_if_long(name: str, shape: tuple[int, ...], size: int) -> None:
    if name == "correlate" and np.prod(shape) * size ** len(shape) > 5e9:
        pytest.skip("SciPy takes half a minute and more")
    if name == "sobel" and size != 3:
        pytest.skip("has one size")


each_call = pytest.mark.parametrize("name", CALLS)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_size = pytest.mark.parametrize("size", SIZES)


@each_shape
@each_dtype
@each_size
@each_call
def test_ours(name: str, shape: tuple[int, ...], dtype: str, size: int, threads: int, run: Run) -> None:
    skip_if_long(name, shape, size)
    x, w = arrays(shape, dtype, size)
    run(lambda: CALLS[name](fastconv, x, w), f"{name} {shape} {size} {dtype}", "fastconv")


@each_shape
@each_dtype
@each_size
@each_call
def test_scipys(name: str, shape: tuple[int, ...], dtype: str, size: int, run: Run) -> None:
    """The baseline, whose result fastconv's must be, but for rounding."""
    scipy = pytest.importorskip("scipy")
    skip_if_long(name, shape, size)
    x, w = arrays(shape, dtype, size)
    expected = run(lambda: CALLS[name](scipy, x, w), f"{name} {shape} {size} {dtype}", "scipy")
    found = CALLS[name](fastconv, x, w)
    assert found.dtype == expected.dtype
    scale = 255 * max(1.0, float(np.abs(expected.astype(np.float64)).max()) / 255)
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=1e-5 * scale if dtype == "float32" else 1e-9 * scale
    )
