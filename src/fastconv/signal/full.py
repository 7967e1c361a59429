"""The convolution of two arrays of one rank, or a part of it, as precisely as the pair needs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.functional.any_rank import correlate_valid
from fastconv.geometry import as_ndarray
from fastconv.signal.exact import convolve_by_taps
from fastconv.signal.transform import convolve_whole, whole_transform_pays

#: One (start, stop) per axis of the full convolution.
Part = list[tuple[int, int]]

MODES = ("full", "same", "valid")


def as_operand(name: str, value: Any) -> np.ndarray:
    """An array, or what NumPy makes one of."""
    return as_ndarray(name, value) if isinstance(value, np.ma.MaskedArray) else np.asarray(value)


def check_word(name: str, value: Any, words: tuple[str, ...]) -> None:
    """Raise unless `value` is one of some words."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r}: must be one of {', '.join(words)}")
    if value not in words:
        raise ValueError(f"{name}={value!r}: must be one of {', '.join(words)}")


def part_of(mode: str, first: tuple[int, ...], second: tuple[int, ...]) -> Part:
    """What `mode` keeps of the full convolution of arrays of these shapes."""
    part = []
    for n, k in zip(first, second, strict=True):
        full = n + k - 1
        size = {"full": full, "same": n, "valid": abs(n - k) + 1}[mode]
        start = min(n, k) - 1 if mode == "valid" else (full - size) // 2
        part.append((start, start + size))
    return part


def swapped_for_valid(mode: str, first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether the second array is the larger one; with "valid", one of them has to be, along every axis."""
    if mode != "valid":
        return False
    if all(n >= k for n, k in zip(first, second, strict=True)):
        return False
    if all(n <= k for n, k in zip(first, second, strict=True)):
        return True
    raise ValueError(
        f"mode='valid': one of in1 and in2, of shapes {first} and {second}, "
        "must be at least as large as the other along every axis"
    )


def convolved(first: np.ndarray, second: np.ndarray, part: Part, dtype: np.dtype) -> np.ndarray:
    """A part of the full convolution, computed as precisely as `dtype` needs it, cast to `dtype`.

    Neither array is empty.
    """
    if first.size < second.size:
        first, second = second, first
    if dtype.kind == "c":
        return _complex(first, second, part, dtype)
    work = _work(first, second, dtype)
    if work is None:
        full = convolve_by_taps(first, second, dtype)
        return np.ascontiguousarray(full[tuple(slice(*ends) for ends in part)])
    result = _real(first.astype(work, copy=False), second.astype(work, copy=False), part)
    if dtype.kind == "f":
        return result.astype(dtype, copy=False)
    np.rint(result, out=result)
    if dtype.kind == "b":
        found: np.ndarray = result != 0
        return found
    return result.astype(np.int64).astype(dtype)  # wraps around


def _work(first: np.ndarray, second: np.ndarray, dtype: np.dtype) -> np.dtype | None:
    """The float that holds every sum, or None."""
    if dtype == np.float32 or dtype == np.float16:
        return np.dtype(np.float32)
    if dtype == np.float64:
        return np.dtype(np.float64)
    if dtype.kind not in "biu":
        return None
    bound = _largest(first) * _largest(second) * min(first.size, second.size)
    for work in (np.float32, np.float64):
        if bound * float(np.finfo(work).eps) * max(min(first.size, second.size), 1) < 0.25:
            return np.dtype(work)
    return None


def _largest(array: np.ndarray) -> int:
    if array.dtype.kind == "b":
        return 1
    if array.dtype.itemsize == 1:
        return 255
    return max(abs(int(array.min())), abs(int(array.max())))


def _complex(first: np.ndarray, second: np.ndarray, part: Part, dtype: np.dtype) -> np.ndarray:
    """Real and imaginary parts on their own: two products, or four."""
    if dtype.itemsize > 16:
        full = convolve_by_taps(first, second, dtype)
        return np.ascontiguousarray(full[tuple(slice(*ends) for ends in part)])
    real = np.dtype(np.float32 if dtype == np.complex64 else np.float64)

    def component(array: np.ndarray, name: str) -> np.ndarray:
        return np.ascontiguousarray(getattr(array, name), real)

    result = np.empty(tuple(stop - start for start, stop in part), dtype)
    if first.dtype.kind == "c" and second.dtype.kind == "c":
        a, b = component(first, "real"), component(first, "imag")
        c, d = component(second, "real"), component(second, "imag")
        result.real = _real(a, c, part) - _real(b, d, part)
        result.imag = _real(a, d, part) + _real(b, c, part)
        return result
    for name in ("real", "imag"):
        pair = [component(x, name if x.dtype.kind == "c" else "real") for x in (first, second)]
        setattr(result, name, _real(pair[0], pair[1], part))
    return result


def _real(first: np.ndarray, second: np.ndarray, part: Part) -> np.ndarray:
    """A part of the full convolution of two float32 or float64 arrays, the second the smaller one.

    The first is read where it lies if the part needs nothing around it.
    """
    if whole_transform_pays(first, second):
        return convolve_whole(first, second, tuple(slice(*ends) for ends in part))
    sizes = [stop - start + k - 1 for (start, stop), k in zip(part, second.shape, strict=True)]
    cut, place, whole = [], [], True
    for (start, _), size, n, k in zip(part, sizes, first.shape, second.shape, strict=True):
        begin = start - k + 1  # where in `first` the windows of the part begin
        low, high = max(begin, 0), min(begin + size, n)
        whole = whole and low == begin and high == begin + size
        cut.append(slice(low, high))
        place.append(slice(low - begin, high - begin))
    source = first[tuple(cut)]
    if not whole:
        source = np.zeros(sizes, first.dtype)
        source[tuple(place)] = first[tuple(cut)]
    result = np.empty([stop - start for start, stop in part], first.dtype)
    if result.size:
        kernel = second[(slice(None, None, -1),) * second.ndim]
        correlate_valid(source, kernel, result)
    return result
