"""Losses of a choice: which of several classes, or yes or no."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import functional
from fastconv.geometry import as_array, as_ndarray, check_shape
from fastconv.nn.arguments import real
from fastconv.nn.losses.base import (
    Loss,
    Shape,
    check_batch,
    class_labels,
    count_right,
    is_labels,
    label_shape,
    same_shape,
)


def _positive_weight(weight: Any) -> np.ndarray | None:
    if weight is None:
        return None
    array = np.array(as_array("weight", weight))
    if array.ndim != 1 or not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError("weight: must be one finite number above 0 per class")
    return array


def _check_weight_fits(weight: np.ndarray | None, shape: Shape, dtype: np.dtype) -> None:
    """Class weights may have another dtype than predictions, in which they have to be finite and above 0."""
    if weight is not None:
        check_shape("weight", weight, (shape[1],))
        with np.errstate(over="ignore", under="ignore"):
            cast = weight.astype(dtype)
        if not (np.isfinite(cast) & (cast > 0)).all():
            raise ValueError(
                f"weight: {weight.dtype} numbers beyond what {dtype}, the predictions', can hold"
            )


def _by_class(array: np.ndarray) -> np.ndarray:
    """(N, classes, ...) as (N * ..., classes): a view where there is nothing behind the classes."""
    return array if array.ndim == 2 else np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])


def _like(rows: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The way back from `_by_class`."""
    if prediction.ndim == 2:
        return rows
    shape = prediction.shape
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


