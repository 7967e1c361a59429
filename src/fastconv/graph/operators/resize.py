"""Resize: every axis for itself, by a few weighted elements of the input for each of the output.

Where they lie is settled from shapes and scales alone. Coordinates are computed in float32, as the programs
do that models were made with: with another precision a nearest neighbour on the edge would be another.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.keep import Keep
from fastconv.graph.operator import Kernel, Operator, Signature
from fastconv.graph.operators.elementwise import FLOATS
from fastconv.graph.operators.quantized import limits

MODES = ("nearest", "linear", "cubic")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
#: The longest period of outputs that is looked for, and elements outside the input that are made for it.
FARTHEST = 8

POLICIES = ("stretch", "not_larger", "not_smaller")


class Taps(NamedTuple):
    """What one axis of the output is made of.

    Attributes
    ----------
    axis : int
    places, weight : array, shape (outputs, n)
        Elements of the input, and what each counts.
    outside : array of bool, shape (outputs,), or None
        Outputs that have the value of what lies outside.
    beyond : (int, int)
        How many elements before and behind the input are looked for; each stands for the nearest.
    first : array, shape (at most FARTHEST, n)
        The first of `places`, as far outside as they reach.
    period : (int, int) or None
        (P, Q) if each output lies Q elements beyond the one P before it: then they are slices of the input.
    """

    axis: int
    places: np.ndarray
    weight: np.ndarray
    outside: np.ndarray | None
    beyond: tuple[int, int]
    first: np.ndarray
    period: tuple[int, int] | None


# ---- sizes --------------------------------------------------------------------------------------------


class Extent(NamedTuple):
    """The sizes of an axis.

    Attributes
    ----------
    axis, before, after : int
    scale : float
    ideal : float
        The size that the scale leads to, which need not be whole.
    start, end : float
        The part of the input, of 0 to 1.
    """

    axis: int
    before: int
    after: int
    scale: float
    ideal: float
    start: float
    end: float


def extents(
    shape: tuple[int, ...],
    roi: np.ndarray | None,
    scales: np.ndarray | None,
    sizes: np.ndarray | None,
    axes: tuple[int, ...] | None,
    policy: str,
    crops: bool,
) -> list[Extent]:
    """The sizes of the axes that are resized."""
    rank = len(shape)
    axes = tuple(range(rank)) if axes is None else tuple(axes)
    if any(not -rank <= axis < rank for axis in axes) or len({axis % max(1, rank) for axis in axes}) < len(
        axes
    ):
        raise ValueError(f"axes={axes}: must be different ones of {rank}")
    given = scales if scales is not None and scales.size else sizes
    if given is None or given.shape != (len(axes),):
        found = None if given is None else given.shape
        raise ValueError(f"scales or sizes: shape {found} must be ({len(axes)},), one number per axis")
    if not np.all(given > 0) and not (given is sizes and np.all(given >= 0)):
        raise ValueError(f"scales or sizes: {given.tolist()} must be positive")
    parts = np.zeros(2 * len(axes), np.float32)
    parts[len(axes) :] = 1
    if crops:
        if roi is None or roi.size != parts.size:
            raise ValueError(f"roi: must be {parts.size} numbers for tf_crop_and_resize")
        parts = roi.astype(np.float32).reshape(-1)
    made = [np.float32(shape[axis]) for axis in axes]
    if given is scales:
        factors = [np.float32(scale) for scale in given]
        ideals = [b * f * (parts[i + len(axes)] - parts[i]) for i, (b, f) in enumerate(zip(made, factors))]
        if not np.all(np.isfinite(ideals)) or np.any(np.abs(ideals) > 2**62):
            raise ValueError(f"scales: {given.tolist()} lead to no size")
        afters = [max(0, int(np.floor(ideal))) for ideal in ideals]
    else:
        factors, afters = _from_sizes(made, [int(size) for size in given], policy)
        ideals = [
            np.float32(after) if policy == "stretch" else b * f for b, f, after in zip(made, factors, afters)
        ]
    return [
        Extent(
            axis % rank,
            shape[axis],
            after,
            float(f),
            float(ideal),
            float(parts[i]),
            float(parts[i + len(axes)]),
        )
        for i, (axis, after, f, ideal) in enumerate(zip(axes, afters, factors, ideals))
    ]


def _from_sizes(
    before: list[np.float32], sizes: list[int], policy: str
) -> tuple[list[np.float32], list[int]]:
    """Scales and sizes; a policy that keeps proportions takes one scale for all axes."""
    if policy not in POLICIES:
        raise ValueError(f"keep_aspect_ratio_policy={policy!r}: must be one of {', '.join(POLICIES)}")
    with np.errstate(all="ignore"):
        scales = [np.float32(size) / b for size, b in zip(sizes, before)]
    if policy == "stretch":
        return scales, sizes
    scale = (min if policy == "not_larger" else max)(scales, default=np.float32(1))
    if not np.isfinite(scale):
        raise ValueError(f"sizes: {sizes} cannot be had from {before}")
    return [scale] * len(sizes), [int(np.floor(scale * b + np.float32(0.5))) for b in before]


# ---- coordinates --------------------------------------------------------------------------------------


def _coordinates(extent: Extent, transformation: str) -> Any:
    """Where in the input each output lies, in pixels from the middle of the first."""
    at = np.arange(extent.after, dtype=np.float32)
    half, scale, last = np.float32(0.5), np.float32(extent.scale), np.float32(extent.before - 1)
    ideal = np.float32(extent.ideal)
    if transformation == "asymmetric":
        return at / scale
    if transformation == "align_corners":
        return at * last / (ideal - 1) if ideal != 1 else at * 0
    if transformation == "tf_crop_and_resize":
        start, end = np.float32(extent.start), np.float32(extent.end)
        if extent.after == 1:
            return np.full(1, half * (start + end) * last, np.float32)
        return start * last + at * (end - start) * last / np.float32(extent.after - 1)
    if transformation == "pytorch_half_pixel" and extent.after == 1:
        return at * 0
    found = (at + half) / scale - half
    if transformation == "half_pixel_symmetric":
        return np.float32(extent.before / 2) * (1 - np.float32(extent.after) / ideal) + found
    if transformation in ("half_pixel", "pytorch_half_pixel"):
        return found
    raise ValueError(f"coordinate_transformation_mode={transformation!r}: is none that is known")


def _nearest(x: np.ndarray, rounding: str) -> Any:
    half = np.float32(0.5)
    if rounding == "round_prefer_floor":
        return np.ceil(x - half)
    if rounding == "round_prefer_ceil":
        return np.floor(x + half)
    if rounding in ROUNDINGS:
        return np.floor(x) if rounding == "floor" else np.ceil(x)
    raise ValueError(f"nearest_mode={rounding!r}: must be one of {', '.join(ROUNDINGS)}")


def cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel, "Cubic Convolution Interpolation for Digital Image Processing", 1981, equation 4."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _weights(
    x: np.ndarray, scale: float, mode: str, antialias: bool, cubic_coeff_a: float
) -> tuple[np.ndarray, np.ndarray]:
    """Elements around each coordinate, some outside the input, and what they count."""
    reach = 1 if mode == "linear" else 2
    shrink = min(scale, 1.0) if antialias else 1.0
    first = int(np.floor(-reach / shrink)) + 1
    offsets = np.arange(first, 2 - first)
    base = np.floor(x)
    distance = (offsets - (x - base)[:, None].astype(np.float64)) * shrink
    weight = np.maximum(0, 1 - np.abs(distance)) if mode == "linear" else cubic(distance, cubic_coeff_a)
    if antialias:
        weight /= weight.sum(1, keepdims=True)
    return base.astype(np.int64)[:, None] + offsets, weight


def _period(index: np.ndarray) -> tuple[int, int] | None:
    for outputs in range(1, min(FARTHEST, len(index) - 1) + 1):
        steps = index[outputs:] - index[:-outputs]
        if steps[0, 0] > 0 and np.all(steps == steps[0, 0]):
            return outputs, int(steps[0, 0])
    return None


def taps(extent: Extent, attributes: dict[str, Any]) -> Taps | None:
    """What an axis of the output is made of; None if it is the input's."""
    mode = attributes.get("mode", "nearest")
    transformation = attributes.get("coordinate_transformation_mode", "half_pixel")
    if mode not in MODES:
        raise ValueError(f"mode={mode!r}: must be one of {', '.join(MODES)}")
    if extent.after and not extent.before:
        raise ValueError(f"axis {extent.axis} of X has no elements to make {extent.after} of")
    x = _coordinates(extent, transformation)
    if mode == "nearest":
        index = _nearest(x, attributes.get("nearest_mode", "round_prefer_floor"))[:, None].astype(np.int64)
        weight: np.ndarray = np.ones(index.shape)
    else:
        antialias = bool(attributes.get("antialias", 0))
        a = attributes.get("cubic_coeff_a", -0.75)
        count = 4 / min(1.0, extent.scale) * extent.after
        check_memory((2, int(count)), np.dtype(np.float64))
        index, weight = _weights(x, extent.scale, mode, antialias, a)
        if attributes.get("exclude_outside", 0):
            weight = np.where((index < 0) | (index >= extent.before), 0.0, weight)
            total = weight.sum(1, keepdims=True)
            weight = weight / np.where(total == 0, 1.0, total)
    outside = (x < 0) | (x > extent.before - 1) if transformation == "tf_crop_and_resize" else None
    counts = weight.any(0)
    if counts.any() and not counts.all():
        index, weight = index[:, counts], weight[:, counts]
    last = extent.before - 1
    beyond = max(0, -int(index.min(initial=0))), max(0, int(index.max(initial=0)) - last)
    period = _period(index) if max(beyond) <= FARTHEST else None
    outside = outside if outside is not None and outside.any() else None
    found = Taps(
        extent.axis, np.clip(index, 0, max(0, last)), weight, outside, beyond, index[:FARTHEST], period
    )
    same = extent.before == extent.after and index.shape[1] == 1 and found.outside is None
    if same and np.array_equal(index[:, 0], np.arange(extent.after)) and np.all(weight == 1):
        return None
    return found


