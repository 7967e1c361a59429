"""Losses of a choice among several classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv import functional
from fastconv.geometry import as_ndarray, check_shape, integer
from fastconv.nn.arguments import real
from fastconv.nn.losses.base import (
    Shape,
    as_weights,
    check_batch,
    check_probabilities,
    class_labels,
    count_right,
    is_labels,
    label_shape,
    same_shape,
)
from fastconv.nn.losses.points import PIECE, Piece, PointLoss, counted


class ClassLoss(PointLoss):
    """Base of the losses of labels: predictions (N, classes, ...), points (N, ...).

    A label `ignore_index` means that there is none: its point counts nothing. `weight` has one number per
    class, or is None.
    """

    def __init__(self, weight: Any, ignore_index: int, reduction: str) -> None:
        super().__init__(reduction)
        self.weight = None if weight is None else as_weights("weight", weight, "class")
        self.ignore_index = integer("ignore_index", ignore_index)

    def prepare(self, shape: Shape, dtype: np.dtype, target: np.ndarray) -> np.ndarray:
        """See `Loss.prepare`."""
        check_batch(shape, 2, "(N, classes, ...)")
        if self.weight is not None:
            check_shape("weight", self.weight, (shape[1],))
        return self._answers(shape, dtype, target)

    def divisor(self, target: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        """See `Loss.divisor`: the number of points that have a label, or their weights."""
        weights = self._point_weights(target, sample_weight)
        if weights is None:
            return float(target.size // self._classes_in(target))
        return float(weights.sum(dtype=np.float64))

    def correct(self, prediction: np.ndarray, target: np.ndarray) -> float | None:
        """See `Loss.correct`: of an example with many labels, the share that is right."""
        labels = target if is_labels(target) else target.argmax(axis=1)
        # a prediction is never largest at a label that is out of range, but it may be at one to ignore
        right = count_right(prediction, labels)
        if is_labels(target) and 0 <= self.ignore_index < prediction.shape[1]:
            ignored = labels == self.ignore_index
            right -= int(np.count_nonzero((prediction.argmax(axis=1) == labels) & ignored))
        return right * (len(prediction) / labels.size)

    def judged(self, target: np.ndarray) -> float:
        """See `Loss.judged`."""
        if not is_labels(target):
            return float(len(target))
        return int(np.count_nonzero(target != self.ignore_index)) * (len(target) / target.size)

    def _answers(self, shape: Shape, dtype: np.dtype, target: np.ndarray) -> np.ndarray:
        return class_labels(shape, target, self.ignore_index)

    def _classes_in(self, target: np.ndarray) -> int:
        """How many numbers of a target belong to one point."""
        return 1 if is_labels(target) else target.shape[1]

    def _point_weights(self, target: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        """What every point counts, class weights included; None if all count 1."""
        weights = self._kept(target)
        if self.weight is not None and is_labels(target):
            classes = self.weight[self._labels(target)]
            weights = classes if weights is None else weights * classes
        if sample_weight is None:
            return weights
        points = target.shape[:1] + target.shape[1 + (not is_labels(target)) :]
        by_example = sample_weight.reshape(-1, *[1] * (len(points) - 1))
        return np.broadcast_to(by_example, points) if weights is None else weights * by_example

    def _kept(self, target: np.ndarray) -> np.ndarray | None:
        """1 where a label counts and 0 where there is none or its class weighs 0; None if all count."""
        if not is_labels(target):
            return None
        kept = target != self.ignore_index
        if self.weight is not None and not self.weight.all():
            kept &= self.weight[self._labels(target)] > 0
        return None if kept.all() else kept.astype(np.float64)

    def _labels(self, target: np.ndarray) -> np.ndarray:
        """Labels that may index: class 0 stands where there is none."""
        labels: np.ndarray = target.astype(np.intp, copy=False)
        ignored = labels == self.ignore_index
        return np.where(ignored, 0, labels) if ignored.any() else labels

    # ---- pieces ----------------------------------------------------------------------------------------

    def _new_gradient(self, prediction: np.ndarray) -> np.ndarray:
        """In C order or channels-last, so that the axes behind the classes can be one."""
        shape = prediction.shape
        if prediction.flags.c_contiguous:
            return np.empty(shape, prediction.dtype)
        last = np.empty((shape[0], *shape[2:], shape[1]), prediction.dtype)
        return np.moveaxis(last, -1, 1)

    def _point_shape(self, shape: Shape) -> Shape:
        return label_shape(shape)

    def _pieces(self, shape: Shape) -> Iterator[Piece]:
        """Some examples and all their points, or one example and some of its points."""
        classes, points = shape[1], math.prod(shape[2:])
        step = max(1, PIECE // (classes * points))
        inner = max(1, min(points, PIECE // classes))
        for start in range(0, shape[0], step):
            for first in range(0, points, inner):
                yield slice(start, start + step), slice(first, first + inner)

    def _place(self, every: np.ndarray, piece: Piece) -> np.ndarray:
        place: np.ndarray = every.reshape(len(every), -1)[piece]
        return place

    def _piece(
        self,
        piece: Piece,
        prediction: np.ndarray,
        target: np.ndarray,
        sample_weight: np.ndarray | None,
        gradient: np.ndarray | None,
        scale: float,
    ) -> np.ndarray:
        examples, points = piece
        rows = _rows(prediction[examples], points)
        if is_labels(target):
            target = target[examples].reshape(len(target[examples]), -1)[:, points].reshape(-1)
            weights = self._kept(target)
        else:
            target, weights = _rows(target[examples], points), None
        if sample_weight is not None:
            by_point = np.repeat(sample_weight[examples], len(rows) // len(sample_weight[examples]))
            weights = by_point if weights is None else weights * by_point
        losses, slopes = self._of_rows(rows, target, gradient is not None)
        if weights is not None:
            weights = weights.astype(rows.dtype)
            losses = counted(weights, losses)
        if gradient is not None and slopes is not None:
            if weights is not None:
                slopes = counted(weights[:, None], slopes)
            slopes *= scale
            if gradient.ndim == 2:
                gradient[examples] = slopes
            else:
                place = gradient[examples].reshape(len(gradient[examples]), gradient.shape[1], -1)
                place[:, :, points] = np.moveaxis(slopes.reshape(len(place), -1, slopes.shape[1]), -1, 1)
        return losses.reshape(len(prediction[examples]), -1)

    def _of_rows(
        self, rows: np.ndarray, target: np.ndarray, sloping: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The loss of every row of predictions, and its gradient (a new array) if wanted."""
        raise NotImplementedError

    def _class_weight(self, dtype: np.dtype) -> np.ndarray | None:
        return None if self.weight is None else self.weight.astype(dtype)


