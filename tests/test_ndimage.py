"""fastconv.ndimage beside scipy.ndimage: element by element over modes, origins, axes, dtypes and sizes."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv import ndimage

theirs = pytest.importorskip("scipy.ndimage")

MODES = ("reflect", "mirror", "nearest", "wrap", "constant", "grid-mirror", "grid-wrap", "grid-constant")
DTYPES = "?bBhHiIqQfdFD"
each_seed = pytest.mark.parametrize("seed", range(8))

#: Calls of each seed of a generated test.
COUNT = 60


def some_array(rng: np.random.Generator, shape: tuple[int, ...], code: str) -> np.ndarray:
    """Numbers of a dtype; one time in five all the same, next to which truncation is delicate."""
    dtype = np.dtype(code)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        high = min(info.max, int(rng.choice([5, 255, 60_000, 2**40])))
        if rng.random() < 0.2:
            return np.full(shape, rng.integers(high), dtype)
        return rng.integers(max(info.min, -high), high, shape).astype(dtype)
    real = 3 * rng.standard_normal(shape)
    return (real + 1j * rng.standard_normal(shape) if dtype.kind == "c" else real).astype(dtype)


def some_shape(rng: np.random.Generator, rank: int) -> tuple[int, ...]:
    high = 30 if rng.random() < 0.2 and rank < 4 else 9
    return tuple(int(size) for size in rng.integers(1, high, rank))


def some_kernel(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers with zeros, any numbers, means, products of lines, or complex ones."""
    kind = rng.integers(5)
    if kind == 0:
        return rng.integers(-3, 4, shape).astype(float)
    if kind == 1:
        return np.full(shape, 1 / np.prod(shape))
    if kind == 2:
        lines = np.ones(())
        for size in shape:
            lines = np.multiply.outer(lines, rng.standard_normal(size))
        return lines
    weights = rng.standard_normal(shape)
    return weights + 1j * rng.standard_normal(shape) if kind == 3 and rng.random() < 0.5 else weights


