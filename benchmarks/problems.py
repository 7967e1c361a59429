"""What is measured: a pass of a case, the arrays it takes, and the part of its result that is compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmarks.cases import CASES, Case, TrainCase, case_of, normal_numbers
from benchmarks.corners import CornerCase
from fastconv.algorithm import DIRECTIONS
from fastconv.geometry import ConvGeometry

CONV_KINDS = ("forward", "grad_input", "grad_weight")
POOL_KINDS = ("max_pool", "max_pool_indices", "max_pool_input", "max_pool_backprop")
AVERAGE_KINDS = ("avg_pool", "avg_pool_input")
TRAIN_KINDS = ("train_step",)
CORNER_KINDS = ("corner",)

#: The kinds of a line's directions.
LINE_KINDS = {
    "conv": dict(zip(DIRECTIONS, CONV_KINDS, strict=True)),
    "conv_transpose": dict(zip(DIRECTIONS, CONV_KINDS, strict=True)),
    "max_pool": {"forward": "max_pool", "input_gradient": "max_pool_input"},
    "avg_pool": dict(zip(DIRECTIONS, AVERAGE_KINDS, strict=False)),
}

#: A transposed convolution is a convolution run backwards.
BACKWARDS = {"forward": "grad_input", "grad_input": "forward", "grad_weight": "grad_weight"}

#: Multiplications and additions that computing the exact value of a part may take.
EXACT_FLOPS = 10**8

#: Of training, the losses of this many steps from the beginning are compared.
STEPS = 3


@dataclass(frozen=True)
class Problem:
    """One pass of one case: of `CASES`, by its name, or of what a line says.

    Kinds of convolutions: forward, grad_input, grad_weight. Of pools: max_pool, max_pool_indices (which also
    tells where each maximum was, as training needs it), max_pool_input (the gradient, from such indices),
    max_pool_backprop (the gradient in a net, whose layer remembers what it likes), avg_pool, avg_pool_input.
    Of networks: train_step. Of corners: corner.
    """

    kind: str
    case_id: str

    @property
    def case(self) -> Case | TrainCase | CornerCase:
        return CASES.get(self.case_id) or case_of(self.case_id)

    @property
    def dtype(self) -> str:
        return self.case.dtype if isinstance(self.case, Case) else "float32"

    @property
    def flops(self) -> int:
        """0 where they say nothing."""
        return geometry_of(self.case).flops if self.kind in CONV_KINDS else 0

    @property
    def least_bytes(self) -> int:
        """What a pass of a convolution reads or writes at least: input, weight and output, once each."""
        geometry = geometry_of(self.case)
        shapes = (geometry.input_shape, geometry.weight_shape, geometry.output_shape)
        return sum(map(math.prod, shapes)) * np.dtype(self.dtype).itemsize


def line_problem(line: str) -> Problem:
    """What a line names; raises `ValueError` as `case_of` does."""
    case = case_of(line)
    return Problem(LINE_KINDS[case.operation][case.direction], line)


def geometry_of(case: Case | TrainCase | CornerCase) -> ConvGeometry:
    """Of a convolution, or of the one that a transposed convolution is the input gradient of."""
    assert isinstance(case, Case)
    assert isinstance(case.geometry, ConvGeometry)
    return case.geometry


def conv_arrays(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, weight and grad_output of the convolution in `geometry_of`, the same ones in every process."""
    geometry = geometry_of(case)
    shapes = (geometry.input_shape, geometry.weight_shape, geometry.output_shape)
    input, weight, grad_output = (
        normal_numbers(shape, case.dtype, seed) for seed, shape in enumerate(shapes, 1)
    )
    return input, weight, grad_output


def conv_bias(case: Case) -> np.ndarray | None:
    """One number per output channel, if the case has a bias."""
    return normal_numbers((case.out_channels,), case.dtype, 4) if case.bias else None


def pool_input(case: Case) -> np.ndarray:
    """No two elements of it are equal, so that there is one answer to where a maximum is."""
    count = int(np.prod(case.input_shape))
    return np.random.default_rng(1).permutation(count).astype(case.dtype).reshape(case.input_shape)


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
    conv, kind = geometry_of(problem.case), conv_kind(problem)
    images = conv.n if kind == "grad_weight" else max(1, min(conv.n, EXACT_FLOPS * conv.n // conv.flops))
    made = (conv.in_channels if kind == "grad_input" else conv.out_channels) // conv.groups
    budget = EXACT_FLOPS * conv.n // images
    groups = max(1, min(conv.groups, budget * conv.groups // conv.flops))
    channels = made if groups > 1 else max(1, min(made, budget * conv.groups * made // conv.flops))
    return Part(images, groups, channels)


def conv_kind(problem: Problem) -> str:
    """The pass, as one of the convolution in `geometry_of`."""
    case = problem.case
    transposed = isinstance(case, Case) and case.operation == "conv_transpose"
    return BACKWARDS[problem.kind] if transposed else problem.kind


def compared(problem: Problem, result: np.ndarray) -> np.ndarray:
    """The part of a result that is compared with exact values."""
    return part(problem).of(result, conv_kind(problem)) if problem.kind in CONV_KINDS else result
