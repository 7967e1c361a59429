"""How wrong a prediction is, and which way to change it: one number per batch, and its gradient.

`base` says what a loss is and checks what it is given, `points` weighs and adds up; the formulas are in
`difference`, `binary`, `classes` and `entropy`; `per_output` is for nets with several outputs.
"""

from fastconv.nn.losses.base import Loss
from fastconv.nn.losses.binary import BCEWithLogitsLoss
from fastconv.nn.losses.classes import HingeLoss
from fastconv.nn.losses.difference import HuberLoss, L1Loss, MSELoss, SmoothL1Loss, TotalAbsoluteError
from fastconv.nn.losses.entropy import CrossEntropyLoss, NLLLoss
from fastconv.nn.losses.per_output import LossPerOutput

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HingeLoss",
    "HuberLoss",
    "L1Loss",
    "Loss",
    "LossPerOutput",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
    "TotalAbsoluteError",
]
