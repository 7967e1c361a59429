"""Pooling: maxima, averages and norms of windows.

Names, defaults and meaning follow `torch.nn.functional`, with these deliberate differences:

- `padding` may also be one (before, after) pair per axis, "valid" or "same", and may be up to half of the
  *dilated* window; a window that would cover no element at all is refused (torch gives an index outside the
  input).
- Of several NaNs in a window, the index of the first is returned (torch: of the last).
- `avg_pool1d` takes `divisor_override` too. `avg_pool3d` takes a window larger than the input where the
  padded input holds it, as the others do. An adaptive `output_size` of 0 is refused.
- `lp_pool` neither overflows nor vanishes where powers of its elements do. Where a window's sum of powers is
  0, so is its share of the gradient, for every `norm_type` (torch: NaN below 1).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal, overload

import numpy as np

from fastconv._kernels.pool.plan import PoolPlan
from fastconv._kernels.reference.max_pool import ReferencePoolPlan
from fastconv.algorithm import PLANS, POOL_ALGORITHMS, check_algorithm
from fastconv.geometry import (
    as_array,
    check_allocation,
    check_rank,
    divisor,
    flag,
    hashable,
    norm_power,
    pool_geometry,
)


@lru_cache(maxsize=PLANS)
def _plan(
    input_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    spatial_rank: int,
) -> PoolPlan:
    """Everything about a call that follows from shapes and parameters: checked once, then remembered."""
    check_rank("input", input_shape, spatial_rank)
    return PoolPlan(
        pool_geometry(input_shape, kernel_size, stride, padding, dilation, ceil_mode, spatial_rank)
    )


def pool_plan(
    spatial_rank: int,
    input_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> PoolPlan:
    """The plan of a pooling of `input_shape`; remembered."""
    return _plan(
        input_shape,
        kernel_size if type(kernel_size) is int else hashable("kernel_size", kernel_size),
        stride if stride is None or type(stride) is int else hashable("stride", stride),
        padding if type(padding) is int else hashable("padding", padding),
        dilation if type(dilation) is int else hashable("dilation", dilation),
        flag("ceil_mode", ceil_mode),
        spatial_rank,
    )


def plan_by(algorithm: str, plan: PoolPlan) -> PoolPlan | ReferencePoolPlan:
    """The plan that carries out the pooling of `plan` by the algorithm named."""
    if isinstance(algorithm, str) and algorithm == "auto":  # first: most calls are tiny calls
        return plan
    check_algorithm(algorithm, POOL_ALGORITHMS)
    for shape in (plan.geometry.input_shape, plan.geometry.output_shape):
        check_allocation(shape, np.dtype(np.float64))
    return ReferencePoolPlan(plan.geometry)


def _max_pool(
    spatial_rank: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
    algorithm: str,
) -> Any:
    input = as_array("input", input)
    plan = pool_plan(spatial_rank, input.shape, kernel_size, stride, padding, dilation, ceil_mode)
    return plan_by(algorithm, plan).maximum(input, flag("return_indices", return_indices))


def _avg_pool(
    spatial_rank: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    algorithm: str,
) -> np.ndarray:
    input = as_array("input", input)
    plan = plan_by(
        algorithm, pool_plan(spatial_rank, input.shape, kernel_size, stride, padding, 1, ceil_mode)
    )
    return plan.average(input, flag("count_include_pad", count_include_pad), divisor(divisor_override))


def _lp_pool(
    spatial_rank: int,
    input: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any,
    ceil_mode: bool,
    algorithm: str,
) -> np.ndarray:
    input = as_array("input", input)
    norm = norm_power(norm_type)
    plan = plan_by(algorithm, pool_plan(spatial_rank, input.shape, kernel_size, stride, 0, 1, ceil_mode))
    if math.isinf(norm):
        maxima: np.ndarray = plan.maximum(input, norm=norm)
        return maxima
    return plan.average(input, norm=norm)


@overload
def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = ...,
    padding: Any = ...,
    dilation: Any = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
    *,
    algorithm: str = ...,
) -> np.ndarray: ...
@overload
def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = ...,
    padding: Any = ...,
    dilation: Any = ...,
    ceil_mode: bool = ...,
    *,
    return_indices: Literal[True],
    algorithm: str = ...,
) -> tuple[np.ndarray, np.ndarray]: ...
def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    algorithm: str = "auto",
) -> Any:
    """1-D max-pooling of (N, C, W) or (C, W); everything else as `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.max_pool1d(np.array([[1.0, 3.0, 2.0, 0.0]]), 2)
    array([[3., 2.]])
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, algorithm)


@overload
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = ...,
    padding: Any = ...,
    dilation: Any = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
    *,
    algorithm: str = ...,
) -> np.ndarray: ...
@overload
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = ...,
    padding: Any = ...,
    dilation: Any = ...,
    ceil_mode: bool = ...,
    *,
    return_indices: Literal[True],
    algorithm: str = ...,
) -> tuple[np.ndarray, np.ndarray]: ...
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    algorithm: str = "auto",
) -> Any:
    """2-D max-pooling: the maximum of every window, and where it was found.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W), float32 or float64
        Any strides (channels-last, sliced, reversed, broadcast, read-only): it is read where it lies.
    kernel_size : int or one int per axis
        Elements of a window.
    stride : int or one int per axis, default `kernel_size`
        Elements from one window to the next; `()`, as torch writes it, is the default too.
    padding : int, one int per axis, one (before, after) pair per axis, "valid" or "same", default 0
        Elements of -inf around the input, at most half of the dilated window.
    dilation : int or one int per axis, default 1
        Elements from one element of a window to the next.
    ceil_mode : bool, default False
        Keep windows that hang over the end, unless they would start behind the input.
    return_indices : bool, default False
    algorithm : {"auto", "reference"}
        "reference" computes by plain loops, whose meaning "auto" has, only faster.

    Returns
    -------
    output : ndarray, shape (N, C, OH, OW) or (C, OH, OW)
        `OH = (H + before + after - dilation * (KH - 1) - 1) / stride + 1`, rounded down, or up with
        `ceil_mode`. NaN if a window holds one. Channels-last in memory if the input is.
    indices : ndarray of int64, same shape, if `return_indices`
        Flat position of each maximum in its plane, `y * W + x`; of equal maxima, or of several NaNs, the
        first in scan order.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.
    MemoryError
        The output cannot be allocated.

    Notes
    -----
    A wide window costs no more than a narrow one: maxima run along the axes, after van Herk (1992) and Gil &
    Werman (1993); so do the sums of `avg_pool2d` and of its gradient.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> picture = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> output, indices = fastconv.max_pool2d(picture, 2, ceil_mode=True, return_indices=True)
    >>> output[0, 0]
    array([[4., 5.],
           [7., 8.]])
    >>> indices[0, 0]
    array([[4, 5],
           [7, 8]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, algorithm)


@overload
def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = ...,
    padding: Any = ...,
    dilation: Any = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
    *,
    algorithm: str = ...,
) -> np.ndarray: ...
@overload
def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = ...,
    padding: Any = ...,
    dilation: Any = ...,
    ceil_mode: bool = ...,
    *,
    return_indices: Literal[True],
    algorithm: str = ...,
) -> tuple[np.ndarray, np.ndarray]: ...
def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    algorithm: str = "auto",
) -> Any:
    """3-D max-pooling of (N, C, D, H, W) or (C, D, H, W); indices are `(z * H + y) * W + x`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.max_pool3d(np.ones((1, 2, 4, 4, 4)), 2).shape
    (1, 2, 2, 2, 2)
    """
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, algorithm)


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """1-D average-pooling of (N, C, W) or (C, W); everything else as `avg_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.avg_pool1d(np.array([[1.0, 3.0, 2.0, 0.0]]), 2)
    array([[2., 1.]])
    """
    return _avg_pool(
        1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, algorithm
    )


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """2-D average-pooling: the mean of every window.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W), float32 or float64
    kernel_size, stride, padding, ceil_mode
        As in `max_pool2d`, but the padding is of zeros.
    count_include_pad : bool, default True
        Divide by the elements of the window that lie within the padded input, rather than within the input.
        Where a window of `ceil_mode` leaves even the padding, what lies beyond is never counted.
    divisor_override : int, optional
        Divide every sum by this instead; 1 gives sum-pooling.
    algorithm : {"auto", "reference"}
        As in `max_pool2d`.

    Returns
    -------
    ndarray, shape (N, C, OH, OW) or (C, OH, OW)
        Sums are formed in double precision.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.avg_pool2d(np.ones((1, 1, 4, 4)), 3, stride=2, padding=1, ceil_mode=True)[0, 0].round(2)
    array([[0.44, 0.67, 0.33],
           [0.67, 1.  , 0.5 ],
           [0.33, 0.5 , 0.25]])
    """
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, algorithm
    )


def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """3-D average-pooling of (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.avg_pool3d(np.ones((1, 1, 2, 2, 2)), 2)
    array([[[[[1.]]]]])
    """
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, algorithm
    )


def lp_pool1d(
    input: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """1-D power-average pooling of (N, C, W) or (C, W); see `lp_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.lp_pool1d(np.array([[3.0, 4.0, 0.0, 2.0]]), 2, 2)
    array([[5., 2.]])
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode, algorithm)


def lp_pool2d(
    input: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """2-D power-average pooling: the p-th root of the sum of every window's p-th powers.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W), float32 or float64
    norm_type : float, not 0
        The power p. 1 gives sums; inf the maximum of absolute values, -inf their minimum. Odd powers keep
        signs, and a negative sum has no real root: NaN.
    kernel_size, stride, ceil_mode, algorithm
        As in `max_pool2d`. The sum of a window that hangs over the end is scaled up to a whole window's.

    Returns
    -------
    ndarray, shape (N, C, OH, OW) or (C, OH, OW)
        Finite wherever the norm itself is, however large or small the powers.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.

    Notes
    -----
    Sermanet, Chintala & LeCun, "Convolutional neural networks applied to house numbers digit classification",
    arXiv:1204.3968.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.lp_pool2d(np.array([[[3.0, 4.0]]]), 2, (1, 2))
    array([[[5.]]])
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode, algorithm)


def lp_pool3d(
    input: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """3-D power-average pooling of (N, C, D, H, W) or (C, D, H, W); see `lp_pool2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.lp_pool3d(np.ones((1, 2, 2, 2)), 1, 2)
    array([[[[8.]]]])
    """
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode, algorithm)