def _rows(array: np.ndarray, points: slice) -> np.ndarray:
    """Some points of (N, classes, ...) as rows of classes, side by side in memory: then sums are pairwise."""
    if array.ndim == 2:
        return np.ascontiguousarray(array)
    flat = array.reshape(len(array), array.shape[1], -1)[:, :, points]
    return np.ascontiguousarray(np.moveaxis(flat, 1, -1).reshape(-1, array.shape[1]))


class CrossEntropyLoss(ClassLoss):
    """Minus the logarithm of the softmax probability of the right class.

    Predictions are logits of shape (N, classes) or (N, classes, ...). Targets are integer labels of shape (N,
    ...), or probabilities of the prediction's shape and dtype. A logit of -inf takes a class out; the loss is
    infinite where that class has a share in the target and a weight, and does not notice it where not.

    Parameters
    ----------
    weight : array, shape (classes,), optional
        What each class counts, at least 0; with labels the mean is weighted as well, and a label whose class
        counts 0 is as if it were not there.
    label_smoothing : float in [0, 1], default 0.0
        That much of each target is spread over all classes (Szegedy et al., arXiv:1512.00567).
    ignore_index : int, default -100
        A label that stands for none: what is there does not count, in loss, gradient and accuracy.
    reduction : {"mean", "sum", "none"}, default "mean"
        The mean is over examples (and pixels), by their weights; if nothing counts it is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> value, gradient = nn.CrossEntropyLoss().vjp(np.zeros((1, 4)), np.array([2]))
    >>> round(value, 4), gradient
    (1.3863, array([[ 0.25,  0.25, -0.75,  0.25]]))
    >>> round(nn.CrossEntropyLoss()(np.zeros((3, 4)), np.array([2, -100, 0])), 4)
    1.3863
    """

    def __init__(
        self,
        weight: Any = None,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, ignore_index, reduction)
        self.label_smoothing = real("label_smoothing", label_smoothing, at_least=0, at_most=1)

    def _answers(self, shape: Shape, dtype: np.dtype, target: np.ndarray) -> np.ndarray:
        target = as_ndarray("target", target)
        if is_labels(target) or target.shape == label_shape(shape):
            return class_labels(shape, target, self.ignore_index)
        answers = same_shape(shape, dtype, target)
        check_probabilities(answers, "integer labels or probabilities from 0 to 1")
        return answers

    def _of_rows(
        self, rows: np.ndarray, target: np.ndarray, sloping: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        logs = functional.log_softmax(rows, -1)
        if is_labels(target):
            return self._of_labels(logs, self._labels(target), sloping)
        weight = self._class_weight(logs.dtype)
        wanted = target * (1.0 - self.label_smoothing) + self.label_smoothing / logs.shape[1]
        if weight is not None:
            wanted *= weight
        losses = -counted(wanted, logs).sum(axis=1)
        if not sloping:
            return losses, None
        slopes = np.exp(logs, out=logs)
        slopes *= wanted.sum(axis=1, keepdims=True)
        slopes -= wanted
        return losses, slopes

    def _of_labels(
        self, logs: np.ndarray, labels: np.ndarray, sloping: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """As if every label were a row of probabilities, without making one.

        Of each row of targets a part is at the label, `certain`, and a part is spread evenly, `spread`.
        """
        weight = self._class_weight(logs.dtype)
        place = np.arange(len(logs)), labels
        spread = self.label_smoothing / logs.shape[1]
        certain: Any = 1.0 - self.label_smoothing
        if weight is not None:
            certain = certain * weight[labels]
            losses = -counted(certain, logs[place])
        else:
            losses = logs[place] * -certain if certain else np.zeros(len(logs), logs.dtype)
        if spread:
            losses -= spread * _weighted_sums(logs, weight)
        if not sloping:
            return losses, None
        slopes = np.exp(logs, out=logs)
        if weight is not None or spread:
            everywhere = spread if weight is None else spread * weight
            total = certain + (spread * logs.shape[1] if weight is None else spread * weight.sum())
            slopes *= total[:, None] if weight is not None else total
            slopes -= everywhere
        slopes[place] -= certain
        return losses, slopes


def _weighted_sums(logs: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The sum of every row by weights, in which a weight of 0 leaves its class out."""
    if weight is None:
        total: np.ndarray = logs.sum(axis=1)
        return total
    counting = weight > 0
    sums: np.ndarray = logs @ weight if counting.all() else logs[:, counting] @ weight[counting]
    return sums


class NLLLoss(ClassLoss):
    """Minus the log-probability of the right class; what `CrossEntropyLoss` is after a `LogSoftmax`.

    Predictions are log-probabilities of shape (N, classes) or (N, classes, ...), targets integer labels of
    shape (N, ...).

    Parameters
    ----------
    weight : array, shape (classes,), optional
        What each class counts, at least 0; the mean is weighted as well.
    ignore_index, reduction
        As in `CrossEntropyLoss`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.NLLLoss()(np.array([[-1.0, -2.0]]), np.array([1]))
    2.0
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, ignore_index, reduction)

    def _of_rows(
        self, rows: np.ndarray, target: np.ndarray, sloping: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        labels, weight = self._labels(target), self._class_weight(rows.dtype)
        place = np.arange(len(rows)), labels
        share: Any = 1.0 if weight is None else weight[labels]
        losses = -rows[place] if weight is None else -counted(share, rows[place])
        if not sloping:
            return losses, None
        slopes = np.zeros_like(rows)
        slopes[place] = -share
        return losses, slopes


class HingeLoss(ClassLoss):
    """How far each wrong class comes within `margin` of the right one: summed over classes, mean over the
    batch.

    max(0, margin + wrong - right) for every wrong class. Predictions have shape (N, classes) or (N, classes,
    ...), targets are integer labels of shape (N, ...). The gradient is 0 for a class exactly at the margin.

    Parameters
    ----------
    margin : float, default 1.0
    ignore_index, reduction
        As in `CrossEntropyLoss`.

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

    def __init__(self, margin: float = 1.0, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(None, ignore_index, reduction)
        self.margin = real("margin", margin, above=0)

    def _of_rows(
        self, rows: np.ndarray, target: np.ndarray, sloping: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        place = np.arange(len(rows)), self._labels(target)
        excess: np.ndarray = rows - (rows[place] - self.margin)[:, None]
        excess[place] = 0
        np.maximum(excess, 0, out=excess)
        losses: np.ndarray = excess.sum(axis=1)
        if not sloping:
            return losses, None
        slopes = (excess > 0).astype(rows.dtype)
        slopes[place] = -slopes.sum(axis=1)
        return losses, slopes
