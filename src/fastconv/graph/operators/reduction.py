"""Operators that make one element of many: sums and their kin, extremes and where they are, running sums.

Sums of floats are added up in pairs, or in blocks where NumPy would add one row after the other; so their
error grows with the logarithm of how many there are, in whatever order they lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from fastconv.graph.keep import Keep
from fastconv.graph.operator import Operator, Signature, like_first
from fastconv.graph.operators.axes import along, axes_of, axis_of, integer, integers
from fastconv.graph.operators.elementwise import FLOATS

#: Rows that are added one after the other.
BLOCK = 16

#: A reduction of some axes of an array, which it drops.
Reduction = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


def sum_of(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The sum over some axes, which are dropped; in x's dtype, integers wrap."""
    if x.dtype not in FLOATS or not axes or not x.size:
        return np.asarray(np.add.reduce(x, axes, dtype=x.dtype))
    first = x.ndim - len(axes)
    if x.flags.c_contiguous and axes == tuple(range(first, x.ndim)):
        return np.asarray(np.add.reduce(x.reshape(*x.shape[:first], prod(x.shape[first:])), -1))
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))  # as it lies in memory
    x = x.transpose(order)
    summed = [axis in axes for axis in order]
    inner = x.ndim
    while inner and summed[inner - 1]:
        inner -= 1
    total = x
    if inner < x.ndim:
        total = np.add.reduce(x.reshape(*x.shape[:inner], prod(x.shape[inner:])), -1)
    for axis in range(inner - 1, -1, -1):
        if summed[axis]:
            total = _sum_rows(np.asarray(total), axis)
    kept = [axis for axis, gone in zip(order, summed) if not gone]
    return np.asarray(total).transpose(np.argsort(kept)) if kept else np.asarray(total)


def _sum_rows(x: np.ndarray, axis: int) -> np.ndarray:
    """The sum over an axis that is not the innermost, in blocks of rows, and blocks of these."""
    while x.shape[axis] > 2 * BLOCK:
        count = x.shape[axis] // BLOCK
        whole, rest = x[along(axis, slice(count * BLOCK))], x[along(axis, slice(count * BLOCK, None))]
        blocks = whole.reshape(*x.shape[:axis], count, BLOCK, *x.shape[axis + 1 :])
        sums = np.add.reduce(blocks, axis + 1)
        if rest.shape[axis]:
            sums = np.concatenate([sums, np.add.reduce(rest, axis, keepdims=True)], axis)
        x = sums
    return np.asarray(np.add.reduce(x, axis))


def _count(x: np.ndarray, axes: tuple[int, ...]) -> int:
    return prod(x.shape[axis] for axis in axes)


