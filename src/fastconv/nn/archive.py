"""One file of named arrays and a JSON header: written whole or not at all, read without trusting it.

The file is a plain .npz (`numpy.load` opens it): uncompressed .npy members, the header as bytes in
`__header__.npy`. Reading never unpickles, and allocates nothing that the file is not long enough to fill.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import secrets
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, TypeAlias

import numpy as np

#: A path, or a binary file object that is open.
File: TypeAlias = str | os.PathLike[str] | IO[bytes]

HEADER = "__header__"
VERSION = 1

#: Bytes of JSON that are read at most, and of a .npy member's own header.
JSON_LIMIT = 1 << 22
NPY_HEADER_LIMIT = 4096

# What zipfile, numpy, json and the layers raise when they meet nonsense.
_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def write_archive(file: File, kind: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write `header` and `arrays` to `file`.

    To a path: a new file beside it first, which then takes its place, and its mode. Of a symbolic link, what
    it names is replaced. To a file object, a pipe or a device: in one piece, once all of it is made.

    Raises
    ------
    TypeError
        A file object that takes text.
    OSError
        The file cannot be written; one that was there before is still whole.
    """
    text = json.dumps({"format": "fastconv", "kind": kind, "version": VERSION, "header": header}).encode()
    if len(text) > JSON_LIMIT:
        raise ValueError(f"header: {len(text)} bytes of JSON, must be at most {JSON_LIMIT}")
    members = {HEADER: np.frombuffer(text, np.uint8), **arrays}
    if _is_open(file, "write"):
        _write_at_once(file, members)
        return
    path = os.path.realpath(os.fsdecode(file))  # type: ignore[arg-type]  # no file object
    if os.path.islink(path):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as special:
            _write_at_once(special, members)
        return
    write_whole(path, lambda file: write_members(file, members))


def _is_open(file: Any, method: str) -> bool:
    """Whether `file` is a file object rather than a path."""
    if isinstance(file, io.TextIOBase):
        raise TypeError("path: the file must be open in binary mode, not for text")
    return hasattr(file, method)


def write_whole(path: str, write: Callable[[IO[bytes]], object]) -> None:
    """Make a file beside `path`, then let it take its place: there is the old one or the new, whole."""
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(beside, "xb") as file:
            if os.path.exists(path):
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(path).st_mode))
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        if isinstance(error, OSError) and error.errno is not None:
            # a full disk names no file, and the one beside `path` says nothing to anybody
            raise OSError(error.errno, error.strerror, path) from error
        raise


def _write_at_once(file: Any, members: Mapping[str, np.ndarray]) -> None:
    whole = io.BytesIO()
    write_members(whole, members)
    rest = whole.getbuffer()
    while rest:
        count = file.write(rest)
        if not isinstance(file, io.RawIOBase):
            return
        if count is None:
            raise BlockingIOError(errno.EAGAIN, "path: the file takes no more without waiting")
        rest = rest[count:]  # an unbuffered file may take less than all