class BCEWithLogitsLoss(Loss):
    """Cross-entropy of yes-or-no answers given as logits: mean over all elements.

    Targets are probabilities from 0 to 1, of the prediction's shape and dtype.

    Parameters
    ----------
    pos_weight : float, default 1.0
        What a yes counts against a no.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> round(nn.BCEWithLogitsLoss()(np.zeros((4, 1)), np.ones((4, 1))), 4)
    0.6931
    """

    def __init__(self, pos_weight: float = 1.0) -> None:
        self.pos_weight = real("pos_weight", pos_weight, above=0)

    def prepare(self, shape: Shape, dtype: np.dtype, target: Any) -> np.ndarray:
        """See `Loss.prepare`."""
        check_batch(shape, 1, "at least one axis long")
        answers = same_shape(shape, dtype, target)
        if not ((answers >= 0) & (answers <= 1)).all():
            raise ValueError("target: must be probabilities from 0 to 1")
        return answers

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """See `Loss.value`."""
        yes = 1.0 + (self.pos_weight - 1.0) * target
        # log(1 + exp(-x)) without overflow: the exponent is never positive
        tail = np.log1p(np.exp(-np.abs(prediction))) - np.minimum(prediction, 0)
        return float(((1.0 - target) * prediction + yes * tail).sum()) / prediction.size

    def gradient(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """See `Loss.gradient`."""
        yes = 1.0 + (self.pos_weight - 1.0) * target
        gradient = (1.0 - target) - yes * functional.sigmoid(-prediction)
        gradient /= prediction.size
        return self.value(prediction, target), gradient

    def correct(self, prediction: np.ndarray, target: np.ndarray) -> float | None:
        """See `Loss.correct`: the share of answers that fall on the right side, times the batch."""
        right = int(np.count_nonzero((prediction > 0) == (target > 0.5)))
        return right * (len(prediction) / prediction.size)


class CrossEntropyLoss(Loss):
    """Minus the logarithm of the softmax probability of the right class.

    Predictions are logits of shape (N, classes) or (N, classes, ...). Targets are integer labels of shape (N,
    ...), or probabilities of the prediction's shape and dtype.

    Parameters
    ----------
    weight : array, shape (classes,), float32 or float64, optional
        What each class counts; with labels the mean is weighted as well.
    label_smoothing : float in [0, 1], default 0.0
        That much of each target is spread over all classes (Szegedy et al., arXiv:1512.00567).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> value, gradient = nn.CrossEntropyLoss().vjp(np.zeros((1, 4)), np.array([2]))
    >>> round(value, 4), gradient
    (1.3863, array([[ 0.25,  0.25, -0.75,  0.25]]))
    """

    def __init__(self, weight: Any = None, label_smoothing: float = 0.0) -> None:
        self.weight = _positive_weight(weight)
        self.label_smoothing = real("label_smoothing", label_smoothing, at_least=0, at_most=1)

    def prepare(self, shape: Shape, dtype: np.dtype, target: Any) -> np.ndarray:
        """See `Loss.prepare`."""
        check_batch(shape, 2, "(N, classes, ...)")
        _check_weight_fits(self.weight, shape, dtype)
        target = as_ndarray("target", target)
        if is_labels(target) or target.shape == label_shape(shape):
            return class_labels(shape, target)
        answers = same_shape(shape, dtype, target)
        if not ((answers >= 0) & (answers <= 1)).all():
            raise ValueError("target: must be integer labels or probabilities from 0 to 1")
        return answers

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """See `Loss.value`."""
        rows = functional.log_softmax(_by_class(prediction), -1)
        if self._plain(target):
            picked = rows[np.arange(len(rows)), target.reshape(-1)]
            return -float(picked.sum()) / len(rows)
        wanted, divisor = self._wanted(rows, prediction, target)
        return -float((wanted * rows).sum()) / divisor

    def gradient(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """See `Loss.gradient`."""
        rows = functional.log_softmax(_by_class(prediction), -1)
        if self._plain(target):
            place = (np.arange(len(rows)), target.reshape(-1))
            value = -float(rows[place].sum()) / len(rows)
            gradient = np.exp(rows)
            gradient[place] -= 1
            gradient /= len(rows)
            return value, _like(gradient, prediction)
        wanted, divisor = self._wanted(rows, prediction, target)
        value = -float((wanted * rows).sum()) / divisor
        gradient = np.exp(rows) * wanted.sum(axis=1, keepdims=True) - wanted
        gradient /= divisor
        return value, _like(gradient, prediction)

    def correct(self, prediction: np.ndarray, target: np.ndarray) -> float | None:
        """See `Loss.correct`."""
        return count_right(prediction, target if target.dtype.kind == "i" else target.argmax(axis=1))

    def _plain(self, target: np.ndarray) -> bool:
        return self.weight is None and self.label_smoothing == 0 and target.dtype.kind == "i"

    def _wanted(
        self, rows: np.ndarray, prediction: np.ndarray, target: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """What each log-probability counts, and what the sum is divided by."""
        classes, divisor = rows.shape[1], float(len(rows))
        weight = np.ones(classes, rows.dtype) if self.weight is None else self.weight.astype(rows.dtype)
        if target.dtype.kind == "i":
            labels = target.reshape(-1)
            wanted = np.eye(classes, dtype=rows.dtype)[labels]
            divisor = float(weight[labels].sum())
        else:
            wanted = _by_class(target)
        if self.label_smoothing:
            wanted = wanted * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        return wanted * weight, divisor


class NLLLoss(Loss):
    """Minus the log-probability of the right class; what `CrossEntropyLoss` is after a `LogSoftmax`.

    Predictions are log-probabilities of shape (N, classes) or (N, classes, ...), targets integer labels of
    shape (N, ...).

    Parameters
    ----------
    weight : array, shape (classes,), float32 or float64, optional
        What each class counts; the mean is weighted as well.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.NLLLoss()(np.array([[-1.0, -2.0]]), np.array([1]))
    2.0
    """

    def __init__(self, weight: Any = None) -> None:
        self.weight = _positive_weight(weight)

    def prepare(self, shape: Shape, dtype: np.dtype, target: Any) -> np.ndarray:
        """See `Loss.prepare`."""
        check_batch(shape, 2, "(N, classes, ...)")
        _check_weight_fits(self.weight, shape, dtype)
        return class_labels(shape, target)

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """See `Loss.value`."""
        return self.gradient(prediction, target)[0]

    def gradient(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """See `Loss.gradient`."""
        rows, labels = _by_class(prediction), target.reshape(-1)
        place = (np.arange(len(rows)), labels)
        share = np.ones(len(rows), rows.dtype)
        if self.weight is not None:
            share = self.weight.astype(rows.dtype)[labels]
        share = share / share.sum()
        gradient = np.zeros(rows.shape, rows.dtype)
        gradient[place] = -share
        return -float((rows[place] * share).sum()), _like(gradient, prediction)

    def correct(self, prediction: np.ndarray, target: np.ndarray) -> float | None:
        """See `Loss.correct`."""
        return count_right(prediction, target)


class HingeLoss(Loss):
    """How far each wrong class comes within `margin` of the right one: summed over classes, mean over the
    batch.

    max(0, margin + wrong - right) for every wrong class. Predictions have shape (N, classes) or (N, classes,
    ...), targets are integer labels of shape (N, ...).

    Parameters
    ----------
    margin : float, default 1.0

    Notes
    -----
    Weston & Watkins, "Support vector machines for multi-class pattern recognition", ESANN 1999. Torch's
    `MultiMarginLoss` divides by the number of classes as well.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.HingeLoss()(np.array([[3.0, 2.5, 1.0]]), np.array([0]))
    0.5
    """

    def __init__(self, margin: float = 1.0) -> None:
        self.margin = real("margin", margin, above=0)

    def prepare(self, shape: Shape, dtype: np.dtype, target: Any) -> np.ndarray:
        """See `Loss.prepare`."""
        check_batch(shape, 2, "(N, classes, ...)")
        return class_labels(shape, target)

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """See `Loss.value`."""
        rows, labels = _by_class(prediction), target.reshape(-1)
        return float(self._excess(rows, labels).sum()) / len(rows)

    def gradient(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """See `Loss.gradient`: 0 for a class that is exactly at the margin."""
        rows, labels = _by_class(prediction), target.reshape(-1)
        excess = self._excess(rows, labels)
        gradient = (excess > 0).astype(rows.dtype)
        gradient[np.arange(len(rows)), labels] = -gradient.sum(axis=1)
        gradient /= len(rows)
        return float(excess.sum()) / len(rows), _like(gradient, prediction)

    def correct(self, prediction: np.ndarray, target: np.ndarray) -> float | None:
        """See `Loss.correct`."""
        return count_right(prediction, target)

    def _excess(self, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        place = (np.arange(len(rows)), labels)
        excess: np.ndarray = rows - (rows[place] - self.margin)[:, None]
        excess[place] = 0
        np.maximum(excess, 0, out=excess)
        return excess
