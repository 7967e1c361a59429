"""Arrays and shapes as arguments: what may pass, and what a result is written to."""

from __future__ import annotations

import os
from functools import cache
from math import prod
from typing import Any

import numpy as np

from fastconv._kernels.engine import arrays
from fastconv.geometry.numbers import LIMIT, checked_product, whole_number

try:
    import resource
except ImportError:  # no such limits where there is no POSIX
    resource = None  # type: ignore[assignment]

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

#: By any of these an object can hand out an array when NumPy asks.
_NUMPY_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__")


def as_array(name: str, value: Any, dtype: np.dtype | None = None) -> np.ndarray:
    """View `value` as a float32 or float64 array without copying it.

    Parameters
    ----------
    name : str
        The argument's name, for the error.
    value : array
        As `as_ndarray` takes it.
    dtype : numpy.dtype, optional
        The dtype the other arguments have already settled on.

    Raises
    ------
    TypeError
        Not an array, a masked one, not float32/float64 in native byte order, or another dtype than `dtype`.
    ValueError
        Address or strides that are no multiples of the element size: every kernel reads whole elements.
    """
    if type(value) is np.ndarray and value.dtype in DTYPES and value.flags.aligned:
        if dtype is None or value.dtype is dtype or value.dtype == dtype:  # `is`: this is every call's path
            return value
        raise TypeError(
            f"{name}: dtype {value.dtype} does not match the other arguments' {dtype}; all must have the same"
        )
    array = as_ndarray(name, value)
    if array.dtype not in DTYPES:
        raise TypeError(
            f"{name}: dtype must be float32 or float64 in native byte order, not {array.dtype}"
            f"{_way_out(array.dtype, np.float32)}"
        )
    _check_aligned(name, array)
    return as_array(name, array, dtype)


def as_ndarray(name: str, value: Any) -> np.ndarray:
    """View `value` as a plain ndarray of whatever dtype it has.

    Parameters
    ----------
    name : str
        The argument's name, for the error.
    value : numpy.ndarray or any object that speaks DLPack on the CPU, the buffer protocol or `__array__`
        The first two are read where they lie. An object with `__array__` hands out an array itself: its own
        memory where it can (columns of one dtype in pandas, xarray), a new array where it must (a data set in
        a file, columns of several dtypes). Lists and numbers are refused: building an array from them would
        be a copy behind the caller's back.

    Raises
    ------
    TypeError
        Not an array; or a masked one, even if nothing is masked today: its mask would be ignored.
    """
    if type(value) is np.ndarray:
        return value
    array = value if isinstance(value, np.ndarray) else _imported(name, value)
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: is a masked array, whose mask would be ignored; "
            "give its .filled(value), with the value that masked elements count as"
        )
    return array.view(np.ndarray)


def float_dtype(name: str, dtype: Any) -> np.dtype:
    """`dtype` as numpy.dtype, float32 or float64.

    Raises
    ------
    TypeError
        Any other dtype, or no dtype at all.
    """
    try:
        found: np.dtype = np.dtype(dtype)
    except (TypeError, ValueError):
        raise TypeError(f"{name}={dtype!r}: must be float32 or float64") from None
    if dtype is None or found not in DTYPES:
        raise TypeError(f"{name}={dtype!r}: must be float32 or float64")
    return found


def _way_out(dtype: np.dtype, wanted: type[np.generic]) -> str:
    """What to say beside a dtype that is refused: how to convert, where that keeps the meaning."""
    if dtype.kind in "biuf":
        return f"; .astype(np.{wanted.__name__}) converts it"
    return ", as mixed or missing values make it" if dtype.kind == "O" else ""


def _check_aligned(name: str, array: np.ndarray) -> None:
    if not array.flags.aligned:
        raise ValueError(
            f"{name}: address and strides {array.strides} must be multiples "
            f"of the element size {array.itemsize}"
        )


