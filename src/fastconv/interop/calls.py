"""A call in numbers, checked, and the functions that carry it out by their number of spatial axes.

What doors share: frameworks that differentiate or trace a call want its shapes before it is computed, and its
parameters as something that can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import fastconv
from fastconv import grad
from fastconv.geometry import (
    check_rank,
    conv_geometry,
    conv_transpose_geometry,
    dilated_kernel,
    divisor,
    flag,
    padding_pairs,
    per_axis,
    pool_geometry,
    pool_strides,
    whole_number,
)

Shape = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
_Functions = dict[int, Callable[..., Any]]

CONV: _Functions = {1: fastconv.conv1d, 2: fastconv.conv2d, 3: fastconv.conv3d}
CONV_INPUT: _Functions = {1: grad.conv1d_input, 2: grad.conv2d_input, 3: grad.conv3d_input}
CONV_WEIGHT: _Functions = {1: grad.conv1d_weight, 2: grad.conv2d_weight, 3: grad.conv3d_weight}
CONV_TRANSPOSE: _Functions = {
    1: fastconv.conv_transpose1d,
    2: fastconv.conv_transpose2d,
    3: fastconv.conv_transpose3d,
}
MAX_POOL: _Functions = {1: fastconv.max_pool1d, 2: fastconv.max_pool2d, 3: fastconv.max_pool3d}
MAX_POOL_INPUT: _Functions = {1: grad.max_pool1d_input, 2: grad.max_pool2d_input, 3: grad.max_pool3d_input}
AVG_POOL: _Functions = {1: fastconv.avg_pool1d, 2: fastconv.avg_pool2d, 3: fastconv.avg_pool3d}
AVG_POOL_INPUT: _Functions = {1: grad.avg_pool1d_input, 2: grad.avg_pool2d_input, 3: grad.avg_pool3d_input}


class ConvCall(NamedTuple):
    """Parameters of a convolution, one entry per axis, in the order in which all functions take them."""

    stride: Shape
    padding: Pairs
    dilation: Shape
    groups: int


class MaxCall(NamedTuple):
    """Parameters of a max-pool, in the order in which functions take them."""

    kernel_size: Shape
    stride: Shape
    padding: Pairs
    dilation: Shape
    ceil_mode: bool


class AvgCall(NamedTuple):
    """Parameters of an average-pool, in the order in which functions take them."""

    kernel_size: Shape
    stride: Shape
    padding: Pairs
    ceil_mode: bool
    count_include_pad: bool
    divisor_override: int | None


def conv_call(
    rank: int, input_shape: Shape, weight_shape: Shape, stride: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[ConvCall, Shape]:
    """A convolution's parameters and the shape of its output.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.
    """
    check_rank("input", input_shape, rank)
    geometry = conv_geometry(input_shape, weight_shape, stride, padding, dilation, groups, rank)
    strides = per_axis("stride", stride, rank, 1)
    dilations = per_axis("dilation", dilation, rank, 1)
    pads = padding_pairs(padding, rank, dilated_kernel(weight_shape[2:], dilations), strides)
    return ConvCall(strides, pads, dilations, whole_number("groups", groups, 1)), geometry.output_shape


def transposed_call(
    rank: int,
    input_shape: Shape,
    weight_shape: Shape,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> tuple[ConvCall, Shape]:
    """The convolution whose input gradient a transposed convolution is, and the shape of the latter's output.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.
    """
    check_rank("input", input_shape, rank)
    geometry = conv_transpose_geometry(
        input_shape, weight_shape, stride, padding, output_padding, groups, dilation, rank
    )
    strides = per_axis("stride", stride, rank, 1)
    dilations = per_axis("dilation", dilation, rank, 1)
    pads = padding_pairs(padding, rank, dilated_kernel(weight_shape[2:], dilations), strides)
    return ConvCall(strides, pads, dilations, whole_number("groups", groups, 1)), geometry.input_shape


def max_call(
    rank: int, input_shape: Shape, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> tuple[MaxCall, Shape]:
    """A max-pool's parameters and the shape of its output.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.
    """
    check_rank("input", input_shape, rank)
    geometry = pool_geometry(input_shape, kernel_size, stride, padding, dilation, ceil_mode, rank)
    kernel = per_axis("kernel_size", kernel_size, rank, 1)
    strides = pool_strides(stride, kernel)
    dilations = per_axis("dilation", dilation, rank, 1)
    pads = padding_pairs(padding, rank, dilated_kernel(kernel, dilations), strides)
    return MaxCall(kernel, strides, pads, dilations, flag("ceil_mode", ceil_mode)), geometry.output_shape


def avg_call(
    rank: int,
    input_shape: Shape,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: Any,
    count_include_pad: Any,
    divisor_override: Any,
) -> tuple[AvgCall, Shape]:
    """An average-pool's parameters and the shape of its output.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.
    """
    window, shape = max_call(rank, input_shape, kernel_size, stride, padding, 1, ceil_mode)
    divisor(divisor_override)
    counted = flag("count_include_pad", count_include_pad)
    return AvgCall(*window[:3], window.ceil_mode, counted, divisor_override), shape
