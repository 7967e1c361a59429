"""The baselines: convolution, pooling and training as one writes them in NumPy first. Imports NumPy only.

`pure_conv2d` is loops over Python lists. The others loop over the taps of the kernel and leave images,
channels and pixels to `np.einsum` (without `optimize`, which would hand the sums to BLAS), for any stride,
symmetric padding, dilation and groups, in 1-D, 2-D and 3-D.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

Taps = Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]


# ---- convolution -----------------------------------------------------------------------------------


def taps(kernel: tuple[int, ...], output_size: tuple[int, ...], stride: int, dilation: int) -> Taps:
    """Each tap of a kernel, and the slices of the padded input that it meets over all outputs."""
    for tap in itertools.product(*map(range, kernel)):
        starts = (t * dilation for t in tap)
        spans = ((size - 1) * stride + 1 for size in output_size)
        yield tap, tuple(slice(s, s + span, stride) for s, span in zip(starts, spans, strict=True))


def padded(array: np.ndarray, padding: int, value: float = 0) -> np.ndarray:
    """(N, C, *spatial) with `padding` elements around each spatial axis."""
    around = [(0, 0), (0, 0), *[(padding, padding)] * (array.ndim - 2)]
    return np.pad(array, around, constant_values=value)


def by_group(array: np.ndarray, axis: int, groups: int) -> np.ndarray:
    """Split a channel axis into (groups, channels per group)."""
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def letters(array: np.ndarray) -> str:
    """Subscripts of the spatial axes of (N, C, *spatial)."""
    return "xyz"[: array.ndim - 2]


def conv(
    input: np.ndarray,
    weight: np.ndarray,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> np.ndarray:
    """Output (N, K, *spatial) of a convolution."""
    source = by_group(padded(input, padding), 1, groups)
    filters = by_group(weight, 0, groups)
    kernel = weight.shape[2:]
    size = tuple(
        (length - dilation * (k - 1) - 1) // stride + 1
        for length, k in zip(source.shape[3:], kernel, strict=True)
    )
    output = np.zeros((input.shape[0], groups, filters.shape[1], *size), input.dtype)
    pixel = letters(input)
    for tap, window in taps(kernel, size, stride, dilation):
        patch, votes = source[(..., *window)], filters[(..., *tap)]
        output += np.einsum(f"ngc{pixel},gkc->ngk{pixel}", patch, votes)
    return output.reshape(input.shape[0], weight.shape[0], *size)


def conv_input(
    input_size: tuple[int, ...],
    weight: np.ndarray,
    grad_output: np.ndarray,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> np.ndarray:
    """Gradient with respect to the input."""
    gradient = by_group(grad_output, 1, groups)
    filters = by_group(weight, 0, groups)
    whole = padded(np.zeros(input_size, weight.dtype), padding)
    total = by_group(whole, 1, groups)
    pixel = letters(grad_output)
    for tap, window in taps(weight.shape[2:], grad_output.shape[2:], stride, dilation):
        votes = filters[(..., *tap)]
        total[(..., *window)] += np.einsum(f"ngk{pixel},gkc->ngc{pixel}", gradient, votes)
    inside = (slice(padding, padding + length) for length in input_size[2:])
    return whole[(..., *inside)]


def conv_weight(
    input: np.ndarray,
    weight_size: tuple[int, ...],
    grad_output: np.ndarray,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> np.ndarray:
    """Gradient with respect to the weight."""
    source = by_group(padded(input, padding), 1, groups)
    gradient = by_group(grad_output, 1, groups)
    total = by_group(np.zeros(weight_size, input.dtype), 0, groups)
    pixel = letters(input)
    for tap, window in taps(weight_size[2:], grad_output.shape[2:], stride, dilation):
        patch = source[(..., *window)]
        total[(..., *tap)] = np.einsum(f"ngk{pixel},ngc{pixel}->gkc", gradient, patch)
    return total.reshape(weight_size)


def pure_conv2d(input: list, weight: list, padding: int) -> list:
    """Output of a 2-D convolution with stride 1, loops and Python numbers only; nested lists in and out."""
    channels, height, width = len(input[0]), len(input[0][0]), len(input[0][0][0])
    kernel_height, kernel_width = len(weight[0][0]), len(weight[0][0][0])
    output = []
    for image in input:
        maps = []
        for filters in weight:
            rows = []
            for oh in range(height + 2 * padding - kernel_height + 1):
                row = []
                for ow in range(width + 2 * padding - kernel_width + 1):
                    total = 0.0
                    for c in range(channels):
                        for kh in range(kernel_height):
                            h = oh + kh - padding
                            if not 0 <= h < height:
                                continue
                            for kw in range(kernel_width):
                                w = ow + kw - padding
                                if 0 <= w < width:
                                    total += image[c][h][w] * filters[c][kh][kw]
                    row.append(total)
                rows.append(row)
            maps.append(rows)
        output.append(maps)
    return output


# ---- max-pooling -----------------------------------------------------------------------------------


def max_pool(
    input: np.ndarray, kernel: tuple[int, ...], stride: int, padding: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Output and flat index of each maximum in its plane; the first of equal ones."""
    source = padded(input, padding, -np.inf)
    spatial = input.shape[2:]
    places = padded(np.broadcast_to(np.arange(np.prod(spatial)).reshape(spatial), input.shape), padding)
    size = tuple((length - k) // stride + 1 for length, k in zip(source.shape[2:], kernel, strict=True))
    output = np.full((*input.shape[:2], *size), -np.inf, input.dtype)
    indices = np.zeros(output.shape, np.int64)
    for _, window in taps(kernel, size, stride, 1):
        candidate = source[(..., *window)]
        better = candidate > output
        output = np.where(better, candidate, output)
        indices = np.where(better, places[(..., *window)], indices)
    return output, indices


def max_pool_input(input_size: tuple[int, ...], indices: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
    """Gradient with respect to the input: each output's gradient goes to the place its maximum came from."""
    n, channels = input_size[:2]
    total = np.zeros((n, channels, int(np.prod(input_size[2:]))), grad_output.dtype)
    image, channel = np.ogrid[:n, :channels]
    flat = (n, channels, -1)
    np.add.at(total, (image[..., None], channel[..., None], indices.reshape(flat)), grad_output.reshape(flat))
    return total.reshape(input_size)
