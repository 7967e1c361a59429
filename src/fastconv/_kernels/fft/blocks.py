"""A convolution as correlations of stride 1 with adjacent taps, and how these are cut into blocks for FFT.

Along an axis, with S the stride and D the dilation, output o meets input `S o + D t - before` at tap t:

- Every output meets taps t, t + h, t + 2 h, ... (h = S / gcd(S, D)) at inputs that lie S D / gcd(S, D) apart:
  the inputs are read in *phases*, one for each t below h, which sum up as channels do.
- With dilation, neighbouring outputs meet different inputs, those e = D / gcd(S, D) apart neighbouring ones:
  the outputs are computed in *turns*, e of them.

An input gradient has one phase; its outputs of each remainder modulo S are a correlation of their own. A
weight gradient is the correlation of the input with grad_output: its outputs are the taps of a phase, and its
turns add up.

The kernel of a correlation is cut into pieces, its outputs into blocks:

    outputs   blocks of `hop`      from piece to piece, a block's inputs move on by the length of a piece;
    kernel    pieces of `piece`    where that equals the hop, they are the next block's, and transformed once

(uniformly partitioned overlap-save). A transform is as long as a block's inputs: hop + piece - 1, at least.

Stockham, "High-speed convolution and correlation", AFIPS 28 (1966); Kulp, "Digital equalization using Fourier
transform techniques", AES 85 (1988), for the pieces.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from math import gcd, inf, log2, prod
from typing import Any, NamedTuple

MEMORY_BYTES = 5 << 19  # of the kernel's spectra, of the source's and of a thread's; more for a large kernel
PER_THREAD = 5  # spectra that a thread works with: a block on its way, and sums
FEWEST_TAPS = 9  # the sum of fewer products may round less than a transform does
LARGEST_LENGTH = 1 << 20
LANES = 8  # rows and columns are padded to whole vectors of any instruction set
PAD = 16  # doubles between rows, and between spectra: neighbours use different lines of a cache

# What things cost on a core, in FLOPs that the direct algorithms would have done meanwhile: the transform of
# a point per doubling of the length, its way from or to an array, the product of a complex number, a task,
# a call. A transform costs FAR times as much if its block overflows a cache of CACHE_BYTES, and LONG times
# if its lines overflow L1.
TRANSFORM_FLOPS, POINT_FLOPS, PRODUCT_FLOPS, TASK_FLOPS, CALL_FLOPS = 12.0, 80.0, 100.0, 1e4, 4e6
CACHE_BYTES, FAR = 1 << 20, 1.4
LINE, LONG = 400, 2.0

IDLE = 1 / 8  # what one block alone costs more, per thread that has nothing to do meanwhile: up to 3 of 4


#: Elements along an axis: first, step, count.
Place = tuple[int, int, int]


class Line(NamedTuple):
    """An axis of a correlation. Places in arrays are (first, step, count)."""

    taps: tuple[Place, ...]  # places in the kernel, per phase
    firsts: tuple[int, ...]  # where each phase begins in the source
    step: int  # from element to element of a phase
    turns: tuple[tuple[int, Place], ...]  # (how far the source moves, places in the output) of each


def lines_of(geometry: Any, axis: int, direction: str) -> list[Line]:
    """The `Line`s that an axis consists of: independent ones."""
    stride, dilation, before = geometry.stride[axis], geometry.dilation[axis], geometry.before[axis]
    kernel, inputs, outputs = geometry.kernel[axis], geometry.input_size[axis], geometry.output_size[axis]
    turns, step = dilation // gcd(stride, dilation), stride // gcd(stride, dilation)
    phases = range(min(step, kernel))
    taps = [(t, step, (kernel - t + step - 1) // step) for t in phases]
    if direction == "input_gradient":
        found = []
        for t, (_, _, count) in zip(phases, taps):
            parity = (t * dilation - before) % stride
            last = (parity + before - t * dilation) // stride  # the output that meets the first tap
            found.append(
                Line(
                    ((t + (count - 1) * step, -step, count),),
                    (last - turns * (count - 1),),
                    turns,
                    tuple(
                        [
                            (
                                r,
                                (
                                    parity + stride * r,
                                    stride * turns,
                                    -((parity + stride * r - inputs) // (stride * turns)),
                                ),
                            )
                            for r in range(turns)
                            if parity + stride * r < inputs
                        ]
                    ),
                )
            )
        return [line for line in found if line.turns]
    at = tuple(
        [(stride * r, (r, turns, (outputs - r + turns - 1) // turns)) for r in range(min(turns, outputs))]
    )
    firsts = [t * dilation - before for t in phases]
    if direction == "weight_gradient":
        return [Line((place,), (first,), stride * turns, at) for place, first in zip(taps, firsts)]
    return [Line(tuple(taps), tuple(firsts), stride * turns, at)]


class Cut(NamedTuple):
    """How an axis is cut."""

    length: int  # of a transform; 1 if the axis has none
    piece: int  # taps of a piece ...
    pieces: int  # ... and how many there are
    hop: int  # outputs of a block ...
    blocks: int  # ... and how many there are

    @property
    def segments(self) -> int:
        """Stretches of the source that are transformed."""
        return self.blocks + self.pieces - 1

    @property
    def stretch(self) -> int:
        """From one of them to the next."""
        return self.hop if self.pieces == 1 else self.piece


class Blocks(NamedTuple):
    """How a pass is cut."""

    cuts: tuple[Cut, ...]  # per axis
    rows: int  # filters whose spectra are kept at a time: all of several groups, or some of one
    depth: int  # source channels at a time (of a group; with their phases)
    bytes: (
        int  # of a part's spectra, at most: the kernel's (in a weight gradient the sums'), and the source's
    )
    flops: float  # what it costs


# ---- sizes -------------------------------------------------------------------------------------------


def smooth(multiple: int, most: int) -> list[int]:
    """Multiples of a number that have no prime factor above 5, up to `most`."""
    return sorted(
        {
            multiple * two * odd
            for odd in (1, 3, 5, 9, 15)
            for two in [1 << p for p in range(21)]
            if multiple * two * odd <= most
        }
    )


def grid_of(length: int) -> tuple[int, int] | None:
    """(rows, columns) of complex numbers that a line of `length` reals is, or None."""
    half = length // 2
    choices = [(half // c, c) for c in smooth(LANES, half) if half % c == 0 and c * c <= 4 * half]
    return min(choices, key=lambda rc: (rc[0] % LANES > 0, abs(log2(rc[0] / rc[1])))) if choices else None


def line_of(length: int) -> tuple[int, int]:
    """`grid_of` a length that has one."""
    grid = grid_of(length)
    assert grid is not None
    return grid


@lru_cache(maxsize=64)
def lengths_of(position: str) -> list[int]:
    """What a transformed axis may be long: alone, the first (which is folded), in between, or the last."""
    if position == "alone":
        return [n for n in smooth(2 * LANES, LARGEST_LENGTH) if grid_of(n) is not None]
    return smooth({"first": 2, "middle": 1, "last": LANES}[position], LARGEST_LENGTH)


def transformed(taps: tuple[int, ...], outputs: tuple[int, ...]) -> list[int]:
    """Axes along which a transform saves anything; at least one."""
    axes = [a for a in range(3) if taps[a] > 1 and outputs[a] > 1]
    return axes or [max(range(3), key=lambda a: taps[a] * outputs[a])]


def positions_of(axes: list[int]) -> tuple[str, ...]:
    return {1: ("alone",), 2: ("first", "last"), 3: ("first", "middle", "last")}[len(axes)]


def cuts_of(taps: int, outputs: int, position: str, most: int) -> list[Cut]:
    """About `most` ways to cut an axis."""
    needed = taps + outputs - 1
    found, lengths = [], lengths_of(position)
    lengths = list(reversed(lengths[: sum([n < needed for n in lengths]) + 1]))
    for n in lengths[:: max(1, -(-len(lengths) // most))]:
        if n >= taps:  # the whole kernel
            hop = min(outputs, n - taps + 1)
            found.append(Cut(n, taps, 1, hop, -(-outputs // hop)))
        if n >= outputs and n < needed:  # all outputs
            piece = min(taps, n - outputs + 1)
            found.append(Cut(n, piece, -(-taps // piece), outputs, 1))
        half = n // 2
        if half >= 4 and taps > half and outputs > half:
            found.append(Cut(n, half, -(-taps // half), half, -(-outputs // half)))
    return found


def matrix_of(lengths: list[int]) -> tuple[int, int]:
    """(rows, columns) of complex numbers that a block is."""
    *others, last = [n for n in lengths if n > 1]
    return (prod(others) // 2, last) if others else line_of(last)


def spectrum_points(lengths: list[int]) -> int:
    """Complex numbers of a spectrum, padding included."""
    rows, columns = matrix_of(lengths)
    return -(-rows // LANES) * LANES * columns


def longest_line(lengths: list[int]) -> int:
    """Complex numbers of the longest line of a block that is transformed at a time."""
    first, *others = [n for n in lengths if n > 1]
    return max(first // 2, *others) if others else max(line_of(first))


# ---- the choice --------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def cut(
    taps: tuple[int, ...],
    outputs: tuple[int, ...],
    phases: int,
    depth: int,
    rows: int,
    groups: int,
    images: int,
    gradient: bool,
) -> Blocks:
    """The cheapest `Blocks` of correlations with so many taps and outputs per axis.

    `images` are those that sum up (of a weight gradient, with its turns; else 1).
    """
    axes = transformed(taps, outputs)
    most = {1: 60, 2: 16, 3: 7}[len(axes)]
    choices = [[Cut(1, 1, taps[a], 1, outputs[a])] for a in range(3)]
    for a, position in zip(axes, positions_of(axes)):
        choices[a] = cuts_of(taps[a], outputs[a], position, most)
    depth *= phases
    every = (priced(cuts, depth, rows, groups, images, gradient) for cuts in product(*choices))
    return min(every, key=lambda blocks: blocks.flops)


def priced(cuts: tuple[Cut, ...], depth: int, rows: int, groups: int, images: int, gradient: bool) -> Blocks:
    """The `Blocks` of these cuts."""
    lengths = [c.length for c in cuts]
    points, spectrum = prod(lengths), spectrum_points(lengths)
    pieces, blocks = prod([c.pieces for c in cuts]), prod([c.blocks for c in cuts])
    segments = prod([c.segments for c in cuts])
    size = 16 * spectrum + 8 * PAD
    # three times as long as the kernel along each axis, most of a block is outputs
    allowed = 8 * prod(
        [3 * (c.hop * c.blocks if gradient else c.piece * c.pieces) for c in cuts if c.length > 1]
    )
    held_allowed = allowed if gradient else allowed * depth * prod([c.pieces for c in cuts if c.length == 1])
    if gradient:  # the sums of all blocks of some filters and channels
        held = blocks * size
        limit = max(MEMORY_BYTES, held)
        at_once = limit // held
        depth_parts = -(-depth // at_once)
        rows_at_once = at_once // depth if depth_parts == 1 else 1
        kernels, sources = rows * pieces * depth_parts * images, depth * segments * images
        results = rows * depth * blocks
    else:  # the kernels of some filters, the source of a block
        held = depth * pieces * size
        limit = max(MEMORY_BYTES, held)
        depth_parts, rows_at_once = 1, limit // held
        kernels, sources, results = rows * depth * pieces, depth * segments, rows * blocks
    parts = -(-rows // min(rows, rows_at_once))
    rows_at_once = -(-rows // parts) if parts > 1 else rows * min(groups, rows_at_once // rows)
    sources *= parts
    transform = points * log2(points) * TRANSFORM_FLOPS * spectrum / (points / 2) + points * POINT_FLOPS
    if 8 * points > CACHE_BYTES:
        transform *= FAR
    if longest_line(lengths) > LINE:
        transform *= LONG
    products = rows * depth * pieces * blocks * images * spectrum * PRODUCT_FLOPS
    if min(rows, depth if gradient else blocks) == 1:
        products *= 1.5
    flops = groups * ((kernels + sources + results) * (transform + TASK_FLOPS) + products)
    flops = flops * (1 + IDLE * (4 / min(4, groups * results) - 1)) + CALL_FLOPS
    if held > max(MEMORY_BYTES, held_allowed) or size > max(MEMORY_BYTES // PER_THREAD, allowed):
        flops *= held  # only where nothing else is left
    return Blocks(cuts, rows_at_once, -(-depth // depth_parts), limit, flops)


def served(geometry: Any) -> bool:
    """Whether a geometry is one for FFT at all: enough taps."""
    return bool(prod(geometry.kernel) >= FEWEST_TAPS)


def channels_of(geometry: Any, direction: str) -> tuple[int, int]:
    """Per group: (source channels, filters)."""
    inputs, outputs = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
    return (outputs, inputs) if direction == "input_gradient" else (inputs, outputs)


@lru_cache(maxsize=512)
def cut_of(geometry: Any, direction: str) -> tuple[Blocks, list[list[Line]]]:
    """The `Blocks` of a pass, and the `Line`s of each axis."""
    lines = [lines_of(geometry, axis, direction) for axis in range(3)]
    gradient = direction == "weight_gradient"
    taps, outputs = [], []
    for axis in lines:
        in_kernel = max([count for line in axis for _, _, count in line.taps], default=1)
        in_output = max([count for line in axis for _, (_, _, count) in line.turns], default=1)
        taps.append(in_output if gradient else in_kernel)
        outputs.append(in_kernel if gradient else in_output)
    turns = prod([len(axis[0].turns) for axis in lines if axis])
    depth, rows = channels_of(geometry, direction)
    phases = prod([len(axis[0].taps) for axis in lines if axis])
    found = cut(
        tuple(taps),
        tuple(outputs),
        phases,
        depth,
        rows,
        geometry.groups,
        max(1, geometry.n) * turns if gradient else 1,
        gradient,
    )
    return found, lines


def blocks_of(geometry: Any, direction: str) -> tuple[Blocks, list[list[Line]]]:
    """`cut_of`; ValueError if the algorithm does not serve the geometry."""
    if not served(geometry):
        raise ValueError(
            f"algorithm='fft': needs a kernel of at least {FEWEST_TAPS} taps, not {geometry.kernel} (D, H, W)"
        )
    return cut_of(geometry, direction)


def estimate(geometry: Any, direction: str) -> float:
    """What a pass costs per image, in FLOPs of the direct algorithms; infinite where FFT cannot serve."""
    if not served(geometry):
        return inf
    found, lines = cut_of(geometry, direction)
    several = prod([len(axis) for axis in lines])
    if direction == "weight_gradient":
        return float(found.flops * several / max(1, geometry.n))
    turns = prod([len(axis[0].turns) for axis in lines if axis])
    return float(found.flops * several * turns)
