"""Losses of the difference between a prediction and the right answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.geometry import as_ndarray
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


class TotalAbsoluteError(Loss):
    """The deck's error: per class |right answer - actual answer|, summed over classes, mean over the batch.

    Predictions have shape (N, classes). Targets are the right answers, same shape and dtype, or integer
    labels of shape (N,), which stand for 1 at the right class and 0 elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> votes = np.array([[0.912, 0.5175]])
    >>> round(nn.TotalAbsoluteError()(votes, np.array([0])), 4)
    0.6055
    """

    def prepare(self, shape: Shape, dtype: np.dtype, target: Any) -> np.ndarray:
        """See `Loss.prepare`."""
        check_batch(shape, 2, "(N, classes)")
        target = as_ndarray("target", target)
        if not is_labels(target) and target.shape != label_shape(shape):
            return same_shape(shape, dtype, target)
        labels = class_labels(shape, target)
        return np.moveaxis(np.eye(shape[1], dtype=dtype)[labels], -1, 1)

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """See `Loss.value`."""
        return float(np.abs(prediction - target).sum()) / len(prediction)

    def gradient(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """See `Loss.gradient`: 0 where prediction and target are equal."""
        difference = prediction - target
        value = float(np.abs(difference).sum()) / len(prediction)
        np.sign(difference, out=difference)
        difference /= len(prediction)
        return value, difference

    def correct(self, prediction: np.ndarray, target: np.ndarray) -> float | None:
        """See `Loss.correct`: the largest vote is for the class with the largest right answer."""
        return count_right(prediction, target.argmax(axis=1))


class ElementwiseLoss(Loss):
    """Base of the means over all elements; prediction and target have one shape and dtype."""

    def prepare(self, shape: Shape, dtype: np.dtype, target: Any) -> np.ndarray:
        """See `Loss.prepare`."""
        check_batch(shape, 0, "an array")
        return same_shape(shape, dtype, target)

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """See `Loss.value`."""
        return self.gradient(prediction, target)[0]


class MSELoss(ElementwiseLoss):
    """Mean of (prediction - target) ** 2 over all elements; both of one shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> value, gradient = nn.MSELoss().vjp(np.array([[1.0, 3.0]]), np.array([[0.0, 3.0]]))
    >>> value, gradient
    (0.5, array([[1., 0.]]))
    """

    def gradient(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """See `Loss.gradient`."""
        difference = prediction - target
        value = float(np.vdot(difference, difference)) / prediction.size
        difference *= 2.0 / prediction.size
        return value, difference


class L1Loss(ElementwiseLoss):
    """Mean of |prediction - target| over all elements; both of one shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.L1Loss()(np.array([1.0, 3.0]), np.array([0.0, 3.0]))
    0.5
    """

    def gradient(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """See `Loss.gradient`: 0 where prediction and target are equal."""
        difference = prediction - target
        return float(np.abs(difference).sum()) / prediction.size, np.sign(difference) / prediction.size


class HuberLoss(ElementwiseLoss):
    """Half the square of small differences, straight beyond `delta`: mean over all elements.

    d ** 2 / 2 where |d| <= delta, else delta * (|d| - delta / 2).

    Parameters
    ----------
    delta : float, default 1.0

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

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = real("delta", delta, above=0)

    def gradient(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """See `Loss.gradient`."""
        return _huber(prediction - target, self.delta, 1.0 / prediction.size)


class SmoothL1Loss(ElementwiseLoss):
    """`HuberLoss` with delta `beta`, divided by `beta`: straight lines of slope 1 beyond it.

    Parameters
    ----------
    beta : float, default 1.0

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.SmoothL1Loss(0.5)(np.array([1.0]), np.array([0.0]))
    0.75
    """

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = real("beta", beta, above=0)

    def gradient(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """See `Loss.gradient`."""
        return _huber(prediction - target, self.beta, 1.0 / (self.beta * prediction.size))


def _huber(difference: np.ndarray, delta: float, scale: float) -> tuple[float, np.ndarray]:
    """`scale` times the sum of Huber's function, and its gradient."""
    clipped = difference.clip(-delta, delta)
    # clipped * (d - clipped / 2) is d * d / 2 inside and delta * (|d| - delta / 2) outside
    total = float((clipped * (difference - 0.5 * clipped)).sum())
    clipped *= scale
    return total * scale, clipped
