"""What activations and their gradients share: the walk over chunks, checks, and formulas used by both.

A formula is plain NumPy on 1-D pieces, `formula(x)` or `formula(x, grad_output)`. `elementwise` feeds it
pieces that stay in cache, whatever the strides of the arrays: its temporaries cost next to nothing, and the
memory a call needs besides the result does not grow with the arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from fastconv._kernels import eltwise, learning
from fastconv._kernels.conv import ACTIVATIONS
from fastconv.geometry import as_array, check_shape, layout_hint, new_output, real_number

#: Elements of one chunk: a few arrays of this length stay in the second-level cache.
CHUNK = 16384

#: alpha and scale of `selu`, from the paper named there.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
#: Coefficients of the tanh form of `gelu`.
GELU_CUBE, GELU_TWICE_ROOT = 0.044715, 2 * (2 / np.pi) ** 0.5


# ---- walks -------------------------------------------------------------------------------------------


def elementwise(formula: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """Apply a formula to arrays of one shape, chunk by chunk; the result has their memory order.

    Floating-point warnings are off: exp overflowing on the way to a limit of 0 or 1 is no event.
    """
    # the walk itself takes longer than a formula on a few hundred values
    if arrays[0].size <= CHUNK and all(array.flags.c_contiguous for array in arrays):
        with np.errstate(all="ignore"):
            return formula(*(array.reshape(-1) for array in arrays)).reshape(arrays[0].shape)
    operands: Any = (*arrays, None)
    roles: Any = [["readonly"]] * len(arrays) + [["writeonly", "allocate"]]
    walk = np.nditer(operands, ["external_loop", "buffered", "zerosize_ok"], roles, buffersize=CHUNK)
    with np.errstate(all="ignore"), walk:
        out: np.ndarray = walk.operands[-1]
        for *chunks, result in walk:
            result[...] = formula(*chunks)
    return out


def rectifier_gradient(
    activation: str, formula: Callable[..., np.ndarray], x: np.ndarray, grad: np.ndarray, slope: float = 0.01
) -> np.ndarray:
    """The gradient of an activation that the kernels know, in one pass unless memory orders differ."""
    if x.flags.c_contiguous and grad.flags.c_contiguous:
        out = np.empty(x.shape, x.dtype)
    else:
        out = np.empty_like(x)
        if not x.strides == grad.strides == out.strides:
            return elementwise(formula, x, grad)
    learning.gradient(grad, x, out, ACTIVATIONS[activation], slope)
    return out


def image_slices(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the first axis that hold about a chunk each, and at least one image."""
    step = max(1, CHUNK // max(1, prod(shape[1:])))
    for first in range(0, shape[0], step):
        yield slice(first, first + step)


def reducible(like: np.ndarray) -> np.ndarray:
    """A copy of an array with the batch outermost in memory.

    NumPy adds in the order of memory: were the batch innermost, an image's sums would depend on its
    neighbours.
    """
    out = new_output(like.shape, like.dtype, like) if like.ndim > 2 else np.empty(like.shape, like.dtype)
    out[...] = like
    return out


def rows_along(array: np.ndarray, axis: int) -> Iterator[np.ndarray]:
    """Pieces of an array that hold whole slices along `axis`, in cache unless that is the first."""
    if not array.size:
        return
    if axis == 0:
        yield np.atleast_1d(array)
        return
    for images in image_slices(array.shape):
        yield array[images]


# ---- checks ------------------------------------------------------------------------------------------


def check_operands(input: Any, grad_output: Any, name: str = "input") -> tuple[np.ndarray, np.ndarray]:
    """A gradient's two operands as arrays of one shape and dtype."""
    x = as_array(name, input)
    grad = as_array("grad_output", grad_output, x.dtype)
    check_shape("grad_output", grad, x.shape)
    return x, grad


def check_bounds(min_val: Any, max_val: Any) -> tuple[float, float]:
    """The bounds of `hardtanh`, in order; they may be infinite."""
    low = real_number("min_val", min_val, finite=False)
    high = real_number("max_val", max_val, finite=False)
    if low > high:
        raise ValueError(f"min_val={min_val!r}: must be at most max_val={max_val!r}")
    return low, high


def check_approximate(approximate: Any) -> None:
    """Raise `ValueError` for anything but the two forms of `gelu`."""
    if not isinstance(approximate, str) or approximate not in ("none", "tanh"):
        raise ValueError(f"approximate={approximate!r}: must be 'none' or 'tanh'")


def prelu_slopes(x: np.ndarray, weight: Any) -> np.ndarray:
    """The weight of `prelu` as one slope per element of x, without a copy."""
    weight = as_array("weight", weight, x.dtype)
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.ndim > 1 or weight.size not in (1, channels):
        hint = layout_hint("input", x.shape, weight.size, True) if weight.ndim == 1 else ""
        raise ValueError(
            f"weight: shape {weight.shape} must be ({channels},), one per channel of input, or (1,){hint}"
        )
    if weight.size == 1:
        return np.broadcast_to(weight.reshape(()), x.shape)
    return np.broadcast_to(weight.reshape((-1,) + (1,) * (x.ndim - 2)), x.shape)


# ---- formulas ----------------------------------------------------------------------------------------


def replaced(values: np.ndarray, mask: np.ndarray, value: float) -> np.ndarray:
    """`value` where `mask`, elsewhere `values`: exact whatever NaN or infinity stands there."""
    out = np.array(values)
    eltwise.overwrite(out, mask, value)
    return out


def leaky_slope(x: np.ndarray, negative_slope: float | np.ndarray) -> np.ndarray:
    """1 where x > 0, else the slope."""
    out = np.empty_like(x)
    out[...] = negative_slope
    eltwise.overwrite(out, x > 0.0, 1.0)
    return out


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)); exp overflows to infinity where the result is 0 but for denormal numbers."""
    out: np.ndarray = 1.0 / (1.0 + np.exp(-x))
    return out


def logistic_slope(x: np.ndarray) -> np.ndarray:
    """The derivative of `logistic`; with exp(-|x|) nothing overflows or cancels."""
    e = np.exp(-np.abs(x))
    out: np.ndarray = e / np.square(1.0 + e)
    return out


def log1p_exp(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(-|x|)): what softplus adds to its hinge."""
    out: np.ndarray = np.log1p(np.exp(-np.abs(x)))
    return out


