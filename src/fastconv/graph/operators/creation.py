"""Operators that make much of little: fills, ranges, repeats, margins, sums of overlapping blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.keep import Keep
from fastconv.graph.operator import Kernel, Operator, Signature
from fastconv.graph.operators.axes import along, axes_of, axis_of, integer, integers, number

# ---- fills and ranges ---------------------------------------------------------------------------------


def _fill_shape(sizes: np.ndarray) -> tuple[int, ...]:
    shape = tuple(integers("input", sizes))
    if any(size < 0 for size in shape):
        raise ValueError(f"input: sizes {shape} must be 0 or more")
    return shape


def _fill_value(value: np.ndarray | None) -> np.ndarray:
    if value is None:
        return np.zeros((), np.float32)
    if value.size != 1:
        raise ValueError(f"value: must be one element, not an array of shape {value.shape}")
    return value.reshape(())


def _constant_of_shape(sizes: np.ndarray, *, value: np.ndarray | None = None) -> np.ndarray:
    """An array of this shape that is `value` everywhere."""
    shape, one = _fill_shape(sizes), _fill_value(value)
    check_memory(shape, one.dtype)
    return np.full(shape, one, one.dtype)


def _constant_of_shape_signature(sizes: Signature, *, value: np.ndarray | None = None) -> Signature:
    return Signature(_fill_value(value).dtype, _fill_shape(sizes.value))


def _fill_kernel(
    keep: Keep, signatures: list[Signature], output: Signature, *, value: np.ndarray | None = None
) -> Kernel:
    one = _fill_value(value)

    def kernel(sizes: np.ndarray, out: np.ndarray) -> None:
        out[...] = one

    return kernel


def _range_length(start: Any, limit: Any, delta: Any) -> int:
    """How many steps there are; exact for integers."""
    if not all(map(math.isfinite, (start, limit, delta))) or delta == 0:
        raise ValueError(f"start={start}, limit={limit}, delta={delta}: must be finite, and delta not 0")
    if isinstance(start, int):
        return max(0, int(-((start - limit) // delta)))
    length = (limit - start) / delta
    if not math.isfinite(length):
        raise ValueError(f"start={start}, limit={limit}, delta={delta}: a range of so many steps has no end")
    return max(0, math.ceil(float(length)))


def _range(start: np.ndarray, limit: np.ndarray, delta: np.ndarray, *, stash_type: int = 1) -> np.ndarray:
    """start + i * delta, up to `limit`; floats are computed in float64 and rounded once."""
    first, last, step = number("start", start), number("limit", limit), number("delta", delta)
    length = _range_length(first, last, step)
    check_memory((length,), np.dtype(np.float64))
    steps = np.arange(length, dtype=np.int64 if start.dtype.kind in "iu" else np.float64)
    with np.errstate(all="ignore"):
        return np.asarray(first + steps * step).astype(start.dtype)


def _range_signature(
    start: Signature, limit: Signature, delta: Signature, *, stash_type: int = 1
) -> Signature:
    first, last, step = (
        number(n, s.value) for n, s in (("start", start), ("limit", limit), ("delta", delta))
    )
    return Signature(start.dtype, (_range_length(first, last, step),))


def _eye_like(x: np.ndarray, *, dtype: Any = None, k: int = 0) -> np.ndarray:
    """Ones on the k-th diagonal of a matrix of x's shape."""
    if x.ndim != 2:
        raise ValueError(f"input: shape {x.shape} must have 2 axes")
    wanted = x.dtype if dtype is None else np.dtype(dtype)
    out = np.zeros(x.shape, wanted)
    rows, columns = x.shape
    first, last = max(0, -k), min(rows, columns - k)
    if first < last:
        index = np.arange(first, last)
        out[index, index + k] = 1
    return out


def _eye_like_signature(x: Signature, *, dtype: Any = None, k: int = 0) -> Signature:
    return Signature(x.dtype if dtype is None else np.dtype(dtype), x.shape)