def _mean(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    count = _count(x, axes)
    if x.dtype.kind in "iu":
        total = np.asarray(np.add.reduce(x, axes, dtype=np.uint64 if x.dtype.kind == "u" else np.int64))
        if not count:
            return np.zeros_like(total)
        return np.asarray(total // count + ((total < 0) & (total % count != 0)))
    return np.asarray(sum_of(x, axes) / np.asarray(count, x.dtype))


def _norm1(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return sum_of(np.abs(x), axes)


def _norm2(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.sqrt(_sum_square(x, axes)))


def _sum_square(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return sum_of(x * x, axes)


def _log_sum(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.log(sum_of(x, axes)))


def _log_sum_exp(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """log(sum(exp(x))), with the largest taken out first: nothing overflows."""
    if not _count(x, axes):
        return np.asarray(np.log(sum_of(x, axes)))
    largest = np.maximum.reduce(x, axes, keepdims=True) if axes else x
    largest = np.where(np.isfinite(largest), largest, 0).astype(x.dtype)
    summed = np.log(sum_of(np.exp(x - largest), axes))
    return np.asarray(summed + largest.reshape(summed.shape))


def _product(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.multiply.reduce(x, axes, dtype=x.dtype))


def _extreme(function: np.ufunc, highest: bool) -> Reduction:
    """Largest or smallest; of nothing, what any number replaces."""

    def reduced(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        if not axes:
            return np.array(x)
        if x.dtype == bool:
            return np.asarray((np.any if highest else np.all)(x, axes))
        if x.dtype.kind in "iu":
            limits = np.iinfo(x.dtype)
            initial: float = limits.min if highest else limits.max
        else:
            initial = -np.inf if highest else np.inf
        if _count(x, axes):
            return np.asarray(function.reduce(x, axes))
        return np.asarray(function.reduce(x, axes, initial=initial))

    return reduced


def _axes(ndim: int, axes: np.ndarray | None, noop_with_empty_axes: int) -> tuple[int, ...]:
    """The axes that go: all if none are named, unless nothing is to be done then."""
    named = () if axes is None else axes_of("axes", integers("axes", axes), ndim)
    return named or (() if noop_with_empty_axes else tuple(range(ndim)))


def _reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: int) -> tuple[int, ...]:
    if keepdims:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _reduce(function: Reduction, in_float: bool = False) -> Operator:
    """An operator that reduces axes; `in_float` is of those that compute with fractions of integers, too."""

    def reduced(x: np.ndarray, gone: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
        wide = x
        if x.dtype.kind in "iub":
            wide = x.astype(np.float64) if in_float else x
        elif x.dtype not in FLOATS:
            wide = x.astype(np.float32)
        result = function(wide, gone).astype(x.dtype, copy=False).reshape(shape)
        return np.array(result) if result.base is x or result is x else result

    def compute(
        x: np.ndarray, axes: np.ndarray | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> np.ndarray:
        gone = _axes(x.ndim, axes, noop_with_empty_axes)
        with np.errstate(all="ignore"):
            return reduced(x, gone, _reduced_shape(x.shape, gone, keepdims))

    def prepare(
        keep: Keep, signatures: list[Signature | None], *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Callable[..., np.ndarray] | None:
        x, axes = [*signatures, None][:2]
        if x is None or x.shape is None or (axes is not None and axes.value is None):
            return None
        gone = _axes(len(x.shape), None if axes is None else axes.value, noop_with_empty_axes)
        shape = _reduced_shape(x.shape, gone, keepdims)
        return lambda x, *axes: reduced(x, gone, shape)

    def infer(
        x: Signature, axes: Signature | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Signature:
        assert x.shape is not None
        gone = _axes(len(x.shape), None if axes is None else axes.value, noop_with_empty_axes)
        return Signature(x.dtype, _reduced_shape(x.shape, gone, keepdims))

    def flops(signatures: list[Signature], output: Signature, **attributes: Any) -> int:
        return signatures[0].size

    return Operator(compute, infer, shaped_by=(1,), prepare=prepare, flops=flops)


# ---- where the extremes are ---------------------------------------------------------------------------


#: How much longer than the axis a row of elements behind it is for rows to be compared as a whole.
ROWS = 16


def _along_rows(x: np.ndarray, axis: int, extreme: np.ufunc) -> np.ndarray | None:
    """How many rows of an axis come before the first one that has the extreme, counted row by row."""
    rows = np.moveaxis(x, axis, 0)
    best = extreme.reduce(rows, 0)
    before = np.ones(best.shape, bool)
    found = np.zeros(best.shape, np.uint8 if len(rows) < 255 else np.int32)
    for row in rows:
        before &= row != best
        found += before
    return None if before.any() else found.astype(np.int64)  # none has it: it is NaN


def _arg(function: Callable[..., Any], extreme: np.ufunc) -> Operator:
    """The place of the largest or smallest along an axis: the first of equals, or the last."""

    def compute(x: np.ndarray, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> np.ndarray:
        axis = axis_of("axis", axis, x.ndim)
        if not x.shape[axis]:
            raise ValueError(f"input: axis {axis} of shape {x.shape} has no element to choose")
        if x.dtype.kind not in "biuf":
            x = x.astype(np.float32)
        seen = np.flip(x, axis) if select_last_index else x
        found = None
        if prod(x.shape[axis + 1 :]) >= ROWS * x.shape[axis]:
            found = _along_rows(seen, axis, extreme)
        if found is None:
            found = np.asarray(function(seen, axis), np.int64)
        if select_last_index:
            found = x.shape[axis] - 1 - found
        return np.expand_dims(found, axis) if keepdims else found

    def infer(x: Signature, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Signature:
        assert x.shape is not None
        axis = axis_of("axis", axis, len(x.shape))
        return Signature(np.dtype(np.int64), _reduced_shape(x.shape, (axis,), keepdims))

    return Operator(compute, infer)


# ---- the largest few ----------------------------------------------------------------------------------

#: From this many elements on the few largest are looked for before they are sorted.
SELECTED = 512


def _top_k(
    x: np.ndarray, k: np.ndarray, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The k largest (or smallest) along an axis, in order, and where they are; of equals the first ones."""
    axis, count = _top_axis(x.shape, k, axis)
    rows = np.moveaxis(x, axis, -1)
    keys = rows if rows.dtype.kind in "biuf" and rows.dtype.itemsize != 2 else rows.astype(np.float32)
    keys = rows if rows.dtype.kind in "iu" else keys
    size = x.shape[axis]
    few = size >= SELECTED and count * 4 <= size and prod(rows.shape[:-1]) * 64 <= size
    if few and count and not (keys.dtype.kind == "f" and np.isnan(keys).any()):
        order = np.empty((*rows.shape[:-1], count), np.int64)
        for place in np.ndindex(*rows.shape[:-1]):
            order[place] = _select(keys[place], count, bool(largest))
    else:
        order = _order(keys, bool(largest))[..., :count]
    values = np.take_along_axis(rows, order, -1)
    return (
        np.ascontiguousarray(np.moveaxis(values, -1, axis)),
        np.ascontiguousarray(np.moveaxis(order, -1, axis)),
    )


def _order(keys: np.ndarray, largest: bool) -> np.ndarray:
    """The order of the elements along the last axis: stable, whichever way it runs."""
    if not largest:
        return np.argsort(keys, -1, kind="stable")
    backwards = np.argsort(keys[..., ::-1], -1, kind="stable")[..., ::-1]
    return np.asarray(keys.shape[-1] - 1 - backwards)


def _select(keys: np.ndarray, count: int, largest: bool) -> np.ndarray:
    """The same for one row of which few are wanted: all beyond the last one, and the first that equal it."""
    place = keys.size - count if largest else count - 1
    limit = np.partition(keys, place)[place]
    beyond = np.flatnonzero(keys > limit if largest else keys < limit)
    equal = np.flatnonzero(keys == limit)[: count - beyond.size]
    chosen = np.sort(np.concatenate([beyond, equal]))
    found: np.ndarray = chosen[_order(keys[chosen], largest)]
    return found


def _top_axis(shape: tuple[int, ...], k: np.ndarray, axis: int) -> tuple[int, int]:
    axis = axis_of("axis", axis, len(shape))
    count = integer("k", k)
    if not 0 <= count <= shape[axis]:
        raise ValueError(f"k={count}: must be 0 to {shape[axis]}, the size of axis {axis}")
    return axis, count


def _top_k_signature(
    x: Signature, k: Signature, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> list[Signature]:
    assert x.shape is not None
    axis, count = _top_axis(x.shape, k.value, axis)
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    return [Signature(x.dtype, shape), Signature(np.dtype(np.int64), shape)]


# ---- running sums -------------------------------------------------------------------------------------


def _running(function: np.ufunc, start: int) -> Operator:
    """Sums or products of all elements so far along an axis; floats are computed in float64 and rounded."""

    def compute(x: np.ndarray, axis: np.ndarray, *, exclusive: int = 0, reverse: int = 0) -> np.ndarray:
        along = axis_of("axis", integer("axis", axis), x.ndim)
        wide = x.dtype if x.dtype.kind in "iu" else np.dtype(np.float64)
        out = np.empty(x.shape, x.dtype)
        source, target = np.moveaxis(x, along, 0), np.moveaxis(out, along, 0)
        if reverse:
            source, target = source[::-1], target[::-1]
        if exclusive:
            target[:1] = start
            source, target = source[:-1], target[1:]
        with np.errstate(all="ignore"):
            target[...] = function.accumulate(source, 0, dtype=wide).astype(x.dtype, copy=False)
        return out

    return Operator(compute, like_first)


OPERATORS: dict[str, Operator] = {
    "ReduceSum": _reduce(sum_of),
    "ReduceMean": _reduce(_mean),
    "ReduceMax": _reduce(_extreme(np.maximum, True)),
    "ReduceMin": _reduce(_extreme(np.minimum, False)),
    "ReduceProd": _reduce(_product),
    "ReduceL1": _reduce(_norm1),
    "ReduceL2": _reduce(_norm2, in_float=True),
    "ReduceSumSquare": _reduce(_sum_square),
    "ReduceLogSum": _reduce(_log_sum, in_float=True),
    "ReduceLogSumExp": _reduce(_log_sum_exp, in_float=True),
    "ArgMax": _arg(np.argmax, np.maximum),
    "ArgMin": _arg(np.argmin, np.minimum),
    "TopK": Operator(_top_k, _top_k_signature, shaped_by=(1,)),
    "CumSum": _running(np.add, 0),
    "CumProd": _running(np.multiply, 1),
}
