"""Unpooling: maxima back to where they were found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv._kernels.pool import by_index as unpool
from fastconv.geometry import as_array, as_indices, check_rank, index_outside, new_output, unpool_shape


def _max_unpool(
    spatial_rank: int,
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> np.ndarray:
    input = as_array("input", input)
    check_rank("input", input.shape, spatial_rank)
    shape = unpool_shape(input.shape, kernel_size, stride, padding, output_size, spatial_rank)
    indices = as_indices("indices", indices, input.shape)
    batched = input.ndim == spatial_rank + 2
    out = new_output(shape, input.dtype, input, batched)
    output = unpool.scatter(input, indices, out, spatial_rank, batched)
    if output is None:
        raise index_outside("indices", indices, math.prod(shape[-spatial_rank:]))
    return output


def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> np.ndarray:
    """1-D max-unpooling of (N, C, W) or (C, W); everything else as `max_unpool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.max_unpool1d(np.array([[3.0, 2.0]]), np.array([[1, 2]]), 2)
    array([[0., 3., 2., 0.]])
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> np.ndarray:
    """2-D max-unpooling: every maximum back to where it was found, zeros elsewhere.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W), float32 or float64
        What `max_pool2d` gave.
    indices : array of int64, same shape
        Where each value goes: flat positions in one plane of the output. Where two values go to one place,
        the later in scan order stays.
    kernel_size, stride, padding
        As given to `max_pool2d`.
    output_size : one int per axis, or the whole shape, optional
        Several sizes pool to the same one; the default is the smallest,
        `(H - 1) * stride - before - after + kernel_size`, from which this may differ by less than a stride.

    Returns
    -------
    ndarray, shape (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Notes
    -----
    Zeiler & Fergus, "Visualizing and understanding convolutional networks", arXiv:1311.2901.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> output, indices = fastconv.max_pool2d(np.arange(4.0).reshape(1, 2, 2), 2, return_indices=True)
    >>> fastconv.max_unpool2d(output, indices, 2)
    array([[[0., 0.],
            [0., 3.]]])
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> np.ndarray:
    """3-D max-unpooling of (N, C, D, H, W) or (C, D, H, W); see `max_unpool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.max_unpool3d(np.ones((1, 1, 1, 1)), np.zeros((1, 1, 1, 1), np.int64), 2).sum()
    np.float64(1.0)
    """
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)
