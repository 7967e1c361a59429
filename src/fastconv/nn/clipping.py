"""Keeping a step short: gradients whose norm is too large are scaled down together."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.geometry import real_number
from fastconv.nn.arguments import real
from fastconv.nn.parameter import Parameter


def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float, norm_type: float = 2.0) -> float:
    """Scale gradients down, all by one factor, so that their norm, of all together, is at most `max_norm`.

    `nn.fit(max_grad_norm=...)` and `Optimizer.learn` do so in every step.

    Parameters
    ----------
    parameters : iterable of Parameter
        Their `grad` is scaled in place.
    max_norm : float, above 0
    norm_type : float, at least 1, default 2.0
        The p of the p-norm; `math.inf` takes the largest absolute value.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.
    FloatingPointError
        The norm is infinite or NaN; nothing has been scaled.

    Notes
    -----
    Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", arXiv:1211.5063.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> weight = nn.Parameter(np.zeros(2))
    >>> weight.add_grad(np.array([3.0, 4.0]))
    >>> nn.clip_grad_norm([weight], 1.0)
    5.0
    >>> weight.grad
    array([0.6, 0.8])
    """
    max_norm = real("max_norm", max_norm, above=0)
    power = real_number("norm_type", norm_type, at_least=1, finite=False)
    gradients: list[np.ndarray] = []
    for i, parameter in enumerate(parameters):
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters[{i}]: must be a Parameter, not {type(parameter).__name__}")
        gradients.append(parameter.grad)
    norm = _norm(gradients, power)
    if not math.isfinite(norm):
        raise FloatingPointError(f"the norm of the gradients is {norm}")
    if norm > max_norm:
        for gradient in gradients:
            gradient *= max_norm / norm
    return norm


def _norm(gradients: list[np.ndarray], power: float) -> float:
    """The p-norm of all elements together: relative to the largest, so that no power leaves the range."""
    largest = max((_largest(gradient) for gradient in gradients if gradient.size), default=0.0)
    if power == math.inf or largest == 0 or not math.isfinite(largest):
        return largest
    total = 0.0
    for gradient in gradients:
        for piece in _pieces(gradient):
            relative = piece.astype(np.float64)
            relative /= largest
            if power == 2:
                total += float(np.dot(relative, relative))
            else:
                total += float((np.abs(relative) ** power).sum())
    return float(largest * total ** (1.0 / power))


def _largest(gradient: np.ndarray) -> float:
    """The largest absolute value; NaN if one is."""
    low, high = float(gradient.min()), float(gradient.max())
    return math.nan if math.isnan(low) or math.isnan(high) else max(-low, high)


def _pieces(gradient: np.ndarray) -> Any:
    """Short rows of a gradient, so that their copies in double stay in cache."""
    flat = gradient.reshape(-1)
    return (flat[start : start + 8192] for start in range(0, flat.size, 8192))
