"""What every loss is: how wrong a prediction is as one number per batch, and the gradient of that number.

Every loss is a mean over the batch unless told otherwise. `value = loss(prediction, target)`; `value,
grad_prediction = loss.vjp(prediction, target)`. Training checks the targets of a whole data set once, with
`prepare`, and then calls `value` and `gradient`, which check nothing.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from fastconv.geometry import as_array, as_ndarray, check_shape
from fastconv.nn.layers.calling import ValueShape, each, each_shape, shape_of

Shape = tuple[int, ...]

#: What becomes of the losses of a batch.
REDUCTIONS = ("mean", "sum", "none")


class Loss:
    """Base of all losses. A loss of your own defines `prepare`, `value` and `gradient`.

    Of a net with several outputs, `prediction` is a tuple of arrays, `shape` a tuple of their shapes, `dtype`
    that of the first, and `gradient` gives a tuple of gradients (None for an output that does not matter).
    `target` is a tuple where it was given as one. `nn.LossPerOutput` has a loss for each.

    Those of `fastconv.nn` also take `sample_weight`, one number per example. A loss of your own may: give
    `value`, `gradient` and `divisor` that argument. It is only passed where there are weights.

    Attributes
    ----------
    reduction : {"mean", "sum", "none"}
        What the value is: the mean over the batch, the sum, or (not for training) every loss by itself.
    """

    reduction: str = "mean"

    def __call__(self, prediction: Any, target: Any, sample_weight: Any = None) -> Any:
        """The loss of `prediction` against `target`.

        Parameters
        ----------
        prediction, target : array
            Shapes and dtypes as the loss says. Of a net with several outputs, what it returns: a tuple.
        sample_weight : array, shape (N,), optional
            What each example of the batch counts; the mean is weighted as well. What counts 0 is as if it
            were not there, whatever is in it; a batch in which nothing counts has the loss 0.

        Returns
        -------
        float
            With `reduction="none"` an array, one loss per element, pixel or example.

        Raises
        ------
        ValueError, TypeError
            Shapes, dtypes, labels or weights that do not fit; an empty batch.
        """
        prediction, target, extra = self._checked(prediction, target, sample_weight)
        return self.value(prediction, target, *extra)

    def vjp(self, prediction: Any, target: Any, sample_weight: Any = None) -> tuple[Any, Any]:
        """The loss and its gradient with respect to `prediction`; arguments and errors as when called.

        Returns
        -------
        value : float
        grad_prediction : ndarray, shape and dtype of `prediction`; of several, a tuple
            With `reduction="none"` each loss's own gradient, which is that of their sum.
        """
        prediction, target, extra = self._checked(prediction, target, sample_weight)
        return self.gradient(prediction, target, *extra)

    def _checked(self, prediction: Any, target: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        if isinstance(prediction, tuple):
            prediction = tuple(as_ndarray(f"prediction[{i}]", array) for i, array in enumerate(prediction))
        else:
            prediction = as_array("prediction", prediction)
        shape = shape_of(prediction)
        target = self._prepared(shape, each(prediction)[0].dtype, target)
        if sample_weight is None:
            return prediction, target, ()
        check_takes_weights(self)
        return prediction, target, (as_sample_weight(sample_weight, each_shape(shape)[0]),)

    def _prepared(self, shape: ValueShape, dtype: np.dtype, target: Any) -> Any:
        """`prepare` of what a caller gave: an array, or a tuple of them."""
        if isinstance(target, tuple):
            target = tuple(as_ndarray(f"target[{i}]", array) for i, array in enumerate(target))
        else:
            target = as_ndarray("target", target)
        self._check_counts(len(each_shape(shape)), len(each(target)))
        return self.prepare(shape, dtype, target)

    def _check_counts(self, outputs: int, targets: int) -> None:
        """Raise `TypeError` if the loss does not take so many outputs and targets."""

    def prepare(self, shape: Any, dtype: np.dtype, target: Any) -> Any:
        """`target` in the form that `value` and `gradient` take, for predictions of this shape and dtype.

        Raises
        ------
        ValueError, TypeError
            The target does not fit.
        """
        raise NotImplementedError(f"{type(self).__name__} must define prepare")

    def value(self, prediction: Any, target: Any) -> Any:
        """The loss; nothing is checked."""
        raise NotImplementedError(f"{type(self).__name__} must define value")

    def gradient(self, prediction: Any, target: Any) -> tuple[Any, Any]:
        """The loss and its gradient; nothing is checked."""
        raise NotImplementedError(f"{type(self).__name__} must define gradient")

    def divisor(self, target: Any, sample_weight: np.ndarray | None = None) -> float:
        """What a mean over these prepared targets is divided by: the number of examples, or their weights.

        The values of several batches times their divisors, added up and divided by the sum of these, are the
        value of all the examples in one batch.
        """
        return float(len(each(target)[0])) if sample_weight is None else float(sample_weight.sum())

    def correct(self, prediction: Any, target: Any) -> float | None:
        """How many examples of the batch are right; None for a loss that does not choose among classes."""
        return None

    def judged(self, target: Any) -> float:
        """Of how many examples `correct` speaks: all but those without a label."""
        return float(len(each(target)[0]))

    def __repr__(self) -> str:
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                shown.append(f"{name}={value.tolist()}")
            elif value != parameter.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


# ---- checks ------------------------------------------------------------------------------------------


def check_batch(shape: Shape, axes: int, what: str) -> None:
    """Raise `ValueError` unless predictions of this shape have so many axes and are not empty."""
    if len(shape) < axes:
        raise ValueError(f"prediction: shape {shape} must be {what}")
    if 0 in shape:
        raise ValueError(f"prediction: shape {shape} is empty; a mean needs at least one value")


def check_reduction(reduction: Any) -> str:
    """`reduction`, which must be one of `REDUCTIONS`."""
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        raise ValueError(f"reduction={reduction!r}: must be one of {', '.join(REDUCTIONS)}")
    return reduction


def check_takes_weights(loss: Loss) -> None:
    """Raise `TypeError` for a loss of one's own whose functions have no argument `sample_weight`."""
    for function in (loss.value, loss.gradient, loss.divisor):
        if "sample_weight" not in inspect.signature(function).parameters:
            raise TypeError(
                f"sample_weight: {type(loss).__name__}.{function.__name__} has no such argument; leave it out"
            )


