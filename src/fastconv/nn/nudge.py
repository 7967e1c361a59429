"""The deck's literal rule of learning: adjust each number up and down a bit and see how the error changes.

No backprop: the slope of the error along every feature pixel and voting weight is measured, by two
evaluations of the net each, and the number then moves against it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv.nn.arguments import real
from fastconv.nn.clipping import clip_grad_norm
from fastconv.nn.examples import LEARN, Batch, KnownNet, check_loss, check_net
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import ParameterBackprop, Value, call, each, together
from fastconv.nn.layers.container import Sequential
from fastconv.nn.losses.base import Loss
from fastconv.nn.optim import SGD
from fastconv.nn.optimizer import HOW_TO_MAKE_ONE
from fastconv.nn.parameter import Parameter

#: Bytes of intermediate results that are evaluated together.
BATCH_BYTES = 1 << 22


class Nudge(SGD):
    """Learning by trying: each number is nudged up and down, and moves against the change of the error.

    Stands where an optimizer stands, in `nn.fit(optimizer=nn.Nudge(...))`. A step evaluates the net twice per
    number, on the whole batch: what lies in front of the nudged layer is computed once, and what lies behind
    it for many nudges at a time. The net is evaluated in inference mode, so dropout is off and the running
    statistics of batch norm stay what they are. While a step runs, nobody else may use the net.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float, default 0.1
        How far a number moves per change of error per nudge.
    amount : float, default 0.01
        How far "a bit" is.
    momentum : float, default 0.0
        Share of the last move that is kept; the deck's rule has none.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule. By `learn` also: the net mixes the examples of a batch,
        or lacks one of the parameters.
    FloatingPointError
        By `learn`: the loss is not finite, or a number is so large that a nudge of it is lost in rounding;
        nothing has moved.

    Notes
    -----
    The slope along a number is (error above - error below) / (2 * amount), a central difference, so the rule
    is gradient descent with 2 * P evaluations per step for P numbers, where backprop needs about the time of
    three.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]] * 8, np.float32)
    >>> y = np.array([0, 1] * 8)
    >>> net = nn.Linear(2, 2, rng=0)
    >>> history = nn.fit(net, x, y, loss=nn.TotalAbsoluteError(), optimizer=nn.Nudge(net.parameters(), 0.05),
    ...                  epochs=40, rng=0, progress=False)
    >>> history.accuracy[-1]
    1.0
    """

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 0.1, amount: float = 0.01, momentum: float = 0.0
    ) -> None:
        super().__init__(parameters, lr, momentum)
        self.amount = real("amount", amount, above=0)

    @property
    def evaluations_per_step(self) -> int:
        """How often a step evaluates the net: twice for every number that is learned."""
        return 2 * sum(parameter.value.size for parameter in self.parameters)

    def _check_learns(self, known: KnownNet) -> None:
        for parameter in self.parameters:
            if id(parameter) not in known.parameters:
                raise ValueError(
                    f"optimizer: {parameter!r} belongs to no layer of the net; {HOW_TO_MAKE_ONE}"
                )

    def _learn(self, net: Layer, loss: Loss, batch: Batch, max_grad_norm: float | None) -> tuple[float, Any]:
        """See `Optimizer._learn`. Nothing moves either if a nudge is lost in rounding beside its number."""
        prediction = net(*each(batch.inputs))
        value = loss.value(prediction, batch.targets, *batch.extra)
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value}")
        for parameter, slopes in self._slopes(net, loss, batch, prediction):
            parameter.grad[...] = slopes
        if max_grad_norm is not None:
            clip_grad_norm(self.parameters, max_grad_norm)
        self.step()
        return value, prediction

    def _forward(self, net: Layer, inputs: Value) -> tuple[Any, ParameterBackprop]:
        return net(*each(inputs)), lambda *grad_outputs: None

    def cost(self, net: Layer, input: Any, target: Any, *, loss: Loss) -> NudgeCost:
        """What a step costs beside backprop, measured on one batch; nothing moves, no gradient is touched.

        Returns
        -------
        NudgeCost

        Raises
        ------
        TypeError, ValueError
            As `learn`.
        """
        check_net(net)
        check_loss(loss)
        known = self._know(net)
        self._check_learns(known)
        batch = known.take(LEARN, loss, input, target)
        kept = [parameter.grad.copy() for parameter in self.parameters]
        statistics = net.state_dict()  # a training pass moves those of batch norm
        try:
            began = time.perf_counter()
            slopes = [s for _, s in self._slopes(net, loss, batch, net(*each(batch.inputs)))]
            nudged = time.perf_counter() - began
            self.zero_grad()
            began = time.perf_counter()
            prediction, backprop = self._learning(net).vjp_parameters(*each(batch.inputs))
            backprop(*each(loss.gradient(prediction, batch.targets)[1]))
            propagated = time.perf_counter() - began
            furthest = max(float(np.abs(p.grad - s).max()) for p, s in zip(self.parameters, slopes))
        finally:
            net.load_state_dict(statistics)
            for parameter, grad in zip(self.parameters, kept):
                parameter.grad[...] = grad
        return NudgeCost(self.evaluations_per_step, nudged, propagated, furthest)

    def _slopes(
        self, net: Layer, loss: Loss, batch: Batch, prediction: Value
    ) -> Iterator[tuple[Parameter, np.ndarray]]:
        """Each parameter with the slope of the error along each of its numbers."""
        stages = _stages(net)
        inputs = [batch.inputs]
        for stage in stages[:-1]:
            inputs.append(call(stage, inputs[-1]))
        _check_independent(stages, batch.inputs, prediction)
        inside = [set(map(id, stage.parameters())) for stage in stages]
        for parameter in self.parameters:
            places = [i for i, found in enumerate(inside) if id(parameter) in found]
            front = stages[places[0] : places[-1] + 1]
            behind = stages[places[-1] + 1 :]
            yield parameter, self._parameter_slopes(parameter, front, behind, inputs[places[0]], loss, batch)

    def _parameter_slopes(
        self,
        parameter: Parameter,
        front: list[Layer],
        behind: list[Layer],
        input: Value,
        loss: Loss,
        batch: Batch,
    ) -> np.ndarray:
        """Nudge every number; run `front` for each nudge, and `behind` for many at a time."""
        numbers = parameter.value.reshape(-1)
        slopes = np.empty(numbers.size)
        first = 0
        while first < numbers.size:
            outputs: list[Value] = []
            widths: list[float] = []
            for number in range(first, numbers.size):
                kept = numbers[number]
                try:
                    numbers[number] = kept + self.amount
                    above = numbers[number]
                    outputs.append(_run(front, input))
                    numbers[number] = kept - self.amount
                    widths.append(float(above) - float(numbers[number]))
                    outputs.append(_run(front, input))
                finally:
                    numbers[number] = kept
                if widths[-1] == 0:
                    raise FloatingPointError(f"a nudge of {self.amount:g} is lost beside {float(kept):g}")
                if (len(outputs) + 2) * sum(array.nbytes for array in each(outputs[0])) > BATCH_BYTES:
                    break
            parts = _apart(_run(behind, _stacked(outputs)), len(outputs))
            errors = [loss.value(part, batch.targets, *batch.extra) for part in parts]
            for i, width in enumerate(widths):
                slopes[first + i] = (errors[2 * i] - errors[2 * i + 1]) / width
            first += len(widths)
        return slopes.reshape(parameter.value.shape)


@dataclass(frozen=True)
class NudgeCost:
    """What one step of `Nudge` costs beside one of backprop.

    Attributes
    ----------
    evaluations : int
        Times the net is evaluated on the whole batch.
    seconds, backprop_seconds : float
        Wall time for all slopes, and for the same gradient by backprop.
    difference : float
        Largest difference between a slope and its gradient.
    """

    evaluations: int
    seconds: float
    backprop_seconds: float
    difference: float

    def __str__(self) -> str:
        return (
            f"nudging: {self.evaluations:,} evaluations, {self.seconds * 1e3:.3g} ms per step; backprop: "
            f"{self.backprop_seconds * 1e3:.3g} ms ({self.seconds / self.backprop_seconds:.0f}x); slopes "
            f"differ by at most {self.difference:.2g}"
        )


def _stages(net: Layer) -> list[Layer]:
    """The layers that run one after the other."""
    if type(net) is Sequential and len(net):
        return [stage for layer in net for stage in _stages(layer)]
    return [net]


def _run(stages: list[Layer], value: Value) -> Any:
    for stage in stages:
        value = call(stage, value)
    return value


def _stacked(values: list[Value]) -> Any:
    """Batches as one: of several arrays, each of them."""
    return together([np.concatenate(arrays) for arrays in zip(*map(each, values))])


def _apart(value: Value, count: int) -> list[Any]:
    """A batch in so many of equal length."""
    return [together(arrays) for arrays in zip(*[np.split(array, count) for array in each(value)])]


def _check_independent(stages: list[Layer], input: Value, prediction: Value) -> None:
    """Nudges are evaluated as one batch, which is right only if examples do not influence each other."""
    twice = each(_run(stages, _stacked([input, input])))
    expected = each(_stacked([prediction, prediction]))
    if not all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(twice, expected)):
        raise ValueError(
            "net: mixes the examples of a batch; nudging needs each output to depend on one example"
        )
