"""The loss of yes-or-no answers."""

from __future__ import annotations

import numpy as np

from fastconv.nn.arguments import real
from fastconv.nn.losses.base import Shape, check_batch, check_probabilities, same_shape
from fastconv.nn.losses.difference import ElementwiseLoss


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

    _formula = "logistic"

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

    def _parameters(self) -> tuple[float, float]:
        return self.pos_weight, 1.0
