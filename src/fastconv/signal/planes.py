"""Convolution and correlation of two planes, with a choice of what lies beyond the edges."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.geometry import border_map
from fastconv.signal.full import (
    MODES,
    Part,
    as_operand,
    check_word,
    convolved,
    part_of,
    swapped_for_valid,
)

#: Words for what lies beyond the edges of `in1`, and the border rules they are.
_BOUNDARIES = {
    "fill": "constant",
    "pad": "constant",
    "wrap": "wrap",
    "circular": "wrap",
    "symm": "reflect",
    "symmetric": "reflect",
}


def convolve2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0
) -> np.ndarray:
    """Convolution of two planes, as `scipy.signal.convolve2d`.

    Parameters
    ----------
    in1, in2 : array_like of two axes, integers, floats of at least 32 bits or complex
        The dtype of the result is the one NumPy combines theirs to; integers wrap around.
    mode : {"full", "same", "valid"}
        As for `convolve`.
    boundary : {"fill", "wrap", "symm"}
        What lies beyond the edges of `in1`: `fillvalue`, the array again, or its mirror image.
    fillvalue : number

    Raises
    ------
    ValueError, TypeError
        Not planes, an empty one, a word not listed, or "valid" where neither is the larger one.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.convolve2d([[1, 2], [3, 4]], [[1, 1]], boundary="symm")
    array([[2, 3, 4],
           [6, 7, 8]])
    """
    return _planes(as_operand("in1", in1), as_operand("in2", in2), mode, boundary, fillvalue, middle=-1)


def correlate2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0
) -> np.ndarray:
    """Correlation of two planes, as `scipy.signal.correlate2d`: `in2` of `convolve2d` flipped and conjugated.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.correlate2d([[1, 2], [3, 4]], [[0, 1]], mode="valid")
    array([[2],
           [4]])
    """
    first, second = as_operand("in1", in1), as_operand("in2", in2)
    flipped = second[(slice(None, None, -1),) * second.ndim].conj()
    result = _planes(first, flipped, mode, boundary, fillvalue, middle=0)
    if swapped_for_valid(mode, first.shape, second.shape):
        result = result.conj()  # SciPy conjugates the smaller one
    return result


def _planes(
    first: np.ndarray, second: np.ndarray, mode: Any, boundary: Any, fillvalue: Any, *, middle: int
) -> np.ndarray:
    """The convolution; "same" begins at (k + middle) // 2, which differs for even kernels."""
    check_word("mode", mode, MODES)
    check_word("boundary", boundary, tuple(_BOUNDARIES))
    for name, array in (("in1", first), ("in2", second)):
        if array.ndim != 2 or array.size == 0:
            raise ValueError(f"{name}: shape {array.shape} must have two axes, none of them empty")
    dtype = np.result_type(first, second)
    if dtype.kind not in "iufc" or dtype == np.float16:
        raise ValueError(
            f"in1, in2: dtypes {first.dtype} and {second.dtype} must combine to one of integers, "
            f"floats of at least 32 bits or complex numbers, not {dtype}"
        )
    fill = _fill(fillvalue, dtype)
    if swapped_for_valid(mode, first.shape, second.shape):
        first, second = second, first
    part = part_of(mode, first.shape, second.shape)
    if mode == "same":
        starts = [(k + middle) // 2 for k in second.shape]
        part = [(start, start + n) for start, n in zip(starts, first.shape, strict=True)]
    border = _BOUNDARIES[boundary]
    if mode == "valid" or (border == "constant" and fill == 0):
        return convolved(first, second, part, dtype)
    extended, shifted = _extended(first.astype(dtype), second.shape, part, border, fill)
    return convolved(extended, second, shifted, dtype)


def _fill(value: Any, dtype: np.dtype) -> Any:
    """The one number beyond the edges, in the dtype of the result."""
    found = np.asarray(value)
    if found.size != 1 or found.dtype.kind not in "biufc":
        raise ValueError(f"fillvalue={value!r}: must be one number")
    if found.dtype.kind == "c" and dtype.kind != "c":
        raise ValueError(f"fillvalue={value!r}: must be real, as the result is of dtype {dtype}")
    return found.reshape(()).astype(dtype)[()]


def _extended(
    plane: np.ndarray, kernel: tuple[int, ...], part: Part, border: str, fill: Any
) -> tuple[np.ndarray, Part]:
    """The plane with all that the part reads around it, and the part of its convolution that this is."""
    outside = np.zeros((1, 1), bool)
    shifted = []
    for axis, ((start, stop), k) in enumerate(zip(part, kernel, strict=True)):
        places = border_map(plane.shape[axis], start - k + 1, stop, border)
        plane = plane.take(places, axis)
        outside = outside | np.expand_dims(places < 0, 1 - axis)
        shifted.append((k - 1, k - 1 + stop - start))
    if border == "constant":
        plane[outside] = fill
    return plane, shifted