def as_weights(name: str, weight: Any, what: str) -> np.ndarray:
    """`weight` as a new row of float64 numbers, finite and not negative."""
    weight = as_ndarray(name, weight)
    if weight.dtype.kind not in "fiub":
        raise TypeError(f"{name}: must be an array of numbers, not dtype {weight.dtype}")
    array: np.ndarray = np.array(weight, np.float64)
    if array.ndim != 1 or not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError(f"{name}: must be one finite number, at least 0, per {what}")
    return array


def as_sample_weight(sample_weight: Any, shape: Shape) -> np.ndarray:
    """`sample_weight` for predictions of this shape: float64, one number per example."""
    array = as_weights("sample_weight", sample_weight, "example")
    check_shape("sample_weight", array, shape[:1])
    return array


def same_shape(shape: Shape, dtype: np.dtype, target: Any) -> np.ndarray:
    """`target` as an array of exactly this shape and dtype."""
    array = as_array("target", target, dtype)
    check_shape("target", array, shape)
    return array


def check_probabilities(target: np.ndarray, rule: str) -> None:
    """Raise `ValueError` unless all of an array are from 0 to 1; NaN is not."""
    if not (target.min() >= 0 and target.max() <= 1):
        raise ValueError(f"target: must be {rule}")


def is_labels(target: np.ndarray) -> bool:
    """Whether `target` is an array of integers."""
    return bool(target.dtype.kind in "iu")


def label_shape(shape: Shape) -> Shape:
    """The shape of class numbers for predictions of shape (N, classes, ...)."""
    return (shape[0], *shape[2:])


def class_labels(shape: Shape, target: Any, ignore_index: int | None = None) -> np.ndarray:
    """Class numbers for predictions of shape (N, classes, ...): integers of shape (N, ...), all in range."""
    labels = as_ndarray("target", target)
    if not is_labels(labels):
        numbers = labels.dtype.kind in "bf" and np.isfinite(labels).all()
        way_out = "; .astype(np.int64) makes them so" if numbers else ""
        raise TypeError(f"target: labels must be integers, not {labels.dtype}{way_out}")
    check_shape("target", labels, label_shape(shape))
    lowest, highest = labels.min(), labels.max()
    if ignore_index is not None and (lowest < 0 or highest >= shape[1]):
        counting = labels[labels != ignore_index]
        if not counting.size:
            return labels
        lowest, highest = counting.min(), counting.max()
    if lowest < 0 or highest >= shape[1]:
        rule = f"from 0 to {shape[1] - 1}"
        rule += "" if ignore_index is None else f", or ignore_index={ignore_index}"
        raise ValueError(f"target: labels from {lowest} to {highest} must be {rule}")
    return labels


def count_right(prediction: np.ndarray, labels: np.ndarray) -> int:
    """Labels, of examples or pixels, at which the prediction is largest."""
    return int(np.count_nonzero(prediction.argmax(axis=1) == labels))
