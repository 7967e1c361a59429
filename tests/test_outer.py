"""Convolutions in which nothing slides: each axis is one element long in input, kernel or output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conv_cases import CONV, CONV_INPUT, CONV_WEIGHT, lay_out

import fastconv

# spatial sizes, kernel, padding, stride, dilation
SHAPES: dict[str, tuple[Any, ...]] = {
    "row over a column": ((37, 1), (1, 29), ((0, 0), (28, 28)), 1, 1),
    "column over a row": ((1, 37), (29, 1), ((28, 28), (0, 0)), 1, 1),
    "one element to a picture": ((1, 1), (9, 7), ((8, 8), (6, 6)), 1, 1),
    "one element to a part of it": ((1, 1), (9, 7), ((8, 2), (6, 1)), 1, 1),
    "a picture to one element": ((9, 11), (9, 11), 0, 1, 1),
    "a picture and its frame to one element": ((9, 11), (11, 12), ((1, 1), (0, 1)), 1, 1),
    "whole columns": ((70, 33), (70, 1), 0, 1, 1),
    "every second row over a column": ((37, 1), (1, 29), ((0, 0), (28, 28)), (2, 1), 1),
    "every second tap": ((1, 1), (1, 29), ((0, 0), (28, 28)), (1, 2), 1),
    "every third output": ((1, 5), (7, 1), ((18, 18), (0, 0)), 1, (3, 1)),
    "a signal": ((1,), (300,), 299, 1, 1),
    "a signal to one element": ((300,), (300,), 0, 1, 1),
    "a beam and a plane": ((1, 6, 7), (5, 1, 1), ((4, 4), (0, 0), (0, 0)), 1, 1),
    "a beam to a plane": ((5, 1, 1), (5, 6, 7), ((0, 0), (5, 5), (6, 6)), 1, 1),
    "outputs that meet nothing": ((1,), (2,), ((4, 0),), 2, 1),
    "padding beyond the kernel": ((1, 1), (3, 3), 4, 1, 1),
}


def arrays(shape: tuple[Any, ...], dtype: Any, layout: str, n: int, groups: int, c: int, k: int) -> Any:
    size, kernel, padding, stride, dilation = shape
    random = np.random.default_rng(7)
    input = lay_out(random.standard_normal((n, groups * c, *size)).astype(dtype), layout, 1)
    weight = random.standard_normal((groups * k, c, *kernel)).astype(dtype)
    return input, weight, (stride, padding, dilation, groups)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SHAPES)
def test_products_equal_the_plain_loops(isa: str, name: str, dtype: type) -> None:
    for layout, n, groups, c, k in (("C", 2, 1, 3, 5), ("channels_last", 3, 2, 4, 3), ("sliced", 1, 3, 1, 1)):
        input, weight, parameters = arrays(SHAPES[name], dtype, layout, n, groups, c, k)
        rank = len(SHAPES[name][0])
        bias = np.linspace(-1, 1, groups * k).astype(dtype)
        tolerance = 2e-4 if dtype is np.float32 else 1e-11
        expected = CONV[rank](input, weight, bias, *parameters, activation="relu", algorithm="reference")
        output = CONV[rank](input, weight, bias, *parameters, activation="relu")
        np.testing.assert_allclose(output, expected, rtol=tolerance, atol=tolerance)
        output = CONV[rank](input, weight, None, *parameters, algorithm="direct")
        grad_output = lay_out(np.cos(np.arange(output.size)).reshape(output.shape).astype(dtype), layout, 1)
        for gradient, first in ((CONV_INPUT[rank], input.shape), (CONV_WEIGHT[rank], input)):
            second = weight if gradient is CONV_INPUT[rank] else weight.shape
            expected = gradient(first, second, grad_output, *parameters, algorithm="reference")
            found = gradient(first, second, grad_output, *parameters)
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", SHAPES)
def test_bits_depend_neither_on_threads_nor_on_the_batch(name: str) -> None:
    input, weight, parameters = arrays(SHAPES[name], np.float32, "C", 40, 1, 7, 9)
    rank = len(SHAPES[name][0])

    def passes(input: Any) -> tuple[np.ndarray, np.ndarray]:
        output = CONV[rank](input, weight, None, *parameters)
        return output, CONV_INPUT[rank](input.shape, weight, output, *parameters)

    fastconv.set_num_threads(1)
    output, grad_input = passes(input)
    grad_weight = CONV_WEIGHT[rank](input, weight.shape, output, *parameters)
    alone = [passes(input[i : i + 1]) for i in (0, 39)]
    for i, image in zip((0, 39), alone, strict=True):
        assert np.array_equal(image[0][0], output[i])
        assert np.array_equal(image[1][0], grad_input[i])
    fastconv.set_num_threads(2)
    assert np.array_equal(output, passes(input)[0])
    assert np.array_equal(grad_weight, CONV_WEIGHT[rank](input, weight.shape, output, *parameters))


def test_an_empty_batch_has_no_weight_gradient() -> None:
    input, grad_output = np.empty((0, 2, 1, 1), np.float32), np.empty((0, 3, 4, 4), np.float32)
    assert not fastconv.grad.conv2d_weight(input, (3, 2, 4, 4), grad_output, 1, 3).any()
    assert fastconv.conv2d(input, np.ones((3, 2, 4, 4), np.float32), np.ones(3, np.float32), 1, 3).shape == (
        0,
        3,
        4,
        4,
    )


def test_latent_vectors_become_pictures(isa: str) -> None:
    latent = np.random.default_rng(1).standard_normal((2, 5, 1, 1)).astype(np.float32)
    weight = np.random.default_rng(2).standard_normal((5, 6, 4, 4)).astype(np.float32)
    bias = np.arange(6, dtype=np.float32)
    expected = np.einsum("nc,ckhw->nkhw", latent[:, :, 0, 0], weight) + bias[:, None, None]
    np.testing.assert_allclose(
        fastconv.conv_transpose2d(latent, weight, bias), expected, rtol=1e-5, atol=1e-5
    )


def test_a_non_finite_element_reaches_what_it_meets(isa: str) -> None:
    column, row = np.ones((1, 1, 40, 1), np.float32), np.ones((1, 1, 1, 30), np.float32)
    column[0, 0, 3] = np.nan
    output = fastconv.conv2d(column, row, None, 1, (0, 29))
    assert np.array_equal(np.isnan(output[0, 0]), np.isnan(np.outer(column, row)))
