"""Normalisations: over a channel's values in the batch, a row's features, or neighbouring channels.

Names, defaults and meaning follow `torch.nn.functional`. Means and variances are summed in double precision,
and the result is rounded once: a large mean costs no digits. Float64 takes two passes, float32 one about the
first value, or two where that is an outlier. Where a square would overflow or vanish (float64 values above
1e154, or below 1e-154 without an eps), a power of two is taken out first.

Deliberate differences: batch_norm takes up to three spatial axes, running statistics of the input's dtype
only, and two separate arrays in training; layer_norm refuses a negative eps and takes an int for
`normalized_shape`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastconv._kernels.pointwise import norm as norm_kernel
from fastconv._kernels.pointwise import norm_rows
from fastconv.functional.elementwise import image_slices
from fastconv.geometry import (
    as_array,
    check_out,
    check_shape,
    flag,
    layout_hint,
    new_output,
    real_number,
    whole_number,
)

#: A smaller variance in double precision has lost digits to underflow, unless eps outweighs it.
SMALL_VARIANCE = 1e-280

#: How far from the mean the variance of float32 may be measured, as a square and in variances: 10 bits of the
#: sums' 53 are lost, and 24 are needed.
NEAR = 1024

#: Rows of fewer features are measured again for their gradient: three numbers are much of a short row.
WORTH_KEEPING = 64

#: Rows of more features than this are summed by several threads.
LONG_ROW = 65536

# ---- checks ------------------------------------------------------------------------------------------


def as_channels(name: str, value: Any) -> np.ndarray:
    """An array (N, C, *spatial) with up to three spatial axes, none of them empty but the batch."""
    x = as_array(name, value)
    if not 2 <= x.ndim <= 5:
        raise ValueError(f"{name}: shape {x.shape} must have 2 to 5 axes (N, C, up to 3 spatial)")
    if 0 in x.shape[1:]:
        raise ValueError(f"{name}: shape {x.shape} has an empty axis; only the batch may be empty")
    return x


def check_channels(name: str, value: Any, x: np.ndarray) -> np.ndarray | None:
    """One number per channel of x, (N, C, *spatial), of its dtype; or None."""
    array = None if value is None else as_array(name, value, x.dtype)
    if array is not None and array.shape != x.shape[1:2]:
        hint = layout_hint("input", x.shape, array.size, True) if array.ndim == 1 else ""
        raise ValueError(
            f"{name}: shape {array.shape} must be {x.shape[1:2]}, one per channel of input{hint}"
        )
    return array


def as_factor(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
    """A weight or bias of this shape and dtype, or None."""
    if value is None:
        return None
    array = as_array(name, value, dtype)
    check_shape(name, array, shape)
    return array


def check_batch_statistics(
    x: np.ndarray, training: Any, running_mean: Any, running_var: Any, eps: Any
) -> float:
    """Check what `batch_norm` and its gradient share, but for the running arrays themselves; returns eps."""
    flag("training", training)
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean, running_var: must both be given or both be None")
    epsilon = real_number("eps", eps, at_least=0)
    if not training:
        if running_mean is None:
            raise ValueError("running_mean=None: must be given when training=False")
        return epsilon
    if epsilon == 0:
        raise ValueError(f"eps={eps!r}: must be above 0 when training=True")
    if x.size == x.shape[1]:
        raise ValueError(f"input: shape {x.shape} has one value per channel; training=True needs more")
    return epsilon


def normalized_axes(x: np.ndarray, normalized_shape: Any) -> tuple[int, ...]:
    """`normalized_shape` of `layer_norm` as a tuple: the last axes of x, as many as it has entries."""
    if isinstance(normalized_shape, Sequence) and not isinstance(normalized_shape, str):
        shape = tuple(whole_number("normalized_shape", size, 1) for size in normalized_shape)
    else:
        shape = (whole_number("normalized_shape", normalized_shape, 1),)
    if not shape or x.shape[x.ndim - len(shape) :] != shape:
        raise ValueError(f"normalized_shape={normalized_shape!r}: must end the input's shape {x.shape}")
    return shape


def window_arguments(
    x: np.ndarray, size: Any, alpha: Any, beta: Any, k: Any
) -> tuple[int, float, float, float]:
    """Check the arguments of `local_response_norm`."""
    if x.ndim < 3:
        raise ValueError(f"input: shape {x.shape} must have at least 3 axes (N, C, spatial)")
    if 0 in x.shape[1:]:
        raise ValueError(f"input: shape {x.shape} has an empty axis; only the batch may be empty")
    size = whole_number("size", size, 1)
    return size, real_number("alpha", alpha), real_number("beta", beta), real_number("k", k)


# ---- sums --------------------------------------------------------------------------------------------


class Standard(NamedTuple):
    """How each group of (N, C, *spatial), an index of axis 1, is made mean 0 and variance 1.

    That is (x * unit - shift) * scale, with a power of two as the unit: 1, but where squares need another.
    """

    unit: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    var: np.ndarray  # in units, biased

    @property
    def inverse_deviation(self) -> np.ndarray:
        """1 / sqrt(var + eps), without units."""
        product: np.ndarray = self.scale * self.unit
        return product


def standard(x: np.ndarray, eps: float) -> Standard:
    """Measure the groups of an array that is not empty, in double precision."""
    unit = np.ones(x.shape[1])
    mean, var = _spread(x, unit)
    lost = ~np.isfinite(var) | ((var < SMALL_VARIANCE) & (eps < SMALL_VARIANCE))
    if x.dtype == np.float64 and lost.any():
        for group in np.flatnonzero(lost):
            top = max(x[:, group].max(), -x[:, group].min())
            if 0 < top < np.inf:
                unit[group] = np.ldexp(1.0, -max(-1000, int(np.frexp(top)[1])))
        if (unit != 1).any():
            mean, var = _spread(x, unit)
    deviation = np.where(unit == 1, np.sqrt(var + eps), np.hypot(np.sqrt(var), np.sqrt(eps) * unit))
    return Standard(unit, mean, 1.0 / deviation, var)


def _spread(x: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of every group, in its unit.

    Of float32 in one pass, about the group's first value, where that is not too far from the mean.
    """
    count, zero = x.size // x.shape[1], np.zeros(x.shape[1])
    near = None
    if x.dtype == np.float32:
        place: tuple[Any, ...] = (0, slice(None), *(0,) * (x.ndim - 2))
        first = x[place].astype(np.float64)
        sums, squares = norm_kernel.group_sums(x, unit, first, x, unit, first)
        away = sums / count
        around_mean = squares / count - away * away
        near = away * away <= NEAR * around_mean
        if near.all():
            return first + away, around_mean
    mean = norm_kernel.group_sums(x, unit, zero, x, unit, zero)[0] / count
    var = norm_kernel.group_sums(x, unit, mean, x, unit, mean)[1] / count
    if near is None:
        return mean, var
    # each group by itself: no group's bits depend on another
    return np.where(near, first + away, mean), np.where(near, around_mean, var)


