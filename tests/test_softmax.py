"""Softmax and log_softmax, forward and gradient: loops, every axis, large values, NaN, bits, bad input."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conv_cases import INPUT_LAYOUTS, lay_out

import fastconv
from fastconv import grad

NAN, INF = math.nan, math.inf
SHAPES = [(7,), (4, 10), (3, 5, 4), (2, 21, 3, 4), (3, 1, 4), (1, 6, 1, 1), (2, 3, 2, 2, 3)]


def forward(name: str) -> Callable[..., np.ndarray]:
    return getattr(fastconv, name)


def gradient(name: str) -> Callable[..., np.ndarray]:
    return getattr(grad, f"{name}_input")


def each_dim(shapes: list[tuple[int, ...]]) -> list[tuple[tuple[int, ...], int]]:
    return [(shape, dim) for shape in shapes for dim in range(-len(shape), len(shape))]


def softmax_loops(x: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """softmax and log_softmax in float64, slice by slice."""
    rows = np.moveaxis(x.astype(np.float64), dim, -1)
    output, logarithm = np.zeros(rows.shape), np.zeros(rows.shape)
    for index in np.ndindex(rows.shape[:-1]):
        top = max(rows[index])
        total = math.fsum(math.exp(v - top) for v in rows[index])
        for i, v in enumerate(rows[index]):
            output[(*index, i)] = math.exp(v - top) / total
            logarithm[(*index, i)] = v - top - math.log(total)
    return np.moveaxis(output, -1, dim), np.moveaxis(logarithm, -1, dim)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "dim"), each_dim(SHAPES))
def test_softmax_equals_loops(shape: tuple, dim: int, dtype: Any) -> None:
    """Along every axis of every rank, negative axes too."""
    x = (np.random.default_rng(11).standard_normal(shape) * 5).astype(dtype)
    output, logarithm = softmax_loops(x, dim)
    for result, expected in ((fastconv.softmax(x, dim), output), (fastconv.log_softmax(x, dim), logarithm)):
        assert result.dtype == dtype
        np.testing.assert_allclose(
            result, expected, rtol=0, atol=20 * np.finfo(dtype).eps * np.abs(expected).max()
        )


@pytest.mark.parametrize(("shape", "dim"), each_dim([(7,), (4, 10), (2, 5, 3)]))
def test_softmax_gradient_is_the_central_difference(shape: tuple, dim: int) -> None:
    """The whole Jacobian: every input moves every output of its slice."""
    generator = np.random.default_rng(12)
    x, g = generator.standard_normal(shape), generator.standard_normal(shape)
    for name in ("softmax", "log_softmax"):
        result = gradient(name)(forward(name)(x, dim), g, dim)
        expected, h = np.zeros(shape), 1e-5
        for index in np.ndindex(shape):
            step = np.zeros(shape)
            step[index] = h
            expected[index] = (g * (forward(name)(x + step, dim) - forward(name)(x - step, dim))).sum() / (
                2 * h
            )
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_large_values(dtype: Any) -> None:
    """The maximum is taken off first; log_softmax is exact where softmax underflows; votes add up to 1."""
    x = np.array([[1e30, 1e30], [-1e30, -1e30], [1000, 0], [-INF, 3]], dtype)
    np.testing.assert_array_equal(fastconv.softmax(x), [[0.5, 0.5], [0.5, 0.5], [1, 0], [0, 1]])
    np.testing.assert_allclose(
        fastconv.log_softmax(x), [[-math.log(2)] * 2, [-math.log(2)] * 2, [0, -1000], [-INF, 0]], rtol=1e-6
    )
    votes = fastconv.softmax(np.random.default_rng(1).standard_normal((50, 1000)).astype(dtype) * 10)
    np.testing.assert_allclose(votes.sum(axis=1, dtype=np.float64), 1, rtol=1e-5)


@pytest.mark.parametrize("bad", [[1.0, NAN], [1.0, INF], [-INF, -INF]])
def test_softmax_of_what_has_none_is_nan_in_its_slice_only(bad: list[float]) -> None:
    """As torch; the other rows are untouched."""
    x = np.array([[0.0, 0.0], bad, [0.0, 0.0]])
    for name, right in (("softmax", 0.5), ("log_softmax", -math.log(2))):
        np.testing.assert_allclose(forward(name)(x), [[right, right], [NAN, NAN], [right, right]])


def test_long_sums_along_an_inner_axis_keep_their_digits() -> None:
    """2^22 exponentials of 0.37, two slices side by side: one by one in float32 the sum is 2% off."""
    x = np.full((2**22, 2), -1, np.float32)
    x[0] = 0
    total = 1 + (len(x) - 1) * math.exp(-1)
    np.testing.assert_allclose(fastconv.log_softmax(x, 0)[0], -math.log(total), rtol=1e-6)
    np.testing.assert_allclose(fastconv.softmax(x, 0)[0], 1 / total, rtol=1e-6)
    g = np.full_like(x, 0.3)
    back = grad.log_softmax_input(x, g, 0)
    np.testing.assert_allclose(back[0], 0.3 - len(x) * float(g[0, 0]), rtol=1e-6)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_softmax_gradient_of_mixed_memory_orders(dim: int) -> None:
    """Output and gradient behind it in orders of their own; piece by piece the same bits."""
    generator = np.random.default_rng(14)
    y = fastconv.softmax(generator.standard_normal((70, 30, 40)), dim)
    g = generator.standard_normal(y.shape)
    for name in ("softmax", "log_softmax"):
        plain = gradient(name)(y, g, dim)
        for other in (np.asfortranarray(g), np.repeat(g, 2, axis=2)[:, :, ::2]):
            np.testing.assert_array_equal(gradient(name)(y, other, dim), plain)


@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("shape", [(5, 19, 6, 7), (5, 19, 1, 1), (5, 3, 130, 1)])
def test_softmax_bits_do_not_depend_on_the_batch(shape: tuple, dim: int, layout: str) -> None:
    """An image alone or among others, in any memory order: the sums run in the same order."""
    generator = np.random.default_rng(13)
    x = lay_out(generator.standard_normal(shape).astype(np.float32), layout, 1)
    g = lay_out(generator.standard_normal(shape).astype(np.float32), layout, 1)
    before = x.copy()
    for name in ("softmax", "log_softmax"):
        output = forward(name)(x, dim)
        grad_input = gradient(name)(output, g, dim)
        for image in (0, 3):
            alone = forward(name)(x[image : image + 1], dim)
            np.testing.assert_array_equal(alone[0], output[image])
            np.testing.assert_array_equal(
                gradient(name)(alone, g[image : image + 1], dim)[0], grad_input[image]
            )
    np.testing.assert_array_equal(x, before)


def test_softmax_of_empty_and_of_no_axes() -> None:
    """An empty batch gives an empty result, a single value the vote 1; channels-last stays so."""
    for shape, dim in (((0, 4), 1), ((0, 4), 0), ((3, 0), 1), ((0,), 0)):
        for name in ("softmax", "log_softmax"):
            output = forward(name)(np.ones(shape, np.float32), dim)
            assert output.shape == gradient(name)(output, output, dim).shape == shape
    for dim in (0, -1):
        assert fastconv.softmax(np.array(3.0), dim).tolist() == 1
        assert fastconv.log_softmax(np.array(3.0), dim).tolist() == 0
        assert grad.softmax_input(np.array(1.0), np.array(5.0), dim).tolist() == 0
        assert grad.log_softmax_input(np.array(0.0), np.array(5.0), dim).shape == ()
    x = lay_out(np.ones((2, 3, 4, 5)), "channels_last", 1)
    assert fastconv.softmax(x, 1).strides == x.strides


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_any_bit_pattern_is_silent(name: str) -> None:
    """Random bits as floats, NaN and infinities among them: warnings are errors here."""
    bits = np.random.default_rng(3).integers(0, 2**32, (100, 200), dtype=np.uint32)
    rows = bits.view(np.float32)
    for dim in (0, 1):
        gradient(name)(forward(name)(rows, dim), rows, dim)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_extra_memory_is_bounded(name: str) -> None:
    """Besides the result a call keeps a piece of the batch, not a copy of it (16 MiB here)."""
    x = np.ones((4096, 1024), np.float32)
    y = forward(name)(x)
    for call in (lambda: forward(name)(x), lambda: gradient(name)(y, x)):
        tracemalloc.start()
        call()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak <= x.nbytes + 2**20


# ---- bad input ---------------------------------------------------------------------------------------

F32 = np.ones((2, 3), np.float32)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ((2,), ValueError, r"dim=2: must be from -2 to 1"),
        ((-3,), ValueError, r"dim=-3: must be from -2 to 1"),
        ((10**30,), ValueError, r"dim=10+: must be from -2 to 1"),
        ((1.0,), TypeError, r"dim=1\.0: must be an integer"),
        ((None,), TypeError, r"dim=None: must be an integer"),
        ((True,), TypeError, r"dim=True: must be an integer"),
        (("1",), TypeError, r"dim='1': must be an integer"),
    ],
)
def test_refuses_a_bad_axis(name: str, parameters: tuple, error: type, message: str) -> None:
    """Forward and gradient agree."""
    with pytest.raises(error, match=f"^{message}"):
        forward(name)(F32, *parameters)
    with pytest.raises(error, match=f"^{message}"):
        gradient(name)(F32, F32, *parameters)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_refuses_bad_arrays(name: str) -> None:
    """No float array; a grad_output of another shape or dtype."""
    for bad in ([1.0, 2.0], None, np.ones(3, int), np.ones(3, np.float16)):
        with pytest.raises(TypeError, match=r"^input: "):
            forward(name)(bad)
        with pytest.raises(TypeError, match=r"^output: "):
            gradient(name)(bad, F32)
        with pytest.raises(TypeError, match=r"^grad_output: "):
            gradient(name)(F32, bad)
    with pytest.raises(ValueError, match=r"^grad_output: shape \(3,\) must be \(2, 3\)"):
        gradient(name)(F32, F32[0])
    with pytest.raises(TypeError, match=r"^grad_output: dtype float64 does not match"):
        gradient(name)(F32, F32.astype(np.float64))
