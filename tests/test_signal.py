"""fastconv.signal beside scipy.signal: element by element over modes, boundaries, axes, dtypes and sizes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv import signal

theirs = pytest.importorskip("scipy.signal")

DTYPES = list("?bBhHiIqQfdFDg")
MODES = ["full", "same", "valid"]
COUNT = 80
each_seed = pytest.mark.parametrize("seed", range(6))


def some_array(rng: np.random.Generator, shape: tuple[int, ...], code: str) -> np.ndarray:
    dtype = np.dtype(code)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        high = min(np.iinfo(dtype).max, int(rng.choice([5, 255, 60_000, 2**40, 2**62])))
        return rng.integers(max(np.iinfo(dtype).min, -high), high, shape).astype(dtype)
    real = 3 * rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.kind == "c" else real).astype(dtype)


def some_pair(rng: np.random.Generator, rank: int) -> tuple[np.ndarray, np.ndarray]:
    shapes = [tuple(int(size) for size in rng.integers(1, 8, rank)) for _ in range(2)]
    if rng.random() < 0.2 and rank < 4:
        shapes[0] = tuple(int(size) for size in rng.integers(8, 30, rank))
    codes = rng.choice(DTYPES, 2)
    if rng.random() < 0.5:
        codes[1] = codes[0]
    return some_array(rng, shapes[0], codes[0]), some_array(rng, shapes[1], codes[1])


def outcome(call: Callable[..., np.ndarray], *args: Any, **options: Any) -> np.ndarray | None:
    try:
        return call(*args, **options)
    except ValueError:
        return None


def assert_same(name: str, a: np.ndarray, b: np.ndarray, options: dict[str, Any]) -> None:
    """Integers equal; floats within a few roundings of what the absolute values might add up to."""
    said = (name, a.shape, b.shape, a.dtype, b.dtype, options)
    expected, found = (outcome(getattr(home, name), a, b, **options) for home in (theirs, signal))
    assert (found is None) == (expected is None), said
    if found is None or expected is None:
        return
    assert found.dtype == expected.dtype, said
    assert found.shape == expected.shape, said
    if found.dtype.kind in "biu":
        np.testing.assert_array_equal(found, expected, err_msg=str(said))
        return
    single = {np.dtype(np.float32), np.dtype(np.complex64)} & {a.dtype, b.dtype}
    bound = float(np.abs(a.astype(complex)).max() * np.abs(b.astype(complex)).max()) * min(a.size, b.size)
    error = 64 * np.finfo(np.float32 if single else np.float64).eps * bound
    np.testing.assert_allclose(found, expected, rtol=0, atol=error, err_msg=str(said))


@each_seed
def test_any_rank(seed: int) -> None:
    """convolve and correlate: every mode, ranks 1 to 5, integers wrapping around, either array the larger."""
    rng = np.random.default_rng(seed)
    for _ in range(COUNT):
        rank = int(rng.integers(1, 6)) if rng.random() < 0.1 else int(rng.integers(1, 4))
        a, b = some_pair(rng, rank)
        if np.result_type(a, b).kind == "b" and (rank > 1 or a.size < b.size):
            continue  # SciPy's direct method has no such dtype
        options = {"mode": str(rng.choice(MODES)), "method": str(rng.choice(["auto", "direct", "fft"]))}
        if np.result_type(a, b).kind in "biu":
            options["method"] = "direct"  # where transforms round, SciPy's are not exact
        assert_same(str(rng.choice(["convolve", "correlate"])), a, b, options)


@each_seed
def test_planes(seed: int) -> None:
    """convolve2d and correlate2d: every mode and boundary, kernels larger than the plane among them."""
    rng = np.random.default_rng(seed + 100)
    for _ in range(COUNT):
        a, b = some_pair(rng, 2)
        options = {
            "mode": str(rng.choice(MODES)),
            "boundary": str(rng.choice(["fill", "wrap", "symm", "circular", "symmetric", "pad"])),
            "fillvalue": float(rng.choice([0.0, 2.0, 2.5])),
        }
        assert_same(str(rng.choice(["convolve2d", "correlate2d"])), a, b, options)


@each_seed
def test_along_some_axes(seed: int) -> None:
    """fftconvolve and oaconvolve: any axes, the others equal or stretched from size 1."""
    rng = np.random.default_rng(seed + 200)
    for _ in range(COUNT):
        rank = int(rng.integers(1, 5))
        a, b = some_pair(rng, rank)
        options: dict[str, Any] = {"mode": str(rng.choice(MODES))}
        if rng.random() < 0.7:
            axes = [int(axis) for axis in rng.permutation(rank)[: rng.integers(1, rank + 1)]]
            options["axes"] = axes
            shape = [b.shape[i] if i in axes else int(rng.choice([1, a.shape[i]])) for i in range(rank)]
            b = some_array(rng, tuple(shape), b.dtype.char)
            if rng.random() < 0.3:
                a = a[tuple(slice(None) if i in axes else slice(1) for i in range(rank))]
        assert_same(str(rng.choice(["fftconvolve", "oaconvolve"])), a, b, options)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("code", ["f", "d", "B"])
def test_large_arrays(code: str, mode: str) -> None:
    """Sizes at which transforms are chosen, for kernels as long as the signal too."""
    rng = np.random.default_rng(3)
    for shapes in (((300, 280), (31, 31)), ((5000,), (5000,)), ((40, 41, 42), (9, 9, 9))):
        a, b = (np.abs(some_array(rng, shape, code)) for shape in shapes)
        assert_same("convolve", a, b, {"mode": mode, "method": "direct" if code == "B" else "auto"})
        assert_same("oaconvolve", a, b, {"mode": mode})


def test_scalars_and_other_numbers() -> None:
    """0-D arrays multiply; longdouble, objects and 64-bit integers are exact in their own arithmetic."""
    assert signal.convolve(3, 4) == 12
    assert signal.correlate(3, 4j) == -12j
    big = np.array([2**62, 1, -(2**40)])
    np.testing.assert_array_equal(signal.convolve(big, big), np.convolve(big, big))
    objects = np.array([10**30, 1], object)
    assert list(signal.convolve(objects, objects)) == [10**60, 2 * 10**30, 1]
    assert signal.fftconvolve(np.zeros(0), np.ones(3)).shape == (0,)
    np.testing.assert_array_equal(
        signal.convolve(np.ones((2, 2), bool), np.ones((2, 2), bool)), np.ones((3, 3))
    )


def test_nan_reaches_its_windows_alone() -> None:
    """By every method: a transform of the whole would spread it everywhere."""
    x = np.ones((200, 200))
    x[100, 100] = np.nan
    assert np.isnan(signal.fftconvolve(x, np.ones((31, 31)), "same")).sum() == 31 * 31


def test_signatures_are_scipys() -> None:
    """Names, order and defaults of all parameters."""
    for name in signal.__all__:
        pairs = [
            [(p.name, p.default) for p in inspect.signature(getattr(home, name)).parameters.values()]
            for home in (signal, theirs)
        ]
        assert pairs[0] == pairs[1], name


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: signal.convolve([1], [[1]]), ValueError, "in2: shape (1, 1)"),
        (lambda: signal.convolve([1], [1], "most"), ValueError, "mode='most'"),
        (lambda: signal.convolve([1], [1], 0), TypeError, "mode=0"),
        (lambda: signal.convolve([1], [1], method="slow"), ValueError, "method='slow'"),
        (lambda: signal.convolve([], [1]), ValueError, "in1, in2: shapes"),
        (lambda: signal.convolve(np.ones((2, 4)), np.ones((3, 3)), "valid"), ValueError, "mode='valid'"),
        (lambda: signal.convolve(["a"], [1]), TypeError, "in1: dtype"),
        (lambda: signal.convolve(np.ma.array([1.0]), [1]), TypeError, "in1: is a masked array"),
        (lambda: signal.convolve2d([1], [[1]]), ValueError, "in1: shape (1,)"),
        (lambda: signal.convolve2d([[1]], [[1]], boundary="edge"), ValueError, "boundary='edge'"),
        (lambda: signal.convolve2d([[1]], [[1]], fillvalue=1j), ValueError, "fillvalue=1j"),
        (lambda: signal.convolve2d([[1]], [[1]], fillvalue=[1, 2]), ValueError, "fillvalue=[1, 2]"),
        (lambda: signal.convolve2d([[True]], [[True]]), ValueError, "in1, in2: dtypes"),
        (lambda: signal.fftconvolve([1.0], [1.0], axes=1), ValueError, "axes=1"),
        (lambda: signal.fftconvolve([1.0], [1.0], axes=()), ValueError, "axes=()"),
        (lambda: signal.fftconvolve(X := np.ones((2, 4)), X[:, :2], axes=0), ValueError, "in1, in2: shapes"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    """One clear error that begins with the argument."""
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(words)
