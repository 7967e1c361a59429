"""Where windows lie, in the terms of ONNX: kernel_shape, strides, pads, auto_pad, dilations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Pairs = tuple[tuple[int, int], ...]


class Windows(NamedTuple):
    """One entry per spatial axis.

    Attributes
    ----------
    kernel, stride, dilation : tuple of int
    padding : tuple of (before, after)
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Pairs


def windows(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int] = (),
    pads: Sequence[int] = (),
    dilations: Sequence[int] = (),
    auto_pad: str = "NOTSET",
) -> Windows:
    """The windows over an input of these spatial sizes.

    Raises
    ------
    ValueError
        Another number of entries than there are axes, or an `auto_pad` that is none.
    """
    rank = len(sizes)
    for name, given, count in (
        ("kernel_shape", kernel, rank),
        ("strides", strides, rank),
        ("dilations", dilations, rank),
        ("pads", pads, 2 * rank),
    ):
        if len(given) not in ((count,) if name == "kernel_shape" else (0, count)):
            raise ValueError(f"{name}={tuple(given)}: must have {count} entries")
    stride = tuple(strides) or (1,) * rank
    dilation = tuple(dilations) or (1,) * rank
    if min((*kernel, *stride, *dilation), default=1) < 1:
        raise ValueError(
            f"kernel_shape, strides, dilations={tuple(kernel)}, {stride}, {dilation}: must be positive"
        )
    if auto_pad in ("NOTSET", ""):
        before, after = tuple(pads[:rank]) or (0,) * rank, tuple(pads[rank:]) or (0,) * rank
        padding = tuple(zip(before, after))
    elif auto_pad == "VALID":
        padding = ((0, 0),) * rank
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        padding = tuple(
            _same(size, (k - 1) * d + 1, s, auto_pad == "SAME_LOWER")
            for size, k, s, d in zip(sizes, kernel, stride, dilation)
        )
    else:
        raise ValueError(f"auto_pad={auto_pad!r}: must be NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    return Windows(tuple(kernel), stride, dilation, padding)


def _same(size: int, window: int, stride: int, lower: bool) -> tuple[int, int]:
    """Padding that makes the output size / stride, rounded up; an odd one behind, or in front if `lower`."""
    total = max(0, (-(-size // stride) - 1) * stride + window - size)
    half = total // 2
    return (total - half, half) if lower else (half, total - half)
