"""How good votes are: accuracy with its interval, each class by itself, and whether 90% sure is 90% right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fastconv.data import DataError, Dataset
from fastconv.functional import softmax
from fastconv.train.model import Model

#: Of a standard normal, what lies within this of 0 is 95%.
Z95 = 1.959963984540054

#: Bins of confidence that calibration is told by.
BINS = 15


def wilson(right: int, count: int, z: float = Z95) -> tuple[float, float]:
    """The interval of shares that so many right of so many speak for, at 95%.

    Parameters
    ----------
    right, count : int
    z : float
        Standard deviations on either side.

    Returns
    -------
    low, high : float
        Of nothing counted, 0 and 1.

    Notes
    -----
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Examples
    --------
    >>> from fastconv.train import wilson
    >>> [round(end, 4) for end in wilson(9, 10)]
    [0.5958, 0.9821]
    >>> [round(end, 4) for end in wilson(50, 50)]
    [0.9287, 1.0]
    """
    if not count:
        return 0.0, 1.0
    share, square = right / count, z * z / count
    middle = share + square / 2
    half = z * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


@dataclass(frozen=True)
class Bin:
    """Samples about which a model was about as sure: how many, how sure, and how many of them right."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """What a model's votes are worth.

    Attributes
    ----------
    classes : tuple of str
    labels : ndarray, shape (N,), int64
        What the samples are.
    votes : ndarray, shape (N, K)
    names : sequence of str
        Of the samples.
    indices : ndarray, shape (N,), int64
        Where in their data set the samples stand; what cannot be read is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.train import Evaluation
    >>> found = Evaluation(("X", "O"), np.array([0, 0, 1]), np.array([[2.0, 0], [0, 1], [0, 3]]))
    >>> round(found.accuracy, 3), found.confusion.tolist()
    (0.667, [[1, 1], [0, 1]])
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    votes: np.ndarray
    names: Sequence[str] = ()
    indices: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @cached_property
    def predictions(self) -> np.ndarray:
        """The class with the largest vote, (N,)."""
        found: np.ndarray = self.votes.argmax(axis=1) if len(self.votes) else np.empty(0, np.int64)
        return found

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Softmax of the votes, (N, K), float64."""
        return softmax(np.asarray(self.votes, np.float64), -1)

    @property
    def right(self) -> np.ndarray:
        """Which samples are judged right, (N,)."""
        found: np.ndarray = self.predictions == self.labels
        return found

    @property
    def accuracy(self) -> float:
        """The share judged right; NaN of none."""
        return float(self.right.mean()) if len(self.labels) else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """What shares the accuracy speaks for, at 95%: see `wilson`."""
        return wilson(int(self.right.sum()), len(self.labels))

    @property
    def line(self) -> str:
        """How many are right, and what shares that speaks for.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv.train import Evaluation
        >>> Evaluation(("X", "O"), np.array([0, 0, 1]), np.array([[2.0, 0], [0, 1], [0, 3]])).line
        '2 of 3 right: 66.67% (95% interval 20.77% to 93.85%)'
        """
        low, high = self.interval
        right, count = int(self.right.sum()), len(self.labels)
        return f"{right:,} of {count:,} right: {self.accuracy:.2%} (95% interval {low:.2%} to {high:.2%})"

    @property
    def loss(self) -> float:
        """Mean cross-entropy; NaN of none."""
        if not len(self.labels):
            return math.nan
        chosen = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())

    @cached_property
    def confusion(self) -> np.ndarray:
        """How often a class (row) was taken for each (column), (K, K), int64."""
        count = len(self.classes)
        flat = np.bincount(self.labels * count + self.predictions, minlength=count * count)
        return flat.reshape(count, count)

    @property
    def precision(self) -> np.ndarray:
        """Of what was taken for a class, the share that is one, (K,); NaN where nothing was."""
        return _shares(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> np.ndarray:
        """Of a class, the share that was taken for it, (K,); NaN where there is none."""
        return _shares(np.diag(self.confusion), self.confusion.sum(axis=1))

    def reliability(self, bins: int = BINS) -> list[Bin]:
        """Samples by how sure the model is of its choice, in bins of equal width; those that are empty too.

        Notes
        -----
        C. Guo et al., "On calibration of modern neural networks", arXiv:1706.04599.
        """
        sure = self.probabilities.max(axis=1) if len(self.labels) else np.empty(0)
        which = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
        found = []
        for number in range(bins):
            inside = which == number
            count = int(inside.sum())
            confidence = float(sure[inside].mean()) if count else math.nan
            accuracy = float(self.right[inside].mean()) if count else math.nan
            found.append(Bin(count, confidence, accuracy))
        return found

    def calibration_error(self, bins: int = BINS) -> float:
        """Expected calibration error: how far sureness and accuracy are apart, on average over samples."""
        if not len(self.labels):
            return math.nan
        gaps = [
            each.count * abs(each.confidence - each.accuracy) for each in self.reliability(bins) if each.count
        ]
        return float(sum(gaps) / len(self.labels))

    def mistakes(self) -> np.ndarray:
        """Indices of what was judged wrong, the surest first."""
        wrong = np.flatnonzero(~self.right)
        sure = self.probabilities[wrong].max(axis=1)
        return wrong[np.argsort(-sure, kind="stable")]

    def figures(self) -> dict[str, Any]:
        """The figures of all classes together, as JSON has them; None for what nothing speaks for."""
        low, high = self.interval
        return {
            "count": len(self.labels),
            "right": int(self.right.sum()),
            "accuracy": _finite(self.accuracy),
            "accuracy_low": low,
            "accuracy_high": high,
            "loss": _finite(self.loss),
            "calibration_error": _finite(self.calibration_error()),
        }

    def to_json(self) -> dict[str, Any]:
        """As `figures`, with those of each class and the confusion matrix."""
        return {
            **self.figures(),
            "classes": [
                {
                    "name": name,
                    "count": int(count),
                    "precision": _finite(precision),
                    "recall": _finite(recall),
                }
                for name, count, precision, recall in zip(
                    self.classes, self.confusion.sum(axis=1), self.precision, self.recall
                )
            ],
            "confusion": self.confusion.tolist(),
        }


def _shares(parts: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.where(whole > 0, parts / np.maximum(whole, 1), np.nan)
    return found


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def evaluate(
    model: Model,
    dataset: Dataset,
    indices: np.ndarray | None = None,
    *,
    progress: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Have a model judge samples, in batches that bound the memory.

    Parameters
    ----------
    model : Model
    dataset : fastconv.data.Dataset
        Opened with the model's preprocessing; its classes must be among the model's.
    indices : ndarray of int, optional
        Of the samples; without it all.
    progress : function of (done, count), optional
        Called after each batch.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        A `ValueError` in one line: a class that the model does not know, samples of another shape.
    """
    unknown = [name for name in dataset.classes if name not in model.classes]
    if unknown:
        known = ", ".join(model.classes[:20]) + (", ..." if len(model.classes) > 20 else "")
        raise DataError(f"class {unknown[0]!r} is none that the model knows: {known}")
    if tuple(dataset.preprocessing.shape) != model.input_shape:
        raise DataError(
            f"samples of shape {dataset.preprocessing.shape}; the model takes {model.input_shape}"
        )
    to_model = np.array([model.classes.index(name) for name in dataset.classes], np.int64)
    chosen = np.arange(len(dataset)) if indices is None else np.asarray(indices)
    votes, labels, readable = [], [], []
    step = model.batch_size
    for start in range(0, len(chosen), step):
        part = chosen[start : start + step]
        x, y, kept = dataset.take(part)
        votes.append(model.votes(x))
        labels.append(to_model[y])
        readable.append(part[kept])
        if progress is not None:
            progress(min(start + step, len(chosen)), len(chosen))
    found = np.concatenate([np.empty(0, np.int64), *readable])
    return Evaluation(
        model.classes,
        np.concatenate([np.empty(0, np.int64), *labels]),
        np.concatenate([np.empty((0, len(model.classes)), np.float32), *votes]),
        [dataset.names[i] for i in found],
        found,
    )
