"""The trickier cases, drawn afresh for every picture of a batch: moved, scaled, turned, thick or thin, ..."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from fastconv.functional import max_pool2d
from fastconv.geometry import flag
from fastconv.nn.arguments import real

#: What each field may be at most.
HIGHEST = {"translate": 1.0, "scale": 0.9, "rotate": 180.0, "contrast": 1.0, "weight": 4.0, "noise": 10.0}


@dataclass(frozen=True)
class Augmentation:
    """How much pictures are changed while a net learns from them; every choice is uniform in its range.

    The cases are those that make a literal comparison of pixels fail. Everything is 0 at first: no change.

    Parameters
    ----------
    translate : float, 0 to 1, or (vertical, horizontal)
        How far a picture is moved at most, either way, as a part of its size. Its border is drawn out.
    scale : float, 0 to 0.9
        How much larger or smaller it becomes at most: 0.2 is from 1/1.2 to 1.2.
    rotate : float, 0 to 180, in degrees
        How far it is turned at most, either way.
    contrast : float, 0 to 1
        Differences from its mean are multiplied by a number from 1 - contrast to 1 + contrast.
    weight : float, 0 to 4, in pixels
        How much bright lines grow or shrink at most, on either side: towards the brightest or the darkest
        neighbour.
    noise : float, 0 to 10
        Largest standard deviation of normal noise, in the units of the batch.
    mirror : bool
        Every other one left and right exchanged.

    Raises
    ------
    TypeError, ValueError
        Naming the field, its value and the rule.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.data import Augmentation
    >>> x = np.zeros((2, 1, 8, 8), np.float32)
    >>> x[:, :, 3:5, 3:5] = 1
    >>> Augmentation(translate=0.25, rotate=10)(x, np.random.default_rng(0)).shape
    (2, 1, 8, 8)
    """

    translate: float | tuple[float, float] = 0.0
    scale: float = 0.0
    rotate: float = 0.0
    contrast: float = 0.0
    weight: float = 0.0
    noise: float = 0.0
    mirror: bool = False

    def __post_init__(self) -> None:
        for name, highest in HIGHEST.items():
            value = getattr(self, name)
            if name == "translate" and isinstance(value, (tuple, list)):
                if len(value) != 2:
                    raise ValueError(f"translate={value!r}: must be one number, or (vertical, horizontal)")
                pair = tuple(real(name, v, at_least=0, at_most=highest) for v in value)
                object.__setattr__(self, name, pair)
            else:
                object.__setattr__(self, name, real(name, value, at_least=0, at_most=highest))
        flag("mirror", self.mirror)

    def to_json(self) -> dict[str, Any]:
        """All fields by name, as JSON has them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, described: dict[str, Any]) -> Augmentation:
        """What `to_json` described.

        Raises
        ------
        TypeError, ValueError
            A field is unknown or cannot have its value.
        """
        unknown = set(described) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"augmentation: {', '.join(sorted(map(str, unknown)))}: unknown")
        return cls(**described)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `ValueError` if samples of this shape cannot be changed so."""
        if len(shape) not in (2, 3, 4):
            raise ValueError(f"augmentation: samples of shape {shape} have no axes to be changed along")
        if len(shape) == 2:
            for name in ("scale", "rotate", "weight"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name}={getattr(self, name)!r}: samples of shape {shape} are no pictures"
                    )

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A batch, every picture changed in its own way.

        Parameters
        ----------
        x : ndarray, shape (n, C, H, W), float32
            Or volumes (n, C, D, H, W), changed alike in all their slices; or rows (n, C, L), which can be
            moved, and have contrast, noise and mirror.
        rng : numpy.random.Generator
            The same state gives the same changes.

        Returns
        -------
        ndarray, shape and dtype of x
            A new array, or x itself if there is nothing to do.
        """
        self.check(x.shape[1:])
        if not len(x):
            return x
        rows = x.shape[-2] if x.ndim > 3 else 1
        y = x.reshape(len(x), -1, rows, x.shape[-1])
        if self._moves:
            y = self._moved(y, rng)
        if self.weight:
            y = self._weighted(y, rng)
        if self.contrast:
            factor = self._uniform(rng, len(y), self.contrast)[:, None, None, None] + np.float32(1)
            mean = y.mean((1, 2, 3), keepdims=True)
            y = (y - mean) * factor + mean
        if self.noise:
            deviation = rng.random((len(y), 1, 1, 1), np.float32) * np.float32(self.noise)
            y = y + rng.standard_normal(y.shape, np.float32) * deviation
        made: np.ndarray = y.reshape(x.shape)
        return made

    # ---- moved, scaled, turned, mirrored -------------------------------------------------------------------

    @property
    def _moves(self) -> bool:
        return bool(np.any(self.translate) or self.scale or self.rotate or self.mirror)

    @staticmethod
    def _uniform(rng: np.random.Generator, count: int, reach: float) -> np.ndarray:
        """From -reach to reach, (count,), float32."""
        drawn: np.ndarray = (2 * rng.random(count, np.float32) - np.float32(1)) * np.float32(reach)
        return drawn

    def _moved(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Every picture seen through an affine map of its own, which goes from new places to old ones."""
        count, _, height, width = x.shape
        down, right = np.broadcast_to(self.translate, 2)
        angle = self._uniform(rng, count, np.radians(self.rotate))
        grown = np.float32(1 + self.scale) ** self._uniform(rng, count, 1.0)
        dy = self._uniform(rng, count, down * height)
        dx = self._uniform(rng, count, right * width)
        turn = np.where(rng.random(count, np.float32) < 0.5, np.float32(-1), np.float32(1))
        flip = turn if self.mirror else np.ones(count, np.float32)
        cos, sin = np.cos(angle) / grown, np.sin(angle) / grown
        return _affine(x, np.stack([cos, sin, -sin * flip, cos * flip], 1).astype(np.float32), dy, dx)

    def _weighted(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mixed with the largest or smallest of each pixel's neighbours, once for each pixel of growth."""
        amount = self._uniform(rng, len(x), self.weight)
        sign = np.where(amount < 0, np.float32(-1), np.float32(1))[:, None, None, None]
        y = x * sign  # the smallest is the largest of the negative
        left = np.abs(amount)
        while (left > 0).any():
            part = np.minimum(left, np.float32(1))[:, None, None, None]
            y = y + part * (max_pool2d(y, 3, 1, 1) - y)
            left = np.maximum(left - 1, 0)
        made: np.ndarray = y * sign
        return made


def _affine(x: np.ndarray, matrix: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Bilinear interpolation at the places that a matrix (n, 4) about the middle, and a shift, lead to."""
    count, channels, height, width = x.shape
    middle_y, middle_x = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
    rows = np.arange(height, dtype=np.float32)[None, :] - middle_y - dy[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :] - middle_x - dx[:, None]
    a, b, c, d = (matrix[:, i, None] for i in range(4))
    at_y = (a * rows)[:, :, None] + (b * columns + middle_y)[:, None, :]
    at_x = (c * rows)[:, :, None] + (d * columns + middle_x)[:, None, :]
    np.clip(at_y, 0, height - 1, out=at_y)
    np.clip(at_x, 0, width - 1, out=at_x)
    low_y, low_x = at_y.astype(np.intp), at_x.astype(np.intp)
    at_y -= low_y
    at_x -= low_x
    # the lower right neighbours lie in a row and a column more, which repeat the last
    padded = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), mode="edge")
    wide = width + 1
    base = low_y * wide + low_x
    base += (np.arange(count) * (channels * (height + 1) * wide))[:, None, None]
    flat = padded.reshape(-1)
    out = np.empty_like(x)
    for channel in range(channels):
        here = base + channel * ((height + 1) * wide)
        first, second = flat[here], flat[here + 1]
        first += (second - first) * at_x
        here += wide
        third, fourth = flat[here], flat[here + 1]
        third += (fourth - third) * at_x
        third -= first
        third *= at_y
        np.add(first, third, out=out[:, channel])
    return out
