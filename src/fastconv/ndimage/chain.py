"""Correlations one after the other, over bands of the array that stay in cache.

A pass is a kernel of the rank of the array. A chain of passes is computed band by band along the first axis:
the band is read once, into a padded copy, each pass writes into the next one's padded copy, and the last one
into the output. So an array larger than the caches is read and written once, whatever number of passes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Protocol

import numpy as np

from fastconv.functional.any_rank import correlate_valid
from fastconv.geometry import border_map, border_place, fill_borders

#: Elements of a band: a few copies of it fit the caches, and a call is long beside its overhead.
_BAND = 1 << 17

#: Bytes of a block of memory that a thread keeps from call to call.
_KEPT = 1 << 22


@dataclass(frozen=True)
class Pass:
    """A kernel, where it lies around its place, and what it finds beyond the edges."""

    weights: np.ndarray  # float64, as many axes as the array
    before: tuple[int, ...]
    borders: tuple[str, ...]
    constant: float
    after: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        after = tuple(k - 1 - b for k, b in zip(self.weights.shape, self.before, strict=True))
        object.__setattr__(self, "after", after)

    @staticmethod
    def along(axis: int, rank: int, taps: np.ndarray, before: int, border: str, constant: float) -> Pass:
        """A pass along one axis."""
        shape, reach = [1] * rank, [0] * rank
        shape[axis], reach[axis] = len(taps), before
        borders = ["nearest"] * rank
        borders[axis] = border
        return Pass(taps.reshape(shape), tuple(reach), tuple(borders), constant)

    def padded(self, rows: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a band of `rows` rows with what this pass needs around it."""
        sizes = (rows, *shape[1:])
        return tuple(size + k - 1 for size, k in zip(sizes, self.weights.shape, strict=True))

    def inner(self, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """Where the array itself lies in a padded copy of all its rows but those around."""
        places = zip(self.before[1:], shape[1:], strict=True)
        return (slice(None), *(slice(before, before + size) for before, size in places))


class Finish(Protocol):
    """What becomes of the results."""

    def __call__(self, result: np.ndarray, row: int) -> None:
        """Write a band of results, which may be overwritten, from `row` on."""

    def close(self) -> None:
        """All bands have come."""


class _Workspace(threading.local):
    """Memory for the bands of a thread's calls: new memory in each would cost more than some filters."""

    def __init__(self) -> None:
        self.blocks: dict[int, np.ndarray] = {}

    def take(self, slot: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An uninitialised array, good until the slot is taken again."""
        size = prod(shape) * dtype.itemsize
        if size > _KEPT:
            return np.empty(shape, dtype)
        block = self.blocks.get(slot)
        if block is None or len(block) < size:
            block = self.blocks[slot] = np.empty(size, np.uint8)
        return block[:size].view(dtype).reshape(shape)


workspace = _Workspace()


def run(
    source: np.ndarray,
    passes: Sequence[Pass],
    work: np.dtype,
    target: np.ndarray,
    finish: Finish | None = None,
) -> None:
    """Correlate `source` with each kernel in turn, computing in `work`, and write into `target`.

    Parameters
    ----------
    source, target : ndarray
        Of the same shape, apart from each other in memory; not empty.
    passes : sequence of Pass
    work : numpy.dtype
        float32 or float64.
    finish : Finish, optional
        Writes the results; without it they are cast to the dtype of `target`.
    """
    passes = list(passes)
    cut = next((i for i, step in enumerate(passes[1:], 1) if step.weights.shape[0] > 1), len(passes))
    if cut < len(passes):  # rows around a band exist in the source alone: so such a pass begins a chain
        between = np.empty(source.shape, work)
        run(source, passes[:cut], work, between)
        run(between, passes[cut:], work, target, finish)
        return
    if (
        finish is None
        and source.dtype == target.dtype == work
        and len(passes) == 1
        and _thin(passes[0], source)
    ):
        _framed(source, passes[0], target)
        return
    direct = finish is None and target.dtype == work
    kernels = [step.weights.astype(work) for step in passes]
    rows = band_rows(source.shape, passes[0].weights.shape[0])
    copies = [workspace.take(i % 3, step.padded(rows, source.shape), work) for i, step in enumerate(passes)]
    scratch = None if direct else workspace.take(3, (rows, *source.shape[1:]), work)
    for start, count in _bands(source, passes[0], rows, work):
        wider = _rows(source, start, count, passes[0], copies[0])
        for i, following in enumerate(passes[1:]):
            padded = copies[i + 1][:count]
            correlate_valid(wider, kernels[i], padded[following.inner(source.shape)])
            _fill_sides(padded, following)
            wider = padded
        result = target[start : start + count] if scratch is None else scratch[:count]
        correlate_valid(wider, kernels[-1], result)
        if finish is not None:
            finish(result, start)
        elif scratch is not None:
            target[start : start + count] = result
    if finish is not None:
        finish.close()


def _thin(step: Pass, source: np.ndarray) -> bool:
    """Whether results that need something beyond the edges are few."""
    return all(8 * (k - 1) <= size for k, size in zip(step.weights.shape, source.shape, strict=True))


def _framed(source: np.ndarray, step: Pass, target: np.ndarray) -> None:
    """One pass without a copy: the inner results from the array itself, the frame from small copies."""
    kernel = step.weights.astype(source.dtype)
    inner = [
        (min(before, size), max(size - after, min(before, size)))
        for size, before, after in zip(source.shape, step.before, step.after, strict=True)
    ]
    if all(start < stop for start, stop in inner):
        correlate_valid(source, kernel, target[tuple(slice(*part) for part in inner)])
    for axis, (start, stop) in enumerate(inner):
        for side in ((0, start), (stop, source.shape[axis])):
            block = [*inner[:axis], side, *((0, size) for size in source.shape[axis + 1 :])]
            if all(start < stop for start, stop in block):
                part = target[tuple(slice(*ends) for ends in block)]
                copy = np.moveaxis(_block(source, step, block), -1, 0)  # long rows are quicker
                found = np.empty((part.shape[-1], *part.shape[:-1]), source.dtype)
                correlate_valid(np.ascontiguousarray(copy), np.moveaxis(kernel, -1, 0), found)
                part[...] = np.moveaxis(found, 0, -1)


def _block(source: np.ndarray, step: Pass, block: list[tuple[int, int]]) -> np.ndarray:
    """A copy of everything that `step` reads for the results of a block, (start, stop) per axis."""
    outside: list[tuple[slice | np.ndarray, ...]] = []
    copy = source
    for axis, (start, stop) in enumerate(block):
        first, last = start - step.before[axis], stop + step.after[axis]
        places = border_map(source.shape[axis], first, last, step.borders[axis])
        if places[0] >= 0 and places[-1] - places[0] == last - first - 1 == places.max() - places.min():
            copy = copy[(slice(None),) * axis + (slice(places[0], places[-1] + 1),)]
        else:
            copy = copy.take(places, axis)
        if places[0] < 0 or places[-1] < 0:
            outside.append((slice(None),) * axis + (places < 0,))
    if outside and copy.base is not None:
        copy = copy.copy()
    for part in outside:
        copy[part] = step.constant
    return copy


def band_rows(shape: tuple[int, ...], taps: int = 1) -> int:
    """Rows of a band: enough to outweigh those around it, which are read twice."""
    return int(min(shape[0], max(_BAND // max(prod(shape[1:]), 1), 2 * (taps - 1), 1)))


def _bands(source: np.ndarray, step: Pass, rows: int, work: np.dtype) -> Iterator[tuple[int, int]]:
    """(first row, rows) of each band; where one may be read in place, the edges have bands of their own."""
    size, start = len(source), 0
    before, after = step.before[0], step.after[0]
    cuts = [size]
    if _in_place(source, step, work) and before + after < size // 2:
        cuts = [before, size - after, size]
    for cut in cuts:
        while start < cut:
            count = min(rows, cut - start)
            yield start, count
            start += count


def _in_place(source: np.ndarray, step: Pass, work: np.dtype) -> bool:
    return source.dtype == work and step.weights.size == step.weights.shape[0]


def _rows(source: np.ndarray, start: int, count: int, step: Pass, copy: np.ndarray) -> np.ndarray:
    """Rows [start, start + count) and what `step` reads around: of the array itself where that has all."""
    first, last = start - step.before[0], start + count + step.after[0]
    if first >= 0 and last <= len(source) and _in_place(source, step, copy.dtype):
        return source[first:last]
    load(source, start, count, step, copy)
    return copy[: last - first]


def load(source: np.ndarray, start: int, count: int, step: Pass, copy: np.ndarray) -> None:
    """Fill `copy` with rows [start, start + count) of `source` and everything that `step` reads around."""
    before, after = step.before[0], step.after[0]
    copy = copy[: count + before + after]
    inner = copy[step.inner(source.shape)]
    first, last = max(start - before, 0), min(start + count + after, len(source))
    skipped = first - (start - before)
    inner[skipped : skipped + last - first] = source[first:last]
    for row in (*range(skipped), *range(skipped + last - first, len(inner))):
        place = border_place(len(source), start - before + row, step.borders[0])
        inner[row] = step.constant if place < 0 else source[place]
    _fill_sides(copy, step)


def _fill_sides(copy: np.ndarray, step: Pass) -> None:
    """Everything beyond the edges of all axes but the first."""
    for axis in range(1, copy.ndim):
        before, after = step.before[axis], step.after[axis]
        if before or after:
            fill_borders(copy, axis, before, after, step.borders[axis], step.constant)
