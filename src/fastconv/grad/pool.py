"""Gradients of pooling with respect to its input; one function for every one of `fastconv.functional`.

Names and arguments follow `torch.nn.grad`: the shape of the input, what the forward call was given or gave,
and the gradient of its output.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv._kernels.pool import by_index as unpool
from fastconv._kernels.pool.plan import PoolPlan
from fastconv._kernels.reference.max_pool import ReferencePoolPlan, max_pool_gradient
from fastconv.algorithm import POOL_ALGORITHMS, check_algorithm
from fastconv.functional.pool import plan_by, pool_plan
from fastconv.geometry import (
    as_array,
    as_indices,
    as_shape,
    check_rank,
    check_shape,
    divisor,
    flag,
    index_outside,
    new_output,
    norm_power,
)


def checked_sizes(
    spatial_rank: int, input_size: Any, grad_output: Any
) -> tuple[tuple[int, ...], np.ndarray, bool]:
    """The input's shape, the gradient that fits it in batch and channels, and whether there is a batch."""
    grad_output = as_array("grad_output", grad_output)
    batched = check_rank("grad_output", grad_output.shape, spatial_rank)
    shape = as_shape("input_size", input_size, spatial_rank, batched)
    leading = grad_output.shape[:-spatial_rank]
    if shape[:-spatial_rank] != leading:
        raise ValueError(f"input_size={input_size!r}: must begin with {leading}, as grad_output does")
    return shape, grad_output, batched


def max_pool_input(
    spatial_rank: int, input_size: Any, indices: Any, grad_output: Any, algorithm: str = "auto"
) -> np.ndarray:
    check_algorithm(algorithm, POOL_ALGORITHMS)
    shape, grad_output, batched = checked_sizes(spatial_rank, input_size, grad_output)
    indices = as_indices("indices", indices, grad_output.shape)
    out = new_output(shape, grad_output.dtype, grad_output, batched)
    scatter_add = max_pool_gradient if algorithm == "reference" else unpool.scatter_add
    gradient = scatter_add(grad_output, indices, out, spatial_rank, batched)
    if gradient is None:
        raise index_outside("indices", indices, math.prod(shape[-spatial_rank:]))
    return gradient


