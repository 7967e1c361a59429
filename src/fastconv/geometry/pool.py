"""The geometry of pooling, adaptive pooling and unpooling."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastconv.geometry.numbers import (
    LIMIT,
    Triple,
    checked_product,
    dilated_kernel,
    flag,
    integer,
    padding_pairs,
    per_axis,
    real_number,
    triple,
)


class PoolGeometry(NamedTuple):
    """A pooling in numbers; triples are (D, H, W)."""

    spatial_rank: int
    batched: bool
    n: int
    channels: int
    input_size: Triple
    kernel: Triple
    stride: Triple
    before: Triple  #: padding in front of each axis
    after: Triple  #: padding behind each axis, as asked for (ceil_mode windows may reach further)
    dilation: Triple
    output_size: Triple
    adaptive: bool = False  #: windows cut the input evenly; kernel is the widest window, stride says nothing

    def _shape(self, size: Triple) -> tuple[int, ...]:
        spatial = size[3 - self.spatial_rank :]
        return (self.n, self.channels, *spatial) if self.batched else (self.channels, *spatial)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of input and grad_input, as the caller sees it."""
        return self._shape(self.input_size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of output, indices and grad_output, as the caller sees it."""
        return self._shape(self.output_size)


def pool_geometry(
    input_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    spatial_rank: int,
) -> PoolGeometry:
    """Check a pooling's shape and parameters and work out its output.

    `stride=None`, or `()` as torch has it, means `kernel_size`. With `ceil_mode` windows that hang over the
    end are kept, unless they would start in the padding behind the input. Padding may be at most half the
    (dilated) window, and every window must cover at least one element: one that is dilated more widely than
    the input is long may straddle it.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that breaks a rule.
    """
    kernel = per_axis("kernel_size", kernel_size, spatial_rank, 1)
    strides = pool_strides(stride, kernel)
    dilations = per_axis("dilation", dilation, spatial_rank, 1)
    ceil_mode = flag("ceil_mode", ceil_mode)
    batched = len(input_shape) == spatial_rank + 2
    n, channels = (input_shape[0], input_shape[1]) if batched else (1, input_shape[0])
    size = input_shape[-spatial_rank:]
    window = dilated_kernel(kernel, dilations)
    pads = padding_pairs(padding, spatial_rank, window, strides)
    output_size = []
    for i in range(spatial_rank):
        if max(pads[i]) > window[i] // 2:
            raise ValueError(f"padding={padding!r}: must be at most half the window, which spans {window[i]}")
        padded = size[i] + sum(pads[i])
        if window[i] > padded and not ceil_mode:
            raise ValueError(
                f"kernel_size={kernel_size!r}: spans {window[i]}, larger than the padded input's {padded} "
                f"along spatial axis {i}"
            )
        count = (padded - window[i] + (strides[i] - 1 if ceil_mode else 0)) // strides[i] + 1
        if ceil_mode and (count - 1) * strides[i] >= size[i] + pads[i][0]:
            count -= 1
        if count < 1:
            raise ValueError(
                f"kernel_size={kernel_size!r}: no window fits the input's {size[i]} along spatial axis {i}"
            )
        if _straddles(size[i], count, strides[i], pads[i][0], dilations[i]):
            raise ValueError(
                f"dilation={dilation!r}: with padding={padding!r} a window covers no element of the input's "
                f"{size[i]} along spatial axis {i}"
            )
        output_size.append(count)
    checked_product("output", max(n, 1), channels, *output_size)
    return PoolGeometry(
        spatial_rank,
        batched,
        n,
        channels,
        triple(size, 1),
        triple(kernel, 1),
        triple(strides, 1),
        triple(tuple(p[0] for p in pads), 0),
        triple(tuple(p[1] for p in pads), 0),
        triple(dilations, 1),
        triple(tuple(output_size), 1),
    )


def pool_strides(stride: Any, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """The stride per axis: as given, or the kernel's."""
    if stride is None or (isinstance(stride, (tuple, list)) and not stride):
        return kernel
    return per_axis("stride", stride, len(kernel), 1)


def _straddles(size: int, count: int, stride: int, before: int, dilation: int) -> bool:
    """Whether some window's taps all miss the input: one lies in front of it and the next behind it."""
    if before == 0 or size >= dilation:
        return False
    starts = np.arange(count) * stride - before  # few: windows lie within the padded input
    return bool(np.any((starts < 0) & (starts % dilation >= size)))


def adaptive_pool_geometry(input_shape: tuple[int, ...], output_size: Any, spatial_rank: int) -> PoolGeometry:
    """The pooling that cuts every axis evenly into the windows wanted.

    Output o, of O along an axis of size I, covers the elements from floor(o I / O) to ceil((o + 1) I / O).

    Parameters
    ----------
    input_shape : tuple of int
        (N, C, *spatial), or (C, *spatial) without a batch.
    output_size : int, or one int or None per axis
        None keeps the input's size.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that breaks a rule.
    """
    batched = len(input_shape) == spatial_rank + 2
    n, channels = (input_shape[0], input_shape[1]) if batched else (1, input_shape[0])
    size = input_shape[-spatial_rank:]
    given = output_size
    if isinstance(given, (tuple, list)) and len(given) == spatial_rank:
        given = tuple(s if wanted is None else wanted for s, wanted in zip(size, given))
    counts = per_axis("output_size", given, spatial_rank, 1)
    checked_product("output_size", max(n, 1), channels, *counts)
    for i in range(spatial_rank):
        checked_product("output_size", size[i], counts[i])
    even = all(s % count == 0 for s, count in zip(size, counts))  # then it is a plain pooling
    kernel = tuple(s // count if even else -(-s // count) + 1 for s, count in zip(size, counts))
    return PoolGeometry(
        spatial_rank,
        batched,
        n,
        channels,
        triple(size, 1),
        triple(kernel, 1),
        triple(kernel, 1),
        (0, 0, 0),
        (0, 0, 0),
        (1, 1, 1),
        triple(counts, 1),
        not even,
    )


def unpool_shape(
    input_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
    spatial_rank: int,
) -> tuple[int, ...]:
    """The shape of what a max-unpooling of `input_shape` gives.

    Parameters
    ----------
    output_size : None, one int per axis, or the whole shape
        None takes the smallest size that a max-pooling with these parameters pools to `input_shape`; others
        may differ from it by less than a stride.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that breaks a rule.
    """
    kernel = per_axis("kernel_size", kernel_size, spatial_rank, 1)
    strides = pool_strides(stride, kernel)
    pads = padding_pairs(padding, spatial_rank, kernel, strides)
    leading = input_shape[:-spatial_rank]
    usual = []
    for i, size in enumerate(input_shape[-spatial_rank:]):
        usual.append(checked_product("stride", size - 1, strides[i]) + kernel[i] - sum(pads[i]))
        if output_size is None and usual[i] < 1:
            raise ValueError(f"padding={padding!r}: leaves no output along spatial axis {i}")
    sizes: tuple[int, ...] = tuple(usual)
    if output_size is not None:
        rank = len(input_shape)
        if not isinstance(output_size, (tuple, list)) or len(output_size) not in (spatial_rank, rank):
            raise ValueError(
                f"output_size={output_size!r}: must have {spatial_rank} entries, one per spatial axis, "
                f"or {rank}, the whole shape"
            )
        if len(output_size) > spatial_rank and tuple(output_size[:-spatial_rank]) != leading:
            raise ValueError(f"output_size={output_size!r}: must begin with the input's {leading}")
        sizes = per_axis("output_size", output_size[-spatial_rank:], spatial_rank, 1)
        for i in range(spatial_rank):
            if not usual[i] - strides[i] < sizes[i] < usual[i] + strides[i]:
                raise ValueError(
                    f"output_size={output_size!r}: must differ from {tuple(usual)} by less than the stride, "
                    f"{strides[i]} along spatial axis {i}"
                )
    checked_product("output", *(max(s, 1) for s in leading), *sizes)
    return (*leading, *sizes)


def divisor(value: Any) -> int:
    """`divisor_override`: None, as 0, or a whole number that is not 0."""
    if value is None:
        return 0
    number = integer("divisor_override", value)
    if number == 0 or abs(number) > LIMIT:
        raise ValueError(f"divisor_override={value!r}: must not be 0, nor beyond {LIMIT}")
    return number


def norm_power(value: Any) -> float:
    """`norm_type`: a real number, perhaps infinite, but neither 0 nor NaN."""
    return real_number("norm_type", value, nonzero=True, finite=False)
