"""Nudging and backprop side by side: the same network from the same start, on the same pictures."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastconv import nn
from fastconv.terminal import need, save_figure
from fastconv.xo.knobs import Knobs
from fastconv.xo.network import build_network
from fastconv.xo.training import NUDGE_AMOUNT, NUDGE_MOMENTUM, Lesson, check_memory, training_pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Steps unless told otherwise, and what they are called.
STEPS = 60
NAMES = ("nudging", "backprop")

#: Slopes below this part of the largest say nothing about their sign: rounding decides it.
NOTHING = 1e-3


@dataclass(frozen=True)
class Comparison:
    """What each way of learning did, step by step.

    Attributes
    ----------
    errors : ndarray, shape (2, steps)
        Of nudging and of backprop: the error of each step's pictures, before the step.
    seconds : ndarray, shape (2, steps)
    evaluations : int
        How often a step of nudging evaluates the network.
    agreement : ndarray, shape (steps,)
        For the network that is nudged, the part of all numbers whose slope has the sign of its gradient;
        those that are next to nothing either way are left out.
    parted : ndarray, shape (steps,)
        How far the weights of the two networks are apart, as a part of their length.
    """

    errors: np.ndarray
    seconds: np.ndarray
    evaluations: int
    agreement: np.ndarray
    parted: np.ndarray

    @property
    def dearer(self) -> float:
        """How many times as long a step of nudging takes: medians."""
        nudged, propagated = np.median(self.seconds, axis=1)
        return float(nudged / propagated)

    def __str__(self) -> str:
        first, last = self.errors[:, 0], self.errors[:, -5:].mean(1)
        lines = [
            f"{name}: error {a:.3f} at first, {b:.3f} over the last steps, {s * 1e3:.3g} ms per step"
            for name, a, b, s in zip(NAMES, first, last, np.median(self.seconds, axis=1))
        ]
        lines.append(
            f"A step of nudging evaluates the network {self.evaluations:,} times and takes {self.dearer:.0f} "
            f"times as long; signs agree for {self.agreement.mean():.1%} of all numbers."
        )
        return "\n".join(lines)


def compare(knobs: Knobs, lesson: Lesson, steps: int = STEPS) -> Comparison:
    """Teach one network twice from the same start: by nudging, and by backprop.

    Both take plain steps of gradient descent with the same rate, momentum and pictures; what differs is only
    where the slopes come from.

    Parameters
    ----------
    knobs : Knobs
    lesson : Lesson
        Its pictures, batches, learning rate and seed count.
    steps : int, default 60

    Returns
    -------
    Comparison

    Raises
    ------
    KnobError
        As `learn`.
    FloatingPointError
        The learning rate is so high that the error became infinite.

    Examples
    --------
    >>> from fastconv.xo import Knobs, Lesson, compare
    >>> knobs = Knobs(layers=("conv", "relu", "pool", "pool"), features=(3,), hidden=())
    >>> found = compare(knobs, Lesson(learn="nudge", train=100, unseen=1), steps=5)
    >>> found.errors.shape, bool(found.agreement.min() > 0.8)
    ((2, 5), True)
    """
    check_memory(knobs, lesson)
    assert lesson.batch is not None
    assert lesson.lr is not None
    weights_rng, order_rng = np.random.default_rng(lesson.seed).spawn(2)
    pictures, labels = training_pictures(knobs.size, lesson)
    nudged = build_network(knobs, weights_rng)
    propagated = copy.deepcopy(nudged)
    loss = nn.TotalAbsoluteError()
    nudge = nn.Nudge(nudged.parameters(), lesson.lr, NUDGE_AMOUNT, NUDGE_MOMENTUM)
    descent = nn.SGD(propagated.parameters(), lesson.lr, NUDGE_MOMENTUM)
    errors, seconds = np.empty((2, steps)), np.empty((2, steps))
    agreement, parted = np.empty(steps), np.empty(steps)
    order = np.empty(0, np.int64)
    for step in range(steps):
        while len(order) < lesson.batch:
            order = np.concatenate([order, order_rng.permutation(len(pictures))])
        chosen, order = order[: lesson.batch], order[lesson.batch :]
        x, y = pictures[chosen], labels[chosen]
        gradient = _gradient(nudged, loss, x, y)
        for k, (network, optimizer) in enumerate(((nudged, nudge), (propagated, descent))):
            began = time.perf_counter()
            errors[k, step], _ = optimizer.learn(network, loss, x, y)
            seconds[k, step] = time.perf_counter() - began
        agreement[step] = _agreement(np.concatenate([p.grad.ravel() for p in nudge.parameters]), gradient)
        parted[step] = _distance(nudged, propagated)
    return Comparison(errors, seconds, nudge.evaluations_per_step, agreement, parted)


def _gradient(network: nn.Sequential, loss: nn.Loss, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """By backprop, of all numbers in a row; the network's own gradients are zero afterwards."""
    network.zero_grad()
    votes, backprop = network.vjp_parameters(x)
    backprop(loss.vjp(votes, y)[1])
    found = np.concatenate([parameter.grad.ravel() for parameter in network.parameters()])
    network.zero_grad()
    return found


def _agreement(slopes: np.ndarray, gradient: np.ndarray) -> float:
    large = np.maximum(np.abs(slopes), np.abs(gradient))
    counted = large > NOTHING * large.max(initial=0)
    if not counted.any():
        return 1.0
    return float((np.sign(slopes) == np.sign(gradient))[counted].mean())


def _distance(one: nn.Sequential, other: nn.Sequential) -> float:
    a, b = (np.concatenate([p.value.ravel() for p in net.parameters()]) for net in (one, other))
    return float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), math.ulp(1.0)))


def draw_comparison(path: str, found: Comparison) -> None:
    """Draw error per step, error over time, and how far the signs agree.

    Parameters
    ----------
    path : str
        Its ending says the format.
    found : Comparison

    Raises
    ------
    CommandError
        Matplotlib is not installed.
    OSError
        The file cannot be written; one that was there before is still whole.
    """
    figure: Figure = need("matplotlib.figure", "matplotlib").Figure(
        figsize=(13, 4.2), dpi=120, facecolor="white", layout="constrained"
    )
    by_step, by_time, signs = figure.subplots(1, 3)
    steps = np.arange(1, found.errors.shape[1] + 1)
    for k, (name, line) in enumerate(zip(NAMES, ("-", "--"))):
        told = {"linestyle": line, "color": ("#b2182b", "#1b4f8a")[k], "label": name}
        by_step.plot(steps, found.errors[k], **told)
        by_time.plot(np.cumsum(found.seconds[k]), found.errors[k], **told)
    by_step.set_title("error per step")
    by_step.set_xlabel("step")
    by_time.set_title(f"over time: a step of nudging costs {found.dearer:.0f} times as much", fontsize=11)
    by_time.set_xlabel("seconds")
    by_time.set_xscale("log")
    signs.plot(steps, found.agreement, color="black", label="part of the signs that agree")
    signs.plot(steps, found.parted, ":", color="black", label="distance of the weights, relative")
    signs.set_ylim(0, 1.05)
    signs.set_title("slopes by nudging beside gradients")
    signs.set_xlabel("step")
    for axes in (by_step, by_time, signs):
        axes.legend(fontsize=9)
    save_figure(figure, path)
