"""Learning-rate schedules: functions from the number of an epoch, counted from 0, to a learning rate.

Any function will do. `PerStep` makes a schedule of steps of one. A schedule that has a method `observe` is
told the loss after every epoch; one that remembers has `state_dict` and `load_state_dict`, which a checkpoint
asks for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from fastconv.geometry import whole_number
from fastconv.nn.arguments import real

Schedule = Callable[[int], float]


class _Formula:
    """Base of the schedules that are formulas: they remember nothing."""

    def state_dict(self) -> dict[str, Any]:
        """What continuing needs: nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises
        ------
        ValueError
            The state of a schedule of another kind.
        """
        _check_state(state, ())


class StepLR(_Formula):
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


class ExponentialLR(_Formula):
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


class CosineLR(_Formula):
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


class _Around:
    """Base of the schedules made of another one, whose memory is that one's."""

    schedule: Schedule

    def observe(self, loss: float) -> None:
        """Pass the loss on to a schedule that wants it."""
        observe = getattr(self.schedule, "observe", None)
        if observe is not None:
            observe(loss)

    def state_dict(self) -> dict[str, Any]:
        """What continuing needs: what the schedule inside does."""
        return schedule_state(self.schedule)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`; errors are those of the schedule inside."""
        load_schedule_state(self.schedule, state)


class WarmupLR(_Around):
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


class PerStep(_Around):
    """A schedule that counts training steps, not epochs: `nn.fit` asks it before every step.

    Parameters
    ----------
    schedule : schedule
        Whatever it calls epochs are steps now.

    Examples
    --------
    >>> from fastconv import nn
    >>> schedule = nn.PerStep(nn.WarmupLR(nn.CosineLR(0.1, 10_000), 500))
    >>> round(schedule(0), 6), round(schedule(499), 6), schedule(10_500)
    (0.0002, 0.0998, 0.0)
    """

    def __init__(self, schedule: Schedule) -> None:
        if not callable(schedule):
            raise TypeError(f"schedule={schedule!r}: must be a function from step to learning rate")
        self.schedule = schedule

    def __call__(self, step: int) -> float:
        return self.schedule(step)


class ReduceLROnPlateau:
    """lr times `factor` whenever the loss has not fallen for more than `patience` epochs.

    The loss is that of the validation data if there are any, else of the training data. One that is infinite
    or NaN has not fallen. A schedule of this kind remembers; use a new one for every training.

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
        limit = self._lowest
        if math.isfinite(limit):
            limit -= self.threshold * abs(limit)
        if math.isfinite(loss) and loss < limit:
            self._lowest, self._waited = loss, 0
            return
        self._waited += 1
        if self._waited > self.patience:
            self.lr, self._waited = max(self.lr * self.factor, self.min_lr), 0

    def state_dict(self) -> dict[str, Any]:
        """What continuing needs: the rate, the lowest loss (None: there was none), and the epochs waited."""
        lowest = self._lowest if math.isfinite(self._lowest) else None
        return {"lr": self.lr, "lowest": lowest, "waited": self._waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`; what the schedule was made with stays.

        Raises
        ------
        TypeError, ValueError
            The state of another schedule, or none; then nothing has changed.
        """
        _check_state(state, ("lr", "lowest", "waited"))
        lr = real("state['lr']", state["lr"], at_least=0)
        waited = whole_number("state['waited']", state["waited"], 0)
        lowest = math.inf if state["lowest"] is None else real("state['lowest']", state["lowest"])
        self.lr, self._lowest, self._waited = lr, lowest, waited


def _check_state(state: Mapping[str, Any], names: tuple[str, ...]) -> None:
    if set(state) != set(names):
        raise ValueError(f"state: of a schedule has {sorted(state)}, must have {sorted(names)}")


def schedule_state(schedule: Schedule | None) -> dict[str, Any]:
    """What a schedule remembers: nothing, unless it says so."""
    state_dict = getattr(schedule, "state_dict", None)
    return {} if state_dict is None else dict(state_dict())


def load_schedule_state(schedule: Schedule | None, state: Mapping[str, Any]) -> None:
    """Give a schedule back what it remembered."""
    load = getattr(schedule, "load_state_dict", None)
    if load is None:
        _check_state(state, ())
    else:
        load(state)
