"""Optimizers: how parameters follow their gradients. Names, defaults and formulas are torch's.

A step costs as many array operations as there are formulas in it, not times the number of parameters: small
parameters are gathered into one row of numbers, large ones are cut so that all operations on a piece find it
in cache.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastconv.geometry import as_array, check_shape, flag, whole_number
from fastconv.nn.archive import read_archive, write_archive
from fastconv.nn.arguments import real
from fastconv.nn.layers.base import Layer
from fastconv.nn.losses.base import Loss
from fastconv.nn.parameter import Parameter

#: Elements updated together: gradient, state and scratch of so many float32 stay in a 1 MiB cache.
ROW = 32768


class _Row:
    """Up to `ROW` elements of one dtype, from one or many parameters, that are updated together."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.values: list[np.ndarray] = []  # flat views of parameters
        self.grads: list[np.ndarray] = []
        self.origin: list[tuple[int, int]] = []  # which parameter, and from which element on
        self.parts: list[np.ndarray] = []  # views of `work`, one per value
        self.state: dict[str, np.ndarray] = {}
        self.size = 0

    def add(self, index: int, parameter: Parameter, start: int, stop: int) -> None:
        """Take elements `start` to `stop` of a parameter in."""
        self.values.append(parameter.value.reshape(-1)[start:stop])
        self.grads.append(parameter.grad.reshape(-1)[start:stop])
        self.origin.append((index, start))
        self.size += stop - start

    def close(self, state: Iterable[str]) -> None:
        """All elements are in: make scratch and state, the latter zeros."""
        self.work = np.empty(self.size, self.dtype)
        self.gathered = np.empty(self.size, self.dtype)
        ends = np.cumsum([value.size for value in self.values])[:-1]
        self.parts = np.split(self.work, ends)
        self.state = {name: np.zeros(self.size, self.dtype) for name in state}

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


def _rows(parameters: list[Parameter], state: tuple[str, ...]) -> list[_Row]:
    rows: list[_Row] = []
    open_rows: dict[np.dtype, _Row] = {}
    for index, parameter in enumerate(parameters):
        size, dtype, start = parameter.value.size, parameter.value.dtype, 0
        while start < size:
            row = open_rows.get(dtype)
            if row is None or row.size == ROW:
                row = open_rows[dtype] = _Row(dtype)
                rows.append(row)
            stop = min(size, start + ROW - row.size)
            row.add(index, parameter, start, stop)
            start = stop
    for row in rows:
        row.close(state)
    return rows


class Optimizer:
    """Base of all optimizers; one of your own defines `_update` and names its state per element.

    Attributes
    ----------
    parameters : list of Parameter
    lr : float
        Learning rate; may be set between steps.
    steps : int
        Steps taken.
    """

    _state: tuple[str, ...] = ()

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
        self._rows = _rows(self.parameters, self._state)

    def step(self) -> None:
        """Move every parameter by its gradient."""
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
        self, net: Layer, loss: Loss, input: np.ndarray, target: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """One training step on one batch: predict, compare, backprop, move.

        Parameters
        ----------
        target : ndarray
            As `loss.prepare` returns it.

        Returns
        -------
        value, prediction
            Loss and outputs before the step.

        Raises
        ------
        FloatingPointError
            The loss is not finite; then nothing has moved.
        """
        prediction, backprop = net.vjp_parameters(input)
        value, grad_prediction = loss.gradient(prediction, target)
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value}")
        self.zero_grad()
        backprop(grad_prediction)
        self.step()
        return value, prediction

    def _before_step(self) -> None:
        """What a step needs once, not per row."""

    def _update(self, row: _Row) -> None:
        """Leave in `row.work` what is to be taken off the values."""
        raise NotImplementedError

    # ---- saving --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What continuing needs: type, lr, steps, and copies of the arrays kept per parameter."""
        state: dict[str, Any] = {"type": type(self).__name__, "lr": self.lr, "steps": self.steps}
        for name in self._state:
            arrays = [np.empty_like(parameter.value) for parameter in self.parameters]
            for row in self._rows:
                self._move(row, name, arrays, out=True)
            state[name] = arrays
        return state

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
        for name, arrays in loaded.items():
            for row in self._rows:
                self._move(row, name, arrays, out=False)
        self.lr, self.steps = lr, steps

    @staticmethod
    def _move(row: _Row, name: str, arrays: list[np.ndarray], out: bool) -> None:
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the `state_dict` to one file, as `nn.save` writes a net.

        Raises
        ------
        OSError
            The file cannot be written; one that was there before is still whole.
        """
        state = self.state_dict()
        arrays = {f"{name}.{i}": array for name in self._state for i, array in enumerate(state[name])}
        header = {key: state[key] for key in ("type", "lr", "steps")}
        write_archive(path, "optimizer", header, arrays)

    def load(self, path: str | os.PathLike[str]) -> None:
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


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's look ahead if asked for.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float
        Learning rate.
    momentum : float, default 0.0
        Share of the last step that is kept.
    nesterov : bool, default False
        Needs momentum.
    weight_decay : float, default 0.0
        Added to the gradient, times the value.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> weight = nn.Parameter(np.array([1.0]))
    >>> weight.add_grad(np.array([2.0]))
    >>> nn.SGD([weight], lr=0.1).step()
    >>> weight.value
    array([0.8])
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.momentum = real("momentum", momentum, at_least=0)
        self.nesterov = flag("nesterov", nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError(f"nesterov=True: needs a momentum above 0, not {momentum!r}")
        self._state = ("momentum_buffer",) if self.momentum else ()
        super().__init__(parameters, lr, weight_decay)

    def _update(self, row: _Row) -> None:
        gradient = row.gradient(self.weight_decay)
        if not self.momentum:
            np.multiply(gradient, self.lr, out=row.work)
            return
        buffer = row.state["momentum_buffer"]
        buffer *= self.momentum
        buffer += gradient
        if not self.nesterov:
            np.multiply(buffer, self.lr, out=row.work)
            return
        np.multiply(buffer, self.momentum, out=row.work)
        row.work += gradient
        row.work *= self.lr


class RMSProp(Optimizer):
    """Gradients divided by the root of a running mean of their squares.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float, default 0.01
    alpha : float, default 0.99
        Share of the running mean that is kept.
    eps : float, default 1e-8
        Added to the root.
    weight_decay, momentum : float, default 0.0

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    Tieleman & Hinton, lecture 6.5 of "Neural networks for machine learning", 2012.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        self.alpha = real("alpha", alpha, at_least=0, at_most=1)
        self.eps = real("eps", eps, at_least=0)
        self.momentum = real("momentum", momentum, at_least=0)
        self._state = ("square_avg", "momentum_buffer") if self.momentum else ("square_avg",)
        super().__init__(parameters, lr, weight_decay)

    def _update(self, row: _Row) -> None:
        gradient, square = row.gradient(self.weight_decay), row.state["square_avg"]
        _mean_square(square, gradient, self.alpha, row.work)
        np.sqrt(square, out=row.work)
        row.work += self.eps
        np.divide(gradient, row.work, out=row.work)
        if self.momentum:
            buffer = row.state["momentum_buffer"]
            buffer *= self.momentum
            buffer += row.work
            np.multiply(buffer, self.lr, out=row.work)
        else:
            row.work *= self.lr


class AdaGrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares so far.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float, default 0.01
    lr_decay : float, default 0.0
        The rate of step t is lr / (1 + (t - 1) * lr_decay).
    weight_decay : float, default 0.0
    eps : float, default 1e-10
        Added to the root.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning", JMLR 12 (2011).
    """

    _state = ("sum",)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 0.01,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        self.lr_decay = real("lr_decay", lr_decay, at_least=0)
        self.eps = real("eps", eps, at_least=0)
        super().__init__(parameters, lr, weight_decay)

    def _update(self, row: _Row) -> None:
        gradient, total = row.gradient(self.weight_decay), row.state["sum"]
        np.multiply(gradient, gradient, out=row.work)
        total += row.work
        np.sqrt(total, out=row.work)
        row.work += self.eps
        np.divide(gradient, row.work, out=row.work)
        row.work *= self.lr / (1.0 + (self.steps - 1) * self.lr_decay)


class Adam(Optimizer):
    """A running mean of the gradient over the root of one of its square, both corrected for starting at zero.

    Parameters
    ----------
    parameters : iterable of Parameter
    lr : float, default 1e-3
    betas : (float, float), default (0.9, 0.999)
        Shares of the two running means that are kept.
    eps : float, default 1e-8
        Added to the root.
    weight_decay : float, default 0.0
        Added to the gradient, times the value.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    Kingma & Ba, "Adam: a method for stochastic optimization", arXiv:1412.6980.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> weight = nn.Parameter(np.array([1.0]))
    >>> weight.add_grad(np.array([2.0]))
    >>> nn.Adam([weight], lr=0.1).step()
    >>> weight.value.round(6)
    array([0.9])
    """

    _state = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"betas={betas!r}: must be two numbers")
        self.betas = (
            real("betas[0]", betas[0], at_least=0, below=1),
            real("betas[1]", betas[1], at_least=0, below=1),
        )
        self.eps = real("eps", eps, at_least=0)
        super().__init__(parameters, lr, weight_decay)

    def _before_step(self) -> None:
        self._mean_correction = 1.0 - self.betas[0] ** self.steps
        self._root_correction = math.sqrt(1.0 - self.betas[1] ** self.steps)

    def _update(self, row: _Row) -> None:
        self._moment_step(row, row.gradient(self.weight_decay))

    def _moment_step(self, row: _Row, gradient: np.ndarray) -> None:
        mean, square = row.state["exp_avg"], row.state["exp_avg_sq"]
        _mean_square(square, gradient, self.betas[1], row.work)
        mean *= self.betas[0]
        gradient *= 1.0 - self.betas[0]
        mean += gradient
        np.sqrt(square, out=row.work)
        row.work /= self._root_correction
        row.work += self.eps
        np.divide(mean, row.work, out=row.work)
        row.work *= self.lr / self._mean_correction


class AdamW(Adam):
    """`Adam` whose weight decay shrinks the values themselves, by lr * weight_decay, not the gradient.

    Parameters
    ----------
    parameters, lr, betas, eps
        As `Adam`.
    weight_decay : float, default 0.01

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    Loshchilov & Hutter, "Decoupled weight decay regularization", arXiv:1711.05101.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def _update(self, row: _Row) -> None:
        if self.weight_decay:
            for value in row.values:
                value *= 1.0 - self.lr * self.weight_decay
        self._moment_step(row, row.gradient(0.0))


def _mean_square(square: np.ndarray, gradient: np.ndarray, kept: float, work: np.ndarray) -> None:
    """Move the running mean `square` towards gradient ** 2."""
    np.multiply(gradient, gradient, out=work)
    work *= 1.0 - kept
    square *= kept
    square += work