def write_members(file: IO[bytes], members: Mapping[str, np.ndarray]) -> None:
    """Arrays as an .npz file has them, under any name."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for member, array in members.items():
            # a fixed date, so that equal contents make equal files
            info = zipfile.ZipInfo(f"{member}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(info, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array), (1, 0), allow_pickle=False)


class Archive:
    """An open file: its header, and its arrays, each to be taken once."""

    def __init__(self, archive: zipfile.ZipFile, file_size: int, kind: str) -> None:
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            if info.filename in self._members:
                raise ValueError(f"member {info.filename!r} is there twice")
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise ValueError(f"member {info.filename!r} is compressed")
            self._members[info.filename] = info
        if sum(info.file_size for info in self._members.values()) > file_size:
            raise ValueError("its members claim more bytes than it has")
        self.header = self._read_header(kind)

    def _read_header(self, kind: str) -> dict[str, Any]:
        info = self._pop(HEADER)
        if info.file_size > JSON_LIMIT + NPY_HEADER_LIMIT:
            raise ValueError(f"its header of {info.file_size} bytes is too long")
        array = np.lib.format.read_array(io.BytesIO(self._archive.read(info)), allow_pickle=False)
        if array.dtype != np.uint8 or array.ndim != 1:
            raise ValueError("its header is not a row of bytes")
        top = json.loads(array.tobytes())
        if (
            not isinstance(top, dict)
            or top.get("format") != "fastconv"
            or not isinstance(top.get("header"), dict)
        ):
            raise ValueError("its header is another program's")
        if top.get("version") != VERSION:
            raise ValueError(f"it has version {top.get('version')!r}, this program reads {VERSION}")
        if top.get("kind") != kind:
            raise ValueError(f"it holds a {top.get('kind')!r}, not a {kind!r}")
        header: dict[str, Any] = top["header"]
        return header

    def take(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """The array `name`, which must have this shape and dtype; checked before it is allocated."""
        info = self._pop(name)
        wanted = math.prod(shape) * dtype.itemsize
        if not wanted < info.file_size <= wanted + NPY_HEADER_LIMIT:
            raise ValueError(
                f"array {name!r} has {info.file_size} bytes, which shape {shape} and {dtype} do not fill"
            )
        with self._archive.open(info) as stream:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError(f"array {name!r} is of a kind this program does not write")
            found_shape, fortran_order, found_dtype = np.lib.format.read_array_header_1_0(
                stream, max_header_size=NPY_HEADER_LIMIT
            )
            if found_shape != shape or fortran_order or found_dtype != dtype:
                raise ValueError(
                    f"array {name!r} has shape {found_shape} and {found_dtype}, must be {shape} and {dtype}"
                )
            array = np.empty(shape, dtype)
            _fill(stream, array)
        return array

    def finish(self) -> None:
        """Raise `ValueError` if an array was not taken."""
        if self._members:
            raise ValueError(f"it holds arrays that belong to nothing: {', '.join(sorted(self._members))}")

    def _pop(self, name: str) -> zipfile.ZipInfo:
        if f"{name}.npy" not in self._members:
            raise ValueError(f"array {name!r} is missing")
        return self._members.pop(f"{name}.npy")


def _fill(stream: IO[bytes], array: np.ndarray) -> None:
    """Read exactly the bytes of `array`, and on to the end, where zipfile compares the checksum."""
    rest = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    while rest:
        count = stream.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("it ends too soon")
        rest = rest[count:]
    if stream.read(1):
        raise ValueError("an array has more bytes than its shape")


@contextlib.contextmanager
def read_archive(file: File, kind: str) -> Iterator[Archive]:
    """Open a file that `write_archive` wrote; whatever goes wrong inside becomes one `ValueError`.

    A file object is read from where it stands to its end.

    Raises
    ------
    TypeError
        A file object that gives text.
    OSError
        The file cannot be opened.
    ValueError
        It is not such a file, or damaged, or holds something else; the message names the file.
    """
    name = file_name(file)
    with contextlib.ExitStack() as stack:
        source: IO[bytes]
        if _is_open(file, "read"):
            source = io.BytesIO(file.read())  # type: ignore[union-attr]
        else:
            source = stack.enter_context(open(file, "rb"))  # type: ignore[arg-type]
            if not source.seekable():  # a pipe by name
                source = io.BytesIO(source.read())
        try:
            with zipfile.ZipFile(source) as archive:
                yield Archive(archive, source.seek(0, os.SEEK_END), kind)
        except _DAMAGE as error:
            raise ValueError(f"{name}: not a whole {kind} file of fastconv: {error}") from error


def file_name(file: File) -> str:
    """What messages call a file."""
    if hasattr(file, "read"):
        return str(getattr(file, "name", type(file).__name__))
    return os.fsdecode(file)
