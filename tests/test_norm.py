"""Batch, layer and local response normalisation, forward and gradient: loops, running statistics, bits."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conv_cases import INPUT_LAYOUTS, TOLERANCE, lay_out

import fastconv
from fastconv import grad
from fastconv._kernels.pointwise import norm as norm_kernel

NAN, INF = math.nan, math.inf
DTYPES = [np.float32, np.float64]
BATCH_SHAPES = [
    (5, 3),
    (4, 3, 7),
    (3, 5, 4, 6),
    (2, 3, 2, 3, 4),
    (2, 40, 5, 3),
    (6, 37),
    (4, 2, 1, 1),
    (1, 3, 2, 2),
]


def random(shape: tuple[int, ...], seed: int, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_near(result: np.ndarray, expected: np.ndarray) -> None:
    """Same shape, and within the house's tolerance of the largest value."""
    assert result.shape == expected.shape
    largest = np.abs(expected).max(initial=0.0)
    assert np.abs(result - expected).max(initial=0.0) <= TOLERANCE[result.dtype] * largest


def central_difference(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, g: np.ndarray
) -> np.ndarray:
    """The gradient of sum(g * function(x)), one element at a time."""
    result, h = np.zeros(x.shape), 1e-5
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        result[index] = (g * (function(x + step) - function(x - step))).sum() / (2 * h)
    return result


# ---- batch_norm --------------------------------------------------------------------------------------


def moments(values: np.ndarray) -> tuple[float, float, int]:
    """Mean, biased variance and count, by exactly rounded sums."""
    numbers = [float(v) for v in values.ravel()]
    mean = math.fsum(numbers) / len(numbers)
    return mean, math.fsum((v - mean) ** 2 for v in numbers) / len(numbers), len(numbers)


def batch_norm_loops(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, statistics: list[tuple[float, float]], eps: float
) -> np.ndarray:
    output = np.zeros(x.shape)
    for c, (mean, var) in enumerate(statistics):
        output[:, c] = (x[:, c].astype(np.float64) - mean) / math.sqrt(var + eps) * float(weight[c]) + float(
            bias[c]
        )
    return output


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", BATCH_SHAPES)
def test_batch_norm_equals_loops(shape: tuple, training: bool, dtype: Any) -> None:
    """Output and running statistics: biased variance to normalise, unbiased to remember, written in place."""
    x = random(shape, 1, dtype) * 3 + 2
    c = shape[1]
    weight, bias, mean = random((c,), 2, dtype), random((c,), 3, dtype), random((c,), 4, dtype)
    var = np.random.default_rng(5).uniform(0.5, 2, c).astype(dtype)
    measured = [moments(x[:, i]) for i in range(c)]
    statistics = (
        [m[:2] for m in measured] if training else list(zip(mean.tolist(), var.tolist(), strict=True))
    )
    expected = batch_norm_loops(x, weight, bias, statistics, 1e-3)
    running_mean, running_var = mean.copy(), var.copy()
    output = fastconv.batch_norm(
        x, running_mean, running_var, weight, bias, training, momentum=0.25, eps=1e-3
    )
    assert output.dtype == dtype
    assert_near(output, expected)
    share = 0.25 if training else 0.0
    assert_near(running_mean, (1 - share) * mean + share * np.array([m for m, _, _ in measured]))
    unbiased = np.array([v * n / (n - 1) for _, v, n in measured])
    assert_near(running_var, (1 - share) * var + share * unbiased)


@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
@pytest.mark.parametrize("shape", BATCH_SHAPES[:5])
def test_batch_norm_of_any_layout(shape: tuple, layout: str) -> None:
    """Strided, reversed, broadcast, read-only input, gradient, weight and statistics; none is changed."""
    x, g = (lay_out(random(shape, seed, np.float32), layout, 1) for seed in (1, 2))
    plain_x, plain_g = np.ascontiguousarray(x), np.ascontiguousarray(g)
    c = shape[1]
    vector = lay_out(np.random.default_rng(3).uniform(0.5, 2, (c, 2)).astype(np.float32), layout, 0)[:, 1]
    plain = np.ascontiguousarray(vector)
    for training in (True, False):
        statistics = (None, None) if training else (vector, vector)
        plain_statistics = (None, None) if training else (plain, plain)
        output = fastconv.batch_norm(x, *statistics, vector, vector, training)
        assert_near(output, fastconv.batch_norm(plain_x.astype(float), *(
            s if s is None else s.astype(float) for s in plain_statistics),
            plain.astype(float), plain.astype(float), training))  # fmt: skip
        for result, expected in zip(
            grad.batch_norm(x, g, *statistics, vector, training),
            grad.batch_norm(plain_x, plain_g, *plain_statistics, plain, training),
            strict=True,
        ):
            assert_near(result, expected.astype(np.float64))
    np.testing.assert_array_equal(x, plain_x)
    np.testing.assert_array_equal(g, plain_g)


