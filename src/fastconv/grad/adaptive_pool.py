"""Gradients of adaptive pooling with respect to its input."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.functional.adaptive_pool import adaptive_plan
from fastconv.functional.pool import plan_by
from fastconv.grad.pool import checked_sizes, max_pool_input, spread


def _adaptive_avg_pool_input(
    spatial_rank: int, input_size: Any, grad_output: Any, algorithm: str
) -> np.ndarray:
    shape, grad_output, _ = checked_sizes(spatial_rank, input_size, grad_output)
    plan = adaptive_plan(spatial_rank, shape, grad_output.shape[-spatial_rank:])
    return spread(plan_by(algorithm, plan), grad_output)


def adaptive_avg_pool1d_input(input_size: Any, grad_output: Any, *, algorithm: str = "auto") -> np.ndarray:
    """Gradient of `adaptive_avg_pool1d` with respect to its input; see `adaptive_avg_pool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.adaptive_avg_pool1d_input((1, 3), np.array([[2.0, 4.0]]))
    array([[1., 3., 2.]])
    """
    return _adaptive_avg_pool_input(1, input_size, grad_output, algorithm)


def adaptive_avg_pool2d_input(input_size: Any, grad_output: Any, *, algorithm: str = "auto") -> np.ndarray:
    """Gradient of `adaptive_avg_pool2d` with respect to its input; the output size is that of grad_output.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the input, (N, C, H, W) or (C, H, W).
    grad_output : array, shape (N, C, OH, OW) or (C, OH, OW), float32 or float64
    algorithm : {"auto", "reference"}
        As in `max_pool2d_input`.

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
    >>> fastconv.grad.adaptive_avg_pool2d_input((1, 2, 2), np.ones((1, 1, 1)))
    array([[[0.25, 0.25],
            [0.25, 0.25]]])
    """
    return _adaptive_avg_pool_input(2, input_size, grad_output, algorithm)


def adaptive_avg_pool3d_input(input_size: Any, grad_output: Any, *, algorithm: str = "auto") -> np.ndarray:
    """Gradient of `adaptive_avg_pool3d` with respect to its input; see `adaptive_avg_pool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.adaptive_avg_pool3d_input((1, 1, 1, 2), np.ones((1, 1, 1, 1)))
    array([[[[0.5, 0.5]]]])
    """
    return _adaptive_avg_pool_input(3, input_size, grad_output, algorithm)


def adaptive_max_pool1d_input(
    input_size: Any, indices: Any, grad_output: Any, *, algorithm: str = "auto"
) -> np.ndarray:
    """Gradient of `adaptive_max_pool1d` with respect to its input; arguments as in `max_pool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.adaptive_max_pool1d_input((1, 4), np.array([[3]]), np.array([[5.0]]))
    array([[0., 0., 0., 5.]])
    """
    return max_pool_input(1, input_size, indices, grad_output, algorithm)


def adaptive_max_pool2d_input(
    input_size: Any, indices: Any, grad_output: Any, *, algorithm: str = "auto"
) -> np.ndarray:
    """Gradient of `adaptive_max_pool2d` with respect to its input; arguments as in `max_pool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.adaptive_max_pool2d_input((1, 1, 4), np.array([[[3]]]), np.array([[[5.0]]]))
    array([[[0., 0., 0., 5.]]])
    """
    return max_pool_input(2, input_size, indices, grad_output, algorithm)


def adaptive_max_pool3d_input(
    input_size: Any, indices: Any, grad_output: Any, *, algorithm: str = "auto"
) -> np.ndarray:
    """Gradient of `adaptive_max_pool3d` with respect to its input; arguments as in `max_pool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.adaptive_max_pool3d_input((1, 1, 1, 4), np.array([[[[3]]]]), np.array([[[[5.0]]]]))
    array([[[[0., 0., 0., 5.]]]])
    """
    return max_pool_input(3, input_size, indices, grad_output, algorithm)
