"""Gradients of the normalisations.

`batch_norm` and `layer_norm` return the gradients of input, weight and bias together, because they share
their sums; weight and bias gradients are returned even where the forward call had none. Sums are in double
precision.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv._kernels import eltwise
from fastconv.functional.elementwise import check_operands, image_slices
from fastconv.functional.norm import (
    as_channels,
    as_factor,
    channel_window_sums,
    check_batch_statistics,
    check_channels,
    moments,
    normalized_axes,
    response_base,
    standardise,
    window_arguments,
)
from fastconv.geometry import new_output, real_number

Gradients = tuple[np.ndarray, np.ndarray, np.ndarray]


def batch_norm(
    input: Any,
    grad_output: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    training: bool = True,
    eps: float = 1e-5,
) -> Gradients:
    """Gradients of `fastconv.functional.batch_norm` with respect to input, weight and bias.

    Parameters
    ----------
    input : array, shape (N, C, *spatial) with up to 3 spatial axes, float32 or float64
    grad_output : array, same shape and dtype
    running_mean, running_var : array, shape (C,), same dtype, or both None
        Used if not `training`; never changed.
    weight : array, shape (C,), same dtype, optional
    training : bool, default True
        Whether mean and variance came from the batch and so depend on the input.
    eps : float, default 1e-5

    Returns
    -------
    grad_input : ndarray, shape of the input, channels-last in memory if the input is
    grad_weight, grad_bias : ndarray, shape (C,)

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Notes
    -----
    Ioffe & Szegedy, "Batch normalization", arXiv:1502.03167, section 3. With g = grad_output,
    r = 1 / sqrt(var + eps) and means over the values of a channel, in training

        grad_input = weight r (g - mean(g) - (x - mean) r^2 mean(g (x - mean)))

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, g = np.array([[1.0], [3.0]]), np.array([[0.0], [2.0]])
    >>> grad_input, grad_weight, grad_bias = fastconv.grad.batch_norm(x, g)
    >>> grad_weight.round(3), grad_bias
    (array([2.]), array([2.]))
    """
    x = as_channels("input", input)
    x, grad = check_operands(x, grad_output)
    channels = (x.shape[1],)
    eps = check_batch_statistics(x, training, running_mean, running_var, eps)
    weight = check_channels("weight", weight, x)
    running_mean = check_channels("running_mean", running_mean, x)
    running_var = check_channels("running_var", running_var, x)
    grad_input = new_output(x.shape, x.dtype, x)
    if not x.size:
        return grad_input, np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
    zero = np.zeros(channels)
    with np.errstate(all="ignore"):
        mean, var = moments(x) if training else (zero + running_mean, zero + running_var)
        r = 1.0 / np.sqrt(var + eps)
        scale = r if weight is None else r * weight
        sums, products = eltwise.group_sums(x, mean, grad, zero)
        if training:
            count = x.size // x.shape[1]
            toward_mean = -scale * np.square(r) * products / count
            eltwise.group_affine(x, mean, toward_mean, -scale * sums / count, grad_input, grad, scale)
        else:
            eltwise.group_affine(grad, zero, scale, zero, grad_input)
        return grad_input, (products * r).astype(x.dtype), sums.astype(x.dtype)


def layer_norm(
    input: Any, normalized_shape: Any, grad_output: Any, weight: Any = None, eps: float = 1e-5
) -> Gradients:
    """Gradients of `fastconv.functional.layer_norm` with respect to input, weight and bias.

    Parameters
    ----------
    input : array, shape (..., *normalized_shape), float32 or float64
    normalized_shape : int or sequence of int
    grad_output : array, shape of the input, same dtype
    weight : array, shape `normalized_shape`, same dtype, optional
    eps : float, default 1e-5

    Returns
    -------
    grad_input : ndarray, shape of the input, C-contiguous
    grad_weight, grad_bias : ndarray, shape `normalized_shape`

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Notes
    -----
    Ba, Kiros & Hinton, "Layer normalization", arXiv:1607.06450. With z the input made mean 0 and variance 1,
    g = grad_output * weight, and means over a row,

        grad_input = (g - mean(g) - z mean(g z)) / sqrt(var + eps)

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> grads = fastconv.grad.layer_norm(np.array([[1.0, 3.0]]), 2, np.array([[1.0, 1.0]]))
    >>> [array.round(3).tolist() for array in grads]
    [[[0.0, 0.0]], [-1.0, 1.0], [1.0, 1.0]]
    """
    x, grad = check_operands(input, grad_output)
    shape = normalized_axes(x, normalized_shape)
    weight = as_factor("weight", weight, shape, x.dtype)
    eps = real_number("eps", eps, at_least=0)
    if not x.size:
        return np.empty(x.shape, x.dtype), np.zeros(shape, x.dtype), np.zeros(shape, x.dtype)
    features = prod(shape)
    z, g = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    np.copyto(z, x)
    np.copyto(g, grad)
    z_rows, g_rows = z.reshape(1, -1, features), g.reshape(1, -1, features)
    with np.errstate(all="ignore"):
        r = standardise(z_rows, eps)
        zero = np.zeros(features)
        grad_bias, grad_weight = eltwise.group_sums(z_rows[0], zero, g_rows[0], zero)
        if weight is not None:
            np.multiply(g, weight, out=g)
        zero = np.zeros_like(r)
        sums, products = eltwise.group_sums(z_rows, zero, g_rows, zero)
        eltwise.group_affine(z_rows, zero, -r * products / features, -r * sums / features, z_rows, g_rows, r)
        return z, grad_weight.astype(x.dtype).reshape(shape), grad_bias.astype(x.dtype).reshape(shape)


def local_response_norm_input(
    input: Any, grad_output: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> np.ndarray:
    """Gradient of `local_response_norm` with respect to its input.

    Parameters
    ----------
    input : array, shape (N, C, *spatial) with at least one spatial axis, float32 or float64
    grad_output : array, same shape and dtype
    size, alpha, beta, k
        As given to `local_response_norm`.

    Returns
    -------
    ndarray, shape and memory order of the input

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Notes
    -----
    With d = k + alpha / size * (window sums of x^2) and g = grad_output,

        grad_input = g d^-beta - 2 alpha beta / size * x * (mirrored window sums of g x d^(-beta - 1))

    where a channel's mirrored window holds the channels whose windows hold it.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((1, 1, 1))
    >>> fastconv.grad.local_response_norm_input(x, x, 1, alpha=1.0, beta=1.0).ravel()
    array([0.])
    """
    x, grad = check_operands(input, grad_output)
    size, alpha, beta, k = window_arguments(x, size, alpha, beta, k)
    out = np.empty_like(x)
    with np.errstate(all="ignore"):
        for images in image_slices(x.shape):
            part, g = x[images], grad[images]
            base = response_base(part, size, alpha, k)
            direct = g * base**-beta
            through = channel_window_sums(direct * part / base, (size - 1) // 2, size // 2)
            np.subtract(direct, 2 * alpha * beta / size * part * through, out=out[images])
    return out
