"""Convolutions and pools of tensors: names, order of arguments and defaults of `torch.nn.functional`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastconv.interop.torch import calls


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
    return calls.conv(1, input, weight, bias, stride, padding, dilation, groups)


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
    return calls.conv(2, input, weight, bias, stride, padding, dilation, groups)


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
    return calls.conv(3, input, weight, bias, stride, padding, dilation, groups)


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
    return calls.conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


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
    return calls.conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


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
    return calls.conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


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
    return calls.max_pool(1, input, return_indices, kernel_size, stride, padding, dilation, ceil_mode)


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
    return calls.max_pool(2, input, return_indices, kernel_size, stride, padding, dilation, ceil_mode)


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
    return calls.max_pool(3, input, return_indices, kernel_size, stride, padding, dilation, ceil_mode)


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
    return calls.avg_pool(
        1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


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
    return calls.avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


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
    return calls.avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
