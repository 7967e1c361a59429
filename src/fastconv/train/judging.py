"""`fastconv predict` and `fastconv evaluate`: a model put to use, and measured."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastconv.data import Dataset, open_dataset
from fastconv.functional import softmax
from fastconv.tables import table
from fastconv.terminal import (
    PICTURES,
    CommandError,
    check_files,
    counting,
    need,
    open_console,
    printable,
    writing,
)
from fastconv.train.command import one_line, say, say_skipped
from fastconv.train.evaluation import Evaluation
from fastconv.train.evaluation import evaluate as measure
from fastconv.train.model import Model
from fastconv.train.model_file import load_model
from fastconv.train.options import GALLERY, PICTURE
from fastconv.train.settings import Settings
from fastconv.train.unfinished import fingerprint

#: Of many classes, those with the largest votes are shown; and matrices of no more are printed.
SHOWN, WIDEST = 5, 20

#: Files that are judged together, at most.
TOGETHER = 32


# ---- predict -------------------------------------------------------------------------------------------


def predict(arguments: argparse.Namespace) -> None:
    """Say what files show. A file that cannot be read is told on standard error, and counted at the end.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    """
    given = vars(arguments)
    with one_line():
        model = load_model(given["model"])
        writer: _Lines = _Json() if "json" in given else _Csv() if "csv" in given else _Lines()
        good = bad = 0
        writer.begin(model)
        for paths, votes, failed in judged(model, names(given["files"])):
            for path, row in zip(paths, votes):
                writer.write(path, row)
            for path, why in failed:
                sys.stdout.flush()
                sys.stderr.write(f"fastconv predict: {printable(path)}: {printable(why)}\n")
            good, bad = good + len(paths), bad + len(failed)
        writer.end()
    if bad:
        raise CommandError(f"{bad:,} of {good + bad:,} files could not be read")
    if not good:
        raise CommandError("-: standard input names no file")


def names(files: Iterable[str]) -> Iterator[str]:
    """The names given, and for "-" those on standard input, one a line."""
    for file in files:
        if file == "-":
            for line in sys.stdin:
                if line.strip():
                    yield line.rstrip("\r\n")
        else:
            yield file


def judged(
    model: Model, paths: Iterable[str]
) -> Iterator[tuple[list[str], np.ndarray, list[tuple[str, str]]]]:
    """Files in groups: names, votes (n, K), and those that could not be read with the reason."""
    step = min(TOGETHER, model.batch_size)
    good: list[str] = []
    failed: list[tuple[str, str]] = []
    arrays: list[np.ndarray] = []
    for path in paths:
        try:
            arrays.append(model.preprocessing.read(path))
            good.append(path)
        except OSError as error:
            failed.append((path, error.strerror or str(error)))
        except ValueError as error:
            failed.append((path, str(error).removeprefix(f"{path}: ")))
        if len(arrays) == step:
            yield good, model.votes(np.stack(arrays)), failed
            good, failed, arrays = [], [], []
    votes = model.votes(np.stack(arrays)) if arrays else np.empty((0, len(model.classes)), np.float32)
    yield good, votes, failed


class _Lines:
    """A line per file, for people."""

    classes: tuple[str, ...]

    def begin(self, model: Model) -> None:
        """Before the first."""
        self.classes = model.classes

    def write(self, path: str, votes: np.ndarray) -> None:
        """One file."""
        shares = softmax(votes.astype(np.float64), -1)
        order = np.argsort(-votes, kind="stable")
        told = [
            f"{self.classes[i]} {votes[i]:.2f}"
            for i in (range(len(votes)) if len(votes) <= SHOWN else order[:SHOWN])
        ]
        more = ", ..." if len(votes) > SHOWN else ""
        winner = order[0]
        print(printable(f"{path}: {', '.join(told)}{more}  -> {self.classes[winner]} ({shares[winner]:.1%})"))

    def end(self) -> None:
        """After the last."""


class _Json(_Lines):
    """A list of objects, written as they come."""

    def begin(self, model: Model) -> None:
        super().begin(model)
        self._between = "["

    def write(self, path: str, votes: np.ndarray) -> None:
        shares = softmax(votes.astype(np.float64), -1)
        told = {
            "file": path,
            "class": self.classes[int(votes.argmax())],
            "votes": dict(zip(self.classes, map(float, votes))),
            "probabilities": dict(zip(self.classes, map(float, shares))),
        }
        print(self._between + json.dumps(told), end="")
        self._between = ",\n"

    def end(self) -> None:
        print("[]" if self._between == "[" else "]")


class _Csv(_Lines):
    """A table with a head; a vote per class."""

    def begin(self, model: Model) -> None:
        super().begin(model)
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(map(_encodable, ["file", "class", "probability", *self.classes]))

    def write(self, path: str, votes: np.ndarray) -> None:
        shares = softmax(votes.astype(np.float64), -1)
        best = int(votes.argmax())
        row = [path, self.classes[best], f"{shares[best]:.6g}", *(f"{vote:.6g}" for vote in votes)]
        self._writer.writerow(map(_encodable, row))


def _encodable(text: str) -> str:
    """As it is, if standard output can have it."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return printable(text)
    return text


