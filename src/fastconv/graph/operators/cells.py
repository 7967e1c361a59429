"""Cells of recurrent layers: the step from one state to the next, with weights as its products want them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import numpy as np

from fastconv._kernels.pointwise.activation import CODES, activate
from fastconv.graph.operators.rows import RowProduct

#: Writes the activation of its first argument, of any strides, into the second, which is dense.
Activation = Callable[[np.ndarray, np.ndarray], Any]

#: Directions in which the layers of a node run.
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True)
class Attributes:
    """The attributes of a node, with ONNX's defaults; `clip` is a bound on what goes into the gates."""

    activation_alpha: tuple[float, ...] = ()
    activation_beta: tuple[float, ...] = ()
    activations: tuple[str, ...] = ()
    clip: float = inf
    direction: str = "forward"
    hidden_size: int | None = None
    input_forget: int = 0
    layout: int = 0
    linear_before_reset: int = 0

    @property
    def backward(self) -> tuple[bool, ...]:
        """Of each direction, whether it begins at the end."""
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction={self.direction!r}: must be one of {', '.join(DIRECTIONS)}")
        return DIRECTIONS[self.direction]


# ---- activations ------------------------------------------------------------------------------------


def _affine(x: np.ndarray, out: np.ndarray, alpha: float, beta: float) -> None:
    np.multiply(x, x.dtype.type(alpha), out)
    np.add(out, x.dtype.type(beta), out)


def _scaled_tanh(x: np.ndarray, out: np.ndarray, alpha: float, beta: float) -> None:
    np.multiply(x, x.dtype.type(beta), out)
    activate(CODES["tanh"], out, out)
    np.multiply(out, x.dtype.type(alpha), out)


def _hard_sigmoid(x: np.ndarray, out: np.ndarray, alpha: float, beta: float) -> None:
    _affine(x, out, alpha, beta)
    np.minimum(out, 1, out=out)
    np.maximum(out, 0, out=out)


def _thresholded(x: np.ndarray, out: np.ndarray, alpha: float) -> None:
    np.multiply(x, x >= x.dtype.type(alpha), out)


def _kernel(name: str, x: np.ndarray, out: np.ndarray, alpha: float = 0.0) -> None:
    activate(CODES[name], x, out, alpha)


#: Activations with the defaults of those parameters that a node may give.
ACTIVATIONS: dict[str, tuple[Callable[..., Any], tuple[float, ...]]] = {
    "relu": (partial(_kernel, "relu"), ()),
    "tanh": (partial(activate, CODES["tanh"]), ()),
    "sigmoid": (partial(activate, CODES["sigmoid"]), ()),
    "affine": (_affine, (1.0, 0.0)),
    "leakyrelu": (partial(_kernel, "leaky_relu"), (0.01,)),
    "thresholdedrelu": (_thresholded, (1.0,)),
    "scaledtanh": (_scaled_tanh, (1.0, 1.0)),
    "hardsigmoid": (_hard_sigmoid, (0.2, 0.5)),
    "elu": (lambda x, out, alpha: activate(CODES["elu"], x, out, 1.0, alpha, 1.0), (1.0,)),
    "softsign": (partial(_kernel, "softsign"), ()),
    "softplus": (lambda x, out: activate(CODES["softplus"], x, out, 1.0, inf), ()),
}


def activations_of(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float], count: int
) -> list[Activation]:
    """The functions; each takes as many of the parameters given as it has, those missing have defaults."""
    if len(names) != count:
        raise ValueError(f"activations={tuple(names)}: must be {count} names")
    left, right = iter(alphas), iter(betas)
    found: list[Activation] = []
    for name in names:
        if name.lower() not in ACTIVATIONS:
            raise ValueError(f"activations: {name!r} must be one of {', '.join(ACTIVATIONS)}, in any case")
        function, defaults = ACTIVATIONS[name.lower()]
        values = [next(given, default) for given, default in zip((left, right), defaults)]
        found.append(_with_parameters(function, values) if values else function)
    return found


def _with_parameters(function: Callable[..., Any], values: Sequence[float]) -> Activation:
    return lambda x, out: function(x, out, *values)


# ---- cells --------------------------------------------------------------------------------------------


class Cell:
    """One layer in one direction: its weights as products want them, and its step.

    Parameters
    ----------
    weight, recurrence : array, shapes (G*H, I) and (G*H, H)
        Of G gates, one below the other.
    bias : array, shape (2*G*H,), or None
        Of the inputs, then of the state.
    peephole : array, shape (3*H,), or None
    activations : list of Activation
    told : Attributes
    """

    gates = 1

    def __init__(
        self,
        weight: np.ndarray,
        recurrence: np.ndarray,
        bias: np.ndarray | None,
        peephole: np.ndarray | None,
        activations: list[Activation],
        told: Attributes,
    ) -> None:
        self.size = recurrence.shape[1]
        self.weight, self.recurrence = RowProduct(weight), RowProduct(recurrence)
        split = len(weight)
        self.bias = None if bias is None else bias[:split] + bias[split:]
        self.activations, self.told = activations, told
        self.clip = told.clip if told.clip > 0 else inf
        self._settle(bias, peephole)

    def _settle(self, bias: np.ndarray | None, peephole: np.ndarray | None) -> None:
        """What a kind of cell does about its weights beyond that."""

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """What all inputs (T, B, I) add to the gates: (T, B, G*H)."""
        steps, batch, features = x.shape
        made: np.ndarray = np.empty((steps * batch, self.gates * self.size), x.dtype)
        self.weight.of(len(made))(x.reshape(len(made), features), made)
        if self.bias is not None:
            made += self.bias
        return made.reshape(steps, batch, made.shape[1])

    def bound(self, x: np.ndarray) -> None:
        if self.clip < inf:
            np.maximum(x, x.dtype.type(-self.clip), out=x)
            np.minimum(x, x.dtype.type(self.clip), out=x)

    def stepper(self, batch: int, dtype: np.dtype) -> Callable[..., None]:
        """`step(inputs, state, memory, out)` writes the next state, and changes the memory of an LSTM."""
        raise NotImplementedError


