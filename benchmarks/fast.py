"""fastconv as one of the engines: NumPy arrays at its public functions."""

from __future__ import annotations

import numpy as np

import fastconv
from benchmarks.cases import Case, TrainCase
from benchmarks.corners import CornerCase, corner_arrays, corner_call
from benchmarks.peers import CannotError, Engine, Job, train_job
from benchmarks.problems import Problem, conv_arrays, conv_bias, pool_input
from benchmarks.training import FastStep
from fastconv import grad, nn


class Fastconv(Engine):
    """The default algorithm, weights packed inside the call; other ways where they are asked for by name."""

    def __init__(self, way: str) -> None:
        """`way` is "high", "channels-last", "new output", "packed" or nothing."""
        self.precision = "high" if way == "high" else "highest"
        self.channels_last = way == "channels-last"
        self.new_output = way == "new output"
        self.packed = way == "packed"

    def versions(self) -> dict[str, str]:
        return {"fastconv": fastconv.__version__, "numpy": np.__version__}

    def job(self, problem: Problem, threads: int) -> Job:
        fastconv.set_num_threads(threads)
        case = problem.case
        if isinstance(case, CornerCase):
            return Job(corner_call("fastconv", case, corner_arrays(case)))
        if isinstance(case, TrainCase):
            return train_job(lambda learning_rate: FastStep(case, learning_rate))
        fastconv.set_precision(case.precision or self.precision)
        make = {"conv": self._conv, "conv_transpose": self._transposed}.get(case.operation, self._pool)
        return make(problem.kind, case)

    def _ordered(self, array: np.ndarray, case: Case) -> np.ndarray:
        """The same array with its channels last in memory, if this engine or the case is about that."""
        return (
            np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
            if self.channels_last or case.channels_last
            else array
        )

    def _conv(self, kind: str, case: Case) -> Job:
        input, weight, grad_output = conv_arrays(case)
        input, grad_output = self._ordered(input, case), self._ordered(grad_output, case)
        rank, bias, how = case.rank, conv_bias(case), {**case.parameters, **case.call_parameters}
        if kind == "forward":
            conv = getattr(fastconv, case.function)
            if self.new_output:
                return Job(lambda: conv(input, weight, bias, **how))
            if self.packed:
                packed = fastconv.pack_weight(weight, bias, **how)
                return Job(lambda: packed(input))
            out = self._ordered(np.empty(case.output_shape, case.dtype), case)
            return Job(lambda: conv(input, weight, bias, **how, out=out))
        if kind == "grad_input":
            backward = getattr(grad, f"conv{rank}d_input")
            return Job(lambda: backward(case.input_shape, weight, grad_output, **how))
        backward = getattr(grad, f"conv{rank}d_weight")
        return Job(lambda: backward(input, case.weight_shape, grad_output, **how))

    def _transposed(self, kind: str, case: Case) -> Job:
        grad_output, weight, input = conv_arrays(case)  # of the convolution that it runs backwards
        input, grad_output = self._ordered(input, case), self._ordered(grad_output, case)
        bias, how = conv_bias(case), case.parameters
        if kind == "forward":
            transposed = getattr(fastconv, case.function)
            return Job(lambda: transposed(input, weight, bias, **how))
        if kind == "grad_input":
            return Job(lambda: grad.conv_transpose_input(case.input_shape, weight, grad_output, **how))
        return Job(lambda: grad.conv_transpose_weight(input, case.weight_shape, grad_output, **how))

    def _pool(self, kind: str, case: Case) -> Job:
        if self.channels_last:
            raise CannotError("pools are compared contiguous")
        input, window = self._ordered(pool_input(case), case), case.parameters
        pool = getattr(fastconv, case.function)
        if kind in ("max_pool", "avg_pool"):
            return Job(lambda: pool(input, **window))
        if kind == "max_pool_indices":
            return Job(lambda: pool(input, **window, return_indices=True), lambda pair: pair[0])
        if kind == "max_pool_backprop":
            output, backprop = nn.MaxPool2d(**window).vjp(input)
            return Job(lambda: backprop(output))
        backward = getattr(grad, f"{case.function}_input")
        if kind == "avg_pool_input":
            output = pool(input, **window)
            return Job(lambda: backward(case.input_shape, output, **window))
        output, indices = pool(input, **window, return_indices=True)
        return Job(lambda: backward(case.input_shape, indices, output))