# ---- resampling ---------------------------------------------------------------------------------------


def _along(x: np.ndarray, each: Taps, weight: np.ndarray) -> np.ndarray:
    """One axis resampled."""
    axis, index, count = each.axis, each.places, each.places.shape[1]
    plain = count == 1 and bool(np.all(weight == 1))
    if each.period is not None and not (plain and axis < x.ndim - 1):
        return _by_slices(x, each, weight, each.period)
    if plain:
        return np.take(x, index[:, 0], axis)
    if count > 2 and 8 * count >= x.shape[axis]:
        return _by_matrix(x, axis, index, weight)
    spread = (-1, *[1] * (x.ndim - axis - 1))
    total = np.take(x, index[:, 0], axis)
    total *= weight[:, 0].reshape(spread)
    for k in range(1, count):
        part = np.take(x, index[:, k], axis)
        part *= weight[:, k].reshape(spread)
        total += part
    return total


def _cut(axis: int, *bounds: int | None) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, slice(*bounds))


def _by_slices(x: np.ndarray, each: Taps, weight: np.ndarray, period: tuple[int, int]) -> np.ndarray:
    """Outputs one period apart at once: what they are made of lies in slices of the input."""
    (before, behind), (outputs, step), axis = each.beyond, period, each.axis
    plain = weight.shape[1] == 1 and bool(np.all(each.weight == 1))
    if before or behind:
        size = x.shape[axis]
        ends = [
            np.repeat(x[_cut(axis, *at)], n, axis) for at, n in (((0, 1), before), ((size - 1, size), behind))
        ]
        x = np.concatenate([ends[0], x, ends[1]], axis)
    shape = list(x.shape)
    shape[axis] = len(weight)
    out: np.ndarray = np.empty(shape, x.dtype)
    spread = (-1, *[1] * (x.ndim - axis - 1))
    for p in range(outputs):
        place, factors = out[_cut(axis, p, None, outputs)], weight[p::outputs]
        for k in range(weight.shape[1]):
            start = int(each.first[p, k]) + before
            part = x[_cut(axis, start, start + step * (len(factors) - 1) + 1, step)]
            if plain:
                np.copyto(place, part)
            elif not k:
                np.multiply(part, factors[:, 0].reshape(spread), out=place)
            else:
                place += part * factors[:, k].reshape(spread)
    return out


