"""What went on inside a net while it learned: ranges of activations, gradients, weights and updates."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

import numpy as np

from fastconv import nn
from fastconv.nn.archive import write_whole
from fastconv.train.report_page import Band, Chart, Line, page
from fastconv.train.training import Lesson, Trained

#: Samples that activations and gradients are taken from; the same all the time.
PROBE = 32


@dataclass
class Ranges:
    """The lowest, mean and highest of some values after each epoch."""

    low: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def note(self, values: np.ndarray) -> None:
        """Take down those of an epoch."""
        self.low.append(float(values.min()))
        self.mean.append(float(values.mean(dtype=np.float64)))
        self.high.append(float(values.max()))


class Report:
    """Watches a training, and writes a page about it.

    Parameters
    ----------
    path : str
        Where the page goes.

    Notes
    -----
    Activations and gradients are those of the same few samples after every epoch, as in inference; weights
    are those then, and their updates those of the epoch's last step. Of a training that goes on after a break
    they are known from there on.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.activations: dict[str, Ranges] = {}
        self.gradients: dict[str, Ranges] = {}
        self.weights: dict[str, Ranges] = {}
        self.updates: dict[str, Line] = {}
        self._before: dict[str, np.ndarray] = {}
        self._first: int | None = None

    def begin(self, lesson: Lesson) -> None:
        """The training is about to begin."""
        self._x, self._y = lesson.dataset.batch(
            lesson.learned_from[:: max(1, len(lesson.learned_from) // PROBE)]
        )
        counts = np.bincount(
            lesson.dataset.labels[lesson.learned_from], minlength=len(lesson.dataset.classes)
        )
        self._loss = lesson.settings.make_loss(counts)
        self._steps = len(lesson.batches())
        self._keep(lesson.net)

    def _keep(self, net: nn.Layer) -> None:
        self._before = {name: parameter.value.copy() for name, parameter in net.named_parameters().items()}

    def step(self, state: nn.TrainingState) -> None:
        """Before the last step of an epoch, the weights are kept."""
        if state.batch == self._steps - 2:
            self._keep(state.net)

    def epoch(self, state: nn.TrainingState) -> None:
        """After an epoch, everything is taken down."""
        net = state.net
        assert isinstance(net, nn.Sequential)
        if self._first is None:
            self._first = state.epoch + 1
            if state.epoch and self._steps == 1:
                self._before = {}  # what was kept is not what the training has gone on from
        for name, parameter in net.named_parameters().items():
            value, before = parameter.value, self._before.get(name)
            self.weights.setdefault(name, Ranges()).note(value)
            moved = math.nan
            if before is not None:
                moved = float(np.linalg.norm(value - before)) / max(float(np.linalg.norm(before)), 1e-12)
            self.updates.setdefault(name, []).append(moved)
        self._keep(net)
        if len(self._x):
            self._look(net)

    def _look(self, net: nn.Sequential) -> None:
        """The few samples forward and back, layer by layer."""
        values, ways = self._x, []
        for i, layer in enumerate(net):
            values, way = layer.vjp(values, training=False)
            ways.append(way)
            self.activations.setdefault(_layer_name(i, layer), Ranges()).note(values)
        _, gradient = self._loss.vjp(values, self._y)
        for i in reversed(range(len(net))):
            self.gradients.setdefault(_layer_name(i, net[i]), Ranges()).note(gradient)
            gradient = ways[i](gradient)

    def write(self, trained: Trained) -> None:
        """Write the page; it appears whole or not at all.

        Raises
        ------
        OSError
            The file cannot be written; one that was there before is still whole.
        """
        text = page(
            f"How {trained.model.record['data']['name']} was learned",
            self._intro(trained),
            self._charts(trained),
        )
        write_whole(os.path.realpath(self.path), lambda file: file.write(text.encode("utf-8", "replace")))

    def _intro(self, trained: Trained) -> list[str]:
        record = trained.model.record
        lines = [f"Net: {trained.model.spec}", f"Learned from {record['learned_from']:,} samples."]
        if trained.held_out is not None:
            lines.append(f"Held out: {trained.held_out.line}.")
        if trained.interrupted:
            lines.append("Interrupted before its last epoch.")
        return lines

    def _charts(self, trained: Trained) -> dict[str, list[Chart]]:
        history = trained.history
        over_time = [
            Chart("loss", {"learned from": history.loss, "held out": history.validation_loss}),
            Chart("accuracy", {"learned from": history.accuracy, "held out": history.validation_accuracy}),
            Chart("learning rate", {"rate": history.lr}),
        ]
        bands = {
            "activations": self.activations,
            "gradients": dict(reversed(self.gradients.items())),
            "weights": self.weights,
        }
        first = self._first or 1
        charts: dict[str, list[Chart]] = {"Over the epochs": over_time}
        for title, ranges in bands.items():
            charts[f"Ranges of {title}"] = [
                Chart(name, {}, Band(each.low, each.mean, each.high), first=first)
                for name, each in ranges.items()
            ]
        charts["Updates: how far a step moves, as a part of the weights"] = [
            Chart(name, {"part": line}, logarithmic=True, first=first) for name, line in self.updates.items()
        ]
        return charts


def _layer_name(number: int, layer: nn.Layer) -> str:
    text = repr(layer)
    return f"{number} {text if len(text) <= 60 else type(layer).__name__}"
