"""Operators that take elements from where an array says, or put them there.

Indices may count from the end; one that points outside is an error, never a read or write outside.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from fastconv.graph.operator import Operator, Signature, like_first
from fastconv.graph.operators.axes import axis_of, integer, number
from fastconv.graph.operators.elementwise import FLOATS

# ---- taking -------------------------------------------------------------------------------------------


def _gather(x: np.ndarray, indices: np.ndarray, *, axis: int = 0) -> np.ndarray:
    """Slices of an axis, as many and in such an order as the indices say."""
    return np.take(x, _whole(indices), axis_of("axis", axis, x.ndim), mode="raise")


def _whole(indices: np.ndarray) -> np.ndarray:
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices: dtype {indices.dtype} must be one of integers")
    return indices.astype(np.intp, copy=False)


def _gather_signature(x: Signature, indices: Signature, *, axis: int = 0) -> Signature:
    assert x.shape is not None
    assert indices.shape is not None
    axis = axis_of("axis", axis, len(x.shape))
    return Signature(x.dtype, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _places(shape: tuple[int, ...], indices: np.ndarray, axis: int) -> tuple[Any, ...]:
    """What `x[...]` takes to have for each index the element there along an axis, else at its own place."""
    axis = axis_of("axis", axis, len(shape))
    if indices.ndim != len(shape) or any(
        there > size for i, (there, size) in enumerate(zip(indices.shape, shape)) if i != axis
    ):
        raise ValueError(f"indices: shape {indices.shape} must be within {shape}, but for axis {axis}")
    places: list[Any] = list(np.ogrid[tuple(map(slice, indices.shape))])
    places[axis] = _whole(indices)
    return tuple(places)


def _gather_elements(x: np.ndarray, indices: np.ndarray, *, axis: int = 0) -> np.ndarray:
    """For each index the element at it along an axis, and at the index's own place along the others."""
    return np.asarray(x[_places(x.shape, indices, axis)])


def _gather_elements_signature(x: Signature, indices: Signature, *, axis: int = 0) -> Signature:
    return Signature(x.dtype, indices.shape)


def _tuple_shape(shape: tuple[int, ...], indices: tuple[int, ...], batch: int) -> tuple[int, ...]:
    """The shape of what lists of indices along the last axis take, behind `batch` common axes."""
    if not indices or (batch and not 0 <= batch < min(len(shape), len(indices))):
        raise ValueError(f"batch_dims={batch}: must be below the axes of {shape} and of {indices}")
    if shape[:batch] != indices[:batch] or indices[-1] > len(shape) - batch:
        raise ValueError(
            f"indices: shape {indices} must begin as {shape}, {batch} axes, and end in at most the number of "
            "those behind"
        )
    return (*indices[:-1], *shape[batch + indices[-1] :])


def _tuple_places(indices: np.ndarray, batch: int) -> tuple[np.ndarray, ...]:
    grid = np.ogrid[tuple(map(slice, indices.shape[:batch]))] if batch else ()
    more = indices.ndim - 1 - batch
    return (*(each.reshape(each.shape + (1,) * more) for each in grid), *np.moveaxis(_whole(indices), -1, 0))


def _gather_nd(x: np.ndarray, indices: np.ndarray, *, batch_dims: int = 0) -> np.ndarray:
    """For each list of indices, along the last axis, the element or slice of x that it leads to."""
    shape = _tuple_shape(x.shape, indices.shape, batch_dims)
    if indices.shape[-1] == 0:
        return np.array(np.broadcast_to(x, shape) if not batch_dims else x.reshape(shape))
    return np.asarray(x[_tuple_places(indices, batch_dims)]).reshape(shape)


def _gather_nd_signature(x: Signature, indices: Signature, *, batch_dims: int = 0) -> Signature:
    assert x.shape is not None
    assert indices.shape is not None
    return Signature(x.dtype, _tuple_shape(x.shape, indices.shape, batch_dims))


def _compress(x: np.ndarray, condition: np.ndarray, *, axis: int | None = None) -> np.ndarray:
    """Slices of an axis, or elements of the flattened array, where the condition is true."""
    kept = np.flatnonzero(condition)
    if axis is None:
        return np.take(x.reshape(-1), kept)
    return np.take(x, kept, axis_of("axis", axis, x.ndim))