def channel_window_sums(values: np.ndarray, before: int, after: int) -> np.ndarray:
    """Along axis 1, the sum from `before` channels ahead of each to `after` behind it, clipped at the ends.

    Plain additions: with running sums, one infinity would reach channels whose window does not hold it.
    """
    channels = values.shape[1]
    total = np.zeros_like(values)
    for shift in range(-min(before, channels - 1), min(after, channels - 1) + 1):
        here = slice(max(0, -shift), channels - max(0, shift))
        there = slice(max(0, shift), channels - max(0, -shift))
        np.add(total[:, here], values[:, there], out=total[:, here])
    return total


# ---- normalisations ----------------------------------------------------------------------------------


def batch_norm(
    input: Any,
    running_mean: np.ndarray | None,
    running_var: np.ndarray | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> np.ndarray:
    """Batch normalisation: (x - mean) / sqrt(var + eps) * weight + bias, per channel.

    Parameters
    ----------
    input : array, shape (N, C), (N, C, W), (N, C, H, W) or (N, C, D, H, W), float32 or float64
    running_mean, running_var : ndarray, shape (C,), same dtype, or both None
        Used if not `training`. In training they are moved towards the batch's mean and unbiased variance,
        **in place**, unless the batch is empty; if the call fails, they are as before.
    weight, bias : array, shape (C,), same dtype, optional
    training : bool, default False
        Take mean and (biased) variance from the batch.
    momentum : float, default 0.1
        running = (1 - momentum) * running + momentum * batch.
    eps : float, default 1e-5
        At least 0; above 0 in training.

    Returns
    -------
    ndarray, shape of the input, channels-last in memory if the input is

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been changed. One of the rules:
        training takes more than one value per channel.

    Notes
    -----
    Ioffe & Szegedy, "Batch normalization", arXiv:1502.03167.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> fastconv.batch_norm(np.array([[1.0], [3.0]]), mean, var, training=True).round(3)
    array([[-1.],
           [ 1.]])
    >>> mean, var
    (array([0.2]), array([1.1]))
    """
    return measured_batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)[0]


