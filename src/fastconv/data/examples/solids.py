"""Solids: turned in any way, of any size, anywhere, in noise."""

from __future__ import annotations

import os

import numpy as np

from fastconv.data.examples.folder import new_folder
from fastconv.geometry import real_number, whole_number

#: All of about the same volume, so that it takes the shape to tell them.
SOLIDS = ("ball", "cube", "rod", "cone", "ring")


def draw_solids(
    labels: np.ndarray, size: int = 16, noise: float = 0.25, rng: np.random.Generator | int | None = None
) -> np.ndarray:
    """One solid of each label, turned at random.

    Parameters
    ----------
    labels : ndarray, shape (N,), whole numbers
        Of `SOLIDS`.
    size : int, at least 8, default 16
        Voxels along each axis.
    noise : float, default 0.25
        Standard deviation of what is added to every voxel; solids are 1 within and 0 outside.
    rng : numpy.random.Generator or int, optional

    Returns
    -------
    ndarray, shape (N, size, size, size), float32

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.data.examples import draw_solids
    >>> ball = draw_solids(np.array([0]), size=16, noise=0, rng=0)[0]
    >>> ball.shape, float(ball.max())
    ((16, 16, 16), 1.0)
    """
    size, noise = whole_number("size", size, 8), real_number("noise", noise, at_least=0)
    rng = np.random.default_rng(rng)
    axis = np.arange(size) - (size - 1) / 2
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    made = np.empty((len(labels), size, size, size), np.float32)
    for i, label in enumerate(labels):
        radius = size * rng.uniform(0.26, 0.34)
        place = rng.uniform(-1, 1, 3) * size * 0.06
        at = (grid - place) @ _rotation(rng) / radius
        # how far inside, in voxels: the border is as soft as a voxel is wide
        inside = -_distance(SOLIDS[label], at) * radius
        made[i] = np.clip(inside + 0.5, 0, 1) + noise * rng.standard_normal(grid.shape[:3])
    return made


def write_solids(
    folder: str | os.PathLike[str], count: int = 800, size: int = 16, noise: float = 0.25, seed: int = 0
) -> None:
    """A folder of .npy files for each solid.

    Parameters
    ----------
    folder : str or path
        Must not be there yet.
    count : int, default 800
        Files of each solid.
    size, noise
        As in `draw_solids`.
    seed : int

    Raises
    ------
    FileExistsError
        The folder is there.
    """
    count = whole_number("count", count, 1)
    rng = np.random.default_rng(seed)
    with new_folder(folder) as made:
        for label, name in enumerate(SOLIDS):
            os.mkdir(os.path.join(made, name))
            for number in range(count):
                solid = draw_solids(np.array([label]), size, noise, rng)[0]
                np.save(os.path.join(made, name, f"{number:04}.npy"), solid.astype(np.float16))


def _rotation(rng: np.random.Generator) -> np.ndarray:
    """Every rotation as likely: that of a unit quaternion drawn evenly from its sphere."""
    w, x, y, z = (q := rng.standard_normal(4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _distance(name: str, at: np.ndarray) -> np.ndarray:
    """About how far outside the solid a point is, inside negative; sizes make volumes alike (4/3 pi)."""
    x, y, z = np.moveaxis(at, -1, 0)
    around = np.hypot(x, y)
    if name == "ball":
        found = np.sqrt(around**2 + z**2) - 1
    elif name == "cube":
        found = np.abs(at).max(-1) - 0.806
    elif name == "rod":
        found = np.maximum(around - 0.69, np.abs(z) - 1.4)
    elif name == "cone":  # as high as it is wide: 2.52
        found = np.maximum((around - (1.26 - z) / 2) * 2 / np.sqrt(5), -z - 1.26)
    else:
        found = np.hypot(around - 1.0, z) - 0.461
    return np.asarray(found)
