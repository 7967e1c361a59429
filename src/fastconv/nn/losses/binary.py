"""The loss of yes-or-no answers."""

from __future__ import annotations

import numpy as np

from fastconv.nn.arguments import real
from fastconv.nn.losses.base import Shape, check_batch, check_probabilities, same_shape
from fastconv.nn.losses.difference import ElementwiseLoss
from fastconv.nn.losses.points import counted


class BCEWithLogitsLoss(ElementwiseLoss):
    """Cross-entropy of yes-or-no answers given as logits: mean over all elements.

    Targets are probabilities from 0 to 1, of the prediction's shape and dtype. An infinite logit costs
    nothing if it is right and infinity if it is wrong; an answer of probability 0 costs nothing in any case.

    Parameters
    ----------
    pos_weight : float, at least 0, default 1.0
        What a yes counts against a no.
    reduction : {"mean", "sum", "none"}, default "mean"

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> round(nn.BCEWithLogitsLoss()(np.zeros((4, 1)), np.ones((4, 1))), 4)
    0.6931
    >>> nn.BCEWithLogitsLoss()(np.array([[-np.inf]]), np.array([[0.0]]))
    0.0
    """

    def __init__(self, pos_weight: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.pos_weight = real("pos_weight", pos_weight, at_least=0)

    def prepare(self, shape: Shape, dtype: np.dtype, target: np.ndarray) -> np.ndarray:
        """See `Loss.prepare`."""
        check_batch(shape, 1, "at least one axis long")
        answers = same_shape(shape, dtype, target)
        check_probabilities(answers, "probabilities from 0 to 1")
        return answers

    def correct(self, prediction: np.ndarray, target: np.ndarray) -> float | None:
        """See `Loss.correct`: the share of answers that fall on the right side, times the batch."""
        right = int(np.count_nonzero((prediction > 0) == (target > 0.5)))
        return right * (len(prediction) / prediction.size)

    def _elements(self, prediction: np.ndarray, target: np.ndarray, place: np.ndarray | None) -> np.ndarray:
        yes, no = self.pos_weight * target, 1.0 - target
        # -log of sigmoid(x) is max(-x, 0) + log(1 + exp(-|x|)); that of sigmoid(-x) has max(x, 0) instead
        small = np.exp(-np.abs(prediction))
        losses: np.ndarray = (yes + no) * np.log1p(small)
        losses += counted(no, np.maximum(prediction, 0))
        losses += counted(yes, np.maximum(-prediction, 0))
        if place is not None:
            near = 1.0 / (1.0 + small)  # sigmoid(|x|)
            far = small * near
            positive = prediction > 0
            np.subtract(no * np.where(positive, near, far), yes * np.where(positive, far, near), out=place)
        return losses
