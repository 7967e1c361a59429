"""Cross-entropy: what a choice among several classes costs by the logarithm of its probability."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv._kernels.pointwise import entropy
from fastconv.geometry import as_ndarray
from fastconv.nn.arguments import real
from fastconv.nn.losses.base import (
    Shape,
    check_probabilities,
    class_labels,
    is_labels,
    label_shape,
    same_shape,
)
from fastconv.nn.losses.classes import ClassLoss

#: How a prediction lies in memory: (outer, classes, inner).
Sizes = tuple[int, int, int]


class EntropyLoss(ClassLoss):
    """Base of the two: one compiled pass over predictions in C order or channels-last, others piece by piece.

    With labels it is as if every label were a row of probabilities, without making one.
    """

    label_smoothing = 0.0
    _normalized = False  # predictions are log-probabilities

    def _reduced(
        self,
        prediction: np.ndarray,
        target: np.ndarray,
        sample_weight: np.ndarray | None,
        gradient: np.ndarray | None,
    ) -> Any:
        sizes = _sizes(prediction)
        if sizes is None or not (is_labels(target) or _sizes(target) == sizes):
            return super()._reduced(prediction, target, sample_weight, gradient)
        scale, every = self._scale(target, sample_weight), self._new_losses(prediction)
        total = self._pass(prediction, sizes, target, sample_weight, every, gradient, scale)
        return total * scale if every is None else every

    def _of_rows(
        self, rows: np.ndarray, target: np.ndarray, sloping: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        losses = np.empty(len(rows))
        slopes = self._new_gradient(rows) if sloping else None
        self._pass(rows, (len(rows), rows.shape[1], 1), target, None, losses, slopes, 1.0)
        return losses, slopes

    def _pass(
        self,
        prediction: np.ndarray,
        sizes: Sizes,
        target: np.ndarray,
        sample_weight: np.ndarray | None,
        losses: np.ndarray | None,
        slopes: np.ndarray | None,
        scale: float,
    ) -> float:
        """The sum of the losses; each, and `scale` times its slopes, go into the arrays that there are."""
        answers: dict[str, Any] = {"target": target}
        if is_labels(target):
            labels, ignored = np.ascontiguousarray(target), self.ignore_index
            if not (labels.dtype.isnative and -(1 << 63) <= ignored < 1 << 63):
                labels, ignored = np.where(labels == ignored, -1, labels).astype(np.int64), -1
            answers = {
                "labels": labels,
                "ignored": ignored,
                "unsigned_labels": labels.dtype.kind == "u",
                "normalized": self._normalized,
            }
        return entropy.cross_entropy(
            prediction,
            *sizes,
            weight=None if self.weight is None else self.weight.astype(prediction.dtype),
            smoothing=self.label_smoothing,
            point_weight=None if sample_weight is None else np.ascontiguousarray(sample_weight, np.float64),
            losses=losses,
            slopes=slopes,
            scale=scale,
            **answers,
        )


def _sizes(array: np.ndarray) -> Sizes | None:
    """How (N, classes, ...) lies in memory, if in C order or channels-last."""
    n, classes, *points = array.shape
    if array.flags.c_contiguous:
        return n, classes, math.prod(points)
    if np.moveaxis(array, 1, -1).flags.c_contiguous:
        return n * math.prod(points), classes, 1
    return None


class CrossEntropyLoss(EntropyLoss):
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


class NLLLoss(EntropyLoss):
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

    _new = staticmethod(np.zeros)
    _normalized = True

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, ignore_index, reduction)
