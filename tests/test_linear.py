"""The fully connected layer and its gradients: equal to plain float64 loops on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import INPUT_LAYOUTS, assert_close, examples, lay_out
from hypothesis import given
from hypothesis import strategies as st
from reference import conv as reference

import fastconv
from fastconv.grad import linear_bias, linear_input, linear_weight
from fastconv.runtime import runnable_isas

DTYPES = st.sampled_from(["float32", "float64"])
LAYOUTS = st.sampled_from(INPUT_LAYOUTS)
LEADING = st.lists(st.integers(1, 5), max_size=4).map(tuple)
FEATURES = st.one_of(st.integers(1, 9), st.integers(10, 70))


def integers(shape: tuple[int, ...], dtype: str, seed: int, layout: str = "C") -> np.ndarray:
    """Small integers: sums are exact, so that every result must equal the loops' to the bit."""
    return lay_out(np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype), layout, len(shape) - 1)


@given(
    leading=LEADING,
    c=FEATURES,
    k=FEATURES,
    dtype=DTYPES,
    layouts=st.tuples(LAYOUTS, LAYOUTS),
    bias=st.booleans(),
)
@examples(400)
def test_linear_and_its_gradients_equal_matrix_products(
    leading: tuple[int, ...], c: int, k: int, dtype: str, layouts: tuple[str, str], bias: bool
) -> None:
    """Any number of leading axes, none included; any layout."""
    input = integers((*leading, c), dtype, 1, layouts[0])
    weight = integers((k, c), dtype, 2, layouts[1])
    b = integers((k,), dtype, 3) if bias else None
    grad_output = integers((*leading, k), dtype, 4, layouts[0])
    before = input.copy(), weight.copy(), grad_output.copy()
    rows, gradients = input.reshape(-1, c).astype(np.float64), grad_output.reshape(-1, k).astype(np.float64)
    for isa in runnable_isas():
        fastconv.set_isa(isa)
        results = (
            (fastconv.linear(input, weight, b), rows @ weight.T + (b if bias else 0), (*leading, k)),
            (linear_input(weight, grad_output), gradients @ weight, (*leading, c)),
            (linear_weight(input, grad_output), gradients.T @ rows, (k, c)),
            (linear_bias(grad_output), gradients.sum(axis=0), (k,)),
        )
        for result, expected, shape in results:
            assert result.dtype == np.dtype(dtype)
            assert_close(result, expected.reshape(shape), exact=True, context=isa)
    for array, copy in zip((input, weight, grad_output), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear_equals_float64_loops(isa: str, dtype: type) -> None:
    """Real numbers: within 1e-5 and 1e-12 of the largest output, also where one sum is 900 products long."""
    generator = np.random.default_rng(5)
    input = generator.standard_normal((3, 900)).astype(dtype)
    weight, bias = (
        generator.standard_normal((21, 900)).astype(dtype),
        generator.standard_normal(21).astype(dtype),
    )
    assert_close(fastconv.linear(input, weight, bias), reference.linear(input, weight, bias))


def test_a_row_does_not_depend_on_its_neighbours(isa: str) -> None:
    """The same bits for a row alone and among others."""
    generator = np.random.default_rng(6)
    input, weight = generator.standard_normal((67, 500)), generator.standard_normal((45, 500))
    bias = generator.standard_normal(45)
    together = fastconv.linear(input, weight, bias)
    gradient = linear_input(weight, together)
    for row in range(len(input)):
        alone = fastconv.linear(input[row], weight, bias)
        np.testing.assert_array_equal(alone, together[row])
        np.testing.assert_array_equal(linear_input(weight, alone), gradient[row])


def test_no_rows() -> None:
    """An empty batch: empty results, and a weight gradient of zeros."""
    assert fastconv.linear(np.ones((0, 3)), np.ones((2, 3)), np.ones(2)).shape == (0, 2)
    assert fastconv.linear(np.ones((4, 0, 3)), np.ones((2, 3))).shape == (4, 0, 2)
    assert linear_input(np.ones((2, 3)), np.ones((0, 2))).shape == (0, 3)
    np.testing.assert_array_equal(linear_weight(np.ones((0, 3)), np.ones((0, 2))), np.zeros((2, 3)))
    np.testing.assert_array_equal(linear_bias(np.ones((0, 2))), np.zeros(2))


def test_bias_gradient_does_not_lose_digits() -> None:
    """A float32 counter stalls at 2**24; the sum over more rows than that must not."""
    rows = np.broadcast_to(np.float32(1), (2**24 + 10, 1))
    np.testing.assert_array_equal(linear_bias(rows), [np.float32(2**24 + 10)])
