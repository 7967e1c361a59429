"""Operators that take one step of training: Momentum, Adagrad, Adam.

Behind the rate and the number of steps so far come all weights, then all their gradients, then what the
method remembers of each; what comes out is in the same order, without the gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.graph.operator import Operator, Signature
from fastconv.graph.operators.axes import number

#: The new weight and memories of one weight, from rate, count, weight, gradient and memories.
Rule = Callable[..., tuple[np.ndarray, ...]]


def _step(rule: Rule, memories: int) -> Operator:
    """An operator that takes a step for each of several weights."""

    def compute(
        rate: np.ndarray, count: np.ndarray, *arrays: np.ndarray, **attributes: Any
    ) -> tuple[np.ndarray, ...]:
        kinds = 2 + memories
        weights, rest = divmod(len(arrays), kinds)
        if rest or not weights:
            raise ValueError(f"inputs: {len(arrays)} arrays must be {kinds} for each weight")
        r, t = float(number("R", rate)), int(number("T", count))
        with np.errstate(all="ignore"):
            made = [rule(r, t, *arrays[i::weights], **attributes) for i in range(weights)]
        return tuple(
            np.asarray(new[k]).astype(arrays[i].dtype, copy=False)
            for k in range(1 + memories)
            for i, new in enumerate(made)
        )

    def infer(rate: Signature, count: Signature, *arrays: Signature, **attributes: Any) -> list[Signature]:
        weights = len(arrays) // (2 + memories)
        return [Signature(each.dtype, each.shape) for each in arrays[:weights]] * (1 + memories)

    return Operator(compute, infer)


def _momentum(
    rate: float,
    count: int,
    x: np.ndarray,
    gradient: np.ndarray,
    velocity: np.ndarray,
    *,
    alpha: float,
    beta: float,
    norm_coefficient: float,
    mode: str,
) -> tuple[np.ndarray, ...]:
    """A step along the decaying sum of gradients; Nesterov's looks ahead by one gradient more."""
    if mode not in ("standard", "nesterov"):
        raise ValueError(f"mode={mode!r}: must be 'standard' or 'nesterov'")
    slope = norm_coefficient * x + gradient
    velocity = alpha * velocity + (beta if count > 0 else 1.0) * slope
    return x - rate * (slope + alpha * velocity if mode == "nesterov" else velocity), velocity


def _adagrad(
    rate: float,
    count: int,
    x: np.ndarray,
    gradient: np.ndarray,
    squares: np.ndarray,
    *,
    norm_coefficient: float = 0.0,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
) -> tuple[np.ndarray, ...]:
    """A step by the gradient over the root of the sum of its squares; http://jmlr.org/papers/v12/duchi11a.html."""
    slope = norm_coefficient * x + gradient
    squares = squares + slope * slope
    return x - rate / (1 + count * decay_factor) * slope / (np.sqrt(squares) + epsilon), squares


def _adam(
    rate: float,
    count: int,
    x: np.ndarray,
    gradient: np.ndarray,
    mean: np.ndarray,
    squares: np.ndarray,
    *,
    alpha: float = 0.9,
    beta: float = 0.999,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
    epsilon: float = 1e-6,
) -> tuple[np.ndarray, ...]:
    """A step by the running mean of gradients over the root of that of their squares; arXiv:1412.6980."""
    slope = norm_coefficient * x + gradient
    mean = alpha * mean + (1 - alpha) * slope
    squares = beta * squares + (1 - beta) * slope * slope
    if count > 0:
        rate = rate * np.sqrt(1 - beta**count) / (1 - alpha**count)
    return (1 - norm_coefficient_post) * (x - rate * mean / (np.sqrt(squares) + epsilon)), mean, squares


OPERATORS: dict[str, Operator] = {
    "Momentum": _step(_momentum, 1),
    "Adagrad": _step(_adagrad, 1),
    "Adam": _step(_adam, 2),
}