def test_batch_norm_keeps_channels_last() -> None:
    """The result lies in memory as the input does, and so does its gradient."""
    x = lay_out(random((2, 3, 4, 5), 1), "channels_last", 1)
    assert fastconv.batch_norm(x, None, None, training=True).strides == x.strides
    assert grad.batch_norm(x, np.ascontiguousarray(x))[0].strides == x.strides


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", BATCH_SHAPES)
def test_batch_norm_gradient_is_the_central_difference(shape: tuple, training: bool) -> None:
    """Of input, weight and bias, in float64; in training mean and variance move with the input."""
    x, g, c = random(shape, 1), random(shape, 2), shape[1]
    weight, bias, mean = random((c,), 3), random((c,), 4), random((c,), 5)
    var = np.random.default_rng(6).uniform(0.5, 2, c)

    def forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        return fastconv.batch_norm(x, mean.copy(), var.copy(), weight, bias, training, eps=0.1)

    grad_input, grad_weight, grad_bias = grad.batch_norm(x, g, mean, var, weight, training, eps=0.1)
    for result, expected in (
        (grad_input, central_difference(lambda v: forward(v, weight, bias), x, g)),
        (grad_weight, central_difference(lambda v: forward(x, v, bias), weight, g)),
        (grad_bias, central_difference(lambda v: forward(x, weight, v), bias, g)),
    ):
        np.testing.assert_allclose(result, expected, rtol=1e-8, atol=1e-8)


def test_batch_norm_without_weight_is_weight_one() -> None:
    """Forward and gradients, and bias alone or weight alone; no running arrays in training."""
    x, g = random((4, 3, 5), 1), random((4, 3, 5), 2)
    one, zero, mean, var = np.ones(3), np.zeros(3), random((3,), 3), np.ones(3)
    for training in (True, False):
        full = fastconv.batch_norm(x, mean.copy(), var.copy(), one, zero, training)
        for weight in (None, one):
            for bias in (None, zero):
                result = fastconv.batch_norm(x, mean.copy(), var.copy(), weight, bias, training)
                np.testing.assert_array_equal(result, full)
        for a, b in zip(
            grad.batch_norm(x, g, mean, var, None, training),
            grad.batch_norm(x, g, mean, var, one, training),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        fastconv.batch_norm(x, None, None, training=True), fastconv.batch_norm(x, mean, var, training=True)
    )


@pytest.mark.parametrize("layout", ["C", "channels_last"])
def test_large_mean_costs_no_digits(layout: str) -> None:
    """In float32 with mean 10,000 and deviation 1, where E[x^2] - E[x]^2 has no digit left."""
    x = lay_out((random((8, 3, 30, 30), 1) + 1e4).astype(np.float32), layout, 1)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean((0, 2, 3), keepdims=True)) / np.sqrt(
        wide.var((0, 2, 3), keepdims=True) + 1e-5
    )
    assert_near(fastconv.batch_norm(x, None, None, training=True), expected)
    expected = (wide - wide.mean(3, keepdims=True)) / np.sqrt(wide.var(3, keepdims=True) + 1e-5)
    assert_near(fastconv.layer_norm(x, 30), expected)


def test_momentum_and_repeated_batches() -> None:
    """Momentum 1 keeps the last batch only, 0 nothing of it; the arrays given are the ones written."""
    x = np.array([[0.0], [2.0], [4.0]])
    for momentum, mean_after, var_after in ((1.0, 2.0, 4.0), (0.0, 5.0, 7.0), (0.5, 3.5, 5.5)):
        memory = np.array([5.0, -1.0, 7.0])  # strided views of one buffer
        fastconv.batch_norm(x, memory[0:1], memory[2:3], training=True, momentum=momentum)
        np.testing.assert_allclose(memory, [mean_after, -1.0, var_after])


