"""Convolutions that floats cannot hold: integers beyond 2^53, long doubles, objects, tap by tap in NumPy."""

from __future__ import annotations

import numpy as np


def convolve_by_taps(input: np.ndarray, kernel: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The full convolution in the arithmetic of `dtype`: integers wrap around, bool is "and" and "or"."""
    shape = tuple(n + k - 1 for n, k in zip(input.shape, kernel.shape, strict=True))
    result = np.zeros(shape, dtype)
    source, weights = input.astype(dtype), kernel.astype(dtype)
    for tap in np.ndindex(kernel.shape):
        place = tuple(slice(t, t + n) for t, n in zip(tap, input.shape, strict=True))
        result[place] += source * weights[tap]
    return result
