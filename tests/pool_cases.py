"""Generated poolings: geometries, memory layouts and data that make a wrong result visible."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from conv_cases import INPUT_LAYOUTS, lay_out
from hypothesis import strategies as st
from reference import pool as reference

import fastconv


def by_rank(name: str) -> dict[int, Any]:
    """The 1-D, 2-D and 3-D function of a name with `{}` for the rank: a gradient if it ends in `_input`."""
    module = fastconv.grad if name.endswith("_input") else fastconv
    return {rank: getattr(module, name.format(rank)) for rank in (1, 2, 3)}


MAX_POOL, MAX_POOL_INPUT = by_rank("max_pool{}d"), by_rank("max_pool{}d_input")
AVG_POOL, AVG_POOL_INPUT = by_rank("avg_pool{}d"), by_rank("avg_pool{}d_input")
LP_POOL, LP_POOL_INPUT = by_rank("lp_pool{}d"), by_rank("lp_pool{}d_input")
MAX_UNPOOL, MAX_UNPOOL_INPUT = by_rank("max_unpool{}d"), by_rank("max_unpool{}d_input")
ADAPTIVE_MAX, ADAPTIVE_MAX_INPUT = by_rank("adaptive_max_pool{}d"), by_rank("adaptive_max_pool{}d_input")
ADAPTIVE_AVG, ADAPTIVE_AVG_INPUT = by_rank("adaptive_avg_pool{}d"), by_rank("adaptive_avg_pool{}d_input")

#: What a walk treats in its own way: a plain small plane, a row longer than the accumulators of one line,
#: more channels than one task takes.
KINDS = ("small", "small", "small", "row", "channels")


@dataclass(frozen=True)
class PoolCase:
    """One pooling with everything needed to repeat it; adaptive ones ignore `kernel` to `ceil_mode`."""

    batched: bool
    n: int
    channels: int
    size: tuple[int, ...]
    dtype: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    padding: Any  # `pads` as the caller writes them
    dilation: tuple[int, ...]
    ceil_mode: bool
    wanted: tuple[int | None, ...]  # the output size of an adaptive pooling
    ties: bool
    layouts: tuple[str, str, str]  # of the input, of grad_output, of indices or output
    seed: int

    @property
    def rank(self) -> int:
        return len(self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.with_size(self.size)

    def with_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an array with other spatial axes."""
        return (self.n, self.channels, *size) if self.batched else (self.channels, *size)

    @property
    def parameters(self) -> dict[str, Any]:
        """Keyword arguments all poolings share; a stride equal to the kernel is left out."""
        stride = {} if self.stride == self.kernel else {"stride": self.stride}
        return {"kernel_size": self.kernel, "ceil_mode": self.ceil_mode, **stride}

    def windows(self, dilated: bool = True, padded: bool = True) -> list[list[reference.Window]]:
        """The windows per axis, as the loops of `reference` want them."""
        none = ((0, 0),) * self.rank
        return reference.pool_windows(
            self.size,
            self.kernel,
            self.stride,
            self.pads if padded else none,
            self.dilation if dilated else (1,) * self.rank,
            self.ceil_mode,
        )

    def adaptive_windows(self) -> list[list[reference.Window]]:
        counts = (extent if count is None else count for extent, count in zip(self.size, self.wanted))
        return [reference.adaptive_windows(*axis) for axis in zip(self.size, counts)]

    def narrow(self) -> PoolCase:
        """The same without dilation, and no more padding than such windows allow."""
        pads = tuple(
            (min(before, width // 2), min(after, width // 2))
            for (before, after), width in zip(self.pads, self.kernel)
        )
        return replace(self, dilation=(1,) * self.rank, pads=pads)

    def values(self, shape: tuple[int, ...], role: int, layout: str, positive: bool = False) -> np.ndarray:
        """Data of an array: small integers, so that many are equal, or reals of one order of magnitude."""
        generator = np.random.default_rng([self.seed, role])
        values = generator.integers(-2, 3, shape) if self.ties else generator.uniform(0.5, 1.5, shape)
        return lay_out((np.abs(values) if positive else values).astype(self.dtype), layout, int(self.batched))

    def make_input(self, positive: bool = False) -> np.ndarray:
        return self.values(self.shape, 0, self.layouts[0], positive)

    def make_grad_output(self, size: tuple[int, ...]) -> np.ndarray:
        return self.values(self.with_size(size), 1, self.layouts[1])

    def lay_out(self, values: np.ndarray) -> np.ndarray:
        """What a forward call gave, as a caller who keeps it in another memory order hands it back."""
        layout = "C" if self.layouts[2] == "broadcast" else self.layouts[2]
        return lay_out_any(values, layout, int(self.batched))

    def batch(self, array: np.ndarray) -> np.ndarray:
        """`array` as the loops want it, batched."""
        return array if self.batched else array[None]


def lay_out_any(values: np.ndarray, layout: str, channel: int) -> np.ndarray:
    """`lay_out` for integers too, which have no NaN to fill gaps with."""
    if values.dtype != np.int64:
        return lay_out(values, layout, channel)
    return lay_out(values.view(np.float64), layout, channel).view(np.int64)


def is_allowed(windows: list[list[reference.Window]]) -> bool:
    """Whether there is a window along every axis, and every window covers an element."""
    return all(axis and all(covered for covered, _ in axis) for axis in windows)


def _pads(
    draw: st.DrawFn, span: tuple[int, ...], stride: tuple[int, ...]
) -> tuple[Any, tuple[tuple[int, int], ...]]:
    """`padding` in one of its forms, and what it means: a pair per axis, at most half the window."""
    form = draw(st.sampled_from(["valid", "numbers", "numbers", "pairs", "same"]))
    if form == "same" and set(stride) == {1}:
        return "same", tuple(((width - 1) // 2, width - 1 - (width - 1) // 2) for width in span)
    if form == "numbers":
        numbers = tuple(draw(st.integers(0, width // 2)) for width in span)
        padding = numbers[0] if len(set(numbers)) == 1 else numbers
        return padding, tuple((number, number) for number in numbers)
    if form == "pairs":
        pads = tuple((draw(st.integers(0, width // 2)), draw(st.integers(0, width // 2))) for width in span)
        return pads, pads
    return "valid", ((0, 0),) * len(span)


@st.composite
def pool_cases(draw: st.DrawFn) -> PoolCase:
    kind = draw(st.sampled_from(KINDS))
    rank = draw(st.sampled_from([2, 1, 3])) if kind == "small" else draw(st.sampled_from([2, 1]))
    largest = {1: 14, 2: 7, 3: 4}[rank]
    if kind == "row":
        size = (*(draw(st.integers(1, 2)) for _ in range(rank - 1)), draw(st.integers(200, 600)))
    else:
        size = tuple(draw(st.integers(1, largest if kind == "small" else 3)) for _ in range(rank))
    kernel = tuple(draw(st.integers(1, 4 if rank < 3 else 3)) for _ in range(rank))
    stride = tuple(draw(st.sampled_from([1, 1, 2, 3, 4])) for _ in range(rank))
    if draw(st.booleans()):
        stride = kernel
    dilation = (1,) * rank
    if draw(st.booleans()):
        dilation = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    padding, pads = _pads(draw, span, stride)
    batched = draw(st.booleans())
    return PoolCase(
        batched,
        draw(st.integers(1, 3 if kind == "small" else 1)) if batched else 1,
        draw(st.integers(1, 4)) if kind == "small" else 1 if kind == "row" else draw(st.integers(30, 70)),
        size,
        draw(st.sampled_from(["float32", "float64"])),
        kernel,
        stride,
        pads,
        padding,
        dilation,
        draw(st.booleans()),
        tuple(
            draw(st.sampled_from([None, 1, 2, 3, 5, 40] if kind == "row" else [None, 1, 2, 3, 5]))
            for _ in size
        ),
        draw(st.booleans()),
        tuple(draw(st.sampled_from(INPUT_LAYOUTS)) for _ in range(3)),
        draw(st.integers(0, 2**16)),
    )
