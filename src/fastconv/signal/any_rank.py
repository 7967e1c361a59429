"""Convolution and correlation of two arrays of any rank."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.geometry import integer
from fastconv.signal.full import (
    MODES,
    Part,
    as_operand,
    check_word,
    convolved,
    part_of,
    swapped_for_valid,
)

_METHODS = ("auto", "direct", "fft")


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> np.ndarray:
    """Convolution of two arrays, as `scipy.signal.convolve`.

    Parameters
    ----------
    in1, in2 : array_like of the same rank, numbers of any kind
        The dtype of the result is the one NumPy combines theirs to; integers wrap around.
    mode : {"full", "same", "valid"}
        All of it; the middle, in the shape of `in1`; or what depends on no zeros around the larger array.
    method : {"auto", "direct", "fft"}
        Accepted as in SciPy. Whatever it says, the algorithm is the quickest of those precise enough (see
        `fastconv.conv_info`), and integers are exact.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError, TypeError
        Ranks that differ, an empty array, a word not listed, or "valid" where neither array is the larger
        one along every axis.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.convolve([1, 2, 3], [0, 1, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    first, second = as_operand("in1", in1), as_operand("in2", in2)
    return _convolve(first, second, mode, method)


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> np.ndarray:
    """Correlation of two arrays, as `scipy.signal.correlate`: `convolve` with `in2` flipped and conjugated.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.correlate([1, 2, 3], [0, 1, 0.5])
    array([0.5, 2. , 3.5, 3. , 0. ])
    """
    first, second = as_operand("in1", in1), as_operand("in2", in2)
    return _convolve(first, second[(slice(None, None, -1),) * second.ndim].conj(), mode, method)


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> np.ndarray:
    """Convolution along some axes, as `scipy.signal.fftconvolve`.

    Parameters
    ----------
    in1, in2 : array_like of the same rank
        float32 and complex64 keep their precision, all other numbers become float64 or complex128.
    mode : {"full", "same", "valid"}
    axes : int or several, optional
        Along these the arrays are convolved, default all; along all others they have the same size, or one
        of them has size 1.

    Notes
    -----
    It goes through Fourier transforms only where those are the quickest way, and then block by block, so that
    errors are relative to each window; but for cubes of 13 and more, and kernels of an eighth of the array.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.signal.fftconvolve(np.ones((2, 3)), [[1.0, 2.0]], axes=1)
    array([[1., 3., 3., 2.],
           [1., 3., 3., 2.]])
    """
    return _along(as_operand("in1", in1), as_operand("in2", in2), mode, axes)


def oaconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> np.ndarray:
    """Convolution along some axes, as `scipy.signal.oaconvolve`: the same as `fftconvolve` here.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.oaconvolve([1.0, 2.0, 3.0, 4.0], [1.0, 1.0], mode="valid")
    array([3., 5., 7.])
    """
    return _along(as_operand("in1", in1), as_operand("in2", in2), mode, axes)


def _convolve(first: np.ndarray, second: np.ndarray, mode: Any, method: Any) -> np.ndarray:
    check_word("mode", mode, MODES)
    check_word("method", method, _METHODS)
    _check_ranks(first, second)
    if first.ndim == 0:
        return first * second  # type: ignore[no-any-return]
    if first.size == 0 or second.size == 0:
        raise ValueError(f"in1, in2: shapes {first.shape} and {second.shape} must have no empty axis")
    if swapped_for_valid(mode, first.shape, second.shape):
        first, second = second, first
    part = part_of(mode, first.shape, second.shape)
    return convolved(first, second, part, np.result_type(first, second))


def _check_ranks(first: np.ndarray, second: np.ndarray) -> None:
    for name, array in (("in1", first), ("in2", second)):
        if array.dtype.kind not in "biufcO":
            raise TypeError(f"{name}: dtype {array.dtype} must be that of numbers")
    if first.ndim != second.ndim:
        raise ValueError(f"in2: shape {second.shape} must have as many axes as in1, {first.shape}")


def _along(first: np.ndarray, second: np.ndarray, mode: Any, axes: Any) -> np.ndarray:
    check_word("mode", mode, MODES)
    _check_ranks(first, second)
    if first.ndim == 0:
        return first * second  # type: ignore[no-any-return]
    if first.size == 0 or second.size == 0:
        return np.array([])
    found = _as_axes(axes, first.ndim)
    shapes = first.shape, second.shape
    found = [axis for axis in found if first.shape[axis] != 1 and second.shape[axis] != 1]
    for axis in set(range(first.ndim)) - set(found):
        if first.shape[axis] != second.shape[axis] and 1 not in (first.shape[axis], second.shape[axis]):
            raise ValueError(
                f"in1, in2: shapes {shapes[0]} and {shapes[1]} must agree along axis {axis}, or one be 1"
            )
    inner = [tuple(shape[axis] for axis in found) for shape in shapes]
    if swapped_for_valid(mode, inner[0], inner[1]):
        first, second, inner = second, first, inner[::-1]
    if not found:
        result: np.ndarray = first * second
        return result if mode != "same" else _centre(result, first.shape)
    part = part_of(mode, inner[0], inner[1])
    result = _batched(first, second, found, part, _float_type(first, second))
    return result if mode != "same" else _centre(result, first.shape)  # along the other axes


def _as_axes(axes: Any, rank: int) -> list[int]:
    if axes is None:
        return list(range(rank))
    given = list(axes) if isinstance(axes, Iterable) else [axes]
    found = [integer("axes", axis) for axis in given]
    if not found:
        raise ValueError(f"axes={axes!r}: must name an axis")
    for axis in found:
        if not -rank <= axis < rank:
            raise ValueError(f"axes={axes!r}: must be from {-rank} to {rank - 1}")
    found = [axis % rank for axis in found]
    if len(set(found)) != len(found):
        raise ValueError(f"axes={axes!r}: must be different axes")
    return found


def _float_type(first: np.ndarray, second: np.ndarray) -> np.dtype:
    """The dtype of a transform of both: that of floats as they are, float64 for anything else."""
    kinds = [np.dtype(np.float64) if x.dtype.kind in "biuO" else x.dtype for x in (first, second)]
    found: np.dtype = np.promote_types(np.promote_types(*kinds), np.float32)
    return found


def _centre(result: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The middle of `result`, in this shape."""
    starts = [(have - want) // 2 for have, want in zip(result.shape, shape, strict=True)]
    return np.array(result[tuple(slice(s, s + want) for s, want in zip(starts, shape, strict=True))])


def _batched(
    first: np.ndarray, second: np.ndarray, axes: list[int], part: Part, dtype: np.dtype
) -> np.ndarray:
    """Convolve along `axes`, for each place of the others on its own."""
    rank, count = first.ndim, len(axes)
    others = [axis for axis in range(rank) if axis not in axes]
    order = [*others, *axes]
    a, b = first.transpose(order), second.transpose(order)
    if all(n == 1 for n in a.shape[: rank - count]):
        a, b = b, a
    batch = np.broadcast_shapes(a.shape[: rank - count], b.shape[: rank - count])
    sizes = tuple(stop - start for start, stop in part)
    result: np.ndarray = np.empty(batch + sizes, dtype)
    if all(n == 1 for n in b.shape[: rank - count]):  # one kernel for all: the batch is an axis without taps
        single = [(0, n) for n in batch]
        result[...] = convolved(a, b, [*single, *part], dtype)
    else:
        a = np.broadcast_to(a, batch + a.shape[rank - count :])
        b = np.broadcast_to(b, batch + b.shape[rank - count :])
        for place in np.ndindex(batch):
            result[place] = convolved(a[place], b[place], part, dtype)
    back: np.ndarray = result.transpose(np.argsort(order))
    return back