def measured_batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[np.ndarray, Standard | None]:
    """`batch_norm`, and what the input was normalised by, so that its gradient need not measure it again.

    None if it is empty.
    """
    x = as_channels("input", input)
    channels = (x.shape[1],)
    eps = check_batch_statistics(x, training, running_mean, running_var, eps)
    momentum = real_number("momentum", momentum)
    weight, bias = check_channels("weight", weight, x), check_channels("bias", bias, x)
    if training and running_mean is not None:
        others = {"input": x}
        others.update((name, a) for name, a in (("weight", weight), ("bias", bias)) if a is not None)
        for name, running in (("running_var", running_var), ("running_mean", running_mean)):
            if isinstance(running, np.ndarray):  # anything else is refused by the next line
                check_channels(name, running, x)
            others[name] = check_out(running, channels, x.dtype, others, name)
    else:
        running_mean = check_channels("running_mean", running_mean, x)
        running_var = check_channels("running_var", running_var, x)
    out = new_output(x.shape, x.dtype, x)
    if not out.size:
        return out, None
    with np.errstate(all="ignore"):
        if training:
            batch = standard(x, eps)
        else:
            var = _double(running_var)
            batch = Standard(np.ones(channels), _double(running_mean), 1.0 / np.sqrt(var + eps), var)
        factor = None if weight is None else _double(weight)
        offset = np.zeros(channels) if bias is None else _double(bias)
        norm_kernel.group_map(x, batch.unit, batch.shift, batch.scale, offset, out, weight=factor)
        if training and running_mean is not None and running_var is not None:
            count = x.size // x.shape[1]
            mean, var = batch.shift / batch.unit, batch.var / batch.unit / batch.unit
            running_mean[...] = (1 - momentum) * _double(running_mean) + momentum * mean
            running_var[...] = (1 - momentum) * _double(running_var) + momentum * var * (count / (count - 1))
    return out, batch


