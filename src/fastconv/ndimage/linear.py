"""Correlation and convolution with kernels of one or all axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.ndimage.arguments import (
    as_axes,
    as_axis,
    as_border,
    as_constant,
    as_input,
    as_weights,
    make_output,
    reach_before,
    window_of,
)
from fastconv.ndimage.chain import Pass
from fastconv.ndimage.weighted import correlate_each, correlate_one

#: Work on real arrays: from, to, and the constant beyond the edge.
RealFilter = Callable[[np.ndarray, np.ndarray, float], None]


def correlate(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> np.ndarray:
    """Correlation with a kernel of one weight per element of a window, as `scipy.ndimage.correlate`.

    Parameters
    ----------
    input : array_like of any rank; bool, integers up to 64 bits, float32, float64, complex
    weights : array_like, as many axes as are filtered
        The conjugates of complex weights are used.
    output : ndarray of the input's shape, or dtype, optional
        Default: the dtype of `input`, complex where the result is.
    mode : {"reflect", "mirror", "nearest", "wrap", "constant", "grid-mirror", "grid-wrap", "grid-constant"}
    cval : number
        What lies beyond the edges with "constant".
    origin : int or one per filtered axis
    axes : int or several, optional
        Default: all.

    Returns
    -------
    ndarray, of the shape of `input`

    Raises
    ------
    ValueError, TypeError
        An argument breaks a rule; nothing has been written.

    Notes
    -----
    Integer results are SciPy's, which adds in float64 and cuts off at the point. From float32 (and 8 or 16
    bits) to float32 the sum is a float32 one: it differs from SciPy's by a few 1e-7 of what the absolute
    values would add up to. A bool result is True where SciPy leaves a byte other than 0.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.correlate(np.array([2, 8, 0, 4, 1]), [1, 3])
    array([ 8, 26,  8, 12,  7])
    """
    return _any_rank(input, weights, output, mode, cval, origin, axes, flip=False)


def convolve(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> np.ndarray:
    """Convolution, as `scipy.ndimage.convolve`: `correlate` with the kernel flipped, and not conjugated.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.convolve(np.array([0, 0, 1, 0, 0]), [1, 2, 3])
    array([0, 1, 2, 3, 0])
    """
    return _any_rank(input, weights, output, mode, cval, origin, axes, flip=True)


def correlate1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> np.ndarray:
    """Correlation along one axis, as `scipy.ndimage.correlate1d`; everything else as `correlate`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.correlate1d(np.array([[1.0, 2.0, 4.0]]), [-1, 1])
    array([[0., 1., 2.]])
    """
    return _along(input, weights, axis, output, mode, cval, origin, flip=False)


def convolve1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> np.ndarray:
    """Convolution along one axis, as `scipy.ndimage.convolve1d`: the kernel of `correlate1d` flipped.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.convolve1d(np.array([0, 0, 1, 0]), [1, 2, 3])
    array([0, 1, 2, 3])
    """
    return _along(input, weights, axis, output, mode, cval, origin, flip=True)


def _any_rank(
    input: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any, *, flip: bool
) -> np.ndarray:
    source = as_input("input", input)
    kernel = as_weights(weights)
    found = as_axes(axes, source.ndim)
    if kernel.ndim != len(found) or 0 in kernel.shape:
        raise ValueError(
            f"weights: shape {kernel.shape} must have {len(found)} axes, as many as are filtered, none empty"
        )
    border = as_border(mode)
    shape, before = window_of(source.ndim, found, kernel.shape, origin)
    if flip:
        before = tuple(size - 1 - reach for size, reach in zip(shape, before, strict=True))
    kernel = (kernel[(slice(None, None, -1),) * kernel.ndim] if flip else kernel.conj()).reshape(shape)

    def one(weights: np.ndarray) -> RealFilter:
        def filter(source: np.ndarray, target: np.ndarray, constant: float) -> None:
            borders = (border,) * weights.ndim
            correlate_one(source, target, Pass(weights, before, borders, constant))

        return filter

    return weighted(source, kernel, output, cval, one)


def _along(
    input: Any, weights: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any, *, flip: bool
) -> np.ndarray:
    source = as_input("input", input)
    kernel = as_weights(weights)
    if kernel.ndim != 1 or len(kernel) == 0:
        raise ValueError(f"weights: shape {kernel.shape} must have one axis, and that not empty")
    found = as_axis(axis, source.ndim)
    reach = reach_before(origin, len(kernel))
    before = len(kernel) - 1 - reach if flip else reach
    border = as_border(mode)
    kernel = kernel[::-1] if flip else kernel.conj()

    def line(taps: np.ndarray) -> RealFilter:
        def filter(source: np.ndarray, target: np.ndarray, constant: float) -> None:
            correlate_each(source, target, [Pass.along(found, source.ndim, taps, before, border, constant)])

        return filter

    return weighted(source, kernel, output, cval, line)


def weighted(
    source: np.ndarray,
    kernel: np.ndarray,
    output: Any,
    cval: Any,
    filter_by: Callable[[np.ndarray], RealFilter],
) -> np.ndarray:
    """Run the filters of the real and imaginary parts of a kernel, float64, over those of the input."""
    imaginary = kernel.dtype.kind == "c"
    complex_result = imaginary or source.dtype.kind == "c"
    result = make_output(output, source, complex_result=complex_result)
    real = filter_by(kernel.real.astype(np.float64))
    if not imaginary:
        return componentwise(real, source, result, cval)
    turned = filter_by(kernel.imag.astype(np.float64))
    if source.dtype.kind != "c":
        constant = as_constant(cval)
        return write(
            lambda target: (real(source, target.real, constant), turned(source, target.imag, constant)),
            source,
            result,
        )

    def both(target: np.ndarray) -> None:
        low, high = _constants(cval)
        term = np.empty(source.shape, target.real.dtype)
        real(source.real, target.real, low)
        turned(source.imag, term, high)
        target.real -= term
        turned(source.real, target.imag, low)
        real(source.imag, term, high)
        target.imag += term

    return write(both, source, result)


def _constants(cval: Any) -> tuple[float, float]:
    try:
        value = complex(cval)
    except (TypeError, ValueError):
        raise TypeError(f"cval={cval!r}: must be a number") from None
    return value.real, value.imag


def componentwise(filter: RealFilter, source: np.ndarray, result: np.ndarray, cval: Any) -> np.ndarray:
    """Run a filter with real weights over the input, or over its two components."""
    if source.dtype.kind != "c":
        if result.dtype.kind == "c":
            raise ValueError(f"output: dtype {result.dtype} must be real, as the result is")
        constant = as_constant(cval)
        return write(lambda target: filter(source, target, constant), source, result)
    if result.dtype.kind != "c":
        raise ValueError(f"output: dtype {result.dtype} must be complex, as the result is")
    low, high = _constants(cval)

    def both(target: np.ndarray) -> None:
        filter(source.real, target.real, low)
        filter(source.imag, target.imag, high)

    return write(both, source, result)


def write(fill: Callable[[np.ndarray], Any], source: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Fill `result`, by way of another array if it is the input itself or of foreign byte order."""
    native = result.dtype.newbyteorder("=")
    if np.may_share_memory(source, result) or result.dtype != native or not result.flags.aligned:
        between = np.empty(result.shape, native)
        write(fill, source, between)
        result[...] = between
    else:
        fill(result)
    return result
