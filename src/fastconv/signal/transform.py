"""Convolution by one Fourier transform of everything: for cubes, and kernels that are much of the array.

The engine's own transforms go block by block, in a window's precision; where blocks are no smaller than the
whole, NumPy's transform of the whole is quicker.
"""

from __future__ import annotations

import numpy as np

#: Taps from which on it pays: of three axes or more; of fewer, if they are this share of the array.
_CUBE = 2000
_LONG, _SHARE = 2048, 8


def whole_transform_pays(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether to transform arrays as a whole, the second the smaller one; never where NaN would spread."""
    axes = sum(size > 1 for size in second.shape)
    large = second.size >= _CUBE if axes > 2 else second.size >= max(_LONG, first.size // _SHARE)
    return large and bool(np.isfinite(first).all() and np.isfinite(second).all())


def convolve_whole(first: np.ndarray, second: np.ndarray, part: tuple[slice, ...]) -> np.ndarray:
    """A part of the full convolution of two float arrays."""
    axes = [axis for axis, size in enumerate(second.shape) if size > 1]
    sizes = [_quick(first.shape[axis] + second.shape[axis] - 1) for axis in axes]
    spectrum = np.fft.rfftn(first, sizes, axes) * np.fft.rfftn(second, sizes, axes)
    return np.array(np.fft.irfftn(spectrum, sizes, axes)[part], dtype=first.dtype, order="C")


def _quick(size: int) -> int:
    """The smallest product of 2s, 3s and 5s that is not below `size`."""
    best = 1 << (size - 1).bit_length()
    fives = 1
    while fives < best:
        odd = fives
        while odd < best:
            best = min(best, odd << max(-(-size // odd) - 1, 0).bit_length())
            odd *= 3
        fives *= 5
    return best