class RnnCell(Cell):
    def stepper(self, batch: int, dtype: np.dtype) -> Callable[..., None]:
        (f,) = self.activations
        total, product = np.empty((batch, self.size), dtype), self.recurrence.of(batch)

        def step(inputs: np.ndarray, state: np.ndarray, memory: np.ndarray, out: np.ndarray) -> None:
            product(state, total)
            np.add(total, inputs, total)
            self.bound(total)
            f(total, out)

        return step


class GruCell(Cell):
    """Gates z (how much of the state stays), r (how much of it is seen), h (the new state)."""

    gates = 3

    def _settle(self, bias: np.ndarray | None, peephole: np.ndarray | None) -> None:
        size = self.size
        self.late_bias = None
        if self.told.linear_before_reset:
            if bias is not None and self.bias is not None:
                self.bias[2 * size :] = bias[2 * size : 3 * size]
                self.late_bias = bias[5 * size :]
        else:
            self.gating = RowProduct(self.recurrence.weight[: 2 * size])
            self.hidden = RowProduct(self.recurrence.weight[2 * size :])

    def stepper(self, batch: int, dtype: np.dtype) -> Callable[..., None]:
        late, size = bool(self.told.linear_before_reset), self.size
        f, g = self.activations
        total = np.empty((batch, (3 if late else 2) * size), dtype)
        both, gates = total[:, : 2 * size], np.empty((batch, 2 * size), dtype)
        z, r, seen = gates[:, :size], gates[:, size:], np.empty((batch, size), dtype)
        hidden = total[:, 2 * size :] if late else np.empty((batch, size), dtype)
        product = (self.recurrence if late else self.gating).of(batch)
        renew = None if late else self.hidden.of(batch)

        def step(inputs: np.ndarray, state: np.ndarray, memory: np.ndarray, out: np.ndarray) -> None:
            product(state, total)
            np.add(both, inputs[:, : 2 * size], both)
            self.bound(both)
            f(both, gates)
            if renew is not None:
                np.multiply(state, r, seen)
                renew(seen, hidden)
            else:
                if self.late_bias is not None:
                    np.add(hidden, self.late_bias, hidden)
                np.multiply(hidden, r, hidden)
            np.add(hidden, inputs[:, 2 * size :], hidden)
            self.bound(hidden)
            g(hidden, seen)
            np.subtract(state, seen, out)
            np.multiply(out, z, out)
            np.add(out, seen, out)

        return step


class LstmCell(Cell):
    """Gates i (input), o (output), f (forget), c (what is put into the memory)."""

    gates = 4

    def _settle(self, bias: np.ndarray | None, peephole: np.ndarray | None) -> None:
        self.peepholes = None if peephole is None else tuple(peephole.reshape(3, -1))

    def stepper(self, batch: int, dtype: np.dtype) -> Callable[..., None]:
        size, (f, g, h) = self.size, self.activations
        total, product = np.empty((batch, 4 * size), dtype), self.recurrence.of(batch)
        gates, cell = np.empty((batch, 3 * size), dtype), np.empty((batch, size), dtype)
        i, o, forget = (gates[:, k * size : (k + 1) * size] for k in range(3))
        first, last = total[:, : 3 * size], total[:, 3 * size :]
        coupled = self.told.input_forget

        def step(inputs: np.ndarray, state: np.ndarray, memory: np.ndarray, out: np.ndarray) -> None:
            product(state, total)
            np.add(total, inputs, total)
            if self.peepholes is None:
                self.bound(total)
                f(first, gates)
            else:
                self._peep(total, gates, memory)
            if coupled:
                np.subtract(1, i, forget)
            g(last, cell)
            np.multiply(memory, forget, memory)
            np.multiply(cell, i, cell)
            np.add(memory, cell, memory)
            if self.peepholes is not None:
                self._peep_out(total, gates, memory)
            h(memory, cell)
            np.multiply(cell, o, out)

        return step

    def _peep(self, total: np.ndarray, gates: np.ndarray, memory: np.ndarray) -> None:
        """The input and the forget gate see the memory as it was; the output gate comes later."""
        assert self.peepholes is not None
        size = self.size
        total[:, :size] += self.peepholes[0] * memory
        total[:, 2 * size : 3 * size] += self.peepholes[2] * memory
        self.bound(total[:, :size])
        self.bound(total[:, 2 * size :])
        self.activations[0](total[:, : 3 * size], gates)

    def _peep_out(self, total: np.ndarray, gates: np.ndarray, memory: np.ndarray) -> None:
        assert self.peepholes is not None
        at = slice(self.size, 2 * self.size)
        seen = total[:, at] + self.peepholes[1] * memory
        self.bound(seen)
        made = np.empty_like(seen)
        self.activations[0](seen, made)
        gates[:, at] = made
