"""A network in a file, with its knobs and how it was taught, so that it need not learn again."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from fastconv import nn
from fastconv.nn.archive import read_archive, write_archive
from fastconv.xo.generator import Variation
from fastconv.xo.knobs import Knobs
from fastconv.xo.network import build_network
from fastconv.xo.training import Lesson, check_memory

#: What the file says it holds.
KIND = "xo network"


def save_model(path: str | os.PathLike[str], network: nn.Sequential, knobs: Knobs, lesson: Lesson) -> None:
    """Write a network to a file that `load_model` reads; it appears whole or not at all.

    Parameters
    ----------
    path : str or path
    network : nn.Sequential
        From `build_network(knobs)`.
    knobs : Knobs
    lesson : Lesson
        How it was taught: from that follows which pictures it has not seen.

    Raises
    ------
    OSError
        The file cannot be written; one that was there before is still whole.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastconv.xo import Knobs, Lesson, build_network, load_model, save_model
    >>> knobs = Knobs(features=(4,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.npz")
    ...     save_model(path, build_network(knobs), knobs, Lesson())
    ...     load_model(path)[1].features
    (4,)
    """
    header = {"knobs": asdict(knobs), "lesson": asdict(lesson)}
    write_archive(path, KIND, header, network.state_dict())


def load_model(path: str | os.PathLike[str]) -> tuple[nn.Sequential, Knobs, Lesson]:
    """Read a network that `save_model` wrote.

    Nothing in the file is executed or unpickled, and nothing of a size that its knobs may not have is
    allocated.

    Returns
    -------
    network, knobs, lesson

    Raises
    ------
    ValueError
        Not such a file, or a damaged one; the message names it.
    OSError
        The file cannot be read.
    """
    with read_archive(path, KIND) as archive:
        knobs = Knobs(**_fields(archive.header.get("knobs")))
        about = _fields(archive.header.get("lesson"))
        lesson = Lesson(**{**about, "variation": Variation(**_fields(about.get("variation")))})
        check_memory(knobs, lesson)
        network = build_network(knobs, 0)
        buffers = network.named_buffers()
        network.load_state_dict(
            {
                name: archive.take(name, buffer.value.shape, buffer.value.dtype)
                for name, buffer in buffers.items()
            }
        )
        archive.finish()
    return network, knobs, lesson


def _fields(entry: Any) -> dict[str, Any]:
    """A JSON object as keyword arguments."""
    if not isinstance(entry, dict):
        raise ValueError(f"its header has {entry!r} where knobs should be")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
