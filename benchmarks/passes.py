"""Each case's passes as a pair of calls on the same data: fastconv's and the naive one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import fastconv
from benchmarks import naive
from benchmarks.cases import Case, whole_numbers

#: What a result may differ by, relative to the largest element. The naive results are exact: whole numbers.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}

CONV_PASSES = ("forward", "grad_input", "grad_weight")
POOL_PASSES = ("forward", "grad_input")


@dataclass(frozen=True)
class Pair:
    """The same computation twice; each call returns a new array."""

    fastconv: Callable[[], np.ndarray]
    naive: Callable[[], np.ndarray]


def conv_pair(case: Case, name: str) -> Pair:
    """One of `CONV_PASSES`."""
    rank = case.rank
    input = whole_numbers(case.input_shape, case.dtype, seed=1)
    weight = whole_numbers(case.weight_shape, case.dtype, seed=2)
    grad_output = whole_numbers(case.output_shape, case.dtype, seed=3)
    engines, arguments = {
        "forward": ((getattr(fastconv, f"conv{rank}d"), naive.conv), (input, weight)),
        "grad_input": (
            (getattr(fastconv.grad, f"conv{rank}d_input"), naive.conv_input),
            (case.input_shape, weight, grad_output),
        ),
        "grad_weight": (
            (getattr(fastconv.grad, f"conv{rank}d_weight"), naive.conv_weight),
            (input, case.weight_shape, grad_output),
        ),
    }[name]
    fast, slow = engines
    return Pair(lambda: fast(*arguments, **case.parameters), lambda: slow(*arguments, **case.parameters))


def pure_pair(case: Case) -> Pair:
    """The forward pass against loops over lists of Python numbers, the lists made beforehand."""
    fast = conv_pair(case, "forward").fastconv
    input = whole_numbers(case.input_shape, case.dtype, seed=1).tolist()
    weight = whole_numbers(case.weight_shape, case.dtype, seed=2).tolist()
    return Pair(fast, lambda: naive.pure_conv2d(input, weight, case.parameters["padding"]))


def pool_pair(case: Case, name: str) -> Pair:
    """One of `POOL_PASSES`; the backward pass from the indices of the forward one."""
    input = whole_numbers(case.input_shape, "float32", seed=1)
    window = (case.kernel, case.parameters["stride"], case.parameters["padding"])
    if name == "forward":
        return Pair(lambda: fastconv.max_pool2d(input, *window), lambda: naive.max_pool(input, *window)[0])
    output, indices = fastconv.max_pool2d(input, *window, return_indices=True)
    arguments = (case.input_shape, indices, whole_numbers(output.shape, "float32", seed=3))
    return Pair(lambda: fastconv.grad.max_pool2d_input(*arguments), lambda: naive.max_pool_input(*arguments))


def assert_agree(result: np.ndarray, exact: np.ndarray) -> None:
    """Fail unless fastconv's result is the naive one within `TOLERANCE`."""
    exact = np.asarray(exact)
    assert result.shape == exact.shape
    limit = TOLERANCE[str(result.dtype)] * np.abs(exact).max(initial=0)
    worst = np.abs(result - exact).max(initial=0)
    assert worst <= limit, f"differs by {worst:g}, more than {limit:g}"