def _one_hot_shape(shape: tuple[int, ...], depth: np.ndarray, axis: int) -> tuple[int, tuple[int, ...]]:
    count = integer("depth", depth)
    if count < 0:
        raise ValueError(f"depth={count}: must be 0 or more")
    axis = axis_of("axis", axis, len(shape) + 1)
    return axis, (*shape[:axis], count, *shape[axis:])


def _one_hot(indices: np.ndarray, depth: np.ndarray, values: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """values[1] where the place along a new axis is the index, values[0] elsewhere."""
    if values.shape != (2,):
        raise ValueError(f"values: shape {values.shape} must be (2,): what is off, and what is on")
    axis, shape = _one_hot_shape(indices.shape, depth, axis)
    check_memory(shape, values.dtype)
    out = np.full(shape, values[0], values.dtype)
    count = shape[axis]
    with np.errstate(invalid="ignore"):
        chosen = indices.astype(np.int64)
    chosen = np.where(chosen < 0, chosen + count, chosen)
    inside = np.nonzero(np.atleast_1d((chosen >= 0) & (chosen < count)))
    places = list(inside if indices.ndim else ())
    places.insert(axis, np.atleast_1d(chosen)[inside])
    out[tuple(places)] = values[1]
    return out


def _one_hot_signature(
    indices: Signature, depth: Signature, values: Signature, *, axis: int = -1
) -> Signature:
    assert indices.shape is not None
    return Signature(values.dtype, _one_hot_shape(indices.shape, depth.value, axis)[1])


# ---- repeats ------------------------------------------------------------------------------------------


def _tiled(shape: tuple[int, ...] | None, repeats: np.ndarray) -> tuple[list[int], tuple[int, ...]]:
    counts = integers("repeats", repeats)
    if shape is None or len(counts) != len(shape) or any(count < 0 for count in counts):
        raise ValueError(
            f"repeats={counts}: must be a number of 0 or more for each axis of the shape {shape}"
        )
    return counts, tuple(size * count for size, count in zip(shape, counts))


def _tile(x: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    """x over and over along each axis."""
    counts, shape = _tiled(x.shape, repeats)
    check_memory(shape, x.dtype)
    return np.tile(x, counts)


def _tile_signature(x: Signature, repeats: Signature) -> Signature:
    return Signature(x.dtype, _tiled(x.shape, repeats.value)[1])


# ---- margins ------------------------------------------------------------------------------------------


def _margins(ndim: int, pads: np.ndarray, axes: np.ndarray | None) -> tuple[tuple[int, int], ...]:
    """What each axis gets before and after."""
    told = integers("pads", pads)
    along = tuple(range(ndim)) if axes is None else axes_of("axes", integers("axes", axes), ndim)
    if len(told) != 2 * len(along):
        raise ValueError(f"pads={told}: must be {2 * len(along)} numbers, two for each axis")
    found = [(0, 0)] * ndim
    for i, axis in enumerate(along):
        found[axis] = (told[i], told[i + len(along)])
    return tuple(found)


def _padded_shape(shape: tuple[int, ...], margins: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    padded = tuple(size + before + after for size, (before, after) in zip(shape, margins))
    if any(size < 0 for size in padded) or any(
        size + min(0, before) + min(0, after) < 0 for size, (before, after) in zip(shape, margins)
    ):
        raise ValueError(f"pads: cut more off the shape {shape} than it has")
    return padded


def _pad_source(mode: str, size: int, before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """Which elements of an axis its margins repeat."""
    places = np.concatenate([np.arange(-before, 0), np.arange(size, size + after)])
    if mode == "edge":
        source = places.clip(0, size - 1)
    elif mode == "wrap":
        source = places % size
    else:
        period = max(1, 2 * (size - 1))
        source = places % period
        source = np.where(source >= size, period - source, source)
    return source[:before], source[before:]


#: Writes an array into the middle of another one, and a value, or what is there already, around it.
Margins = Callable[[np.ndarray, np.ndarray, Any], None]


def _filling(
    shape: tuple[int, ...], padded: tuple[int, ...], margins: Sequence[tuple[int, int]], mode: str
) -> Margins:
    """Margins cut off where they are negative, then x in the middle, then the margins, axis by axis."""
    kept = tuple(
        slice(max(0, -before), size - max(0, -after)) for size, (before, after) in zip(shape, margins)
    )
    inner = tuple(
        slice(max(0, before), size - max(0, after)) for size, (before, after) in zip(padded, margins)
    )
    steps: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = []  # a margin, and what it repeats
    for axis, (before, after) in enumerate(margins):
        before, after, outer = max(0, before), max(0, after), inner[axis + 1 :]
        source = (np.empty(0, np.intp),) * 2
        if mode != "constant" and (before or after):
            source = _pad_source(mode, padded[axis] - before - after, before, after)
        places = (slice(0, before), slice(padded[axis] - after, None))
        for size, place, of in zip((before, after), places, source):
            if size:
                steps.append((along(axis, place) + outer, along(axis, of + before) + outer))

    def fill(x: np.ndarray, out: np.ndarray, value: Any) -> None:
        out[inner] = x[kept]
        for place, of in steps:
            out[place] = value if mode == "constant" else out[of]

    return fill


def _check_pad(shape: tuple[int, ...], margins: Sequence[tuple[int, int]], mode: str) -> tuple[int, ...]:
    """The shape of the result."""
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise ValueError(f"mode={mode!r}: must be one of constant, reflect, edge, wrap")
    padded = _padded_shape(shape, margins)
    for size, (before, after) in zip(shape, margins):
        left = size + min(0, before) + min(0, after)
        if mode != "constant" and left == 0 and (before > 0 or after > 0):
            raise ValueError(f"pads: an axis of size 0 has nothing that mode {mode!r} could repeat")
    return padded


def _pad_value(value: np.ndarray | None, dtype: np.dtype | None) -> Any:
    if value is None:
        return "" if dtype is not None and dtype.kind == "O" else 0
    return value.reshape(-1)[0] if value.size else 0


def _pad(
    x: np.ndarray,
    pads: np.ndarray,
    constant_value: np.ndarray | None = None,
    axes: np.ndarray | None = None,
    *,
    mode: str = "constant",
) -> np.ndarray:
    """x with margins: of one value, or of what is in x; negative ones cut off, which is done first."""
    margins = _margins(x.ndim, pads, axes)
    shape = _check_pad(x.shape, margins, mode)
    check_memory(shape, x.dtype)
    out = np.empty(shape, x.dtype)
    _filling(x.shape, shape, margins, mode)(x, out, _pad_value(constant_value, x.dtype))
    return out


def _pad_signature(
    x: Signature,
    pads: Signature,
    constant_value: Signature | None = None,
    axes: Signature | None = None,
    *,
    mode: str = "constant",
) -> Signature:
    assert x.shape is not None
    margins = _margins(len(x.shape), pads.value, None if axes is None else axes.value)
    return Signature(x.dtype, _check_pad(x.shape, margins, mode))


def _pad_kernel(
    keep: Keep, signatures: list[Signature | None], output: Signature, *, mode: str = "constant"
) -> Kernel | None:
    x, pads, _, axes = [*signatures, None, None][:4]
    assert x is not None
    assert x.shape is not None
    assert pads is not None
    if pads.value is None or (axes is not None and axes.value is None):
        return None
    assert output.shape is not None
    margins = _margins(len(x.shape), pads.value, None if axes is None else axes.value)
    fill = _filling(x.shape, output.shape, margins, mode)

    def kernel(x: np.ndarray, pads: np.ndarray, *others: np.ndarray | None) -> None:
        value, out = (others[0] if len(others) > 1 else None), others[-1]
        assert out is not None
        fill(x, out, _pad_value(value, x.dtype))

    return kernel


# ---- blocks -------------------------------------------------------------------------------------------


class _Blocks:
    """Where the blocks of a Col2Im lie in the image."""

    def __init__(
        self,
        shape: tuple[int, ...],
        image: list[int],
        block: list[int],
        strides: Sequence[int] | None,
        pads: Sequence[int] | None,
        dilations: Sequence[int] | None,
    ) -> None:
        n = len(image)
        self.image, self.block = image, block
        self.strides = tuple(strides or [1] * n)
        self.pads = tuple(pads or [0] * (2 * n))
        self.dilations = tuple(dilations or [1] * n)
        lengths = (len(block), len(self.strides), len(self.dilations), len(self.pads) // 2)
        if len(shape) != 3 or any(length != n for length in lengths):
            raise ValueError(
                f"image_shape={image}: block_shape, strides, pads and dilations must be for as many axes, "
                f"and the input's shape {shape} must have 3"
            )
        if min(*image, *block, *self.strides, *self.dilations, 1) < 1 or min(*self.pads, 0) < 0:
            raise ValueError(f"image_shape={image}, block_shape={block}: sizes and steps must be 1 or more")
        self.padded = [image[i] + self.pads[i] + self.pads[i + n] for i in range(n)]
        self.counts = [
            (self.padded[i] - self.dilations[i] * (block[i] - 1) - 1) // self.strides[i] + 1 for i in range(n)
        ]
        if min(self.counts) < 0 or prod(self.counts) != shape[2] or shape[1] % prod(block):
            raise ValueError(
                f"input: shape {shape} must be (n, channels x {prod(block)}, blocks), and there are "
                f"{self.counts} blocks along each axis"
            )
        self.out = (shape[0], shape[1] // prod(block), *image)


def _col2im(
    x: np.ndarray,
    image_shape: np.ndarray,
    block_shape: np.ndarray,
    *,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
) -> np.ndarray:
    """The image whose blocks are the columns, summed where they overlap."""
    image, block = integers("image_shape", image_shape), integers("block_shape", block_shape)
    places = _Blocks(x.shape, image, block, strides, pads, dilations)
    wide = x.astype(np.float32) if x.dtype.kind not in "biufc" or x.dtype.itemsize == 2 else x
    batch, channels = places.out[:2]
    check_memory((batch, channels, *places.padded), wide.dtype)
    out = np.zeros((batch, channels, *places.padded), wide.dtype)
    columns = wide.reshape(batch, channels, prod(block) if wide.size else 0, *places.counts)
    for k, offset in enumerate(np.ndindex(*block) if wide.size else ()):
        index = along(1, slice(None)) + tuple(
            slice(o * d, o * d + (count - 1) * s + 1 if count else 0, s)
            for o, d, s, count in zip(offset, places.dilations, places.strides, places.counts)
        )
        out[index] += columns[:, :, k]
    inner = tuple(slice(before, before + size) for before, size in zip(places.pads, image))
    return out[along(1, slice(None)) + inner].astype(x.dtype, copy=False)


def _col2im_signature(
    x: Signature, image_shape: Signature, block_shape: Signature, **attributes: Any
) -> Signature:
    assert x.shape is not None
    image, block = integers("image_shape", image_shape.value), integers("block_shape", block_shape.value)
    told = (attributes.get(name) for name in ("strides", "pads", "dilations"))
    return Signature(x.dtype, _Blocks(x.shape, image, block, *told).out)


OPERATORS: dict[str, Operator] = {
    "ConstantOfShape": Operator(
        _constant_of_shape, _constant_of_shape_signature, shaped_by=(0,), bind=_fill_kernel
    ),
    "Range": Operator(_range, _range_signature, shaped_by=(0, 1, 2)),
    "EyeLike": Operator(_eye_like, _eye_like_signature),
    "OneHot": Operator(_one_hot, _one_hot_signature, shaped_by=(1,)),
    "Tile": Operator(_tile, _tile_signature, shaped_by=(1,)),
    "Pad": Operator(_pad, _pad_signature, shaped_by=(1, 3), bind=_pad_kernel),
    "Col2Im": Operator(_col2im, _col2im_signature, shaped_by=(1, 2)),
}
