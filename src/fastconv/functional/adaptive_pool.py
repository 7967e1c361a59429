"""Pooling to a given size: windows adapt to the input."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, overload

import numpy as np

from fastconv._kernels.pool.plan import PoolPlan
from fastconv.algorithm import PLANS
from fastconv.functional.pool import plan_by
from fastconv.geometry import adaptive_pool_geometry, as_array, check_rank, flag, hashable


@lru_cache(maxsize=PLANS)
def _plan(spatial_rank: int, input_shape: tuple[int, ...], output_size: Any) -> PoolPlan:
    check_rank("input", input_shape, spatial_rank)
    return PoolPlan(adaptive_pool_geometry(input_shape, output_size, spatial_rank))


def adaptive_plan(spatial_rank: int, input_shape: tuple[int, ...], output_size: Any) -> PoolPlan:
    """The plan of an adaptive pooling of `input_shape`; remembered."""
    if isinstance(output_size, (tuple, list)):
        output_size = tuple(None if size is None else hashable("output_size", size) for size in output_size)
    else:
        output_size = hashable("output_size", output_size)
    return _plan(spatial_rank, input_shape, output_size)


def _adaptive_avg_pool(spatial_rank: int, input: Any, output_size: Any, algorithm: str) -> np.ndarray:
    input = as_array("input", input)
    return plan_by(algorithm, adaptive_plan(spatial_rank, input.shape, output_size)).average(input)


def _adaptive_max_pool(
    spatial_rank: int, input: Any, output_size: Any, return_indices: bool, algorithm: str
) -> Any:
    input = as_array("input", input)
    plan = plan_by(algorithm, adaptive_plan(spatial_rank, input.shape, output_size))
    return plan.maximum(input, flag("return_indices", return_indices))


def adaptive_avg_pool1d(input: Any, output_size: Any, *, algorithm: str = "auto") -> np.ndarray:
    """1-D average-pooling of (N, C, W) or (C, W) to a given size; see `adaptive_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_avg_pool1d(np.array([[1.0, 3.0, 2.0]]), 2)
    array([[2. , 2.5]])
    """
    return _adaptive_avg_pool(1, input, output_size, algorithm)


def adaptive_avg_pool2d(input: Any, output_size: Any, *, algorithm: str = "auto") -> np.ndarray:
    """2-D average-pooling to a given size.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W), float32 or float64
    output_size : int, or one int or None per axis
        (OH, OW); None keeps the input's. Output row o is the mean of rows `floor(o * H / OH)` to
        `ceil((o + 1) * H / OH)`: windows overlap where OH does not divide H.
    algorithm : {"auto", "reference"}
        As in `max_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, OH, OW) or (C, OH, OW)

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_avg_pool2d(np.ones((1, 8, 7, 5)), (3, None)).shape
    (1, 8, 3, 5)
    """
    return _adaptive_avg_pool(2, input, output_size, algorithm)


def adaptive_avg_pool3d(input: Any, output_size: Any, *, algorithm: str = "auto") -> np.ndarray:
    """3-D average-pooling of (N, C, D, H, W) or (C, D, H, W) to a given size; see `adaptive_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_avg_pool3d(np.ones((1, 2, 5, 5, 5)), 2).shape
    (1, 2, 2, 2, 2)
    """
    return _adaptive_avg_pool(3, input, output_size, algorithm)


@overload
def adaptive_max_pool1d(
    input: Any, output_size: Any, return_indices: Literal[False] = ..., *, algorithm: str = ...
) -> np.ndarray: ...
@overload
def adaptive_max_pool1d(
    input: Any, output_size: Any, return_indices: Literal[True], *, algorithm: str = ...
) -> tuple[np.ndarray, np.ndarray]: ...
def adaptive_max_pool1d(
    input: Any, output_size: Any, return_indices: bool = False, *, algorithm: str = "auto"
) -> Any:
    """1-D max-pooling of (N, C, W) or (C, W) to a given size; see `adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_max_pool1d(np.array([[1.0, 3.0, 2.0]]), 2)
    array([[3., 3.]])
    """
    return _adaptive_max_pool(1, input, output_size, return_indices, algorithm)


@overload
def adaptive_max_pool2d(
    input: Any, output_size: Any, return_indices: Literal[False] = ..., *, algorithm: str = ...
) -> np.ndarray: ...
@overload
def adaptive_max_pool2d(
    input: Any, output_size: Any, return_indices: Literal[True], *, algorithm: str = ...
) -> tuple[np.ndarray, np.ndarray]: ...
def adaptive_max_pool2d(
    input: Any, output_size: Any, return_indices: bool = False, *, algorithm: str = "auto"
) -> Any:
    """2-D max-pooling to a given size; windows as in `adaptive_avg_pool2d`, the rest as in `max_pool2d`.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W), float32 or float64
    output_size : int, or one int or None per axis
    return_indices : bool, default False
    algorithm : {"auto", "reference"}

    Returns
    -------
    output : ndarray, shape (N, C, OH, OW) or (C, OH, OW)
    indices : ndarray of int64, same shape, if `return_indices`

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_max_pool2d(np.arange(9.0).reshape(1, 3, 3), 2)
    array([[[4., 5.],
            [7., 8.]]])
    """
    return _adaptive_max_pool(2, input, output_size, return_indices, algorithm)


@overload
def adaptive_max_pool3d(
    input: Any, output_size: Any, return_indices: Literal[False] = ..., *, algorithm: str = ...
) -> np.ndarray: ...
@overload
def adaptive_max_pool3d(
    input: Any, output_size: Any, return_indices: Literal[True], *, algorithm: str = ...
) -> tuple[np.ndarray, np.ndarray]: ...
def adaptive_max_pool3d(
    input: Any, output_size: Any, return_indices: bool = False, *, algorithm: str = "auto"
) -> Any:
    """3-D max-pooling of (N, C, D, H, W) or (C, D, H, W) to a given size; see `adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_max_pool3d(np.ones((1, 2, 5, 5, 5)), 2).shape
    (1, 2, 2, 2, 2)
    """
    return _adaptive_max_pool(3, input, output_size, return_indices, algorithm)


def _global_rank(input: np.ndarray, batched: bool) -> int:
    spatial_rank = input.ndim - 1 - flag("batched", batched)
    if not 1 <= spatial_rank <= 3:
        raise ValueError(f"input: shape {input.shape} with batched={batched} must have 1 to 3 spatial axes")
    return spatial_rank


def global_avg_pool(input: Any, batched: bool = True, *, algorithm: str = "auto") -> np.ndarray:
    """The mean of every plane.

    Parameters
    ----------
    input : array, shape (N, C, *spatial), or (C, *spatial) if not `batched`, float32 or float64
        One to three spatial axes.
    batched : bool, default True
    algorithm : {"auto", "reference"}
        As in `max_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, 1, ...) or (C, 1, ...)
        As many axes as the input.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Notes
    -----
    Lin, Chen & Yan, "Network in network", arXiv:1312.4400.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.global_avg_pool(np.ones((8, 16, 7, 7))).shape
    (8, 16, 1, 1)
    """
    input = as_array("input", input)
    return _adaptive_avg_pool(_global_rank(input, batched), input, 1, algorithm)


def global_max_pool(input: Any, batched: bool = True, *, algorithm: str = "auto") -> np.ndarray:
    """The maximum of every plane; arguments and shapes as in `global_avg_pool`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.global_max_pool(np.arange(4.0).reshape(1, 2, 2), batched=False)
    array([[[3.]]])
    """
    input = as_array("input", input)
    output: np.ndarray = _adaptive_max_pool(_global_rank(input, batched), input, 1, False, algorithm)
    return output
