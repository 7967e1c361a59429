"""Arrays of any rank without batch and channels: by the convolution, or the pooling, whose rank suffices."""

from __future__ import annotations

import numpy as np

from fastconv.functional.conv import conv1d, conv2d, conv3d
from fastconv.functional.pool import max_pool1d, max_pool2d, max_pool3d

_CONV = (conv1d, conv1d, conv2d, conv3d)
_MAX_POOL = (max_pool1d, max_pool1d, max_pool2d, max_pool3d)


def correlate_valid(input: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    """Write sum over taps of input times weight, wherever the kernel lies inside the input.

    Parameters
    ----------
    input : ndarray of any rank from 1, float32 or float64
    weight : ndarray of the same rank and dtype
        Where it has size 1 the axis costs nothing; axes beyond three larger ones are walked in Python.
    out : ndarray, shape input - weight + 1 per axis, same dtype
        Any strides; apart from the others in memory.
    """
    batch, sizes, taps = _spatial(out.shape, weight.shape)
    if len(sizes) > 3:
        _walk(input, weight, out)
        return
    source = input.reshape(batch, 1, *(size + tap - 1 for size, tap in zip(sizes, taps, strict=True)))
    kernel = np.ascontiguousarray(weight).reshape(1, 1, *taps)
    target = out.reshape(batch, 1, *sizes)
    conv = _CONV[len(sizes)]
    if np.may_share_memory(target, out):
        conv(source, kernel, out=target)
    else:  # strides that no such view has
        out[...] = conv(source, kernel).reshape(out.shape)


def maximum_valid(input: np.ndarray, window: tuple[int, ...]) -> np.ndarray:
    """The maximum of each window that lies inside the input, of any rank from 1, float32 or float64."""
    shape = tuple(size - taps + 1 for size, taps in zip(input.shape, window, strict=True))
    batch, sizes, taps = _spatial(shape, window)
    if len(sizes) > 3:
        axis = next(axis for axis, size in enumerate(window) if size > 1)
        first = tuple(size if i == axis else 1 for i, size in enumerate(window))
        rest = tuple(1 if i == axis else size for i, size in enumerate(window))
        return maximum_valid(maximum_valid(input, first), rest)
    source = input.reshape(batch, 1, *(size + tap - 1 for size, tap in zip(sizes, taps, strict=True)))
    return _MAX_POOL[len(sizes)](source, taps, 1).reshape(shape)


def _spatial(shape: tuple[int, ...], taps: tuple[int, ...]) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """The batch, outputs per spatial axis and taps per spatial axis, with neighbours without taps as one."""
    joined: list[tuple[int, int]] = []
    for size, tap in zip(shape, taps, strict=True):
        if joined and tap == 1 and joined[-1][1] == 1:
            joined[-1] = (joined[-1][0] * size, 1)
        else:
            joined.append((size, tap))
    batch = 1
    if len(joined) > 3 and joined[0][1] == 1:  # else an axis of the picture, for one large one is quicker
        batch = joined.pop(0)[0]
    sizes, taps = zip(*joined, strict=True)
    return batch, sizes, taps


def _walk(input: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    """Ranks that no convolution has: one element, or one tap, of the first axis after the other."""
    if len(weight) == 1:
        for source, target in zip(input, out, strict=True):
            correlate_valid(source, weight[0], target)
        return
    count = len(out)
    term = np.empty_like(out)
    out[...] = 0
    for tap, kernel in enumerate(weight):
        correlate_valid(input[tap : tap + count], kernel[None], term)
        out += term
