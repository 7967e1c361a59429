"""PReLU, forward and both gradients: loops, NaN, sums over a large batch, bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import grad

NAN, INF = math.nan, math.inf
F32 = np.ones((2, 3), np.float32)
PRELU = [
    ((4, 3, 2, 5), (3,)),
    ((4, 3), (3,)),
    ((2, 3, 4), (1,)),
    ((5,), (1,)),
    ((), (1,)),
    ((2, 3), ()),
    ((0, 3, 2), (3,)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "weight_shape"), PRELU)
def test_prelu_equals_loops(shape: tuple, weight_shape: tuple, dtype: Any) -> None:
    """Forward and both gradients, element by element: a slope per channel (axis 1), or one for all."""
    generator = np.random.default_rng(9)
    x, g = (generator.integers(-4, 5, shape).astype(dtype) for _ in range(2))
    weight = generator.integers(-4, 5, weight_shape).astype(dtype)
    output, grad_input = np.zeros(shape), np.zeros(shape)
    grad_weight = np.zeros(weight.size)
    for index in np.ndindex(shape):
        slot = index[1] if weight.size > 1 else 0
        slope = 1.0 if x[index] > 0 else weight.reshape(-1)[slot]
        output[index], grad_input[index] = slope * x[index], slope * g[index]
        if x[index] <= 0:
            grad_weight[slot] += x[index] * g[index]
    for result, expected in (
        (fastconv.prelu(x, weight), output),
        (grad.prelu_input(x, g, weight), grad_input),
        (grad.prelu_weight(x, weight, g), grad_weight.reshape(weight_shape)),
    ):
        assert result.dtype == dtype
        assert result.shape == expected.shape
        np.testing.assert_array_equal(result, expected)


def test_prelu_slope_of_nan_stays_in_its_channel_and_sign() -> None:
    """A NaN slope reaches the negative values of its channel only."""
    x = np.array([[-1.0, -1.0], [2.0, 2.0]])
    np.testing.assert_array_equal(fastconv.prelu(x, np.array([NAN, 0.5])), [[NAN, -0.5], [2, 2]])
    np.testing.assert_array_equal(
        grad.prelu_weight(x, np.array([1.0, 1.0]), np.full((2, 2), INF)), [-INF, -INF]
    )


def test_prelu_weight_gradient_of_a_large_batch() -> None:
    """Summed in double precision over several chunks: as exact as float32 can say it."""
    x = -np.random.default_rng(10).random((40, 3, 50, 50)).astype(np.float32)
    result = grad.prelu_weight(x, np.ones(3, np.float32), np.ones_like(x))
    np.testing.assert_allclose(result, x.sum(axis=(0, 2, 3), dtype=np.float64), rtol=1e-7)


@pytest.mark.parametrize(
    ("input", "weight", "error", "message"),
    [
        (F32, np.ones(2, np.float32), ValueError, r"weight: shape \(2,\) must be \(3,\)"),
        (F32, np.ones((1, 3), np.float32), ValueError, r"weight: shape \(1, 3\) must be \(3,\)"),
        (F32, np.ones(0, np.float32), ValueError, r"weight: shape \(0,\) must be \(3,\)"),
        (F32[0], np.ones(3, np.float32), ValueError, r"weight: shape \(3,\) must be \(1,\)"),
        (F32, np.ones(3), TypeError, r"weight: dtype float64 does not match"),
        (F32, [1.0], TypeError, r"weight: must be an array"),
        (F32, 0.25, TypeError, r"weight: must be an array"),
    ],
)
def test_refuses_a_bad_prelu_weight(input: Any, weight: Any, error: type, message: str) -> None:
    """One slope, or one per channel."""
    for call in (
        lambda: fastconv.prelu(input, weight),
        lambda: grad.prelu_input(input, input, weight),
        lambda: grad.prelu_weight(input, weight, input),
    ):
        with pytest.raises(error, match=f"^{message}"):
            call()
