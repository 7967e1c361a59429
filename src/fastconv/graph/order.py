"""In which order the axes of an array lie in memory."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_channels_last(array: Any) -> bool:
    """Whether an array (N, C, *spatial) lies in memory as a dense (N, *spatial, C), and no other way."""
    return (
        isinstance(array, np.ndarray)
        and 3 <= array.ndim <= 5
        and not array.flags.c_contiguous
        and np.moveaxis(array, 1, -1).flags.c_contiguous
    )


def is_dense(array: np.ndarray) -> bool:
    """Whether an array fills its memory, in one of the two orders that are used."""
    return array.flags.c_contiguous or is_channels_last(array)


def lie_alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are dense in the same order."""
    if a.flags.c_contiguous:
        return b.flags.c_contiguous
    return is_channels_last(a) and np.moveaxis(b, 1, -1).flags.c_contiguous


def empty(shape: tuple[int, ...], dtype: np.dtype, channels_last: bool) -> np.ndarray:
    """An uninitialised array; in channels-last order if that is a matter of its axes."""
    if channels_last and 3 <= len(shape) <= 5:
        return np.moveaxis(np.empty((shape[0], *shape[2:], shape[1]), dtype), -1, 1)
    return np.empty(shape, dtype)


def laid(block: np.ndarray, shape: tuple[int, ...], channels_last: bool) -> np.ndarray:
    """A flat array as one of this shape."""
    if channels_last and 3 <= len(shape) <= 5:
        return np.moveaxis(block.reshape(shape[0], *shape[2:], shape[1]), -1, 1)
    return block.reshape(shape)
