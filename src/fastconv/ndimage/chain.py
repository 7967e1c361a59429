"""Correlations one after the other, over bands of the array that stay in cache.

A pass is a kernel of the rank of the array. A chain of passes is computed band by band along the first axis:
the band is read once, into a padded copy, each pass writes into the next one's padded copy, and the last one
into the output. So an array larger than the caches is read and written once, whatever number of passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from fastconv.functional.any_rank import correlate_valid
from fastconv.geometry import border_map, fill_borders

#: Elements of a band: a few copies of it fit the caches, and a call is long beside its overhead.
_BAND = 1 << 17


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


Finish = Callable[[np.ndarray, int], None]


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
    finish : callable, optional
        `finish(result, row)` writes a band of results, which it may overwrite, from `row` on; without it they
        are cast to the dtype of `target`.
    """
    passes = list(passes)
    cut = next((i for i, step in enumerate(passes[1:], 1) if step.weights.shape[0] > 1), len(passes))
    if cut < len(passes):  # rows around a band exist in the source alone: so such a pass begins a chain
        between = np.empty(source.shape, work)
        run(source, passes[:cut], work, between)
        run(between, passes[cut:], work, target, finish)
        return
    rows = band_rows(source.shape, passes[0].weights.shape[0])
    direct = finish is None and target.dtype == work
    kernels = [step.weights.astype(work) for step in passes]
    copies = [np.empty(step.padded(rows, source.shape), work) for step in passes]
    scratch = None if direct else np.empty((rows, *source.shape[1:]), work)
    for start in range(0, source.shape[0], rows):
        count = min(rows, source.shape[0] - start)
        load(source, start, count, passes[0], copies[0])
        for i, step in enumerate(passes):
            if i + 1 < len(passes):
                following = passes[i + 1]
                wider = copies[i + 1][:count]
                result = wider[following.inner(source.shape)]
            else:
                result = target[start : start + count] if scratch is None else scratch[:count]
            correlate_valid(copies[i][: count + step.weights.shape[0] - 1], kernels[i], result)
            if i + 1 < len(passes):
                _fill_sides(wider, following)
        if finish is not None:
            finish(result, start)
        elif scratch is not None:
            target[start : start + count] = result


def band_rows(shape: tuple[int, ...], taps: int = 1) -> int:
    """Rows of a band: enough to outweigh those around it, which are read twice."""
    return int(min(shape[0], max(_BAND // max(prod(shape[1:]), 1), 2 * (taps - 1), 1)))


def load(source: np.ndarray, start: int, count: int, step: Pass, copy: np.ndarray) -> None:
    """Fill `copy` with rows [start, start + count) of `source` and everything that `step` reads around."""
    before, after = step.before[0], step.after[0]
    copy = copy[: count + before + after]
    inner = copy[step.inner(source.shape)]
    first, last = max(start - before, 0), min(start + count + after, len(source))
    skipped = first - (start - before)
    inner[skipped : skipped + last - first] = source[first:last]
    places = border_map(len(source), start - before, start + count + after, step.borders[0])
    for row in (*range(skipped), *range(skipped + last - first, len(places))):
        inner[row] = step.constant if places[row] < 0 else source[places[row]]
    _fill_sides(copy, step)


def _fill_sides(copy: np.ndarray, step: Pass) -> None:
    """Everything beyond the edges of all axes but the first."""
    for axis in range(1, copy.ndim):
        before, after = step.before[axis], step.after[axis]
        if before or after:
            fill_borders(copy, axis, before, after, step.borders[axis], step.constant)