def max_pool_vjp(plan: PoolPlan, input: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """The maxima of a plan, and their gradient as a function of that of the output.

    Where few windows overlap, that function holds a byte per output in place of an index.
    """
    output, positions = plan.maximum_and_positions(input)
    indices = None
    if output is None or positions is None:
        output, indices = plan.maximum(input, True)
    shape, spatial_rank = input.shape, plan.geometry.spatial_rank

    def backprop(grad_output: np.ndarray) -> np.ndarray:
        grad_output = as_array("grad_output", grad_output)
        check_shape("grad_output", grad_output, plan.geometry.output_shape)
        if positions is None:
            return max_pool_input(spatial_rank, shape, indices, grad_output)
        return plan.position_gradient(positions, grad_output)

    return output, backprop


def spread(
    plan: PoolPlan | ReferencePoolPlan,
    grad_output: np.ndarray,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """The gradient of an average, back to the elements averaged."""
    check_shape("grad_output", grad_output, plan.geometry.output_shape)
    counted = flag("count_include_pad", count_include_pad)
    return plan.average_gradient(grad_output, counted, divisor(divisor_override))


def _avg_pool_input(
    spatial_rank: int,
    input_size: Any,
    grad_output: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    algorithm: str,
) -> np.ndarray:
    shape, grad_output, _ = checked_sizes(spatial_rank, input_size, grad_output)
    plan = plan_by(algorithm, pool_plan(spatial_rank, shape, kernel_size, stride, padding, 1, ceil_mode))
    return spread(plan, grad_output, count_include_pad, divisor_override)


def _lp_pool_input(
    spatial_rank: int,
    input: Any,
    output: Any,
    grad_output: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any,
    ceil_mode: bool,
    algorithm: str,
) -> np.ndarray:
    input = as_array("input", input)
    check_rank("input", input.shape, spatial_rank)
    output = as_array("output", output, input.dtype)
    grad_output = as_array("grad_output", grad_output, input.dtype)
    norm = norm_power(norm_type)
    plan = plan_by(algorithm, pool_plan(spatial_rank, input.shape, kernel_size, stride, 0, 1, ceil_mode))
    check_shape("output", output, plan.geometry.output_shape)
    check_shape("grad_output", grad_output, plan.geometry.output_shape)
    if math.isfinite(norm):
        return plan.norm_gradient(input, output, grad_output, norm)
    indices = plan.maximum(input, True, norm)[1]
    out = max_pool_input(spatial_rank, input.shape, indices, grad_output, algorithm)
    for image, gradient in zip(input, out):  # one at a time: no temporary as large as the batch
        gradient *= np.sign(image)
    return out


def max_pool1d_input(
    input_size: Any, indices: Any, grad_output: Any, *, algorithm: str = "auto"
) -> np.ndarray:
    """Gradient of `max_pool1d` with respect to its input; see `max_pool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.max_pool1d_input((1, 4), np.array([[1, 2]]), np.array([[5.0, 6.0]]))
    array([[0., 5., 6., 0.]])
    """
    return max_pool_input(1, input_size, indices, grad_output, algorithm)


def max_pool2d_input(
    input_size: Any, indices: Any, grad_output: Any, *, algorithm: str = "auto"
) -> np.ndarray:
    """Gradient of `max_pool2d` with respect to its input: each value to the place its maximum was found.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the input, (N, C, H, W) or (C, H, W).
    indices : array of int64, shape (N, C, OH, OW) or (C, OH, OW)
        As returned by `max_pool2d(..., return_indices=True)`.
    grad_output : array, same shape, float32 or float64
    algorithm : {"auto", "reference"}
        "reference" computes by plain loops, whose meaning "auto" has, only faster.

    Returns
    -------
    ndarray of shape `input_size`
        Where windows overlap, the gradients of one place are added up in scan order.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been written.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> output, indices = fastconv.max_pool2d(np.ones((1, 2, 4)), 2, return_indices=True)
    >>> fastconv.grad.max_pool2d_input((1, 2, 4), indices, np.array([[[5.0, 6.0]]]))
    array([[[5., 0., 6., 0.],
            [0., 0., 0., 0.]]])
    """
    return max_pool_input(2, input_size, indices, grad_output, algorithm)


def max_pool3d_input(
    input_size: Any, indices: Any, grad_output: Any, *, algorithm: str = "auto"
) -> np.ndarray:
    """Gradient of `max_pool3d` with respect to its input; see `max_pool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.max_pool3d_input((1, 1, 1, 2), np.array([[[[1]]]]), np.array([[[[5.0]]]]))
    array([[[[0., 5.]]]])
    """
    return max_pool_input(3, input_size, indices, grad_output, algorithm)


def avg_pool1d_input(
    input_size: Any,
    grad_output: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient of `avg_pool1d` with respect to its input; see `avg_pool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.avg_pool1d_input((1, 4), np.array([[5.0, 6.0]]), 2)
    array([[2.5, 2.5, 3. , 3. ]])
    """
    return _avg_pool_input(
        1,
        input_size,
        grad_output,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        algorithm,
    )


def avg_pool2d_input(
    input_size: Any,
    grad_output: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient of `avg_pool2d` with respect to its input: each value in equal shares to its window.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the input, (N, C, H, W) or (C, H, W).
    grad_output : array, shape (N, C, OH, OW) or (C, OH, OW), float32 or float64
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As given to `avg_pool2d`.
    algorithm : {"auto", "reference"}
        As in `max_pool2d_input`.

    Returns
    -------
    ndarray of shape `input_size`
        Where windows overlap, their shares are added up in scan order.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been written.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.avg_pool2d_input((1, 3, 3), np.ones((1, 2, 2)), 2, stride=1)
    array([[[0.25, 0.5 , 0.25],
            [0.5 , 1.  , 0.5 ],
            [0.25, 0.5 , 0.25]]])
    """
    return _avg_pool_input(
        2,
        input_size,
        grad_output,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        algorithm,
    )


def avg_pool3d_input(
    input_size: Any,
    grad_output: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient of `avg_pool3d` with respect to its input; see `avg_pool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.avg_pool3d_input((1, 1, 1, 2), np.array([[[[5.0]]]]), (1, 1, 2))
    array([[[[2.5, 2.5]]]])
    """
    return _avg_pool_input(
        3,
        input_size,
        grad_output,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        algorithm,
    )


def lp_pool1d_input(
    input: Any,
    output: Any,
    grad_output: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient of `lp_pool1d` with respect to its input; see `lp_pool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.lp_pool1d_input(np.array([[3.0, 4.0]]), np.array([[5.0]]), np.array([[1.0]]), 2, 2)
    array([[0.6, 0.8]])
    """
    return _lp_pool_input(1, input, output, grad_output, norm_type, kernel_size, stride, ceil_mode, algorithm)


def lp_pool2d_input(
    input: Any,
    output: Any,
    grad_output: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient of `lp_pool2d` with respect to its input.

    Each element x of a window of norm y gets `(x / y)^(p - 1)` of its gradient, and nothing where y is 0.
    If p is negative, but not even, the zeros of a window get the limit that this has for them, all alike.
    With an infinite p all goes to the first element of greatest (p = -inf: least) absolute value.

    Parameters
    ----------
    input, output : arrays, shapes (N, C, H, W) and (N, C, OH, OW), or without N, float32 or float64
        Of the forward call.
    grad_output : array, shape of `output`, same dtype
    norm_type, kernel_size, stride, ceil_mode
        As given to `lp_pool2d`.
    algorithm : {"auto", "reference"}
        As in `max_pool2d_input`.

    Returns
    -------
    ndarray, shape of `input`

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been written.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> input = np.array([[[3.0, 4.0]]])
    >>> output = fastconv.lp_pool2d(input, 2, (1, 2))
    >>> fastconv.grad.lp_pool2d_input(input, output, np.ones((1, 1, 1)), 2, (1, 2))
    array([[[0.6, 0.8]]])
    """
    return _lp_pool_input(2, input, output, grad_output, norm_type, kernel_size, stride, ceil_mode, algorithm)


def lp_pool3d_input(
    input: Any,
    output: Any,
    grad_output: Any,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient of `lp_pool3d` with respect to its input; see `lp_pool2d_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> input = np.array([[[[3.0, 4.0]]]])
    >>> fastconv.grad.lp_pool3d_input(input, np.array([[[[5.0]]]]), np.array([[[[1.0]]]]), 2, (1, 1, 2))
    array([[[[0.6, 0.8]]]])
    """
    return _lp_pool_input(3, input, output, grad_output, norm_type, kernel_size, stride, ceil_mode, algorithm)
