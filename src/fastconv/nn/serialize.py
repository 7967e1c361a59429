"""A net in one file: its architecture as JSON, its arrays beside it, nothing that could run."""

from __future__ import annotations

import inspect
import os
from typing import Any

import numpy as np

from fastconv.nn import layers as known_layers
from fastconv.nn.archive import Archive, read_archive, write_archive
from fastconv.nn.layers.base import Layer

#: How many containers may stand inside each other in a file.
DEPTH = 64

_LAYERS: dict[str, type[Layer]] = {
    name: getattr(known_layers, name) for name in known_layers.__all__ if name != "Layer"
}


def save(net: Layer, path: str | os.PathLike[str]) -> None:
    """Write a net, architecture and arrays, to one file that `load` reads.

    The file is a .npz whatever its name. It appears whole or not at all. Generators (of `Dropout`) are not
    saved.

    Parameters
    ----------
    net : Layer
        Made of the layers of `fastconv.nn`; for layers of your own save `net.state_dict()`.
    path : str or path

    Raises
    ------
    TypeError, ValueError
        `net` is no layer, holds one of your own, or nests deeper than 64.
    OSError
        The file cannot be written; one that was there before is still whole.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from fastconv import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.Flatten())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.save(net, os.path.join(folder, "net.npz"))
    ...     again = nn.load(os.path.join(folder, "net.npz"))
    >>> again
    Sequential(Conv2d(in_channels=1, out_channels=2, kernel_size=3), Flatten())
    >>> bool((again[0].weight.value == net[0].weight.value).all())
    True
    """
    if not isinstance(net, Layer):
        raise TypeError(f"net: must be a layer, not {type(net).__name__}")
    numbers: dict[int, int] = {}
    entries: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    _add(net, numbers, entries, arrays, 0)
    write_archive(path, "net", {"layers": entries}, arrays)


def _add(
    layer: Layer,
    numbers: dict[int, int],
    entries: list[dict[str, Any]],
    arrays: dict[str, np.ndarray],
    depth: int,
) -> None:
    """Append a layer, after the layers inside it, unless it is there already."""
    if id(layer) in numbers:
        return
    name = type(layer).__name__
    if _LAYERS.get(name) is not type(layer):
        raise TypeError(f"net: {name} is not a layer of fastconv.nn; save net.state_dict() instead")
    if depth == DEPTH:
        raise ValueError(f"net: containers stand more than {DEPTH} deep inside each other")
    for child in layer.children().values():
        _add(child, numbers, entries, arrays, depth + 1)
    number = numbers[id(layer)] = len(entries)
    entries.append(
        {"type": name, "arguments": {k: _encode(v, numbers) for k, v in layer.arguments().items()}}
    )
    inside = {path for path in layer.named_buffers() if "." not in path}
    arrays.update({f"{number}.{path}": layer.named_buffers()[path].value for path in sorted(inside)})


def _encode(value: Any, numbers: dict[int, int]) -> Any:
    if isinstance(value, Layer):
        return {"layer": numbers[id(value)]}
    if isinstance(value, tuple):
        return [_encode(entry, numbers) for entry in value]
    return value.name if isinstance(value, np.dtype) else value


def load(path: str | os.PathLike[str]) -> Layer:
    """Read a net that `save` wrote.

    Nothing in the file is executed or unpickled: it names layers of `fastconv.nn` and their arguments, which
    pass the same checks as when called, and arrays of exactly the shapes that follow from them. A file that
    claims more than it holds is refused before anything of that size is allocated.

    Raises
    ------
    ValueError
        Not such a file, a damaged one, or one with unknown layers or wrong shapes; one message that names it.
    OSError
        The file cannot be read.

    Examples
    --------
    See `save`.
    """
    with read_archive(path, "net") as archive:
        entries = archive.header.get("layers")
        if not isinstance(entries, list) or not entries:
            raise ValueError("its header lists no layers")
        made: list[Layer] = []
        depths: dict[int, int] = {}
        for number, entry in enumerate(entries):
            layer = _make(number, entry, made, archive)
            depths[id(layer)] = 1 + max((depths[id(child)] for child in layer.children().values()), default=0)
            if depths[id(layer)] > DEPTH + 1:
                raise ValueError(f"containers stand more than {DEPTH} deep inside each other")
            made.append(layer)
        archive.finish()
    return made[-1]


class _SavedArrays:
    """Where a layer under construction finds its arrays instead of drawing them."""

    def __init__(self, archive: Archive, number: int) -> None:
        self._archive, self._number = archive, number

    def take(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return self._archive.take(f"{self._number}.{name}", shape, dtype)


def _make(number: int, entry: Any, made: list[Layer], archive: Archive) -> Layer:
    if (
        not isinstance(entry, dict)
        or set(entry) != {"type", "arguments"}
        or not isinstance(entry["arguments"], dict)
    ):
        raise ValueError(f"layer {number} is not described by a type and arguments")
    cls = _LAYERS.get(entry["type"]) if isinstance(entry["type"], str) else None
    if cls is None:
        raise ValueError(f"layer {number} is of unknown type {entry['type']!r}")
    parameters = {name: p for name, p in inspect.signature(cls).parameters.items() if name != "rng"}
    if set(entry["arguments"]) != set(parameters):
        raise ValueError(
            f"layer {number}, {cls.__name__}, must have the arguments {', '.join(parameters) or 'none'}"
        )
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for name, value in entry["arguments"].items():
        decoded = _decode(value, made)
        if parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            positional.extend(decoded)
        else:
            named[name] = decoded
    layer = cls.__new__(cls)
    vars(layer)["_saved"] = _SavedArrays(archive, number)
    cls.__init__(layer, *positional, **named)
    del vars(layer)["_saved"]
    return layer


def _decode(value: Any, made: list[Layer]) -> Any:
    if isinstance(value, dict):
        number = value.get("layer")
        if set(value) != {"layer"} or type(number) is not int or not 0 <= number < len(made):
            raise ValueError(f"{value!r} names no earlier layer")
        return made[number]
    if isinstance(value, list):
        return tuple(_decode(entry, made) for entry in value)
    return value
