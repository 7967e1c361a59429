"""The trickier cases: the same picture shifted, turned, scaled, and drawn with a thinner or thicker pen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastconv.ndimage import maximum_filter, minimum_filter

if TYPE_CHECKING:
    from fastconv.explain.walking import Walk

#: How far each goes either way: parts of the side, degrees, factors, steps of a pen.
SHIFTS = tuple(k / 16 for k in range(-6, 7))
ANGLES = tuple(range(-45, 46, 5))
FACTORS = tuple(round(0.5 + k / 10, 1) for k in range(11))
PENS = (-2, -1, 0, 1, 2)


@dataclass(frozen=True)
class Cases:
    """One way to change a picture, step by step.

    Attributes
    ----------
    name : str
        "shift right", "shift down", "rotation", "scale" or "thickness".
    amounts : tuple of float
        Pixels, degrees, a factor, or steps of the pen.
    pictures : ndarray, shape (len(amounts), C, H, W)
    votes : ndarray, shape (len(amounts), classes)
    """

    name: str
    amounts: tuple[float, ...]
    pictures: np.ndarray
    votes: np.ndarray


def cases_of(seen: Walk) -> list[Cases]:
    """What becomes of the votes when the picture changes.

    Parameters
    ----------
    seen : Walk
        Of a picture, (C, H, W); of anything else there are no cases.

    Returns
    -------
    list of Cases

    Notes
    -----
    What comes in from outside is the median of each channel, which in a drawing is the paper. A picture of
    two values keeps them: each new pixel takes the nearer one.

    Examples
    --------
    >>> from fastconv import explain
    >>> [(case.name, len(case.amounts)) for case in explain.cases_of(explain.deck_walk("X"))]
    [('shift right', 7), ('shift down', 7), ('rotation', 19), ('scale', 11), ('thickness', 5)]
    """
    if len(seen.shapes[0]) != 3:
        return []
    picture = seen.input[0]
    height, width = picture.shape[1:]
    ways: dict[str, tuple[tuple[float, ...], Callable[[float], np.ndarray]]] = {
        "shift right": (_pixels(width), lambda by: resampled(picture, shift=(0, by))),
        "shift down": (_pixels(height), lambda by: resampled(picture, shift=(by, 0))),
        "rotation": (ANGLES, lambda by: resampled(picture, angle=by)),
        "scale": (FACTORS, lambda by: resampled(picture, factor=by)),
        "thickness": (PENS, lambda by: thickened(picture, int(by))),
    }
    found = []
    for name, (amounts, change) in ways.items():
        pictures = np.stack([change(amount) for amount in amounts]).astype(picture.dtype)
        found.append(Cases(name, amounts, pictures, seen.tail(0, pictures)))
    return found


def _pixels(side: int) -> tuple[float, ...]:
    return tuple(sorted({float(round(part * side)) for part in SHIFTS}))


def resampled(
    picture: np.ndarray, *, shift: tuple[float, float] = (0, 0), angle: float = 0, factor: float = 1
) -> np.ndarray:
    """A picture moved, turned and scaled about its middle, by bilinear interpolation.

    Parameters
    ----------
    picture : ndarray, shape (C, H, W)
    shift : (float, float)
        Pixels down and to the right.
    angle : float
        Degrees, counter-clockwise.
    factor : float
        Larger than 1 is larger.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.explain.cases import resampled
    >>> picture = np.zeros((1, 3, 3))
    >>> picture[0, 1, 1] = 1
    >>> resampled(picture, shift=(0, 1))[0, 1]
    array([0., 0., 1.])
    """
    height, width = picture.shape[1:]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    middle = (height - 1) / 2, (width - 1) / 2
    down, right = rows - middle[0] - shift[0], columns - middle[1] - shift[1]
    turn = math.radians(angle)
    cosine, sine = math.cos(turn) / factor, math.sin(turn) / factor
    from_rows = np.round(middle[0] + cosine * down + sine * right, 9)
    from_columns = np.round(middle[1] - sine * down + cosine * right, 9)
    paper = np.median(picture.reshape(len(picture), -1), axis=1)
    padded = np.empty((len(picture), height + 2, width + 2))
    padded[...] = paper[:, None, None]
    padded[:, 1:-1, 1:-1] = picture
    r, c = np.clip(from_rows + 1, 0, height + 1), np.clip(from_columns + 1, 0, width + 1)
    top, left = np.minimum(r.astype(int), height), np.minimum(c.astype(int), width)
    low, far = r - top, c - left
    found = (
        padded[:, top, left] * (1 - low) * (1 - far)
        + padded[:, top, left + 1] * (1 - low) * far
        + padded[:, top + 1, left] * low * (1 - far)
        + padded[:, top + 1, left + 1] * low * far
    )
    return _with_values_of(picture, found)


def thickened(picture: np.ndarray, steps: int) -> np.ndarray:
    """A drawing with a thicker pen, or with negative steps a thinner one.

    A step grows the ink, whatever differs from the paper, by one pixel: to the right and below at first, then
    to the left and above.
    """
    bright = picture.mean() >= np.median(picture)
    grow = (steps > 0) == bool(bright)
    found = picture
    for step in range(abs(steps)):
        origin = 0 if step % 2 == 0 else -1
        change = maximum_filter if grow else minimum_filter
        found = np.stack([change(each, 2, mode="nearest", origin=origin) for each in found])
    return found


def _with_values_of(picture: np.ndarray, changed: np.ndarray) -> np.ndarray:
    values = np.unique(picture)
    if len(values) != 2:
        return changed
    snapped: np.ndarray = np.where(changed >= values.mean(), values[1], values[0])
    return snapped
