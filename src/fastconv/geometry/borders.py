"""What an array is taken to hold beyond its edges, one axis at a time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

#: Every name of a border rule, and the rule: where an element outside is read.
BORDERS = {
    "reflect": "reflect",
    "grid-mirror": "reflect",
    "mirror": "mirror",
    "nearest": "nearest",
    "wrap": "wrap",
    "grid-wrap": "wrap",
    "constant": "constant",
    "grid-constant": "constant",
}


def border_place(size: int, place: int, border: str) -> int:
    """Where the element at `place`, outside or not, is read in an axis of `size`; -1: nowhere, a constant.

    "reflect" repeats the element at the edge (d c b a | a b c d), "mirror" does not (d c b | a b c d).
    """
    if 0 <= place < size:
        return place
    if border == "constant":
        return -1
    if border == "nearest":
        return 0 if place < 0 else size - 1
    if border == "wrap":
        return place % size
    if border == "reflect":
        place %= 2 * size
        return place if place < size else 2 * size - 1 - place
    place %= max(2 * size - 2, 1)
    return place if place < size else 2 * size - 2 - place


@lru_cache(maxsize=64)
def border_map(size: int, start: int, stop: int, border: str) -> np.ndarray:
    """`border_place` of all places in [start, stop); read-only."""
    places = np.array([border_place(size, place, border) for place in range(start, stop)], np.intp)
    places.flags.writeable = False
    return places


def fill_borders(
    padded: np.ndarray, axis: int, before: int, after: int, border: str, constant: float
) -> None:
    """Write the first `before` and last `after` elements along `axis` from those between, which are there."""
    lines = padded.swapaxes(0, axis)
    size = len(lines) - before - after
    for row in (*range(before), *range(before + size, len(lines))):
        place = border_place(size, row - before, border)
        lines[row] = constant if place < 0 else lines[before + place]
