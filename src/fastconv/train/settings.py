"""How a net is trained: everything that is chosen rather than learned, but the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.data import Augmentation
from fastconv.geometry import whole_number
from fastconv.nn.schedules import Schedule
from fastconv.train.errors import SettingError

#: Optimizers by name, and the learning rate each begins with unless told otherwise.
OPTIMIZERS = {"adam": 0.002, "adamw": 0.002, "sgd": 0.05, "rmsprop": 0.001, "adagrad": 0.01, "nudge": 0.01}

LOSSES = ("cross-entropy", "error", "hinge")
SCHEDULES = ("cosine", "constant", "step", "exponential", "plateau")

#: What a schedule leaves of the rate: per step of a third of the training; over all of it; and per plateau.
STEP_FACTOR, EXPONENTIAL_END, PLATEAU_FACTOR = 0.1, 0.01, 0.3

#: Nudging: how far a number is moved to see what happens.
NUDGE_AMOUNT = 0.05


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a net is trained.

    Attributes
    ----------
    net : str, default "auto"
        A spec, or the name of one: see `parse_net`.
    loss : {"cross-entropy", "error", "hinge"}
        `error` is the sum over the classes of |right answer - actual answer|.
    optimizer : {"adam", "adamw", "sgd", "rmsprop", "adagrad", "nudge"}
        `nudge` learns without gradients: it moves each number up and down a bit to see how the loss changes.
    lr : float, optional
        Learning rate at the beginning; without it one that suits the optimizer.
    momentum : float in [0, 1), default 0.9
        Of `sgd` and `nudge`.
    weight_decay : float, default 0
    schedule : {"cosine", "constant", "step", "exponential", "plateau"}
        How the rate falls: to 0 along half a cosine; not; to a tenth after each third of the epochs; to a
        hundredth by the end; to 0.3 of itself whenever the held-out loss has not fallen for 3 epochs.
    warmup : int, default 0
        Epochs over which the rate first rises.
    epochs : int, default 20
    batch : int, default 64
        Samples per step.
    max_grad_norm : float, optional
        Longer gradients are scaled down to this norm.
    label_smoothing : float in [0, 1], default 0
        Of `cross-entropy`.
    balance : bool, default False
        Let each class count the same in the loss, however many samples it has.
    patience : int, optional
        Stop when the held-out loss has not fallen for so many epochs.
    held_out : float in (0, 1), default 0.2
        The share of each class that is not learned from.
    seed : int, default 0
        Everything random follows from it: split, weights, order, augmentation.
    augmentation : fastconv.data.Augmentation, optional
        How samples are varied each time they are learned from.

    Raises
    ------
    SettingError, TypeError
        Naming the attribute, its value and the rule.

    Examples
    --------
    >>> from fastconv.train import Settings
    >>> Settings(optimizer="sgd").rate
    0.05
    >>> Settings(epochs=0)
    Traceback (most recent call last):
      ...
    fastconv.terminal.SettingError: epochs=0: must be at least 1
    """

    net: str = "auto"
    loss: str = "cross-entropy"
    optimizer: str = "adam"
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: int = 0
    epochs: int = 20
    batch: int = 64
    max_grad_norm: float | None = None
    label_smoothing: float = 0.0
    balance: bool = False
    patience: int | None = None
    held_out: float = 0.2
    seed: int = 0
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.net, str):
            raise TypeError(f"net={self.net!r}: must be a str")
        for name, known in (("loss", LOSSES), ("optimizer", tuple(OPTIMIZERS)), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise SettingError(name, getattr(self, name), f"must be one of {', '.join(known)}")
        for name, minimum in (("epochs", 1), ("batch", 1), ("warmup", 0), ("seed", 0), ("patience", 1)):
            if getattr(self, name) is not None:
                self._whole(name, minimum)
        self._real("momentum", 0, 1, "must be from 0 to below 1")
        self._real("weight_decay", 0, math.inf, "must be at least 0 and finite")
        self._real("label_smoothing", 0, math.nextafter(1, 2), "must be from 0 to 1")
        self._real("held_out", math.nextafter(0, 1), 1, "must be above 0 and below 1")
        for name in ("lr", "max_grad_norm"):
            if getattr(self, name) is not None:
                self._real(name, math.nextafter(0, 1), math.inf, "must be above 0 and finite")
        if self.warmup >= self.epochs:
            raise SettingError("warmup", self.warmup, f"must be less than the {self.epochs} epochs")
        if self.augmentation is not None and not isinstance(self.augmentation, Augmentation):
            raise TypeError(f"augmentation={self.augmentation!r}: must be an Augmentation")
        if self.label_smoothing and self.loss != "cross-entropy":
            raise SettingError(
                "label_smoothing", self.label_smoothing, f"goes with cross-entropy, not {self.loss}"
            )

    def _whole(self, name: str, minimum: int) -> None:
        try:
            object.__setattr__(self, name, whole_number(name, getattr(self, name), minimum))
        except ValueError as error:
            raise SettingError(name, getattr(self, name), str(error).partition(": ")[2]) from None

    def _real(self, name: str, low: float, high: float, rule: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name}={value!r}: must be a number")
        if not low <= value < high:
            raise SettingError(name, value, rule)
        object.__setattr__(self, name, float(value))

    @property
    def rate(self) -> float:
        """The learning rate that the training begins with."""
        return OPTIMIZERS[self.optimizer] if self.lr is None else self.lr

    # ---- in a file -----------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.augmentation is not None:
            told["augmentation"] = self.augmentation.to_json()
        return told

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Settings:
        """Settings that `to_json` wrote.

        Raises
        ------
        SettingError, TypeError, ValueError
            As when made with these.
        """
        told = dict(told)
        unknown = sorted(set(told) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"settings: there is no {unknown[0]!r}")
        found = told.pop("augmentation", None)
        if found is not None:
            told["augmentation"] = Augmentation.from_json(found)
        return cls(**told)

    def replaced(self, **changes: Any) -> Settings:
        """The same with some attributes changed."""
        return replace(self, **changes)

    # ---- what they mean ------------------------------------------------------------------------------

    def make_loss(self, counts: np.ndarray) -> nn.Loss:
        """The loss for classes of so many samples."""
        if self.loss == "hinge":
            return nn.HingeLoss()
        if self.loss == "error":
            return nn.TotalAbsoluteError()
        weight = None
        if self.balance:
            weight = (counts.sum() / (len(counts) * np.maximum(counts, 1))).astype(np.float32)
        return nn.CrossEntropyLoss(weight, self.label_smoothing)

    def make_optimizer(self, net: nn.Layer) -> nn.Optimizer:
        """The optimizer of a net's parameters."""
        parameters, decay = net.parameters(), self.weight_decay
        makers: dict[str, Callable[[], nn.Optimizer]] = {
            "adam": lambda: nn.Adam(parameters, self.rate, weight_decay=decay),
            "adamw": lambda: nn.AdamW(parameters, self.rate, weight_decay=decay),
            "sgd": lambda: nn.SGD(parameters, self.rate, self.momentum, weight_decay=decay),
            "rmsprop": lambda: nn.RMSProp(parameters, self.rate, weight_decay=decay),
            "adagrad": lambda: nn.AdaGrad(parameters, self.rate, weight_decay=decay),
            "nudge": lambda: nn.Nudge(parameters, self.rate, NUDGE_AMOUNT, self.momentum),
        }
        return makers[self.optimizer]()

    def make_schedule(self, steps: int) -> Schedule:
        """The schedule of a training whose epochs have so many steps."""
        left, rate = self.epochs - self.warmup, self.rate
        schedule: Schedule
        if self.schedule == "plateau":
            schedule = nn.ReduceLROnPlateau(rate, PLATEAU_FACTOR, 3)
            return nn.WarmupLR(schedule, self.warmup) if self.warmup else schedule
        if self.schedule == "step":
            schedule = nn.StepLR(rate, math.ceil(left / 3) * steps, STEP_FACTOR)
        elif self.schedule == "exponential":
            schedule = nn.ExponentialLR(rate, EXPONENTIAL_END ** (1 / (left * steps)))
        elif self.schedule == "constant":
            schedule = nn.ExponentialLR(rate, 1.0)
        else:
            schedule = nn.CosineLR(rate, left * steps)
        return nn.PerStep(nn.WarmupLR(schedule, self.warmup * steps) if self.warmup else schedule)
