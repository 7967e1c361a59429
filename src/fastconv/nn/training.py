"""Training: minibatches in random order, validation, early stopping, and a record of it all."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastconv.geometry import as_array, whole_number
from fastconv.nn.arguments import Rng, generator, real
from fastconv.nn.layers.base import Layer
from fastconv.nn.losses.base import Loss
from fastconv.nn.optimizer import Optimizer
from fastconv.nn.progress import Progress, open_progress
from fastconv.nn.schedules import Schedule

#: Examples whose loss is computed together when nothing is learned.
EVALUATION_BATCH = 256


@dataclass
class History:
    """What `fit` saw, one entry per epoch.

    Attributes
    ----------
    loss, accuracy : list of float
        Over the training data, as the batches went by. `accuracy` is a share from 0 to 1, and stays empty for
        a loss that does not choose among classes.
    validation_loss, validation_accuracy : list of float
        Over the validation data after the epoch; empty without them.
    seconds, lr : list of float
    best_epoch : int or None
        The epoch (from 0) whose parameters the net has now; None unless `patience` was given.
    stopped_early : bool
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped_early: bool = False

    def __len__(self) -> int:
        return len(self.loss)

    def note(self, loss: float, accuracy: float | None) -> None:
        """Record an epoch's training loss and, if there is one, accuracy."""
        self.loss.append(loss)
        if accuracy is not None:
            self.accuracy.append(accuracy)

    def note_validation(self, loss: float, accuracy: float | None) -> None:
        """Record an epoch's validation loss and, if there is one, accuracy."""
        self.validation_loss.append(loss)
        if accuracy is not None:
            self.validation_accuracy.append(accuracy)

    def line(self) -> str:
        """The last epoch in one line."""
        text = f"loss {self.loss[-1]:.4g}"
        if self.accuracy:
            text += f", {self.accuracy[-1]:.1%} right"
        if self.validation_loss:
            text += f"; validation {self.validation_loss[-1]:.4g}"
        if self.validation_accuracy:
            text += f", {self.validation_accuracy[-1]:.1%} right"
        return text


@dataclass(frozen=True)
class _Data:
    """Inputs and targets of one length, checked against net and loss."""

    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)


def _checked(names: tuple[str, str], net: Layer, loss: Loss, x: Any, y: Any) -> _Data:
    """Check a whole data set once, so that the steps need not."""
    name, target_name = names
    x = as_array(name, x)
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"{name}: shape {x.shape} must be (N, ...) with at least one example")
    parameters = net.parameters()
    if parameters and parameters[0].value.dtype != x.dtype:
        raise TypeError(f"{name}: dtype {x.dtype}, but the net's parameters are {parameters[0].value.dtype}")
    shape = net.output_shape((1, *x.shape[1:]))
    if len(shape) < 1 or shape[0] != 1:
        raise ValueError(f"net: turns one example of {name} into shape {shape}; it must keep the batch axis")
    try:
        targets = loss.prepare((len(x), *shape[1:]), x.dtype, y)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{target_name} (the target): {error}") from error
    return _Data(x, targets)


def _check_roles(net: Any, loss: Any, optimizer: Any) -> None:
    for name, value, kind in (("net", net, Layer), ("loss", loss, Loss), ("optimizer", optimizer, Optimizer)):
        if not isinstance(value, kind):
            raise TypeError(f"{name}: must be an nn.{kind.__name__}, not {type(value).__name__}")


def fit(
    net: Layer,
    x: Any,
    y: Any,
    *,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int = 32,
    validation: tuple[Any, Any] | None = None,
    patience: int | None = None,
    schedule: Schedule | None = None,
    rng: Rng = None,
    progress: bool | None = None,
) -> History:
    """Train a net on examples.

    Parameters
    ----------
    net : Layer
    x : array, shape (N, ...), dtype of the net's parameters
    y : array, length N
        Targets, as `loss` takes them.
    loss : Loss
    optimizer : Optimizer
        Made with parameters of `net`; `nn.Nudge` learns without backprop.
    epochs : int
        How often every example is seen.
    batch_size : int, default 32
        Examples per step; the last step of an epoch takes what is left.
    validation : (x, y), optional
        Examples that are not learned from; their loss is taken after every epoch.
    patience : int, optional
        Stop when the validation loss has not fallen for so many epochs; the parameters of the epoch where it
        was lowest are put back at the end, stopped or not.
    schedule : function from epoch (from 0) to learning rate, optional
        Sets `optimizer.lr` before every epoch, such as `nn.CosineLR(0.1, epochs)`.
    rng : numpy.random.Generator, int seed or None
        Shuffles. With a seed here, in the layers and in their `Dropout`, training gives the same bits again,
        at any number of threads.
    progress : bool, optional
        False shows nothing. Otherwise a bar (with rich, on a terminal or if True) or about 20 plain lines, on
        stderr.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; before the first step.
    FloatingPointError
        The loss became infinite or NaN; the message says in which epoch and batch, both counted from 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(64, 2)).astype(np.float32)
    >>> y = (x[:, 0] > x[:, 1]).astype(int)
    >>> net = nn.Sequential(nn.Linear(2, 2, rng=rng))
    >>> history = nn.fit(net, x, y, loss=nn.CrossEntropyLoss(), optimizer=nn.Adam(net.parameters(), 0.05),
    ...                  epochs=20, rng=rng, progress=False)
    >>> history.accuracy[-1] > 0.9
    True
    """
    _check_roles(net, loss, optimizer)
    epochs = whole_number("epochs", epochs, 1)
    batch_size = whole_number("batch_size", batch_size, 1)
    learned = set(map(id, net.parameters()))
    if not any(id(parameter) in learned for parameter in optimizer.parameters):
        raise ValueError("optimizer: has none of the net's parameters; make it with net.parameters()")
    if schedule is not None and not callable(schedule):
        raise TypeError(f"schedule={schedule!r}: must be a function from epoch to learning rate")
    draw = generator("rng", rng)
    data = _checked(("x", "y"), net, loss, x, y)
    held_out = None
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise TypeError(f"validation: must be a pair (x, y), not {type(validation).__name__}")
        held_out = _checked(("validation[0]", "validation[1]"), net, loss, *validation)
    best = None if patience is None else _Best(net, patience, held_out)
    steps = _Steps(net, loss, optimizer, data, batch_size, draw)
    history = History()
    # what overflows shows in the loss, which every step looks at
    with (
        open_progress(progress, epochs, steps.per_epoch) as shown,
        np.errstate(over="ignore", invalid="ignore"),
    ):
        for epoch in range(epochs):
            if schedule is not None:
                optimizer.lr = real(f"schedule({epoch})", schedule(epoch), at_least=0)
            began = time.perf_counter()
            history.lr.append(optimizer.lr)
            history.note(*steps.epoch(epoch, shown))
            if held_out is not None:
                history.note_validation(*_measure(net, loss, held_out, EVALUATION_BATCH))
            history.seconds.append(time.perf_counter() - began)
            shown.epoch(epoch + 1, history.line())
            watched = history.validation_loss[-1] if held_out is not None else history.loss[-1]
            observe = getattr(schedule, "observe", None)
            if observe is not None:
                observe(watched)
            if best is not None and best.is_over(epoch, watched):
                history.stopped_early = epoch + 1 < epochs
                break
    if best is not None:
        history.best_epoch = best.restore()
    return history


