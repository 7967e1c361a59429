"""`fastconv explain` and `fastconv order-sensitivity`: what a net sees, and whether data are for ConvNets."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import numpy as np

from fastconv.data import Dataset, open_dataset
from fastconv.explain.learner import EPOCHS, Learner, fully_connected
from fastconv.explain.options import PAGE, PICTURE
from fastconv.explain.order import OrderSensitivity, order_sensitivity
from fastconv.explain.page import write_page
from fastconv.explain.sources import HAND_MADE, Source, open_source
from fastconv.geometry import axis_number
from fastconv.terminal import PICTURES, CommandError, check_files, counting, need, printable, taken, writing
from fastconv.train import Settings, parse_net, spec_of
from fastconv.train.command import data_options, one_line

#: Samples that are used unless told otherwise, and bytes that they may take, prepared.
SAMPLES_USED, MOST_BYTES = 2000, 1 << 30


def explain(arguments: argparse.Namespace) -> None:
    """Write the page about one input, or draw it.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    """
    given = vars(arguments)
    model, file = _named(given)
    targets = _targets(given, model, file)
    known = {name: given[name] for name in ("classes", "label", "mean", "std") if name in given}
    source = open_source(model, file, **known)
    for option, path in targets.items():
        with writing(option, path):
            _write(option, path, source)


def _named(given: dict[str, Any]) -> tuple[str, str | None]:
    """The model and the input, however they were given."""
    files = list(given.get("files", ()))
    model = given.get("model") or (files.pop(0) if files else None)
    if model is None:
        raise CommandError("no model: name an .fcn, .onnx or .npz file, or deck")
    if len(files) > 1:
        raise CommandError(f"{files[1]}: one input at a time; the first is {files[0]}")
    return model, files[0] if files else None


def _targets(given: dict[str, Any], model: str, file: str | None) -> dict[str, str]:
    """What is written, by the option that asks for it; refused before anything is computed."""
    targets = {f"--{name}": given[name] for name in ("output", "png") if name in given} or {"--output": PAGE}
    inputs = [each for each in (file, None if model == HAND_MADE else model) if each is not None]
    check_files(targets, inputs, "input", {"--png": PICTURES})
    if "png" in given:
        need("matplotlib", "matplotlib")
    return targets


def _write(option: str, path: str, source: Source) -> None:
    told: dict[str, Any] = {"title": source.title, "name": source.name, "target": source.target}
    if option == "--png":
        from fastconv.explain.picture import draw

        draw(path, source.seen, **told)
        print(f"Picture written to {printable(path)}")
        return
    size = write_page(path, source.seen, **told)
    winner = source.seen.classes[int(source.seen.votes.argmax())]
    print(f"{printable(source.name)} is taken for {printable(winner)}.")
    print(f"Page written to {printable(path)}: {size / 1e6:.1f} MB, to be opened in any browser")


# ---- order-sensitivity --------------------------------------------------------------------------------


def order(arguments: argparse.Namespace) -> None:
    """Measure whether the order along an axis matters.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    """
    given = vars(arguments)
    picture = _picture_of(given)
    with one_line():
        axis = given.get("axis", -1)
        settings = Settings(net="deck", epochs=EPOCHS).replaced(**taken(given, ("net", "epochs", "seed")))
        X, y, groups, dataset = _samples(given)
        where = axis_number("axis", axis, X.ndim - 1) + 1
        if X.shape[where] < 2:
            raise CommandError(f"--axis {axis}: has {X.shape[where]} place; samples are {X.shape[1:]}")
        make, spec = _maker(settings, dataset, X.shape[1:])
        with counting("orders") as on_round:
            found = order_sensitivity(
                make,
                X,
                y,
                where,
                given.get("permutations", 20),
                groups,
                cv=given.get("folds", 3),
                control=fully_connected(X.shape[1:], len(dataset.classes), epochs=settings.epochs),
                on_round=on_round,
                **taken(given, ("margin", "seed")),
            )
        if picture is not None:
            with writing("--output", picture):
                found.draw(picture)
    if given.get("json"):
        print(json.dumps({"axis": axis, "net": spec, **_told(found)}))
        return
    print(f"{len(X):,} samples of shape {X.shape[1:]}; the net: {printable(spec)}")
    print(found)
    if picture is not None:
        print(f"Picture written to {printable(picture)}")


def _picture_of(given: dict[str, Any]) -> str | None:
    """Where the picture goes, or None; refused before anything is computed."""
    if given.get("no_picture"):
        if "output" in given:
            raise CommandError(f"--output {given['output']}: contradicts --no-picture")
        return None
    path: str = given.get("output", PICTURE)
    check_files({"--output": path}, [given["data"]], "data", {"--output": PICTURES})
    need("matplotlib", "matplotlib")
    return path


def _samples(given: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, Dataset]:
    """The samples as a net gets them, at most so many of them, evenly drawn; what of them can be read."""
    dataset = open_dataset(given["data"], **data_options(given)).fitted()
    room = MOST_BYTES // (4 * math.prod(dataset.preprocessing.shape))
    most = min(given.get("samples", SAMPLES_USED), max(2, room))
    rng = np.random.default_rng(given.get("seed", 0))
    chosen = np.sort(rng.permutation(len(dataset))[:most])
    X, y, kept = dataset.take(chosen)
    groups = None if dataset.groups is None else dataset.groups[chosen[kept]]
    return X, y, groups, dataset


def _maker(settings: Settings, dataset: Dataset, shape: tuple[int, ...]) -> tuple[Any, str]:
    """What makes a new net from a seed, and the net in words."""
    spec = spec_of(settings.net, shape)

    def make(seed: int) -> Learner:
        net = parse_net(spec, shape, len(dataset.classes), np.random.default_rng(seed))
        return Learner(net, seed, settings.epochs)

    make(0)  # a spec that does not fit is refused before anything is trained
    return make, spec


def _told(found: OrderSensitivity) -> dict[str, Any]:
    told = {
        "original": found.original,
        "permuted": found.permuted.tolist(),
        "control_original": found.control_original,
        "control_permuted": found.control_permuted.tolist(),
        "drop": found.drop,
        "interval": list(found.interval),
    }
    return {**told, "p": found.p, "margin": found.margin, "verdict": found.verdict}
