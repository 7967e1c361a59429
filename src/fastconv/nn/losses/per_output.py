"""A loss for each output of a net with several."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.nn.arguments import real
from fastconv.nn.losses.base import Loss, check_takes_weights


class LossPerOutput(Loss):
    """A loss for each output of a net, with a target of its own; their weighted sum is the loss.

    Parameters
    ----------
    *losses : Loss
        The first for the first output and target, and so on.
    weights : tuple of float, optional
        What each counts, at least 0; without it 1.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when called, another number of outputs or targets.

    Notes
    -----
    Accuracies of `nn.fit` and `nn.evaluate` are those of the output that chooses among classes, if one alone
    does.

    Examples
    --------
    What and where:

    >>> import numpy as np
    >>> from fastconv import nn
    >>> loss = nn.LossPerOutput(nn.CrossEntropyLoss(), nn.MSELoss(), weights=(1.0, 0.5))
    >>> votes, places = np.zeros((2, 4)), np.ones((2, 3))
    >>> value, (grad_votes, grad_places) = loss.vjp((votes, places), (np.array([0, 3]), np.zeros((2, 3))))
    >>> round(float(value), 4), grad_places.shape
    (1.8863, (2, 3))
    """

    def __init__(self, *losses: Loss, weights: tuple[float, ...] | None = None) -> None:
        if not losses:
            raise ValueError("losses: needs at least 1")
        for i, loss in enumerate(losses):
            if not isinstance(loss, Loss):
                raise TypeError(f"losses[{i}]: must be an nn.Loss, not {type(loss).__name__}")
            if loss.reduction == "none":
                raise ValueError(f"losses[{i}]: reduction='none' gives no single number to add")
        given = (1.0,) * len(losses) if weights is None else tuple(weights)
        if len(given) != len(losses):
            raise ValueError(f"weights={weights!r}: must have {len(losses)} entries, one per loss")
        self.losses = losses
        self.weights = tuple(real("weights", weight, at_least=0) for weight in given)

    def _check_counts(self, outputs: int, targets: int) -> None:
        count = len(self.losses)
        if (outputs, targets) != (count, count):
            raise TypeError(
                f"LossPerOutput has {count} losses for as many outputs and targets, and was given {outputs} "
                f"and {targets}"
            )

    def prepare(self, shape: Any, dtype: np.dtype, target: Any) -> Any:
        """See `Loss.prepare`: a tuple of what each loss makes of its target."""
        shapes, targets = (shape, target) if len(self.losses) > 1 else ((shape,), (target,))
        prepared = []
        for i, (loss, one, own) in enumerate(zip(self.losses, shapes, targets)):
            try:
                prepared.append(loss.prepare(one, dtype, own))
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                message = str(error)
                for word in ("target", "prediction"):
                    if message.startswith(word):
                        message = f"{word}[{i}]{message.removeprefix(word)}"
                raise kind(message) from error
        return tuple(prepared)

    def value(self, prediction: Any, target: Any, sample_weight: np.ndarray | None = None) -> Any:
        """See `Loss.value`."""
        parts = self.parts(prediction, target)
        extra = self._extra(sample_weight)
        return sum(weight * loss.value(p, t, *extra) for weight, loss, p, t in parts)

    def gradient(
        self, prediction: Any, target: Any, sample_weight: np.ndarray | None = None
    ) -> tuple[Any, Any]:
        """See `Loss.gradient`."""
        total, gradients = 0.0, []
        for weight, loss, p, t in self.parts(prediction, target):
            value, gradient = loss.gradient(p, t, *self._extra(sample_weight))
            total += weight * value
            gradients.append(gradient * p.dtype.type(weight) if weight != 1 else gradient)
        return total, gradients[0] if len(gradients) == 1 else tuple(gradients)

    def divisor(self, target: Any, sample_weight: np.ndarray | None = None) -> float:
        """See `Loss.divisor`: of all losses together, 0 if nothing counts in any."""
        extra = self._extra(sample_weight)
        return float(sum(loss.divisor(own, *extra) for loss, own in zip(self.losses, target)))

    def parts(self, prediction: Any, target: Any) -> list[tuple[float, Loss, np.ndarray, Any]]:
        """(weight, loss, its output, its target) of each."""
        predictions = prediction if isinstance(prediction, tuple) else (prediction,)
        return list(zip(self.weights, self.losses, predictions, target))

    def _extra(self, sample_weight: np.ndarray | None) -> tuple[np.ndarray, ...]:
        if sample_weight is None:
            return ()
        for loss in self.losses:
            check_takes_weights(loss)
        return (sample_weight,)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.losses))
        return f"LossPerOutput({shown}, weights={self.weights})"
