"""Turning the knobs: many nets trained a little, the better ones longer, the best measured at last.

Random search with successive halving: K. Jamieson and A. Talwalkar, "Non-stochastic best arm identification
and hyperparameter optimization", arXiv:1502.07943. Trials are trained anew on every rung, each rung with a
schedule of its own, so that a trial's result follows from its number and rung alone: whatever was broken off
is done again, to the same bits, in any number of processes. The best is measured on samples that no choice
was made with.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from fastconv.data import Dataset, open_dataset, stratified_split
from fastconv.runtime import set_num_threads
from fastconv.train.errors import SettingError
from fastconv.train.evaluation import Evaluation, evaluate
from fastconv.train.model import Model
from fastconv.train.model_file import check_can_save, load_model, save_model
from fastconv.train.settings import Settings
from fastconv.train.space import Candidate, Space
from fastconv.train.training import Lesson
from fastconv.train.unfinished import Folder, fingerprint


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a search goes.

    Attributes
    ----------
    space : Space
    trials : int, default 18
        Nets that are tried.
    epochs : int, default 18
        Of the last rung.
    eta : int, default 3
        One of so many goes on to the next rung, where it has so many times the epochs.
    settings : Settings
        Of every training, but net, learning rate, epochs and seed. Of each class the part `held_out` is put
        aside to measure the best at the end, unless there is data for that; and of what is left the same part
        is what choices are made with.
    """

    space: Space
    trials: int = 18
    epochs: int = 18
    eta: int = 3
    settings: Settings

    def __post_init__(self) -> None:
        for name, least, most in (("trials", 1, 10_000), ("epochs", 1, 100_000), ("eta", 2, 100)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise SettingError(name, value, f"must be a whole number from {least} to {most:,}")

    def rungs(self) -> list[tuple[int, int]]:
        """How many trials each rung has, and of how many epochs.

        Examples
        --------
        >>> from fastconv.train import Plan, Settings, Space
        >>> Plan(space=Space(), settings=Settings(), trials=18, epochs=18).rungs()
        [(18, 2), (6, 6), (2, 18)]
        """
        count = 1
        while self.trials // self.eta**count >= 1 and self.epochs // self.eta**count >= 1:
            count += 1
        return [
            (max(1, self.trials // self.eta**i), max(1, self.epochs // self.eta ** (count - 1 - i)))
            for i in range(count)
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        told = {name: getattr(self, name) for name in ("trials", "epochs", "eta")}
        return {**told, "space": self.space.to_json(), "settings": self.settings.to_json()}


@dataclass(frozen=True)
class Row:
    """What came of one trial on one rung; of a training that failed, accuracy and loss are None."""

    trial: int
    rung: int
    epochs: int
    accuracy: float | None
    loss: float | None
    parameters: int
    seconds: float

    @property
    def rank(self) -> tuple[float, float, int]:
        """The lowest is the best: most right, then least loss, then who came first."""
        accuracy = -1.0 if self.accuracy is None else self.accuracy
        return -accuracy, math.inf if self.loss is None else self.loss, self.trial


@dataclass(frozen=True)
class Found:
    """What came of a search.

    Attributes
    ----------
    candidates : list of Candidate
        By number of the trial.
    rows : list of Row
        Every trial on every rung that it reached.
    best : Row
    model : Model
        Of the best, from the last rung.
    test : Evaluation
        On samples that no choice was made with.
    skipped : list of (name, reason)
        What could not be read.
    """

    candidates: list[Candidate]
    rows: list[Row]
    best: Row
    model: Model
    test: Evaluation
    skipped: list[tuple[str, str]]


def search(
    data: str | os.PathLike[str],
    plan: Plan,
    output: str | os.PathLike[str],
    *,
    options: dict[str, Any] | None = None,
    test: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    resume: bool = False,
    restart: bool = False,
    on_row: Callable[[Row, Candidate], Any] | None = None,
) -> Found:
    """Find a net for data.

    Parameters
    ----------
    data : path
        As `open_dataset` takes it, which every process does for itself.
    plan : Plan
    output : path
        Where the best model is written, `model.fcn`; meanwhile a folder `model.fcn.search` has what is needed
        to go on after a break.
    options : dict, optional
        Further arguments of `open_dataset`.
    test : path, optional
        Data of their own to measure the best with; without it what the data sets aside, or a part of it.
    jobs : int, default 1
        Processes; each uses one thread if there are several. They begin afresh, so that a script must not do
        more when it is imported than define things.
    resume, restart : bool
        As `train`.
    on_row : function of (Row, Candidate), optional
        Called as trials are done, in the order in which they are.

    Returns
    -------
    Found

    Raises
    ------
    SettingError, SpecError, DataError, TypeError
        In one line; before anything is learned or written.
    FloatingPointError
        Every training failed.
    MemoryError
        A process has died.
    OSError
        A file cannot be written.
    KeyboardInterrupt
        What was done until then is kept.
    """
    if type(jobs) is not int or not 1 <= jobs <= 256:
        raise SettingError("jobs", jobs, "must be a whole number from 1 to 256")
    check_can_save()
    table = Table(output)
    table.check_begin(resume, restart)
    path, options = os.fsdecode(data), options or {}
    dataset = open_dataset(path, **options)
    has_test = test is not None or dataset.test is not None
    splits = Splits(dataset, plan.settings, has_test)
    if test is not None:  # refuses what cannot be measured with
        open_dataset(test, preprocessing=dataset.preprocessing, classes=dataset.classes)
    rng = np.random.default_rng(plan.settings.seed)
    # refuses what no net can learn
    fitted = Lesson(dataset, plan.settings.replaced(net="fc"), split=splits.choosing).dataset
    shape, classes = fitted.preprocessing.shape, len(dataset.classes)
    candidates = [plan.space.draw(rng, shape, classes) for _ in range(plan.trials)]
    table.begin(plan, dataset, has_test, resume=resume)
    work = _Work(path, options, plan, candidates, table.path, has_test)
    crew = _Crew(work, _Opened(work, fitted, splits), jobs)
    try:
        best = _halve(plan, candidates, table, crew, on_row)
    finally:
        crew.close()
    model = load_model(table.model_of(best.trial))
    found = splits.measure(model, fitted, test)
    record = {**model.record, "test": found.figures(), "search": table.record(plan, candidates)}
    model = Model(model.net, model.spec, model.classes, model.preprocessing, record, model.versions)
    save_model(output, model)
    rows = list(table.rows.values())
    table.forget()
    return Found(candidates, rows, best, model, found, fitted.skipped)


class Splits:
    """Who is learned from, who is chosen by, and who measures the best: three parts, none in two."""

    def __init__(self, dataset: Dataset, settings: Settings, has_test: bool) -> None:
        rest, self.test = (np.arange(len(dataset)), np.empty(0, np.int64))
        if not has_test:
            rest, self.test = dataset.split(settings.held_out, settings.seed)
        groups = None if dataset.groups is None else dataset.groups[rest]
        learned_from, held_out = stratified_split(
            dataset.labels[rest], settings.held_out, settings.seed + 1, groups
        )
        self.choosing = rest[learned_from], rest[held_out]

    def measure(self, model: Model, fitted: Dataset, test: str | os.PathLike[str] | None) -> Evaluation:
        """The model's score on the part that nothing was chosen by."""
        if test is not None:
            other = open_dataset(test, preprocessing=model.preprocessing, classes=model.classes)
            return evaluate(model, other)
        if fitted.test is not None:
            return evaluate(model, fitted.test)
        return evaluate(model, fitted, self.test)


def _halve(
    plan: Plan,
    candidates: list[Candidate],
    table: Table,
    crew: _Crew,
    on_row: Callable[[Row, Candidate], Any] | None,
) -> Row:
    """All rungs; the best of the last."""
    going = list(range(plan.trials))
    rows: list[Row] = []
    last = len(plan.rungs()) - 1
    for rung, (count, epochs) in enumerate(plan.rungs()):
        if rung:
            going = [row.trial for row in sorted(rows, key=lambda row: row.rank)[:count]]
        rows = []
        for row in crew.work(table, [(trial, rung, epochs, rung == last) for trial in going]):
            rows.append(row)
            if on_row is not None:
                on_row(row, candidates[row.trial])
        if all(row.loss is None for row in rows):
            raise FloatingPointError("every training of a rung failed; a lower --lr may help")
    return min(rows, key=lambda row: row.rank)


# ---- processes -----------------------------------------------------------------------------------------

Task = tuple[int, int, int, bool]


@dataclass(frozen=True)
class _Work:
    """What every process needs to know."""

    path: str
    options: dict[str, Any]
    plan: Plan
    candidates: list[Candidate]
    folder: str
    has_test: bool


class _Opened(NamedTuple):
    """What a process has opened; the data are normalised by what is learned from."""

    work: _Work
    fitted: Dataset
    splits: Splits


#: Of this process, where `_try` finds it.
_opened: list[_Opened] = []


def _begin(work: _Work) -> None:
    """A process of several opens the data; Ctrl-C is for the one that the user sees."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_num_threads(1)
    dataset = open_dataset(work.path, **work.options)
    splits = Splits(dataset, work.plan.settings, work.has_test)
    _opened.append(_Opened(work, dataset.fitted(splits.choosing[0]), splits))


@contextlib.contextmanager
def _spared() -> Iterator[None]:
    """Processes that begin now are not reached by Ctrl-C, not even while they are still importing."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _try(task: Task) -> Row:
    """One trial on one rung."""
    trial, rung, epochs, keep = task
    work, fitted, splits = _opened[-1]
    plan, candidate = work.plan, work.candidates[trial]
    settings = plan.settings.replaced(
        net=candidate.spec, lr=candidate.lr, epochs=epochs, seed=plan.settings.seed + trial, warmup=0
    )
    lesson = Lesson(fitted, settings, split=splits.choosing, fitted=True)
    lesson.test = None
    try:
        trained = lesson.run()
    except FloatingPointError:
        return Row(trial, rung, epochs, None, None, lesson.parameters, 0.0)
    if trained.held_out is None:
        raise KeyboardInterrupt  # half a trial is none
    if keep:
        save_model(os.path.join(work.folder, f"trial-{trial}.fcn"), trained.model)
    seconds = sum(trained.history.seconds)
    held_out = trained.held_out
    loss = held_out.loss if math.isfinite(held_out.loss) else None
    return Row(trial, rung, epochs, held_out.accuracy, loss, lesson.parameters, round(seconds, 3))


class _Crew:
    """This process, or several others."""

    def __init__(self, work: _Work, opened: _Opened, jobs: int) -> None:
        self._work, self._jobs = work, jobs
        self._pool: ProcessPoolExecutor | None = None
        _opened.append(opened)

    def work(self, table: Table, tasks: list[Task]) -> Iterator[Row]:
        """What comes of tasks; those that the table has are not done again."""
        left = []
        for task in tasks:
            known = table.rows.get(task[:2])
            if known is not None and (
                not task[3] or known.loss is None or os.path.exists(table.model_of(task[0]))
            ):
                yield known
            else:
                left.append(task)
        for row in self._done(left):
            table.note(row)
            yield row

    def _done(self, tasks: list[Task]) -> Iterator[Row]:
        if not tasks:
            return
        if self._jobs == 1:
            yield from map(_try, tasks)
            return
        if self._pool is None:
            # a fresh interpreter: a fork would share the threads and locks of this one
            self._pool = ProcessPoolExecutor(
                self._jobs, get_context("spawn"), initializer=_begin, initargs=(self._work,)
            )
        try:
            with _spared():
                waiting: set[Future[Row]] = {self._pool.submit(_try, task) for task in tasks}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise MemoryError("a process of the search has died; fewer at once need less") from None

    def close(self) -> None:
        """No more work; what is being done is not waited for."""
        if self._pool is not None:
            for process in list(getattr(self._pool, "_processes", {}).values()):
                process.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)
        _opened.pop()


# ---- what is kept --------------------------------------------------------------------------------------


class Table(Folder):
    """The folder `model.fcn.search`: what was asked for, and a line for each trial that is done."""

    def __init__(self, output: str | os.PathLike[str]) -> None:
        super().__init__(output, ".search", "search", "plan.json", "trials.jsonl", "trial-*.fcn")
        self.rows: dict[tuple[int, int], Row] = {}
        self._rows = os.path.join(self.path, "trials.jsonl")

    def model_of(self, trial: int) -> str:
        """Where the model of a trial on the last rung is."""
        return os.path.join(self.path, f"trial-{trial}.fcn")

    def begin(self, plan: Plan, dataset: Dataset, has_test: bool, *, resume: bool) -> None:
        """Begin anew, or read what has been done.

        Raises
        ------
        SettingError
            The search that is there is one of another plan or data, or cannot be read.
        """
        told = {"plan": plan.to_json(), "data": fingerprint(dataset), "test": has_test}
        if not resume:
            self.write(told)
            return
        with self.read() as begun:
            same = {name: begun[name] for name in told} == json.loads(json.dumps(told))
        if not same:
            raise SettingError("resume", True, f"{self.path} was begun with other data or other options")
        self._read_rows(plan.trials)

    def _read_rows(self, trials: int) -> None:
        """Rows that are whole; a process may have been killed as it wrote the last."""
        if not os.path.exists(self._rows):
            return
        with open(self._rows, "rb") as file:
            for line in file:
                with contextlib.suppress(TypeError, ValueError):
                    row = Row(**json.loads(line))
                    if 0 <= row.trial < trials:
                        self.rows[row.trial, row.rung] = row

    def note(self, row: Row) -> None:
        """A trial is done."""
        self.rows[row.trial, row.rung] = row
        with open(self._rows, "ab") as file:
            # after a line that was cut a new one begins
            file.write(b"\n" + json.dumps(asdict(row)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def record(self, plan: Plan, candidates: list[Candidate]) -> dict[str, Any]:
        """All of it for the record of the model."""
        rows = [{**asdict(candidates[row.trial]), **asdict(row)} for row in self.rows.values()]
        return {**plan.to_json(), "rows": rows}
