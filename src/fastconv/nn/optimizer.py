"""What all optimizers share: the arrays they keep, a step, a training step, and their state in a file.

A step costs as many array operations as there are formulas in it, not times the number of parameters: small
parameters are gathered into one row of numbers, large ones are cut so that all operations on a piece find it
in cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np

from fastconv.geometry import as_array, check_shape, whole_number
from fastconv.nn.archive import File, read_archive, write_archive
from fastconv.nn.arguments import real
from fastconv.nn.clipping import clip_grad_norm
from fastconv.nn.examples import LEARN, Batch, KnownNet, check_loss, check_net
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import ParameterBackprop, Value, each, output_gradients
from fastconv.nn.layers.learner import Learner
from fastconv.nn.losses.base import Loss
from fastconv.nn.parameter import Parameter

#: Elements updated together: gradient, state and scratch of so many float32 stay in a 1 MiB cache.
ROW = 32768

#: Bytes of the block by which malloc is told what a training step will allocate: see `_keep_freed_memory`.
STEP_BYTES = 2**24


# What an optimizer has that only makes sense beside the arrays of its own parameters, or a net.
_OVER_ARRAYS = ("_arrays", "_rows", "_learner", "_pieces")

#: For messages about one that was made of something else.
HOW_TO_MAKE_ONE = "make it with net.parameters(), and copy or pickle net and optimizer together"


class Row:
    """Up to `ROW` elements of one dtype, from one or many parameters, that are updated together."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.values: list[np.ndarray] = []  # flat views of parameters
        self.grads: list[np.ndarray] = []
        self.origin: list[tuple[int, int]] = []  # which parameter, and from which element on
        self.state: dict[str, np.ndarray] = {}
        self.size = 0

    def add(self, index: int, parameter: Parameter, start: int, stop: int) -> None:
        """Take elements `start` to `stop` of a parameter in."""
        self.values.append(parameter.value.reshape(-1)[start:stop])
        self.grads.append(parameter.grad.reshape(-1)[start:stop])
        self.origin.append((index, start))
        self.size += stop - start

    def close(self, state: Iterable[str]) -> None:
        """All elements are in: make the state, zeros to begin with."""
        self.state = {name: np.zeros(self.size, self.dtype) for name in state}

    def split(self, array: np.ndarray) -> list[np.ndarray]:
        """An array of the row's length as views, one per value."""
        return np.split(array, np.cumsum([value.size for value in self.values])[:-1])

    @cached_property
    def work(self) -> np.ndarray:
        """Scratch for what is to be taken off the values."""
        return np.empty(self.size, self.dtype)

    @cached_property
    def gathered(self) -> np.ndarray:
        """Scratch for the gradients."""
        return np.empty(self.size, self.dtype)

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """Views of `work`, one per value."""
        return self.split(self.work)

    def gradient(self, weight_decay: float) -> np.ndarray:
        """All gradients in one row, plus `weight_decay` times the values; the caller may overwrite it."""
        np.concatenate(self.grads, out=self.gathered)
        if weight_decay:
            np.concatenate(self.values, out=self.work)
            self.work *= weight_decay
            self.gathered += self.work
        return self.gathered

    def subtract_work(self) -> None:
        """Take `work` off the values."""
        for value, part in zip(self.values, self.parts):
            value -= part


def _keep_freed_memory() -> None:
    """Let the arrays of one training step lie where those of the step before did.

    glibc gives the end of its heap back to the system when more is free there than twice the largest block
    that it has seen freed so far, and a step frees all that it made: the next one would take its arrays from
    fresh pages, which cost as much as computing them. A block that nobody writes to costs next to nothing.
    """
    with suppress(MemoryError):
        np.empty(STEP_BYTES, np.uint8)


def _rows(parameters: list[Parameter], state: tuple[str, ...]) -> list[Row]:
    rows: list[Row] = []
    open_rows: dict[np.dtype, Row] = {}
    for index, parameter in enumerate(parameters):
        size, dtype, start = parameter.value.size, parameter.value.dtype, 0
        while start < size:
            row = open_rows.get(dtype)
            if row is None or row.size == ROW:
                row = open_rows[dtype] = Row(dtype)
                rows.append(row)
            stop = min(size, start + ROW - row.size)
            row.add(index, parameter, start, stop)
            start = stop
    for row in rows:
        row.close(state)
    return rows