def _imported(name: str, value: Any) -> np.ndarray:
    """A foreign array as an ndarray, on the same memory if it has any to show."""
    kind = type(value)
    if hasattr(kind, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise TypeError(f"{name}: DLPack object cannot be read on the CPU: {error}") from None
    try:
        return np.asarray(memoryview(value))
    except (TypeError, ValueError):  # no buffer, or one of elements that NumPy does not know
        pass
    if any(hasattr(kind, protocol) for protocol in _NUMPY_PROTOCOLS):
        try:
            return np.asanyarray(value)  # a masked array stays one
        except MemoryError:
            raise
        except Exception as error:  # whatever the object's own code raises
            raise TypeError(f"{name}: {kind.__name__} cannot be read as an array: {error}") from error
    raise TypeError(
        f"{name}: must be an array (NumPy, DLPack on the CPU, the buffer protocol or __array__), "
        f"not {kind.__name__}"
    )


def check_rank(name: str, shape: tuple[int, ...], spatial_rank: int) -> bool:
    """Whether `shape` is batched, (N, C, *spatial), rather than (C, *spatial); no empty axis but the batch.

    Raises
    ------
    ValueError
        Any other number of axes, or an empty axis that is not the batch.
    """
    if len(shape) not in (spatial_rank + 1, spatial_rank + 2):
        raise ValueError(
            f"{name}: shape {shape} must have {spatial_rank + 2} axes (N, C, {spatial_rank} spatial) "
            f"or {spatial_rank + 1} without a batch"
        )
    batched = len(shape) == spatial_rank + 2
    if 0 in shape[batched:]:
        raise ValueError(f"{name}: shape {shape} has an empty axis; only the batch may be empty")
    return batched


_SPATIAL_AXES = ("", "W", "H, W", "D, H, W")


def layout_hint(name: str, shape: tuple[int, ...], channels: int, batched: bool) -> str:
    """What to add where an array has not so many channels: how its axes seem to be meant, if any way fits.

    Parameters
    ----------
    name : str
        The argument's name.
    shape : tuple of int
        Taken for (N, C, *spatial), or (C, *spatial) if not `batched`.
    channels : int
        What the call needs.
    """
    axis, rank = int(batched), len(shape)
    spatial_rank = rank - axis - 1
    if not 1 <= spatial_rank <= 3 or shape[axis] == channels:
        return ""
    if shape[-1] == channels:
        batch, spatial = "N, " * batched, _SPATIAL_AXES[spatial_rank]
        order = (*range(axis), rank - 1, *range(axis, rank - 1))
        return (
            f"; it looks channels-last, ({batch}{spatial}, C): "
            f"{name}.transpose{order} is a view of it as ({batch}C, {spatial})"
        )
    if not batched and channels == 1:
        return f"; if it is a batch of one channel, {name}[:, None] has the axis that is missing"
    return ""


def check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless `array` has exactly this shape."""
    check_same(name, array.shape, shape)


def check_same(name: str, given: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless a shape given is exactly this one."""
    if given != shape:
        raise ValueError(f"{name}: shape {given} must be {shape}")


def check_out(
    out: Any, shape: tuple[int, ...], dtype: np.dtype, inputs: dict[str, np.ndarray], name: str = "out"
) -> np.ndarray:
    """Check an array to be written to: an ndarray of this shape and dtype, writable, apart from every input.

    Raises
    ------
    TypeError
        Not an ndarray, or of another dtype.
    ValueError
        Another shape, read-only, elements that share memory with each other or with an input.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name}: must be a NumPy array, not {type(out).__name__}")
    as_array(name, out, dtype)
    check_shape(name, out, shape)
    if not out.flags.writeable:
        raise ValueError(f"{name}: must be writable")
    if _shares_elements(out):
        raise ValueError(f"{name}: strides {out.strides} let elements share memory")
    for other, array in inputs.items():
        if np.may_share_memory(out, array) and _overlap(out, array):
            raise ValueError(f"{name}: overlaps {other} in memory")
    return out


def _shares_elements(array: np.ndarray) -> bool:
    """Whether two elements may lie at one address: some axis steps over less than the axes inside it span.

    Slicing, reversing, transposing and taking diagonals never lead there; broadcasting and sliding windows
    do.
    """
    spanned = 0
    for step, size in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if size > 1 and step <= spanned:
            return True
        spanned += step * (size - 1)
    return False


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:  # interleaved beyond what is worth solving: refuse, to be safe
        return True


def new_output(shape: tuple[int, ...], dtype: np.dtype, like: np.ndarray, batched: bool = True) -> np.ndarray:
    """An uninitialised array of `shape`, channels-last in memory if `like` is.

    Raises
    ------
    MemoryError
        The array cannot exist or be allocated.
    """
    check_allocation(shape, dtype)
    return arrays.new_output(shape, dtype, like, batched)


#: Bytes about which nobody asks how much memory there is.
_SMALL = 1 << 24


@cache
def _physical_memory() -> int:
    """Bytes of memory that this machine has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # a system that does not say
        return LIMIT


def memory_limit() -> int:
    """Bytes that no array can have more of: the machine's memory, or what the process may take of it."""
    allowed = resource.getrlimit(resource.RLIMIT_AS)[0] if resource is not None else -1
    return min(LIMIT, _physical_memory(), allowed if allowed > 0 else LIMIT)


def check_allocation(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise `MemoryError` for a shape whose bytes no address space holds."""
    _check_bytes(shape, dtype, LIMIT)


def check_memory(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise `MemoryError` for a shape whose bytes are more than the machine has, or the process may take.

    For sizes that a file asks for: systems promise more than they have, and end the process when an
    array is filled.
    """
    if dtype.itemsize * prod(shape) > _SMALL:  # smaller ones are not worth a look at the machine
        _check_bytes(shape, dtype, memory_limit())


def _check_bytes(shape: tuple[int, ...], dtype: np.dtype, limit: int) -> None:
    count = dtype.itemsize
    for size in shape:
        count *= size
    if count > limit:
        raise MemoryError(f"an array of shape {shape} and dtype {dtype} cannot be allocated")


def as_indices(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """View `value` as an int64 array of this shape without copying it; what uses its values checks them.

    Raises
    ------
    TypeError
        Not an array, a masked one, or not int64 in native byte order.
    ValueError
        Another shape, or elements not aligned to their size.
    """
    array = as_ndarray(name, value)
    if array.dtype != np.int64:
        raise TypeError(
            f"{name}: dtype must be int64 in native byte order, not {array.dtype}"
            f"{_way_out(array.dtype, np.int64)}"
        )
    check_shape(name, array, shape)
    _check_aligned(name, array)
    return array


def index_outside(name: str, array: np.ndarray, places: int) -> ValueError:
    """The error for indices of which some name none of the places [0, places) of a plane."""
    bad = array.min() if array.min() < 0 else array.max()
    return ValueError(f"{name}: {bad} is outside [0, {places}), the places of one plane")


def as_sizes(name: str, value: Any, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """`value` as a shape of any meaning: a tuple or list of whole numbers, as many as one of `lengths`."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name}={value!r}: must be a shape, a tuple of integers")
    if len(value) not in lengths:
        raise ValueError(f"{name}={value!r}: must have {' or '.join(map(str, lengths))} entries")
    return tuple(whole_number(name, size, 0) for size in value)


def as_shape(name: str, value: Any, spatial_rank: int, batched: bool) -> tuple[int, ...]:
    """A shape given as an argument: (N, C, *spatial), or (C, *spatial) without a batch.

    Raises
    ------
    TypeError, ValueError
        Not a sequence of whole numbers, not as many as that, or an empty axis that is not the batch.
    """
    shape = as_sizes(name, value, (spatial_rank + 1 + batched,))
    check_rank(name, shape, spatial_rank)
    checked_product(name, *(max(size, 1) for size in shape))
    return shape
