"""How losses are weighed and added up: in one place, a bounded piece of the batch at a time, in double.

A loss is a sum over *points*: the elements of a prediction, or its examples, or the pixels of its images of
labels. A subclass says what each point loses and what the gradient of that is; what the points count, what
the sum is divided by, and that a point of weight 0 counts 0 whatever it holds, is said here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv.nn.losses.base import Loss, Shape, check_reduction

#: Elements of a prediction that are looked at together, so that what is computed on the way stays in cache.
PIECE = 1 << 16

Piece = tuple[Any, ...]


class PointLoss(Loss):
    """Base of the losses of `fastconv.nn`."""

    def __init__(self, reduction: str) -> None:
        self.reduction = check_reduction(reduction)

    def _check_counts(self, outputs: int, targets: int) -> None:
        if (outputs, targets) != (1, 1):
            raise TypeError(
                f"{type(self).__name__} takes one output and one target, and was given {outputs} and "
                f"{targets}; nn.LossPerOutput has a loss for each"
            )

    def value(
        self, prediction: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> Any:
        """See `Loss.value`."""
        return self._reduced(prediction, target, sample_weight, None)

    def gradient(
        self, prediction: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> tuple[Any, np.ndarray]:
        """See `Loss.gradient`."""
        gradient = self._new_gradient(prediction)
        return self._reduced(prediction, target, sample_weight, gradient), gradient

    def _reduced(
        self,
        prediction: np.ndarray,
        target: np.ndarray,
        sample_weight: np.ndarray | None,
        gradient: np.ndarray | None,
    ) -> Any:
        """The loss; its gradient goes into `gradient`, if there is one."""
        scale, every = self._scale(target, sample_weight), self._new_losses(prediction)
        total = 0.0
        with np.errstate(all="ignore"):  # infinities have losses and gradients, too
            for piece in self._pieces(prediction.shape):
                losses = self._piece(piece, prediction, target, sample_weight, gradient, scale)
                if every is None:
                    total += float(losses.sum(dtype=np.float64))
                else:
                    self._place(every, piece)[...] = losses
        return total * scale if every is None else every

    def _scale(self, target: np.ndarray, sample_weight: np.ndarray | None) -> float:
        """What the sum of the losses is multiplied by: 0 if nothing counts."""
        divisor = self.divisor(target, sample_weight) if self.reduction == "mean" else 1.0
        return 1.0 / divisor if divisor else 0.0

    def _new_losses(self, prediction: np.ndarray) -> np.ndarray | None:
        """An array for the loss of every point, if it is asked for."""
        if self.reduction != "none":
            return None
        return np.empty(self._point_shape(prediction.shape), prediction.dtype)

    def _new_gradient(self, prediction: np.ndarray) -> np.ndarray:
        """An array for the gradient, in the memory order of the prediction."""
        return np.empty_like(prediction)

    def _point_shape(self, shape: Shape) -> Shape:
        """The shape of the points of predictions of this shape."""
        raise NotImplementedError

    def _pieces(self, shape: Shape) -> Iterator[Piece]:
        """Where the pieces of predictions of this shape are."""
        raise NotImplementedError

    def _piece(
        self,
        piece: Piece,
        prediction: np.ndarray,
        target: np.ndarray,
        sample_weight: np.ndarray | None,
        gradient: np.ndarray | None,
        scale: float,
    ) -> np.ndarray:
        """What the points of a piece lose, times their weights; `scale` times the gradient goes in place."""
        raise NotImplementedError

    def _place(self, every: np.ndarray, piece: Piece) -> np.ndarray:
        """Where the losses of a piece go."""
        place: np.ndarray = every[piece]
        return place


def counted(weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`weight * values`, where a weight of 0 makes 0 of everything, infinities and NaN among it."""
    product: np.ndarray = weight * values
    if not weight.all():
        product[np.broadcast_to(weight == 0, product.shape)] = 0
    return product


def element_pieces(shape: Shape) -> Iterator[Piece]:
    """An array of this shape in pieces of at most `PIECE` elements, cut along the first axes."""
    size = 1
    for length in shape:
        size *= length
    if size <= PIECE or not shape:
        yield (Ellipsis,)
        return
    inner = size // shape[0]
    if inner > PIECE:
        for i in range(shape[0]):
            for piece in element_pieces(shape[1:]):
                yield (i, *piece)
        return
    step = PIECE // inner
    for start in range(0, shape[0], step):
        yield (slice(start, start + step), Ellipsis)
