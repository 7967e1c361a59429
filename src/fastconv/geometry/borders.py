"""What an array is taken to hold beyond its edges, one axis at a time."""

from __future__ import annotations

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


def border_map(size: int, start: int, stop: int, border: str) -> np.ndarray:
    """Where the elements [start, stop) of an axis of `size` elements lie in it; -1: nowhere, a constant.

    "reflect" repeats the element at the edge (d c b a | a b c d), "mirror" does not (d c b | a b c d).
    """
    places = np.arange(start, stop)
    if border == "constant":
        return np.where((places >= 0) & (places < size), places, -1)
    if border == "nearest":
        return np.clip(places, 0, size - 1)
    if border == "wrap":
        return places % size
    period = 2 * size if border == "reflect" else max(2 * size - 2, 1)
    places %= period
    beyond = (period - 1 if border == "reflect" else period) - places
    return np.where(places < size, places, beyond)


def fill_borders(
    padded: np.ndarray, axis: int, before: int, after: int, border: str, constant: float
) -> None:
    """Write the first `before` and last `after` elements along `axis` from those between, which are there."""
    lines = padded.swapaxes(0, axis)
    size = len(lines) - before - after
    inner = lines[before : before + size]
    for part, start in ((lines[:before], -before), (lines[before + size :], size)):
        if len(part) == 0:
            continue
        if border == "constant":
            part[...] = constant
        else:
            places = border_map(size, start, start + len(part), border)
            for row, place in zip(part, places, strict=True):
                row[...] = inner[place]
