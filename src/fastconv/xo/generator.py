"""A seeded generator of X and O pictures that vary in place, size, angle, pen and noise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from fastconv.geometry import whole_number
from fastconv.xo.errors import KnobError
from fastconv.xo.pictures import LETTERS

#: Smaller pictures have no room for an O with a hole and space to move.
SMALLEST = 5

#: The narrower side of a letter is at least this part of the wider one.
NARROWEST = 0.75

#: A disc of this radius covers a pixel centre wherever it lies (half the diagonal of a pixel, rounded up), so
#: an O whose inside is no smaller keeps its hole.
HOLE_RADIUS = 0.75

#: Distances are computed for this many pixels at a time, to bound the memory of large requests.
CHUNK_PIXELS = 1 << 20


@dataclass(frozen=True)
class Variation:
    """How much generated letters differ from each other; every choice is uniform within its range.

    Attributes
    ----------
    translation : float, 0 to 1
        How far a letter may leave the middle, as a part of the way at which it would touch the border.
    scale : (float, float), within 0 to 1
        Smallest and largest letter, as parts of the largest that fits the picture. Height and width are
        chosen apart, the narrower side at least three quarters of the wider.
    rotation : float, 0 to 30, in degrees
        Largest angle, either way. (An X turned by 45 degrees would be a plus sign.)
    weight : (float, float), within 0 to 0.7
        Thinnest and thickest line, as parts of half the letter's size. No line is thinner than a pixel, nor
        so thick that an O would lose its hole.
    noise : float, 0 to 0.5
        Probability of each pixel to be turned into its opposite.

    Raises
    ------
    KnobError, TypeError
        Naming the field, its value and the rule.

    Examples
    --------
    >>> from fastconv.xo import Variation
    >>> Variation(rotation=0.0, noise=0.0).scale
    (0.5, 1.0)
    """

    translation: float = 1.0
    scale: tuple[float, float] = (0.5, 1.0)
    rotation: float = 25.0
    weight: tuple[float, float] = (0.15, 0.6)
    noise: float = 0.01

    def __post_init__(self) -> None:
        highest = {"translation": 1.0, "scale": 1.0, "rotation": 30.0, "weight": 0.7, "noise": 0.5}
        for field in fields(self):
            value = getattr(self, field.name)
            paired = field.name in ("scale", "weight")
            try:
                low, high = (float(v) for v in (value if paired else (0.0, value)))
            except (TypeError, ValueError):
                raise TypeError(
                    f"{field.name}={value!r}: must be {'two numbers' if paired else 'a number'}"
                ) from None
            if not 0.0 <= low <= high <= highest[field.name]:
                rule = f"must be within 0 to {highest[field.name]:g}"
                raise KnobError(field.name, value, rule + (", low before high" if paired else ""))


def generate(
    count: int,
    size: int = 9,
    *,
    variation: Variation | None = None,
    rng: np.random.Generator | int | None = None,
    avoid: Iterable[np.ndarray] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Draw pictures of X and O, half of each, in random order.

    Parameters
    ----------
    count : int, at least 1
        How many; an odd one goes to X.
    size : int, at least 5, default 9
        Height and width in pixels.
    variation : Variation, optional
        How much the letters differ; without it `Variation()`.
    rng : numpy.random.Generator or int, optional
        Source of chance, or its seed; the same seed gives the same pictures.
    avoid : iterable of ndarray, shape (N, 1, size, size)
        Batches of pictures that must not be among the generated ones: whatever equals one of them, pixel by
        pixel, is drawn anew.

    Returns
    -------
    pictures : ndarray, shape (count, 1, size, size), float32
        +1 for ink and -1 for paper.
    labels : ndarray, shape (count,), int64
        0 for X and 1 for O.

    Raises
    ------
    TypeError, ValueError
        `count` or `size` out of range, or the pictures to avoid leave nothing else to draw.

    Examples
    --------
    >>> from fastconv.xo import generate
    >>> pictures, labels = generate(100, size=16, rng=0)
    >>> pictures.shape, int(labels.sum())
    ((100, 1, 16, 16), 50)
    """
    count = whole_number("count", count, 1)
    size = whole_number("size", size, SMALLEST)
    variation = Variation() if variation is None else variation
    rng = np.random.default_rng(rng)
    labels = rng.permutation(np.arange(count) % 2)
    pictures = _draw_varied(labels, size, variation, rng)
    forbidden = {_digest(picture) for batch in avoid for picture in batch}
    for _ in range(100):
        again = [i for i, picture in enumerate(pictures) if _digest(picture) in forbidden]
        if not again:
            return pictures, labels
        pictures[again] = _draw_varied(labels[again], size, variation, rng)
    raise ValueError(
        f"avoid: {len(again)} of {count} pictures could not be drawn otherwise; allow more variation"
    )


