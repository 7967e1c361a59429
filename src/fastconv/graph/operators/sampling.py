"""Values between the elements of an image: GridSample, DeformConv; regions: RoiAlign and MaxRoiPool."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from itertools import product
from math import ceil, floor, prod
from typing import Any

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.operator import Operator, Signature
from fastconv.graph.operators.elementwise import FLOATS
from fastconv.graph.operators.resize import cubic, rounded

PADDINGS = ("zeros", "border", "reflection")

#: Coordinates are held within this, which is far outside any image, before they become integers.
FAR = 1e9


def _in_float(compute: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Types that nothing computes in are computed in float32 and rounded."""

    @wraps(compute)
    def computed(x: np.ndarray, *others: Any, **attributes: Any) -> np.ndarray:
        wide = [
            each.astype(np.float32)
            if isinstance(each, np.ndarray) and each.dtype not in FLOATS and each.dtype.kind not in "iu"
            else each
            for each in others
        ]
        with np.errstate(all="ignore"):
            if x.dtype in FLOATS:
                return compute(x, *wide, **attributes)
            return rounded(compute(x.astype(np.float32), *wide, **attributes), x.dtype)

    return computed


# ---- samples ------------------------------------------------------------------------------------------


def _taps(at: np.ndarray, mode: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Elements along one axis that count for a coordinate, and what each counts."""
    at = np.clip(np.where(np.isnan(at), -FAR, at), -FAR, FAR)
    if mode == "nearest":
        index = np.rint(at).astype(np.int64)
        return [(index, np.ones_like(at))]
    base = np.floor(at)
    part, index = at - base, base.astype(np.int64)
    if mode == "linear":
        return [(index, 1 - part), (index + 1, part)]
    if mode == "cubic":
        return [(index + k, cubic(part - k, -0.75).astype(at.dtype)) for k in (-1, 0, 1, 2)]
    raise ValueError(f"mode={mode!r}: must be nearest, linear or cubic")


def _inside(index: np.ndarray, size: int, padding: str, corners: bool) -> tuple[np.ndarray, Any]:
    """An index that is in the image, and whether it was."""
    if padding == "reflection":
        period = max(1, 2 * (size - 1)) if corners else 2 * size
        index = index % period
        return np.where(index >= size, period - (0 if corners else 1) - index, index), None
    held = np.clip(index, 0, size - 1)
    return held, held == index if padding == "zeros" else None


def sample(
    x: np.ndarray, at: list[np.ndarray], mode: str = "linear", padding: str = "zeros", corners: bool = False
) -> np.ndarray:
    """Values of an image (C, *spatial) at points: (C, P). `at` has the points' coordinates for each axis."""
    sizes = x.shape[1:]
    flat = x.reshape(x.shape[0], -1)
    total: np.ndarray = np.zeros((x.shape[0], at[0].size), x.dtype)
    if not prod(sizes):
        return total
    along = []
    for coordinate, size in zip(at, sizes):
        taps = []
        for index, weight in _taps(coordinate, mode):
            index, inside = _inside(index, size, padding, corners)
            taps.append((index, weight if inside is None else weight * inside))
        along.append(taps)
    for chosen in product(*along):
        place, weight = chosen[0]
        for (index, factor), size in zip(chosen[1:], sizes[1:]):
            place, weight = place * size + index, weight * factor
        part = np.take(flat, place, 1)
        part *= weight.astype(x.dtype)
        total += part
    return total


@_in_float
def _grid_sample(
    x: np.ndarray,
    grid: np.ndarray,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> np.ndarray:
    """x at the points of a grid, whose last axis has coordinates from -1 to 1, the last of x first."""
    sizes = x.shape[2:]
    shape = _grid_shape(x.shape, grid.shape)
    if padding_mode not in PADDINGS:
        raise ValueError(f"padding_mode={padding_mode!r}: must be one of {', '.join(PADDINGS)}")
    check_memory(shape, x.dtype)
    out: np.ndarray = np.empty(shape, x.dtype)
    for image, points, place in zip(x, grid.reshape(len(grid), -1, len(sizes)), out):
        at = []
        for size, g in zip(sizes, points.T[::-1]):
            half = g.dtype.type(0.5)
            at.append((g + 1) * half * (size - 1) if align_corners else ((g + 1) * size - 1) * half)
        place[...] = sample(image, at, mode, padding_mode, bool(align_corners)).reshape(place.shape)
    return out


def _grid_shape(x: tuple[int, ...], grid: tuple[int, ...]) -> tuple[int, ...]:
    if len(x) < 3 or len(grid) != len(x) or grid[-1] != len(x) - 2 or grid[0] != x[0]:
        raise ValueError(
            f"grid: shape {grid} must be ({x[0] if x else '?'}, *sizes, {len(x) - 2}) for X of shape {x}"
        )
    return (*x[:2], *grid[1:-1])


def _grid_signature(x: Signature, grid: Signature, **attributes: Any) -> Signature:
    assert x.shape is not None
    assert grid.shape is not None
    return Signature(x.dtype, _grid_shape(x.shape, grid.shape))


# ---- deformed convolution -----------------------------------------------------------------------------


def _deform_shape(
    x: tuple[int, ...],
    w: tuple[int, ...],
    offset: tuple[int, ...],
    *,
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    offset_group: int = 1,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> tuple[int, ...]:
    rank = len(x) - 2
    if rank < 1 or len(w) != len(x):
        raise ValueError(f"W: shape {w} must have as many axes as X of shape {x}, 3 or more")
    dilations, strides, pads = dilations or (1,) * rank, strides or (1,) * rank, pads or (0,) * (2 * rank)
    for name, given, count, least in (
        ("dilations", dilations, rank, 1),
        ("strides", strides, rank, 1),
        ("pads", pads, 2 * rank, 0),
    ):
        if len(given) != count or min(given) < least:
            raise ValueError(f"{name}={given}: must be {count} numbers of at least {least}")
    if group < 1 or offset_group < 1 or w[1] * group != x[1] or w[0] % group or x[1] % offset_group:
        raise ValueError(f"group={group}, offset_group={offset_group}: do not divide X {x} and W {w}")
    sizes = tuple(
        (x[2 + i] + pads[i] + pads[i + rank] - dilations[i] * (w[2 + i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    )
    if min(sizes) < 1:
        raise ValueError(f"W: a kernel of {w[2:]} does not fit into X of shape {x}")
    wanted = (x[0], offset_group * prod(w[2:]) * rank, *sizes)
    if offset != wanted:
        raise ValueError(f"offset: shape {offset} must be {wanted}")
    return (x[0], w[0], *sizes)


@_in_float
def _deform(
    x: np.ndarray,
    w: np.ndarray,
    offset: np.ndarray,
    bias: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    offset_group: int = 1,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> np.ndarray:
    """A convolution each of whose kernel elements looks where an offset says, and counts as a mask says.

    Dai et al., "Deformable Convolutional Networks", 2017; with masks, Zhu et al., "Deformable ConvNets v2".
    """
    told = {
        "dilations": dilations,
        "group": group,
        "offset_group": offset_group,
        "pads": pads,
        "strides": strides,
    }
    shape = _deform_shape(x.shape, w.shape, offset.shape, **told)  # type: ignore[arg-type]
    rank, sizes, kernel = x.ndim - 2, shape[2:], w.shape[2:]
    elements, points = prod(kernel), prod(sizes)
    dilations, strides, pads = dilations or (1,) * rank, strides or (1,) * rank, pads or (0,) * (2 * rank)
    check_memory((x.shape[1], elements, points), x.dtype)
    starts = []
    for i in range(rank):
        inner = np.arange(kernel[i]) * dilations[i] - pads[i]
        spread = inner.reshape([-1 if k == i else 1 for k in range(rank)] + [1] * rank)
        outer = (np.arange(sizes[i]) * strides[i]).reshape(
            [1] * rank + [-1 if k == i else 1 for k in range(rank)]
        )
        starts.append(np.broadcast_to(spread + outer, (*kernel, *sizes)).reshape(-1))
    weight = w.reshape(group, w.shape[0] // group, -1)
    out: np.ndarray = np.empty(shape, x.dtype)
    moved = offset.reshape(x.shape[0], offset_group, elements, rank, points)
    for n, image in enumerate(x):
        columns: list[np.ndarray] = []
        for g, part in enumerate(np.split(image, offset_group)):
            at = [starts[i].astype(x.dtype) + moved[n, g, :, i].reshape(-1) for i in range(rank)]
            columns.append(sample(part, at))
            if mask is not None:
                columns[-1] *= mask[n].reshape(offset_group, -1)[g]
        rows = np.concatenate(columns).reshape(group, -1, points)
        out[n] = np.matmul(weight, rows).reshape(shape[1:])
    if bias is not None:
        out += bias.reshape(-1, *[1] * rank)
    return out


def _deform_signature(
    x: Signature, w: Signature, offset: Signature, *others: Signature | None, **attributes: Any
) -> Signature:
    assert x.shape is not None
    assert w.shape is not None
    assert offset.shape is not None
    return Signature(x.dtype, _deform_shape(x.shape, w.shape, offset.shape, **attributes))


# ---- regions ------------------------------------------------------------------------------------------


def _bin_weights(start: float, length: float, bins: int, ratio: int, size: int) -> tuple[np.ndarray, int]:
    """What each element of an axis counts for each sample, and how many samples a bin has."""
    count = ratio if ratio > 0 else max(0, ceil(length / bins))
    check_memory((bins, count, size), np.dtype(np.float64))
    step = length / bins
    at = start + step * ((np.arange(bins)[:, None] + (np.arange(count) + 0.5) / max(1, count)).reshape(-1))
    matrix: np.ndarray = np.zeros((bins * count, size))
    inside = (at >= -1) & (at <= size)
    held = np.clip(at, 0, size - 1)
    low = np.floor(held).astype(np.int64)
    rows, part = np.arange(len(at)), held - low
    matrix[rows, low] += (1 - part) * inside
    matrix[rows, np.minimum(low + 1, size - 1)] += part * inside
    return matrix, count


@_in_float
def _roi_align(
    x: np.ndarray,
    rois: np.ndarray,
    batch: np.ndarray,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> np.ndarray:
    """Regions brought to one size: the mean or maximum of samples in each bin; "Mask R-CNN", 2017."""
    shape = _roi_shape(x.shape, rois.shape, 4, (output_height, output_width))
    if mode not in ("avg", "max"):
        raise ValueError(f"mode={mode!r}: must be avg or max")
    if batch.shape != rois.shape[:1]:
        raise ValueError(f"batch_indices: shape {batch.shape} must be {rois.shape[:1]}")
    if len(batch) and (batch.min() < 0 or batch.max() >= len(x)):
        raise ValueError(f"batch_indices: must lie in 0 to {len(x) - 1}")
    half = coordinate_transformation_mode == "half_pixel"
    out: np.ndarray = np.empty(shape, x.dtype)
    for region, n, place in zip(rois.astype(np.float64), batch, out):
        x1, y1, x2, y2 = region * spatial_scale - (0.5 if half else 0.0)
        if not np.all(np.isfinite(region)):
            raise ValueError(f"rois: {region.tolist()} must be finite")
        height, width = (y2 - y1, x2 - x1) if half else (max(y2 - y1, 1.0), max(x2 - x1, 1.0))
        down, rows = _bin_weights(y1, height, output_height, sampling_ratio, x.shape[2])
        right, columns = _bin_weights(x1, width, output_width, sampling_ratio, x.shape[3])
        if not rows * columns:
            place[...] = 0
            continue
        if mode == "avg":
            down = down.reshape(output_height, rows, -1).mean(1)
            right = right.reshape(output_width, columns, -1).mean(1)
            place[...] = _between(down, x[n], right)
        else:
            place[...] = _largest(down, x[n], right, (output_height, rows, output_width, columns))
    return out


def _between(down: np.ndarray, image: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Weighted sums of the rows and columns of (C, H, W), of which only those that count are looked at."""
    tall, wide = (
        slice(*(np.flatnonzero(m.any(0))[[0, -1]] + (0, 1))) if m.any() else slice(0, 1)
        for m in (down, right)
    )
    part = image[:, tall, wide]
    rows = np.matmul(down[:, tall].astype(part.dtype), part)
    return np.asarray(np.matmul(rows, right[:, wide].T.astype(part.dtype)))


def _largest(down: np.ndarray, image: np.ndarray, right: np.ndarray, bins: tuple[int, ...]) -> np.ndarray:
    """The largest share of an element in a sample of each bin: what ONNX defines, and no sample itself is."""
    best: np.ndarray | None = None
    for near_row, near_column in product((0, 1), repeat=2):
        rows, row_weight = _neighbour(down, near_row)
        columns, column_weight = _neighbour(right, near_column)
        share = image[:, rows[:, None], columns] * (row_weight[:, None] * column_weight).astype(image.dtype)
        best = share if best is None else np.maximum(best, share)
    assert best is not None
    return np.asarray(best.reshape(len(image), *bins).max((2, 4)))


def _neighbour(matrix: np.ndarray, which: int) -> tuple[np.ndarray, np.ndarray]:
    """The first or the last element that counts for each sample."""
    counts = matrix != 0
    if which:
        index = matrix.shape[1] - 1 - counts[:, ::-1].argmax(1)
        alone = counts.sum(1) < 2
        return index, np.where(alone, 0, matrix[np.arange(len(matrix)), index])
    index = counts.argmax(1)
    return index, matrix[np.arange(len(matrix)), index]


def _roi_shape(
    x: tuple[int, ...], rois: tuple[int, ...], numbers: int, size: tuple[int, ...]
) -> tuple[int, ...]:
    if len(x) != 4 or 0 in x[2:]:
        raise ValueError(f"X: shape {x} must be (N, C, H, W), H and W not 0")
    if len(rois) != 2 or rois[1] != numbers:
        raise ValueError(f"rois: shape {rois} must be (regions, {numbers})")
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"output size {size}: must be two positive numbers")
    shape = (rois[0], x[1], *size)
    check_memory(shape, np.dtype(np.float64))
    return shape


def _roi_align_signature(
    x: Signature,
    rois: Signature,
    *others: Signature,
    output_height: int = 1,
    output_width: int = 1,
    **attributes: Any,
) -> Signature:
    assert x.shape is not None
    assert rois.shape is not None
    return Signature(x.dtype, _roi_shape(x.shape, rois.shape, 4, (output_height, output_width)))


@_in_float
def _max_roi_pool(
    x: np.ndarray, rois: np.ndarray, *, pooled_shape: tuple[int, ...], spatial_scale: float = 1.0
) -> np.ndarray:
    """The maximum of each bin of regions whose borders are whole pixels. Girshick, "Fast R-CNN", 2015."""
    out: np.ndarray = np.zeros(_roi_shape(x.shape, rois.shape, 5, pooled_shape), x.dtype)
    for region, place in zip(rois.astype(np.float64), out):
        if not np.all(np.abs(region) < FAR) or not 0 <= region[0] < len(x):
            raise ValueError(f"rois: {region.tolist()} must begin with one of {len(x)} images")
        left, top, right, bottom = (floor(v * spatial_scale + 0.5) for v in region[1:])
        edges = []
        for start, end, bins, size in (
            (top, bottom, pooled_shape[0], x.shape[2]),
            (left, right, pooled_shape[1], x.shape[3]),
        ):
            step = max(end - start + 1, 1) / bins
            spans = [(start + floor(k * step), start + ceil((k + 1) * step)) for k in range(bins)]
            edges.append([tuple(min(max(v, 0), size) for v in span) for span in spans])
        for i, (y1, y2) in enumerate(edges[0]):
            for j, (x1, x2) in enumerate(edges[1]):
                if y2 > y1 and x2 > x1:
                    place[:, i, j] = x[int(region[0]), :, y1:y2, x1:x2].max((1, 2))
    return out


def _max_roi_signature(
    x: Signature, rois: Signature, *, pooled_shape: tuple[int, ...], **attributes: Any
) -> Signature:
    assert x.shape is not None
    assert rois.shape is not None
    return Signature(x.dtype, _roi_shape(x.shape, rois.shape, 5, pooled_shape))


OPERATORS: dict[str, Operator] = {
    "GridSample": Operator(_grid_sample, _grid_signature),
    "DeformConv": Operator(_deform, _deform_signature),
    "RoiAlign": Operator(_roi_align, _roi_align_signature),
    "MaxRoiPool": Operator(_max_roi_pool, _max_roi_signature),
}
