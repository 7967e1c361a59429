"""A net in one file: its architecture as JSON, its arrays beside it, nothing that could run."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastconv.nn import layers as known_layers
from fastconv.nn.archive import Archive, File, file_name, read_archive, write_archive
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.inside import things_inside
from fastconv.nn.parameter import Buffer

#: How many containers may stand inside each other in a file.
DEPTH = 64

_LAYERS: dict[str, type[Layer]] = {
    name: getattr(known_layers, name) for name in known_layers.__all__ if name != "Layer"
}


def save(net: Layer, path: File) -> None:
    """Write a net, architecture and arrays, to one file that `load` reads.

    The file is a .npz whatever its name. It appears whole or not at all: it is made beside the old one, which
    it then replaces, keeping its mode; where `path` is a symbolic link, what that names is replaced. A file
    object is written to once all of the file is made. Generators (of `Dropout`) are not saved.

    Parameters
    ----------
    net : Layer
        Layers of your own in it are written as the name of their class and the arguments of `__init__`, which
        they keep under their own names: numbers, words, None, layers, and lists, tuples and dicts of them.
    path : str, path or binary file object

    Raises
    ------
    TypeError, ValueError
        `net` is no layer, nests deeper than 64, or has a layer of your own with an argument that it does not
        keep or that is something else; then nothing has been written.
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
    writer = _Writer()
    writer.add(net, 0)
    write_archive(path, "net", {"layers": writer.entries}, writer.arrays)


class _Writer:
    """The layers of a net as entries of a header, each after the layers it is made with, and their arrays."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.arrays: dict[str, np.ndarray] = {}
        self._numbers: dict[int, int] = {}  # of layers
        self._written: set[int] = set()  # buffers
        self._own: dict[str, type[Layer]] = {}

    def add(self, layer: Layer, depth: int) -> None:
        """Append a layer unless it is there already."""
        if id(layer) in self._numbers:
            return
        cls = type(layer)
        own = _LAYERS.get(cls.__name__) is not cls
        if own and (cls.__name__ in _LAYERS or self._own.setdefault(cls.__name__, cls) is not cls):
            raise TypeError(f"net: two classes of layers are named {cls.__name__}; a file tells them by name")
        if depth == DEPTH:
            raise ValueError(f"net: containers stand more than {DEPTH} deep inside each other")
        arguments = layer.arguments()
        missing = [name for name in _arguments_of(cls) if name not in arguments]
        if missing:
            raise TypeError(f"net: {cls.__name__} does not keep its argument {missing[0]!r} under that name")
        for value in arguments.values():
            for _, inner in things_inside(value, Layer):
                self.add(inner, depth + 1)
        number = self._numbers[id(layer)] = len(self.entries)
        encoded = {
            name: self._encode(f"{cls.__name__}: argument {name}", value) for name, value in arguments.items()
        }
        buffers = _not_yet(layer, self._written)
        self.arrays.update({f"{number}.{path}": buffer.value for path, buffer in buffers.items()})
        entry: dict[str, Any] = {"type": cls.__name__, "arguments": encoded}
        if own:
            entry["own"] = {path: buffer.value.dtype.name for path, buffer in buffers.items()}
        self.entries.append(entry)

    def _encode(self, name: str, value: Any) -> Any:
        if isinstance(value, (np.generic, np.dtype)):
            value = value.item() if isinstance(value, np.generic) else value.name
        if value is None or isinstance(value, (str, bool, int, float)):
            return value
        if isinstance(value, Layer):
            return {"layer": self._numbers[id(value)]}
        if isinstance(value, tuple):
            return [self._encode(name, entry) for entry in value]
        if isinstance(value, list):
            return {"list": [self._encode(name, entry) for entry in value]}
        if isinstance(value, dict):
            return {"dict": [[self._encode(name, part) for part in pair] for pair in value.items()]}
        if isinstance(value, type) and issubclass(value, np.generic):
            return np.dtype(value).name
        raise TypeError(
            f"net: {name}: a {type(value).__name__} cannot be written to a file; save net.state_dict()"
        )


def _not_yet(layer: Layer, known: set[int]) -> dict[str, Buffer]:
    """The buffers of a layer and all inside that are not known from layers before; from now on they are."""
    found = {path: buffer for path, buffer in layer.named_buffers().items() if id(buffer) not in known}
    known.update(map(id, found.values()))
    return found


def _arguments_of(cls: type[Layer]) -> dict[str, inspect.Parameter]:
    """The arguments of a layer's class that a file holds."""
    return {name: p for name, p in inspect.signature(cls).parameters.items() if name != "rng"}


def load(path: File, layers: Iterable[type[Layer]] = ()) -> Layer:
    """Read a net that `save` wrote.

    Nothing in the file is executed or unpickled: it names layers of `fastconv.nn`, and those of `layers`, and
    their arguments, which pass the same checks as when called, and arrays of exactly the shapes that follow
    from them. A file that claims more than it holds is refused before anything of that size is allocated.

    Parameters
    ----------
    path : str, path or binary file object
    layers : classes of layers, optional
        Your own that are in the net: called with the arguments that the file holds for them.

    Raises
    ------
    TypeError, ValueError
        Something in `layers` that is no class of layers, or has the name of another.
    ValueError
        Not such a file, a damaged one, or one with unknown layers or wrong shapes, in one message that names
        it; or a layer of your own whose class is not in `layers`.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> from fastconv import nn
    >>> class Block(nn.Layer):
    ...     def __init__(self, channels):
    ...         self.channels = channels
    ...         self.steps = [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    ...     def __call__(self, input):
    ...         for step in self.steps:
    ...             input = step(input)
    ...         return input
    >>> file = io.BytesIO()
    >>> nn.save(nn.Sequential(Block(2), nn.Flatten()), file)
    >>> file.seek(0)
    0
    >>> nn.load(file, layers=[Block])
    Sequential(Block(channels=2), Flatten())
    """
    known = _known(layers)
    missing: list[str] = []
    with read_archive(path, "net") as archive:
        entries = archive.header.get("layers")
        if not isinstance(entries, list) or not entries:
            raise ValueError("its header lists no layers")
        missing += _missing(entries, known)
        if not missing:
            net = _Reader(archive, known).net(entries)
    if missing:
        call = f"nn.load(path, layers=[{', '.join(missing)}])"
        raise ValueError(f"{file_name(path)}: holds layers of your own; give their classes: {call}")
    return net