# ---- evaluate ------------------------------------------------------------------------------------------


def evaluate(arguments: argparse.Namespace) -> None:
    """Measure a model with data.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    """
    given = vars(arguments)
    pictures = _picture_files(given)
    console = open_console()
    with one_line():
        model = load_model(given["model"])
        dataset = open_dataset(given["data"], preprocessing=model.preprocessing, classes=model.classes)
        known = _is_known(model, dataset)
        held_out = None
        if "held_out" in given:
            if not known:
                raise CommandError(f"--held-out: {given['data']} is not what the model was trained with")
            settings = Settings.from_json(model.record["settings"])
            held_out = dataset.split(settings.held_out, settings.seed)[1]
        with counting("samples") as progress:
            found = measure(model, dataset, held_out, progress=progress)
        if not len(found.labels):
            raise CommandError(f"{given['data']}: none of its samples can be read")
        told = {
            "model": given["model"],
            "data": given["data"],
            **found.to_json(),
            "skipped": len(dataset.skipped),
        }
        if "json" in given:
            print(json.dumps(told))
        else:
            say(console, *report(found))
            say_skipped(console, dataset.skipped)
            if known and held_out is None:
                count = model.record.get("learned_from")
                say(
                    console,
                    f"The model has learned from {count:,} of these; --held-out measures with the others.",
                )
        if pictures is None:
            return
        from fastconv.train.pictures import draw_evaluation, draw_mistakes

        with writing("--picture", pictures[0]):
            draw_evaluation(pictures[0], found)
        written = [f"Confusion and calibration: {pictures[0]}"]
        if len(found.mistakes()):
            with writing("--gallery", pictures[1]):
                draw_mistakes(pictures[1], found, dataset)
            written.append(f"The surest mistakes: {pictures[1]}")
        if "json" not in given:
            say(console, *written)


def _is_known(model: Model, dataset: Dataset) -> bool:
    """Whether this is the data that the model was trained with."""
    data = model.record.get("data")
    return isinstance(data, dict) and data.get("fingerprint") == fingerprint(dataset)


def _picture_files(given: dict[str, Any]) -> tuple[str, str] | None:
    """Where pictures go; refused before anything is computed if they cannot."""
    if "no_pictures" in given:
        for option in ("picture", "gallery"):
            if option in given:
                raise CommandError(f"--{option} {given[option]}: contradicts --no-pictures")
        return None
    need("matplotlib.figure", "matplotlib")
    paths = given.get("picture", PICTURE), given.get("gallery", GALLERY)

    def note(option: str) -> str:
        return "" if option[2:] in given else " (the default; --no-pictures draws none)"

    wanted = dict(zip(("--picture", "--gallery"), paths))
    inputs = [given["model"], given["data"]]
    check_files(wanted, inputs, "model or the data", dict.fromkeys(wanted, PICTURES), note)
    return paths


def report(found: Evaluation) -> list[str]:
    """What a model is worth, in lines."""
    lines = [f"{found.line}.", f"Mean loss {found.loss:.4g}.", ""]
    rows = [("class", "samples", "precision", "recall")]
    for name, count, precision, recall in zip(
        found.classes, found.confusion.sum(axis=1), found.precision, found.recall
    ):
        rows.append((printable(name), f"{count:,}", _share(precision), _share(recall)))
    lines += [*table(rows, "<>>>"), ""]
    lines += _confusion_lines(found)
    lines += ["", f"Calibration: sureness and accuracy are {found.calibration_error():.2%} apart on average."]
    sure = [("how sure", "samples", "right")]
    for each in found.reliability(10):
        if each.count:
            sure.append((f"{each.confidence:.1%}", f"{each.count:,}", f"{each.accuracy:.1%}"))
    return [*lines, *table(sure, ">>>")]


def _confusion_lines(found: Evaluation) -> list[str]:
    """The matrix if it is small, and what is most often taken for what."""
    lines: list[str] = []
    if len(found.classes) <= WIDEST:
        short = [
            printable(name) if len(printable(name)) <= 12 else f"{printable(name)[:11]}~"
            for name in found.classes
        ]
        rows = [("is \\ taken for", *short)]
        rows += [(name, *map(str, row)) for name, row in zip(short, found.confusion.tolist())]
        lines += table(rows, "<" + ">" * len(short))
    wrong = found.confusion.copy()
    np.fill_diagonal(wrong, 0)
    worst = np.argsort(-wrong, axis=None, kind="stable")[:SHOWN]
    pairs = [divmod(int(place), len(found.classes)) for place in worst if wrong.flat[place]]
    if pairs:
        told = [
            f"{found.classes[is_]} for {found.classes[taken]} ({wrong[is_, taken]:,})" for is_, taken in pairs
        ]
        lines.append(f"Most often mistaken: {', '.join(told)}.")
    return lines


def _share(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1%}"
