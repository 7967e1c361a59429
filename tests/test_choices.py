"""What `auto` chooses for named shapes: a change of its rules shows here, and has to be meant."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import CONV, CONV_INPUT

import fastconv
from fastconv.algorithm import DIRECTIONS, choose
from fastconv.functional.case import Case
from fastconv.geometry import ConvGeometry

#: What computes output, input gradient and weight gradient.
CHOICES = {
    "conv2d c16 32x32 k16 3x3 p1": ("sliding", "sliding", "direct"),  # 3x3 of few channels
    "conv2d c64 56x56 k64 3x3 p1": ("winograd", "winograd", "winograd"),
    "conv2d c512 7x7 k512 3x3 p1": ("winograd", "winograd", "winograd"),
    "conv2d c128 56x56 k128 3x3 s2 p1": ("sliding", "sliding", "direct"),
    "conv2d c64 27x27 k192 5x5 p2": ("winograd", "winograd", "winograd"),
    "conv2d c64 56x56 k256 1x1": ("direct", "direct", "direct"),
    "conv2d c3 224x224 k64 7x7 s2 p3": ("sliding", "sliding", "direct"),  # first layer
    "conv2d c64 128x128 k3 3x3 p1": ("sliding", "sliding", "direct"),  # three outputs
    "conv2d c96 56x56 k96 3x3 p1 g96": ("depthwise", "depthwise", "direct"),
    "conv1d c64 16384 k64 7 p3072 d1024 g64": ("depthwise", "depthwise", "direct"),  # depthwise, far dilated
    "conv3d c33 28x18x21 k33 3x2x3 d6x8x5 g33": ("sliding", "sliding", "direct"),  # three rows a class
    "conv2d c6 14x14 k16 5x5": ("sliding", "col2im", "direct"),  # small planes
    "conv1d c64 16000 k64 2": ("sliding", "sliding", "direct"),
    "conv1d c64 16000 k64 2 d512": ("sliding", "sliding", "direct"),  # two taps far apart
    "conv1d c256 1000 k256 3 p1": ("winograd", "winograd", "winograd"),
    "conv2d c64 64x64 k64 3x3 p6 d6": ("winograd", "winograd", "direct"),
    "conv2d c1 191x4 k96 1x2 p0x1": ("direct", "sliding", "direct"),  # narrow columns
    "conv2d c31 16x18 k45 14x16 p7x0": ("sliding", "col2im", "direct"),  # a kernel like the picture
    "conv2d c64 9x9 k100 9x9": ("direct", "direct", "direct"),  # one output
    "conv2d c3 64x64 k64 64x64": ("direct", "direct", "direct"),  # latent to picture
    "conv2d c1 1000x1 k1 1x1000 p0x999": ("direct", "direct", "direct"),  # row over a column
}


#: How "direct" finds a weight gradient, of contiguous arrays and of channels-last ones.
WAYS = {
    "conv2d c16 32x32 k16 3x3 p1": ("by matrix products", "by matrix products"),
    "conv2d c3 224x224 k64 7x7 s2 p3": ("by windows", "by windows"),  # first layer
    "conv2d c64 128x128 k3 3x3 p1": ("by dot products", "by dot products"),  # three outputs
    "conv2d c96 56x56 k96 3x3 p1 g96": ("by rows", "by rows"),  # depthwise
    "conv2d c32 57x57 k32 5x5 s3 p2 g32": ("by dot products", "by rows"),  # stride 3: channels are the lanes
    "conv2d c64 9x9 k100 9x9": ("matrix product", "matrix product"),  # one output
}


def choices(line: str) -> tuple[str, ...]:
    geometry = Case.parse(line).geometry
    assert isinstance(geometry, ConvGeometry)
    return tuple(choose(geometry, direction, "highest") for direction in DIRECTIONS)


@pytest.mark.parametrize("line", CHOICES)
def test_choices_of_layers(line: str) -> None:
    assert choices(line) == CHOICES[line]


@pytest.mark.parametrize("line", CHOICES)
def test_the_choice_does_not_look_at_the_batch(line: str) -> None:
    assert choices(f"{line} n32")[:2] == CHOICES[line][:2]


@pytest.mark.parametrize("line", CHOICES)
def test_conv_info_tells_the_choice_of_each_direction(line: str) -> None:
    for direction, algorithm in zip(DIRECTIONS, CHOICES[line], strict=True):
        info = fastconv.conv_info(f"{line} {direction}")
        assert info.algorithm == algorithm
        assert min(info.threads, info.tasks, info.workspace_bytes) >= 1


@pytest.mark.parametrize("line", WAYS)
def test_ways_to_a_weight_gradient(line: str) -> None:
    """What a plan decides by memory order shows in `conv_info`, too."""
    for order, way in zip(("", " channels_last"), WAYS[line], strict=True):
        info = fastconv.conv_info(f"{line} weight_gradient{order}")
        assert (info.algorithm, info.way) == ("direct", way)


def test_conv_info_refuses_another_direction() -> None:
    with pytest.raises(ValueError, match="direction='backward'"):
        fastconv.conv_info((1, 1, 9), (1, 1, 3), direction="backward")


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
