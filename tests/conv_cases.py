"""Generated convolutions: geometries, memory layouts and data that make a wrong result visible."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from reference import conv as reference

import fastconv

#: What a result may differ by from the float64 reference, relative to the largest output.
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}

INPUT_LAYOUTS = ("C", "F", "channels_last", "sliced", "reversed", "cropped", "broadcast", "read_only")
OUT_LAYOUTS = ("C", "F", "channels_last", "sliced", "reversed", "cropped")

CONV = {1: fastconv.conv1d, 2: fastconv.conv2d, 3: fastconv.conv3d}
CONV_INPUT = {1: fastconv.grad.conv1d_input, 2: fastconv.grad.conv2d_input, 3: fastconv.grad.conv3d_input}
CONV_WEIGHT = {1: fastconv.grad.conv1d_weight, 2: fastconv.grad.conv2d_weight, 3: fastconv.grad.conv3d_weight}
CONV_TRANSPOSE = {1: fastconv.conv_transpose1d, 2: fastconv.conv_transpose2d, 3: fastconv.conv_transpose3d}


def examples(count: int) -> settings:
    """`count` examples in the default profile, proportionally more in others."""
    return settings(max_examples=count * settings.default.max_examples // 100)


# ---- memory ----------------------------------------------------------------------------------------


def buffer_and_view(
    shape: tuple[int, ...], dtype: Any, layout: str, channel: int
) -> tuple[np.ndarray, np.ndarray]:
    """A NaN-filled buffer, and an array of `shape` in it whose elements lie as `layout` says."""
    whole = (slice(None),) * len(shape)
    if layout == "F":
        buffer = np.full(shape[::-1], np.nan, dtype)
        return buffer, buffer.T
    if layout == "channels_last":
        buffer = np.full((*shape[:channel], *shape[channel + 1 :], shape[channel]), np.nan, dtype)
        return buffer, np.moveaxis(buffer, -1, channel)
    if layout == "sliced":  # every second element along every axis
        buffer = np.full([2 * size + 1 for size in shape], np.nan, dtype)
        return buffer, buffer[tuple(slice(1, None, 2) for _ in shape)]
    if layout == "reversed":
        buffer = np.full(shape, np.nan, dtype)
        return buffer, buffer[tuple(slice(None, None, -1) for _ in shape)]
    if layout == "cropped":  # rows contiguous, but with something between them, and off any vector alignment
        buffer = np.full((*shape[:-1], shape[-1] + 3), np.nan, dtype)
        return buffer, buffer[..., 1:-2]
    buffer = np.full(shape, np.nan, dtype)
    return buffer, buffer[whole]


def lay_out(values: np.ndarray, layout: str, channel: int) -> np.ndarray:
    """`values` in memory as `layout` says; "broadcast" repeats the first along the longest axis, stride 0."""
    if layout == "broadcast":
        axis = int(np.argmax(values.shape))
        return np.broadcast_to(values.take([0], axis), values.shape)
    _, view = buffer_and_view(values.shape, values.dtype, layout, channel)
    view[...] = values
    if layout == "read_only":
        view.flags.writeable = False
    return view


# ---- geometry --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConvCase:
    """One convolution with everything needed to repeat it."""

    batched: bool
    n: int
    groups: int
    in_per_group: int
    out_per_group: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    padding: Any  # `pads` as the caller writes them
    dtype: str
    exact: bool
    bias: bool
    activation: str | None
    layouts: tuple[str, str, str]  # of the source, of the weight or second source, of out
    seed: int

    @property
    def rank(self) -> int:
        return len(self.size)

    @property
    def channel(self) -> int:
        return int(self.batched)

    @property
    def batch(self) -> tuple[int, ...]:
        return (self.n,) if self.batched else ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (*self.batch, self.groups * self.in_per_group, *self.size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.groups * self.out_per_group, self.in_per_group, *self.kernel)

    @property
    def output_shape(self) -> tuple[int, ...]:
        spatial = reference.output_size(self.size, self.kernel, self.stride, self.pads, self.dilation)
        return (*self.batch, self.groups * self.out_per_group, *spatial)

    @property
    def gradient_algorithm(self) -> str:
        """One of those that compute the input gradient of this case."""
        served = set(self.stride) == {1} and self.kernel[-1] <= 64
        return "col2im" if served and self.seed % 3 == 0 else self.algorithm

    @property
    def algorithm(self) -> str:
        """One of those that compute the forward pass and the input gradient of this case."""
        serving = ["auto", "direct"]
        if max(self.stride) <= 8:
            serving.append("sliding")
        if self.for_winograd:
            serving.append("winograd")
        if self.for_fft and not (self.exact and self.dtype == "float64"):
            serving.append("fft")
        if self.for_depthwise:
            serving.append("depthwise")
        return serving[self.seed % len(serving)]

    @property
    def for_depthwise(self) -> bool:
        """Whether that algorithm serves this case."""
        small = self.groups > 1 and self.in_per_group in (2, 4) and max(self.stride) < 3 and self.rank < 3
        block = math.prod(self.stride[-2:]) * (self.kernel[0] if self.rank == 3 else 1)
        one = self.in_per_group == 1 and block < 50  # its source rows fit the workspace
        return (one or small) and self.in_per_group == self.out_per_group and max(self.kernel) < 20

    @property
    def for_winograd(self) -> bool:
        """Whether that algorithm serves this case."""
        if any(step > 1 and spread > 1 for step, spread in zip(self.stride, self.dilation, strict=True)):
            return False
        in_strides = [-(-taps // step) for taps, step in zip(self.kernel, self.stride, strict=True)]
        return in_strides[-1] >= 2 and math.prod(in_strides) < 100

    @property
    def for_fft(self) -> bool:
        """Whether that algorithm serves this case; small integers are exact in float32 alone."""
        return math.prod(self.kernel) >= 9

    def is_exact(self, depth: int) -> bool:
        """Whether results are equal to the bit; not where F(4, 3) serves sums over many channels."""
        return self.exact and not (self.for_winograd and depth >= 64)

    @property
    def parameters(self) -> dict[str, Any]:
        """Keyword arguments of the fastconv call; one number where all axes agree."""
        one_number = {
            name: value[0] if len(set(value)) == 1 else value
            for name, value in (("stride", self.stride), ("dilation", self.dilation))
        }
        return {**one_number, "padding": self.padding, "groups": self.groups}

    @property
    def loop_parameters(self) -> dict[str, Any]:
        """Keyword arguments of the loops in `reference`."""
        return {"stride": self.stride, "padding": self.pads, "dilation": self.dilation, "groups": self.groups}

    def values(self, shape: tuple[int, ...], role: int, channel: int | None = None) -> np.ndarray:
        """Data of an array; `channel` is the axis of output channels, None if it has none.

        Exact cases hold small integers: every sum is exact in float32, so results must be equal to the bit.
        The others are positive, negated in some output channels: there is no cancellation, so the largest
        output measures the error fairly even if there are only a few.
        """
        generator = np.random.default_rng([self.seed, role])
        if self.exact:
            return generator.integers(-3, 4, shape).astype(self.dtype)
        values = generator.uniform(0.5, 1.5, shape)
        if channel is not None:
            signs = np.where((np.arange(shape[channel]) + self.seed) % 3 == 0, -1.0, 1.0)
            values *= signs.reshape(-1, *(1 for _ in shape[channel + 1 :]))
        return values.astype(self.dtype)

    def make_input(self) -> np.ndarray:
        return lay_out(self.values(self.input_shape, 0), self.layouts[0], self.channel)

    def make_weight(self) -> np.ndarray:
        return lay_out(self.values(self.weight_shape, 1, 0), self.layouts[1], 1)

    def make_grad_output(self, layout: str) -> np.ndarray:
        return lay_out(self.values(self.output_shape, 2, self.channel), layout, self.channel)

    def make_bias(self) -> np.ndarray | None:
        if not self.bias:
            return None
        return self.values(self.weight_shape[:1], 3, 0)

    def make_out(self) -> tuple[np.ndarray, np.ndarray]:
        return buffer_and_view(self.output_shape, self.dtype, self.layouts[2], self.channel)


def assert_close(result: np.ndarray, expected: np.ndarray, exact: bool = False, context: str = "") -> None:
    """Equal bits if `exact`; else within `TOLERANCE` of the largest expected value."""
    assert result.shape == expected.shape, context
    if exact:
        np.testing.assert_array_equal(result, expected, err_msg=context)
        return
    largest = np.abs(expected).max(initial=0.0)
    error = np.abs(result.astype(np.float64) - expected).max(initial=0.0)
    assert error <= TOLERANCE[result.dtype] * largest, f"{context}: error {error}, largest output {largest}"


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.longdouble))))


def _kernel(draw: st.DrawFn, kind: str, rank: int) -> tuple[int, ...]:
    if kind == "deep_taps":  # more than one chunk of taps
        return (1,) * (rank - 2) + (25, 23) if rank > 1 else (draw(st.integers(520, 600)),)
    if kind in ("winograd", "strided_winograd"):  # of the latter: in strides
        planes, height = (draw(st.integers(1, 3)),), (draw(st.sampled_from([3, 3, 1, 4, 2])),)
        return (*planes, *height, draw(st.sampled_from([3, 3, 3, 4, 7, 2])))[-rank:]
    largest = 3 if kind in ("channels", "deep_channels") or rank == 3 else 5
    return tuple(draw(st.integers(1, largest)) for _ in range(rank))


def _counts(draw: st.DrawFn, kind: str, rank: int) -> tuple[int, ...]:
    """Output positions per axis."""
    if kind in ("pixels", "wide_depthwise"):  # rows longer than a panel of pixels, and many panels
        return (*(draw(st.integers(1, 3)) for _ in range(rank - 1)), draw(st.integers(30, 140)))
    largest = {"small": 6, "depthwise": 9, "winograd": 14 if rank < 3 else 6, "strided_winograd": 7}.get(
        kind, 3
    )
    return tuple(draw(st.integers(1, largest)) for _ in range(rank))


def _channels(draw: st.DrawFn, kind: str) -> tuple[int, int, int]:
    """Groups, input channels per group, output channels per group."""
    few, many = st.integers(1, 5), st.integers(1, 70)
    if kind == "channels":
        return draw(st.sampled_from([1, 1, 2])), draw(many), draw(many)
    if kind == "winograd":
        return draw(st.sampled_from([1, 1, 2])), draw(st.integers(1, 40)), draw(st.integers(1, 40))
    if kind == "strided_winograd":
        return draw(st.sampled_from([1, 1, 2])), draw(few), draw(st.integers(1, 40))
    if kind == "deep_channels":
        return 1, draw(st.integers(120, 560)), draw(few)
    if kind == "deep_taps":
        return 1, draw(st.integers(1, 2)), draw(few)
    if kind == "depthwise":
        return draw(st.integers(1, 20)), *draw(st.sampled_from([(1, 1), (1, 2), (2, 2), (4, 4)]))
    if kind == "wide_depthwise":
        return draw(st.integers(1, 3)), 1, 1
    return draw(st.integers(1, 3)), draw(few), draw(few)


KINDS = (
    *("small",) * 3,
    *("winograd",) * 2,
    "strided_winograd",
    "channels",
    "pixels",
    "depthwise",
    "wide_depthwise",
    "deep_channels",
    "deep_taps",
)


@st.composite
def conv_cases(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> ConvCase:
    kind = draw(st.sampled_from(kinds))
    rank = draw(st.sampled_from([2, 1, 3])) if kind != "deep_channels" else draw(st.sampled_from([2, 1]))
    kernel = _kernel(draw, kind, rank)
    stride = tuple(draw(st.sampled_from([1, 1, 2, 3, 4, 7])) for _ in range(rank))
    if kind == "winograd":
        stride = (1,) * rank
    elif kind == "strided_winograd":
        stride = tuple(draw(st.sampled_from([1, 2, 2, 3, 4])) for _ in range(rank))
        kernel = tuple(
            (taps - 1) * step + draw(st.integers(1, step)) for taps, step in zip(kernel, stride, strict=True)
        )
    elif draw(st.booleans()):
        stride = stride[:1] * rank
    dilation = (1,) * rank
    if kind != "deep_taps" and draw(st.booleans()):
        dilation = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    if kind == "strided_winograd":
        dilation = tuple(1 if step > 1 else d for step, d in zip(stride, dilation, strict=True))
    span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    padding, pads = _paddings(draw, stride, span)
    size = []
    for count, step, width, (before, after) in zip(
        _counts(draw, kind, rank), stride, span, pads, strict=True
    ):
        left_over = draw(st.integers(0, step - 1))  # behind the last window, never read
        size.append(max(1, (count - 1) * step + width + left_over - before - after))
    batched = draw(st.booleans())
    channels = _channels(draw, kind)
    return ConvCase(
        batched,
        draw(st.integers(1, 3)) if batched else 1,
        *channels,
        tuple(size),
        kernel,
        stride,
        pads,
        dilation,
        padding,
        draw(st.sampled_from(["float32", "float64"])),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from([None, None, "relu", "leaky_relu", "relu6"])),
        (
            draw(st.sampled_from(INPUT_LAYOUTS)),
            draw(st.sampled_from(INPUT_LAYOUTS)),
            draw(st.sampled_from(OUT_LAYOUTS)),
        ),
        draw(st.integers(0, 2**16)),
    )


def _paddings(
    draw: st.DrawFn, stride: tuple[int, ...], span: tuple[int, ...]
) -> tuple[Any, tuple[tuple[int, int], ...]]:
    """`padding` in one of its forms, and what it means: a pair per axis."""
    rank = len(span)
    form = draw(st.sampled_from(["valid", "number", "numbers", "pairs", "pairs", "same"]))
    if form == "same" and set(stride) == {1}:
        return "same", tuple(((width - 1) // 2, width - 1 - (width - 1) // 2) for width in span)
    if form == "valid":
        return "valid", ((0, 0),) * rank
    if form == "number":
        number = draw(st.integers(0, min(math.prod(span), 3)))
        return number, ((number, number),) * rank
    # up to the window's span: some windows then see nothing but padding
    limits = [min(width, 6) for width in span]
    if form == "numbers":
        numbers = tuple(draw(st.integers(0, limit)) for limit in limits)
        return numbers, tuple((number, number) for number in numbers)
    pads = tuple((draw(st.integers(0, limit)), draw(st.integers(0, limit))) for limit in limits)
    return pads, pads