class Optimizer:
    """Base of all optimizers; one of your own defines `_update` and names its state per element.

    Of a net, `learn` (and so `nn.fit`) trains the parameters that the optimizer was made with. Layers that
    only have others stay as they are: no gradient reaches their parameters, batch norm in them goes by its
    running statistics and moves none, dropout is off, and gradients go back no further than to the first
    layer that learns. So `nn.Adam(net[-1].parameters())` trains the head alone.

    Copied or pickled together, net and optimizer go on as the originals would. An optimizer copied alone by
    `copy.copy` learns the same parameters as the original, with a state of its own; by `copy.deepcopy` or
    pickle it has copies of the parameters, which belong to no net, and `learn` refuses the original net.

    Attributes
    ----------
    parameters : list of Parameter
    lr : float
        Learning rate; may be set between steps.
    steps : int
        Steps taken.
    """

    _state: tuple[str, ...] = ()
    _known = KnownNet()  # what `learn` knows of the net it met last

    def __init__(self, parameters: Iterable[Parameter], lr: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        for i, parameter in enumerate(self.parameters):
            if not isinstance(parameter, Parameter):
                raise TypeError(f"parameters[{i}]: must be a Parameter, not {type(parameter).__name__}")
        if not self.parameters:
            raise ValueError("parameters: there are none to learn")
        if len(set(map(id, self.parameters))) != len(self.parameters):
            raise ValueError("parameters: the same one is there twice")
        self.lr = real("lr", lr, at_least=0)
        self.weight_decay = real("weight_decay", weight_decay, at_least=0)
        self.steps = 0
        self._learner: Learner | None = None
        self._bind()

    def _bind(self) -> None:
        """Lay rows over the arrays that the parameters have now; the state is zeros."""
        self._arrays = [parameter.value for parameter in self.parameters]
        self._rows = _rows(self.parameters, self._state)
        _keep_freed_memory()

    def _follow(self) -> None:
        """Parameters that were cast have other arrays: lay the rows over those, with the state as it was."""
        if any(parameter.value is not array for parameter, array in zip(self.parameters, self._arrays)):
            state = self._states()
            self._bind()
            self._restore(state)

    def step(self) -> None:
        """Move every parameter by its gradient."""
        self._follow()
        self.steps += 1
        self._before_step()
        for row in self._rows:
            self._update(row)
            row.subtract_work()

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to zero."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def learn(
        self,
        net: Layer,
        loss: Loss,
        input: Any,
        target: Any,
        sample_weight: Any = None,
        *,
        max_grad_norm: float | None = None,
    ) -> tuple[float, Any]:
        """One training step on one batch: predict, compare, backprop, move.

        Parameters
        ----------
        net : Layer
            With at least one of this optimizer's parameters.
        loss : Loss
        input : array, shape (N, ...), dtype of the net's parameters
            Or a tuple of arrays for a net with several inputs; integers and booleans may be among those.
        target : array, length N
            As `loss` takes it: maybe a tuple, too.
        sample_weight : array, shape (N,), optional
            What each example counts.
        max_grad_norm : float, optional
            Longer gradients are scaled down to this norm: see `nn.clip_grad_norm`.

        Returns
        -------
        value, prediction
            Loss and outputs before the step.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, its value and the rule (the net must have some of these parameters);
            nothing has moved.
        FloatingPointError
            The loss, or the norm of the gradients if there is a largest one, is not finite; then neither
            parameters nor running statistics have moved.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv import nn
        >>> net = nn.Linear(2, 2, rng=0)
        >>> optimizer = nn.SGD(net.parameters(), lr=0.1)
        >>> optimizer.learn(net, nn.CrossEntropyLoss(), np.ones((3, 2), np.float32), np.array([0, 1, 2]))
        Traceback (most recent call last):
          ...
        ValueError: target: labels from 0 to 2 must be from 0 to 1, or ignore_index=-100
        """
        check_net(net)
        check_loss(loss)
        if max_grad_norm is not None:
            max_grad_norm = real("max_grad_norm", max_grad_norm, above=0)
        known = self._know(net)
        self._check_learns(known)
        batch = known.take(LEARN, loss, input, target, sample_weight)
        return self._learn(net, loss, batch, max_grad_norm)

    def _know(self, net: Layer) -> KnownNet:
        """What checking knows about a net; all of it, if it is the one of the step before."""
        if not self._known.is_of(net):
            self._known = KnownNet(net)
        return self._known

    def _check_learns(self, known: KnownNet) -> None:
        """Raise `ValueError` if a step would move nothing of the net."""
        if not any(id(parameter) in known.parameters for parameter in self.parameters):
            raise ValueError(f"optimizer: has none of the net's parameters; {HOW_TO_MAKE_ONE}")

    def _learn(self, net: Layer, loss: Loss, batch: Batch, max_grad_norm: float | None) -> tuple[float, Any]:
        """`learn` on a batch that has been checked."""
        put_back = self._know(net).keep_statistics()
        try:
            prediction, backprop = self._forward(net, batch.inputs)
            value, gradients = loss.gradient(prediction, batch.targets, *batch.extra)
            if not math.isfinite(value):
                raise FloatingPointError(f"the loss is {value}")
            for parameter in self.parameters:
                parameter.forget_grad()
            try:
                if isinstance(prediction, tuple):
                    name = f"the gradient of {type(loss).__name__}"
                    gradients = output_gradients(name, each(gradients), prediction)
                backprop(*each(gradients))
            finally:
                for parameter in self.parameters:
                    parameter.settle_grad()
            if max_grad_norm is not None:
                clip_grad_norm(self.parameters, max_grad_norm)
        except BaseException:
            put_back()
            raise
        self.step()
        return value, prediction

    def _learning(self, net: Layer) -> Layer:
        """The net as it trains with this optimizer; decided once for a net."""
        if self._learner is None or not self._learner.is_of(net):
            self._learner = Learner(net, self.parameters)
        return self._learner.layer

    def _forward(self, net: Layer, inputs: Value) -> tuple[Any, ParameterBackprop]:
        """What a step makes the net do first."""
        return self._learning(net).vjp_parameters(*each(inputs))

    def _before_step(self) -> None:
        """What a step needs once, not per row."""

    def _update(self, row: Row) -> None:
        """Leave in `row.work` what is to be taken off the values."""
        raise NotImplementedError

    # ---- saving --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What continuing needs: type, lr, steps, and copies of the arrays kept per parameter."""
        return {"type": type(self).__name__, "lr": self.lr, "steps": self.steps, **self._states()}

    def _states(self) -> dict[str, list[np.ndarray]]:
        """Copies of the arrays kept, in the shapes of the parameters, by name."""
        state = {}
        for name in self._state:
            state[name] = [np.empty_like(parameter.value) for parameter in self.parameters]
            for row in self._rows:
                self._move(row, name, state[name], out=True)
        return state

    def _restore(self, state: Mapping[str, list[np.ndarray]]) -> None:
        for name, arrays in state.items():
            for row in self._rows:
                self._move(row, name, arrays, out=False)

    def __getstate__(self) -> dict[str, Any]:
        """Rows are views of parameters' arrays, which a copy does not have: it lays its own."""
        state = {name: value for name, value in vars(self).items() if name not in _OVER_ARRAYS}
        return {**state, "_kept": self._states()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({name: value for name, value in state.items() if name != "_kept"})
        self.parameters, self._learner = list(self.parameters), None
        self._bind()
        self._restore(state["_kept"])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`; everything but lr and steps stays as this optimizer was made.

        Raises
        ------
        ValueError, TypeError
            Another type of optimizer, other names, shapes or dtypes; then nothing has changed.
        """
        expected = {"type", "lr", "steps", *self._state}
        if set(state) != expected:
            raise ValueError(f"state: has {sorted(state)}, must have {sorted(expected)}")
        if state["type"] != type(self).__name__:
            raise ValueError(f"state: of {state['type']!r}, cannot be loaded into {type(self).__name__}")
        lr, steps = (
            real("state['lr']", state["lr"], at_least=0),
            whole_number("state['steps']", state["steps"], 0),
        )
        loaded: dict[str, list[np.ndarray]] = {}
        for name in self._state:
            if len(state[name]) != len(self.parameters):
                raise ValueError(
                    f"state[{name!r}]: has {len(state[name])} arrays, must have {len(self.parameters)}"
                )
            loaded[name] = []
            for i, (value, parameter) in enumerate(zip(state[name], self.parameters)):
                array = as_array(f"state[{name!r}][{i}]", value, parameter.value.dtype)
                check_shape(f"state[{name!r}][{i}]", array, parameter.value.shape)
                loaded[name].append(np.ascontiguousarray(array))
        self._follow()
        self._restore(loaded)
        self.lr, self.steps = lr, steps

    @staticmethod
    def _move(row: Row, name: str, arrays: list[np.ndarray], out: bool) -> None:
        """Copy a row's share of the state `name` into `arrays`, one per parameter, or back."""
        position = 0
        for index, start in row.origin:
            flat = arrays[index].reshape(-1)
            count = min(flat.size - start, row.size - position)
            here, there = row.state[name][position : position + count], flat[start : start + count]
            if out:
                there[...] = here
            else:
                here[...] = there
            position += count

    def save(self, path: File) -> None:
        """Write the `state_dict` to one file, a path or a binary file object, as `nn.save` writes a net.

        Raises
        ------
        OSError
            The file cannot be written; one that was there before is still whole.
        """
        state = self.state_dict()
        arrays = {f"{name}.{i}": array for name in self._state for i, array in enumerate(state[name])}
        header = {key: state[key] for key in ("type", "lr", "steps")}
        write_archive(path, "optimizer", header, arrays)

    def load(self, path: File) -> None:
        """Continue from a file that `save` wrote.

        Raises
        ------
        ValueError
            No such file of ours, a damaged one, or one of another optimizer or net; then nothing has changed.
        OSError
            The file cannot be read.
        """
        with read_archive(path, "optimizer") as archive:
            state: dict[str, Any] = {key: archive.header.get(key) for key in ("type", "lr", "steps")}
            if state["type"] != type(self).__name__:
                raise ValueError(f"it holds the state of {state['type']!r}, not of {type(self).__name__}")
            for name in self._state:
                state[name] = [
                    archive.take(f"{name}.{i}", parameter.value.shape, parameter.value.dtype)
                    for i, parameter in enumerate(self.parameters)
                ]
            archive.finish()
            self.load_state_dict(state)
