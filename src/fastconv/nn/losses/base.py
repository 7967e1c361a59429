"""How wrong a prediction is, and which way to change it: one number per batch, and its gradient.

Every loss is a mean over the batch. `value = loss(prediction, target)`; `value, grad_prediction =
loss.vjp(prediction, target)`. Training checks the targets of a whole data set once, with `prepare`, and then
calls `value` and `gradient`, which check nothing.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from fastconv.geometry import as_array, as_ndarray, check_shape

Shape = tuple[int, ...]


class Loss:
    """Base of all losses. A loss of your own defines `prepare`, `value` and `gradient`."""

    def __call__(self, prediction: Any, target: Any) -> float:
        """The loss of `prediction` against `target`.

        Raises
        ------
        ValueError, TypeError
            Shapes, dtypes or labels that do not fit; an empty batch.
        """
        prediction = as_array("prediction", prediction)
        return self.value(prediction, self.prepare(prediction.shape, prediction.dtype, target))

    def vjp(self, prediction: Any, target: Any) -> tuple[float, np.ndarray]:
        """The loss and its gradient with respect to `prediction`; errors as when called.

        Returns
        -------
        value : float
        grad_prediction : ndarray, shape and dtype of `prediction`
        """
        prediction = as_array("prediction", prediction)
        return self.gradient(prediction, self.prepare(prediction.shape, prediction.dtype, target))

    def prepare(self, shape: Shape, dtype: np.dtype, target: Any) -> np.ndarray:
        """`target` in the form that `value` and `gradient` take, for predictions of this shape and dtype.

        Raises
        ------
        ValueError, TypeError
            The target does not fit.
        """
        raise NotImplementedError(f"{type(self).__name__} must define prepare")

    def value(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """The loss; nothing is checked."""
        raise NotImplementedError(f"{type(self).__name__} must define value")

    def gradient(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient; nothing is checked."""
        raise NotImplementedError(f"{type(self).__name__} must define gradient")

    def correct(self, prediction: np.ndarray, target: np.ndarray) -> float | None:
        """How many examples of the batch are right; None for a loss that does not choose among classes."""
        return None

    def __repr__(self) -> str:
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if value is not parameter.default:
                shown.append(f"{name}={value.tolist() if isinstance(value, np.ndarray) else value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def check_batch(shape: Shape, axes: int, what: str) -> None:
    """Raise `ValueError` unless predictions of this shape have so many axes and are not empty."""
    if len(shape) < axes:
        raise ValueError(f"prediction: shape {shape} must be {what}")
    if 0 in shape:
        raise ValueError(f"prediction: shape {shape} is empty; a mean needs at least one value")


def same_shape(shape: Shape, dtype: np.dtype, target: Any) -> np.ndarray:
    """`target` as an array of exactly this shape and dtype."""
    array = as_array("target", target, dtype)
    check_shape("target", array, shape)
    return array


def is_labels(target: np.ndarray) -> bool:
    """Whether `target` is an array of integers."""
    return bool(target.dtype.kind in "iu")


def label_shape(shape: Shape) -> Shape:
    """The shape of class numbers for predictions of shape (N, classes, ...)."""
    return (shape[0], *shape[2:])


def class_labels(shape: Shape, target: Any) -> np.ndarray:
    """Class numbers for predictions of shape (N, classes, ...): integers of shape (N, ...), all in range."""
    labels = as_ndarray("target", target)
    if not is_labels(labels):
        numbers = labels.dtype.kind in "bf" and np.isfinite(labels).all()
        way_out = "; .astype(np.int64) makes them so" if numbers else ""
        raise TypeError(f"target: labels must be integers, not {labels.dtype}{way_out}")
    check_shape("target", labels, label_shape(shape))
    if labels.min() < 0 or labels.max() >= shape[1]:
        raise ValueError(
            f"target: labels from {labels.min()} to {labels.max()} must be from 0 to {shape[1] - 1}"
        )
    return labels.astype(np.int64, copy=False)


def count_right(prediction: np.ndarray, labels: np.ndarray) -> float:
    """Examples whose largest prediction is at their label; of an image of labels, the share that is right."""
    return int(np.count_nonzero(prediction.argmax(axis=1) == labels)) * (len(prediction) / labels.size)
