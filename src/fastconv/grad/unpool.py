"""Gradients of unpooling with respect to its input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv._kernels.pool import by_index as unpool
from fastconv.geometry import as_indices, index_outside, new_output
from fastconv.grad.pool import checked_sizes


def _max_unpool_input(spatial_rank: int, input_size: Any, indices: Any, grad_output: Any) -> np.ndarray:
    shape, grad_output, batched = checked_sizes(spatial_rank, input_size, grad_output)
    indices = as_indices("indices", indices, shape)
    out = new_output(shape, grad_output.dtype, grad_output, batched)
    gradient = unpool.gather(grad_output, indices, out, spatial_rank, batched)
    if gradient is None:
        raise index_outside("indices", indices, math.prod(grad_output.shape[-spatial_rank:]))
    return gradient


def max_unpool1d_input(input_size: Any, indices: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `max_unpool1d` with respect to its input; see `max_unpool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.max_unpool1d_input((1, 2), np.array([[1, 2]]), np.array([[5.0, 6.0, 7.0, 8.0]]))
    array([[6., 7.]])
    """
    return _max_unpool_input(1, input_size, indices, grad_output)


def max_unpool2d_input(input_size: Any, indices: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `max_unpool2d` with respect to its input: the values at the places that indices name.

    Where indices of `max_unpool2d` coincide, only the last of the values was kept, yet each gets the whole
    gradient of the place, as in torch.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the unpooling's input, (N, C, H, W) or (C, H, W).
    indices : array of int64, shape `input_size`
        As given to `max_unpool2d`.
    grad_output : array, shape (N, C, OH, OW) or (C, OH, OW), float32 or float64

    Returns
    -------
    ndarray of shape `input_size`

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been written.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.max_unpool2d_input((1, 1, 1), np.array([[[3]]]), np.arange(4.0).reshape(1, 2, 2))
    array([[[3.]]])
    """
    return _max_unpool_input(2, input_size, indices, grad_output)


def max_unpool3d_input(input_size: Any, indices: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `max_unpool3d` with respect to its input; see `max_unpool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> cube = np.arange(8.0).reshape(1, 2, 2, 2)
    >>> fastconv.grad.max_unpool3d_input((1, 1, 1, 1), np.array([[[[7]]]]), cube)
    array([[[[7.]]]])
    """
    return _max_unpool_input(3, input_size, indices, grad_output)
