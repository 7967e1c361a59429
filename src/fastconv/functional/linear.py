"""The fully connected layer: a product of matrices."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fastconv._kernels.conv.direct import ACTIVATIONS, DensePlan
from fastconv._kernels.conv.matmul import multiply
from fastconv.algorithm import PLANS, check_activation, plan
from fastconv.functional.conv import check_bias
from fastconv.geometry import ConvGeometry, as_array, check_allocation, conv_geometry


def linear(input: Any, weight: Any, bias: Any = None, *, activation: str | None = None) -> np.ndarray:
    """Fully connected layer: every input value gets a weighted vote for each output.

    Computed as a 1x1 convolution with the rows as pixels, so it keeps the same promises (same bits at any
    number of threads, a row's result independent of its neighbours).

    Parameters
    ----------
    input : array, shape (..., C), float32 or float64
    weight : array, shape (K, C), same dtype
    bias : array, shape (K,), same dtype, optional
    activation : {None, "relu", "leaky_relu", "relu6"}
        Applied after the bias; "leaky_relu" has slope 0.01.

    Returns
    -------
    ndarray, shape (..., K)

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.linear(np.ones((1, 3)), np.ones((2, 3)))
    array([[3., 3.]])
    """
    input = as_array("input", input)
    weight = as_array("weight", weight, input.dtype)
    check_linear_weight(weight)
    check_activation(activation)
    if input.ndim < 1 or input.shape[-1] != weight.shape[1]:
        raise ValueError(f"input: shape {input.shape} must end in the {weight.shape[1]} features of weight")
    if bias is not None:
        bias = check_bias(bias, weight.shape[0], input.dtype)
    check_allocation((*input.shape[:-1], weight.shape[0]), input.dtype)
    out = np.empty((*input.shape[:-1], weight.shape[0]), input.dtype)
    if not out.size:
        return out
    if input.ndim == 2:
        product = product_plan(out.shape[1], input.shape[1], out.shape[0])
        multiply(product, weight, False, input, True, out, True, bias, ACTIVATIONS[activation])
    else:
        rows, out_rows = as_images(input, out)
        geometry = linear_geometry(rows.shape, weight.shape)
        weight = weight.reshape(geometry.weight_shape)
        plan(geometry, "forward", "direct", "highest").run(
            rows, weight, bias, out_rows, ACTIVATIONS[activation]
        )
    return out


def as_images(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """View arrays (..., C) with the same leading axes as unbatched images (C, *spatial), rows as pixels.

    Neighbouring axes are joined where the memory of all arrays lets them; up to three that cannot be joined
    stay as they are. Only beyond that the arrays are copied.
    """
    sizes: list[int] = []
    inner = None
    for axis in range(arrays[0].ndim - 1):
        size = arrays[0].shape[axis]
        if size == 1:
            continue
        if inner is not None and all(a.strides[inner] == a.strides[axis] * size for a in arrays):
            sizes[-1] *= size
        else:
            sizes.append(size)
        inner = axis
    if len(sizes) not in (1, 2, 3):
        sizes = [prod(sizes)]
    return tuple(np.moveaxis(a.reshape(*sizes, a.shape[-1]), -1, 0) for a in arrays)


@lru_cache(maxsize=PLANS)
def product_plan(rows: int, depth: int, columns: int) -> DensePlan:
    """The plan that `multiply` takes for a product of (rows, depth) and (depth, columns)."""
    geometry = conv_geometry((depth, columns), (rows, depth, 1), 1, 0, 1, 1, 1)
    product = plan(geometry, "forward", "direct", "highest")
    assert isinstance(product, DensePlan)
    return product


@lru_cache(maxsize=PLANS)
def linear_geometry(image_shape: tuple[int, ...], weight_shape: tuple[int, int]) -> ConvGeometry:
    """`linear` of rows seen as an image (C, *spatial) with (K, C): a convolution by one kernel element."""
    spatial_rank = len(image_shape) - 1
    return conv_geometry(image_shape, (*weight_shape, *(1,) * spatial_rank), 1, 0, 1, 1, spatial_rank)


def check_linear_weight(weight: np.ndarray) -> None:
    """Raise `ValueError` unless `weight` is (K, C), neither axis empty."""
    if weight.ndim != 2 or 0 in weight.shape:
        raise ValueError(f"weight: shape {weight.shape} must be (out features, in features), neither empty")
