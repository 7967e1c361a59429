"""The exact value of the part of a problem's result that is compared, in float64, and how far off one is."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.cases import Case, TrainCase, parameters
from benchmarks.corners import CornerCase, corner_exact
from benchmarks.problems import (
    CONV_KINDS,
    STEPS,
    Problem,
    conv_arrays,
    conv_bias,
    conv_kind,
    geometry_of,
    part,
    pool_input,
)
from benchmarks.training import NaiveStep
from fastconv import conv1d, conv2d, conv3d, grad


@lru_cache(maxsize=1)
def exact(problem: Problem) -> np.ndarray:
    """By loops that fastconv's fast paths do not share: those of algorithm="reference", or over taps.

    Of a corner, by another engine.
    """
    case = problem.case
    if problem.kind in CONV_KINDS:
        return conv_part(problem)
    if isinstance(case, CornerCase):
        return corner_exact(case)
    if isinstance(case, TrainCase):
        return losses(case)
    return average(problem.kind, case) if case.operation == "avg_pool" else maximum(problem.kind, case)


def conv_part(problem: Problem) -> np.ndarray:
    """The first groups as a convolution of their own, with fewer channels of what is computed."""
    case = problem.case
    assert isinstance(case, Case)
    conv, kind, here = geometry_of(case), conv_kind(problem), part(problem)
    input, weight, grad_output = (array.astype(np.float64) for array in conv_arrays(case))
    bias = conv_bias(case)
    sources = here.groups * (conv.in_channels // conv.groups)
    outputs = here.groups * (conv.out_channels // conv.groups)
    made = here.groups * here.channels
    parameters = {key: value for key, value in case.parameters.items() if key != "output_padding"}
    how: dict[str, Any] = {**parameters, "groups": here.groups, "algorithm": "reference"}
    if kind == "forward":
        function = (conv1d, conv2d, conv3d)[case.rank - 1]
        added = None if bias is None else bias[:made].astype(np.float64)
        activation = case.activation if case.operation == "conv" else None
        return function(input[: here.images, :sources], weight[:made], added, **how, activation=activation)
    if kind == "grad_input":
        size = (here.images, made, *conv.input_shape[2:])
        backward = getattr(grad, f"conv{case.rank}d_input")
        result = backward(
            size, weight[:outputs, : here.channels], grad_output[: here.images, :outputs], **how
        )
        return result if bias is None else result + bias[:made].reshape(-1, *(1,) * case.rank)
    size = (made, *weight.shape[1:])
    backward = getattr(grad, f"conv{case.rank}d_weight")
    return backward(input[:, :sources], size, grad_output[:, :made], **how)


def windows(case: Case, fill: float) -> tuple[np.ndarray, list[tuple[slice, ...]]]:
    """The input in float64 with `fill` around it, and for each tap what it meets, over all outputs."""
    spatial, around, steps = case.output_shape[2:], [(0, 0), (0, 0)], []
    axes = zip(case.size, spatial, case.kernel, case.stride, case.dilation, case.padding_pairs, strict=True)
    for size, outputs, kernel, stride, dilation, (before, after) in axes:
        last = (outputs - 1) * stride + (kernel - 1) * dilation + 1
        around.append((before, max(after, last - before - size)))
        starts = (tap * dilation for tap in range(kernel))
        steps.append([slice(start, start + (outputs - 1) * stride + 1, stride) for start in starts])
    padded = np.pad(pool_input(case).astype(np.float64), around, constant_values=fill)
    return padded, list(itertools.product(*steps))


def inside(case: Case, padded: np.ndarray) -> np.ndarray:
    """A view without the padding."""
    cut = (slice(before, before + size) for size, (before, _) in zip(case.size, case.padding_pairs))
    return padded[(..., *cut)]


def maximum(kind: str, case: Case) -> np.ndarray:
    """Of max-pooling: the output, or the gradient where grad_output is the output itself."""
    padded, taps = windows(case, -np.inf)
    output = np.full(case.output_shape, -np.inf)
    for tap in taps:
        np.maximum(output, padded[(..., *tap)], out=output)
    if kind in ("max_pool", "max_pool_indices"):
        return output
    gradient = np.zeros_like(padded)
    for tap in taps:  # no two elements are equal
        gradient[(..., *tap)] += np.where(padded[(..., *tap)] == output, output, 0.0)
    return inside(case, gradient)


def average(kind: str, case: Case) -> np.ndarray:
    """Of average-pooling: the output, or the gradient where grad_output is the output itself."""
    padded, taps = windows(case, 0.0)
    counted = np.zeros(
        padded.shape[2:]
    )  # the padding asked for counts, what ceil_mode reaches beyond does not
    axes = zip(case.size, case.padding_pairs, strict=True)
    counted[tuple(slice(before + size + after) for size, (before, after) in axes)] = 1
    output, counts = np.zeros(case.output_shape), np.zeros(case.output_shape[2:])
    for tap in taps:
        output += padded[(..., *tap)]
        counts += counted[tap]
    output /= counts
    if kind == "avg_pool":
        return output
    gradient = np.zeros_like(padded)
    for tap in taps:
        gradient[(..., *tap)] += output / counts
    return inside(case, gradient)


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