def _digest(picture: np.ndarray) -> bytes:
    """What stands for a picture when it is compared with thousands."""
    return hashlib.blake2b(np.packbits(picture > 0).tobytes(), digest_size=16).digest()


def _draw_varied(labels: np.ndarray, size: int, variation: Variation, rng: np.random.Generator) -> np.ndarray:
    """One picture of each label, with all choices made at random; shape (len(labels), 1, size, size)."""
    count, half = len(labels), (size - 1) / 2
    angle = np.radians(rng.uniform(-variation.rotation, variation.rotation, count))
    wide = np.maximum(half * rng.uniform(*variation.scale, count), 0.5 + HOLE_RADIUS)
    narrow = np.maximum(wide * rng.uniform(NARROWEST, 1.0, count), 0.5 + HOLE_RADIUS)
    weight = np.clip(wide * rng.uniform(*variation.weight, count), 1.0, narrow + 0.5 - HOLE_RADIUS)
    upright = rng.random(count) < 0.5
    reach = np.where(upright, [narrow, wide], [wide, narrow]) - (weight - 1) / 2

    # an X turned on the spot reaches further than an upright one: shrink it to the size that was asked for
    turned = np.abs(np.cos(angle)) * reach + np.abs(np.sin(angle)) * reach[::-1]
    is_x = labels == LETTERS.index("X")
    reach = np.where(is_x, reach * reach.max(axis=0) / turned.max(axis=0), reach)
    spread = np.abs(np.cos(angle)) * reach + np.abs(np.sin(angle)) * reach[::-1]
    spread = np.where(is_x, spread, np.hypot(np.cos(angle) * reach, np.sin(angle) * reach[::-1]))
    room = half - spread - (weight - 1) / 2
    middle = half + variation.translation * room * rng.uniform(-1.0, 1.0, (2, count))

    pictures = np.empty((count, 1, size, size), np.float32)
    step = max(1, CHUNK_PIXELS // size**2)
    for start in range(0, count, step):
        part = slice(start, start + step)
        letters = _draw(is_x[part], size, middle[:, part], reach[:, part], angle[part], weight[part])
        flipped = rng.random(letters.shape) < variation.noise
        pictures[part, 0] = np.where(flipped, -letters, letters)
    return pictures


def _draw(
    is_x: np.ndarray,
    size: int,
    middle: np.ndarray,
    reach: np.ndarray,
    angle: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """Letters as (N, size, size) of +1 and -1; `middle` and `reach` are (2, N): x and y, in pixels."""
    x = np.arange(size) - middle[0, :, None, None]
    y = np.arange(size)[:, None] - middle[1, :, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    x, y = x * cos + y * sin, y * cos - x * sin
    distance = np.empty(x.shape)
    distance[is_x] = _distance_to_cross(x[is_x], y[is_x], *reach[:, is_x, None, None])
    distance[~is_x] = _distance_to_ellipse(x[~is_x], y[~is_x], *reach[:, ~is_x, None, None])
    # the little that is added keeps a line of one pixel closed where it passes midway between two pixels
    return np.where(distance <= weight[:, None, None] / 2 + 1e-6, 1.0, -1.0)


def _distance_to_cross(x: np.ndarray, y: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Distance to the nearer of two strokes, from corner to corner of a box with these half sides."""
    length = np.hypot(width, height)
    nearest = []
    for slope in (1.0, -1.0):
        along = (x * width + slope * y * height) / length
        across = (slope * x * height - y * width) / length
        nearest.append(np.hypot(np.maximum(np.abs(along) - length, 0.0), across))
    distance: np.ndarray = np.minimum(*nearest)
    return distance


def _distance_to_ellipse(x: np.ndarray, y: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Distance to an ellipse of half axes `width`, `height`.

    From a point of the ellipse, walk to where the line from its centre of curvature to (x, y) meets the
    circle of curvature; that is the nearest point of a circle at once, and of these mild ellipses after few
    rounds.
    """
    x, y = np.abs(x) + 1e-9, np.abs(y) + 1e-9  # off the axes, so that the very middle has a direction
    cos, sin = _unit(x / width, y / height)
    for _ in range(2):
        center_x = (width**2 - height**2) / width * cos**3
        center_y = (height**2 - width**2) / height * sin**3
        radius = np.hypot(width * cos - center_x, height * sin - center_y)
        zoom = radius / np.maximum(np.hypot(x - center_x, y - center_y), 1e-9)
        cos = np.clip((center_x + (x - center_x) * zoom) / width, 1e-9, 1.0)
        sin = np.clip((center_y + (y - center_y) * zoom) / height, 1e-9, 1.0)
        cos, sin = _unit(cos, sin)
    distance: np.ndarray = np.hypot(x - width * cos, y - height * sin)
    return distance


def _unit(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vectors (x, y), none of them zero, at length 1."""
    length = np.hypot(x, y)
    return x / length, y / length
