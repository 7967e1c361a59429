"""Convolutions and pools of tensors: names, order of arguments and defaults of `torch.nn.functional`."""

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


def _conv(
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


def _conv_transpose(
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


def _max_pool(rank: int, input: Tensor, return_indices: Any, *how: Any) -> Any:
    window = _window(rank, input, *how)
    if flag("return_indices", return_indices):
        return operators.max_pool_with_indices(input, *window)
    if input.requires_grad and torch.is_grad_enabled():
        return operators.max_pool_with_indices(input, *window)[0]
    return operators.max_pool(input, *window)


def _avg_pool(
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


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """1-D convolution of (N, C, W) or (C, W) with (K, C / groups, KW); everything else as `conv2d`.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import conv1d
    >>> conv1d(torch.ones(1, 1, 5), torch.ones(1, 1, 3))
    tensor([[[3., 3., 3.]]])
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """2-D convolution of tensors, with gradients of any order; nothing is copied on the way in or out.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64, on the CPU
        Any strides: it is read where it lies.
    weight : Tensor, shape (K, C / groups, KH, KW), same dtype
    bias : Tensor, shape (K,), same dtype, optional
    stride, padding, dilation, groups
        As `fastconv.conv2d`, which also takes (before, after) pairs as padding.

    Returns
    -------
    Tensor, shape (N, K, OH, OW) or (K, OH, OW)
        Channels-last in memory if the input is.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Notes
    -----
    The operators are `torch.ops.fastconv.*`; `torch.compile` calls them as they stand. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv2d.html.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import conv2d
    >>> picture, weight = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2, requires_grad=True)
    >>> conv2d(picture, weight).sum().backward()
    >>> weight.grad[0, 0]
    tensor([[4., 4.],
            [4., 4.]])
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """3-D convolution of (N, C, D, H, W) with (K, C / groups, KD, KH, KW); everything else as `conv2d`.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import conv3d
    >>> conv3d(torch.ones(1, 2, 4, 4, 4), torch.ones(3, 2, 3, 3, 3)).shape
    torch.Size([1, 3, 2, 2, 2])
    """
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """1-D transposed convolution of (N, C, W) with (C, K / groups, KW); see `conv_transpose2d`.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import conv_transpose1d
    >>> conv_transpose1d(torch.ones(1, 1, 3), torch.ones(1, 1, 2), stride=2)
    tensor([[[1., 1., 1., 1., 1., 1.]]])
    """
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """2-D transposed convolution of tensors, with gradients of any order.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64, on the CPU
    weight : Tensor, shape (C, K / groups, KH, KW), same dtype
    bias : Tensor, shape (K,), same dtype, optional
    stride, padding, output_padding, groups, dilation
        As `fastconv.conv_transpose2d`.

    Returns
    -------
    Tensor, shape (N, K, OH, OW) or (K, OH, OW)
        Channels-last in memory if the input is.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Notes
    -----
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose2d.html.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import conv_transpose2d
    >>> conv_transpose2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), stride=2).shape
    torch.Size([1, 1, 4, 4])
    """
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """3-D transposed convolution of (N, C, D, H, W) with (C, K / groups, KD, KH, KW); see `conv_transpose2d`.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import conv_transpose3d
    >>> conv_transpose3d(torch.ones(1, 1, 2, 2, 2), torch.ones(1, 4, 2, 2, 2), stride=2).shape
    torch.Size([1, 4, 4, 4, 4])
    """
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """1-D max-pooling of (N, C, W) or (C, W); everything else as `max_pool2d`.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import max_pool1d
    >>> max_pool1d(torch.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    return _max_pool(1, input, return_indices, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """2-D max-pooling of a tensor, with gradients of any order.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64, on the CPU
    kernel_size, stride, padding, dilation, ceil_mode
        As `fastconv.max_pool2d`.
    return_indices : bool, default False

    Returns
    -------
    output : Tensor, shape (N, C, OH, OW) or (C, OH, OW)
        Channels-last in memory if the input is.
    indices : Tensor of int64, same shape, if `return_indices`
        Flat position of each maximum in its plane; of equal maxima, or several NaNs, the first.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Notes
    -----
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import max_pool2d
    >>> max_pool2d(torch.arange(16.0).reshape(1, 4, 4), 2)
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    return _max_pool(2, input, return_indices, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """3-D max-pooling of (N, C, D, H, W) or (C, D, H, W); everything else as `max_pool2d`.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import max_pool3d
    >>> max_pool3d(torch.ones(1, 2, 4, 4, 4), 2).shape
    torch.Size([1, 2, 2, 2, 2])
    """
    return _max_pool(3, input, return_indices, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """1-D average-pooling of (N, C, W) or (C, W); everything else as `avg_pool2d`.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import avg_pool1d
    >>> avg_pool1d(torch.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[2., 1.]])
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """2-D average-pooling of a tensor, with gradients of any order.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W), float32 or float64, on the CPU
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As `fastconv.avg_pool2d`.

    Returns
    -------
    Tensor, shape (N, C, OH, OW) or (C, OH, OW)
        Channels-last in memory if the input is.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Notes
    -----
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool2d.html.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import avg_pool2d
    >>> avg_pool2d(torch.arange(16.0).reshape(1, 4, 4), 2)
    tensor([[[ 2.5000,  4.5000],
             [10.5000, 12.5000]]])
    """
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """3-D average-pooling of (N, C, D, H, W) or (C, D, H, W); everything else as `avg_pool2d`.

    Examples
    --------
    >>> import torch
    >>> from fastconv.interop.torch import avg_pool3d
    >>> avg_pool3d(torch.ones(1, 1, 2, 2, 2), 2)
    tensor([[[[[1.]]]]])
    """
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
