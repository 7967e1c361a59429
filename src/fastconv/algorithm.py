"""Which algorithm computes a convolution: what each can serve, and `auto`'s rules in one table.

At precision "highest" the rms error is at most twice that of adding up one by one in the same dtype.

- reference serves everything; its error is that of rounding the result.
- direct serves everything. Where no window slides (conv/outer.pyx) it is one matrix product.
- sliding serves strides up to 8 and kernels of moderate reach.
- depthwise serves one input channel per group, or 2 or 4 and as many outputs.
- winograd serves kernels at least 2 wide, and wider than their stride, without dilation where that is not 1.
  F(2, 3) and F(3, 2) keep that bound on dense inputs (and may exceed it where nearly all are zero: they round
  by the tile, not by the window). F(4, 3) keeps it from 64 channels on, its products added up in short
  chunks (and may exceed it where the last channel outweighs all others, which one by one round alone); at
  precision "high" it serves any, and errs by at most 1e-5 of the output's rms.
- col2im serves input gradients of stride 1 with small planes, and kernels up to 64 wide.
- fft serves kernels of at least 9 taps. It works in float64 and rounds float32 results once, whole numbers
  below 2^24 to themselves; float64 results are not exact for whole numbers either. Its error is relative to
  the largest numbers of a block, wherever they lie; sums of zeros are exactly zero in float32, in float64
  only in the padding.

The choice looks at one image, never at the batch: an image's bits do not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from types import NoneType
from typing import Any, NamedTuple

from fastconv._kernels.conv.col2im import Col2imPlan, staged_outputs
from fastconv._kernels.conv.direct import ACTIVATIONS, DensePlan
from fastconv._kernels.conv.outer import OuterPlan, OuterWeightGradientPlan, slides
from fastconv._kernels.conv.outer import serves as outer_serves
from fastconv._kernels.conv.phases import unit_stride
from fastconv._kernels.conv.sliding import SlidingPlan
from fastconv._kernels.depthwise.plan import DepthwisePlan
from fastconv._kernels.engine.conv_pass import ConvPass
from fastconv._kernels.fft.blocks import estimate as fft_flops
from fastconv._kernels.fft.plan import FftPlan
from fastconv._kernels.fft.weight_gradient import FftWeightGradientPlan
from fastconv._kernels.reference.conv import ReferencePlan
from fastconv._kernels.weight_gradient.plan import WeightGradientPlan
from fastconv._kernels.winograd.plan import WinogradPlan
from fastconv._kernels.winograd.strided import StridedWinogradPlan, StridedWinogradWeightGradientPlan
from fastconv._kernels.winograd.weight_gradient import WinogradWeightGradientPlan
from fastconv.geometry import ConvGeometry

#: What `algorithm=` may be.
ALGORITHMS = ("auto", "reference", "direct", "sliding", "winograd", "depthwise", "col2im", "fft")

#: What it may be of a pooling: `auto` looks at the windows (pool/plan.pyx).
POOL_ALGORITHMS = ("auto", "reference")

#: The passes of a convolution.
DIRECTIONS = ("forward", "input_gradient", "weight_gradient")

#: Weight gradients that sum fewer products than this take Winograd's F(2, 3): the transforms of F(4, 3) alone
#: round as much as plain accumulation does over a few hundred.
TERMS_FOR_TILE_4 = 576

#: Products that Winograd adds up in one go, at most.
WINOGRAD_CHUNK = 128

#: Sums over so many channels take F(4, 3) at precision "highest", too. Its rms error over that of adding up
#: one by one (3x3; the worst of normal, rectified, uniform, badly scaled and cancelling data, and of one
#: channel that outweighs the others): 2.4 at 32 channels, 1.8 at 64, 1.5 at 96, 1.3 from 128 on.
TILE_4_CHANNELS = 64

#: Taps per axis of a Winograd tile with so many outputs.
WINOGRAD_TAPS = {2: 3, 3: 2, 4: 3}

#: What a product costs Winograd beside those of the direct algorithms: itself, and its share of the
#: transforms. An input's is shared by the output channels, a sum's by the input channels; where tiles are
#: dilated along rows their elements lie apart, and cost twice as much. (Measured: a 3x3 kernel breaks even at
#: some 40 channels, three taps in a row at 120.)
WINOGRAD_PRODUCT = 1.1
TRANSFORM_PRODUCTS = {"forward": 24, "input_gradient": 24, "weight_gradient": 40}

#: Transforming a weight takes as long as multiplying it with so many tiles. (Measured on planes of 4x4.)
WEIGHT_TILES = 5

#: With strides more must be gained: how many times fewer products than taps.
STRIDED_GAIN = {"forward": 1.5, "input_gradient": 1.3, "weight_gradient": 2.3}

#: Output channels, and products of each sum, that make up for the phases of the input.
STRIDED_CHANNELS = 48

#: What adding up a column costs, in products, and by what factor col2im has to win.
COLUMN_PRODUCTS = 6
COL2IM_MARGIN = 1.2

#: Measured costs of the direct algorithms, in products: of packing an element for all output channels, and
#: of beginning a row of them; of staging one for all taps and output channels; of an output that goes through
#: a scratch tile, for every chunk of its sum.
PACKED_PRODUCTS = 50
PACKED_ROW_PRODUCTS = 400
STAGED_PRODUCTS = 40
SCATTERED_PRODUCTS = 120

#: Elements that a stage has room for; vectors are up to so long; pixels as rows cost so much, beside pixels
#: as lanes, and pay from that many products of a sum on; chunks of a sum have so many.
STAGE_ELEMENTS = 1 << 16
MOST_LANES = 16
PIXEL_ROWS_COST = 1.2
PIXEL_ROWS_DEPTH = 64
CHUNK_DEPTH = 512

#: Outputs of a block of rows that meet the same source rows, and such rows: with fewer, "depthwise" mostly
#: fetches.
DEPTHWISE_BLOCK = 100
DEPTHWISE_ROWS = 4

#: Rows apart by a dilation are a class, and "depthwise" visits all: with more empty ones than this for each
#: row there is, the time goes by a number in a file and not by the work.
EMPTY_CLASSES = 16

#: Kernels of fewer taps are not looked at for FFT.
FFT_TAPS = 128

#: By what factor FFT's estimate has to beat the direct algorithms' FLOPs, of which their weight gradients do
#: about half as many in a second.
FFT_MARGIN = {"forward": 1.2, "input_gradient": 1.2, "weight_gradient": 0.8}

#: Larger groups have enough to reduce: "sliding" packs them, unless their channels are adjacent in memory.
DEPTHWISE_GROUP = 2

#: Plans are a few hundred bytes each; this many are remembered.
PLANS = 512


class Rule(NamedTuple):
    """`auto` takes the first algorithm whose rule holds; of geometry, direction and precision."""

    algorithm: str
    holds: Callable[[ConvGeometry, str, str], bool]
    because: str


def _winograd_class(geometry: ConvGeometry, direction: str) -> Any:
    """The plan of a geometry by Winograd's algorithm."""
    strided = max(geometry.stride) > 1
    if direction == "weight_gradient":
        return StridedWinogradWeightGradientPlan if strided else WinogradWeightGradientPlan
    return StridedWinogradPlan if strided else WinogradPlan


