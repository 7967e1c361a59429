"""What reaches a bias: the sum of grad_output over everything but its channel axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._kernels.conv.direct import ACTIVATIONS
from fastconv._kernels.pointwise import learning
from fastconv.geometry import as_array, check_shape
from fastconv.grad.activation import leaky_relu_input, relu6_input, relu_input

_ACTIVATION_GRADIENTS = {"relu": relu_input, "leaky_relu": leaky_relu_input, "relu6": relu6_input}


def conv_bias(grad_output: Any, batched: bool = True) -> np.ndarray:
    """Gradient of any convolution with respect to its bias.

    Parameters
    ----------
    grad_output : array, shape (N, K, *spatial), or (K, *spatial) if not `batched`

    Returns
    -------
    ndarray, shape (K,)

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv_bias(np.ones((2, 3, 4, 4)))
    array([32., 32., 32.])
    """
    grad_output = as_array("grad_output", grad_output)
    channel = 1 if batched else 0
    if grad_output.ndim <= channel:
        raise ValueError(f"grad_output: shape {grad_output.shape} has no channel axis")
    return channel_sums(grad_output, channel)


def channel_sums(array: np.ndarray, channel: int) -> np.ndarray:
    """Sums over all axes but one, added in double."""
    if not array.flags.c_contiguous:
        # in float32, adding rows one by one, NumPy would lose digits and stall at 2**24 ones
        axes = tuple(axis for axis in range(array.ndim) if axis != channel)
        total: np.ndarray = array.sum(axis=axes, dtype=np.float64)
        return total.astype(array.dtype)
    sums = np.empty(array.shape[channel], array.dtype)
    learning.gradient(array, sums=sums, channel=channel)
    return sums


def through_activation(
    activation: str | None, output: np.ndarray, grad_output: np.ndarray, channel: int, bias: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The gradient in front of a layer's fused activation and, if it has one, of its bias: in one pass.

    Parameters
    ----------
    activation : name of a fused activation, or None
    output : array
        What the layer made.
    grad_output : array, same shape and dtype
    channel : int
        The axis that the bias lies along.
    """
    grad_output = as_array("grad_output", grad_output, output.dtype)
    check_shape("grad_output", grad_output, output.shape)
    if activation is None or not (grad_output.flags.c_contiguous and output.flags.c_contiguous):
        if activation is not None:
            grad_output = _ACTIVATION_GRADIENTS[activation](output, grad_output)
        return grad_output, channel_sums(grad_output, channel) if bias else None
    gradient = np.empty(output.shape, output.dtype)
    sums = np.empty(output.shape[channel], output.dtype) if bias else None
    learning.gradient(grad_output, output, gradient, ACTIVATIONS[activation], sums=sums, channel=channel)
    return gradient, sums
