"""`torch.ops.fastconv`: convolutions and pools as torch sees them, with shapes, strides and gradients.

A convolution, its input gradient and its weight gradient are three operators, and the gradients of each are
the other two, so that gradients of any order exist. A transposed convolution is an input gradient with a
bias.

All sizes are lists, whose length is the number of spatial axes; paddings list (before, after) for each axis
in turn. `functions` makes such lists of what people write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastconv.interop.calls import (
    AVG_POOL,
    AVG_POOL_INPUT,
    CONV,
    CONV_INPUT,
    CONV_TRANSPOSE,
    CONV_WEIGHT,
    MAX_POOL,
    MAX_POOL_INPUT,
)

Sizes = Sequence[int]


# ---- tensors and arrays: one memory ------------------------------------------------------------------


def _array(tensor: Tensor) -> np.ndarray:
    """The memory of a tensor on the CPU, as an array."""
    return tensor.detach().resolve_neg().numpy()


def _array_or_none(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else _array(tensor)


def _pairs(padding: Sizes) -> tuple[tuple[int, int], ...]:
    return tuple(zip(padding[::2], padding[1::2]))


# ---- what comes out, for those who trace without computing -------------------------------------------


def _is_channels_last(like: Tensor, rank: int) -> bool:
    """Whether channels are neighbours in memory and no pixels are: fastconv's rule for results."""
    channel = like.ndim - rank - 1
    if like.shape[channel] == 1 or like.stride(channel) != 1:
        return False
    steps = [like.stride(axis) for axis in range(channel + 1, like.ndim) if like.shape[axis] > 1]
    return bool(steps) and all(step > 1 for step in steps)


def _empty(like: Tensor, shape: Sizes, rank: int, dtype: torch.dtype | None = None) -> Tensor:
    """A result of this shape, in the order of memory that it will have."""
    channel = len(shape) - rank - 1
    if not _is_channels_last(like, rank):
        return like.new_empty(list(shape), dtype=dtype)
    last = [*shape[:channel], *shape[channel + 1 :], shape[channel]]
    return like.new_empty(last, dtype=dtype).movedim(-1, channel)


