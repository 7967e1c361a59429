"""Calls of any rank with tensors: what is allowed, and which operator carries it out.

Sizes may be symbols, of somebody who traces for all sizes: what shapes allow is then left to the operators.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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
from fastconv.interop.torch import operators

_DTYPES = (torch.float32, torch.float64)


def _check_tensor(name: str, value: Any, dtype: torch.dtype | None = None) -> None:
    """Raise `TypeError` unless `value` is a tensor that fastconv can read where it lies."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: must be a torch.Tensor, not {type(value).__name__}")
    if value.dtype not in _DTYPES:
        raise TypeError(f"{name}: dtype must be torch.float32 or torch.float64, not {value.dtype}")
    if dtype is not None and value.dtype != dtype:
        raise TypeError(
            f"{name}: dtype {value.dtype} does not match the other arguments' {dtype}; all must have the same"
        )
    if value.device.type != "cpu" or value.layout != torch.strided:
        raise TypeError(
            f"{name}: must be strided and on the CPU, not {value.layout} on {value.device}; "
            ".to_dense() and .cpu() give such a tensor"
        )


def _flat(pairs: Sequence[tuple[int, int]]) -> list[int]:
    return list(itertools.chain.from_iterable(pairs))


def _is_known(shape: Sequence[Any]) -> bool:
    """Whether sizes are numbers, rather than symbols of somebody who traces for all sizes."""
    return all(type(size) is int for size in shape)


def _check_conv(rank: int, input: Any, weight: Any, bias: Any, channels_axis: int, groups: int) -> None:
    """Types of all tensors, and the shape of the bias."""
    _check_tensor("input", input)
    _check_tensor("weight", weight, input.dtype)
    if weight.ndim != rank + 2:
        raise ValueError(f"weight: shape {tuple(weight.shape)} must have {rank + 2} axes")
    check_rank("input", tuple(input.shape), rank)
    if bias is None:
        return
    _check_tensor("bias", bias, input.dtype)
    channels = weight.shape[channels_axis] * (groups if channels_axis == 1 else 1)
    if tuple(bias.shape) != (channels,):
        raise ValueError(f"bias: shape {tuple(bias.shape)} must be {(channels,)}")


def conv(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    groups = whole_number("groups", groups, 1)
    _check_conv(rank, input, weight, bias, 0, groups)
    strides = per_axis("stride", stride, rank, 1)
    dilations = per_axis("dilation", dilation, rank, 1)
    window = dilated_kernel(tuple(weight.shape[2:]), dilations)
    pads = padding_pairs(padding, rank, window, strides)
    if _is_known(input.shape):
        conv_geometry(tuple(input.shape), tuple(weight.shape), strides, pads, dilations, groups, rank)
    output: Tensor = operators.convolution(
        input, weight, bias, list(strides), _flat(pads), list(dilations), groups
    )
    return output


def conv_transpose(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    groups = whole_number("groups", groups, 1)
    _check_conv(rank, input, weight, bias, 1, groups)
    strides = per_axis("stride", stride, rank, 1)
    dilations = per_axis("dilation", dilation, rank, 1)
    extra = per_axis("output_padding", output_padding, rank, 0)
    if isinstance(padding, str):
        raise ValueError(f"padding={padding!r}: a transposed convolution takes numbers")
    pads = padding_pairs(padding, rank, dilated_kernel(tuple(weight.shape[2:]), dilations), strides)
    if _is_known(input.shape):
        shapes = (tuple(input.shape), tuple(weight.shape))
        conv_transpose_geometry(*shapes, strides, pads, extra, groups, dilations, rank)
    output: Tensor = operators.transposed_convolution(
        input, weight, bias, list(strides), _flat(pads), list(extra), groups, list(dilations)
    )
    return output


def _window(
    rank: int, input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> tuple[list[int], list[int], list[int], list[int], bool]:
    """What an operator of a pool takes, checked."""
    _check_tensor("input", input)
    check_rank("input", tuple(input.shape), rank)
    kernel = per_axis("kernel_size", kernel_size, rank, 1)
    strides = pool_strides(stride, kernel)
    dilations = per_axis("dilation", dilation, rank, 1)
    pads = padding_pairs(padding, rank, dilated_kernel(kernel, dilations), strides)
    ceil_mode = flag("ceil_mode", ceil_mode)
    if _is_known(input.shape):
        pool_geometry(tuple(input.shape), kernel, strides, pads, dilations, ceil_mode, rank)
    return list(kernel), list(strides), _flat(pads), list(dilations), ceil_mode


def max_pool(rank: int, input: Tensor, return_indices: Any, *how: Any) -> Any:
    window = _window(rank, input, *how)
    if flag("return_indices", return_indices):
        return operators.max_pool_with_indices(input, *window)
    if input.requires_grad and torch.is_grad_enabled():
        return operators.max_pool_with_indices(input, *window)[0]
    return operators.max_pool(input, *window)


def avg_pool(
    rank: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    kernel, strides, pads, _, ceil_mode = _window(rank, input, kernel_size, stride, padding, 1, ceil_mode)
    counted = flag("count_include_pad", count_include_pad)
    divisor(divisor_override)
    output: Tensor = operators.avg_pool(input, kernel, strides, pads, ceil_mode, counted, divisor_override)
    return output
