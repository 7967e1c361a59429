"""The exact value of the part of a problem's result that is compared, in float64, and how far off one is."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks import naive
from benchmarks.cases import ConvCase, PoolCase, TrainCase, parameters
from benchmarks.corners import CornerCase, corner_exact
from benchmarks.problems import STEPS, Problem, conv_arrays, part, pool_input
from benchmarks.training import NaiveStep
from fastconv import conv1d, conv2d, conv3d, grad


@lru_cache(maxsize=1)
def exact(problem: Problem) -> np.ndarray:
    """By the loops of algorithm="reference" or of `naive`, neither of which fastconv's fast paths share.

    Of a corner, by another engine.
    """
    case = problem.case
    if isinstance(case, ConvCase):
        return conv_part(problem.kind, case)
    if isinstance(case, PoolCase):
        output, indices = naive.max_pool(pool_input(case).astype(np.float64), *case.window)
        if problem.kind in ("max_pool", "max_pool_indices"):
            return output
        return naive.max_pool_input(case.input_shape, indices, output)
    if isinstance(case, CornerCase):
        return corner_exact(case)
    return losses(case)


def conv_part(kind: str, case: ConvCase) -> np.ndarray:
    """The first groups as a convolution of their own, with fewer channels of what is computed."""
    input, weight, grad_output = (array.astype(np.float64) for array in conv_arrays(case))
    here = part(Problem(kind, case.id))
    sources = here.groups * (case.in_channels // case.groups)
    outputs = here.groups * (case.out_channels // case.groups)
    how: dict[str, Any] = {**case.parameters, "groups": here.groups, "algorithm": "reference"}
    rank = len(case.size)
    if kind == "forward":
        conv = (conv1d, conv2d, conv3d)[rank - 1]
        return conv(input[: here.images, :sources], weight[: here.groups * here.channels], **how)
    if kind == "grad_input":
        size = (here.images, here.groups * here.channels, *case.size)
        backward = getattr(grad, f"conv{rank}d_input")
        return backward(size, weight[:outputs, : here.channels], grad_output[: here.images, :outputs], **how)
    size = (here.groups * here.channels, *weight.shape[1:])
    backward = getattr(grad, f"conv{rank}d_weight")
    return backward(input[:, :sources], size, grad_output[:, : here.groups * here.channels], **how)


def losses(case: TrainCase) -> np.ndarray:
    step = NaiveStep(case, [value.astype(np.float64) for value in parameters(case)])
    return np.array([step() for _ in range(STEPS)])


def relative_error(result: np.ndarray, exact: np.ndarray) -> float:
    """Rms of the difference relative to the rms of the exact value; infinite if the shapes differ."""
    if result.shape != exact.shape:
        return float("inf")
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.sqrt(np.mean((result.astype(np.float64) - exact) ** 2))
        error = float(difference / np.sqrt(np.mean(exact**2)))
    return error if np.isfinite(error) else float("inf")