def _double(value: np.ndarray | None, default: float = 0.0) -> np.ndarray:
    """A copy in double precision."""
    return np.array(default if value is None else value, np.float64)


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> np.ndarray:
    """Layer normalisation: (x - mean) / sqrt(var + eps) * weight + bias, mean and var over the last axes.

    Parameters
    ----------
    input : array, shape (..., *normalized_shape), float32 or float64
        Axes in front may be empty.
    normalized_shape : int or sequence of int
        The sizes of the last axes, those that mean and (biased) variance are taken over.
    weight, bias : array, shape `normalized_shape`, same dtype, optional
    eps : float, default 1e-5
        At least 0.

    Returns
    -------
    ndarray, shape of the input, C-contiguous

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Notes
    -----
    Ba, Kiros & Hinton, "Layer normalization", arXiv:1607.06450.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.layer_norm(np.array([[1.0, 3.0], [10.0, 30.0]]), 2).round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    return measured_layer_norm(input, normalized_shape, weight, bias, eps, keep=False)[0]


def measured_layer_norm(
    input: Any, normalized_shape: Any, weight: Any, bias: Any, eps: float, keep: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """`layer_norm`; to `keep`, also what the rows were normalised by, or None where that is not worth it."""
    x = as_array("input", input)
    shape = normalized_axes(x, normalized_shape)
    weight = as_factor("weight", weight, shape, x.dtype)
    bias = as_factor("bias", bias, shape, x.dtype)
    eps = real_number("eps", eps, at_least=0)
    out = np.empty(x.shape, x.dtype)
    if not out.size:
        return out, None
    if not x.flags.c_contiguous:
        np.copyto(out, x)
        x = out
    features = prod(shape)
    if features <= LONG_ROW:
        wide = [None if f is None else np.ascontiguousarray(f, np.float64) for f in (weight, bias)]
        rows = x.size // features
        measured = np.empty((rows, 3)) if keep and features >= WORTH_KEEPING else None
        norm_rows.layer_norm(x, out, rows, features, eps, *wide, measured=measured)
        return out, measured
    with np.errstate(all="ignore"):
        standardise(x.reshape(1, -1, features), eps, out.reshape(1, -1, features))
        if weight is not None:
            np.multiply(out, weight, out=out)
        if bias is not None:
            np.add(out, bias, out=out)
    return out, None


def standardise(rows: np.ndarray, eps: float, out: np.ndarray) -> np.ndarray:
    """Make every row of (1, rows, features) mean 0 and variance 1; returns 1 / sqrt(var + eps)."""
    batch = standard(rows, eps)
    norm_kernel.group_map(rows, batch.unit, batch.shift, batch.scale, np.zeros(rows.shape[1]), out)
    return batch.inverse_deviation


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> np.ndarray:
    """Local response normalisation: x / (k + alpha / size * sum of x^2 over neighbouring channels)^beta.

    Parameters
    ----------
    input : array, shape (N, C, *spatial) with at least one spatial axis, float32 or float64
    size : int
        Channels in a window: from size // 2 ahead of each channel to (size - 1) // 2 behind it, as far as
        there are any.
    alpha, beta, k : float

    Returns
    -------
    ndarray, shape and memory order of the input

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Notes
    -----
    Krizhevsky, Sutskever & Hinton, "ImageNet classification with deep convolutional neural networks", NIPS
    2012, with alpha divided by the size, as in torch and Caffe.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.local_response_norm(np.ones((1, 3, 1)), 3, alpha=3.0, beta=1.0).ravel().round(3)
    array([0.333, 0.25 , 0.333])
    """
    x = as_array("input", input)
    size, alpha, beta, k = window_arguments(x, size, alpha, beta, k)
    out = np.empty_like(x)
    with np.errstate(all="ignore"):
        for images in image_slices(x.shape):
            part, base, unit = response_parts(x[images], size, alpha, k)
            np.divide(part, base**beta, out=out[images])
            if unit is not None:
                np.multiply(out[images], unit ** (1 - 2 * beta), out=out[images])
    return out


def response_parts(
    x: np.ndarray, size: int, alpha: float, k: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """x over its unit, what `local_response_norm` raises to the power beta over its square, and the unit.

    The unit, one per place, is a power of two that keeps squares from overflowing; None is 1 everywhere.
    """
    unit = None
    limit = np.sqrt(np.finfo(x.dtype).max) / 2**20  # a sum of 2^40 squares below it is finite
    if x.size and not (x.max() < limit and -x.min() < limit):
        top = np.abs(x).max(axis=1, keepdims=True)
        exponent = np.where((top >= limit) & np.isfinite(top), np.frexp(top)[1] - 1, 0)
        unit = np.ldexp(x.dtype.type(1), exponent)
        x = x / unit
        k = k / unit / unit
    base: np.ndarray = k + alpha / size * channel_window_sums(np.square(x), size // 2, (size - 1) // 2)
    return x, base, unit