def _array_features(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Elements along the last axis; a list has a row of them."""
    taken = np.take(x, _whole(indices).reshape(-1), -1)
    return taken.reshape(1, -1) if x.ndim == 1 else taken


# ---- putting ------------------------------------------------------------------------------------------

#: How an element that is put meets the one that is there.
REDUCTIONS: dict[str, Callable[..., None] | None] = {
    "none": None,
    "add": np.add.at,
    "mul": np.multiply.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


def _put(x: np.ndarray, places: Any, updates: np.ndarray, reduction: str) -> np.ndarray:
    """A copy of x with the updates put in; half floats are added up in float32 and rounded once."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction={reduction!r}: must be one of {', '.join(REDUCTIONS)}")
    if updates.dtype != x.dtype:
        raise TypeError(f"updates: dtype {updates.dtype} must be that of the data, {x.dtype}")
    meet = REDUCTIONS[reduction]
    if meet is None:
        out = np.array(x, order="C")
        out[places] = updates
        return out
    wide = x.dtype in FLOATS or x.dtype.kind in "biucO"
    out = np.array(x, None if wide else np.float32, order="C")
    with np.errstate(all="ignore"):
        meet(out, places, updates.astype(out.dtype, copy=False))
    return out.astype(x.dtype, copy=False)


def _scatter_elements(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, axis: int = 0, reduction: str = "none"
) -> np.ndarray:
    """x with each update where its index says along an axis, and at its own place along the others."""
    if updates.shape != indices.shape:
        raise ValueError(f"updates: shape {updates.shape} must be that of the indices, {indices.shape}")
    return _put(x, _places(x.shape, indices, axis), updates, reduction)


def _scatter_nd(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, reduction: str = "none"
) -> np.ndarray:
    """x with each update, an element or slice, where its list of indices leads to."""
    shape = _tuple_shape(x.shape, indices.shape, 0)
    if updates.shape != shape:
        raise ValueError(f"updates: shape {updates.shape} must be {shape}")
    if indices.shape[-1] == 0:
        flat = updates.reshape(-1, *x.shape)
        whole = np.array(x)
        for each in flat:
            whole = _put(whole, ..., each, reduction)
        return whole
    return _put(x, _tuple_places(indices, 0), updates, reduction)


