"""Convolution, its gradients, transposed convolution and the fully connected layer as plain float64 loops.

The geometry is written out as loops over positions, never as a formula; only channels are left to NumPy's
matrix product. Arrays are batched, (N, C, *spatial); `padding` is one (before, after) pair per axis,
everything else one number per axis.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

Numbers = Sequence[int]
Pairs = Sequence[tuple[int, int]]


def meetings(
    size: Numbers, kernel: Numbers, stride: Numbers, padding: Pairs, dilation: Numbers
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Every (output position, kernel position, input position) that meet; the padding meets nothing."""
    per_axis = []
    for extent, taps, step, (before, after), spread in zip(
        size, kernel, stride, padding, dilation, strict=True
    ):
        found = []
        for output, start in enumerate(window_starts(extent, taps, step, (before, after), spread)):
            for tap in range(taps):
                position = start + tap * spread
                if 0 <= position < extent:
                    found.append((output, tap, position))
        per_axis.append(found)
    for combination in itertools.product(*per_axis):
        output, tap, position = zip(*combination, strict=True)
        yield output, tap, position


def window_starts(extent: int, taps: int, step: int, padding: tuple[int, int], spread: int) -> list[int]:
    """Where the windows along one axis begin: as long as the whole window fits into the padded input."""
    before, after = padding
    starts = []
    start = -before
    while start + (taps - 1) * spread < extent + after:
        starts.append(start)
        start += step
    return starts


def output_size(
    size: Numbers, kernel: Numbers, stride: Numbers, padding: Pairs, dilation: Numbers
) -> tuple[int, ...]:
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    return tuple(len(window_starts(*axis)) for axis in axes)


def _groups(channels: int, groups: int) -> list[slice]:
    each = channels // groups
    return [slice(group * each, (group + 1) * each) for group in range(groups)]


def conv(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Numbers,
    padding: Pairs,
    dilation: Numbers,
    groups: int,
) -> np.ndarray:
    """output[n, k, o] = bias[k] + sum over c and t of input[n, c, position(o, t)] * weight[k, c, t]."""
    input, weight = input.astype(np.float64), weight.astype(np.float64)
    size, kernel = input.shape[2:], weight.shape[2:]
    spatial = output_size(size, kernel, stride, padding, dilation)
    output = np.zeros((input.shape[0], weight.shape[0], *spatial))
    for o, t, position in meetings(size, kernel, stride, padding, dilation):
        for inside, outside in zip(
            _groups(input.shape[1], groups), _groups(weight.shape[0], groups), strict=True
        ):
            output[(slice(None), outside, *o)] += (
                input[(slice(None), inside, *position)] @ weight[(outside, slice(None), *t)].T
            )
    if bias is not None:
        output += bias.astype(np.float64).reshape(-1, *(1 for _ in spatial))
    return output


def conv_input_gradient(
    input_shape: tuple[int, ...],
    weight: np.ndarray,
    grad_output: np.ndarray,
    stride: Numbers,
    padding: Pairs,
    dilation: Numbers,
    groups: int,
) -> np.ndarray:
    """grad_input[n, c, position(o, t)] += grad_output[n, k, o] * weight[k, c, t], for all k, o, t."""
    weight, grad_output = weight.astype(np.float64), grad_output.astype(np.float64)
    grad_input = np.zeros(input_shape)
    for o, t, position in meetings(input_shape[2:], weight.shape[2:], stride, padding, dilation):
        for inside, outside in zip(
            _groups(input_shape[1], groups), _groups(weight.shape[0], groups), strict=True
        ):
            grad_input[(slice(None), inside, *position)] += (
                grad_output[(slice(None), outside, *o)] @ weight[(outside, slice(None), *t)]
            )
    return grad_input


def conv_weight_gradient(
    input: np.ndarray,
    weight_shape: tuple[int, ...],
    grad_output: np.ndarray,
    stride: Numbers,
    padding: Pairs,
    dilation: Numbers,
    groups: int,
) -> np.ndarray:
    """grad_weight[k, c, t] = sum over n and o of grad_output[n, k, o] * input[n, c, position(o, t)]."""
    input, grad_output = input.astype(np.float64), grad_output.astype(np.float64)
    grad_weight = np.zeros(weight_shape)
    for o, t, position in meetings(input.shape[2:], weight_shape[2:], stride, padding, dilation):
        for inside, outside in zip(
            _groups(input.shape[1], groups), _groups(weight_shape[0], groups), strict=True
        ):
            grad_weight[(outside, slice(None), *t)] += (
                grad_output[(slice(None), outside, *o)].T @ input[(slice(None), inside, *position)]
            )
    return grad_weight


def conv_transpose(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Numbers,
    padding: Pairs,
    output_padding: Numbers,
    groups: int,
    dilation: Numbers,
) -> np.ndarray:
    """Every input element adds a copy of the kernel to the output, `stride` apart; then `padding` is cut off.

    input is (N, C, *spatial), weight (C, K / groups, *kernel).
    """
    input, weight = input.astype(np.float64), weight.astype(np.float64)
    kernel = weight.shape[2:]
    full = [
        (extent - 1) * step + (taps - 1) * spread + 1 + extra
        for extent, step, taps, spread, extra in zip(
            input.shape[2:], stride, kernel, dilation, output_padding, strict=True
        )
    ]
    output = np.zeros((input.shape[0], weight.shape[1] * groups, *full))
    for position in itertools.product(*map(range, input.shape[2:])):
        for t in itertools.product(*map(range, kernel)):
            at = tuple(p * s + i * d for p, s, i, d in zip(position, stride, t, dilation, strict=True))
            for inside, outside in zip(
                _groups(input.shape[1], groups), _groups(output.shape[1], groups), strict=True
            ):
                output[(slice(None), outside, *at)] += (
                    input[(slice(None), inside, *position)] @ weight[(inside, slice(None), *t)]
                )
    output = output[
        (slice(None), slice(None), *(slice(b, f - a) for (b, a), f in zip(padding, full, strict=True)))
    ]
    if bias is not None:
        output = output + bias.astype(np.float64).reshape(-1, *(1 for _ in kernel))
    return output


def linear(input: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """output[..., k] = bias[k] + sum over c of input[..., c] * weight[k, c]."""
    output = np.zeros((*input.shape[:-1], weight.shape[0]))
    for row in np.ndindex(*input.shape[:-1]):
        for k in range(weight.shape[0]):
            total = 0.0 if bias is None else float(bias[k])
            for c in range(weight.shape[1]):
                total += float(input[(*row, c)]) * float(weight[k, c])
            output[(*row, k)] = total
    return output
