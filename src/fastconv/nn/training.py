"""Training: minibatches in random order, validation, early stopping, checkpoints, and a record of it all."""

from __future__ import annotations

import contextlib
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv.geometry import flag, whole_number
from fastconv.nn.arguments import Rng, generator, real
from fastconv.nn.best import Best
from fastconv.nn.checkpoint import Checkpoint, generators_of
from fastconv.nn.evaluation import BATCH_SIZE, Tally, measure
from fastconv.nn.examples import (
    VALIDATION,
    Batch,
    KnownNet,
    Names,
    Source,
    Stream,
    check_loss,
    check_net,
    is_stream,
    not_finite,
    open_source,
)
from fastconv.nn.history import History
from fastconv.nn.layers.base import Layer
from fastconv.nn.losses.base import Loss
from fastconv.nn.optimizer import Optimizer
from fastconv.nn.progress import Progress, open_progress
from fastconv.nn.schedules import PerStep, Schedule


@dataclass
class TrainingState:
    """How far a training is: what the callbacks of `fit` are given.

    Attributes
    ----------
    net : Layer
    optimizer : Optimizer
    history : History
        Of the epochs that are over.
    epoch, batch, step : int
        The epoch, the batch within it, and the step of the whole training that were done last, all from 0.
    loss : float
        Of that step's batch, before the step; in `on_epoch` that of the epoch.
    """

    net: Layer
    optimizer: Optimizer
    history: History
    epoch: int = 0
    batch: int = -1
    step: int = -1
    loss: float = math.nan
    stopping: bool = False

    def stop(self) -> None:
        """End the training here; what belongs to the end of an epoch is still done."""
        self.stopping = True


Callback = Callable[[TrainingState], Any]


