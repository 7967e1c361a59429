"""Filters made of passes along one axis each: means, Gaussians, and the derivatives of pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.geometry import integer, real_number
from fastconv.ndimage.arguments import (
    as_axes,
    as_axis,
    as_border,
    as_input,
    as_size,
    make_output,
    per_filtered_axis,
    reach_before,
)
from fastconv.ndimage.chain import Pass
from fastconv.ndimage.linear import componentwise
from fastconv.ndimage.weighted import average_each, correlate_each

#: Below this, SciPy leaves an axis as it is.
_NO_SIGMA = 1e-15

#: What a pass along an axis is made from: the axis, the taps, the elements before, the border.
Line = tuple[int, np.ndarray, int, str]


def uniform_filter(
    input: Any,
    size: Any = 3,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> np.ndarray:
    """Means of windows, as `scipy.ndimage.uniform_filter`.

    `size`, `origin` and `mode` are one value or one per filtered axis, sizes at least 1; everything else as
    `correlate`. NaN and infinity reach the windows they lie in; in SciPy's running sum all that follow too.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.uniform_filter(np.array([2, 8, 0, 4, 1, 9, 9, 0]), 3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    """
    source = as_input("input", input)
    found = as_axes(axes, source.ndim)
    sizes = [as_size(s) for s in per_filtered_axis("size", size, len(found))]
    origins = per_filtered_axis("origin", origin, len(found))
    modes = per_filtered_axis("mode", mode, len(found))
    lines = [
        (axis, np.ones(s), reach_before(o, s), as_border(m))
        for axis, s, o, m in zip(found, sizes, origins, modes)
        if s > 1  # SciPy does not look at the origin of any other
    ]
    return _passes(source, lines, output, cval, average_each)


