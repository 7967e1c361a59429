"""Backwards: how a vote would change with every value on the way, and with every weight."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.explain.steps import Step
from fastconv.nn.layers.calling import together, vjp_of

if TYPE_CHECKING:
    from fastconv.explain.walking import Walk

#: Kinds of layers whose parameters get a gradient: others would learn from more than one input.
LEARNED = ("conv", "full")


@dataclass(frozen=True)
class Gradients:
    """The gradient of one number, a vote or the error, at everything it depends on.

    Attributes
    ----------
    maps : tuple of ndarray or None
        Per map, the input's first; None behind the votes, and where no way leads.
    weights : dict of int to ndarray
        Of features and voting weights, by the number of the map that the layer makes.
    biases : dict of int to ndarray
    """

    maps: tuple[np.ndarray | None, ...]
    weights: dict[int, np.ndarray]
    biases: dict[int, np.ndarray]

    @property
    def pixels(self) -> np.ndarray | None:
        """At the input."""
        return self.maps[0]


def gradients_of(seen: Walk, vote: int) -> Gradients:
    """The gradient of one vote.

    Raises
    ------
    TypeError
        Naming a layer or node that knows none.
    """
    start = np.zeros_like(seen.value(seen.vote_number))
    start[0, vote] = 1
    return back_from(seen, start)


def back_from(seen: Walk, start: np.ndarray) -> Gradients:
    """The gradients of a number whose gradient at the votes is `start`, of shape (1, classes)."""
    found: list[Any] = [None] * len(seen.maps)
    found[seen.vote_number] = start
    weights: dict[int, np.ndarray] = {}
    biases: dict[int, np.ndarray] = {}
    for number in range(seen.vote_number, 0, -1):
        if found[number] is None:
            continue
        step = seen.steps[number - 1]
        layer = copy.deepcopy(step.layer) if step.kind in LEARNED else step.layer
        for read, gradient in zip(step.reads, _back(seen, step, layer, found[number])):
            if gradient is not None:
                found[read] = gradient if found[read] is None else found[read] + gradient
        if step.kind in LEARNED:
            weights[number] = layer.weight.grad.copy()  # type: ignore[attr-defined]
            if layer.bias is not None:  # type: ignore[attr-defined]
                biases[number] = layer.bias.grad.copy()  # type: ignore[attr-defined]
    return Gradients(tuple(None if each is None else each[0] for each in found), weights, biases)


def _back(seen: Walk, step: Step, layer: Any, gradient: np.ndarray) -> tuple[Any, ...]:
    """The gradients of what a step reads; a layer that learns is a copy and keeps those of its weights."""
    learns = step.kind in LEARNED
    if learns:
        layer.zero_grad()
    value = together([seen.value(read) for read in step.reads])
    _, backprop = vjp_of(layer, value, learns)
    back = backprop(gradient)
    return back if isinstance(back, tuple) else (back,)
