"""What autograd differentiates: primitives whose gradients are primitives again."""

from __future__ import annotations

from typing import Any

import numpy as np
from autograd.extend import defvjp, notrace_primitive, primitive

from fastconv.interop.calls import (
    AVG_POOL,
    AVG_POOL_INPUT,
    CONV,
    CONV_INPUT,
    CONV_WEIGHT,
    MAX_POOL,
    MAX_POOL_INPUT,
    AvgCall,
    ConvCall,
    MaxCall,
    Shape,
)


def _as(gradient: Any, like: np.ndarray) -> np.ndarray:
    """A gradient that came through other people's functions, in the dtype of what it belongs to."""
    return np.asarray(gradient, like.dtype)


# ---- convolution: three primitives -------------------------------------------------------------------


@primitive
def convolution(input: np.ndarray, weight: np.ndarray, call: ConvCall) -> Any:
    return CONV[len(call.stride)](_as(input, weight), weight, None, *call)


@primitive
def convolution_input(size: Shape, weight: np.ndarray, grad_output: np.ndarray, call: ConvCall) -> Any:
    return CONV_INPUT[len(call.stride)](size, weight, _as(grad_output, weight), *call)


@primitive
def convolution_weight(input: np.ndarray, size: Shape, grad_output: np.ndarray, call: ConvCall) -> Any:
    return CONV_WEIGHT[len(call.stride)](input, size, _as(grad_output, input), *call)


defvjp(
    convolution,
    lambda _, input, weight, call: lambda g: convolution_input(input.shape, weight, g, call),
    lambda _, input, weight, call: lambda g: convolution_weight(input, weight.shape, g, call),
    argnums=(0, 1),
)
defvjp(
    convolution_input,
    lambda _, size, weight, output, call: lambda g: convolution_weight(g, weight.shape, output, call),
    lambda _, size, weight, output, call: lambda g: convolution(g, weight, call),
    argnums=(1, 2),
)
defvjp(
    convolution_weight,
    lambda _, input, size, output, call: lambda g: convolution_input(input.shape, g, output, call),
    lambda _, input, size, output, call: lambda g: convolution(input, g, call),
    argnums=(0, 2),
)

# ---- pools -------------------------------------------------------------------------------------------


@primitive
def max_pool(input: np.ndarray, call: MaxCall) -> Any:
    return MAX_POOL[len(call.stride)](input, *call)


@notrace_primitive
def _where_largest(input: np.ndarray, call: MaxCall) -> Any:
    return MAX_POOL[len(call.stride)](input, *call, return_indices=True)[1]


@primitive
def _scatter(size: Shape, indices: np.ndarray, values: np.ndarray, rank: int) -> Any:
    """Values added up where a max-pool found them."""
    return MAX_POOL_INPUT[rank](size, indices, values)


@primitive
def _gather(planes: np.ndarray, indices: np.ndarray, rank: int) -> Any:
    """Values taken from where a max-pool found its own."""
    flat = planes.reshape(*planes.shape[:-rank], -1)
    places = indices.reshape(*indices.shape[:-rank], -1)
    return np.take_along_axis(flat, places, -1).reshape(indices.shape)


@primitive
def avg_pool(input: np.ndarray, call: AvgCall) -> Any:
    return AVG_POOL[len(call.stride)](input, *call)


@primitive
def _spread(size: Shape, grad_output: np.ndarray, call: AvgCall) -> Any:
    return AVG_POOL_INPUT[len(call.stride)](size, grad_output, *call)


def _max_pool_vjp(_: Any, input: Any, call: MaxCall) -> Any:
    indices = _where_largest(input, call)
    return lambda g: _scatter(input.shape, indices, g, len(call.stride))


defvjp(max_pool, _max_pool_vjp, argnums=(0,))
defvjp(
    _scatter,
    lambda _, size, indices, values, rank: lambda g: _gather(g, indices, rank),
    argnums=(2,),
)
defvjp(
    _gather,
    lambda _, planes, indices, rank: lambda g: _scatter(planes.shape, indices, g, rank),
    argnums=(0,),
)
defvjp(avg_pool, lambda _, input, call: lambda g: _spread(input.shape, g, call), argnums=(0,))
defvjp(_spread, lambda _, size, output, call: lambda g: avg_pool(g, call), argnums=(1,))
