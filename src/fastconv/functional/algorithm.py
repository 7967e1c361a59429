"""Which algorithm computes a convolution: what each can serve, and `auto`'s rules in one table.

- reference serves everything; its error is that of rounding the result.
- direct serves everything; its rms error is at most that of plain accumulation.
- depthwise serves one input and one output channel per group; likewise.
- winograd serves 3 or 3x3 taps (any number of planes) with stride and dilation 1. F(2, 3) has at most twice
  that error; F(4, 3), which takes precision "high", at most 1e-5 of the output's rms.

The choice looks at one image, never at the batch: an image's bits do not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from fastconv._kernels.conv import DensePlan
from fastconv._kernels.depthwise import DepthwisePlan
from fastconv._kernels.reference import ReferencePlan, ReferenceWeightGradientPlan
from fastconv._kernels.weight_gradient import WeightGradientPlan
from fastconv._kernels.winograd import WinogradPlan
from fastconv.geometry import ConvGeometry

#: What `algorithm=` may be.
ALGORITHMS = ("auto", "reference", "direct", "winograd", "depthwise")

#: Plans are a few hundred bytes each; this many are remembered.
PLANS = 512

Plan = DensePlan | WinogradPlan | DepthwisePlan | ReferencePlan
WeightPlan = WeightGradientPlan | ReferenceWeightGradientPlan


class Rule(NamedTuple):
    """`auto` takes the first algorithm whose rule holds."""

    algorithm: str
    holds: Callable[[ConvGeometry, str, str], bool]  #: of geometry, direction and precision
    because: str


def _winograd_wins(geometry: ConvGeometry, direction: str, precision: str) -> bool:
    if not WinogradPlan.serves(geometry):
        return False
    tile = winograd_tile(geometry, direction, precision)
    size = geometry.output_size if direction == "forward" else geometry.input_size
    rows = size[1] if geometry.kernel[1] == 1 else -(-size[1] // tile)
    tiles = size[0] * rows * -(-size[2] // tile)
    depth, channels = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
    # transformed weights are read once for every few dozen tiles: there must be work enough for each of them
    weights = depth * channels * geometry.kernel[0]
    return min(depth, channels) >= 16 and tiles >= 32 and weights <= 2**16 * (tiles / 32) ** 1.5


def winograd_tile(geometry: ConvGeometry, direction: str, precision: str) -> int:
    """Outputs per axis of a Winograd tile: 4 where the precision allows and few are cut off, else 2."""
    size = geometry.output_size if direction == "forward" else geometry.input_size
    shortest = size[2] if geometry.kernel[1] == 1 else min(size[1:])
    return 4 if precision != "highest" and shortest >= 20 else 2


AUTO = (
    Rule(
        "depthwise",
        lambda geometry, direction, precision: DepthwisePlan.serves(geometry),
        "nothing to reduce over: rows stay in cache, lanes are pixels",
    ),
    Rule(
        "winograd", _winograd_wins, "2.25 (or 4) times fewer multiplications, where they pay the transforms"
    ),
    Rule(
        "direct",
        lambda geometry, direction, precision: True,
        "serves everything, as fast as the machine multiplies",
    ),
)


def check_algorithm(algorithm: str) -> None:
    """Raise `ValueError` for a name that is none of `ALGORITHMS`."""
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm={algorithm!r}: must be one of {', '.join(ALGORITHMS)}")


def choose(geometry: ConvGeometry, direction: str, precision: str) -> str:
    """The algorithm that "auto" stands for: "forward" or "input_gradient" of a geometry at a precision."""
    return next(rule.algorithm for rule in AUTO if rule.holds(geometry, direction, precision))


@lru_cache(maxsize=PLANS)
def plan(geometry: ConvGeometry, direction: str, algorithm: str, precision: str) -> Plan:
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
    if algorithm == "depthwise":
        return DepthwisePlan(geometry, direction)
    if algorithm == "winograd":
        return WinogradPlan(geometry, direction, winograd_tile(geometry, direction, precision))
    return DensePlan(geometry, direction)


@lru_cache(maxsize=PLANS)
def weight_plan(geometry: ConvGeometry, algorithm: str) -> WeightPlan:
    """How one geometry's weight gradient is computed, remembered; raises as `plan` does."""
    check_algorithm(algorithm)
    if algorithm == "reference":
        return ReferenceWeightGradientPlan(geometry)
    if algorithm in ("winograd", "depthwise"):
        raise ValueError(f"algorithm={algorithm!r}: does not compute weight gradients")
    return WeightGradientPlan(geometry)