def _known(layers: Iterable[type[Layer]]) -> dict[str, type[Layer]]:
    known = dict(_LAYERS)
    if isinstance(layers, type):
        raise TypeError(f"layers: must be a list of classes, not the class {layers.__name__}")
    for cls in layers:
        if not isinstance(cls, type) or not issubclass(cls, Layer):
            raise TypeError(f"layers: {cls!r} is no class of layers")
        if known.get(cls.__name__, cls) is not cls:
            raise ValueError(f"layers: {cls!r} has the name of another layer")
        known[cls.__name__] = cls
    return known


def _missing(entries: list[Any], known: dict[str, type[Layer]]) -> list[str]:
    """Names of the classes that an own layer in the file needs and nobody has given."""
    own = [entry.get("type") for entry in entries if isinstance(entry, dict) and "own" in entry]
    return sorted({name for name in own if isinstance(name, str) and name.isidentifier()} - set(known))


class _SavedArrays:
    """Where a layer under construction finds its arrays instead of drawing them."""

    def __init__(self, archive: Archive, number: int) -> None:
        self._archive, self._number = archive, number

    def take(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return self._archive.take(f"{self._number}.{name}", shape, dtype)


class _Reader:
    """Makes the layers of a file one after the other."""

    def __init__(self, archive: Archive, known: dict[str, type[Layer]]) -> None:
        self._archive, self._known = archive, known
        self._made: list[Layer] = []
        self._filled: set[int] = set()  # buffers

    def net(self, entries: list[Any]) -> Layer:
        """The last layer, which holds all the others."""
        depths: dict[int, int] = {}
        for number, entry in enumerate(entries):
            layer = self._make(number, entry)
            inside = [depths.get(id(child), 0) for child in layer.children().values()]
            depths[id(layer)] = 1 + max(inside, default=0)
            if depths[id(layer)] > DEPTH + 1:
                raise ValueError(f"containers stand more than {DEPTH} deep inside each other")
            self._made.append(layer)
        self._archive.finish()
        return self._made[-1]

    def _make(self, number: int, entry: Any) -> Layer:
        keys = set(entry) if isinstance(entry, dict) else set()
        if keys - {"own"} != {"type", "arguments"} or not isinstance(entry["arguments"], dict):
            raise ValueError(f"layer {number} is not described by a type and arguments")
        cls = self._known.get(entry["type"]) if isinstance(entry["type"], str) else None
        if cls is None or ("own" in entry) is (cls is _LAYERS.get(cls.__name__)):
            raise ValueError(f"layer {number} is of unknown type {entry['type']!r}")
        positional, named = self._arguments(number, cls, entry["arguments"])
        layer = cls.__new__(cls)
        if "own" not in entry:
            vars(layer)["_saved"] = _SavedArrays(self._archive, number)
        cls.__init__(layer, *positional, **named)
        vars(layer).pop("_saved", None)
        buffers = _not_yet(layer, self._filled)
        if "own" in entry:
            self._fill(number, layer, buffers, entry["own"])
        return layer

    def _arguments(
        self, number: int, cls: type[Layer], arguments: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        parameters = _arguments_of(cls)
        has_rest = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values())
        if set(arguments) != set(parameters):
            raise ValueError(
                f"layer {number}, {cls.__name__}, must have the arguments {', '.join(parameters) or 'none'}"
            )
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for name, parameter in parameters.items():
            decoded = self._decode(arguments[name])
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                positional.extend(decoded)
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                named.update(decoded)
            elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY or (
                has_rest and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
            ):
                positional.append(decoded)
            else:
                named[name] = decoded
        return positional, named

    def _fill(self, number: int, layer: Layer, buffers: dict[str, Buffer], dtypes: Any) -> None:
        """Read the arrays of a layer of one's own, which has drawn others."""
        name = type(layer).__name__
        if not isinstance(dtypes, dict):
            raise ValueError(f"layer {number}: {name} does not say what its arrays are")
        if set(dtypes) != set(buffers):
            raise ValueError(
                f"layer {number}: {name} is made with arrays {', '.join(buffers) or 'none'}; the file has "
                f"{', '.join(map(str, dtypes)) or 'none'}"
            )
        for path, buffer in buffers.items():
            if dtypes[path] not in ("float32", "float64"):
                raise ValueError(f"layer {number}: {name} has an array of {dtypes[path]!r}")
            dtype = np.dtype(dtypes[path])
            value = self._archive.take(f"{number}.{path}", buffer.value.shape, dtype)
            if buffer.value.dtype != dtype:
                buffer.cast(dtype)
            buffer.value = value
        layer._tell_dtype()

    def _decode(self, value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) == {"list"}:
                return [self._decode(entry) for entry in value["list"]]
            if set(value) == {"dict"}:
                return dict(self._decode(entry) for entry in value["dict"])
            number = value.get("layer")
            if set(value) != {"layer"} or type(number) is not int or not 0 <= number < len(self._made):
                raise ValueError(f"{value!r} names no earlier layer")
            return self._made[number]
        if isinstance(value, list):
            return tuple(self._decode(entry) for entry in value)
        return value