def test_nan_stays_in_its_channel() -> None:
    """In training a NaN reaches its whole channel, otherwise itself alone; never another channel."""
    x = np.ones((2, 2, 2))
    x[0, 0, 0] = NAN
    trained = fastconv.batch_norm(x, None, None, training=True)
    assert np.isnan(trained[:, 0]).all()
    np.testing.assert_array_equal(trained[:, 1], 0)
    used = fastconv.batch_norm(x, np.zeros(2), np.ones(2), eps=0.0)
    np.testing.assert_array_equal(used, x)
    x[0, 0, 0] = INF
    grad_input, _, _ = grad.batch_norm(x, np.ones_like(x), np.zeros(2), np.ones(2), training=False, eps=0.0)
    np.testing.assert_array_equal(grad_input, 1)


# ---- layer_norm --------------------------------------------------------------------------------------

#: input's shape, normalized_shape
LAYER_SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((4, 6), (6,)),
    ((2, 3, 5), (3, 5)),
    ((2, 3, 5), (2, 3, 5)),
    ((3, 2, 33), (33,)),
    ((7,), (7,)),
    ((40, 2), (2,)),
    ((2, 1, 1, 2, 1, 3), (2, 1, 3)),
    ((5, 1), (1,)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
@pytest.mark.parametrize(("shape", "normalized_shape"), LAYER_SHAPES)
def test_layer_norm_equals_loops(shape: tuple, normalized_shape: tuple, layout: str, dtype: Any) -> None:
    """Every row by itself, over one or several last axes, whatever the strides; the input is not changed."""
    x = lay_out(random(shape, 1, dtype) * 2 + 1, layout, 0)
    weight, bias = random(normalized_shape, 2, dtype), random(normalized_shape, 3, dtype)
    before = x.copy()
    expected = np.zeros(shape)
    for index in np.ndindex(shape[: len(shape) - len(normalized_shape)]):
        mean, var, _ = moments(x[index])
        expected[index] = (x[index].astype(np.float64) - mean) / math.sqrt(var + 1e-5) * weight + bias
    output = fastconv.layer_norm(x, normalized_shape, weight, bias)
    assert output.dtype == dtype
    assert output.flags.c_contiguous
    assert_near(output, expected)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(("shape", "normalized_shape"), LAYER_SHAPES)
def test_layer_norm_gradient_is_the_central_difference(shape: tuple, normalized_shape: tuple) -> None:
    """Of input, weight and bias, in float64."""
    x, g = random(shape, 1), lay_out(random(shape, 2), "F", 0)
    weight, bias = random(normalized_shape, 3), random(normalized_shape, 4)

    def forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        return fastconv.layer_norm(x, normalized_shape, weight, bias, eps=0.1)

    grad_input, grad_weight, grad_bias = grad.layer_norm(x, list(normalized_shape), g, weight, eps=0.1)
    for result, expected in (
        (grad_input, central_difference(lambda v: forward(v, weight, bias), x, g)),
        (grad_weight, central_difference(lambda v: forward(x, v, bias), weight, g)),
        (grad_bias, central_difference(lambda v: forward(x, weight, v), bias, g)),
    ):
        np.testing.assert_allclose(result, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("shape", "normalized_shape"), LAYER_SHAPES)
def test_layer_norm_gradient_float32(shape: tuple, normalized_shape: tuple) -> None:
    """Equal to float64 within float32's rounding, with and without a weight."""
    x, g = random(shape, 1, np.float32), random(shape, 2, np.float32)
    weight = random(normalized_shape, 3, np.float32)
    for w in (weight, None):
        narrow = grad.layer_norm(x, normalized_shape, g, w, eps=0.1)
        wide = grad.layer_norm(
            x.astype(float), normalized_shape, g.astype(float), w if w is None else w.astype(float), 0.1
        )
        for a, b in zip(narrow, wide, strict=True):
            assert a.dtype == np.float32
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * max(1.0, np.abs(b).max()))


# ---- local_response_norm -----------------------------------------------------------------------------

#: input's shape, size of the window
WINDOWS: list[tuple[tuple[int, ...], int]] = [
    ((2, 5, 3), 3),
    ((1, 6, 2, 2), 2),
    ((2, 4, 2, 1, 2), 4),
    ((1, 7, 3), 1),
    ((2, 3, 2), 5),
    ((1, 5, 2), 6),
    ((1, 4, 2), 50),
    ((1, 1, 3), 2),
    ((3, 2, 2), 2**60),
]