def some_origin(rng: np.random.Generator, size: int) -> int:
    return int(rng.integers(-(size // 2), (size - 1) // 2 + 1))


def outcome(call: Callable[..., np.ndarray], *args: Any, **options: Any) -> np.ndarray | None:
    try:
        return call(*args, **options)
    except (ValueError, TypeError, RuntimeError):
        return None


def assert_same(name: str, args: tuple[Any, ...], options: dict[str, Any], bound: float) -> None:
    """Integers equal; floats within a few roundings of `bound`, what the absolute values might add up to."""
    said = (name, args, options)
    expected = outcome(getattr(theirs, name), *args, **options)
    found = outcome(getattr(ndimage, name), *args, **options)
    assert (found is None) == (expected is None), said
    if found is None or expected is None:
        return
    assert found.dtype == expected.dtype, said
    assert found.shape == expected.shape, said
    if found.dtype.kind == "b":
        expected = expected.view(np.uint8) != 0  # SciPy leaves bytes like 3 in it
    if found.dtype.kind in "biu":
        np.testing.assert_array_equal(found, expected, err_msg=str(said))
    else:
        error = 32 * np.finfo(found.dtype).eps * bound
        np.testing.assert_allclose(found, expected, rtol=0, atol=error, err_msg=str(said))


def some_axes(rng: np.random.Generator, rank: int) -> tuple[Any, list[int]]:
    """An `axes` argument, and the axes it means."""
    if rng.random() < 0.5:
        return None, list(range(rank))
    axes = sorted(int(axis) for axis in rng.permutation(rank)[: rng.integers(1, rank + 1)])
    return tuple(axes), axes


def largest(array: np.ndarray, constant: float) -> float:
    return float(np.abs(array.astype(complex)).max()) + abs(constant)


@each_seed
def test_kernels_of_all_axes(seed: int) -> None:
    """correlate and convolve: every mode, origin, choice of axes, dtype and output dtype."""
    rng = np.random.default_rng(seed)
    for _ in range(COUNT):
        rank = int(rng.integers(1, 5))
        x = some_array(rng, some_shape(rng, rank), rng.choice(list(DTYPES)))
        argument, axes = some_axes(rng, rank)
        weights = some_kernel(
            rng, tuple(int(size) for size in rng.integers(1, 7 if rank < 4 else 4, len(axes)))
        )
        options: dict[str, Any] = {
            "mode": str(rng.choice(MODES)),
            "cval": float(rng.choice([0.0, 2.5, -1.5])),
            "origin": [some_origin(rng, size) for size in weights.shape],
            "axes": argument,
        }
        if rng.random() < 0.3 and "c" not in x.dtype.kind + weights.dtype.kind:
            options["output"] = np.dtype(rng.choice(list("Bhifd")))
        bound = largest(x, options["cval"]) * float(np.abs(weights).sum())
        if bound < 2**31 or "output" not in options:  # beyond, C leaves open what a cast gives
            assert_same(str(rng.choice(["correlate", "convolve"])), (x, weights), options, bound)


@each_seed
def test_kernels_along_one_axis(seed: int) -> None:
    """correlate1d and convolve1d: the taps of symmetric kernels are added in pairs, as SciPy does."""
    rng = np.random.default_rng(seed + 100)
    for _ in range(COUNT):
        rank = int(rng.integers(1, 5))
        x = some_array(rng, some_shape(rng, rank), rng.choice(list(DTYPES)))
        weights = some_kernel(rng, (int(rng.integers(1, 12)),))
        if rng.random() < 0.5:
            weights = weights + rng.choice([-1, 1]) * weights[::-1]
        options = {
            "axis": int(rng.integers(-rank, rank)),
            "mode": str(rng.choice(MODES)),
            "cval": float(rng.choice([0.0, 2.5, -1.5])),
            "origin": some_origin(rng, len(weights)),
        }
        bound = largest(x, options["cval"]) * float(np.abs(weights).sum())
        assert_same(str(rng.choice(["correlate1d", "convolve1d"])), (x, weights), options, bound)


@each_seed
def test_means_gaussians_and_derivatives(seed: int) -> None:
    """Filters made of passes: between two of them, integers are cut off at the point."""
    rng = np.random.default_rng(seed + 200)
    for _ in range(COUNT):
        rank = int(rng.integers(1, 4))
        x = some_array(rng, some_shape(rng, rank), rng.choice(list("?bBhHiIfdFD")))
        argument, axes = some_axes(rng, rank)
        modes = [str(mode) for mode in rng.choice(MODES, len(axes))]
        options: dict[str, Any] = {"cval": float(rng.choice([0.0, 2.5])), "mode": modes, "axes": argument}
        name = str(
            rng.choice(
                ["uniform_filter", "gaussian_filter", "laplace", "gaussian_laplace", "sobel", "prewitt"]
            )
        )
        args: tuple[Any, ...] = (x,)
        if name == "uniform_filter":
            sizes = [int(size) for size in rng.integers(1, 9, len(axes))]
            args, options["origin"] = (x, sizes), [some_origin(rng, size) for size in sizes]
        elif name == "gaussian_filter":
            args = (
                x,
                list(rng.choice([0.0, 0.5, 1.0, 2.3], len(axes))),
                list(rng.choice([0, 0, 1, 2], len(axes))),
            )
            args = (x, args[1], [int(order) for order in args[2]])
        elif name == "gaussian_laplace":
            args, options["axes"], options["mode"] = (x, float(rng.choice([0.5, 1.0]))), None, modes[0]
        elif name in ("sobel", "prewitt"):
            del options["axes"]
            args, options["mode"] = (x, int(rng.integers(-rank, rank))), modes[0]
        assert_same(name, args, options, 50 * largest(x, options["cval"]))


@each_seed
def test_maxima_and_minima(seed: int) -> None:
    """Rectangles, whatever the dtype, and footprints."""
    rng = np.random.default_rng(seed + 300)
    for _ in range(COUNT):
        rank = int(rng.integers(1, 5))
        x = some_array(rng, some_shape(rng, rank), rng.choice(list("?bBhHiIqfd")))
        argument, axes = some_axes(rng, rank)
        sizes = [int(size) for size in rng.integers(1, 7 if rank < 4 else 4, len(axes))]
        options: dict[str, Any] = {
            "cval": float(rng.choice([0.0, 2.5, -1.5])),
            "mode": [str(mode) for mode in rng.choice(MODES, len(axes))],
            "origin": [some_origin(rng, size) for size in sizes],
            "axes": argument,
        }
        if rng.random() < 0.5:
            options |= {"footprint": rng.random(sizes) < 0.6, "mode": options["mode"][0]}
        else:
            options["size"] = sizes
        assert_same(str(rng.choice(["maximum_filter", "minimum_filter"])), (x,), options, 0.0)


def test_one_axis_of_maxima_means_and_gaussians() -> None:
    """The functions whose names end in 1d, with windows larger than the array among them."""
    rng = np.random.default_rng(0)
    for mode in MODES:
        for size in (1, 2, 5, 14):
            x = rng.integers(0, 255, (6, 7), np.uint8)
            options = {"axis": 0, "mode": mode, "cval": 3.0, "origin": some_origin(rng, size)}
            for name in ("maximum_filter1d", "minimum_filter1d", "uniform_filter1d"):
                assert_same(name, (x, size), options, 0.0)
            del options["origin"]
            assert_same("gaussian_filter1d", (x.astype(float), size / 3), options, 255.0)
            assert_same("gaussian_filter1d", (x, size / 3), {**options, "radius": size}, 255.0)


@pytest.mark.parametrize("size", [3, 8, 31])
@pytest.mark.parametrize("code", ["f", "d", "B", "h"])
def test_pictures_of_many_bands(code: str, size: int) -> None:
    """Arrays that are worked on in several bands, and kernels that go through transforms or are split."""
    rng = np.random.default_rng(size)
    x = np.abs(some_array(rng, (430, 410), code))
    x[:200, :200] = x[0, 0]  # a flat part: next to an integer everywhere
    bell = np.hanning(size + 2)[1:-1]
    square = rng.random((size, size)) if size < 31 else np.outer(bell, bell)
    for weights in (square / square.sum(), np.outer(bell, bell / bell.sum())):
        assert_same("correlate", (x, weights), {}, size * largest(x, 0.0))  # SciPy adds 961 in a row
    assert_same("gaussian_filter", (x, size / 8), {}, largest(x, 0.0))
    assert_same("uniform_filter", (x, size), {"mode": "mirror"}, largest(x, 0.0))
    assert_same("maximum_filter", (x, size), {"mode": "wrap"}, 0.0)
    assert_same("minimum_filter", (x, size), {}, 0.0)


def test_output_may_be_an_array_or_the_input() -> None:
    """Written through its strides, cast to its dtype; the input itself is as good as another array."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 99, (40, 30)).astype(np.float64)
    for name, args in (
        ("correlate", (np.ones((3, 3)),)),
        ("gaussian_filter", (1.0,)),
        ("maximum_filter", (3,)),
    ):
        expected = getattr(theirs, name)(x, *args)
        wide = np.zeros((80, 60))
        result = getattr(ndimage, name)(x, *args, output=wide[::2, ::-2])
        assert result.base is wide
        np.testing.assert_allclose(wide[::2, ::-2], expected)
        assert not wide[1::2].any()
        swapped = np.zeros(x.shape, ">f8")
        np.testing.assert_allclose(getattr(ndimage, name)(x, *args, output=swapped), expected)
        same = x.copy()
        assert getattr(ndimage, name)(same, *args, output=same) is same
        np.testing.assert_allclose(same, expected)


def test_nan_and_infinity_stay_in_their_windows() -> None:
    """A zero of an N-D kernel reads nothing; a mean or a maximum knows NaN in its window alone."""
    x = np.arange(64.0).reshape(8, 8)
    x[2, 3], x[6, 6] = np.nan, np.inf
    cross = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    np.testing.assert_array_equal(ndimage.correlate(x, cross), theirs.correlate(x, cross))
    single = x.astype(np.float32)
    np.testing.assert_array_equal(ndimage.correlate(single, cross), theirs.correlate(single, cross))
    for filtered in (
        ndimage.uniform_filter(x, 3),
        ndimage.maximum_filter(x, 3),
        ndimage.minimum_filter(x, 3),
    ):
        assert np.isnan(filtered).sum() == 9
        assert np.isnan(filtered[1:4, 2:5]).all()


def test_integers_beyond_doubles_keep_their_order() -> None:
    """Maxima of 64-bit integers are elements of the array, where SciPy rounds to float64."""
    x = np.array([2**62 + 1, 2**62 + 3, -(2**63), 5])
    np.testing.assert_array_equal(ndimage.maximum_filter(x, 3), [2**62 + 3, 2**62 + 3, 2**62 + 3, 5])
    np.testing.assert_array_equal(ndimage.minimum_filter(x, 3), [2**62 + 1, -(2**63), -(2**63), -(2**63)])


def test_arrays_without_elements_or_axes() -> None:
    """Empty in, empty out; an array of no axes is one element."""
    empty = np.zeros((0, 5), np.uint8)
    for result in (
        ndimage.correlate(empty, np.ones((3, 3))),
        ndimage.correlate1d(empty, [1, 2], 0),
        ndimage.uniform_filter(empty, 3),
        ndimage.maximum_filter(empty, 3),
        ndimage.gaussian_filter(empty, 1),
    ):
        assert result.shape == (0, 5)
        assert result.dtype == np.uint8
    assert ndimage.correlate(np.array(3.0), np.array(2.0)) == 6
    assert ndimage.maximum_filter(np.array(3.0), 3) == 3


def test_signatures_are_scipys() -> None:
    """Names, order and defaults of all parameters."""
    for name in ndimage.__all__:
        ours, other = inspect.signature(getattr(ndimage, name)), inspect.signature(getattr(theirs, name))
        wanted = {
            key: value.default for key, value in other.parameters.items() if key not in ("kwargs", "args")
        }
        given = {key: value.default for key, value in ours.parameters.items()}
        assert {key: given[key] for key in wanted} == wanted, name
        assert set(given) - set(wanted) <= {"truncate", "radius"}, name


X = np.zeros((4, 5))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ndimage.correlate(X, np.ones(3)), ValueError, "weights: shape"),
        (lambda: ndimage.correlate(X, np.ones((0, 3))), ValueError, "weights: shape"),
        (lambda: ndimage.correlate(X, np.ones((3, 3)), mode="edge"), ValueError, "mode='edge'"),
        (lambda: ndimage.correlate(X, np.ones((3, 3)), mode=["wrap", "wrap"]), TypeError, "mode="),
        (lambda: ndimage.correlate(X, np.ones((3, 3)), origin=2), ValueError, "origin=2"),
        (lambda: ndimage.correlate(X, np.ones((3, 3)), origin=[1]), ValueError, "origin="),
        (lambda: ndimage.correlate(X, np.ones((3, 3)), origin=0.5), TypeError, "origin=0.5"),
        (lambda: ndimage.correlate(X, np.ones((3, 3)), cval=1j), TypeError, "cval=1j"),
        (lambda: ndimage.correlate(X, np.ones((3, 3)), axes=(0, 0)), ValueError, "axes="),
        (lambda: ndimage.correlate(X, np.ones((3, 3)), axes=(0, 2)), ValueError, "axes=2"),
        (lambda: ndimage.correlate(X, np.ones((3, 3)), output=np.zeros((5, 4))), ValueError, "output: shape"),
        (lambda: ndimage.correlate(X, np.ones((3, 3)), output=complex), ValueError, "output: dtype"),
        (lambda: ndimage.correlate(X, 1j * np.ones((3, 3)), output=X.copy()), ValueError, "output: dtype"),
        (lambda: ndimage.correlate(X.astype(np.float16), np.ones((3, 3))), TypeError, "input: dtype float16"),
        (lambda: ndimage.correlate(np.ma.array(X), np.ones((3, 3))), TypeError, "input: is a masked array"),
        (lambda: ndimage.correlate1d(X, np.ones((1, 3))), ValueError, "weights: shape"),
        (lambda: ndimage.correlate1d(X, [1], axis=2), ValueError, "axis=2"),
        (lambda: ndimage.uniform_filter(X, 0), ValueError, "size=0"),
        (lambda: ndimage.uniform_filter(X, 2.5), TypeError, "size=2.5"),
        (lambda: ndimage.gaussian_filter(X, [1, 2, 3]), ValueError, "sigma="),
        (lambda: ndimage.gaussian_filter(X, 1, order=-1), ValueError, "order=-1"),
        (lambda: ndimage.gaussian_filter(X, 1, radius=-1), ValueError, "radius=-1"),
        (lambda: ndimage.gaussian_filter1d(X, 0), ValueError, "sigma=0"),
        (lambda: ndimage.maximum_filter(X), ValueError, "size=None"),
        (lambda: ndimage.maximum_filter(X, footprint=np.zeros((3, 3))), ValueError, "footprint: must"),
        (lambda: ndimage.maximum_filter(X, footprint=[True, False]), ValueError, "footprint: shape"),
        (lambda: ndimage.maximum_filter(X + 1j, 3), TypeError, "input: dtype complex128"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    """One clear error that begins with the argument."""
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(words)


def test_a_size_beside_a_footprint_is_warned_of() -> None:
    """As in SciPy, which ignores it too."""
    with pytest.warns(UserWarning, match="size is ignored"):
        ndimage.maximum_filter(X, 3, np.ones((3, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.warns(UserWarning, match="promoted"):
            ndimage.correlate(X, 1j * np.ones((3, 3)), output=float)


def test_scipy_is_not_imported(run_python: Callable) -> None:
    """NumPy is all there has to be; and neither part is there before it is asked for."""
    result = run_python(
        "import sys, numpy, fastconv\n"
        "assert 'fastconv.ndimage' not in sys.modules and 'fastconv.signal' not in sys.modules\n"
        "fastconv.ndimage.gaussian_filter(numpy.ones((4, 4)), 1)\n"
        "fastconv.signal.convolve([1, 2], [3])\n"
        "assert not any(name.split('.')[0] == 'scipy' for name in sys.modules)\n"
    )
    assert result.returncode == 0, result.stderr
    assert "fastconv" in sys.modules
