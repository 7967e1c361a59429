"""What infinities and NaN make of a sum of products, told by counting the products that are one.

A transform would spread them over a whole block. So the sums are formed of what is finite, and the others
counted, with ones and zeros in the place of numbers, by the same transforms: an output is NaN if it has a
product that is (NaN times anything, infinity times zero), or infinities of both signs; infinite if it has
infinities of one sign. That costs a few passes for each operand that has any, wherever they lie, where sums
of products would cost thousands.

Arrays here have the batch and channels in front, as the caller gave them; `convolve` is the pass in question,
without bias.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Convolve = Callable[[np.ndarray, np.ndarray], np.ndarray]
Reached = tuple[np.ndarray, np.ndarray, np.ndarray]


class Signs:
    """Where an array is what; as float32 zeros and ones, or None if nowhere."""

    def __init__(self, values: np.ndarray) -> None:
        self.nan = marks(np.isnan(values))
        self.infinite = marks(np.isinf(values))
        self.above, self.below = marks(values == np.inf), marks(values == -np.inf)
        self.positive, self.negative, self.zero = marks(values > 0), marks(values < 0), marks(values == 0)
        self.finitely_positive = marks((values > 0) & (values < np.inf))
        self.finitely_negative = marks((values < 0) & (values > -np.inf))
        self.anything = np.ones(values.shape, np.float32)
        self.nonzero = marks(values != 0)


def marks(where: np.ndarray) -> np.ndarray | None:
    return where.astype(np.float32) if where.any() else None


def reached(convolve: Convolve, *pairs: tuple[np.ndarray | None, np.ndarray | None]) -> np.ndarray:
    """Which outputs have a product of marked numbers, of any of the pairs (source, kernel)."""
    found = np.zeros((), bool)
    for source, kernel in pairs:
        if source is not None and kernel is not None:
            found = found | (convolve(source, kernel) > 0.5)
    return found


def sums_reached(
    convolve: Convolve, source: np.ndarray, kernel: np.ndarray, met: Callable[[np.ndarray], np.ndarray]
) -> Reached:
    """(NaN, inf, -inf): which outputs are what; `met(marks)` counts the marked elements of the kernel
    that each output meets, be it in the padding."""
    s, k = Signs(source), Signs(kernel)
    nan = reached(convolve, (s.nan, k.anything), (s.infinite, k.zero))
    if k.nan is not None:
        nan = nan | (met(k.nan) > 0)
    if k.infinite is not None:  # times a zero, or nothing
        harmless = convolve(s.nonzero, k.infinite) if s.nonzero is not None else 0
        nan = nan | (met(k.infinite) - harmless > 0.5)
    above = reached(
        convolve,
        (s.above, k.positive),
        (s.below, k.negative),
        (s.finitely_positive, k.above),
        (s.finitely_negative, k.below),
    )
    below = reached(
        convolve,
        (s.above, k.negative),
        (s.below, k.positive),
        (s.finitely_positive, k.below),
        (s.finitely_negative, k.above),
    )
    return nan | (above & below), above, below


def with_reached(values: np.ndarray, reached: Reached) -> np.ndarray:
    """Sums of what is finite, with what is not."""
    nan, above, below = reached
    values = np.where(above, values.dtype.type(np.inf), values)
    values = np.where(below, values.dtype.type(-np.inf), values)
    return np.where(nan, values.dtype.type(np.nan), values)


def finite_part(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, values.dtype.type(0))


def slices(places: list[tuple[int, int, int]]) -> tuple[slice, ...]:
    """Of (first, step, count) per axis; in either direction."""
    return tuple(
        [
            slice(
                min(first, first + (count - 1) * step), max(first, first + (count - 1) * step) + 1, abs(step)
            )
            for first, step, count in places
        ]
    )