def response_loops(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    """Channel by channel; a window starts size // 2 channels ahead."""
    output = np.zeros(x.shape)
    channels = x.shape[1]
    for c in range(channels):
        first, last = max(0, c - size // 2), min(channels - 1, c + (size - 1) // 2)
        squares = sum(x[:, j].astype(np.float64) ** 2 for j in range(first, last + 1))
        output[:, c] = x[:, c] / (k + alpha / size * squares) ** beta
    return output


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
@pytest.mark.parametrize(("shape", "size"), WINDOWS)
def test_local_response_norm_equals_loops(shape: tuple, size: int, layout: str, dtype: Any) -> None:
    """Odd and even windows, wider than the channels, of any size without overflow; memory order kept."""
    x = lay_out(random(shape, 1, dtype) * 3, layout, 1)
    before = x.copy()
    output = fastconv.local_response_norm(x, size, alpha=2.0, beta=0.75, k=1.5)
    assert output.dtype == dtype
    assert_near(output, response_loops(x, size, 2.0, 0.75, 1.5))
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(("shape", "size"), WINDOWS[:-1])
def test_local_response_norm_gradient_is_the_central_difference(shape: tuple, size: int) -> None:
    """The mirrored window: an even one is not its own mirror image."""
    x, g = random(shape, 1), lay_out(random(shape, 2), "F", 0)
    expected = central_difference(lambda v: fastconv.local_response_norm(v, size, 2.0, 0.75, 1.5), x, g)
    result = grad.local_response_norm_input(x, g, size, 2.0, 0.75, 1.5)
    np.testing.assert_allclose(result, expected, rtol=1e-8, atol=1e-8)
    narrow = grad.local_response_norm_input(x.astype(np.float32), g.astype(np.float32), size, 2.0, 0.75, 1.5)
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, result, rtol=0, atol=1e-5)


def test_local_response_norm_defaults_as_torch() -> None:
    """alpha 1e-4, beta 0.75, k 1."""
    x = random((2, 5, 3), 1) * 100
    np.testing.assert_allclose(
        fastconv.local_response_norm(x, 5), response_loops(x, 5, 1e-4, 0.75, 1.0), rtol=1e-12
    )


def test_a_non_finite_value_reaches_exactly_its_windows() -> None:
    """Forward: NaN where a window holds it. Gradient: where a window of a window does. Nowhere else."""
    for bad in (NAN, INF):
        x = np.ones((1, 12, 1))
        x[0, 5] = bad
        plain = fastconv.local_response_norm(np.ones((1, 12, 1)), 4)
        output = fastconv.local_response_norm(x, 4)
        touched = np.flatnonzero((output != plain).ravel())
        assert touched.tolist() == [4, 5, 6, 7]  # windows c - 2 ... c + 1
        gradient = grad.local_response_norm_input(x, np.ones_like(x), 4)
        plain = grad.local_response_norm_input(np.ones((1, 12, 1)), np.ones_like(x), 4)
        assert set(np.flatnonzero((gradient != plain).ravel())) <= set(range(2, 9))


# ---- large and small values ----------------------------------------------------------------------------

HUGE, TINY = 2.0**600, 2.0**-600


@pytest.mark.parametrize("layout", ["C", "F", "channels_last", "sliced"])
def test_batch_norm_of_values_whose_squares_overflow(layout: str) -> None:
    """Values of 1e180 give what the same values give at ordinary size, and gradients 1e-180 of it."""
    x, g = (lay_out(random((4, 3, 5, 6), seed), layout, 1) for seed in (1, 2))
    weight, bias = random((3,), 3), random((3,), 4)
    plain = fastconv.batch_norm(x, None, None, weight, bias, training=True, eps=1e-30)
    huge = lay_out(x * HUGE, layout, 1)
    result = fastconv.batch_norm(huge, None, None, weight, bias, training=True)
    np.testing.assert_allclose(result, plain, rtol=1e-12, atol=1e-12)
    expected = grad.batch_norm(x, g, weight=weight, eps=1e-30)
    for part, whole, size in zip(
        grad.batch_norm(huge, g, weight=weight), expected, (HUGE, 1, 1), strict=True
    ):
        np.testing.assert_allclose(part * size, whole, rtol=1e-12, atol=1e-12)
    mean, var = np.zeros(3), np.ones(3)
    fastconv.batch_norm(huge, mean, var, training=True)
    np.testing.assert_allclose(mean, 0.1 * huge.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_array_equal(var, INF)  # it is 1e361


def test_norms_at_the_ends_of_the_range() -> None:
    """The largest float64 values, whose sum and difference overflow; a channel of them touches no other."""
    top = np.finfo(np.float64).max
    x = np.array([[top, 1.0], [-top, 3.0]])
    expected = [[1.0, -1.0], [-1.0, 1.0]]
    np.testing.assert_allclose(fastconv.batch_norm(x, None, None, training=True), expected, rtol=1e-5)
    rows = np.ascontiguousarray(x.T)
    np.testing.assert_allclose(fastconv.layer_norm(rows, 2), np.transpose(expected), rtol=1e-5)
    single = np.array([[3e38], [-3e38]], np.float32)
    np.testing.assert_allclose(fastconv.batch_norm(single, None, None, training=True), [[1], [-1]], rtol=1e-6)


@pytest.mark.parametrize("size", [HUGE, TINY])
@pytest.mark.parametrize("features", [6, 70_000])
def test_layer_norm_of_huge_and_tiny_values(features: int, size: float) -> None:
    """Short rows and long ones; tiny values have a variance of their own only without an eps."""
    x, g = random((3, features), 1), random((3, features), 2)
    weight = random((features,), 3)
    plain = fastconv.layer_norm(x, features, weight, eps=0.0)
    np.testing.assert_allclose(fastconv.layer_norm(x * size, features, weight, eps=0.0), plain, rtol=1e-9)
    expected = grad.layer_norm(x, features, g, weight, eps=0.0)
    result = grad.layer_norm(x * size, features, g, weight, eps=0.0)
    for part, whole, factor in zip(result, expected, (size, 1, 1), strict=True):
        np.testing.assert_allclose(part * factor, whole, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 2.0**80), (np.float64, 2.0**600)])
