"""Statistics of the normalisations: measured in one pass, folded into two numbers, kept for the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conv_cases import lay_out

import fastconv
from fastconv import grad, nn

DTYPES = [np.float32, np.float64]


def random(shape: tuple[int, ...], seed: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def ulps(result: np.ndarray, exact: np.ndarray) -> float:
    """The largest error, in units of the last place of 1 or of a larger result."""
    place = np.spacing(np.maximum(np.abs(exact), 1).astype(result.dtype)).astype(np.float64)
    return float((np.abs(result - exact) / place).max())


def normalised(x: np.ndarray, axes: tuple[int, ...], mean: Any, var: Any, eps: float) -> np.ndarray:
    """In extended precision."""
    wide = x.astype(np.longdouble)
    mean = wide.mean(axes, keepdims=True) if mean is None else mean.astype(np.longdouble)
    var = ((wide - mean) ** 2).mean(axes, keepdims=True) if var is None else var.astype(np.longdouble)
    return (wide - mean) / np.sqrt(var + eps)


@pytest.mark.parametrize("layout", ["C", "channels_last", "sliced"])
@pytest.mark.parametrize("far", [0.0, 1e3, 1e6, 3e7, -1e12])
def test_a_far_mean_costs_no_ulp(far: float, layout: str) -> None:
    """Means up to four million deviations away are folded, farther ones are not."""
    deviation = 2.0**-3
    x = lay_out(
        (random((4, 5, 6, 7), 1, np.float64) * deviation + far * deviation).astype(np.float32), layout, 1
    )
    mean = np.full(5, far * deviation, np.float32)
    mean[2] = 0.25  # near: its neighbours are not
    var = np.full(5, deviation**2, np.float32)
    wide = (1, 5, 1, 1)
    exact = normalised(x, (0, 2, 3), mean.reshape(wide), var.reshape(wide), 1e-5)
    assert ulps(fastconv.batch_norm(x, mean, var), exact.astype(np.float64)) <= 1
    exact = normalised(x, (0, 2, 3), None, None, 1e-5)
    assert ulps(fastconv.batch_norm(x, None, None, training=True), exact.astype(np.float64)) <= 1
    exact = normalised(x, (3,), None, None, 1e-5)
    assert ulps(fastconv.layer_norm(x, 7), exact.astype(np.float64)) <= 1


@pytest.mark.parametrize("layout", ["C", "channels_last"])
def test_an_outlier_in_front_costs_no_digits(layout: str) -> None:
    """The first value, about which float32 is measured, may be anything: then there are two passes."""
    for first in (1e6, -3e38, 1e-40):
        x = random((3, 4, 5, 40), 1) + np.float32(7)
        x[0, :3, 0, 0] = first
        x[:, 3] = first  # a constant channel, whose variance is 0
        x = lay_out(x, layout, 1)
        exact = normalised(x, (0, 2, 3), None, None, 1e-5).astype(np.float64)
        assert ulps(fastconv.batch_norm(x, None, None, training=True), exact) <= 1
        exact = normalised(x, (3,), None, None, 1e-5).astype(np.float64)
        assert ulps(fastconv.layer_norm(x, 40), exact) <= 1


def test_no_channel_depends_on_its_neighbours() -> None:
    """Where one channel has to be measured in two passes, or cannot be folded, the others keep their bits."""
    x, mean, var = random((3, 20, 5, 6), 1), random((20,), 2), np.ones(20, np.float32)
    far, far_mean = x.copy(), mean.copy()
    far[0, 3, 0, 0], far_mean[3] = 1e8, 1e9
    others = np.arange(20) != 3
    for layout in ("C", "channels_last"):
        plain, changed = lay_out(x, layout, 1), lay_out(far, layout, 1)
        g = lay_out(random(x.shape, 3), layout, 1)
        for one, other in (
            (fastconv.batch_norm(plain, mean, var), fastconv.batch_norm(changed, far_mean, var)),
            (fastconv.batch_norm(plain, None, None, training=True),
             fastconv.batch_norm(changed, None, None, training=True)),
            (grad.batch_norm(plain, g)[0], grad.batch_norm(changed, g)[0]),
        ):  # fmt: skip
            np.testing.assert_array_equal(one[:, others], other[:, others])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["C", "channels_last", "sliced"])
@pytest.mark.parametrize("size", [1.0, 1e-30, 1e30])
def test_what_batch_norm_measured_serves_its_gradient(size: float, layout: str, dtype: Any) -> None:
    """The layer's gradient is that of the function, bit for bit, although it measures nothing again."""
    x = lay_out(random((3, 5, 4, 6), 1, dtype) * dtype(size) + dtype(size), layout, 1)
    g = random(x.shape, 2, dtype)
    layer = nn.BatchNorm2d(5, dtype=dtype)
    assert layer.weight is not None
    assert layer.bias is not None
    layer.weight.value[...] = random((5,), 3, dtype)
    output, backprop = layer.vjp(x)
    assert np.array_equal(output, fastconv.batch_norm(x, None, None, layer.weight.value, None, True))
    grad_input, grad_weight, grad_bias = grad.batch_norm(x, g, weight=layer.weight.value)
    np.testing.assert_array_equal(backprop(g), grad_input)
    np.testing.assert_array_equal(layer.weight.grad, grad_weight)
    np.testing.assert_array_equal(layer.bias.grad, grad_bias)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["C", "F", "sliced"])
@pytest.mark.parametrize("features", [5, 64, 100, 70_000])
def test_what_layer_norm_measured_serves_its_gradient(features: int, layout: str, dtype: Any) -> None:
    """The same of rows: few features, for which nothing is kept, many, and so many that rows are cut."""
    shape = (3, 2, features) if features > 1000 else (300, 7, features)
    x, g = (lay_out(random(shape, seed, dtype) + 1, layout, 0) for seed in (1, 2))
    layer = nn.LayerNorm(features, dtype=dtype)
    assert layer.weight is not None
    assert layer.bias is not None
    layer.weight.value[...] = random((features,), 3, dtype)
    output, backprop = layer.vjp(x)
    assert np.array_equal(output, layer(x))
    grad_input, grad_weight, grad_bias = grad.layer_norm(x, features, g, layer.weight.value)
    np.testing.assert_array_equal(backprop(g), grad_input)
    np.testing.assert_array_equal(layer.weight.grad, grad_weight)
    np.testing.assert_array_equal(layer.bias.grad, grad_bias)


def test_a_layer_normalises_an_empty_batch() -> None:
    """Nothing is measured, and the gradient is as empty."""
    for layer, x in (
        (nn.BatchNorm2d(3), np.zeros((0, 3, 2, 2), np.float32)),
        (nn.LayerNorm(64), np.zeros((0, 64), np.float32)),
    ):
        _, backprop = layer.vjp(x)
        assert backprop(x).shape == x.shape
