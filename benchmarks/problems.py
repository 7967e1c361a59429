"""What is measured: a pass of a case, the arrays it takes, and the part of its result that is compared.

Needs NumPy alone: the peers' processes do not import fastconv.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import CASES, ConvCase, PoolCase, TrainCase, normal_numbers
from benchmarks.corners import CornerCase

CONV_KINDS = ("forward", "grad_input", "grad_weight")
POOL_KINDS = ("max_pool", "max_pool_indices", "max_pool_input", "max_pool_backprop")
TRAIN_KINDS = ("train_step",)
CORNER_KINDS = ("corner",)

#: Multiplications and additions that computing the exact value of a part may take.
EXACT_FLOPS = 10**8

#: Of training, the losses of this many steps from the beginning are compared.
STEPS = 3


@dataclass(frozen=True)
class Problem:
    """One pass of one case.

    Kinds of convolutions: forward, grad_input, grad_weight. Of pools: max_pool, max_pool_indices (which also
    tells where each maximum was, as training needs it), max_pool_input (the gradient, from such indices),
    max_pool_backprop (the gradient in a net, whose layer remembers what it likes). Of networks: train_step.
    Of corners: corner.
    """

    kind: str
    case_id: str

    @property
    def case(self) -> ConvCase | PoolCase | TrainCase | CornerCase:
        return CASES[self.case_id]

    @property
    def dtype(self) -> str:
        return self.case.dtype if isinstance(self.case, ConvCase) else "float32"

    @property
    def flops(self) -> int:
        """0 where they say nothing."""
        return self.case.flops if isinstance(self.case, ConvCase) else 0


def conv_arrays(case: ConvCase) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, weight and grad_output, the same ones in every process."""
    shapes = (case.input_shape, case.weight_shape, case.output_shape)
    input, weight, grad_output = (
        normal_numbers(shape, case.dtype, seed) for seed, shape in enumerate(shapes, 1)
    )
    return input, weight, grad_output


def pool_input(case: PoolCase) -> np.ndarray:
    """No two elements of it are equal, so that there is one answer to where a maximum is."""
    count = int(np.prod(case.input_shape))
    return np.random.default_rng(1).permutation(count).astype(np.float32).reshape(case.input_shape)


@dataclass(frozen=True)
class Part:
    """Of a convolution's result: the first images and the first channels of the first groups."""

    images: int
    groups: int
    channels: int

    def of(self, result: np.ndarray, kind: str) -> np.ndarray:
        """Cut it out of a result (N, C, ...), or (K, C / groups, ...) of the weight gradient."""
        channels = self.groups * self.channels
        return result[:channels] if kind == "grad_weight" else result[: self.images, :channels]


def part(problem: Problem) -> Part:
    """What can be computed exactly within `EXACT_FLOPS`, at least one channel of one image."""
    case = problem.case
    assert isinstance(case, ConvCase)
    images = (
        case.n if problem.kind == "grad_weight" else max(1, min(case.n, EXACT_FLOPS * case.n // case.flops))
    )
    made = (case.in_channels if problem.kind == "grad_input" else case.out_channels) // case.groups
    budget = EXACT_FLOPS * case.n // images
    groups = max(1, min(case.groups, budget * case.groups // case.flops))
    channels = made if groups > 1 else max(1, min(made, budget * case.groups * made // case.flops))
    return Part(images, groups, channels)


def compared(problem: Problem, result: np.ndarray) -> np.ndarray:
    """The part of a result that is compared with exact values."""
    return part(problem).of(result, problem.kind) if problem.kind in CONV_KINDS else result
