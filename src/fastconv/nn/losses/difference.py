"""Losses of the difference between a prediction and the right answer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv._kernels.pointwise import loss
from fastconv.geometry import as_ndarray
from fastconv.nn.arguments import real
from fastconv.nn.losses.base import (
    Shape,
    check_batch,
    class_labels,
    count_right,
    is_labels,
    label_shape,
    same_shape,
)
from fastconv.nn.losses.points import PIECE, Piece, PointLoss, counted, element_pieces


class TotalAbsoluteError(PointLoss):
    """The deck's error: per class |right answer - actual answer|, summed over classes, mean over the batch.

    Predictions have shape (N, classes). Targets are the right answers, same shape and dtype, or integer
    labels of shape (N,), which stand for 1 at the right class and 0 elsewhere.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        Over the examples of the batch.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> votes = np.array([[0.912, 0.5175]])
    >>> round(nn.TotalAbsoluteError()(votes, np.array([0])), 4)
    0.6055
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def prepare(self, shape: Shape, dtype: np.dtype, target: np.ndarray) -> np.ndarray:
        """See `Loss.prepare`."""
        check_batch(shape, 2, "(N, classes)")
        target = as_ndarray("target", target)
        if is_labels(target) or target.shape == label_shape(shape):
            return class_labels(shape, target)
        return same_shape(shape, dtype, target)

    def correct(self, prediction: np.ndarray, target: np.ndarray) -> float | None:
        """See `Loss.correct`: the largest vote is for the class with the largest right answer."""
        labels = target if is_labels(target) else target.argmax(axis=1)
        return count_right(prediction, labels) * (len(prediction) / labels.size)

    def _point_shape(self, shape: Shape) -> Shape:
        return shape[:1]

    def _pieces(self, shape: Shape) -> Iterator[Piece]:
        step = max(1, PIECE // math.prod(shape[1:]))
        return ((slice(start, start + step),) for start in range(0, shape[0], step))

    def _piece(
        self,
        piece: Piece,
        prediction: np.ndarray,
        target: np.ndarray,
        sample_weight: np.ndarray | None,
        gradient: np.ndarray | None,
        scale: float,
    ) -> np.ndarray:
        answers = target[piece]
        if is_labels(answers):
            rows = np.zeros((*answers.shape, prediction.shape[1]), prediction.dtype)
            np.put_along_axis(rows, answers.astype(np.intp)[..., None], 1, axis=-1)
            answers = np.moveaxis(rows, -1, 1)
        errors, slopes = element_losses("absolute", prediction[piece], answers, gradient is not None)
        losses: np.ndarray = errors.reshape(len(errors), -1).sum(axis=1)
        if slopes is not None:
            slopes *= scale
        if sample_weight is not None:
            weight = sample_weight[piece].astype(prediction.dtype)
            losses = counted(weight, losses)
            if slopes is not None:
                slopes = counted(weight.reshape(-1, *[1] * (slopes.ndim - 1)), slopes)
        if gradient is not None:
            gradient[piece] = slopes
        return losses


class ElementwiseLoss(PointLoss):
    """Base of the means over all elements; prediction and target have one shape and dtype.

    One compiled pass if both lie alike in memory and without gaps, else piece by piece.
    """

    _formula: str  # one of those of the kernel

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def prepare(self, shape: Shape, dtype: np.dtype, target: np.ndarray) -> np.ndarray:
        """See `Loss.prepare`."""
        check_batch(shape, 0, "an array")
        return same_shape(shape, dtype, target)

    def divisor(self, target: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        """See `Loss.divisor`: the number of elements, or their weights."""
        if sample_weight is None:
            return float(target.size)
        return float(sample_weight.sum()) * (target.size / len(target))

    def _point_shape(self, shape: Shape) -> Shape:
        return shape

    def _pieces(self, shape: Shape) -> Iterator[Piece]:
        return element_pieces(shape)

    def _piece(
        self,
        piece: Piece,
        prediction: np.ndarray,
        target: np.ndarray,
        sample_weight: np.ndarray | None,
        gradient: np.ndarray | None,
        scale: float,
    ) -> np.ndarray:
        # an array in any case, also of a single number
        place = None if gradient is None else gradient[piece]
        losses = self._elements(prediction[piece], target[piece], place)
        if sample_weight is not None:
            weight = sample_weight[piece[0]].astype(prediction.dtype)
            if weight.ndim:
                weight = weight.reshape(-1, *[1] * (losses.ndim - 1))
            losses = counted(weight, losses)
            if place is not None:
                place[...] = counted(weight, place)
        if place is not None and scale != 1.0:
            np.multiply(place, scale, out=place)
        return losses

    def _reduced(
        self,
        prediction: np.ndarray,
        target: np.ndarray,
        sample_weight: np.ndarray | None,
        gradient: np.ndarray | None,
    ) -> Any:
        order = sorted(range(prediction.ndim), key=lambda axis: -prediction.strides[axis])
        alike = all(array.transpose(order).flags.c_contiguous for array in (prediction, target))
        if not alike or (sample_weight is not None and order[0] != 0):  # an example's elements lie together
            return super()._reduced(prediction, target, sample_weight, gradient)
        scale = self._scale(target, sample_weight)
        every = np.empty_like(prediction) if self.reduction == "none" else None
        a, times = self._parameters()
        total = loss.losses_of(
            loss.FORMULAS[self._formula],
            prediction,
            target,
            a=a,
            times=times,
            scale=scale,
            weight=None if sample_weight is None else np.ascontiguousarray(sample_weight, np.float64),
            losses=every,
            slopes=gradient,
        )
        return total * scale if every is None else every

    def _elements(self, prediction: np.ndarray, target: np.ndarray, place: np.ndarray | None) -> np.ndarray:
        """The loss of every element; the gradient of each by itself goes into `place`, if there is one."""
        losses, slopes = element_losses(
            self._formula, prediction, target, place is not None, *self._parameters()
        )
        if place is not None:
            place[...] = slopes
        return losses

    def _parameters(self) -> tuple[float, float]:
        """The parameter of the formula, and what it is multiplied by."""
        return 0.0, 1.0


def element_losses(
    formula: str,
    prediction: np.ndarray,
    target: np.ndarray,
    sloping: bool,
    a: float = 0.0,
    times: float = 1.0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The loss of every element of a piece of any memory order, and its gradient if wanted; new arrays."""
    x, answers = np.ascontiguousarray(prediction), np.ascontiguousarray(target)
    losses, slopes = np.empty_like(x), np.empty_like(x) if sloping else None
    loss.losses_of(loss.FORMULAS[formula], x, answers, a=a, times=times, losses=losses, slopes=slopes)
    return losses, slopes


class MSELoss(ElementwiseLoss):
    """Mean of (prediction - target) ** 2 over all elements; both of one shape and dtype.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> value, gradient = nn.MSELoss().vjp(np.array([[1.0, 3.0]]), np.array([[0.0, 3.0]]))
    >>> value, gradient
    (0.5, array([[1., 0.]]))
    >>> nn.MSELoss()(np.array([[1.0], [3.0]]), np.zeros((2, 1)), sample_weight=np.array([3.0, 1.0]))
    3.0
    """

    _formula = "square"


class L1Loss(ElementwiseLoss):
    """Mean of |prediction - target| over all elements; both of one shape and dtype.

    The gradient is 0 where they are equal.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.L1Loss()(np.array([1.0, 3.0]), np.array([0.0, 3.0]))
    0.5
    """

    _formula = "absolute"


class HuberLoss(ElementwiseLoss):
    """Half the square of small differences, straight beyond `delta`: mean over all elements.

    d ** 2 / 2 where |d| <= delta, else delta * (|d| - delta / 2).

    Parameters
    ----------
    delta : float, default 1.0
    reduction : {"mean", "sum", "none"}, default "mean"

    Notes
    -----
    Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35 (1964).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.HuberLoss()(np.array([1.0, 3.0]), np.array([0.0, 0.0]))
    1.5
    """

    _formula = "huber"

    def __init__(self, delta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.delta = real("delta", delta, above=0)

    def _parameters(self) -> tuple[float, float]:
        return self.delta, 1.0


class SmoothL1Loss(ElementwiseLoss):
    """`HuberLoss` with delta `beta`, divided by `beta`: straight lines of slope 1 beyond it.

    Parameters
    ----------
    beta : float, default 1.0
    reduction : {"mean", "sum", "none"}, default "mean"

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.SmoothL1Loss(0.5)(np.array([1.0]), np.array([0.0]))
    0.75
    """

    _formula = "huber"

    def __init__(self, beta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.beta = real("beta", beta, above=0)

    def _parameters(self) -> tuple[float, float]:
        return self.beta, 1.0 / self.beta
