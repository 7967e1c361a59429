"""Convolutions and pools of arrays, or of what autograd traces: what people call."""

from __future__ import annotations

from typing import Any

import numpy as np
from autograd.tracer import getval, isbox

from fastconv.geometry import as_array, check_shape
from fastconv.interop.autograd.primitives import avg_pool, convolution, convolution_input, max_pool
from fastconv.interop.calls import avg_call, conv_call, max_call, transposed_call


def _value(name: str, value: Any, dtype: np.dtype | None = None) -> np.ndarray:
    """The array behind an argument that may be traced, several times over."""
    while isbox(value):
        value = getval(value)
    return as_array(name, value, dtype)


def _plus_bias(output: Any, bias: Any, rank: int, channels: int, dtype: np.dtype) -> Any:
    if bias is None:
        return output
    check_shape("bias", _value("bias", bias, dtype), (channels,))
    return output + bias.reshape((channels, *[1] * rank))


def _conv(rank: int, input: Any, weight: Any, bias: Any, *how: Any) -> Any:
    x = _value("input", input)
    w = _value("weight", weight, x.dtype)
    call, _ = conv_call(rank, x.shape, w.shape, *how)
    return _plus_bias(convolution(input, weight, call), bias, rank, w.shape[0], x.dtype)


def _conv_transpose(rank: int, input: Any, weight: Any, bias: Any, *how: Any) -> Any:
    x = _value("input", input)
    w = _value("weight", weight, x.dtype)
    call, shape = transposed_call(rank, x.shape, w.shape, *how)
    output = convolution_input(shape, weight, input, call)
    return _plus_bias(output, bias, rank, shape[-rank - 1], x.dtype)


def _max_pooled(rank: int, input: Any, *how: Any) -> Any:
    return max_pool(input, max_call(rank, _value("input", input).shape, *how)[0])


def _avg_pooled(rank: int, input: Any, *how: Any) -> Any:
    return avg_pool(input, avg_call(rank, _value("input", input).shape, *how)[0])


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """1-D convolution of (N, C, W) or (C, W); everything else as `conv2d`.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import conv1d
    >>> conv1d(np.ones((1, 1, 4)), np.ones((1, 1, 2))).shape
    (1, 1, 3)
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """2-D convolution, with gradients of any order.

    Parameters
    ----------
    input : array, or what autograd traces, shape (N, C, H, W) or (C, H, W), float32 or float64
    weight : the same, shape (K, C / groups, KH, KW)
    bias : the same, shape (K,), optional
    stride, padding, dilation, groups
        As `fastconv.conv2d`.

    Returns
    -------
    array, shape (N, K, OH, OW) or (K, OH, OW)

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Notes
    -----
    Source: https://github.com/HIPS/autograd.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import conv2d
    >>> conv2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2))).shape
    (1, 1, 3, 3)
    >>> autograd.grad(lambda w: conv2d(np.ones((1, 1, 4, 4)), w).sum())(np.ones((1, 1, 2, 2)))[0, 0]
    array([[9., 9.],
           [9., 9.]])
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """3-D convolution of (N, C, D, H, W) or (C, D, H, W); everything else as `conv2d`.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import conv3d
    >>> conv3d(np.ones((1, 1, 4, 4, 4)), np.ones((1, 1, 2, 2, 2))).shape
    (1, 1, 3, 3, 3)
    """
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """1-D transposed convolution of (N, C, W) or (C, W); see `conv_transpose2d`.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import conv_transpose1d
    >>> conv_transpose1d(np.ones((1, 1, 2)), np.ones((1, 1, 2)), stride=2).shape
    (1, 1, 4)
    """
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """2-D transposed convolution, with gradients of any order.

    Parameters
    ----------
    input : array, or what autograd traces, shape (N, C, H, W) or (C, H, W), float32 or float64
    weight : the same, shape (C, K / groups, KH, KW)
    bias : the same, shape (K,), optional
    stride, padding, output_padding, groups, dilation
        As `fastconv.conv_transpose2d`.

    Returns
    -------
    array, shape (N, K, OH, OW) or (K, OH, OW)

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Notes
    -----
    Source: https://github.com/HIPS/autograd.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import conv_transpose2d
    >>> conv_transpose2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), stride=2).shape
    (1, 1, 4, 4)
    """
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """3-D transposed convolution of (N, C, D, H, W) or (C, D, H, W); see `conv_transpose2d`.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import conv_transpose3d
    >>> conv_transpose3d(np.ones((1, 1, 2, 2, 2)), np.ones((1, 1, 2, 2, 2)), stride=2).shape
    (1, 1, 4, 4, 4)
    """
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """1-D max-pooling of (N, C, W) or (C, W); everything else as `max_pool2d`.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import max_pool1d
    >>> max_pool1d(np.ones((1, 1, 4)), 2).shape
    (1, 1, 2)
    """
    return _max_pooled(1, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """2-D max-pooling, with gradients of any order.

    Parameters
    ----------
    input : array, or what autograd traces, shape (N, C, H, W) or (C, H, W), float32 or float64
    kernel_size, stride, padding, dilation, ceil_mode
        As `fastconv.max_pool2d`.

    Returns
    -------
    array, shape (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Notes
    -----
    Source: https://github.com/HIPS/autograd.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import max_pool2d
    >>> max_pool2d(np.ones((1, 1, 4, 4)), 2).shape
    (1, 1, 2, 2)
    """
    return _max_pooled(2, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Any:
    """3-D max-pooling of (N, C, D, H, W) or (C, D, H, W); everything else as `max_pool2d`.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import max_pool3d
    >>> max_pool3d(np.ones((1, 1, 4, 4, 4)), 2).shape
    (1, 1, 2, 2, 2)
    """
    return _max_pooled(3, input, kernel_size, stride, padding, dilation, ceil_mode)


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """1-D average-pooling of (N, C, W) or (C, W); everything else as `avg_pool2d`.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import avg_pool1d
    >>> avg_pool1d(np.ones((1, 1, 4)), 2).shape
    (1, 1, 2)
    """
    return _avg_pooled(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """2-D average-pooling, with gradients of any order.

    Parameters
    ----------
    input : array, or what autograd traces, shape (N, C, H, W) or (C, H, W), float32 or float64
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As `fastconv.avg_pool2d`.

    Returns
    -------
    array, shape (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Notes
    -----
    Source: https://github.com/HIPS/autograd.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import avg_pool2d
    >>> avg_pool2d(np.ones((1, 1, 4, 4)), 2).shape
    (1, 1, 2, 2)
    """
    return _avg_pooled(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """3-D average-pooling of (N, C, D, H, W) or (C, D, H, W); everything else as `avg_pool2d`.

    Examples
    --------
    >>> import autograd, autograd.numpy as np
    >>> from fastconv.interop.autograd import avg_pool3d
    >>> avg_pool3d(np.ones((1, 1, 4, 4, 4)), 2).shape
    (1, 1, 2, 2, 2)
    """
    return _avg_pooled(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
