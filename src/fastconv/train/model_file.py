"""A model in one file, `.fcn`: a safetensors file whose metadata is our header, as JSON; nothing could run.

Any program that reads safetensors reads the arrays. The header says what they are for; a SHA-256 over both
tells a file that has been altered.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastconv.data import Preprocessing
from fastconv.nn.archive import write_whole
from fastconv.terminal import need
from fastconv.train.build import parse_net
from fastconv.train.errors import ModelError
from fastconv.train.model import Model

#: Name of our header in the file's metadata, and the version of it that is written.
KEY, VERSION = "fastconv model", 1

#: Bytes of the file's own header that are read at most: names, shapes, and our header within.
HEADER_LIMIT = 1 << 24

#: A net may be so many times as large as the arrays in the file, so that what differs can be named.
LARGER = 8

#: Names of floating point numbers in safetensors that a net may have.
DTYPES = {"F32": np.dtype(np.float32)}


def save_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model to a file that `load_model` reads; it appears whole or not at all.

    Parameters
    ----------
    path : str or path
        By custom it ends in `.fcn`.
    model : Model

    Raises
    ------
    TypeError, ValueError
        The record has something that JSON has not.
    OSError
        The file cannot be written; one that was there before is still whole.
    CommandError
        The package safetensors is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastconv.data import ImagePreprocessing
    >>> from fastconv.train import Model, load_model, parse_net, save_model
    >>> net = parse_net("conv 4 3, relu, fc", (1, 8, 8), 2, rng=0)
    >>> model = Model(net, "conv 4 3, relu, fc", ("X", "O"), ImagePreprocessing(shape=(1, 8, 8)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(os.path.join(folder, "xo.fcn"), model)
    ...     load_model(os.path.join(folder, "xo.fcn")).classes
    ('X', 'O')
    """
    library = need("safetensors.numpy", "safetensors")
    arrays = {name: np.ascontiguousarray(array) for name, array in model.net.state_dict().items()}
    document = {
        "version": VERSION,
        "spec": model.spec,
        "classes": list(model.classes),
        "preprocessing": model.preprocessing.to_json(),
        "record": model.record,
        "versions": model.versions,
    }
    text = json.dumps(document, allow_nan=False)
    # one entry alone: of several the library does not keep the order, and equal models make equal files
    data: bytes = library.save(arrays, metadata={KEY: _signed(text, arrays)})
    write_whole(os.path.realpath(os.fsdecode(path)), lambda file: file.write(data))


def check_can_save() -> None:
    """Raise `CommandError` if models cannot be written here: better before a training than after it."""
    need("safetensors.numpy", "safetensors")


def _signed(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """The header with a checksum as its first entry, which is over the rest, letter by letter."""
    return f'{{"sha256": "{_digest(text, arrays)}", {text[1:]}'


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """A checksum of header and arrays."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(arrays[name].tobytes())
    return found.hexdigest()


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model that `save_model` wrote.

    Nothing in the file is executed or unpickled. Names, shapes and sizes are compared with each other, and
    with the length of the file, before anything of their size is allocated.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        A `ValueError` in one line that begins with the name of the file: it holds something else, or has been
        cut or altered, or is of a newer version.
    OSError
        The file cannot be read.
    CommandError
        The package safetensors is not installed.
    """
    library = need("safetensors.numpy", "safetensors")
    name = os.fsdecode(path)
    data = _read(name)
    try:
        header = _header(name, data)
        document = _document(name, header)
        shapes = _shapes(header, len(data))
        model = _empty(document, shapes)
        arrays = library.load(data)
        text: str = header["__metadata__"][KEY]
        if text != _signed("{" + text[len(_signed("{", {})) :], arrays):
            raise ValueError("its checksum does not fit: it has been altered")
        model.net.load_state_dict(arrays)
    except ModelError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        said = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise ModelError(f"{name}: is no whole model of fastconv: {said}") from None
    except Exception as error:  # the library's own errors derive from nothing narrower
        if type(error).__module__.split(".")[0] not in ("safetensors", "safetensors_rust"):
            raise
        raise ModelError(f"{name}: is no whole model of fastconv: {error}") from None
    return model


def is_model(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as those of `save_model` do; False also if it cannot be read."""
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return False
            start = file.read(9)
    except OSError:
        return False
    return len(start) == 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= HEADER_LIMIT


def _read(name: str) -> bytes:
    if os.path.exists(name) and not os.path.isdir(name) and not os.path.isfile(name):
        raise ModelError(f"{name}: is no regular file")  # reading a pipe would wait for ever
    with open(name, "rb") as file:
        return file.read()


def _header(name: str, data: bytes) -> dict[str, Any]:
    """The header that safetensors has in front."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 9 or data[8:9] != b"{" or length > HEADER_LIMIT:
        raise ModelError(f"{name}: is no model file of fastconv")
    if 8 + length > len(data):
        raise ModelError(f"{name}: ends too soon: {len(data):,} bytes, its header alone claims {length:,}")
    header: Any = json.loads(data[8 : 8 + length])
    if not isinstance(header, dict):
        raise ModelError(f"{name}: is no model file of fastconv")
    return header


def _document(name: str, header: dict[str, Any]) -> dict[str, Any]:
    """Our own header within; anything else in it is for the version that it names to say."""
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise ModelError(f"{name}: is a safetensors file, but no model of fastconv")
    document: Any = json.loads(metadata[KEY])
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise ValueError("its header has no version")
    if version > VERSION:
        made = document.get("versions")
        by = f", by fastconv {made['fastconv']}" if isinstance(made, dict) and "fastconv" in made else ""
        raise ModelError(
            f"{name}: is of version {version}{by}; this fastconv reads {VERSION}: a newer one is needed"
        )
    found: dict[str, Any] = document
    return found


def _shapes(header: dict[str, Any], size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays by name; together they are as long as the file says."""
    shapes: dict[str, tuple[int, ...]] = {}
    total = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, shape = entry["dtype"], entry["shape"]
        if dtype not in DTYPES:
            raise ValueError(f"array {name!r} is of {dtype}, must be of {', '.join(DTYPES)}")
        if not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"array {name!r} has shape {shape}")
        shapes[name] = tuple(shape)
        total += math.prod(shape) * DTYPES[dtype].itemsize
    if total > size:
        raise ValueError(f"it ends too soon: its arrays claim {total:,} bytes, it has {size:,}")
    return shapes


def _empty(document: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> Model:
    """The model with weights that are still random; its arrays are those that the file has."""
    for name, kind in (("spec", str), ("classes", list), ("preprocessing", dict), ("record", dict)):
        if not isinstance(document.get(name), kind):
            raise ValueError(f"its header has no {name}")
    classes = document["classes"]
    if not classes or not all(isinstance(each, str) for each in classes):
        raise ValueError("its header has no classes")
    preprocessing = Preprocessing.from_json(document["preprocessing"])
    most = LARGER * max(LARGER, sum(map(math.prod, shapes.values())))
    net = parse_net(
        document["spec"], preprocessing.shape, classes, 0, rows=preprocessing.rows, most_parameters=most
    )
    wanted = {name: buffer.value.shape for name, buffer in net.named_buffers().items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        if wanted.get(name) != shapes.get(name):
            there = f"has shape {shapes[name]}" if name in shapes else "is missing"
            must = f"must have {wanted[name]}" if name in wanted else "belongs to nothing"
            raise ValueError(f"array {name!r} {there}, {must}")
    versions = document.get("versions")
    return Model(
        net,
        document["spec"],
        tuple(classes),
        preprocessing,
        document["record"],
        versions if isinstance(versions, dict) else {},
    )
