"""What JAX traces: calls of fastconv from compiled code, and which calls are their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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
    avg_call,
    conv_call,
    max_call,
)


def _called(
    run: Callable[..., Any], shape: Shape, dtype: Any, operands: tuple[Any, ...], batched: bool
) -> Any:
    """`run(*operands)` from wherever JAX is; the result has this shape.

    `vmap` puts axes in front of the operands, of size 1 where an operand is the same for all. If that is so
    of all but the first, and the first has a batch, these axes become part of the batch: one call. Otherwise
    it is a call for each.
    """
    ranks = [operand.ndim for operand in operands]

    def callback(*values: Any) -> np.ndarray:
        arrays = [np.asarray(value) for value in values]
        fronts = [array.shape[: array.ndim - rank] for array, rank in zip(arrays, ranks)]
        front = np.broadcast_shapes(*fronts)
        if not front:
            return np.asarray(run(*arrays), dtype)
        if batched and all(size == 1 for other in fronts[1:] for size in other):
            first, *others = arrays
            whole = first.reshape(-1, *first.shape[1 - ranks[0] :])
            output = run(
                whole, *[array.reshape(array.shape[len(f) :]) for array, f in zip(others, fronts[1:])]
            )
            return np.asarray(output, dtype).reshape(*front, *shape)
        same = [np.broadcast_to(array, (*front, *array.shape[len(f) :])) for array, f in zip(arrays, fronts)]
        results = np.empty((*front, *shape), dtype)
        for place in np.ndindex(front):
            results[place] = run(*[array[place] for array in same])
        return results

    return jax.pure_callback(
        callback, jax.ShapeDtypeStruct(shape, dtype), *operands, vmap_method="expand_dims"
    )


# ---- convolution -------------------------------------------------------------------------------------


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolution(input: Any, weight: Any, call: ConvCall) -> Any:
    """The output; shapes and parameters have been checked."""
    shape = conv_call(len(call.stride), input.shape, weight.shape, *call)[1]
    run = CONV[len(call.stride)]
    batched = input.ndim == len(call.stride) + 2
    return _called(lambda x, w: run(x, w, None, *call), shape, input.dtype, (input, weight), batched)


@partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def convolution_input(size: Shape, weight: Any, grad_output: Any, call: ConvCall) -> Any:
    """The gradient of a convolution's input, which is a transposed convolution of `grad_output`."""
    run, batched = CONV_INPUT[len(call.stride)], len(size) == len(call.stride) + 2

    def backward(g: np.ndarray, w: np.ndarray) -> Any:
        return run((*g.shape[:batched], *size[batched:]), w, g, *call)

    return _called(backward, size, grad_output.dtype, (grad_output, weight), batched)


@partial(jax.custom_vjp, nondiff_argnums=(1, 3))
def convolution_weight(input: Any, size: Shape, grad_output: Any, call: ConvCall) -> Any:
    """The gradient of a convolution's weight."""
    run = CONV_WEIGHT[len(call.stride)]
    return _called(lambda x, g: run(x, size, g, *call), size, input.dtype, (input, grad_output), False)


convolution.defvjp(
    lambda input, weight, call: (convolution(input, weight, call), (input, weight)),
    lambda call, kept, g: (
        convolution_input(kept[0].shape, kept[1], g, call),
        convolution_weight(kept[0], kept[1].shape, g, call),
    ),
)
convolution_input.defvjp(
    lambda size, weight, output, call: (convolution_input(size, weight, output, call), (weight, output)),
    lambda size, call, kept, g: (
        convolution_weight(g, kept[0].shape, kept[1], call),
        convolution(g, kept[0], call),
    ),
)
convolution_weight.defvjp(
    lambda input, size, output, call: (convolution_weight(input, size, output, call), (input, output)),
    lambda size, call, kept, g: (
        convolution_input(kept[0].shape, g, kept[1], call),
        convolution(kept[0], g, call),
    ),
)


# ---- pools -------------------------------------------------------------------------------------------


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(input: Any, call: MaxCall) -> Any:
    """The maxima of windows."""
    rank = len(call.stride)
    shape, run = max_call(rank, input.shape, *call)[1], MAX_POOL[rank]
    return _called(lambda x: run(x, *call), shape, input.dtype, (input,), input.ndim == rank + 2)


def _where_largest(input: Any, call: MaxCall) -> Any:
    """Where the maxima are, in 32 bits: JAX has no more unless told so."""
    rank = len(call.stride)
    shape, run = max_call(rank, input.shape, *call)[1], MAX_POOL[rank]
    constant = jax.lax.stop_gradient(input)
    batched = input.ndim == rank + 2
    return _called(lambda x: run(x, *call, return_indices=True)[1], shape, np.int32, (constant,), batched)


@partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def _scatter(size: Shape, indices: Any, values: Any, rank: int) -> Any:
    """Values added up where a max-pool found them."""
    run = MAX_POOL_INPUT[rank]

    def backward(g: np.ndarray, places: np.ndarray) -> Any:
        return run(size, places.astype(np.int64), g)

    return _called(backward, size, values.dtype, (values, indices), False)


def _gather(planes: Any, indices: Any, rank: int) -> Any:
    flat, places = planes.reshape(*planes.shape[:-rank], -1), indices.reshape(*indices.shape[:-rank], -1)
    return jnp.take_along_axis(flat, places, axis=-1).reshape(indices.shape)


max_pool.defvjp(
    lambda input, call: (max_pool(input, call), (_where_largest(input, call), input)),
    lambda call, kept, g: (_scatter(kept[1].shape, kept[0], g, len(call.stride)),),
)
_scatter.defvjp(
    lambda size, indices, values, rank: (_scatter(size, indices, values, rank), indices),
    lambda size, rank, indices, g: (
        np.zeros(indices.shape, jax.dtypes.float0),  # what JAX takes for the gradient of integers
        _gather(g, indices, rank),
    ),
)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def avg_pool(input: Any, call: AvgCall) -> Any:
    """The means of windows."""
    rank = len(call.stride)
    shape, run = avg_call(rank, input.shape, *call)[1], AVG_POOL[rank]
    return _called(lambda x: run(x, *call), shape, input.dtype, (input,), input.ndim == rank + 2)


@partial(jax.custom_vjp, nondiff_argnums=(0, 2))
def _spread(size: Shape, grad_output: Any, call: AvgCall) -> Any:
    """The gradient of an average, back to the elements averaged."""
    run, batched = AVG_POOL_INPUT[len(call.stride)], len(size) == len(call.stride) + 2

    def backward(g: np.ndarray) -> Any:
        return run((*g.shape[:batched], *size[batched:]), g, *call)

    return _called(backward, size, grad_output.dtype, (grad_output,), batched)


avg_pool.defvjp(
    lambda input, call: (avg_pool(input, call), input),
    lambda call, input, g: (_spread(input.shape, g, call),),
)
_spread.defvjp(
    lambda size, output, call: (_spread(size, output, call), None),
    lambda size, call, _, g: (avg_pool(g, call),),
)