def test_local_response_norm_of_values_whose_squares_overflow(dtype: Any, size: float) -> None:
    """x^(1 - 2 beta) of a large x, not 0; beside it an ordinary pixel, which keeps its bits."""
    x, g = random((2, 5, 2), 1, dtype), random((2, 5, 2), 2, dtype)
    large = x * np.array([size, 1], dtype)
    result, back = fastconv.local_response_norm(large, 3), grad.local_response_norm_input(large, g, 3)
    plain, plain_back = fastconv.local_response_norm(x, 3), grad.local_response_norm_input(x, g, 3)
    np.testing.assert_array_equal(result[..., 1], plain[..., 1])
    np.testing.assert_array_equal(back[..., 1], plain_back[..., 1])
    exact = fastconv.local_response_norm(x.astype(np.float64), 3, k=1e-300)[..., 0] * size**-0.5
    np.testing.assert_allclose(result[..., 0], exact, rtol=1e-5)
    exact = grad.local_response_norm_input(x.astype(float), g.astype(float), 3, k=1e-300)[..., 0] * size**-1.5
    np.testing.assert_allclose(back[..., 0], exact, rtol=1e-4, atol=1e-30 * size**-1.5)


# ---- all of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["C", "F", "channels_last", "sliced"])
def test_bits_of_an_image_do_not_depend_on_its_batch(layout: str, dtype: Any) -> None:
    """Except in training's batch_norm, where they are meant to."""
    x, g = (lay_out(random((6, 37, 5, 7), seed, dtype), layout, 1) for seed in (1, 2))
    mean, var = random((37,), 3, dtype), np.random.default_rng(4).uniform(0.5, 2, 37).astype(dtype)
    weight = random((5, 7), 5, dtype)
    calls = {
        "batch_norm": lambda x, g: fastconv.batch_norm(x, mean, var, var, mean),
        "batch_norm gradient": lambda x, g: grad.batch_norm(x, g, mean, var, var, training=False)[0],
        "layer_norm": lambda x, g: fastconv.layer_norm(x, (5, 7), weight, weight),
        "layer_norm gradient": lambda x, g: grad.layer_norm(x, (5, 7), g, weight)[0],
        "local_response_norm": lambda x, g: fastconv.local_response_norm(x, 5, 1.0),
        "local_response_norm gradient": lambda x, g: grad.local_response_norm_input(x, g, 5, 1.0),
    }
    for name, call in calls.items():
        whole = call(x, g)
        for n in (0, 4):
            np.testing.assert_array_equal(call(x[n : n + 1], g[n : n + 1])[0], whole[n], err_msg=name)


