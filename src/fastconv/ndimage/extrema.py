"""Maxima and minima of windows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastconv.functional.any_rank import maximum_valid
from fastconv.ndimage.arguments import (
    as_axes,
    as_axis,
    as_border,
    as_constant,
    as_input,
    as_size,
    make_output,
    per_filtered_axis,
    reach_before,
    window_of,
)
from fastconv.ndimage.chain import Pass, band_rows, load, workspace
from fastconv.ndimage.exact import cast
from fastconv.ndimage.linear import write

#: A window along one axis: the axis, its size, the elements before its place, the border.
Window = tuple[int, int, int, str]


def maximum_filter(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> np.ndarray:
    """Maxima of windows, as `scipy.ndimage.maximum_filter`.

    Parameters
    ----------
    input : array_like of any rank; bool, integers up to 64 bits, float32 or float64
    size : int or one per filtered axis
        Unless `footprint` is given.
    footprint : array_like of bool, as many axes as are filtered
        The window's elements that count.
    output, cval, origin, axes
        As for `correlate`.
    mode : str, or one per filtered axis
        Only one with a footprint that is no rectangle.

    Notes
    -----
    NaN reaches every window it lies in; in SciPy that depends on what surrounds it. Integers of 64 bits are
    compared as such; SciPy rounds them to float64 first.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.maximum_filter(np.array([2, 8, 0, 4, 1, 9, 9, 0]), 3)
    array([8, 8, 8, 4, 9, 9, 9, 9])
    """
    return _extreme(np.maximum, input, size, footprint, output, mode, cval, origin, axes)


def minimum_filter(
    input: Any,
    size: Any = None,
    footprint: Any = None,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> np.ndarray:
    """Minima of windows, as `scipy.ndimage.minimum_filter`; everything else as `maximum_filter`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.minimum_filter(np.array([2, 8, 0, 4, 1, 9, 9, 0]), 3)
    array([2, 0, 0, 0, 1, 1, 0, 0])
    """
    return _extreme(np.minimum, input, size, footprint, output, mode, cval, origin, axes)


def maximum_filter1d(
    input: Any,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> np.ndarray:
    """Maxima along one axis, as `scipy.ndimage.maximum_filter1d`; everything else as `maximum_filter`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.maximum_filter1d(np.array([[3, 1, 2]]), 3)
    array([[3, 3, 2]])
    """
    return _along(np.maximum, input, size, axis, output, mode, cval, origin)


def minimum_filter1d(
    input: Any,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> np.ndarray:
    """Minima along one axis, as `scipy.ndimage.minimum_filter1d`; everything else as `maximum_filter`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.minimum_filter1d(np.array([[3, 1, 2]]), 3)
    array([[1, 1, 1]])
    """
    return _along(np.minimum, input, size, axis, output, mode, cval, origin)


def _along(
    which: np.ufunc, input: Any, size: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any
) -> np.ndarray:
    source = as_input("input", input, real=True)
    found, size = as_axis(axis, source.ndim), as_size(size)
    window = (found, size, reach_before(origin, size), as_border(mode))
    return _finish(which, source, [window], output, cval)


def _extreme(
    which: np.ufunc,
    input: Any,
    size: Any,
    footprint: Any,
    output: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> np.ndarray:
    source = as_input("input", input, real=True)
    found = as_axes(axes, source.ndim)
    count = len(found)
    if footprint is not None:
        if size is not None:
            warnings.warn("size is ignored, as there is a footprint", UserWarning, stacklevel=3)
        shape = np.asarray(footprint, dtype=bool)
        if not shape.any():
            raise ValueError("footprint: must have an element that counts")
        if shape.ndim != count:
            raise ValueError(
                f"footprint: shape {shape.shape} must have {count} axes, as many as are filtered"
            )
        if not shape.all():
            return _by_footprint(which, source, shape, output, as_border(mode), cval, origin, found)
        size = shape.shape
    elif size is None:
        raise ValueError("size=None: must be given, or a footprint")
    windows = [
        (axis, s, reach_before(o, s), as_border(m))
        for axis, s, o, m in zip(
            found,
            map(as_size, per_filtered_axis("size", size, count)),
            per_filtered_axis("origin", origin, count),
            per_filtered_axis("mode", mode, count),
        )
        if s > 1  # SciPy does not look at the origin of any other
    ]
    return _finish(which, source, windows, output, cval)


def _finish(which: np.ufunc, source: np.ndarray, windows: list[Window], output: Any, cval: Any) -> np.ndarray:
    result = make_output(output, source)
    constant = as_constant(cval)
    if result.dtype.kind == "c":
        raise ValueError(f"output: dtype {result.dtype} must be real, as the result is")
    if not windows or source.size == 0:
        result[...] = source
        return result
    return write(lambda target: _rectangle(which, source, windows, target, constant), source, result)


def _rectangle(
    which: np.ufunc, source: np.ndarray, windows: list[Window], target: np.ndarray, constant: float
) -> None:
    """All windows at once where pooling does that, else along one axis after the other."""
    if source.dtype == target.dtype and source.dtype.kind == "f" and len(windows) <= 3:
        _pooled(which, source, windows, target, constant)
        return
    for window in windows:
        found = np.empty(target.shape, target.dtype) if window is not windows[-1] else target
        _line(which, source, window, found, constant)
        source = found


def _line(which: np.ufunc, source: np.ndarray, window: Window, target: np.ndarray, constant: float) -> None:
    """Windows along one axis, of any dtype: two of the extremes of 1, 2, 4, ... elements cover a window."""
    axis, size, before, border = window
    source = _comparable(source, target, border, constant)
    step = Pass.along(axis, source.ndim, np.ones(size), before, border, constant)
    rows = band_rows(source.shape, step.weights.shape[0])
    for start in range(0, len(source), rows):
        count = min(rows, len(source) - start)
        copy = workspace.take(0, step.padded(count, source.shape), source.dtype)
        load(source, start, count, step, copy)
        band = target[start : start + count]
        _put(_running(which, copy.swapaxes(0, axis), size).swapaxes(0, axis), band)


def _running(which: np.ufunc, values: np.ndarray, size: int) -> np.ndarray:
    """Extremes of `size` neighbours along the first axis."""
    count, length = len(values) - size + 1, 1
    while 2 * length <= size:
        values = which(values[:-length], values[length:])
        length *= 2
    return which(values[:count], values[size - length :]) if size > length else values


def _put(found: np.ndarray, band: np.ndarray) -> None:
    if found.dtype == band.dtype:
        band[...] = found
    else:
        cast(found.astype(np.float64, copy=False), band)


def _comparable(source: np.ndarray, target: np.ndarray, border: str, constant: float) -> np.ndarray:
    """The array in a dtype that holds the constant beyond the edge, or what is left of it in the results."""
    if border != "constant" or source.dtype.kind == "f":
        return source
    low, high = (0, 1) if source.dtype.kind == "b" else _limits(source.dtype)
    whole = target.dtype == source.dtype or constant == np.rint(constant)
    return source if low <= constant <= high and whole else source.astype(np.float64)


def _limits(dtype: np.dtype) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _pooled(
    which: np.ufunc, source: np.ndarray, windows: list[Window], target: np.ndarray, constant: float
) -> None:
    """Floats, by max-pooling; minima are maxima of what is negated."""
    across = [window for window in windows if window[0] == 0]
    if 0 < len(across) < len(windows) and 4 * across[0][1] > band_rows(source.shape):
        # rows around a band that outweigh it: along the first axis on its own
        between = np.empty_like(target)
        _pooled(which, source, across, between, constant)
        _pooled(which, between, [window for window in windows if window[0] != 0], target, constant)
        return
    sizes, before, borders = [1] * source.ndim, [0] * source.ndim, ["nearest"] * source.ndim
    for axis, size, reach, border in windows:
        sizes[axis], before[axis], borders[axis] = size, reach, border
    step = Pass(np.ones(sizes), tuple(before), tuple(borders), constant)
    rows = band_rows(source.shape, sizes[0])
    copy = workspace.take(0, step.padded(rows, source.shape), source.dtype)
    for start in range(0, len(source), rows):
        count = min(rows, len(source) - start)
        part = copy[: count + sizes[0] - 1]
        load(source, start, count, step, part)
        band = target[start : start + count]
        if which is np.minimum:
            np.negative(part, out=part)
            np.negative(maximum_valid(part, step.weights.shape), out=band)
        else:
            band[...] = maximum_valid(part, step.weights.shape)


def _by_footprint(
    which: np.ufunc,
    source: np.ndarray,
    footprint: np.ndarray,
    output: Any,
    border: str,
    cval: Any,
    origin: Any,
    axes: tuple[int, ...],
) -> np.ndarray:
    """Windows of any shape: one comparison per element that counts."""
    result, constant = make_output(output, source), as_constant(cval)
    if result.dtype.kind == "c":
        raise ValueError(f"output: dtype {result.dtype} must be real, as the result is")
    shape, before = window_of(source.ndim, axes, footprint.shape, origin)
    inside = np.empty(1, source.dtype)
    cast(np.array([constant]), inside)  # here SciPy compares in the dtype of the input
    counted = footprint.reshape(shape).astype(np.float64)
    step = Pass(counted, before, (border,) * source.ndim, inside.item())
    taps = list(zip(*np.nonzero(step.weights)))

    def fill(target: np.ndarray) -> None:
        rows = band_rows(source.shape, shape[0])
        for start in range(0, len(source), rows):
            count = min(rows, len(source) - start)
            copy = workspace.take(0, step.padded(count, source.shape), source.dtype)
            load(source, start, count, step, copy)
            sizes = (count, *source.shape[1:])
            views = [copy[tuple(slice(t, t + n) for t, n in zip(tap, sizes))] for tap in taps]
            found = views[0].copy()
            for view in views[1:]:
                which(found, view, out=found)
            _put(found, target[start : start + count])

    return write(fill, source, result) if source.size else result