class _Steps:
    """The training steps of one epoch after the other."""

    def __init__(
        self,
        net: Layer,
        loss: Loss,
        optimizer: Optimizer,
        data: _Data,
        batch_size: int,
        rng: np.random.Generator,
    ) -> None:
        self._net, self._loss, self._optimizer, self._data = net, loss, optimizer, data
        self._batch_size, self._rng = batch_size, rng
        self.per_epoch = math.ceil(len(data) / batch_size)

    def epoch(self, epoch: int, shown: Progress) -> tuple[float, float | None]:
        """One pass over the data in random order; mean loss and accuracy on the way."""
        data, loss = self._data, self._loss
        order = self._rng.permutation(len(data))
        total, right, counts = 0.0, 0.0, True
        for number in range(self.per_epoch):
            chosen = order[number * self._batch_size : (number + 1) * self._batch_size]
            target = data.targets[chosen]
            try:
                value, prediction = self._optimizer.learn(self._net, loss, data.inputs[chosen], target)
            except FloatingPointError as error:
                raise FloatingPointError(
                    f"{error} in epoch {epoch + 1}, batch {number + 1}, at learning rate "
                    f"{self._optimizer.lr:g}; a lower rate may help"
                ) from error
            total += value * len(chosen)
            correct = loss.correct(prediction, target) if counts else None
            counts = correct is not None
            right += correct or 0.0
            shown.batch(epoch * self.per_epoch + number + 1)
        return total / len(data), right / len(data) if counts else None


def _measure(net: Layer, loss: Loss, data: _Data, batch_size: int) -> tuple[float, float | None]:
    total, right, counts = 0.0, 0.0, True
    for start in range(0, len(data), batch_size):
        target = data.targets[start : start + batch_size]
        prediction = net(data.inputs[start : start + batch_size])
        total += loss.value(prediction, target) * len(target)
        correct = loss.correct(prediction, target)
        counts = correct is not None
        right += correct or 0.0
    return total / len(data), right / len(data) if counts else None


class _Best:
    """The parameters of the epoch with the lowest validation loss, and how long ago that was."""

    def __init__(self, net: Layer, patience: int, held_out: _Data | None) -> None:
        self._patience = whole_number("patience", patience, 1)
        if held_out is None:
            raise ValueError(f"patience={patience!r}: needs validation data to watch")
        self._net = net
        self._lowest = math.inf
        self._epoch: int | None = None
        self._state = net.state_dict()

    def is_over(self, epoch: int, value: float) -> bool:
        """Take note of an epoch; whether patience has run out."""
        if value < self._lowest:
            self._lowest, self._epoch, self._state = value, epoch, self._net.state_dict()
        return epoch - (-1 if self._epoch is None else self._epoch) >= self._patience

    def restore(self) -> int | None:
        """Put the best parameters back; returns their epoch."""
        self._net.load_state_dict(self._state)
        return self._epoch


def evaluate(
    net: Layer, x: Any, y: Any, *, loss: Loss, batch_size: int = EVALUATION_BATCH
) -> tuple[float, float | None]:
    """Loss and accuracy of a net over examples, in inference mode.

    Parameters
    ----------
    net, x, y, loss
        As `fit`.
    batch_size : int, default 256
        Examples computed together; changes memory, not results beyond rounding of the mean.

    Returns
    -------
    loss : float
    accuracy : float or None
        Share from 0 to 1; None for a loss that does not choose among classes.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.evaluate(nn.Identity(), np.array([[3.0, 1.0]]), np.array([0]), loss=nn.HingeLoss())
    (0.0, 1.0)
    """
    for name, value, kind in (("net", net, Layer), ("loss", loss, Loss)):
        if not isinstance(value, kind):
            raise TypeError(f"{name}: must be an nn.{kind.__name__}, not {type(value).__name__}")
    return _measure(
        net, loss, _checked(("x", "y"), net, loss, x, y), whole_number("batch_size", batch_size, 1)
    )
