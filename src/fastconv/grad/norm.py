"""Gradients of the normalisations.

`batch_norm` and `layer_norm` return the gradients of input, weight and bias together, because they share
their sums; weight and bias gradients are returned even where the forward call had none. Sums are in double
precision.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv._kernels.pointwise import norm as norm_kernel
from fastconv._kernels.pointwise import norm_rows
from fastconv.functional.elementwise import check_operands, image_slices
from fastconv.functional.norm import (
    LONG_ROW,
    Standard,
    as_channels,
    as_factor,
    channel_window_sums,
    check_batch_statistics,
    check_channels,
    normalized_axes,
    response_parts,
    standard,
    standardise,
    window_arguments,
)
from fastconv.geometry import new_output, real_number

Gradients = tuple[np.ndarray, np.ndarray, np.ndarray]

#: Elements copied at a time, of operands whose rows do not lie one after the other.
PART = 2**18


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
    batch = None
    with np.errstate(all="ignore"):
        if not training:
            one, zero = np.ones(channels), np.zeros(channels)
            batch = Standard(one, zero + running_mean, 1.0 / np.sqrt(zero + running_var + eps), zero)
        elif x.size:
            batch = standard(x, eps)
    return measured_batch_norm(x, grad, weight, batch, training)


def measured_batch_norm(
    input: Any, grad_output: Any, weight: Any, batch: Standard | None, training: bool
) -> Gradients:
    """`batch_norm` of an input whose statistics are known: those of the forward pass."""
    x, grad = check_operands(input, grad_output)
    weight = check_channels("weight", weight, x)
    grad_input, channels = new_output(x.shape, x.dtype, x), x.shape[1]
    if not x.size or batch is None:
        return grad_input, np.zeros(channels, x.dtype), np.zeros(channels, x.dtype)
    with np.errstate(all="ignore"):
        r = batch.inverse_deviation
        scale = r if weight is None else r * weight
        sums, products = norm_kernel.group_sums(x, batch.unit, batch.shift, grad)
        grad_weight = products * batch.scale
        if training:
            count = x.size // x.shape[1]
            offset, toward_mean = -scale * sums / count, -scale * grad_weight / count
            norm_kernel.group_map(
                x, batch.unit, batch.shift, batch.scale, offset, grad_input, grad, scale, toward_mean
            )
        else:
            one, zero = np.ones(channels), np.zeros(channels)
            norm_kernel.group_map(grad, one, zero, scale, zero, grad_input)
        return grad_input, grad_weight.astype(x.dtype), sums.astype(x.dtype)


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
    return measured_layer_norm(input, normalized_shape, grad_output, weight, eps, None)


def measured_layer_norm(
    input: Any,
    normalized_shape: Any,
    grad_output: Any,
    weight: Any,
    eps: float,
    measured: np.ndarray | None,
) -> Gradients:
    """`layer_norm` of rows that the forward pass has measured, or not."""
    x, grad = check_operands(input, grad_output)
    shape = normalized_axes(x, normalized_shape)
    weight = as_factor("weight", weight, shape, x.dtype)
    eps = real_number("eps", eps, at_least=0)
    if not x.size:
        return np.empty(x.shape, x.dtype), np.zeros(shape, x.dtype), np.zeros(shape, x.dtype)
    if prod(shape) <= LONG_ROW:
        grad_input, grad_weight, grad_bias = _short_rows(x, grad, shape, weight, eps, measured)
    else:
        grad_input, grad_weight, grad_bias = _long_rows(x, grad, shape, weight, eps)
    with np.errstate(all="ignore"):
        weight_sums, bias_sums = grad_weight.astype(x.dtype), grad_bias.astype(x.dtype)
        return grad_input, weight_sums.reshape(shape), bias_sums.reshape(shape)


def _short_rows(
    x: np.ndarray,
    grad: np.ndarray,
    shape: tuple[int, ...],
    weight: np.ndarray | None,
    eps: float,
    measured: np.ndarray | None,
) -> Gradients:
    """All passes over a row while it is in cache. Operands that are not C-contiguous are copied in parts."""
    features = prod(shape)
    out = np.empty(x.shape, x.dtype)
    weight = None if weight is None else np.ascontiguousarray(weight, np.float64)
    if x.flags.c_contiguous and grad.flags.c_contiguous:
        rows = x.size // features
        sums = norm_rows.layer_norm(x, out, rows, features, eps, weight, gradient=grad, measured=measured)
        return out, *sums
    lead = x.shape[: x.ndim - len(shape)] or (1,)
    x, grad, result = (
        array.reshape(lead + shape) if x.ndim == len(shape) else array for array in (x, grad, out)
    )
    total, done = np.zeros((2, features)), 0
    step = max(1, PART * lead[0] // x.size)
    for first in range(0, lead[0], step):
        part = slice(first, first + step)
        rows = x[part].size // features
        one, other = np.ascontiguousarray(x[part]), np.ascontiguousarray(grad[part])
        known = None if measured is None else measured[done : done + rows]
        total += norm_rows.layer_norm(
            one, result[part], rows, features, eps, weight, gradient=other, measured=known
        )
        done += rows
    return out, *total


def _long_rows(
    x: np.ndarray, grad: np.ndarray, shape: tuple[int, ...], weight: np.ndarray | None, eps: float
) -> Gradients:
    """A pass at a time, each on all threads; grad_output is copied."""
    features = prod(shape)
    z, g = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    np.copyto(z, x)
    np.copyto(g, grad)
    z_rows, g_rows = z.reshape(1, -1, features), g.reshape(1, -1, features)
    with np.errstate(all="ignore"):
        r = standardise(z_rows, eps, z_rows)
        one, zero = np.ones(features), np.zeros(features)
        grad_bias, grad_weight = norm_kernel.group_sums(z_rows[0], one, zero, g_rows[0])
        if weight is not None:
            np.multiply(g, weight, out=g)
        one, zero = np.ones_like(r), np.zeros_like(r)
        sums, products = norm_kernel.group_sums(z_rows, one, zero, g_rows)
        toward_mean, offset = -r * products / features, -r * sums / features
        norm_kernel.group_map(z_rows, one, zero, toward_mean, offset, z_rows, g_rows, r)
    return z, grad_weight, grad_bias


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
            g = grad[images]
            part, base, unit = response_parts(x[images], size, alpha, k)
            direct = g * base**-beta
            through = channel_window_sums(direct * part / base, (size - 1) // 2, size // 2)
            np.subtract(direct, 2 * alpha * beta / size * part * through, out=out[images])
            if unit is not None:
                np.multiply(out[images], unit ** (-2 * beta), out=out[images])
    return out
