"""Teaching a network to tell an X from an O: what it learns from, how, and how well it does afterwards."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import numpy as np

from fastconv import nn
from fastconv.xo.errors import KnobError
from fastconv.xo.generator import Variation, generate
from fastconv.xo.knobs import Knobs, check_number
from fastconv.xo.network import build_network
from fastconv.xo.pictures import LETTERS, deck_pictures

#: Pictures judged together.
JUDGED_AT_ONCE = 64

#: What a request may take in memory, in bytes; one beyond it is refused rather than left to the system.
MOST_MEMORY = 4 << 30

#: What a lesson is unless it says otherwise. Nudging is so much dearer that it gets fewer steps.
BACKPROP_LESSON = {"train": 5000, "batch": 32, "lr": 0.003}
NUDGE_LESSON = {"train": 1000, "batch": 50, "lr": 0.01}

#: Nudging: how far a number is moved to see what happens, and the share of the last move that is kept.
NUDGE_AMOUNT = 0.05
NUDGE_MOMENTUM = 0.9


@dataclass(frozen=True)
class Lesson:
    """How a network is taught.

    Attributes
    ----------
    learn : {"backprop", "nudge"}
        Gradients by backprop, descended with Adam; or each number adjusted up and down a bit to see how the
        error changes (`nn.Nudge`).
    train : int, default 5000 (nudge: 1000)
        Number of generated pictures to learn from.
    unseen : int, default 2000
        Number of other generated pictures, to be judged afterwards.
    epochs : int, default 10
        How often each picture is learned from.
    batch : int, default 32 (nudge: 50)
        Pictures per step.
    lr : float, default 0.003 (nudge: 0.01)
        Learning rate of the first epoch; it falls to zero along half a cosine.
    seed : int, default 0
        Everything random follows from it: pictures, starting weights, order.
    variation : Variation
        How much the pictures differ.

    Raises
    ------
    KnobError, TypeError
        Naming the attribute, its value and the rule.

    Examples
    --------
    >>> from fastconv.xo import Lesson
    >>> Lesson().train, Lesson(learn="nudge").train
    (5000, 1000)
    """

    learn: str = "backprop"
    train: int | None = None
    unseen: int = 2000
    epochs: int = 10
    batch: int | None = None
    lr: float | None = None
    seed: int = 0
    variation: Variation = field(default_factory=Variation)

    def __post_init__(self) -> None:
        if self.learn not in ("backprop", "nudge"):
            raise KnobError("learn", self.learn, "must be backprop or nudge")
        for name, value in (NUDGE_LESSON if self.learn == "nudge" else BACKPROP_LESSON).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in ("train", "unseen", "epochs", "batch"):
            object.__setattr__(self, name, check_number(name, getattr(self, name), 1))
        object.__setattr__(self, "seed", check_number("seed", self.seed, 0))
        if not isinstance(self.lr, (int, float)) or isinstance(self.lr, bool):
            raise TypeError(f"lr={self.lr!r}: must be a number")
        if not 0 < self.lr < float("inf"):
            raise KnobError("lr", self.lr, "must be above 0 and finite")
        object.__setattr__(self, "lr", float(self.lr))

    @property
    def steps(self) -> int:
        """How often the weights are changed."""
        assert self.train is not None
        assert self.batch is not None
        return self.epochs * math.ceil(self.train / self.batch)


@dataclass(frozen=True)
class Exam:
    """How a network judges pictures that it has not learned from.

    Attributes
    ----------
    deck_votes : ndarray, shape (10, 2)
        Votes on the ten pictures.
    unseen, labels, votes : ndarray, shapes (N, 1, size, size), (N,) and (N, 2)
        Generated pictures, what they are, and the votes on them.
    """

    deck_votes: np.ndarray
    unseen: np.ndarray
    labels: np.ndarray
    votes: np.ndarray

    @property
    def deck_right(self) -> int:
        """How many of the ten pictures are judged right."""
        return int((self.deck_votes.argmax(axis=1) == deck_pictures()[1]).sum())

    @property
    def right(self) -> np.ndarray:
        """Which of the unseen pictures are judged right."""
        result: np.ndarray = self.votes.argmax(axis=1) == self.labels
        return result

    @property
    def accuracy(self) -> float:
        """The share of unseen pictures judged right."""
        return float(self.right.mean())

    @property
    def as_guessed(self) -> bool:
        """Whether all pictures together were judged no better than a coin would, to three deviations."""
        count = len(self.labels) + len(self.deck_votes)
        return self.deck_right + int(self.right.sum()) <= count / 2 + 3 * math.sqrt(count) / 2


@dataclass(frozen=True)
class Learned:
    """A network that has been taught, and what became of it.

    Attributes
    ----------
    network : nn.Sequential
    history : nn.History
        Error and accuracy of every epoch.
    seconds : float
        What learning took, without drawing the pictures.
    exam : Exam
    cost : nn.NudgeCost or None
        What a step of nudging cost beside one of backprop, if that is how it learned; best of three.
    """

    network: nn.Sequential
    history: nn.History
    seconds: float
    exam: Exam
    cost: nn.NudgeCost | None


def judge(network: nn.Layer, pictures: np.ndarray) -> np.ndarray:
    """A network's votes on any number of pictures.

    Parameters
    ----------
    network : nn.Layer
    pictures : ndarray, shape (N, 1, size, size), float32
        +1 for ink and -1 for paper.

    Returns
    -------
    ndarray, shape (N, 2)
        For X and for O; the larger one wins.

    Examples
    --------
    >>> from fastconv.xo import Knobs, build_network, deck_pictures, judge
    >>> judge(build_network(Knobs(), rng=0), deck_pictures()[0]).shape
    (10, 2)
    """
    parts = [network(pictures[i : i + JUDGED_AT_ONCE]) for i in range(0, len(pictures), JUDGED_AT_ONCE)]
    return np.concatenate(parts) if parts else np.empty((0, len(LETTERS)), np.float32)


def learn(knobs: Knobs, lesson: Lesson | None = None, *, progress: bool | None = False) -> Learned:
    """Teach a network from random weights.

    Parameters
    ----------
    knobs : Knobs
        The network.
    lesson : Lesson, optional
        How it is taught; without it `Lesson()`.
    progress : bool, optional
        As `nn.fit`: False for silence, None for what suits standard error.

    Returns
    -------
    Learned

    Raises
    ------
    KnobError
        The request would take more than 4 GiB of memory, or there are not so many different pictures.
    FloatingPointError
        The learning rate is so high that the error became infinite.

    Notes
    -----
    The error is the example's: the sum over both classes of |right answer - actual answer|, right answers
    being 1 and 0. Backprop descends it with Adam (Kingma & Ba, arXiv:1412.6980).

    Examples
    --------
    >>> from fastconv.xo import Knobs, Lesson, learn
    >>> learned = learn(Knobs(features=(4,)), Lesson(train=200, unseen=100, epochs=2))
    >>> learned.exam.votes.shape
    (100, 2)
    """
    lesson = Lesson() if lesson is None else lesson
    check_memory(knobs, lesson)
    assert lesson.batch is not None
    assert lesson.lr is not None
    weights_rng, order_rng = np.random.default_rng(lesson.seed).spawn(2)
    pictures, labels = training_pictures(knobs.size, lesson)
    unseen = _unseen_pictures(knobs.size, lesson, pictures)
    network = build_network(knobs, weights_rng)
    loss = nn.TotalAbsoluteError()
    optimizer: nn.Optimizer
    if lesson.learn == "nudge":
        optimizer = nn.Nudge(network.parameters(), lesson.lr, NUDGE_AMOUNT, NUDGE_MOMENTUM)
    else:
        optimizer = nn.Adam(network.parameters(), lesson.lr)
    began = time.perf_counter()
    history = nn.fit(
        network,
        pictures,
        labels,
        loss=loss,
        optimizer=optimizer,
        epochs=lesson.epochs,
        batch_size=lesson.batch,
        schedule=nn.CosineLR(lesson.lr, lesson.epochs),
        rng=order_rng,
        progress=progress,
    )
    seconds = time.perf_counter() - began
    cost = None
    if isinstance(optimizer, nn.Nudge):
        batch = pictures[: lesson.batch], labels[: lesson.batch]
        costs = [optimizer.cost(network, *batch, loss=loss) for _ in range(3)]
        cost = replace(
            costs[0],
            seconds=min(each.seconds for each in costs),
            backprop_seconds=min(each.backprop_seconds for each in costs),
        )
    return Learned(network, history, seconds, _exam(network, knobs.size, *unseen), cost)


def examine(network: nn.Layer, size: int, lesson: Lesson, learned_from: np.ndarray | None = None) -> Exam:
    """Have a network judge the ten pictures and as many unseen ones as the lesson says.

    Parameters
    ----------
    network : nn.Layer
    size : int
        Height and width of its pictures.
    lesson : Lesson
        How it was taught.
    learned_from : ndarray, optional
        The pictures it has learned from, if at hand; otherwise they are drawn again from the lesson's seed.

    Returns
    -------
    Exam
    """
    if learned_from is None:
        learned_from = training_pictures(size, lesson)[0]
    return _exam(network, size, *_unseen_pictures(size, lesson, learned_from))


def _exam(network: nn.Layer, size: int, unseen: np.ndarray, labels: np.ndarray) -> Exam:
    return Exam(judge(network, deck_pictures(size)[0]), unseen, labels, judge(network, unseen))


def _unseen_pictures(size: int, lesson: Lesson, learned_from: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _draw("unseen", size, lesson, [deck_pictures(size)[0], learned_from])


def training_pictures(size: int, lesson: Lesson) -> tuple[np.ndarray, np.ndarray]:
    """The pictures a lesson is learned from, and what they are; never one of the ten."""
    return _draw("train", size, lesson, [deck_pictures(size)[0]])


def _draw(name: str, size: int, lesson: Lesson, avoid: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    count: int = getattr(lesson, name)
    rng = np.random.default_rng([lesson.seed, ("train", "unseen").index(name)])
    try:
        return generate(count, size, variation=lesson.variation, rng=rng, avoid=avoid)
    except ValueError:
        rule = "is more pictures than can be drawn differently; allow more variation, noise for example"
        raise KnobError(name, count, rule) from None


def check_memory(knobs: Knobs, lesson: Lesson) -> None:
    """Raise `KnobError` for pictures or maps that would take more than `MOST_MEMORY`, counted generously.

    Raises
    ------
    KnobError
        Naming the knob that is furthest beyond its default.
    """
    assert lesson.train is not None
    assert lesson.batch is not None
    maps = sum(stage.channels * stage.side**2 for stage in knobs.plan())
    # the pictures; every map of a batch, its gradient, and what its layer remembers
    needed = 4 * (
        2 * (lesson.train + lesson.unseen) * knobs.size**2 + 3 * min(lesson.batch, lesson.train) * maps
    )
    if needed <= MOST_MEMORY:
        return
    beyond_default = {
        "size": knobs.size**2 / Knobs.size**2,
        "features": max(knobs.features) / Knobs.features[0],
        "train": lesson.train / BACKPROP_LESSON["train"],
        "unseen": lesson.unseen / Lesson.unseen,
        "batch": lesson.batch / BACKPROP_LESSON["batch"],
    }
    name = max(beyond_default, key=lambda key: beyond_default[key])
    rule = f"would take about {needed / 2**30:,.0f} GiB of memory; {MOST_MEMORY >> 30} are allowed"
    raise KnobError(name, getattr(knobs if hasattr(knobs, name) else lesson, name), rule)
