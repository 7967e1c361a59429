"""fastconv as one of the engines: NumPy arrays at its public functions, weights packed inside the call."""

from __future__ import annotations

import numpy as np

import fastconv
from benchmarks.cases import ConvCase, PoolCase
from benchmarks.peers import CannotError, Engine, Job, train_job
from benchmarks.problems import Problem, conv_arrays, pool_input
from benchmarks.training import FastStep
from fastconv import grad


class Fastconv(Engine):
    """The default algorithm, at a precision, on arrays of an order, into an output that is there or not."""

    def __init__(
        self, precision: str = "highest", channels_last: bool = False, new_output: bool = False
    ) -> None:
        fastconv.set_precision(precision)
        self.channels_last = channels_last
        self.new_output = new_output

    def versions(self) -> dict[str, str]:
        return {"fastconv": fastconv.__version__, "numpy": np.__version__}

    def job(self, problem: Problem, threads: int) -> Job:
        fastconv.set_num_threads(threads)
        case = problem.case
        if isinstance(case, ConvCase):
            return self._conv(problem.kind, case)
        if isinstance(case, PoolCase):
            return self._pool(problem.kind, case)
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
        output, indices = fastconv.max_pool2d(input, *case.window, return_indices=True)
        return Job(lambda: grad.max_pool2d_input(case.input_shape, indices, output))