def _conv_shape(input: Tensor, weight: Tensor, stride: Sizes, padding: Sizes, dilation: Sizes) -> list[int]:
    rank = len(stride)
    sizes = zip(input.shape[-rank:], weight.shape[2:], _pairs(padding), stride, dilation)
    spatial = [(size + sum(pads) - d * (k - 1) - 1) // s + 1 for size, k, pads, s, d in sizes]
    return [*input.shape[: -rank - 1], weight.shape[0], *spatial]


def _pool_shape(
    input: Tensor, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> list[int]:
    spatial = []
    for size, k, s, (before, after), d in zip(
        input.shape[-len(kernel) :], kernel, stride, _pairs(padding), dilation
    ):
        count = (size + before + after - d * (k - 1) - 1 + (s - 1 if ceil_mode else 0)) // s + 1
        spatial.append(count - 1 if ceil_mode and (count - 1) * s >= size + before else count)
    return [*input.shape[: -len(kernel)], *spatial]


# ---- how an operator is made -------------------------------------------------------------------------


def _one_by_one(operator: Any) -> Callable[..., Any]:
    """The rule by which `torch.vmap` runs an operator: one call per entry."""

    def run(info: Any, in_dims: Any, *arguments: Any) -> Any:
        def entry(i: int) -> list[Any]:
            return [
                value if dim is None or not isinstance(value, Tensor) else value.select(dim, i)
                for value, dim in zip(arguments, in_dims)
            ]

        results = [operator(*entry(i)) for i in range(info.batch_size)]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        return tuple(map(torch.stack, zip(*results))), (0,) * len(results[0])

    return run


def _operator(
    name: str,
    schema: str,
    run: Callable[..., Any],
    fake: Callable[..., Any],
    remember: Callable[..., None] | None,
    backward: Callable[..., Any] | None,
) -> Any:
    operator = torch.library.custom_op(
        f"fastconv::{name}", run, mutates_args=(), device_types="cpu", schema=schema
    )
    operator.register_fake(fake)
    if backward is not None:
        operator.register_autograd(backward, setup_context=remember)
    operator.register_vmap(_one_by_one(operator))
    return operator


# ---- convolution -------------------------------------------------------------------------------------

_HOW = "SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt groups"


def _bias_gradient(grad_output: Tensor, rank: int) -> Tensor:
    channel = grad_output.ndim - rank - 1
    return grad_output.sum([axis for axis in range(grad_output.ndim) if axis != channel])


def _run_convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sizes, padding: Sizes, *how: Any
) -> Tensor:
    forward = CONV[len(stride)]
    output = forward(
        _array(input), _array(weight), _array_or_none(bias), tuple(stride), _pairs(padding), *how
    )
    return torch.from_numpy(output)


def _fake_convolution(
    input: Tensor, weight: Tensor, bias: Any, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Tensor:
    return _empty(input, _conv_shape(input, weight, stride, padding, dilation), len(stride))


def _remember_convolution(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.how = inputs[3:]


def _convolution_backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
    input, weight = ctx.saved_tensors
    to_input, to_weight, to_bias = ctx.needs_input_grad[:3]
    return (
        convolution_input(list(input.shape), weight, grad_output, *ctx.how) if to_input else None,
        convolution_weight(input, list(weight.shape), grad_output, *ctx.how) if to_weight else None,
        _bias_gradient(grad_output, len(ctx.how[0])) if to_bias else None,
        *[None] * 4,
    )


convolution = _operator(
    "convolution",
    f"(Tensor input, Tensor weight, Tensor? bias, {_HOW}) -> Tensor",
    _run_convolution,
    _fake_convolution,
    _remember_convolution,
    _convolution_backward,
)


def _run_convolution_input(
    input_size: Sizes, weight: Tensor, grad_output: Tensor, stride: Sizes, padding: Sizes, *how: Any
) -> Tensor:
    backward, size = CONV_INPUT[len(stride)], tuple(input_size)
    gradient = backward(size, _array(weight), _array(grad_output), tuple(stride), _pairs(padding), *how)
    return torch.from_numpy(gradient)


def _fake_convolution_input(
    input_size: Sizes, weight: Tensor, grad_output: Tensor, stride: Sizes, *how: Any
) -> Tensor:
    return _empty(grad_output, input_size, len(stride))


def _remember_convolution_input(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[1:3])
    ctx.how = inputs[3:]


def _convolution_input_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    weight, grad_output = ctx.saved_tensors
    _, to_weight, to_output = ctx.needs_input_grad[:3]
    return (
        None,
        convolution_weight(gradient, list(weight.shape), grad_output, *ctx.how) if to_weight else None,
        convolution(gradient, weight, None, *ctx.how) if to_output else None,
        *[None] * 4,
    )


convolution_input = _operator(
    "convolution_input",
    f"(SymInt[] input_size, Tensor weight, Tensor grad_output, {_HOW}) -> Tensor",
    _run_convolution_input,
    _fake_convolution_input,
    _remember_convolution_input,
    _convolution_input_backward,
)


def _run_convolution_weight(
    input: Tensor, weight_size: Sizes, grad_output: Tensor, stride: Sizes, padding: Sizes, *how: Any
) -> Tensor:
    backward, size = CONV_WEIGHT[len(stride)], tuple(weight_size)
    gradient = backward(_array(input), size, _array(grad_output), tuple(stride), _pairs(padding), *how)
    return torch.from_numpy(gradient)


def _fake_convolution_weight(input: Tensor, weight_size: Sizes, *others: Any) -> Tensor:
    return input.new_empty(list(weight_size))


def _remember_convolution_weight(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[0], inputs[2])
    ctx.how = inputs[3:]


def _convolution_weight_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    input, grad_output = ctx.saved_tensors
    to_input, _, to_output = ctx.needs_input_grad[:3]
    return (
        convolution_input(list(input.shape), gradient, grad_output, *ctx.how) if to_input else None,
        None,
        convolution(input, gradient, None, *ctx.how) if to_output else None,
        *[None] * 4,
    )


convolution_weight = _operator(
    "convolution_weight",
    f"(Tensor input, SymInt[] weight_size, Tensor grad_output, {_HOW}) -> Tensor",
    _run_convolution_weight,
    _fake_convolution_weight,
    _remember_convolution_weight,
    _convolution_weight_backward,
)


# ---- transposed convolution --------------------------------------------------------------------------


def _run_transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    how = (tuple(stride), _pairs(padding), tuple(output_padding), groups, tuple(dilation))
    forward = CONV_TRANSPOSE[len(stride)]
    return torch.from_numpy(forward(_array(input), _array(weight), _array_or_none(bias), *how))


def _fake_transposed(
    input: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    rank = len(stride)
    sizes = zip(input.shape[-rank:], weight.shape[2:], _pairs(padding), output_padding, stride, dilation)
    spatial = [(size - 1) * s - sum(pads) + d * (k - 1) + o + 1 for size, k, pads, o, s, d in sizes]
    return _empty(input, [*input.shape[: -rank - 1], weight.shape[1] * groups, *spatial], rank)


def _remember_transposed(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:2])
    stride, padding, _, groups, dilation = inputs[3:]
    ctx.how = (stride, padding, dilation, groups)


def _transposed_backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
    input, weight = ctx.saved_tensors
    to_input, to_weight, to_bias = ctx.needs_input_grad[:3]
    return (
        convolution(grad_output, weight, None, *ctx.how) if to_input else None,
        convolution_weight(grad_output, list(weight.shape), input, *ctx.how) if to_weight else None,
        _bias_gradient(grad_output, len(ctx.how[0])) if to_bias else None,
        *[None] * 5,
    )


transposed_convolution = _operator(
    "transposed_convolution",
    "(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, SymInt[] output_padding, "
    "SymInt groups, SymInt[] dilation) -> Tensor",
    _run_transposed,
    _fake_transposed,
    _remember_transposed,
    _transposed_backward,
)


# ---- max-pool ----------------------------------------------------------------------------------------

_WINDOW = "SymInt[] kernel_size, SymInt[] stride, SymInt[] padding, SymInt[] dilation, bool ceil_mode"


def _run_max_pool(
    input: Tensor, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> Tensor:
    how = (tuple(kernel), tuple(stride), _pairs(padding), tuple(dilation), ceil_mode)
    return torch.from_numpy(MAX_POOL[len(kernel)](_array(input), *how))


def _run_max_pool_with_indices(
    input: Tensor, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    how = (tuple(kernel), tuple(stride), _pairs(padding), tuple(dilation), ceil_mode)
    output, indices = MAX_POOL[len(kernel)](_array(input), *how, return_indices=True)
    return torch.from_numpy(output), torch.from_numpy(indices)


def _fake_max_pool(input: Tensor, kernel: Sizes, *how: Any) -> Tensor:
    return _empty(input, _pool_shape(input, kernel, *how), len(kernel))


def _fake_max_pool_with_indices(input: Tensor, kernel: Sizes, *how: Any) -> tuple[Tensor, Tensor]:
    shape = _pool_shape(input, kernel, *how)
    return _empty(input, shape, len(kernel)), _empty(input, shape, len(kernel), torch.int64)


def _remember_max_pool(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.how = inputs[1:]


def _max_pool_backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
    (input,) = ctx.saved_tensors
    indices = max_pool_with_indices(input.detach(), *ctx.how)[1]
    size = list(input.shape)
    return (max_pool_input(size, indices, grad_output, len(ctx.how[0])), *[None] * 5)


def _remember_max_pool_with_indices(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(output[1])
    ctx.size, ctx.rank = list(inputs[0].shape), len(inputs[1])


def _max_pool_with_indices_backward(ctx: Any, grad_output: Tensor, _: Any) -> tuple[Any, ...]:
    (indices,) = ctx.saved_tensors
    return (max_pool_input(ctx.size, indices, grad_output, ctx.rank), *[None] * 5)


#: Maxima alone: for inference, where nobody asks where they were found.
max_pool = _operator(
    "max_pool",
    f"(Tensor input, {_WINDOW}) -> Tensor",
    _run_max_pool,
    _fake_max_pool,
    _remember_max_pool,
    _max_pool_backward,
)
max_pool_with_indices = _operator(
    "max_pool_with_indices",
    f"(Tensor input, {_WINDOW}) -> (Tensor, Tensor)",
    _run_max_pool_with_indices,
    _fake_max_pool_with_indices,
    _remember_max_pool_with_indices,
    _max_pool_with_indices_backward,
)


def _run_max_pool_input(input_size: Sizes, indices: Tensor, grad_output: Tensor, rank: int) -> Tensor:
    gradient = MAX_POOL_INPUT[rank](tuple(input_size), _array(indices), _array(grad_output))
    return torch.from_numpy(gradient)


def _fake_max_pool_input(input_size: Sizes, indices: Tensor, grad_output: Tensor, rank: int) -> Tensor:
    return _empty(grad_output, input_size, rank)


def _remember_max_pool_input(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.rank = inputs[3]


def _max_pool_input_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    (indices,) = ctx.saved_tensors
    planes, places = gradient.flatten(-ctx.rank), indices.flatten(-ctx.rank)
    return None, None, planes.gather(-1, places).reshape(indices.shape), None


max_pool_input = _operator(
    "max_pool_input",
    "(SymInt[] input_size, Tensor indices, Tensor grad_output, int rank) -> Tensor",
    _run_max_pool_input,
    _fake_max_pool_input,
    _remember_max_pool_input,
    _max_pool_input_backward,
)


# ---- average-pool ------------------------------------------------------------------------------------

_AVERAGE = (
    "SymInt[] kernel_size, SymInt[] stride, SymInt[] padding, bool ceil_mode, bool count_include_pad, "
    "int? divisor_override"
)


def _run_avg_pool(input: Tensor, kernel: Sizes, stride: Sizes, padding: Sizes, *how: Any) -> Tensor:
    forward = AVG_POOL[len(kernel)]
    return torch.from_numpy(forward(_array(input), tuple(kernel), tuple(stride), _pairs(padding), *how))


def _fake_avg_pool(
    input: Tensor, kernel: Sizes, stride: Sizes, padding: Sizes, ceil_mode: bool, *_: Any
) -> Tensor:
    shape = _pool_shape(input, kernel, stride, padding, [1] * len(kernel), ceil_mode)
    return _empty(input, shape, len(kernel))


def _remember_avg_pool(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.size, ctx.how = list(inputs[0].shape), inputs[1:]


def _avg_pool_backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
    return (avg_pool_input(ctx.size, grad_output, *ctx.how), *[None] * 6)


avg_pool = _operator(
    "avg_pool",
    f"(Tensor input, {_AVERAGE}) -> Tensor",
    _run_avg_pool,
    _fake_avg_pool,
    _remember_avg_pool,
    _avg_pool_backward,
)


def _run_avg_pool_input(
    input_size: Sizes, grad_output: Tensor, kernel: Sizes, stride: Sizes, padding: Sizes, *how: Any
) -> Tensor:
    backward, size = AVG_POOL_INPUT[len(kernel)], tuple(input_size)
    gradient = backward(size, _array(grad_output), tuple(kernel), tuple(stride), _pairs(padding), *how)
    return torch.from_numpy(gradient)


def _fake_avg_pool_input(input_size: Sizes, grad_output: Tensor, kernel: Sizes, *_: Any) -> Tensor:
    return _empty(grad_output, input_size, len(kernel))


def _remember_avg_pool_input(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.how = inputs[2:]


def _avg_pool_input_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return None, avg_pool(gradient, *ctx.how), *[None] * 6


avg_pool_input = _operator(
    "avg_pool_input",
    f"(SymInt[] input_size, Tensor grad_output, {_AVERAGE}) -> Tensor",
    _run_avg_pool_input,
    _fake_avg_pool_input,
    _remember_avg_pool_input,
    _avg_pool_input_backward,
)
