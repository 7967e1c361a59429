"""What activations, normalisations and their gradients share: passes over arrays, and checks.

An activation is one pass of the C tile in `csrc/tile/activation.h`, where its formula is, whatever strides
the arrays have; the memory a call needs besides the result does not grow with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from fastconv._kernels.pointwise import activation as activation_kernel
from fastconv._kernels.pointwise import softmax as softmax_kernel
from fastconv.geometry import as_array, check_shape, layout_hint, new_output, real_number

#: Elements of one piece, where a pass goes piece by piece: a few such arrays stay in the second-level cache.
CHUNK = 16384

#: alpha and scale of `selu`, from the paper named there.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


# ---- passes ------------------------------------------------------------------------------------------


def pointwise(
    activation: str, x: np.ndarray, *parameters: float, grad: Any = None, slopes: Any = None
) -> np.ndarray:
    """An activation of x, or grad times its slope; a new array in the memory order of x."""
    a, b, c = (*parameters, 0.0, 0.0, 0.0)[:3]
    code = activation_kernel.CODES[activation]
    return activation_kernel.activate(code, x, np.empty_like(x), a, b, c, grad, slopes)


def image_slices(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the first axis that hold about a chunk each, and at least one image."""
    step = max(1, CHUNK // max(1, prod(shape[1:])))
    for first in range(0, shape[0], step):
        yield slice(first, first + step)


def along_axis(logarithm: bool, first: np.ndarray, axis: int, grad: np.ndarray | None = None) -> np.ndarray:
    """Softmax (or its logarithm) of `first` along an axis; with grad, its gradient, `first` being the output.

    The result has the batch outermost in memory, and channels innermost if `first` has: were the batch
    innermost, the order of an image's sums would depend on its neighbours.
    """
    like = np.atleast_1d(first)
    out = new_output(like.shape, like.dtype, like) if like.ndim > 2 else np.empty(like.shape, like.dtype)
    order = sorted(range(out.ndim), key=lambda i: (-out.strides[i], i))
    place = order.index(axis)
    along = prod(out.shape[i] for i in order[place + 1 :]) == 1

    def run(first: np.ndarray, out: np.ndarray, grad: np.ndarray | None) -> None:
        outer = prod(out.shape[i] for i in order[:place])
        inner = prod(out.shape[i] for i in order[place + 1 :])
        softmax_kernel.softmax(first, out, outer, out.shape[axis], inner, along, logarithm, grad)

    if not out.size:
        return out.reshape(first.shape)
    if _lies_like(like, out) and (grad is None or _lies_like(np.atleast_1d(grad), out)):
        run(like, out, grad)
    elif grad is None:
        out[...] = like
        run(out, out, None)
    else:
        for part in _parts_across(out.shape, order, axis):
            pieces = [np.empty([out[part].shape[i] for i in order], out.dtype) for _ in range(2)]
            y, g = (piece.transpose(np.argsort(order)) for piece in pieces)
            y[...], g[...] = like[part], np.atleast_1d(grad)[part]
            run(y, g, g)
            out[part] = g
    return out.reshape(first.shape)


def _lies_like(array: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays of one shape have their elements at the same distances in memory."""
    steps = zip(array.shape, array.strides, other.strides, strict=True)
    return all(a == b for size, a, b in steps if size > 1)


def _parts_across(shape: tuple[int, ...], order: list[int], axis: int) -> Iterator[tuple[slice, ...]]:
    """Parts of an array that hold whole slices along `axis`, and little more than a piece if possible."""
    across = next((i for i in order if i != axis and shape[i] > 1), None)
    if across is None:
        yield (slice(None),) * len(shape)
        return
    step = max(1, CHUNK * shape[across] // prod(shape))
    for first in range(0, shape[across], step):
        yield tuple(slice(first, first + step) if i == across else slice(None) for i in range(len(shape)))


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
