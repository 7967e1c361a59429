"""The geometry of convolution and transposed convolution."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastconv.geometry.arrays import DTYPES, check_allocation, layout_hint
from fastconv.geometry.numbers import (
    LIMIT,
    Triple,
    checked_product,
    dilated_kernel,
    padding_pairs,
    per_axis,
    triple,
    whole_number,
)


class ConvGeometry(NamedTuple):
    """A convolution in numbers. Channels are totals over all groups; triples are (D, H, W)."""

    spatial_rank: int
    batched: bool
    n: int
    in_channels: int
    out_channels: int
    groups: int
    input_size: Triple
    kernel: Triple
    stride: Triple
    before: Triple  #: zeros in front of each axis; those behind follow from output_size
    dilation: Triple
    output_size: Triple

    def _shape(self, channels: int, size: Triple) -> tuple[int, ...]:
        spatial = size[3 - self.spatial_rank :]
        return (self.n, channels, *spatial) if self.batched else (channels, *spatial)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of input and grad_input, as the caller sees it."""
        return self._shape(self.in_channels, self.input_size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of output and grad_output, as the caller sees it."""
        return self._shape(self.out_channels, self.output_size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of weight and grad_weight: (out channels, in channels per group, *kernel)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel[3 - self.spatial_rank :])

    @property
    def flops(self) -> int:
        """Multiplications and additions, windows that overhang the edge counted whole."""
        multiply_adds = self.n * self.out_channels * (self.in_channels // self.groups)
        for k, o in zip(self.kernel, self.output_size):
            multiply_adds *= k * o
        return 2 * multiply_adds


def _check_weight_shape(weight_shape: tuple[int, ...], spatial_rank: int) -> None:
    if len(weight_shape) != spatial_rank + 2:
        raise ValueError(
            f"weight: shape {weight_shape} must have {spatial_rank + 2} axes "
            f"(two of channels, {spatial_rank} spatial)"
        )
    if 0 in weight_shape:
        raise ValueError(f"weight: shape {weight_shape} has an empty axis")
    # packed weights are padded to whole tiles: at most 64 times as many elements
    check_allocation((64, *weight_shape), DTYPES[1])


def conv_geometry(
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    spatial_rank: int,
) -> ConvGeometry:
    """Check a convolution's shapes and parameters and work out its output.

    Parameters
    ----------
    input_shape : tuple of int
        (N, C, *spatial), or (C, *spatial) without a batch; `check_rank` has seen the array.
    weight_shape : tuple of int
        (K, C / groups, *kernel).

    Raises
    ------
    ValueError, TypeError
        Naming the argument that breaks a rule.
    """
    _check_weight_shape(weight_shape, spatial_rank)
    groups = whole_number("groups", groups, 1)
    strides = per_axis("stride", stride, spatial_rank, 1)
    dilations = per_axis("dilation", dilation, spatial_rank, 1)
    batched = len(input_shape) == spatial_rank + 2
    n, in_channels = (input_shape[0], input_shape[1]) if batched else (1, input_shape[0])
    size = input_shape[-spatial_rank:]
    out_channels, group_channels = weight_shape[:2]
    kernel = weight_shape[2:]
    if in_channels != group_channels * groups:
        raise ValueError(
            f"input: {in_channels} channels, but weight of shape {weight_shape} with groups={groups} "
            f"needs {group_channels * groups}"
            f"{layout_hint('input', input_shape, group_channels * groups, batched)}"
        )
    if out_channels % groups:
        raise ValueError(f"groups={groups}: must divide the {out_channels} output channels of weight")
    window = dilated_kernel(kernel, dilations)
    pads = padding_pairs(padding, spatial_rank, window, strides)
    output_size = []
    for i in range(spatial_rank):
        padded = size[i] + pads[i][0] + pads[i][1]
        if padded > LIMIT:
            raise ValueError(f"padding={padding!r}: padded input is beyond what shape arithmetic can hold")
        if window[i] > padded:
            raise ValueError(
                f"weight: kernel {kernel} (with dilation={dilation!r} it spans {window[i]}) is larger than "
                f"the padded input's {padded} along spatial axis {i}"
            )
        output_size.append((padded - window[i]) // strides[i] + 1)
    checked_product("input", n, in_channels, *(s + sum(p) for s, p in zip(size, pads)))
    checked_product("output", max(n, 1), out_channels, *output_size)
    return ConvGeometry(
        spatial_rank,
        batched,
        n,
        in_channels,
        out_channels,
        groups,
        triple(size, 1),
        triple(kernel, 1),
        triple(strides, 1),
        triple(tuple(p[0] for p in pads), 0),
        triple(dilations, 1),
        triple(tuple(output_size), 1),
    )


def conv_transpose_geometry(
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
    spatial_rank: int,
) -> ConvGeometry:
    """The convolution whose input gradient a transposed convolution is.

    In the geometry returned, `output` is the transposed convolution's input and `input` its output.

    Parameters
    ----------
    input_shape : tuple of int
        (N, C, *spatial) or (C, *spatial) of the transposed convolution's input.
    weight_shape : tuple of int
        (C, K / groups, *kernel).
    """
    _check_weight_shape(weight_shape, spatial_rank)
    groups = whole_number("groups", groups, 1)
    strides = per_axis("stride", stride, spatial_rank, 1)
    dilations = per_axis("dilation", dilation, spatial_rank, 1)
    extra = per_axis("output_padding", output_padding, spatial_rank, 0)
    batched = len(input_shape) == spatial_rank + 2
    n, in_channels = (input_shape[0], input_shape[1]) if batched else (1, input_shape[0])
    size = input_shape[-spatial_rank:]
    kernel = weight_shape[2:]
    if in_channels != weight_shape[0]:
        raise ValueError(
            f"input: {in_channels} channels, but weight of shape {weight_shape} needs {weight_shape[0]}"
            f"{layout_hint('input', input_shape, weight_shape[0], batched)}"
        )
    if in_channels % groups:
        raise ValueError(f"groups={groups}: must divide the {in_channels} input channels")
    if isinstance(padding, str):
        raise ValueError(f"padding={padding!r}: a transposed convolution takes numbers")
    window = dilated_kernel(kernel, dilations)
    pads = padding_pairs(padding, spatial_rank, window, strides)
    output_size = []
    for i in range(spatial_rank):
        if extra[i] >= max(strides[i], dilations[i]):
            raise ValueError(
                f"output_padding={output_padding!r}: must be smaller than stride or dilation "
                f"({max(strides[i], dilations[i])} along spatial axis {i})"
            )
        full = checked_product("stride", size[i] - 1, strides[i]) + window[i] + extra[i]
        if full <= sum(pads[i]):
            raise ValueError(
                f"padding={padding!r}: leaves no output of the {full} elements along spatial axis {i}"
            )
        output_size.append(full - sum(pads[i]))
    out_channels = checked_product("weight", weight_shape[1], groups)
    checked_product("output", max(n, 1), out_channels, *output_size)
    return ConvGeometry(
        spatial_rank,
        batched,
        n,
        out_channels,
        in_channels,
        groups,
        triple(tuple(output_size), 1),
        triple(kernel, 1),
        triple(strides, 1),
        triple(tuple(p[0] for p in pads), 0),
        triple(dilations, 1),
        triple(size, 1),
    )
