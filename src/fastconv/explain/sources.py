"""A model and an input as the command line names them: what is walked, and what it is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.explain.deck import PICTURES, deck_walk
from fastconv.explain.walking import Walk, walk
from fastconv.terminal import CommandError
from fastconv.xo import DECK, LETTERS, PictureError, load_model, read_picture

#: The network made by hand, in the place of a file.
HAND_MADE = "deck"

#: Most bytes of a file with names of classes.
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """What is to be explained.

    Attributes
    ----------
    seen : Walk
    title, name : str
        Of the net and of the input.
    target : int or None
        The right class, where it is known.
    """

    seen: Walk
    title: str
    name: str
    target: int | None = None


def open_source(
    model: str,
    file: str | None,
    *,
    classes: str | None = None,
    label: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Source:
    """Read a model and an input, and take one through the other.

    Parameters
    ----------
    model : str
        An .fcn, .onnx or .npz file, or "deck".
    file : str, optional
        The input; for "deck" also the name of one of the ten pictures.
    classes : str, optional
        A file with names, one a line.
    label : str, optional
        The right class, by name.
    mean, std : sequence of float, optional
        What pixels for an ONNX model are normalised by.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    """
    is_onnx = model.lower().endswith(".onnx")
    for option, told in (("--mean", mean), ("--std", std), ("--classes", classes)):
        if told is not None and not is_onnx:
            raise CommandError(f"{option}: goes with an .onnx model; {model} knows that itself")
    if file is None and model != HAND_MADE:
        raise CommandError(f"{model}: nothing to look at; name a file behind it")
    try:
        if model == HAND_MADE:
            source = _hand_made(file or PICTURES[0])
        elif is_onnx:
            source = _onnx(model, str(file), classes, mean, std)
        elif model.lower().endswith(".npz"):
            source = _of_xo(model, str(file))
        else:
            source = _trained(model, str(file))
        return source if label is None else replace(source, target=_labelled(source.seen, label))
    except PictureError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename or model}: {error.strerror or error}") from None
    except (TypeError, ValueError, MemoryError) as error:
        text = str(error)
        raise CommandError(text if model in text else f"{model}: {text}") from None


def _labelled(seen: Walk, label: str) -> int:
    if label not in seen.classes:
        raise CommandError(f"--label {label}: must be one of {', '.join(seen.classes[:20])}")
    return seen.classes.index(label)


def _hand_made(name: str) -> Source:
    if name in PICTURES:
        return Source(deck_walk(name), "the network made by hand", name, DECK[PICTURES.index(name)].label)
    if not os.path.exists(name):
        raise CommandError(f"{name}: no such file, and none of {', '.join(PICTURES)}")
    return Source(deck_walk(read_picture(name)), "the network made by hand", os.path.basename(name))


def _of_xo(model: str, file: str) -> Source:
    network, knobs, _ = load_model(model)
    seen = walk(network, read_picture(file, knobs.size), classes=LETTERS, loss=nn.TotalAbsoluteError())
    return Source(seen, os.path.basename(model), os.path.basename(file))


def _trained(model: str, file: str) -> Source:
    """A model of `fastconv train`, which says itself how inputs are prepared."""
    from fastconv.train import load_model

    found = load_model(model)
    settings = found.record.get("settings")
    by_error = isinstance(settings, dict) and settings.get("loss") == "error"
    loss = nn.TotalAbsoluteError() if by_error else nn.CrossEntropyLoss()
    array, net, name = found.preprocessing.read(file), found.net, os.path.basename(file)
    if found.preprocessing.rows is not None:  # numbers of words are no map: what they stand for is the first
        array, net, name = net[0](array[None])[0], net[1:], f"{name}, each word as its row of the table"
    seen = walk(net, np.asarray(array, np.float32), classes=found.classes, loss=loss)
    return Source(seen, os.path.basename(model), name)


def _onnx(
    model: str,
    file: str,
    classes: str | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Source:
    from fastconv.interop.command import load
    from fastconv.interop.files import read_arrays, read_input

    graph = load(model)
    if len(graph.inputs) != 1:
        raise CommandError(f"{model}: has {len(graph.inputs)} inputs; must have one")
    value = graph.inputs[0]
    array: Any
    if os.path.splitext(file)[1].lower() in (".npy", ".npz"):
        array = read_arrays(file)
        if isinstance(array, dict):
            if len(array) != 1:
                raise CommandError(f"{file}: holds {', '.join(array) or 'nothing'}; must hold one array")
            (array,) = array.values()
    else:
        array = read_input(file, value, mean, std)
    if value.shape is not None and array.ndim == len(value.shape):
        if len(array) != 1:
            raise CommandError(f"{file}: holds {len(array)} inputs; must hold one, (1, ...)")
        array = array[0]
    names = None if classes is None else _names(classes)
    seen = walk(graph, array, classes=names)
    return Source(seen, os.path.basename(model), os.path.basename(file))


def _names(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CommandError(f"--classes {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise CommandError(f"--classes {path}: is no text in UTF-8") from None
    if len(text) > MOST_BYTES:
        raise CommandError(f"--classes {path}: is longer than {MOST_BYTES} characters")
    return [line.strip() for line in text.splitlines() if line.strip()]
