"""Weighted sums of windows, into an array of any dtype: in which precision, in how many passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastconv.ndimage.chain import Pass, band_rows, run
from fastconv.ndimage.exact import (
    ZERO,
    Finite,
    OrderedSum,
    Settle,
    Term,
    WholeSums,
    cast,
    flat_terms,
    line_terms,
    running_means,
)

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

#: Dtypes whose every value a float32 holds.
_SMALL = {np.dtype(code) for code in "?bBhHf"}

#: Taps from which on two thin kernels are quicker than one square.
_SPLIT_FROM = 30

#: Expected taps that have to be added again per place, above which float64 is quicker than float32.
_AGAIN = 0.1

#: By these, binomial kernels and other sums of powers of two become whole numbers.
_SCALES = (1, 16, 256, 4096)

Terms = Callable[[np.ndarray], list[Term]]


def correlate_each(source: np.ndarray, target: np.ndarray, passes: Sequence[Pass]) -> None:
    """One pass along an axis after the other; between them, integers are cut off at the point.

    `source` and `target` are real and apart in memory.
    """
    if target.size == 0:
        return
    if target.dtype.kind == "f":
        run(source, passes, _work(source, target), target)
        return
    for step in passes[:-1]:
        between = np.empty(target.shape, _between(target))
        _integers(source, between, step, line_terms)
        source = between
    _integers(source, target, passes[-1], line_terms)


def correlate_one(source: np.ndarray, target: np.ndarray, step: Pass) -> None:
    """One pass with a kernel of any rank; taps that are zero read nothing, not even NaN."""
    if target.size == 0:
        return
    if target.ndim == 0:
        source, target = source.reshape(1), target.reshape(1)
        step = Pass(step.weights.reshape(1), (0,), ("nearest",), 0.0)
    if target.dtype.kind != "f":
        _integers(source, target, step, flat_terms)
        return
    work = _work(source, target)
    finish = None
    if source.dtype.kind == "f" and (np.abs(step.weights) <= ZERO).any():
        finish = Finite(target, OrderedSum(source, step, flat_terms))
    run(source, _split(step, work), work, target, finish)


def average_each(source: np.ndarray, target: np.ndarray, passes: Sequence[Pass]) -> None:
    """Means along one axis after the other; the kernels of `passes` are ones."""
    if target.size == 0:
        return
    if target.dtype.kind == "f":
        means = [
            Pass(step.weights / step.weights.size, step.before, step.borders, step.constant)
            for step in passes
        ]
        run(source, means, _work(source, target), target)
        return
    for step in passes:
        between = target if step is passes[-1] else np.empty(target.shape, _between(target))
        if not _whole_sums(source, between, step, step.weights.size):
            running_means(source, step, between)
        source = between


def _between(target: np.ndarray) -> np.dtype:
    """The dtype between two passes into integers: that of the target, or bytes on the way to bool."""
    return np.dtype(np.uint8) if target.dtype.kind == "b" else target.dtype


def _work(source: np.ndarray, target: np.ndarray) -> np.dtype:
    """The dtype to compute a float result in: float32 where that loses nothing but the last place."""
    return _FLOAT32 if target.dtype == _FLOAT32 and source.dtype in _SMALL else _FLOAT64


def _integers(source: np.ndarray, target: np.ndarray, step: Pass, order: Terms) -> None:
    """One pass into integers, exactly those of a sum in float64 in SciPy's order."""
    if _whole_sums(source, target, step, 1):
        return
    bound = _bound(source, step)
    rounding = 2 * (step.weights.size + 4) * bound
    error32 = rounding * float(np.finfo(np.float32).eps)
    work: np.dtype = _FLOAT64
    if source.dtype in _SMALL and source.dtype.kind != "f" and error32 * step.weights.size < _AGAIN:
        work = _FLOAT32
    error = rounding * float(np.finfo(work).eps) + bound * 2.0**-52
    if not np.isfinite(error) or error > 0.25:  # next to an integer everywhere
        _in_order(source, target, OrderedSum(source, step, order))
        return
    finish = Settle(target, OrderedSum(source, step, order), error, _fits(source, target, step, bound))
    run(source, _split(step, work), work, target, finish)


