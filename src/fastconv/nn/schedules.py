"""Learning-rate schedules: functions from the number of an epoch, counted from 0, to a learning rate.

Any function will do. One that has a method `observe` is told the loss after every epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastconv.geometry import whole_number
from fastconv.nn.arguments import real

Schedule = Callable[[int], float]


class StepLR:
    """lr times `gamma` for every `step_size` epochs gone by.

    Examples
    --------
    >>> from fastconv import nn
    >>> [nn.StepLR(1.0, 2, 0.5)(epoch) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, lr: float, step_size: int, gamma: float = 0.1) -> None:
        self.lr = real("lr", lr, at_least=0)
        self.step_size = whole_number("step_size", step_size, 1)
        self.gamma = real("gamma", gamma, above=0)

    def __call__(self, epoch: int) -> float:
        return self.lr * self.gamma ** (epoch // self.step_size)


class ExponentialLR:
    """lr times `gamma` for every epoch gone by.

    Examples
    --------
    >>> from fastconv import nn
    >>> [nn.ExponentialLR(1.0, 0.5)(epoch) for epoch in range(3)]
    [1.0, 0.5, 0.25]
    """

    def __init__(self, lr: float, gamma: float) -> None:
        self.lr = real("lr", lr, at_least=0)
        self.gamma = real("gamma", gamma, above=0)

    def __call__(self, epoch: int) -> float:
        return self.lr * self.gamma**epoch


class CosineLR:
    """Half a cosine from `lr` down to `min_lr`, which it reaches after `epochs` epochs and keeps.

    Notes
    -----
    Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", arXiv:1608.03983, without
    restarts.

    Examples
    --------
    >>> from fastconv import nn
    >>> [round(nn.CosineLR(1.0, 4)(epoch), 3) for epoch in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    def __init__(self, lr: float, epochs: int, min_lr: float = 0.0) -> None:
        self.lr = real("lr", lr, at_least=0)
        self.epochs = whole_number("epochs", epochs, 1)
        self.min_lr = real("min_lr", min_lr, at_least=0, at_most=self.lr)

    def __call__(self, epoch: int) -> float:
        share = min(epoch, self.epochs) / self.epochs
        return self.min_lr + (self.lr - self.min_lr) * (1.0 + math.cos(math.pi * share)) / 2.0


class WarmupLR:
    """A straight rise over the first `epochs` epochs to where `schedule` begins; then `schedule`, from its 0.

    Parameters
    ----------
    schedule : float or schedule
        A number is a rate that stays.
    epochs : int
        Epoch e of these runs at (e + 1) / (epochs + 1) of the first rate.

    Notes
    -----
    Goyal et al., "Accurate, large minibatch SGD", arXiv:1706.02677.

    Examples
    --------
    >>> from fastconv import nn
    >>> [nn.WarmupLR(1.0, 3)(epoch) for epoch in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(self, schedule: Schedule | float, epochs: int) -> None:
        if callable(schedule):
            self.schedule = schedule
        else:
            self.schedule = ExponentialLR(real("schedule", schedule, at_least=0), 1.0)
        self.epochs = whole_number("epochs", epochs, 1)

    def __call__(self, epoch: int) -> float:
        if epoch < self.epochs:
            return self.schedule(0) * (epoch + 1) / (self.epochs + 1)
        return self.schedule(epoch - self.epochs)

    def observe(self, loss: float) -> None:
        """Pass the loss on to a schedule that wants it."""
        observe = getattr(self.schedule, "observe", None)
        if observe is not None:
            observe(loss)


class ReduceLROnPlateau:
    """lr times `factor` whenever the loss has not fallen for more than `patience` epochs.

    The loss is that of the validation data if there are any, else of the training data. A schedule of this
    kind remembers; use a new one for every training.

    Parameters
    ----------
    lr : float
    factor : float in (0, 1), default 0.1
    patience : int, default 10
    threshold : float, default 1e-4
        A loss counts as lower if it is below (1 - threshold) times the lowest.
    min_lr : float, default 0.0

    Examples
    --------
    >>> from fastconv import nn
    >>> schedule = nn.ReduceLROnPlateau(1.0, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule.observe(loss)
    >>> schedule(4)
    0.5
    """

    def __init__(
        self, lr: float, factor: float = 0.1, patience: int = 10, threshold: float = 1e-4, min_lr: float = 0.0
    ) -> None:
        self.lr = real("lr", lr, at_least=0)
        self.factor = real("factor", factor, above=0, below=1)
        self.patience = whole_number("patience", patience, 0)
        self.threshold = real("threshold", threshold, at_least=0, below=1)
        self.min_lr = real("min_lr", min_lr, at_least=0)
        self._lowest = math.inf
        self._waited = 0

    def __call__(self, epoch: int) -> float:
        return self.lr

    def observe(self, loss: float) -> None:
        """Take note of the loss after an epoch."""
        if loss < self._lowest - self.threshold * abs(self._lowest) or math.isinf(self._lowest):
            self._lowest, self._waited = loss, 0
            return
        self._waited += 1
        if self._waited > self.patience:
            self.lr, self._waited = max(self.lr * self.factor, self.min_lr), 0
