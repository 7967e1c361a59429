"""Training a net on a data set: what is learned from, what is held out, and what comes of it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.data import Batches, DataError, Dataset
from fastconv.train import named
from fastconv.train.build import parse_net, spec_of
from fastconv.train.errors import SettingError
from fastconv.train.evaluation import Evaluation, evaluate, wilson
from fastconv.train.model import Model
from fastconv.train.model_file import check_can_save, save_model
from fastconv.train.settings import Settings
from fastconv.train.spec import reads_words
from fastconv.train.unfinished import Unfinished, fingerprint

#: A last batch of less than this part of the others is left out, in every epoch other samples: a gradient of
#: one or two is mostly noise, and batch norm cannot learn from one.
FEWEST = 16

Observer = Callable[[nn.TrainingState], Any]


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes
    ----------
    model : Model
        With the weights of the epoch whose held-out loss was lowest.
    history : nn.History
    held_out : Evaluation or None
        On the samples that were not learned from, by which the epoch was chosen; None if it was interrupted.
    test : Evaluation or None
        On data of their own, that nothing was chosen by.
    interrupted : bool
        By Ctrl-C.
    """

    model: Model
    history: nn.History
    held_out: Evaluation | None
    test: Evaluation | None
    interrupted: bool


class Lesson:
    """A training that is prepared: the data split, the net made; `run` it.

    Parameters
    ----------
    dataset : fastconv.data.Dataset
    settings : Settings
    test : fastconv.data.Dataset, optional
        Data of their own to measure with; without it those that the data set itself sets aside.
    split : (ndarray of int, ndarray of int), optional
        What is learned from and what is held out; without it as the settings say.
    fitted : bool, default False
        The data set has been `fitted` to what is learned from: many lessons on one split share that.

    Attributes
    ----------
    dataset, test : Dataset
        Normalised by what is learned from alone.
    learned_from, held_out : ndarray of int
        Indices into `dataset`.
    spec : str
        The net in words.
    net : nn.Sequential
        With random weights.

    Raises
    ------
    DataError, SpecError, SettingError
        In one line: fewer than two classes, or samples of a class; a spec that does not fit; and so on.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: Settings,
        test: Dataset | None = None,
        split: tuple[np.ndarray, np.ndarray] | None = None,
        fitted: bool = False,
    ) -> None:
        if len(dataset.classes) < 2:
            raise DataError(
                f"{dataset.path}: has one class, {dataset.classes[0]!r}; two or more are told apart"
            )
        self.settings = settings
        if split is None:
            split = dataset.split(settings.held_out, settings.seed)
        self.learned_from, self.held_out = split
        net = settings.net
        if net == "auto" and dataset.kind == "text":
            net = named.words(dataset.preprocessing.shape)
        if reads_words(net) and dataset.kind == "text":
            dataset, test = dataset.laid_out("indices"), test and test.laid_out("indices")
        self._check_shape(dataset, net)
        spec_of(net, dataset.preprocessing.shape)  # refuses, before all samples are looked at
        self.dataset = dataset if fitted else dataset.fitted(self.learned_from)
        self._check_held_out()
        self.spec = spec_of(net, self.dataset.preprocessing.shape)
        self.test = self.dataset.test if test is None else test
        weights, self._order = np.random.default_rng(settings.seed).spawn(2)
        made = self.dataset.preprocessing
        self.net = parse_net(self.spec, made.shape, dataset.classes, weights, rows=made.rows)
        self._check_batch_norm()

    @staticmethod
    def _check_shape(dataset: Dataset, net: str) -> None:
        if len(dataset.preprocessing.shape) < 2 and not reads_words(net):
            raise DataError(
                f"{dataset.path}: its samples are numbers of words, nothing to convolve; let the net begin "
                "with embed N"
            )

    def _check_held_out(self) -> None:
        """One of them at least can be read, or nothing could be chosen; mostly it is the first."""
        held_out, data = self.held_out, self.dataset
        if not any(len(data.batch(held_out[i : i + 1])[1]) for i in range(len(held_out))):
            raise DataError(f"{data.path}: none of the {len(held_out):,} samples held out can be read")

    def _check_batch_norm(self) -> None:
        """Batch norm cannot learn from one sample."""
        alone = self.settings.batch == 1 or len(self.learned_from) == 1
        if alone and "bn" in self.spec.replace("res", "bn").split(", "):
            raise SettingError("batch", self.settings.batch, "must be at least 2 with bn in the net")

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.value.size for parameter in self.net.parameters())

    def batches(self) -> Batches:
        """What is learned from, in batches that come in another order in every epoch."""
        size, count = self.settings.batch, len(self.learned_from)
        return self.dataset.batches(
            self.learned_from,
            size,
            # fit keeps and restores the state of the generator that it is given: these draw from the same
            rng=self._order,
            augmentation=self.settings.augmentation,
            drop_last=0 < count % size <= max(1, size // FEWEST) and count > size,
        )

    @property
    def samples(self) -> int:
        """How many samples an epoch learns from: a last batch of few is left out."""
        return min(len(self.learned_from), len(self.batches()) * self.settings.batch)

    def run(
        self,
        unfinished: Unfinished | None = None,
        *,
        progress: bool | None = False,
        on_step: Observer | None = None,
        on_epoch: Observer | None = None,
    ) -> Trained:
        """Train, and measure what was learned.

        Parameters
        ----------
        unfinished : Unfinished, optional
            Where checkpoints are kept, and gone on from if there are any.
        progress : bool, optional
            As `nn.fit`.
        on_step, on_epoch : function of nn.TrainingState, optional

        Raises
        ------
        FloatingPointError
            The loss became infinite or NaN.
        KeyboardInterrupt
            Before an epoch was over.
        """
        held_out = test = None
        interrupted = False
        history = nn.History()
        try:
            history = self._fit(unfinished, progress, on_step, on_epoch)
            model = self._model(history)
            held_out = evaluate(model, self.dataset, self.held_out)
            if self.test is not None:
                test = evaluate(model, self.test)
        except KeyboardInterrupt as error:
            history = getattr(error, "history", history)
            if history.best_epoch is None:
                raise
            interrupted, held_out, test = True, None, None
        record = self._record(history, held_out, test, interrupted)
        return Trained(self._model(history, record), history, held_out, test, interrupted)

    def _fit(
        self,
        unfinished: Unfinished | None,
        progress: bool | None,
        on_step: Observer | None,
        on_epoch: Observer | None,
    ) -> nn.History:
        settings, dataset = self.settings, self.dataset
        batches = self.batches()
        held_out = dataset.batches(self.held_out, max(settings.batch, 64), shuffle=False)
        counts = np.bincount(dataset.labels[self.learned_from], minlength=len(dataset.classes))
        return nn.fit(
            self.net,
            batches,
            loss=settings.make_loss(counts),
            optimizer=settings.make_optimizer(self.net),
            epochs=settings.epochs,
            validation=held_out,
            patience=settings.patience or settings.epochs,
            schedule=settings.make_schedule(len(batches)),
            max_grad_norm=settings.max_grad_norm,
            on_step=on_step,
            on_epoch=on_epoch,
            checkpoint=None if unfinished is None else unfinished.checkpoint,
            resume=unfinished is not None,
            rng=self._order,
            progress=progress,
        )

    def _model(self, history: nn.History, record: dict[str, Any] | None = None) -> Model:
        dataset = self.dataset
        return Model(self.net, self.spec, dataset.classes, dataset.preprocessing, record or {})

    def _record(
        self,
        history: nn.History,
        held_out: Evaluation | None,
        test: Evaluation | None,
        interrupted: bool,
    ) -> dict[str, Any]:
        """The record of the training, as JSON has it."""
        dataset = self.dataset
        columns = {
            name: [value if math.isfinite(value) else None for value in column]
            for name, column in asdict(history).items()
            if isinstance(column, list)
        }
        held = None if held_out is None else held_out.figures()
        if held is None and history.best_epoch is not None and history.validation_accuracy:
            count = len(self.held_out)
            right = round(history.validation_accuracy[history.best_epoch] * count)
            low, high = wilson(right, count)
            held = {"count": count, "accuracy": right / count, "accuracy_low": low, "accuracy_high": high}
        return {
            "settings": self.settings.to_json(),
            "data": {
                "name": os.path.basename(os.path.normpath(dataset.path)),
                "kind": dataset.kind,
                "counts": {name: int(count) for name, count in zip(dataset.classes, dataset.counts)},
                "skipped": len(dataset.skipped),
                "fingerprint": fingerprint(dataset),
            },
            "learned_from": len(self.learned_from),
            "held_out": held,
            "test": None if test is None else test.figures(),
            "history": columns,
            "best_epoch": history.best_epoch,
            "interrupted": interrupted,
            # of all its epochs, also those before a break
            "seconds": round(sum(history.seconds), 3),
        }


def train(
    dataset: Dataset,
    settings: Settings | None = None,
    *,
    test: Dataset | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    restart: bool = False,
    progress: bool | None = False,
    on_step: Observer | None = None,
    on_epoch: Observer | None = None,
) -> Trained:
    """Train a net on a data set.

    Parameters
    ----------
    dataset : fastconv.data.Dataset
        From `fastconv.data.open_dataset`.
    settings : Settings, optional
        Without it `Settings()`, or if `resume`, those of the training that is gone on with.
    test : fastconv.data.Dataset, optional
        Data of their own to measure with, prepared by the caller; without it what the data set sets aside.
    output : path, optional
        Where the model is written, `model.fcn`. While it is trained, a folder `model.fcn.part` has all that
        is needed to go on after a break.
    resume : bool, default False
        Go on with the training in that folder: to the bits that it gives without a break.
    restart : bool, default False
        Forget a training that was not finished; without either, one that is there is refused.
    progress : bool, optional
        As `nn.fit`; without it nothing is shown.
    on_step, on_epoch : function of nn.TrainingState, optional
        Called after every step, after every epoch.

    Returns
    -------
    Trained

    Raises
    ------
    SettingError, SpecError, DataError, TypeError
        In one line; before anything is learned or written.
    FloatingPointError
        The loss became infinite or NaN.
    OSError
        A file cannot be written.
    KeyboardInterrupt
        Ctrl-C before the first epoch was over; afterwards, what was best so far is returned, and written.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.data import open_dataset
    >>> from fastconv.train import Settings, train
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(80) % 2
    >>> x = rng.integers(0, 200, (80, 6, 6)).astype(np.uint8)
    >>> x[y == 1, :, :3] += 55
    >>> np.savez("halves.npz", x=x, y=y)
    >>> trained = train(open_dataset("halves.npz"), Settings(net="conv 4 3, relu, fc", epochs=5))
    >>> len(trained.history), len(trained.held_out.labels)
    (5, 16)
    """
    unfinished = None if output is None else Unfinished(output)
    if unfinished is None:
        if resume or restart:
            name = "resume" if resume else "restart"
            raise SettingError(name, True, "needs the output, beside which there is what to go on with")
        return Lesson(dataset, settings or Settings(), test).run(
            progress=progress, on_step=on_step, on_epoch=on_epoch
        )
    unfinished.check_begin(resume, restart)
    if settings is None:
        settings = unfinished.settings() if resume else Settings()
    lesson = open_lesson(dataset, settings, test, unfinished, resume=resume, restart=restart)
    return finish(lesson, unfinished, output, resume, progress=progress, on_step=on_step, on_epoch=on_epoch)


def open_lesson(
    dataset: Dataset,
    settings: Settings,
    test: Dataset | None,
    unfinished: Unfinished,
    *,
    resume: bool = False,
    restart: bool = False,
) -> Lesson:
    """Prepare a training whose checkpoints are kept; arguments and errors are those of `train`."""
    check_can_save()
    unfinished.check_begin(resume, restart)
    lesson = Lesson(dataset, settings, test)
    if resume:
        unfinished.check(settings, lesson.dataset)
    return lesson


def finish(
    lesson: Lesson,
    unfinished: Unfinished,
    output: str | os.PathLike[str] | None,
    resume: bool = False,
    **options: Any,
) -> Trained:
    """Run a training, write its model to `output`, and clear away what going on would have needed."""
    if not resume:
        unfinished.begin(lesson.settings, lesson.dataset)
    try:
        trained = lesson.run(unfinished, **options)
    except FloatingPointError:
        unfinished.forget()  # going on would end there again
        raise
    except BaseException as error:
        nothing = not os.path.exists(unfinished.checkpoint)
        if nothing or (isinstance(error, KeyboardInterrupt) and not resume):  # not one epoch was over
            unfinished.forget()
        raise
    assert output is not None
    save_model(output, trained.model)
    if not trained.interrupted:
        unfinished.forget()
    return trained
