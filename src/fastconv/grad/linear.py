"""Gradients of the fully connected layer; a bias gradient is the sum of grad_output over all other axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._kernels.conv.matmul import multiply
from fastconv.algorithm import plan
from fastconv.functional.linear import as_images, check_linear_weight, linear_geometry, product_plan
from fastconv.geometry import as_array, check_allocation, check_out, check_shape
from fastconv.grad.bias import channel_sums

#: Elements of grad_output up to which it may be the matrix that a product packs whole.
PACKED = 2**18


def linear_input(weight: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `linear` with respect to its input.

    Parameters
    ----------
    weight : array, shape (K, C), float32 or float64
    grad_output : array, shape (..., K), same dtype

    Returns
    -------
    ndarray, shape (..., C)

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.linear_input(np.ones((2, 3)), np.ones((1, 2)))
    array([[2., 2., 2.]])
    """
    grad_output = as_array("grad_output", grad_output)
    weight = as_array("weight", weight, grad_output.dtype)
    check_linear_weight(weight)
    if grad_output.ndim < 1 or grad_output.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"grad_output: shape {grad_output.shape} must end in the {weight.shape[0]} out features of weight"
        )
    check_allocation((*grad_output.shape[:-1], weight.shape[1]), weight.dtype)
    out = np.empty((*grad_output.shape[:-1], weight.shape[1]), weight.dtype)
    if not out.size:
        return out
    if grad_output.ndim == 2 and grad_output.size <= PACKED:  # weight is read along its rows, as it lies
        multiply(
            product_plan(*grad_output.shape, weight.shape[1]), grad_output, False, weight, False, out, False
        )
    else:
        rows, out_rows = as_images(grad_output, out)
        geometry = linear_geometry(out_rows.shape, weight.shape)
        weight = weight.reshape(geometry.weight_shape)
        plan(geometry, "input_gradient", "direct", "highest").run(rows, weight, None, out_rows)
    return out


def linear_weight(input: Any, grad_output: Any, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `linear` with respect to its weight, summed over all rows.

    Parameters
    ----------
    input : array, shape (..., C), float32 or float64
    grad_output : array, shape (..., K), same dtype
    out : ndarray, optional
        Where to write the result; must not overlap an argument.

    Returns
    -------
    ndarray, shape (K, C)

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.linear_weight(np.ones((4, 3)), np.ones((4, 2)))
    array([[4., 4., 4.],
           [4., 4., 4.]])
    """
    input = as_array("input", input)
    grad_output = as_array("grad_output", grad_output, input.dtype)
    if input.ndim < 1 or grad_output.ndim < 1 or 0 in (input.shape[-1], grad_output.shape[-1]):
        raise ValueError(
            f"input: shape {input.shape} and grad_output: shape {grad_output.shape} must have features"
        )
    check_shape("grad_output", grad_output, (*input.shape[:-1], grad_output.shape[-1]))
    shape = grad_output.shape[-1], input.shape[-1]
    if out is None:
        check_allocation(shape, input.dtype)
        out = np.empty(shape, input.dtype)
    else:
        check_out(out, shape, input.dtype, {"input": input, "grad_output": grad_output})
    if not input.size:
        out.fill(0)
    elif input.ndim == 2 and grad_output.size <= PACKED:
        product = product_plan(shape[0], len(input), shape[1])
        multiply(product, grad_output, True, input, False, out, False)
    else:
        rows, gradients = as_images(input, grad_output)
        geometry = linear_geometry(rows.shape, shape)
        made = out.reshape(geometry.weight_shape)
        plan(geometry, "weight_gradient", "auto", "highest").run(rows, gradients, None, made)
        if not np.may_share_memory(made, out):  # strides that no reshape can follow
            out[...] = made.reshape(shape)
    return out


def linear_bias(grad_output: Any) -> np.ndarray:
    """Gradient of `linear` with respect to its bias: the sum of grad_output (..., K) over its rows.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.linear_bias(np.ones((4, 2)))
    array([4., 4.])
    """
    grad_output = as_array("grad_output", grad_output)
    if grad_output.ndim < 1:
        raise ValueError(f"grad_output: shape {grad_output.shape} has no feature axis")
    return channel_sums(grad_output, grad_output.ndim - 1)
