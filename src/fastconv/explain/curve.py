"""The error as a function of one weight, and what a step of descent along it does."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import nn
from fastconv.explain.gradients import LEARNED, back_from
from fastconv.geometry import real_number, whole_number
from fastconv.nn.layers.calling import call, together

if TYPE_CHECKING:
    from fastconv.explain.walking import Walk


@dataclass(frozen=True)
class WeightCurve:
    """The error for values of one weight, everything else left as it is.

    Attributes
    ----------
    weights, errors : ndarray, shape (points,), float64
    weight, error : float
        Where the ball lies: the weight as it is.
    slope : float
        Of the curve there, by backprop.
    lr : float
    new_weight, new_error : float
        After one step of descent, `weight - lr * slope`.
    """

    weights: np.ndarray
    errors: np.ndarray
    weight: float
    error: float
    slope: float
    lr: float
    new_weight: float
    new_error: float


def curve_of(
    seen: Walk,
    number: int,
    index: tuple[int, ...],
    target: int,
    lr: float = 0.1,
    *,
    reach: float | None = None,
    points: int = 41,
) -> WeightCurve:
    """The error against one weight.

    Parameters
    ----------
    seen : Walk
    number : int
        Of the map that the layer with the weight makes.
    index : tuple of int
        Which of its weights: (feature, channel, row, column), or (output, input).
    target : int
        The right class.
    lr : float, default 0.1
        The step: how far the weight moves per slope.
    reach : float, optional
        How far the curve goes either way; without it twice as far as the layer's largest weight, or as the
        step, whichever is more.
    points : int, default 41

    Returns
    -------
    WeightCurve

    Raises
    ------
    TypeError, ValueError
        Naming the argument; or a layer on the way that knows no gradient.

    Examples
    --------
    >>> from fastconv import explain
    >>> curve = explain.deck_walk("X").curve(6, (1, 1), "X")
    >>> curve.slope, round(curve.error, 2)
    (0.5555555555555556, 0.56)
    >>> curve.new_error < curve.error
    True
    """
    step = seen.steps[number - 1] if number else None
    if step is None or step.kind not in LEARNED or number > seen.vote_number:
        raise ValueError(f"number={number}: has no weights that are learned")
    layer: Any = copy.deepcopy(step.layer)
    shape = layer.weight.value.shape
    if len(index) != len(shape) or not all(0 <= i < size for i, size in zip(index, shape)):
        raise ValueError(f"index={index}: the weights have shape {shape}")
    lr, points = real_number("lr", lr, at_least=0), whole_number("points", points, 3)
    weight = float(layer.weight.value[index])
    votes = seen.value(seen.vote_number)
    error, start = seen.loss.vjp(votes, np.array([target]))
    slope = float(back_from(seen, start.astype(votes.dtype)).weights[number][index])
    if reach is None:
        reach = 2 * max(float(np.abs(layer.weight.value).max()), abs(lr * slope)) or 1.0
    new = weight - lr * slope
    weights = np.append(np.linspace(weight - reach, weight + reach, points), new)
    errors = _errors(seen, number, layer, index, weights, target)
    return WeightCurve(weights[:-1], errors[:-1], weight, float(error), slope, lr, new, float(errors[-1]))


def _errors(
    seen: Walk, number: int, layer: Any, index: tuple[int, ...], weights: np.ndarray, target: int
) -> np.ndarray:
    """The error for each value of a weight of a layer, a copy that may be changed."""
    read = together([seen.value(k) for k in seen.steps[number - 1].reads])
    made = []
    for weight in weights:
        layer.weight.value[index] = weight
        made.append(call(layer, read))
    votes = seen.tail(number, np.concatenate(made))
    return np.array([error_of(seen.loss, each, target) for each in votes])


def error_of(loss: nn.Loss, votes: np.ndarray, target: int) -> float:
    """The error of votes, of shape (classes,), where `target` is right."""
    return float(loss(votes[None], np.array([target])))