def _in_order(source: np.ndarray, target: np.ndarray, sums: OrderedSum) -> None:
    rows = band_rows(source.shape)
    for start in range(0, len(source), rows):
        count = min(rows, len(source) - start)
        cast(sums.rows(start, count), target[start : start + count])


def _whole_sums(source: np.ndarray, target: np.ndarray, step: Pass, divisor: int) -> bool:
    """Do the pass if every sum is a whole number that a float holds; whether that was so."""
    scale = next((s for s in _SCALES if (step.weights * s == np.rint(step.weights * s)).all()), 0)
    if source.dtype.kind == "f" or not scale:
        return False
    step = Pass(step.weights * scale, step.before, step.borders, step.constant)
    divisor *= scale
    if "constant" in step.borders and step.constant != np.rint(step.constant):
        return False
    bound = _bound(source, step)
    work: np.dtype
    for work in (_FLOAT32, _FLOAT64):
        eps = float(np.finfo(work).eps)
        if step.weights.size * bound * eps < 0.25 and _largest(source) * eps < 1:
            finish = WholeSums(
                target, step.weights.size, divisor, _fits(source, target, step, bound / divisor)
            )
            run(source, _split(step, work), work, target, finish)
            return True
    return False


def _largest(source: np.ndarray) -> float:
    """A bound of the absolute values that are finite: by dtype for small integers, else by looking."""
    if source.dtype.kind == "b":
        return 1.0
    if source.dtype.itemsize <= 2:
        return float(np.iinfo(source.dtype).max) + 1
    low, high = float(source.min()), float(source.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = source[np.isfinite(source)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return max(abs(low), abs(high))


def _bound(source: np.ndarray, step: Pass) -> float:
    """What no sum's absolute value exceeds, nor that of any part of it."""
    largest = _largest(source)
    if "constant" in step.borders and np.isfinite(step.constant):
        largest = max(largest, abs(step.constant))
    return float(np.abs(step.weights).sum()) * largest


def _fits(source: np.ndarray, target: np.ndarray, step: Pass, bound: float) -> bool:
    """Whether every result lies in the range of an integer target."""
    if target.dtype.kind == "b" or source.dtype.kind == "f" or target.dtype.itemsize > 4:
        return False
    if "constant" in step.borders and not 0 <= step.constant < np.inf:
        return False
    if source.dtype == target.dtype and source.dtype.kind == "u" and bound:
        largest = max(float(np.iinfo(source.dtype).max), step.constant if "constant" in step.borders else 0.0)
        bound *= largest / (largest + 1)
    low = -bound if (step.weights < 0).any() or source.dtype.kind == "i" else 0.0
    info = np.iinfo(target.dtype)
    return low > info.min - 0.5 and bound < info.max + 0.5


def _split(step: Pass, work: np.dtype) -> list[Pass]:
    """The pass as several along one axis each, if its kernel is a product of such and that pays."""
    weights = step.weights
    axes = [axis for axis, size in enumerate(weights.shape) if size > 1]
    if len(axes) < 2 or weights.size < _SPLIT_FROM:
        return [step]
    pivot = np.unravel_index(np.argmax(np.abs(weights)), weights.shape)
    peak = weights[pivot]
    if not np.isfinite(weights).all() or peak == 0:
        return [step]
    lines: list[np.ndarray] = []
    for axis in axes:
        place: list[int | slice] = list(map(int, pivot))
        place[axis] = slice(None)
        lines.append(weights[tuple(place)] / (peak if lines else 1.0))
    product = lines[0]
    for line in lines[1:]:
        product = np.multiply.outer(product, line)
    product = product.reshape(weights.shape)
    with np.errstate(invalid="ignore"):
        if (np.abs(product - weights) > 4 * np.finfo(work).eps * np.abs(weights)).any():
            return [step]
    passes, constant = [], step.constant
    for axis, line in zip(axes, lines, strict=True):
        border, before = step.borders[axis], step.before[axis]
        passes.append(Pass.along(axis, weights.ndim, line, before, border, constant))
        constant *= float(line.sum())  # what the pass makes of a constant region beyond the edge
    return passes