def fit(
    net: Layer,
    x: Any,
    y: Any = None,
    *,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int = BATCH_SIZE,
    drop_last: bool = False,
    sample_weight: Any = None,
    validation: Any = None,
    validation_batch_size: int | None = None,
    patience: int | None = None,
    schedule: Schedule | None = None,
    max_grad_norm: float | None = None,
    on_step: Callback | None = None,
    on_epoch: Callback | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    rng: Rng = None,
    progress: bool | None = None,
) -> History:
    """Train a net on examples.

    Parameters
    ----------
    net : Layer
    x : array, shape (N, ...), dtype of the net's parameters
        Or, with y left out, batches for data larger than memory: an iterable of (x, y) or (x, y,
        sample_weight), or a function without arguments that returns one, called for every epoch. They are
        learned from as they come, one batch in memory at a time; `batch_size`, `drop_last` and `rng` do not
        concern them. An iterator, such as a generator, gives its batches once, so for one epoch.
        For a net with several inputs a tuple of arrays of one length, in batches too; integers and booleans
        may be among them, such as indices and masks: `(indices,)` is one input of integers.
    y : array, length N
        Targets, as `loss` takes them: a tuple of arrays if it takes several.
    loss : Loss
    optimizer : Optimizer
        Made with parameters of `net`; `nn.Nudge` learns without backprop.
    epochs : int
        How often every example is seen.
    batch_size : int, default 32
        Examples per step; the last step of an epoch takes what is left.
    drop_last : bool, default False
        Leave out what does not fill a batch (in every epoch others).
    sample_weight : array, shape (N,), optional
        What each example counts in the loss; accuracies count examples.
    validation : (x, y) or (x, y, sample_weight), optional
        Examples that are not learned from; their loss is taken after every epoch. Or batches, as x; a tuple
        of two or three is taken for examples.
    validation_batch_size : int, optional
        Examples of them computed together: bounds the memory. Without it `batch_size`.
    patience : int, optional
        Stop when the validation loss has not fallen for so many epochs; the parameters of the epoch where it
        was lowest are put back at the end, stopped, interrupted or not. A loss that is infinite or NaN has
        not fallen; if all are, the parameters stay what they are and a warning says so.
    schedule : function from epoch (from 0) to learning rate, optional
        Sets `optimizer.lr` before every epoch, such as `nn.CosineLR(0.1, epochs)`; an `nn.PerStep` before
        every step.
    max_grad_norm : float, optional
        Longer gradients are scaled down to this norm: see `nn.clip_grad_norm`.
    on_step, on_epoch : function, optional
        Called with a `TrainingState` after every step, after every epoch; `state.stop()` ends the training.
    checkpoint : str or path, optional
        A file that is written before the first epoch and after each: net, optimizer, schedule, generators,
        record and best parameters. It is whole at any time, also if the process is killed.
    resume : bool, default False
        Go on from `checkpoint` if that file is there: to the bits that a training without a break gives, at
        the same arguments. Without it a file that is there is refused, not overwritten.
    rng : numpy.random.Generator, int seed or None
        Shuffles. With a seed here, in the layers and in their `Dropout`, training gives the same bits again,
        at any number of threads.
    progress : bool, optional
        False shows nothing. Otherwise a bar (with rich, on a terminal or if True) or about 20 plain lines, on
        stderr: how it goes, examples a second, the time that is left.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; before the first step. (Of batches from an iterable:
        before the step.) One of the rules: with batch norm no batch may leave a channel with one value, as a
        last batch of one example can; choose another `batch_size`, or `drop_last`.
    FileExistsError
        `checkpoint` is there already, and `resume` was not asked for.
    FloatingPointError
        The loss became infinite or NaN; the message says in which epoch and batch, both counted from 1, and
        which number of the data it came from, if it did. Of the validation loss, only if it did; otherwise
        there is a RuntimeWarning.

    Notes
    -----
    Whatever ends a training (also Ctrl-C, or an exception in a callback), the record so far is the
    attribute `history` of the exception, and with `patience` the net has the best parameters so far.

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

    Batches from a generator, and a callback that ends the training:

    >>> def batches():
    ...     for start in range(0, 64, 16):
    ...         yield x[start : start + 16], y[start : start + 16]
    >>> def enough(state):
    ...     if state.history.accuracy[-1] > 0.9:
    ...         state.stop()
    >>> history = nn.fit(net, batches, loss=nn.CrossEntropyLoss(), optimizer=nn.Adam(net.parameters(), 0.05),
    ...                  epochs=20, on_epoch=enough, progress=False)
    >>> len(history), history.stopped_early
    (1, True)
    """
    check_net(net)
    check_loss(loss)
    _check_optimizer(optimizer)
    epochs = whole_number("epochs", epochs, 1)
    batch_size = whole_number("batch_size", batch_size, 1)
    known = optimizer._know(net)
    optimizer._check_learns(known)
    _check_function("schedule", schedule, "from epoch to learning rate")
    _check_function("on_step", on_step, "of a TrainingState")
    _check_function("on_epoch", on_epoch, "of a TrainingState")
    if max_grad_norm is not None:
        max_grad_norm = real("max_grad_norm", max_grad_norm, above=0)
    draw = generator("rng", rng)
    data = x, y, sample_weight
    source = open_source(
        Names(), known, loss, data, batch_size, drop_last=flag("drop_last", drop_last), times=epochs
    )
    if validation_batch_size is None:
        validation_batch_size = batch_size
    held_out = _held_out(
        known,
        loss,
        validation,
        whole_number("validation_batch_size", validation_batch_size, 1),
        epochs,
    )
    history = History()
    best = _best(net, patience, held_out)
    _rehearse(net, optimizer, known, source, batch_size)
    path = _checkpoint_path(checkpoint, flag("resume", resume))
    training = _Training(
        loss=loss,
        source=source,
        held_out=held_out,
        schedule=schedule,
        best=best,
        draw=draw,
        max_grad_norm=max_grad_norm,
        on_step=on_step,
        on_epoch=on_epoch,
        checkpoint=path and Checkpoint(path, net, optimizer, schedule, draw, history, best),
        epochs=epochs,
        state=TrainingState(net, optimizer, history),
    )
    with open_progress(progress, epochs, source.steps) as shown:
        training.begin()
        shown.begin(training.done, training.steps)
        try:
            training.run(shown)
        except BaseException as error:
            _attach(error, history)
            raise
        finally:
            if best is not None:
                history.best_epoch = best.restore()
    return history


# ---- before the first step -----------------------------------------------------------------------------