def _winograd_serves(geometry: ConvGeometry) -> bool:
    served: bool = _winograd_class(geometry, "forward").serves(geometry)
    return served


def _winograd_gain(geometry: ConvGeometry, tile: int) -> float:
    """How many times fewer products than taps: the last piece of a kernel, and some phases, lack taps."""
    gain = 1.0
    for taps, stride in zip(geometry.kernel[1:], geometry.stride[1:], strict=True):
        neighbours = -(-taps // stride)
        if neighbours > 1:
            pieces = -(-neighbours // WINOGRAD_TAPS[tile])
            gain *= taps * tile / (min(taps, stride) * pieces * (tile + WINOGRAD_TAPS[tile] - 1))
    return gain


def _winograd_cost(geometry: ConvGeometry, direction: str, tile: int) -> float:
    """Of a convolution without strides, beside one product per tap: of those that tiles take, with what they
    hang over, and of the transforms."""
    size = geometry.input_size if direction == "input_gradient" else geometry.output_size
    products = _winograd_products(geometry, size, tile) / (prod(size[1:]) * prod(geometry.kernel[1:]))
    shared = geometry.groups / geometry.in_channels + geometry.groups / geometry.out_channels
    apart = 2 if geometry.dilation[2] > 1 else 1
    return products * (WINOGRAD_PRODUCT + TRANSFORM_PRODUCTS[direction] * shared * apart)


def _winograd_wins(geometry: ConvGeometry, direction: str, precision: str) -> bool:
    if not _winograd_serves(geometry):
        return False
    tile = winograd_tile(geometry, direction, precision)
    unit = unit_stride(geometry)
    size = unit.output_size if direction == "forward" else unit.input_size
    if size[0] * _winograd_tiles(unit, size, tile) < 4:
        return False
    if max(geometry.stride) > 1:
        return _strided_winograd_wins(geometry, direction, tile)
    return _winograd_cost(geometry, direction, tile) < 1


def _strided_winograd_wins(geometry: ConvGeometry, direction: str, tile: int) -> bool:
    """Whether it saves enough products to pay for making phases of the input, or the input of phases."""
    unit, gain = unit_stride(geometry), _winograd_gain(geometry, tile)
    size = unit.output_size if direction == "forward" else unit.input_size
    edge = tile ** sum(taps > 1 for taps in unit.kernel[1:])
    gain *= prod(size[1:]) / (_winograd_tiles(unit, size, tile) * edge)  # tiles hang over
    inputs, outputs = unit.in_channels // unit.groups, unit.out_channels // unit.groups
    if gain < STRIDED_GAIN[direction]:
        return False
    if direction == "forward":  # F(3, 2) has short tiles: more transforms for as many products
        products = inputs * prod(-(-taps // WINOGRAD_TAPS[tile]) for taps in unit.kernel[1:])
        return min(products, outputs) >= STRIDED_CHANNELS and (tile != 3 or gain >= 2)
    # the two parities of an axis, of 2 or 3 taps each, are as fast by "sliding"
    return min(inputs, outputs) >= 16 and (tile != 3 or max(geometry.stride) > 2)


def _winograd_tiles(geometry: ConvGeometry, size: tuple[int, ...], tile: int) -> int:
    """Tiles of an output plane; a dilated convolution is several without dilation."""
    count = 1
    for outputs, taps, dilation in zip(size[1:], geometry.kernel[1:], geometry.dilation[1:], strict=True):
        count *= outputs if taps == 1 else dilation * -(-outputs // (tile * dilation))
    return count


def winograd_tile(geometry: ConvGeometry, direction: str, precision: str) -> int:
    """Outputs per axis of a Winograd tile: what takes the fewest products at the precision."""
    small = precision == "highest" and _depth(geometry, direction) < TILE_4_CHANNELS
    geometry = unit_stride(geometry)
    size = geometry.output_size if direction == "forward" else geometry.input_size
    return _best_tile(geometry, size, (2, 3) if small else (4, 2, 3), WEIGHT_TILES)


def _depth(geometry: ConvGeometry, direction: str) -> int:
    """Channels that an output, or an element of an input's gradient, sums over."""
    channels = geometry.in_channels if direction == "forward" else geometry.out_channels
    return channels // geometry.groups


def _winograd_chunk(geometry: ConvGeometry, direction: str, tile: int, precision: str) -> int:
    """How many products are added up in one go: F(4, 3) magnifies the error of such a sum."""
    if tile != 4 or precision != "highest":
        return WINOGRAD_CHUNK
    return min(WINOGRAD_CHUNK, max(32, _depth(geometry, direction) // 3))


def _winograd_products(geometry: ConvGeometry, size: tuple[int, ...], tile: int) -> int:
    """Of an output plane of this size, for each plane of the kernel."""
    count = _winograd_tiles(geometry, size, tile)
    for taps in geometry.kernel[1:]:
        if taps > 1:
            count *= -(-taps // WINOGRAD_TAPS[tile]) * (tile + WINOGRAD_TAPS[tile] - 1)
    return count


def _best_tile(
    geometry: ConvGeometry, size: tuple[int, ...], choice: tuple[int, ...], weight_tiles: int = 0
) -> int:
    """The tile of fewest products, if the weights' transforms cost as much as those of so many tiles."""

    def products(tile: int) -> float:
        found = _winograd_products(geometry, size, tile)
        return found * (1 + weight_tiles / _winograd_tiles(geometry, size, tile))

    return min(choice, key=products)


def winograd_weight_chunk(geometry: ConvGeometry) -> int:
    """How many products the weight gradient adds up in one go: F(4, 3) magnifies the error of such a sum."""
    return min(WINOGRAD_CHUNK, max(32, _positions(geometry) // 18))


def _winograd_wins_weights(geometry: ConvGeometry, direction: str, precision: str) -> bool:
    if not _winograd_serves(geometry):
        return False
    tile = winograd_weight_tile(geometry)
    if max(geometry.stride) > 1:
        if _winograd_gain(geometry, tile) < STRIDED_GAIN["weight_gradient"]:
            return False
    elif _winograd_cost(geometry, "weight_gradient", tile) > 1:
        return False
    geometry = unit_stride(geometry)
    channels = min(geometry.in_channels, geometry.out_channels) // geometry.groups
    # the transforms of both factors must be shared by many channels, those of the sums by many positions
    return channels >= 32 and channels * _positions(geometry) >= 24_000


def winograd_weight_tile(geometry: ConvGeometry) -> int:
    """`winograd_tile` of the weight gradient, whose sums run over the positions of the batch."""
    choice = (2, 3) if _positions(geometry) < TERMS_FOR_TILE_4 else (4, 2, 3)
    return _best_tile(unit_stride(geometry), geometry.output_size, choice)


def _positions(geometry: ConvGeometry) -> int:
    """Products in the sum of a weight's gradient."""
    return geometry.n * prod(geometry.output_size)


def _col2im_wins(geometry: ConvGeometry, direction: str, precision: str) -> bool:
    """Whether the others would mostly multiply grad_output's padding; all costs are per tap and element."""
    if not Col2imPlan.serves(geometry, direction):
        return False
    depth = geometry.out_channels // geometry.groups
    cost = staged_outputs(geometry) / prod(geometry.input_size) * (1 + COLUMN_PRODUCTS / depth)
    rival = 1.0
    if _winograd_wins(geometry, direction, precision):
        rival = _winograd_cost(geometry, direction, winograd_tile(geometry, direction, precision))
    return cost * COL2IM_MARGIN < rival


def _sliding_wins(geometry: ConvGeometry, direction: str, precision: str) -> bool:
    """Whether staging rows costs less than packing windows, with what either multiplies in vain."""
    if not SlidingPlan.serves(geometry, direction):
        return False
    forward = direction == "forward"
    depth, channels = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
    if not forward:
        depth, channels = channels, depth
    taps, reach, size, phases = [], [], [], 1
    for axis in range(3):
        kernel, stride = geometry.kernel[axis], geometry.stride[axis]
        outputs = geometry.output_size[axis] if forward else -(-geometry.input_size[axis] // stride)
        taps.append(kernel if forward else -(-kernel // stride))  # of one parity
        reach.append(geometry.dilation[axis] * (kernel - 1) // stride)
        size.append(outputs)
        phases *= min(stride, kernel) if axis > 0 else 1
    if prod(taps) == 1 and (forward or phases == 1):
        return False  # nothing is shared by taps or parities
    packed = 1 + (PACKED_PRODUCTS + PACKED_ROW_PRODUCTS / size[2]) / channels
    return _sliding_cost(geometry, forward, depth, channels, taps, reach, size, phases) < packed


def _sliding_cost(
    geometry: ConvGeometry,
    forward: bool,
    depth: int,
    channels: int,
    taps: list[int],
    reach: list[int],
    size: list[int],
    phases: int,
) -> float:
    width, sums = size[2], depth * prod(taps)
    # outputs are computed row by row, in whole vectors, or with those between rows, by way of scratch tiles
    lanes = -(-width // MOST_LANES) * MOST_LANES
    by_rows, flat = lanes / width, 1 + reach[2] / width + SCATTERED_PRODUCTS / min(sums, CHUNK_DEPTH)
    multiplied = min(by_rows, flat) if size[1] > 1 else by_rows
    filled = -(-channels // MOST_LANES) * MOST_LANES
    if (
        (forward or phases == 1)
        and sums >= PIXEL_ROWS_DEPTH
        and 4 * channels >= 3 * filled
        and 8 * width < 7 * lanes
    ):
        multiplied = min(multiplied, PIXEL_ROWS_COST)
    # a block is as many rows, or as much of one, as have room, with what its windows reach beyond it
    share = min(depth, max(1, CHUNK_DEPTH // prod(taps)))  # channels staged at a time
    room = STAGE_ELEMENTS // (share * taps[0] * (phases if forward else 1))
    columns = max(1, min(width, room // (1 + reach[1]) - reach[2]))
    rows = max(1, min(size[1], room // (columns + reach[2]) - reach[1]))
    staged = (rows + reach[1]) * (columns + reach[2]) / (rows * columns) * taps[0]
    shared = channels * prod(taps) / phases if forward else channels * prod(taps) * phases
    return multiplied + STAGED_PRODUCTS * staged / shared


def _depthwise_wins(geometry: ConvGeometry, direction: str, precision: str) -> bool:
    if (
        (geometry.groups == 1 and geometry.out_channels > 1)
        or geometry.in_channels // geometry.groups > DEPTHWISE_GROUP
        or not DepthwisePlan.serves(geometry)
    ):
        return False
    size = geometry.output_size if direction == "forward" else geometry.input_size
    classes = geometry.dilation[1] if geometry.kernel[1] > 1 and max(geometry.stride) == 1 else 1
    if classes > EMPTY_CLASSES * size[1]:
        return False  # every class is visited, and nearly all are empty
    rows = -(-size[1] // classes)
    fetches = classes > 1 and (rows < DEPTHWISE_ROWS or rows * size[2] < DEPTHWISE_BLOCK)
    return not (fetches and SlidingPlan.serves(geometry, direction))


def _fft_wins(geometry: ConvGeometry, direction: str, precision: str) -> bool:
    if prod(geometry.kernel) < FFT_TAPS:
        return False
    return fft_flops(geometry, direction) * FFT_MARGIN[direction] < geometry.flops / max(1, geometry.n)


def _is_product(geometry: ConvGeometry, direction: str, precision: str) -> bool:
    if direction == "weight_gradient":
        return outer_serves(geometry, direction)
    return max(geometry.kernel) > 1 and not slides(geometry)


def _always(geometry: ConvGeometry, direction: str, precision: str) -> bool:
    return True


_PRODUCT = Rule(
    "direct", _is_product, "a matrix product: along each axis one of the three arrays has but one element"
)
_FFT = Rule("fft", _fft_wins, "a product per frequency instead of one per tap, where there are hundreds")
_DIRECT = Rule("direct", _always, "serves everything, as fast as the machine multiplies")
_OF_IMAGES = (
    _PRODUCT,
    _FFT,
    Rule(
        "depthwise",
        _depthwise_wins,
        "little to reduce but taps: rows stay in cache, lanes are pixels, or channels",
    ),
    Rule("col2im", _col2im_wins, "no product with padding, of which a gradient of small planes has most"),
    Rule(
        "winograd", _winograd_wins, "2.25 (or 4) times fewer multiplications, where they pay the transforms"
    ),
    Rule("sliding", _sliding_wins, "windows of several taps are read where they lie, none is packed"),
    _DIRECT,
)

#: The rules of `auto`, by direction. A plan decides further by the memory order of the arrays it meets, as
#: its `info` tells: "sliding" may take pixels for rows, or small groups side by side; "direct" has four ways
#: to a weight gradient.
AUTO = {
    "forward": _OF_IMAGES,
    "input_gradient": _OF_IMAGES,
    "weight_gradient": (
        _PRODUCT,
        _FFT,
        Rule(
            "winograd",
            _winograd_wins_weights,
            "fewer multiplications, for sums over many positions",
        ),
        _DIRECT,
    ),
}


def check_activation(activation: Any) -> None:
    """Raise `ValueError` or `TypeError` for anything but the fused activations and None."""
    if not isinstance(activation, (str, NoneType)):
        raise TypeError(f"activation={activation!r}: must be a name or None")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation={activation!r}: must be one of {', '.join(map(repr, ACTIVATIONS))}")


def check_algorithm(algorithm: str, names: tuple[str, ...] = ALGORITHMS) -> None:
    """Raise `ValueError` for a name that is none of `names`."""
    if not isinstance(algorithm, str) or algorithm not in names:
        raise ValueError(f"algorithm={algorithm!r}: must be one of {', '.join(names)}")


def choose(geometry: ConvGeometry, direction: str, precision: str) -> str:
    """The algorithm that "auto" stands for: in one of `DIRECTIONS`, at a precision."""
    return next(rule.algorithm for rule in AUTO[direction] if rule.holds(geometry, direction, precision))


@lru_cache(maxsize=PLANS)
def plan(geometry: ConvGeometry, direction: str, algorithm: str, precision: str) -> ConvPass:
    """How one geometry is computed in one direction, remembered.

    Raises
    ------
    ValueError
        Unknown algorithm, or one that cannot serve the geometry: it is never replaced silently.
    """
    check_algorithm(algorithm)
    if algorithm == "auto":
        algorithm = choose(geometry, direction, precision)
    if algorithm == "reference":
        return ReferencePlan(geometry, direction)
    if algorithm == "winograd":
        winograd: ConvPass = _winograd_class(geometry, direction)(
            geometry, direction, *_winograd_options(geometry, direction, precision)
        )
        return winograd
    if direction == "weight_gradient":
        return _weight_gradient_plan(geometry, direction, algorithm)
    if algorithm == "sliding":
        has_small_groups = geometry.groups > 1 and DepthwisePlan.serves(geometry)
        return SlidingPlan(
            geometry, direction, DepthwisePlan(geometry, direction) if has_small_groups else None
        )
    if algorithm == "depthwise":
        return DepthwisePlan(geometry, direction)
    if algorithm == "col2im":
        return Col2imPlan(geometry, direction)
    if algorithm == "fft":
        return FftPlan(geometry, direction)
    return (OuterPlan if outer_serves(geometry, direction) else DensePlan)(geometry, direction)


def _winograd_options(geometry: ConvGeometry, direction: str, precision: str) -> tuple[int, ...]:
    """Outputs of a tile, and the products that are added up in one go."""
    if direction == "weight_gradient":
        return winograd_weight_tile(geometry), winograd_weight_chunk(geometry)
    tile = winograd_tile(geometry, direction, precision)
    return tile, _winograd_chunk(geometry, direction, tile, precision)


def _weight_gradient_plan(geometry: ConvGeometry, direction: str, algorithm: str) -> ConvPass:
    if algorithm in ("sliding", "depthwise", "col2im"):
        raise ValueError(f"algorithm={algorithm!r}: does not compute weight gradients")
    if algorithm == "fft":
        return FftWeightGradientPlan(geometry, direction)
    if outer_serves(geometry, direction):
        return OuterWeightGradientPlan(geometry, direction)
    return WeightGradientPlan(geometry, direction)
