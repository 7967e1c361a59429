"""`fastconv explain` and `fastconv order-sensitivity`: what a net sees, and whether data are for ConvNets."""

from __future__ import annotations

import argparse
import os
from typing import Any

from fastconv.explain.options import PAGE
from fastconv.explain.page import write_page
from fastconv.explain.sources import HAND_MADE, Source, open_source
from fastconv.terminal import CommandError, need, printable, write_fault


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
        try:
            _write(option, path, source)
        except OSError as error:
            raise CommandError(f"{option} {path}: {error.strerror or error}") from None


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
    for option, path in targets.items():
        fault = write_fault(path, inputs, "input")
        if fault is not None:
            raise CommandError(f"{option} {path}: {fault}")
    if len({os.path.realpath(path) for path in targets.values()}) < len(targets):
        raise CommandError(f"--png {given['png']}: is the file that --output writes")
    if "png" in given:
        need("matplotlib", "matplotlib")
        if os.path.splitext(given["png"])[1].lower() not in (".png", ".svg", ".pdf"):
            raise CommandError(f"--png {given['png']}: must end in .png, .svg or .pdf")
    return targets


def _write(option: str, path: str, source: Source) -> None:
    told = {"title": source.title, "name": source.name, "target": source.target}
    if option == "--png":
        from fastconv.explain.picture import draw

        draw(path, source.seen, **told)
        print(f"Picture written to {printable(path)}")
        return
    size = write_page(path, source.seen, **told)
    winner = source.seen.classes[int(source.seen.votes.argmax())]
    print(f"{printable(source.name)} is taken for {printable(winner)}.")
    print(f"Page written to {printable(path)}: {size / 1e6:.1f} MB, to be opened in any browser")
