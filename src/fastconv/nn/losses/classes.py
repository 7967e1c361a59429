"""Losses of a choice among several classes: what they have in common, and the hinge loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastconv.geometry import check_shape, integer
from fastconv.nn.arguments import real
from fastconv.nn.losses.base import (
    Shape,
    as_weights,
    check_batch,
    class_labels,
    count_right,
    is_labels,
    label_shape,
)
from fastconv.nn.losses.points import PIECE, Piece, PointLoss, counted


class ClassLoss(PointLoss):
    """Base of the losses of labels: predictions (N, classes, ...), points (N, ...).

    A label `ignore_index` means that there is none: its point counts nothing. `weight` has one number per
    class, or is None.
    """

    _new: Callable[..., np.ndarray] = staticmethod(np.empty)  # what a gradient is before it is written

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
            return self._new(shape, prediction.dtype)
        last = self._new((shape[0], *shape[2:], shape[1]), prediction.dtype)
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


def _rows(array: np.ndarray, points: slice) -> np.ndarray:
    """Some points of (N, classes, ...) as rows of classes, side by side in memory: then sums are pairwise."""
    if array.ndim == 2:
        return np.ascontiguousarray(array)
    flat = array.reshape(len(array), array.shape[1], -1)[:, :, points]
    return np.ascontiguousarray(np.moveaxis(flat, 1, -1).reshape(-1, array.shape[1]))


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
