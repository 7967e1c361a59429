"""Operators that only say where elements lie: shapes, views, joins, and rearrangements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.keep import Keep
from fastconv.graph.operator import Kernel, Operator, Signature, like_first
from fastconv.graph.operators.axes import along, axes_of, axis_of, integer, integers

# ---- shapes -------------------------------------------------------------------------------------------


def _constant(*, value: Any) -> Any:
    """What the model holds."""
    return value


def _shape(x: np.ndarray, *, start: int = 0, end: int | None = None) -> np.ndarray:
    """The shape, or the part of it from axis `start` up to `end`; both are clipped as in Python."""
    return np.array(x.shape[start:end], np.int64)


def _shape_signature(x: Signature, *, start: int = 0, end: int | None = None) -> Signature:
    assert x.shape is not None
    return Signature.of(np.array(x.shape[start:end], np.int64))


def _size(x: np.ndarray) -> np.ndarray:
    return np.array(x.size, np.int64)


def _size_signature(x: Signature) -> Signature:
    return Signature.of(np.array(x.size, np.int64))


# ---- views --------------------------------------------------------------------------------------------


def _reshape(x: np.ndarray, shape: np.ndarray, *, allowzero: int = 0) -> np.ndarray:
    """The elements in another shape: -1 is what is left over; 0, without `allowzero`, the size there was."""
    sizes = integers("shape", shape)
    if not allowzero:
        if any(size == 0 and i >= x.ndim for i, size in enumerate(sizes)):
            raise ValueError(
                f"shape={sizes}: 0 keeps a size, and the input of shape {x.shape} has none there"
            )
        sizes = [size or x.shape[i] for i, size in enumerate(sizes)]
    elif 0 in sizes and -1 in sizes:
        raise ValueError(f"shape={sizes}: -1 stands for any size next to 0")
    if any(size < -1 for size in sizes):
        raise ValueError(f"shape={sizes}: sizes must be -1 or more")
    return np.reshape(x, _without_rest(sizes, x.size))


def _without_rest(sizes: list[int], count: int) -> list[int]:
    """Sizes with the one that is -1 worked out; NumPy does not where another is 0."""
    rest = [i for i, size in enumerate(sizes) if size == -1]
    known = prod(size for size in sizes if size != -1)
    if len(rest) == 1 and known == 0 and count == 0:
        return [0 if size == -1 else size for size in sizes]
    return sizes


def _flatten(x: np.ndarray, *, axis: int = 1) -> np.ndarray:
    """A matrix: the axes before `axis` are its rows."""
    if not -x.ndim <= axis <= x.ndim:
        raise ValueError(f"axis={axis}: must be in {-x.ndim} to {x.ndim}")
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def _transpose(x: np.ndarray, *, perm: Sequence[int] | None = None) -> np.ndarray:
    """The axes in the order `perm`; reversed without it."""
    if perm is None:
        return np.transpose(x)
    if sorted(perm) != list(range(x.ndim)):
        raise ValueError(f"perm={tuple(perm)}: must name each of the {x.ndim} axes once")
    return np.transpose(x, perm)


def _squeeze(x: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    """Without these axes of size 1; without all of them if none are named."""
    if axes is None:
        return x.squeeze()
    found = axes_of("axes", integers("axes", axes), x.ndim)
    wrong = [axis for axis in found if x.shape[axis] != 1]
    if wrong:
        raise ValueError(f"axes={found}: size {x.shape[wrong[0]]} of axis {wrong[0]} must be 1")
    return x.squeeze(found)


def _unsqueeze(x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """With axes of size 1 where the result is to have them."""
    told = integers("axes", axes)
    found = axes_of("axes", told, x.ndim + len(told))
    if not found:
        return x
    return np.expand_dims(x, found)


def _expand(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """x broadcast against an array of that shape."""
    sizes = tuple(integers("shape", shape))
    if any(size < 0 for size in sizes):
        raise ValueError(f"shape={sizes}: sizes must be 0 or more")
    ndim = max(x.ndim, len(sizes))
    pairs = list(zip((1,) * (ndim - x.ndim) + x.shape, (1,) * (ndim - len(sizes)) + sizes))
    if any(a not in (1, b) and b != 1 for a, b in pairs):
        raise ValueError(f"shape={sizes}: does not broadcast with the input's {x.shape}")
    wanted = tuple(b if a == 1 else a for a, b in pairs)
    check_memory(wanted, x.dtype)
    return np.broadcast_to(x, wanted)


def _slice(
    x: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> np.ndarray:
    """A range of some axes; starts and ends count from the end if negative, and are clipped."""
    return x[_index(x.shape, starts, ends, axes, steps)]


def _index(
    shape: tuple[int, ...],
    starts: np.ndarray,
    ends: np.ndarray,
    axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> tuple[slice, ...]:
    """The bounds of a slice as Python has them."""
    firsts, lasts = integers("starts", starts), integers("ends", ends)
    along = list(range(len(firsts))) if axes is None else integers("axes", axes)
    strides = [1] * len(firsts) if steps is None else integers("steps", steps)
    if not len(firsts) == len(lasts) == len(along) == len(strides):
        raise ValueError(
            f"starts, ends, axes and steps: {len(firsts)}, {len(lasts)}, {len(along)} and {len(strides)} "
            "numbers must be as many"
        )
    if 0 in strides:
        raise ValueError(f"steps={strides}: must not be 0")
    index = [slice(None)] * len(shape)
    for axis, first, last, step in zip(axes_of("axes", along, len(shape)), firsts, lasts, strides):
        index[axis] = _range(shape[axis], first, last, step)
    return tuple(index)


def _sliced(keep: Keep, signatures: list[Signature | None]) -> Callable[..., np.ndarray] | None:
    """A slice whose bounds are known, of an array whose shape is."""
    x, *bounds = signatures
    if x is None or x.shape is None or any(each is not None and each.value is None for each in bounds):
        return None
    given: list[Any] = [each and each.value for each in bounds]
    index = _index(x.shape, *given)

    def run(x: np.ndarray, *bounds: Any) -> np.ndarray:
        return x[index]

    return run


def _range(size: int, first: int, last: int, step: int) -> slice:
    """The slice of an axis; one that runs down to the first element has no end that Python could name."""
    first = first + size if first < 0 else first
    last = last + size if last < 0 else last
    if step > 0:
        return slice(min(max(first, 0), size), min(max(last, 0), size), step)
    first = min(max(first, 0), size - 1)
    last = min(max(last, -1), size - 1)
    return slice(max(first, 0), None if last < 0 else last, step)


def _split(
    x: np.ndarray, split: np.ndarray | None = None, *, axis: int = 0, num_outputs: int = 1
) -> tuple[np.ndarray, ...]:
    """Parts along an axis: of the sizes that are given, or equal but for the last."""
    axis = axis_of("axis", axis, x.ndim)
    size = x.shape[axis]
    if split is None:
        step = -(-size // num_outputs)
        stops = [min(size, step * (i + 1)) for i in range(num_outputs)]
    else:
        sizes = integers("split", split)
        if len(sizes) != num_outputs:
            raise ValueError(f"split={sizes}: must be {num_outputs} sizes, one for each output")
        if any(each < 0 for each in sizes) or sum(sizes) != size:
            raise ValueError(f"split={sizes}: must be sizes that sum to the {size} of axis {axis}")
        stops = np.cumsum(sizes).tolist()
    starts = [0, *stops[:-1]]
    return tuple(x[along(axis, slice(start, stop))] for start, stop in zip(starts, stops))


# ---- joins --------------------------------------------------------------------------------------------


def _joined(signatures: Sequence[Signature], axis: int) -> tuple[int, tuple[int, ...]]:
    """The axis from the front, and the shape of the whole."""
    shapes = [each.shape for each in signatures]
    first = shapes[0]
    assert first is not None
    axis = axis_of("axis", axis, len(first))
    total = 0
    for i, (signature, shape) in enumerate(zip(signatures, shapes)):
        assert shape is not None
        if len(shape) != len(first) or any(a != b for k, (a, b) in enumerate(zip(shape, first)) if k != axis):
            raise ValueError(
                f"input {i}: shape {shape} must be that of input 0, {first}, but for axis {axis}"
            )
        if signature.dtype != signatures[0].dtype:
            raise TypeError(
                f"input {i}: dtype {signature.dtype} must be that of input 0, {signatures[0].dtype}"
            )
        total += shape[axis]
    return axis, (*first[:axis], total, *first[axis + 1 :])


def _concat(*parts: np.ndarray, axis: int) -> np.ndarray:
    """The parts one behind the other along an axis."""
    _, shape = _joined([Signature(part.dtype, part.shape) for part in parts], axis)
    check_memory(shape, parts[0].dtype)
    return np.concatenate(parts, axis)


def _concat_signature(*parts: Signature, axis: int) -> Signature:
    return Signature(parts[0].dtype, _joined(parts, axis)[1])


def _concat_kernel(keep: Keep, signatures: list[Signature], output: Signature, *, axis: int) -> Kernel | None:
    axis, _ = _joined(signatures, axis)
    places = []
    start = 0
    for each in signatures:
        assert each.shape is not None
        stop = start + each.shape[axis]
        places.append(along(axis, slice(start, stop)))
        start = stop

    def kernel(*arrays: np.ndarray, skip: Sequence[bool] = ()) -> None:
        out = arrays[-1]
        for i, place in enumerate(places):
            if not (skip and skip[i]):
                out[place] = arrays[i]

    return kernel


# ---- rearrangements -----------------------------------------------------------------------------------

#: Where the block's row and column stand among the channels, and how the axes go on then.
_DEPTH_FIRST = {"DCR": (0, 3, 4, 1, 5, 2), "CRD": (0, 1, 4, 2, 5, 3)}


def _space_shape(shape: tuple[int, ...], blocksize: int) -> tuple[int, int, int, int]:
    if len(shape) != 4:
        raise ValueError(f"input: shape {shape} must have 4 axes")
    n, c, h, w = shape
    if blocksize < 1 or c % blocksize**2:
        raise ValueError(f"blocksize={blocksize}: its square must divide the {c} channels")
    return n, c // blocksize**2, h * blocksize, w * blocksize


def _order(mode: str) -> tuple[int, ...]:
    if mode not in _DEPTH_FIRST:
        raise ValueError(f"mode={mode!r}: must be 'DCR' or 'CRD'")
    return _DEPTH_FIRST[mode]


def _in_blocks(x: np.ndarray, blocksize: int, mode: str) -> np.ndarray:
    """Channels as blocks: (n, c, h, row, w, column), a view."""
    n, c, h, w = x.shape
    depth = c // blocksize**2
    block = (blocksize, blocksize)
    sizes = (n, *block, depth, h, w) if mode == "DCR" else (n, depth, *block, h, w)
    return np.transpose(x.reshape(sizes), _order(mode))


def _depth_to_space(x: np.ndarray, *, blocksize: int, mode: str = "DCR") -> np.ndarray:
    """Channels laid out as blocks of pixels; among them the block comes first (DCR) or last (CRD)."""
    _order(mode)
    shape = _space_shape(x.shape, blocksize)
    return _in_blocks(x, blocksize, mode).reshape(shape)


def _depth_to_space_signature(x: Signature, *, blocksize: int, mode: str = "DCR") -> Signature:
    _order(mode)
    assert x.shape is not None
    return Signature(x.dtype, _space_shape(x.shape, blocksize))


def _depth_to_space_kernel(
    keep: Keep, signatures: list[Signature], output: Signature, *, blocksize: int, mode: str = "DCR"
) -> Kernel:
    assert output.shape is not None
    n, c, h, w = output.shape
    sizes = (n, c, h // blocksize, blocksize, w // blocksize, blocksize)

    def kernel(x: np.ndarray, out: np.ndarray) -> None:
        # one block position after the other: the innermost loop runs along rows, not along a block
        source, target = _in_blocks(x, blocksize, mode), out.reshape(sizes)
        for i in range(blocksize):
            for j in range(blocksize):
                target[:, :, :, i, :, j] = source[:, :, :, i, :, j]

    return kernel


def _depth_shape(shape: tuple[int, ...] | None, blocksize: int) -> tuple[int, int, int, int]:
    if shape is None or len(shape) != 4:
        raise ValueError(f"input: shape {shape} must have 4 axes")
    n, c, h, w = shape
    if blocksize < 1 or h % blocksize or w % blocksize:
        raise ValueError(f"blocksize={blocksize}: must divide the height and width {h} x {w}")
    return n, c * blocksize**2, h // blocksize, w // blocksize


def _space_to_depth(x: np.ndarray, *, blocksize: int, mode: str = "DCR") -> np.ndarray:
    """Blocks of pixels laid out as channels: what undoes DepthToSpace."""
    order = _order(mode)
    shape = _depth_shape(x.shape, blocksize)
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // blocksize, blocksize, w // blocksize, blocksize)
    return np.reshape(np.transpose(blocks, np.argsort(order).tolist()), shape)


def _space_to_depth_signature(x: Signature, *, blocksize: int, mode: str = "DCR") -> Signature:
    _order(mode)
    return Signature(x.dtype, _depth_shape(x.shape, blocksize))


def _trilu(x: np.ndarray, k: np.ndarray | None = None, *, upper: int = 1) -> np.ndarray:
    """Matrices with 0 below their k-th diagonal, or above it."""
    if x.ndim < 2:
        raise ValueError(f"input: shape {x.shape} must have 2 axes or more")
    rows, columns = x.shape[-2:]
    diagonal = 0 if k is None else max(-rows - 1, min(columns + 1, integer("k", k)))
    if upper:
        kept = ~np.tri(rows, columns, diagonal - 1, bool)
    else:
        kept = np.tri(rows, columns, diagonal, bool)
    return np.where(kept, x, np.zeros((), x.dtype))


def _trilu_signature(x: Signature, k: Signature | None = None, *, upper: int = 1) -> Signature:
    return Signature(x.dtype, x.shape)


def _reverse_sequence(
    x: np.ndarray, sequence_lens: np.ndarray, *, batch_axis: int = 1, time_axis: int = 0
) -> np.ndarray:
    """The first steps of each sequence backwards, as many as it is long; the others where they were."""
    batch, time = axis_of("batch_axis", batch_axis, x.ndim), axis_of("time_axis", time_axis, x.ndim)
    if batch == time:
        raise ValueError(f"time_axis={time}: must not be the batch axis, too")
    if sequence_lens.shape != (x.shape[batch],):
        raise ValueError(f"sequence_lens: shape {sequence_lens.shape} must be ({x.shape[batch]},)")
    steps = x.shape[time]
    if np.any((sequence_lens < 0) | (sequence_lens > steps)):
        raise ValueError(f"sequence_lens: lengths must be 0 to {steps}, the size of axis {time}")
    lengths, step = sequence_lens[:, None].astype(np.int64), np.arange(steps)[None]
    source = np.where(step < lengths, lengths - 1 - step, step)
    sequences = np.moveaxis(x, (batch, time), (0, 1))
    out = np.empty_like(x, order="C")
    np.moveaxis(out, (batch, time), (0, 1))[...] = sequences[np.arange(x.shape[batch])[:, None], source]
    return out


OPERATORS: dict[str, Operator] = {
    "Constant": Operator(_constant),
    "Shape": Operator(_shape, _shape_signature),
    "Size": Operator(_size, _size_signature),
    "Reshape": Operator(_reshape, shaped_by=(1,), is_view=True),
    "Flatten": Operator(_flatten, is_view=True),
    "Transpose": Operator(_transpose, is_view=True),
    "Squeeze": Operator(_squeeze, shaped_by=(1,), is_view=True),
    "Unsqueeze": Operator(_unsqueeze, shaped_by=(1,), is_view=True),
    "Expand": Operator(_expand, shaped_by=(1,), is_view=True),
    "Slice": Operator(_slice, shaped_by=(1, 2, 3, 4), is_view=True, prepare=_sliced),
    "Split": Operator(_split, shaped_by=(1,), is_view=True),
    "Concat": Operator(_concat, _concat_signature, bind=_concat_kernel),
    "DepthToSpace": Operator(_depth_to_space, _depth_to_space_signature, bind=_depth_to_space_kernel),
    "SpaceToDepth": Operator(_space_to_depth, _space_to_depth_signature),
    "Trilu": Operator(_trilu, _trilu_signature),
    "ReverseSequence": Operator(_reverse_sequence, like_first),
}