def _by_matrix(x: np.ndarray, axis: int, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The same as a product, where most elements count for most outputs."""
    matrix: np.ndarray = np.zeros((len(index), x.shape[axis]), x.dtype)
    np.add.at(matrix, (np.arange(len(index))[:, None], index), weight)
    return np.moveaxis(np.tensordot(x, matrix, (axis, 1)), -1, axis)


def _growth(each: Taps, shape: tuple[int, ...]) -> tuple[float, int]:
    growth = len(each.places) / max(1, shape[each.axis])
    return growth, -each.axis if growth > 1 else each.axis


def _resample(x: np.ndarray, plan: list[Taps], beyond: float) -> np.ndarray:
    """All axes: first those that become smaller; rows grow when they have their width."""
    weigh = any(not np.all(each.weight == 1) or each.weight.shape[1] > 1 for each in plan)
    dtype = x.dtype
    y = x.astype(np.float32) if weigh and dtype not in FLOATS else x
    for each in sorted(plan, key=lambda each: _growth(each, x.shape)):
        y = _along(y, each, each.weight.astype(y.dtype))
    outside = [each for each in plan if each.outside is not None]
    y = np.array(y) if outside and y is x else y
    for each in outside:
        np.moveaxis(y, each.axis, 0)[each.outside] = beyond
    return rounded(y, dtype)


def rounded(y: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floats in another type; integers are the nearest ones in its range."""
    bounds = limits(dtype)
    if y.dtype == dtype:
        return y
    if bounds is not None and y.dtype.kind == "f":
        y = np.clip(np.rint(y), *bounds)
    return y.astype(dtype)


def _plan(
    shape: tuple[int, ...],
    roi: np.ndarray | None,
    scales: np.ndarray | None,
    sizes: np.ndarray | None,
    attributes: dict[str, Any],
) -> tuple[list[Extent], tuple[int, ...]]:
    """The sizes of all axes that are resized, and the shape of the output."""
    crops = attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    policy = attributes.get("keep_aspect_ratio_policy", "stretch")
    found = extents(shape, roi, scales, sizes, attributes.get("axes"), policy, crops)
    made = list(shape)
    for each in found:
        made[each.axis] = each.after
    return found, tuple(made)


def _resize(
    x: np.ndarray,
    roi: np.ndarray | None = None,
    scales: np.ndarray | None = None,
    sizes: np.ndarray | None = None,
    *,
    antialias: int = 0,
    axes: tuple[int, ...] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> np.ndarray:
    attributes = {
        "antialias": antialias,
        "axes": axes,
        "coordinate_transformation_mode": coordinate_transformation_mode,
        "cubic_coeff_a": cubic_coeff_a,
        "exclude_outside": exclude_outside,
        "keep_aspect_ratio_policy": keep_aspect_ratio_policy,
        "mode": mode,
        "nearest_mode": nearest_mode,
    }
    found, shape = _plan(x.shape, roi, scales, sizes, attributes)
    check_memory(shape, np.dtype(np.float64))
    if 0 in shape:
        return np.empty(shape, x.dtype)
    with np.errstate(all="ignore"):
        plan = [each for extent in found if (each := taps(extent, attributes)) is not None]
        made = _resample(x, plan, extrapolation_value)
    return np.array(made) if made is x else made


def _value(signature: Signature | None) -> np.ndarray | None:
    return None if signature is None else signature.value


def _resize_signature(
    x: Signature,
    roi: Signature | None = None,
    scales: Signature | None = None,
    sizes: Signature | None = None,
    **attributes: Any,
) -> Signature:
    assert x.shape is not None
    shape = _plan(x.shape, _value(roi), _value(scales), _value(sizes), attributes)[1]
    check_memory(shape, np.dtype(np.float64))
    return Signature(x.dtype, shape)


def _resize_kernel(
    keep: Keep, signatures: list[Signature | None], output: Signature, **attributes: Any
) -> Kernel | None:
    """For whole factors copies without an index; else the axes' elements and weights settled beforehand."""
    x = signatures[0]
    roi, scales, sizes = (_value(signatures[i]) if i < len(signatures) else None for i in (1, 2, 3))
    if x is None or x.shape is None or x.dtype not in FLOATS:
        return None
    with np.errstate(all="ignore"):
        plan = [
            each
            for extent in _plan(x.shape, roi, scales, sizes, attributes)[0]
            if (each := taps(extent, attributes)) is not None
        ]
    factors = _whole_factors(x.shape, plan)
    if factors is not None:
        return _repeater(factors)
    beyond = attributes.get("extrapolation_value", 0.0)
    plan = [each._replace(weight=each.weight.astype(x.dtype)) for each in plan]

    def kernel(*arrays: np.ndarray) -> None:
        np.copyto(arrays[-1], _resample(arrays[0], plan, beyond))

    return kernel


def _whole_factors(shape: tuple[int, ...], plan: list[Taps]) -> dict[int, int] | None:
    """By how much each axis is repeated, if this is all there is to do about the last two."""
    factors = {}
    for each in plan:
        factor = len(each.places) // shape[each.axis]
        wanted = np.arange(len(each.places)) // max(1, factor)
        weighs = each.places.shape[1] > 1 or each.outside is not None
        if each.axis < len(shape) - 2 or weighs or factor * shape[each.axis] != len(each.places):
            return None
        if not np.array_equal(each.places[:, 0], wanted):
            return None
        factors[each.axis - len(shape)] = factor
    return factors


def _repeater(factors: dict[int, int]) -> Kernel:
    down, right = factors.get(-2, 1), factors.get(-1, 1)

    def kernel(*arrays: np.ndarray) -> None:
        x, out = arrays[0], arrays[-1]
        if out.ndim < 2:
            x, out = x.reshape(1, -1), out[None]
        rows = out[..., ::down, :]
        for k in range(right):
            np.copyto(rows[..., k::right], x)
        for k in range(1, down):
            np.copyto(out[..., k::down, :], rows)

    return kernel


OPERATORS: dict[str, Operator] = {
    "Resize": Operator(_resize, _resize_signature, shaped_by=(1, 2, 3), bind=_resize_kernel),
}