@pytest.mark.parametrize("layout", ["C", "channels_last"])
@pytest.mark.parametrize("shape", [(8, 50, 30, 31), (1, 2, 300, 301)])
def test_bits_do_not_depend_on_threads(shape: tuple, layout: str) -> None:
    """Sums are split by their length alone; large enough here that tasks are shared, few channels or many."""
    x, g = (lay_out(random(shape, seed, np.float32), layout, 1) for seed in (1, 2))
    c, plane = shape[1], shape[2:]
    results: list[list[np.ndarray]] = []
    for threads in (1, 2, 5):
        fastconv.set_num_threads(threads)
        mean, var = np.zeros(c, np.float32), np.ones(c, np.float32)
        outputs = [fastconv.batch_norm(x, mean, var, training=True), mean, var, *grad.batch_norm(x, g)]
        outputs += [fastconv.layer_norm(x, plane), *grad.layer_norm(x, plane, g)]
        results.append(outputs)
    for outputs in results[1:]:
        for a, b in zip(outputs, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
@pytest.mark.parametrize(
    "shape", [(3, 1), (3, 50), (2, 33, 9), (3, 16, 4, 5), (2, 17, 1, 7), (2, 300, 2, 1, 3)]
)
def test_group_sums_and_maps_equal_numpy(shape: tuple, layout: str, dtype: Any) -> None:
    """The kernels underneath: groups adjacent in memory or not, rows that join or not, tails."""
    a, b = (lay_out(random(shape, seed, dtype), layout, 1) for seed in (1, 2))
    c, axes = shape[1], (0, *range(2, len(shape)))
    a_shift, b_shift, scale, b_scale = (random((c,), seed) for seed in (3, 4, 5, 6))
    wide = (-1, *(1 for _ in shape[2:]))
    left, right = a.astype(float) - a_shift.reshape(wide), b.astype(float) - b_shift.reshape(wide)
    one = np.ones(c)
    sums, products = norm_kernel.group_sums(a, one, a_shift, b, one, b_shift)
    np.testing.assert_allclose(sums, right.sum(axes), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(products, (left * right).sum(axes), rtol=1e-12, atol=1e-12)
    expected = left * scale.reshape(wide) + b * b_scale.reshape(wide) + b_shift.reshape(wide)
    for other in ("C", "F", layout if layout not in ("broadcast", "read_only") else "sliced"):
        out = lay_out(np.zeros(shape, dtype), other, 1)
        assert norm_kernel.group_map(a, one, a_shift, scale, b_shift, out, b, b_scale) is out
        np.testing.assert_allclose(out, expected, rtol=2 * np.finfo(dtype).eps, atol=1e-15)


def test_empty_batches() -> None:
    """An empty result; running statistics are left alone; weight gradients are zero."""
    for shape in ((0, 3), (0, 3, 4), (0, 3, 4, 5)):
        x = np.zeros(shape, np.float32)
        mean, var = np.full(3, 5, np.float32), np.full(3, 7, np.float32)
        for training in (True, False):
            assert fastconv.batch_norm(x, mean, var, training=training).shape == shape
            grad_input, grad_weight, grad_bias = grad.batch_norm(x, x, mean, var, training=training)
            assert grad_input.shape == shape
            np.testing.assert_array_equal([grad_weight, grad_bias], np.zeros((2, 3)))
        np.testing.assert_array_equal(mean, 5)
        np.testing.assert_array_equal(var, 7)
        assert fastconv.layer_norm(x, shape[1:]).shape == shape
        grad_input, grad_weight, grad_bias = grad.layer_norm(x, shape[1:], x)
        assert grad_input.shape == shape
        np.testing.assert_array_equal([grad_weight, grad_bias], np.zeros((2, *shape[1:])))
        if len(shape) > 2:
            assert fastconv.local_response_norm(x, 3).shape == shape
            assert grad.local_response_norm_input(x, x, 3).shape == shape


def test_extra_memory_is_bounded() -> None:
    """No copy of the batch besides the results; only the gradient of layer_norm keeps one, of grad_output."""
    x = np.ones((64, 16, 64, 64), np.float32)  # 16 MiB
    mean, var = np.zeros(16, np.float32), np.ones(16, np.float32)
    calls: list[tuple[Callable[[], Any], int]] = [
        (lambda: fastconv.batch_norm(x, mean, var, training=True), 1),
        (lambda: fastconv.batch_norm(x, mean, var), 1),
        (lambda: grad.batch_norm(x, x), 1),
        (lambda: fastconv.layer_norm(x, (64, 64)), 1),
        (lambda: grad.layer_norm(x, (64, 64), x), 2),
        (lambda: fastconv.local_response_norm(x, 5), 1),
        (lambda: grad.local_response_norm_input(x, x, 5), 1),
    ]
    for call, arrays in calls:
        tracemalloc.start()
        call()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak <= arrays * x.nbytes + 3 * 2**20
