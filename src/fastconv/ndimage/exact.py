"""SciPy's integers, from sums that are only nearly SciPy's.

SciPy adds in float64, in an order of its own, and cuts off what follows the point. Sums computed otherwise
differ by a rounding, and that decides the integer only where they lie next to one: these few are added again
in SciPy's order. Where more than a few do (pages of one colour), the band as a whole is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastconv.geometry import border_map
from fastconv.ndimage.chain import Pass, band_rows, load

#: What SciPy takes for zero in a kernel.
ZERO = float(np.finfo(np.float64).eps)

#: Taps up to which no algorithm transforms.
_ADDED = 64

#: Elements that are gathered at once.
_GATHERED = 1 << 17

#: A share of places above which adding a whole band is quicker than adding at the places.
_FEW = 1 / 16


@dataclass(frozen=True)
class Term:
    """One addend: the weight of one tap, or of two that are added or subtracted first."""

    weight: float
    tap: tuple[int, ...]
    other: tuple[int, ...] | None = None
    sign: int = 1


def flat_terms(weights: np.ndarray) -> list[Term]:
    """Every tap in scan order, but for those that are zero: what lies under them is not read."""
    return [Term(float(weights[tap]), tap) for tap in np.ndindex(weights.shape) if abs(weights[tap]) > ZERO]


def line_terms(weights: np.ndarray) -> list[Term]:
    """A kernel along one axis: the taps of an odd, (anti)symmetric one in pairs around the middle one."""
    values = weights.ravel()
    taps = list(np.ndindex(weights.shape))
    count, middle = len(values), len(values) // 2
    if count % 2 == 1 and count > 1:
        for sign in (1, -1):
            if (np.abs(values[middle + 1 :] - sign * values[:middle][::-1]) <= ZERO).all():
                pairs = [Term(float(values[i]), taps[i], taps[-1 - i], sign) for i in range(middle)]
                return [Term(float(values[middle]), taps[middle]), *pairs]
    return [Term(float(values[-1]), taps[-1]), *(Term(float(values[i]), taps[i]) for i in range(count - 1))]


class OrderedSum:
    """The sums of one pass over an array as SciPy rounds them."""

    def __init__(self, source: np.ndarray, step: Pass, order: Callable[[np.ndarray], list[Term]]) -> None:
        self.source, self.step, self.order = source, step, order

    @cached_property
    def terms(self) -> list[Term]:
        """What is added, in this order."""
        return self.order(self.step.weights)

    def at(self, places: np.ndarray) -> np.ndarray:
        """The sums at some places, as flat indices of the array."""
        taps = np.array([tap for term in self.terms for tap in (term.tap, term.other) if tap is not None])
        step, chunk = self.step, max(1, _GATHERED // len(taps))
        sums = [np.zeros(0)]
        for start in range(0, len(places), chunk):
            found = []
            for axis, place in enumerate(np.unravel_index(places[start : start + chunk], self.source.shape)):
                if step.weights.shape[axis] > 1:
                    size, before, after = self.source.shape[axis], step.before[axis], step.after[axis]
                    places_of = border_map(size, -before, size + after, step.borders[axis])
                    place = places_of[place + taps[:, axis, None]]
                found.append(place)
            values = self.source[tuple(found)].reshape(-1, found[0].shape[-1]).astype(np.float64)
            if "constant" in step.borders:
                values[np.logical_or.reduce([index < 0 for index in np.broadcast_arrays(*found)])] = (
                    step.constant
                )
            rows = iter(np.broadcast_to(values, (len(taps), values.shape[-1])))
            sums.append(self._add(np.zeros(values.shape[-1]), lambda tap, rows=rows: next(rows)))
        return np.concatenate(sums)

    def rows(self, start: int, count: int) -> np.ndarray:
        """The sums of whole rows."""
        source, step = self.source, self.step
        copy = np.empty(step.padded(count, source.shape))
        load(source, start, count, step, copy)
        shape = (count, *source.shape[1:])
        total = np.zeros(shape)

        def read(tap: tuple[int, ...]) -> np.ndarray:
            return copy[tuple(slice(t, t + size) for t, size in zip(tap, shape, strict=True))]

        return self._add(total, read)

    def _add(self, total: np.ndarray, read) -> np.ndarray:  # type: ignore[no-untyped-def]
        with np.errstate(invalid="ignore", over="ignore"):
            for term in self.terms:
                value = read(term.tap)
                if term.other is not None:
                    other = read(term.other)
                    value = value + other if term.sign > 0 else value - other
                total += value * term.weight
        return total

    def settle(self, target: np.ndarray, places: np.ndarray) -> None:
        """Write these sums into `target` at some places, given as flat indices."""
        if len(places):
            found = np.empty(len(places), target.dtype)
            cast(self.at(places), found)
            target[np.unravel_index(places, target.shape)] = found


class Doubtful:
    """Places whose sums are to be added again, band by band: a few at the end, a whole band at once."""

    def __init__(self, target: np.ndarray, sums: OrderedSum) -> None:
        self.target, self.sums = target, sums
        self.places: list[np.ndarray] = []

    def note(self, doubtful: np.ndarray, row: int) -> None:
        """Take note of a band's, which begins at `row`, and has been written."""
        found = np.flatnonzero(doubtful)  # many times quicker than np.nonzero of several axes
        if len(found) > _FEW * doubtful.size:
            cast(self.sums.rows(row, len(doubtful)), self.target[row : row + len(doubtful)])
        elif len(found):
            self.places.append(found + row * (doubtful.size // len(doubtful)))

    def close(self) -> None:
        """Add again what has been noted."""
        if self.places:
            self.sums.settle(self.target, np.concatenate(self.places))


def cast(values: np.ndarray, target: np.ndarray, fits: bool = False) -> None:
    """Write floats into `target` as C casts them: integers cut off at the point, and wrap around.

    `fits`: no value lies outside the range of the dtype.
    """
    dtype = target.dtype
    with np.errstate(invalid="ignore", over="ignore"):
        if dtype.kind == "f" or (fits and dtype.kind in "iu"):
            target[...] = values
        elif dtype == np.bool_:
            target[...] = values.astype(np.int32).astype(np.uint8) != 0
        elif dtype == np.uint64:
            negative = values <= -1
            target[...] = np.abs(values).astype(np.uint64)
            np.negative(target, out=target, where=negative)
        elif dtype.itemsize < 4:
            target[...] = values.astype(np.int32).astype(dtype)
        elif dtype.kind == "u":
            target[...] = values.astype(np.int64).astype(dtype)
        else:
            target[...] = values


class Settle:
    """The finish of a chain whose results are integers."""

    def __init__(self, target: np.ndarray, sums: OrderedSum, error: float, fits: bool) -> None:
        self.target, self.error, self.fits = target, error, fits
        self.again = Doubtful(target, sums)

    def __call__(self, result: np.ndarray, row: int) -> None:
        band, error = self.target[row : row + len(result)], result.dtype.type(self.error)
        if self.fits:
            above = np.empty(band.shape, band.dtype)
            np.add(result, error, out=above, casting="unsafe")
            np.subtract(result, error, out=band, casting="unsafe")
            self.again.note(above != band, row)
            return
        with np.errstate(invalid="ignore"):
            above = np.trunc(result + error)
            result -= error
            np.trunc(result, out=result)
            doubtful = above != result
        cast(result, band)
        self.again.note(doubtful, row)

    def close(self) -> None:
        """Settle what is left."""
        self.again.close()


class WholeSums:
    """The finish of a chain whose exact results are whole numbers, to be divided by `divisor`."""

    def __init__(self, target: np.ndarray, taps: int, divisor: int, fits: bool) -> None:
        self.target, self.divisor, self.fits = target, divisor, fits
        self.rounded = taps > _ADDED  # transforms come close to a whole number, additions are one

    def __call__(self, result: np.ndarray, row: int) -> None:
        if self.rounded:
            np.rint(result, out=result)
        if self.divisor > 1:
            if self.fits:
                band = self.target[row : row + len(result)]
                np.divide(result, result.dtype.type(self.divisor), out=band, casting="unsafe")
                return
            result /= self.divisor
        cast(result, self.target[row : row + len(result)], self.fits)

    def close(self) -> None:
        """Nothing is left to do."""


class Finite:
    """The finish of a chain of floats where SciPy does not read what lies under a zero of the kernel."""

    def __init__(self, target: np.ndarray, sums: OrderedSum) -> None:
        self.target, self.again = target, Doubtful(target, sums)

    def __call__(self, result: np.ndarray, row: int) -> None:
        with np.errstate(over="ignore"):
            self.target[row : row + len(result)] = result
        if not (np.isfinite(result.min()) and np.isfinite(result.max())):
            self.again.note(~np.isfinite(result), row)

    def close(self) -> None:
        """Add again what is not finite."""
        self.again.close()


def running_means(source: np.ndarray, step: Pass, target: np.ndarray) -> None:
    """Means along the one axis that `step` has taps on, of sums that SciPy's way to add them decides."""
    axis = int(np.argmax(step.weights.shape))
    size = step.weights.shape[axis]
    rows = source.shape[0] if axis == 0 else band_rows(source.shape)
    for start in range(0, source.shape[0], rows):
        count = min(rows, source.shape[0] - start)
        copy = np.empty(step.padded(count, source.shape))
        load(source, start, count, step, copy)
        lines = copy.swapaxes(0, axis)
        results = target[start : start + count].swapaxes(0, axis)
        total = np.zeros(lines.shape[1:])
        for line in lines[:size]:
            total += line
        cast(total / size, results[:1])
        for i in range(1, len(results)):
            total += lines[i + size - 1] - lines[i - 1]
            cast(total / size, results[i : i + 1])
