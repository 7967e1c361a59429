"""fastconv as one of the engines: NumPy arrays at its public functions."""

from __future__ import annotations

import numpy as np

import fastconv
from benchmarks.cases import ConvCase, PoolCase
from benchmarks.corners import CornerCase, corner_arrays, corner_call
from benchmarks.peers import CannotError, Engine, Job, train_job
from benchmarks.problems import Problem, conv_arrays, pool_input
from benchmarks.training import FastStep
from fastconv import grad, nn


class Fastconv(Engine):
    """The default algorithm, weights packed inside the call; other ways where they are asked for by name."""

    def __init__(self, way: str) -> None:
        """`way` is "high", "channels-last", "new output", "packed" or nothing."""
        fastconv.set_precision("high" if way == "high" else "highest")
        self.channels_last = way == "channels-last"
        self.new_output = way == "new output"
        self.packed = way == "packed"

    def versions(self) -> dict[str, str]:
        return {"fastconv": fastconv.__version__, "numpy": np.__version__}

    def job(self, problem: Problem, threads: int) -> Job:
        fastconv.set_num_threads(threads)
        case = problem.case
        if isinstance(case, ConvCase):
            return self._conv(problem.kind, case)
        if isinstance(case, PoolCase):
            return self._pool(problem.kind, case)
        if isinstance(case, CornerCase):
            return Job(corner_call("fastconv", case, corner_arrays(case)))
        return train_job(lambda learning_rate: FastStep(case, learning_rate))

    def _ordered(self, array: np.ndarray) -> np.ndarray:
        """The same array with its channels last in memory, if this engine is about that."""
        return (
            np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
            if self.channels_last
            else array
        )

    def _conv(self, kind: str, case: ConvCase) -> Job:
        input, weight, grad_output = conv_arrays(case)
        input, grad_output = self._ordered(input), self._ordered(grad_output)
        rank, how = len(case.size), case.parameters
        if kind == "forward":
            conv = getattr(fastconv, f"conv{rank}d")
            if self.new_output:
                return Job(lambda: conv(input, weight, **how))
            if self.packed:
                packed = fastconv.pack_weight(weight, **how)
                return Job(lambda: packed(input))
            out = self._ordered(np.empty(case.output_shape, case.dtype))
            return Job(lambda: conv(input, weight, **how, out=out))
        if kind == "grad_input":
            backward = getattr(grad, f"conv{rank}d_input")
            return Job(lambda: backward(case.input_shape, weight, grad_output, **how))
        backward = getattr(grad, f"conv{rank}d_weight")
        return Job(lambda: backward(input, case.weight_shape, grad_output, **how))

    def _pool(self, kind: str, case: PoolCase) -> Job:
        if self.channels_last:
            raise CannotError("pools are compared contiguous")
        input = pool_input(case)
        if kind == "max_pool":
            return Job(lambda: fastconv.max_pool2d(input, *case.window))
        if kind == "max_pool_indices":
            return Job(
                lambda: fastconv.max_pool2d(input, *case.window, return_indices=True), lambda pair: pair[0]
            )
        if kind == "max_pool_backprop":
            output, backprop = nn.MaxPool2d(*case.window).vjp(input)
            return Job(lambda: backprop(output))
        output, indices = fastconv.max_pool2d(input, *case.window, return_indices=True)
        return Job(lambda: grad.max_pool2d_input(case.input_shape, indices, output))
