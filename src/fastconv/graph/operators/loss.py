"""Losses as operators: what exported training graphs end in."""

from __future__ import annotations

import numpy as np

from fastconv.graph.operator import Operator, Signature
from fastconv.graph.operators.activation import in_float


def _negative_log_likelihood(
    log_probability: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> np.ndarray:
    """Minus the log-probability of each target class, weighted by class: (N, C, ...) and (N, ...)."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction={reduction!r}: must be mean, sum or none")
    classes = log_probability.shape[1]
    ignored = np.zeros(target.shape, bool) if ignore_index is None else target == ignore_index
    wanted = np.where(ignored, 0, target).astype(np.int64)
    if wanted.size and not (wanted.min() >= 0 and wanted.max() < classes):
        raise ValueError(f"target: classes {wanted.min()} to {wanted.max()} must lie in [0, {classes})")
    picked = -np.take_along_axis(log_probability, wanted[:, None], 1)[:, 0]
    factor = np.ones(classes, log_probability.dtype) if weight is None else weight
    weights = np.where(ignored, 0, factor[wanted]).astype(log_probability.dtype)
    losses: np.ndarray = picked * weights
    if reduction == "none":
        return losses
    total = losses.sum()
    return np.asarray(total if reduction == "sum" else total / weights.sum(), log_probability.dtype)


def _signature(x: Signature, target: Signature, *others: Signature | None, **told: object) -> Signature:
    return Signature(x.dtype, target.shape if told.get("reduction", "mean") == "none" else ())


OPERATORS: dict[str, Operator] = {
    "NegativeLogLikelihoodLoss": Operator(in_float(_negative_log_likelihood), _signature),
}