def _tensor_scatter(
    past: np.ndarray,
    update: np.ndarray,
    write_indices: np.ndarray | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> np.ndarray:
    """The past with new steps of an axis put in, for each of the batch from its own index on."""
    axis = axis_of("axis", axis, past.ndim)
    longest, batch = past.shape[axis], past.shape[0]
    steps = update.shape[axis] if update.ndim == past.ndim else 0
    if axis == 0 or update.shape != (*past.shape[:axis], steps, *past.shape[axis + 1 :]) or steps > longest:
        raise ValueError(
            f"update: shape {update.shape} must be that of the past, {past.shape}, less along axis {axis}, "
            "which must not be 0"
        )
    starts = np.zeros(batch, np.int64) if write_indices is None else write_indices
    if starts.shape != (batch,):
        raise ValueError(f"write_indices: shape {starts.shape} must be ({batch},)")
    places = _whole(starts)[:, None] + np.arange(steps)
    if mode == "circular":
        places = places % max(longest, 1)
    elif mode != "linear":
        raise ValueError(f"mode={mode!r}: must be 'linear' or 'circular'")
    if places.size and not 0 <= places.min() <= places.max() < longest:
        raise ValueError(
            f"write_indices: {steps} steps from there must lie within the {longest} of axis {axis}"
        )
    out = np.array(past, order="C")
    np.moveaxis(out, axis, 1)[np.arange(batch)[:, None], places] = np.moveaxis(update, axis, 1)
    return out


# ---- searching ----------------------------------------------------------------------------------------


def _nonzero(x: np.ndarray) -> np.ndarray:
    """Where elements are that are not 0: a row for each axis, a column for each of them."""
    if not x.ndim:
        return np.zeros((0, int(bool(x))), np.int64)
    return np.array(np.nonzero(x), np.int64).reshape(x.ndim, -1)


def _unique(
    x: np.ndarray, *, axis: int | None = None, sorted: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Each element, or slice of an axis, once; where it is first, which one each is, and how many."""
    if axis is None:
        rows = x.reshape(-1)
    else:
        axis = axis_of("axis", axis, x.ndim)
        rows = np.moveaxis(x, axis, 0)
    keys = rows if x.dtype.kind in "biuf" else _codes(rows)
    if axis is not None:
        width = prod(keys.shape[1:])
        keys = keys.reshape(len(keys), width) if width else np.zeros((len(keys), 1), np.int8)
    _, first, which, counts = np.unique(keys, True, True, True, axis=None if axis is None else 0)
    which = which.reshape(-1)
    if not sorted:
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        first, counts, which = first[order], counts[order], rank[which]
    found = rows[first] if axis is None else np.ascontiguousarray(np.moveaxis(rows[first], 0, axis))
    return found, first.astype(np.int64), which.astype(np.int64), counts.astype(np.int64)


def _codes(x: np.ndarray) -> np.ndarray:
    """Numbers in the order of the elements, for dtypes that NumPy cannot sort in rows."""
    if x.dtype == object:
        return np.unique(x.reshape(-1), return_inverse=True)[1].reshape(x.shape)
    return x.astype(np.float32)


# ---- boxes --------------------------------------------------------------------------------------------


def _suppress(
    boxes: np.ndarray,
    scores: np.ndarray,
    max_output_boxes_per_class: np.ndarray | None = None,
    iou_threshold: np.ndarray | None = None,
    score_threshold: np.ndarray | None = None,
    *,
    center_point_box: int = 0,
) -> np.ndarray:
    """The best boxes of each class that do not overlap a better one too much: (image, class, box) of each."""
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape != (scores.shape[0], scores.shape[2], 4):
        raise ValueError(f"boxes: shape {boxes.shape} must be (n, boxes, 4), that of scores {scores.shape}")
    limit = (
        0 if max_output_boxes_per_class is None else integer("max_output_boxes", max_output_boxes_per_class)
    )
    overlap = 0.0 if iou_threshold is None else number("iou_threshold", iou_threshold)
    lowest = None if score_threshold is None else number("score_threshold", score_threshold)
    found = [np.zeros((0, 3), np.int64)]
    for image in range(len(boxes) if limit > 0 else 0):
        corners = _corners(boxes[image].astype(np.float32, copy=False), center_point_box)
        for label in range(scores.shape[1]):
            given = scores[image, label]
            candidates = np.arange(given.size) if lowest is None else np.flatnonzero(given > lowest)
            candidates = candidates[np.argsort(-given[candidates], kind="stable")]
            kept = _best(corners, candidates, limit, overlap)
            found.append(np.array([(image, label, box) for box in kept], np.int64).reshape(-1, 3))
    return np.concatenate(found)


def _corners(boxes: np.ndarray, center_point_box: int) -> np.ndarray:
    """Lower and upper corner of each box, from either form."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if center_point_box:
        half = second / 2
        return np.concatenate([first - half, first + half], 1)
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], 1)


#: Candidates that are compared with each other at once.
TOGETHER = 128


def _best(corners: np.ndarray, candidates: np.ndarray, limit: int, overlap: float) -> list[int]:
    """Candidates in order, each unless it overlaps one that was taken before it."""
    kept: list[int] = []
    for start in range(0, candidates.size, TOGETHER):
        these = candidates[start : start + TOGETHER]
        if kept:
            these = these[~_overlaps(corners[these], corners[kept], overlap).any(1)]
        among = _overlaps(corners[these], corners[these], overlap)
        free = np.ones(these.size, bool)
        for i, box in enumerate(these.tolist()):
            if free[i]:
                kept.append(box)
                if len(kept) == limit:
                    return kept
                free[i + 1 :] &= ~among[i, i + 1 :]
    return kept


def _overlaps(these: np.ndarray, those: np.ndarray, overlap: float) -> np.ndarray:
    """Whether the common area of each with each is more than this part of their union; without any, never."""
    a, b = these.T[:, :, None], those.T[:, None, :]
    common = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    np.maximum(common, 0, out=common)
    common *= np.maximum(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return np.asarray((common > overlap * union) & (common > 0))


OPERATORS: dict[str, Operator] = {
    "Gather": Operator(_gather, _gather_signature),
    "GatherElements": Operator(_gather_elements, _gather_elements_signature),
    "GatherND": Operator(_gather_nd, _gather_nd_signature),
    "ScatterElements": Operator(_scatter_elements, like_first),
    "ScatterND": Operator(_scatter_nd, like_first),
    "TensorScatter": Operator(_tensor_scatter, like_first),
    "Compress": Operator(_compress, varies=True),
    "ArrayFeatureExtractor": Operator(_array_features, varies=True),
    "NonZero": Operator(_nonzero, varies=True),
    "Unique": Operator(_unique, varies=True),
    "NonMaxSuppression": Operator(_suppress, varies=True),
}