def uniform_filter1d(
    input: Any,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> np.ndarray:
    """Means along one axis, as `scipy.ndimage.uniform_filter1d`; everything else as `uniform_filter`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.uniform_filter1d(np.array([3.0, 0.0, 6.0]), 3)
    array([2., 3., 4.])
    """
    source = as_input("input", input)
    found, size = as_axis(axis, source.ndim), as_size(size)
    line = (found, np.ones(size), reach_before(origin, size), as_border(mode))
    return _passes(source, [line], output, cval, average_each)


def gaussian_filter(
    input: Any,
    sigma: Any,
    order: Any = 0,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    *,
    radius: Any = None,
    axes: Any = None,
) -> np.ndarray:
    """Convolution with a Gaussian or its derivatives, as `scipy.ndimage.gaussian_filter`.

    `sigma`, `order`, `mode` and `radius` are one value or one per filtered axis; an axis of sigma 0 stays as
    it is. Integers are cut off at the point after each axis, as in SciPy. Everything else as `correlate`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.gaussian_filter(np.arange(50, step=2).reshape(5, 5), 1)[0]
    array([ 4,  6,  8,  9, 11])
    """
    source = as_input("input", input)
    found = as_axes(axes, source.ndim)
    count = len(found)
    lines = [
        _bell_line(axis, s, o, m, truncate, r)
        for axis, s, o, m, r in zip(
            found,
            per_filtered_axis("sigma", sigma, count),
            per_filtered_axis("order", order, count),
            per_filtered_axis("mode", mode, count),
            per_filtered_axis("radius", radius, count),
        )
        if real_number("sigma", s) > _NO_SIGMA
    ]
    return _passes(source, lines, output, cval, correlate_each)


def gaussian_filter1d(
    input: Any,
    sigma: float,
    axis: int = -1,
    order: int = 0,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
) -> np.ndarray:
    """Convolution with a Gaussian along one axis, as `scipy.ndimage.gaussian_filter1d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.gaussian_filter1d(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 1).round(3)
    array([1.427, 2.068, 3.   , 3.932, 4.573])
    """
    source = as_input("input", input)
    line = _bell_line(as_axis(axis, source.ndim), sigma, order, mode, truncate, radius)
    return _passes(source, [line], output, cval, correlate_each)


def sobel(
    input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0
) -> np.ndarray:
    """Differences along `axis`, weighted 1 2 1 along the others, as `scipy.ndimage.sobel`.

    `mode` is one value or one per axis of the input.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.sobel(np.array([[0, 0, 1], [0, 0, 1]]))
    array([[0, 4, 4],
           [0, 4, 4]])
    """
    return _edges(input, axis, output, mode, cval, [1.0, 2.0, 1.0])


def prewitt(
    input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0
) -> np.ndarray:
    """Differences along `axis`, summed over three along the others, as `scipy.ndimage.prewitt`.

    `mode` is one value or one per axis of the input.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.prewitt(np.array([[0, 0, 1], [0, 0, 1]]))
    array([[0, 3, 3],
           [0, 3, 3]])
    """
    return _edges(input, axis, output, mode, cval, [1.0, 1.0, 1.0])


def laplace(
    input: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None
) -> np.ndarray:
    """Sums of second differences along the axes, as `scipy.ndimage.laplace`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.laplace(np.array([0, 1, 4, 9]))
    array([ 1,  2,  2, -5])
    """
    source = as_input("input", input)
    found = as_axes(axes, source.ndim)
    modes = per_filtered_axis("mode", mode, len(found))
    steps = [
        [(axis, np.array([1.0, -2.0, 1.0]), 1, as_border(m))] for axis, m in zip(found, modes, strict=True)
    ]
    return _summed(source, steps, output, cval)


def gaussian_laplace(
    input: Any,
    sigma: Any,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    *,
    axes: Any = None,
    truncate: float = 4.0,
    radius: Any = None,
) -> np.ndarray:
    """Sums of the second derivatives of a Gaussian, as `scipy.ndimage.gaussian_laplace`.

    `sigma`, `mode` and `radius` are one value or one per filtered axis.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.gaussian_laplace(np.array([0.0, 0.0, 1.0, 0.0, 0.0]), 0.7).round(2)
    array([ 0.14,  0.44, -1.16,  0.44,  0.14])
    """
    source = as_input("input", input)
    found = as_axes(axes, source.ndim)
    count = len(found)
    values = list(
        zip(
            found,
            per_filtered_axis("sigma", sigma, count),
            per_filtered_axis("mode", mode, count),
            per_filtered_axis("radius", radius, count),
        )
    )
    steps = [
        [
            _bell_line(axis, s, 2 if axis == across else 0, m, truncate, r)
            for axis, s, m, r in values
            if real_number("sigma", s) > _NO_SIGMA
        ]
        for across in found
    ]
    return _summed(source, steps, output, cval)


def _edges(input: Any, axis: Any, output: Any, mode: Any, cval: Any, across: list[float]) -> np.ndarray:
    source = as_input("input", input)
    along = as_axis(axis, source.ndim)
    borders = [as_border(m) for m in per_filtered_axis("mode", mode, source.ndim)]
    lines: list[Line] = [(along, np.array([-1.0, 0.0, 1.0]), 1, borders[along])]
    lines += [(i, np.array(across), 1, borders[i]) for i in range(source.ndim) if i != along]
    return _passes(source, lines, output, cval, correlate_each)


def _bell_line(axis: int, sigma: Any, order: Any, mode: Any, truncate: Any, radius: Any) -> Line:
    """The line of one axis of a Gaussian filter."""
    sigma = real_number("sigma", sigma, nonzero=True)
    order = integer("order", order)
    if order < 0:
        raise ValueError(f"order={order}: must be at least 0")
    if radius is None:
        reach = int(real_number("truncate", truncate) * sigma + 0.5)
        if reach < 0:
            raise ValueError(f"truncate={truncate!r}, sigma={sigma!r}: their product must not be negative")
    else:
        reach = integer("radius", radius)
        if reach < 0:
            raise ValueError(f"radius={radius!r}: must be at least 0")
    return axis, _bell(sigma, order, reach)[::-1], reach, as_border(mode)


def _bell(sigma: float, order: int, radius: int) -> np.ndarray:
    """The weights of a Gaussian of sum 1 at -radius ... radius, or of its derivative."""
    variance = sigma * sigma
    places = np.arange(-radius, radius + 1)
    bell: np.ndarray = np.exp(-0.5 / variance * places**2)
    bell /= bell.sum()
    if order == 0:
        return bell
    # A derivative is a polynomial times the bell, and (p * bell)' = (p' - p * x / variance) * bell.
    powers = np.arange(order + 1)
    next_one = np.diag(powers[1:], 1) + np.diag(np.full(order, -1 / variance), -1)
    polynomial = np.eye(1, order + 1)[0]
    for _ in range(order):
        polynomial = next_one.dot(polynomial)
    weights: np.ndarray = (places[:, None] ** powers).dot(polynomial) * bell
    return weights


Each = Callable[[np.ndarray, np.ndarray, list[Pass]], None]


def _passes(source: np.ndarray, lines: list[Line], output: Any, cval: Any, each: Each) -> np.ndarray:
    """Run a pass for each line; without any, copy."""
    result = make_output(output, source, complex_result=source.dtype.kind == "c")
    if not lines:
        result[...] = source
        return result

    def filter(source: np.ndarray, target: np.ndarray, constant: float) -> None:
        each(source, target, _made(lines, source.ndim, constant))

    return componentwise(filter, source, result, cval)


def _made(lines: list[Line], rank: int, constant: float) -> list[Pass]:
    return [Pass.along(axis, rank, taps, before, border, constant) for axis, taps, before, border in lines]


def _summed(source: np.ndarray, steps: list[list[Line]], output: Any, cval: Any) -> np.ndarray:
    """The sum of several chains of passes, added in the dtype of the output; without any, copy."""
    result = make_output(output, source, complex_result=source.dtype.kind == "c")
    if not any(steps):
        result[...] = source
        return result

    def filter(source: np.ndarray, target: np.ndarray, constant: float) -> None:
        correlate_each(source, target, _made(steps[0], source.ndim, constant))
        term = np.empty(target.shape, target.dtype)
        for lines in steps[1:]:
            correlate_each(source, term, _made(lines, source.ndim, constant))
            target += term

    return componentwise(filter, source, result, cval)