def exponential_linear(x: np.ndarray, alpha: float, scale: float, width: float) -> np.ndarray:
    """scale * x if x > 0, else scale * alpha * (exp(x / width) - 1): elu, selu and celu."""
    out: np.ndarray = scale * (np.maximum(x, 0.0) + alpha * np.expm1(np.minimum(x, 0.0) / width))
    return out


def exponential_slope(x: np.ndarray, factor: float, scale: float, width: float) -> np.ndarray:
    """The derivative of `exponential_linear`; factor is scale * alpha / width. At 0 it is the left one."""
    return replaced(factor * np.exp(np.minimum(x, 0.0) / width), ~(x <= 0.0), scale)


def gelu_exponent(x: np.ndarray) -> np.ndarray:
    """2 sqrt(2 / pi) (x + 0.044715 x^3): its `logistic` is the tanh form of Phi(x)."""
    out: np.ndarray = x * (GELU_TWICE_ROOT + GELU_TWICE_ROOT * GELU_CUBE * np.square(x))
    return out


def mish_parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """p = exp(min(x, 0)), m = exp(-max(x, 0)), top = p (p + 2m), bottom = top + 2 m^2.

    exp(x) = p / m, so tanh(softplus(x)) = top / bottom, in which nothing overflows or cancels.
    """
    p, m = np.exp(np.minimum(x, 0.0)), np.exp(-np.maximum(x, 0.0))
    top = p * (p + 2.0 * m)
    return p, m, top, top + 2.0 * np.square(m)