def _check_optimizer(optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer: must be an nn.Optimizer, not {type(optimizer).__name__}")


def _check_function(name: str, function: Any, what: str) -> None:
    if function is not None and not callable(function):
        raise TypeError(f"{name}={function!r}: must be a function {what}")


def _checkpoint_path(checkpoint: Any, resume: bool) -> Any:
    """The path as it is given to `open`; None without one."""
    if checkpoint is None:
        if resume:
            raise ValueError("resume=True: needs checkpoint=, the file to go on from")
        return None
    try:
        path = os.fspath(checkpoint)
    except TypeError:
        raise TypeError(f"checkpoint={checkpoint!r}: must be a path") from None
    if not resume and os.path.exists(path):
        raise FileExistsError(f"checkpoint={path!r}: is there already; resume=True goes on from it")
    return path


def _held_out(net: KnownNet, loss: Loss, validation: Any, batch_size: int, epochs: int) -> Source | None:
    if validation is None:
        return None
    listed = isinstance(validation, (tuple, list))
    pair = isinstance(validation, tuple) and len(validation) in (2, 3)  # a tuple of them is several inputs
    if (listed and not pair and validation and all(isinstance(b, (tuple, list)) for b in validation)) or (
        not listed and is_stream(validation)
    ):
        return open_source(VALIDATION, net, loss, (validation, None, None), batch_size, times=epochs)
    if listed and len(validation) in (2, 3):
        x, y, weights = (*validation, None)[:3]
        if y is not None:
            return open_source(VALIDATION, net, loss, (x, y, weights), batch_size)
    raise TypeError(
        "validation: must be a pair (x, y), with weights (x, y, sample_weight), or an iterable of such "
        f"batches, not {type(validation).__name__}"
    )


def _best(net: Layer, patience: int | None, held_out: Source | None) -> Best | None:
    if patience is None:
        return None
    patience = whole_number("patience", patience, 1)
    if held_out is None:
        raise ValueError(f"patience={patience!r}: needs validation data to watch")
    return Best(net, patience)


def _rehearse(net: Layer, optimizer: Optimizer, known: KnownNet, source: Source, batch_size: int) -> None:
    """If a batch will have one example, see whether the net can learn from one; nothing stays moved.

    Batch norm cannot, where one value per channel is left; only the net itself knows.
    """
    single = source.single()
    if single is None:
        return
    put_back = known.keep_statistics()
    drawn = [(rng, rng.bit_generator.state) for rng in generators_of(net).values()]
    try:
        optimizer._forward(net, single)
    except ValueError as error:
        raise ValueError(
            f"batch_size={batch_size}: leaves a last batch of one example, from which the net cannot learn "
            f"({error}); choose another, or drop_last=True to leave it out"
        ) from error
    finally:
        put_back()
        for rng, state in drawn:
            rng.bit_generator.state = state


def _attach(error: BaseException, history: History) -> None:
    """Let an exception carry the record."""
    with contextlib.suppress(AttributeError, TypeError):  # one that cannot carry anything
        error.history = history  # type: ignore[attr-defined]
        if hasattr(error, "add_note"):  # Python 3.11
            error.add_note(f"epochs done: {len(history)}; the exception's `history` has their record")


# ---- the training --------------------------------------------------------------------------------------


@dataclass
class _Training:
    """One call of `fit`, everything checked."""

    loss: Loss
    source: Source
    held_out: Source | None
    schedule: Schedule | None
    best: Best | None
    draw: np.random.Generator
    max_grad_norm: float | None
    on_step: Callback | None
    on_epoch: Callback | None
    checkpoint: Checkpoint | None
    epochs: int
    state: TrainingState
    done: int = 0  # epochs
    steps: int = 0

    def begin(self) -> None:
        """Continue from the checkpoint, or write the first."""
        if self.checkpoint is None:
            return
        if os.path.exists(self.checkpoint.path):
            self.done, self.steps = self.checkpoint.load()
        else:
            self.checkpoint.save(0, 0)

    def run(self, shown: Progress) -> None:
        """All epochs, or as many as patience and callbacks allow."""
        while self.done < self.epochs and not self._is_over():
            self._epoch(shown)
        self.state.history.stopped_early = self.done < self.epochs
        if self.best is not None and self.best.epoch is None:
            warnings.warn(
                "fit: no validation loss was finite, so that none was the best; the parameters are those of "
                "the last epoch",
                RuntimeWarning,
                stacklevel=3,
            )

    def _is_over(self) -> bool:
        return self.state.stopping or (self.best is not None and self.best.is_over(self.done))

    def _epoch(self, shown: Progress) -> None:
        state, optimizer = self.state, self.state.optimizer
        state.epoch, history = self.done, state.history
        began = time.perf_counter()
        per_step = isinstance(self.schedule, PerStep)
        if self.schedule is not None and not per_step:
            self._set_rate(self.done)
        result = self._steps(shown, per_step)
        validated = None if self.held_out is None else self._validation(self.held_out)
        # all at once, so that an interruption leaves columns of one length
        history.lr.append(optimizer.lr)
        history.note(*result)
        watched = result[0]
        if validated is not None:
            history.note_validation(*validated)
            watched = validated[0]
        history.seconds.append(time.perf_counter() - began)
        observe = getattr(self.schedule, "observe", None)
        if observe is not None:
            observe(watched)
        if self.best is not None:
            self.best.observe(self.done, watched)
        self.done += 1
        shown.epoch(self.done, history.line())
        if self.on_epoch is not None:
            state.loss = result[0]
            self.on_epoch(state)
        if self.checkpoint is not None:
            self.checkpoint.save(self.done, self.steps)

    def _set_rate(self, count: int) -> None:
        assert self.schedule is not None
        self.state.optimizer.lr = real(f"schedule({count})", self.schedule(count), at_least=0)

    def _steps(self, shown: Progress, per_step: bool) -> tuple[float, float | None]:
        """One pass over the data; mean loss and accuracy on the way."""
        state, tally = self.state, Tally(self.loss)
        learn = _learning(state.optimizer, state.net, self.loss, self.max_grad_norm)
        for number, batch in enumerate(self.source.batches(self.draw)):
            if per_step:
                self._set_rate(self.steps)
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # shows in the loss
                    value, prediction = learn(batch)
            except FloatingPointError as error:
                where = f"epoch {self.done + 1}, batch {number + 1}"
                raise FloatingPointError(f"{error} in {where}{self._cause(batch)}") from error
            except (TypeError, ValueError) as error:
                if type(error) not in (TypeError, ValueError) or not isinstance(self.source, Stream):
                    raise
                raise type(error)(f"{self.source.names.inputs}: {error}") from error
            tally.add(value, prediction, batch)
            self.steps += 1
            shown.batch(self.steps, batch.size, value)
            if self.on_step is not None:
                state.batch, state.step, state.loss = number, self.steps - 1, value
                self.on_step(state)
            if state.stopping:
                break
        return tally.result()

    def _cause(self, batch: Batch) -> str:
        """Why a loss may have become infinite or NaN."""
        found = not_finite(self.source.names, batch)
        if found is not None:
            return f": {found}"
        if self.steps == 0:
            for path, buffer in self.state.net.named_buffers().items():
                if not np.isfinite(buffer.value).all():
                    return f": {path} of the net was not finite before the first step"
        return f", at learning rate {self.state.optimizer.lr:g}; a lower rate may help"

    def _validation(self, held_out: Source) -> tuple[float, float | None]:
        """Loss and accuracy after an epoch; one that is not finite is told, once."""
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                result = measure(self.state.net, self.loss, held_out, explain=True)
        except FloatingPointError as error:
            raise FloatingPointError(f"validation after epoch {self.done + 1}: {error}") from error
        if not math.isfinite(result[0]) and all(map(math.isfinite, self.state.history.validation_loss)):
            warnings.warn(
                f"fit: the validation loss after epoch {self.done + 1} is {result[0]}, of finite data",
                RuntimeWarning,
                stacklevel=5,
            )
        return result


def _learning(
    optimizer: Optimizer, net: Layer, loss: Loss, max_grad_norm: float | None
) -> Callable[[Batch], tuple[float, Any]]:
    """A step on a batch that has been checked; an optimizer with a `learn` of its own is asked for that."""
    if type(optimizer).learn is Optimizer.learn:
        return lambda batch: optimizer._learn(net, loss, batch, max_grad_norm)
    options = {} if max_grad_norm is None else {"max_grad_norm": max_grad_norm}
    return lambda batch: optimizer.learn(net, loss, batch.inputs, batch.targets, *batch.extra, **options)
