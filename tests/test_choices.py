"""What `auto` chooses for named shapes: a change of its rules shows here, and has to be meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conv_cases import CONV, CONV_INPUT

import fastconv
from fastconv.algorithm import DIRECTIONS, choose
from fastconv.geometry import conv_geometry

# input and weight shape, stride, padding, dilation, groups; what computes output, input and weight gradient
CHOICES: dict[str, tuple[tuple[Any, ...], tuple[str, str, str]]] = {
    "3x3 of few channels": (((1, 16, 32, 32), (16, 16, 3, 3), 1, 1, 1, 1), ("sliding", "sliding", "direct")),
    "3x3 of 64 channels": (
        ((1, 64, 56, 56), (64, 64, 3, 3), 1, 1, 1, 1),
        ("winograd", "winograd", "winograd"),
    ),
    "3x3 of 512 channels": (
        ((1, 512, 7, 7), (512, 512, 3, 3), 1, 1, 1, 1),
        ("winograd", "winograd", "winograd"),
    ),
    "3x3 of 128 channels, stride 2": (
        ((1, 128, 56, 56), (128, 128, 3, 3), 2, 1, 1, 1),
        ("sliding", "sliding", "direct"),
    ),
    "5x5 of 64 channels": (
        ((1, 64, 27, 27), (192, 64, 5, 5), 1, 2, 1, 1),
        ("sliding", "sliding", "winograd"),
    ),
    "pointwise": (((1, 64, 56, 56), (256, 64, 1, 1), 1, 0, 1, 1), ("direct", "direct", "direct")),
    "first layer": (((1, 3, 224, 224), (64, 3, 7, 7), 2, 3, 1, 1), ("sliding", "sliding", "direct")),
    "three outputs": (((1, 64, 128, 128), (3, 64, 3, 3), 1, 1, 1, 1), ("sliding", "sliding", "direct")),
    "depthwise 3x3": (((1, 96, 56, 56), (96, 1, 3, 3), 1, 1, 1, 96), ("depthwise", "depthwise", "direct")),
    "depthwise, far dilated": (
        ((1, 64, 16384), (64, 1, 7), 1, 3072, 1024, 64),
        ("depthwise", "depthwise", "direct"),
    ),
    "depthwise, three rows a class": (
        ((1, 33, 28, 18, 21), (33, 1, 3, 2, 3), 1, 0, (6, 8, 5), 33),
        ("sliding", "sliding", "direct"),
    ),
    "small planes": (((1, 6, 14, 14), (16, 6, 5, 5), 1, 0, 1, 1), ("sliding", "col2im", "direct")),
    "two taps of 64 channels": (((1, 64, 16000), (64, 64, 2), 1, 0, 1, 1), ("sliding", "sliding", "direct")),
    "two taps far apart": (((1, 64, 16000), (64, 64, 2), 1, 0, 512, 1), ("sliding", "sliding", "direct")),
    "three taps of 256 channels": (
        ((1, 256, 1000), (256, 256, 3), 1, 1, 1, 1),
        ("winograd", "winograd", "winograd"),
    ),
    "dilated 3x3": (((1, 64, 64, 64), (64, 64, 3, 3), 1, 6, 6, 1), ("sliding", "sliding", "direct")),
    "narrow columns": (((1, 1, 191, 4), (96, 1, 1, 2), 1, (0, 1), 1, 1), ("direct", "sliding", "direct")),
    "a kernel nearly as large as the picture": (
        ((1, 31, 16, 18), (45, 31, 14, 16), 1, (7, 0), 1, 1),
        ("sliding", "col2im", "direct"),
    ),
    "one output": (((1, 64, 9, 9), (100, 64, 9, 9), 1, 0, 1, 1), ("direct", "direct", "direct")),
    "latent to picture": (((1, 3, 64, 64), (64, 3, 64, 64), 1, 0, 1, 1), ("direct", "direct", "direct")),
    "row over a column": (
        ((1, 1, 1000, 1), (1, 1, 1, 1000), 1, (0, 999), 1, 1),
        ("direct", "direct", "direct"),
    ),
}


def choices(
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> tuple[str, ...]:
    rank = len(weight_shape) - 2
    geometry = conv_geometry(input_shape, weight_shape, stride, padding, dilation, groups, rank)
    return tuple(choose(geometry, direction, "highest") for direction in DIRECTIONS)


@pytest.mark.parametrize("name", CHOICES)
def test_choices_of_named_shapes(name: str) -> None:
    shapes, expected = CHOICES[name]
    assert choices(*shapes) == expected


@pytest.mark.parametrize("name", CHOICES)
def test_the_choice_does_not_look_at_the_batch(name: str) -> None:
    (input_shape, *rest), _ = CHOICES[name]
    many = choices((32, *input_shape[1:]), *rest)
    assert many[:2] == choices(input_shape, *rest)[:2]


@pytest.mark.parametrize("name", ["small planes", "latent to picture", "depthwise 3x3"])
def test_conv_info_tells_the_choice_of_each_direction(name: str) -> None:
    (input_shape, weight_shape, *rest), expected = CHOICES[name]
    for direction, algorithm in zip(DIRECTIONS[:2], expected, strict=False):
        info = fastconv.conv_info(input_shape, weight_shape, *rest, direction=direction)
        assert info.algorithm == algorithm
        assert min(info.threads, info.tasks, info.workspace_bytes) >= 1
    with pytest.raises(ValueError, match="direction='backward'"):
        fastconv.conv_info(input_shape, weight_shape, direction="backward")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "channels_last"])
def test_far_dilated_depthwise_equals_the_plain_loops(isa: str, layout: str, dtype: type) -> None:
    """Windows that reach far beyond a block, and lengths that the dilation does not divide."""
    random = np.random.default_rng(3)
    for size, kernel, dilation in (((2500,), (7,), 331), ((3, 1301), (2, 4), (1, 409)), ((700,), (2,), 600)):
        input = random.standard_normal((2, 5, *size)).astype(dtype)
        if layout == "channels_last":
            input = np.moveaxis(np.ascontiguousarray(np.moveaxis(input, 1, -1)), -1, 1)
        weight = random.standard_normal((5, 1, *kernel)).astype(dtype)
        conv, gradient = CONV[len(size)], CONV_INPUT[len(size)]
        parameters = (1, 0, dilation, 5)
        output = conv(input, weight, None, *parameters)
        expected = conv(input, weight, None, *parameters, algorithm="reference")
        tolerance = 1e-5 if dtype is np.float32 else 1e-12
        np.testing.assert_allclose(output, expected, rtol=tolerance, atol=tolerance)
        expected = gradient(input.shape, weight, output, *parameters, algorithm="reference")
        found = gradient(input.shape, weight, output, *parameters)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=10 * tolerance)
