"""Arrays brought to another size, along any of their axes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def resized(values: np.ndarray, sizes: tuple[int, ...], first_axis: int = 0) -> np.ndarray:
    """An array with other sizes along the axes from `first_axis` on.

    Linear interpolation between the middles of the elements; where it becomes smaller, every element that is
    covered counts (a triangle as wide as two new elements), so that nothing aliases. For pictures that is
    what Pillow's BILINEAR gives, up to its rounding.

    Parameters
    ----------
    values : ndarray
    sizes : tuple of int
    first_axis : int, default 0

    Returns
    -------
    ndarray, float32
        The argument itself if it is float32 and has these sizes.
    """
    values = np.asarray(values, np.float32)
    for axis, size in enumerate(sizes, first_axis):
        if values.shape[axis] != size:
            taps = _taps(values.shape[axis], size)
            values = np.moveaxis(np.tensordot(taps, values, (1, axis)), 0, axis)
    return values


@lru_cache(maxsize=256)
def _taps(before: int, after: int) -> np.ndarray:
    """What each old element counts in each new one, (after, before), float32."""
    reach = max(before / after, 1.0)
    middles = (np.arange(after) + 0.5) * (before / after) - 0.5
    taps = np.maximum(0.0, 1 - np.abs(np.arange(before) - middles[:, None]) / reach)
    made: np.ndarray = (taps / taps.sum(1, keepdims=True)).astype(np.float32)
    made.flags.writeable = False
    return made
