"""What the filters are given, checked before anything is computed; errors name the argument and the rule."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.geometry import BORDERS, as_ndarray, integer

#: SciPy's filters take these and no others; float16 and longdouble are refused there as well.
_DTYPES = {np.dtype(code) for code in "?bBhHiIlLqQfdFD"}


def as_input(name: str, value: Any, *, real: bool = False) -> np.ndarray:
    """An array, or what NumPy makes one of, of a dtype that filters take, in native byte order."""
    array = as_ndarray(name, value) if isinstance(value, np.ma.MaskedArray) else np.asarray(value)
    native = array.dtype.newbyteorder("=")
    if native not in _DTYPES:
        raise TypeError(
            f"{name}: dtype {array.dtype} must be bool, an integer of up to 64 bits, float32, float64, "
            "complex64 or complex128"
        )
    if real and native.kind == "c":
        raise TypeError(f"{name}: dtype {array.dtype} must be real, for complex numbers have no order")
    return array.astype(native, copy=False)


def as_weights(weights: Any) -> np.ndarray:
    """A kernel as float64 or complex128."""
    kernel = as_ndarray("weights", weights) if isinstance(weights, np.ma.MaskedArray) else np.asarray(weights)
    if kernel.dtype.kind not in "biufc":
        raise TypeError(f"weights: dtype {kernel.dtype} must be that of numbers")
    return kernel.astype(np.complex128 if kernel.dtype.kind == "c" else np.float64)


def make_output(output: Any, input: np.ndarray, *, complex_result: bool = False) -> np.ndarray:
    """What `output` names: a new array of `input`'s dtype or of the dtype given, or itself."""
    if output is None:
        dtype = np.promote_types(input.dtype, np.complex64) if complex_result else input.dtype
        return np.empty(input.shape, dtype)
    if isinstance(output, (str, type, np.dtype)):
        dtype = np.dtype(output)
        if complex_result and dtype.kind != "c":
            if isinstance(output, str):
                raise ValueError(f"output={output!r}: must be a complex dtype, as the result is complex")
            warnings.warn(f"output={output!r} is promoted to complex", stacklevel=4)
            dtype = np.promote_types(dtype, np.complex64)
        _check_dtype(dtype)
        return np.empty(input.shape, dtype)
    if not isinstance(output, np.ndarray):
        raise TypeError(f"output: must be an array or a dtype, not {type(output).__name__}")
    if output.shape != input.shape:
        raise ValueError(f"output: shape {output.shape} must be {input.shape}")
    if not output.flags.writeable:
        raise ValueError("output: must be writable")
    if complex_result and output.dtype.kind != "c":
        raise ValueError(f"output: dtype {output.dtype} must be complex, as the result is")
    _check_dtype(output.dtype)
    return output


def _check_dtype(dtype: np.dtype) -> None:
    if dtype.newbyteorder("=") not in _DTYPES:
        raise TypeError(
            f"output: dtype {dtype} must be bool, an integer of up to 64 bits, float32, float64, "
            "complex64 or complex128"
        )


def as_axes(axes: Any, rank: int) -> tuple[int, ...]:
    """`axes` counted from 0: all of them, one, or several different ones."""
    if axes is None:
        return tuple(range(rank))
    given = tuple(axes) if isinstance(axes, Iterable) and not isinstance(axes, str) else (axes,)
    found = tuple(as_axis(axis, rank, "axes") for axis in given)
    if len(set(found)) != len(found):
        raise ValueError(f"axes={axes!r}: must be different axes")
    return found


def as_axis(axis: Any, rank: int, name: str = "axis") -> int:
    """One axis, counted from 0."""
    number = integer(name, axis)
    if not -rank <= number < rank:
        raise ValueError(f"{name}={axis!r}: must be from {-rank} to {rank - 1}, the input has {rank} axes")
    return number % rank


def per_filtered_axis(name: str, value: Any, count: int) -> list[Any]:
    """One value for all axes that are filtered, or one per such axis."""
    if isinstance(value, str) or not np.iterable(value):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise ValueError(f"{name}={value!r}: must be one value or {count}, one per axis that is filtered")
    return values


def as_border(mode: Any) -> str:
    """The rule that a border mode names."""
    if not isinstance(mode, str):
        kind = "one word" if isinstance(mode, Iterable) else "a word"
        raise TypeError(f"mode={mode!r}: must be {kind}: {', '.join(BORDERS)}")
    if mode not in BORDERS:
        raise ValueError(f"mode={mode!r}: must be one of {', '.join(BORDERS)}")
    return BORDERS[mode]


def as_constant(cval: Any) -> float:
    """`cval`, a real number of any kind."""
    try:
        if np.iscomplexobj(cval):
            raise TypeError
        return float(cval)
    except (TypeError, ValueError):
        raise TypeError(f"cval={cval!r}: must be a real number") from None


def as_size(size: Any, name: str = "size") -> int:
    """The length of a window along one axis."""
    number = integer(name, size)
    if number < 1:
        raise ValueError(f"{name}={size!r}: must be at least 1")
    return number


def reach_before(origin: Any, size: int) -> int:
    """How many elements a window of `size` has before its place; the rest of it lies behind."""
    number = integer("origin", origin)
    if not -(size // 2) <= number <= (size - 1) // 2:
        raise ValueError(
            f"origin={origin!r}: must be from {-(size // 2)} to {(size - 1) // 2} for a window of {size}"
        )
    return size // 2 + number


def window_of(
    rank: int, axes: tuple[int, ...], sizes: tuple[int, ...], origin: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of a window over all axes of an array, and what of it lies before its place.

    The axes of a window come in the order of the array's, whatever the order of `axes`.
    """
    shape, before = [1] * rank, [0] * rank
    for axis, size in zip(sorted(axes), sizes, strict=True):
        shape[axis] = size
    if len(axes) == rank:  # SciPy's rule: with all axes, origins come in the order of the array's, too
        axes = tuple(sorted(axes))
    for axis, one in zip(axes, per_filtered_axis("origin", origin, len(axes)), strict=True):
        before[axis] = reach_before(one, shape[axis])
    return tuple(shape), tuple(before)
