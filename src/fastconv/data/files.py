"""Files that nobody vouches for: looked at before they are opened, unpacked no further than they may be."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import math
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np

from fastconv.data.errors import DataError
from fastconv.terminal import printable

#: One sample's file may have this many bytes.
LARGEST_FILE = 1 << 30

#: Deflate makes nothing more than this many times smaller.
DEFLATE_RATIO = 1032

#: Arrays are held in memory up to so many bytes. Larger ones are mapped where they lie, which ends the
#: process if somebody cuts the file meanwhile; packed ones are unpacked into a temporary file.
IN_MEMORY = 1 << 30

#: What decoders of damaged files raise, whatever they stumble upon.
DAMAGE = (EOFError, OSError, ValueError, zlib.error)


def shown(path: str | os.PathLike[str]) -> str:
    """A file's name in one line of a message."""
    return printable(os.fsdecode(path))


def one_line(error: BaseException) -> str:
    """What an exception says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(" ".join(str(error).split())) or type(error).__name__


def check_file(path: str | os.PathLike[str], largest: int = LARGEST_FILE) -> int:
    """The size of a readable regular file with content; pipes and devices would block.

    Raises
    ------
    DataError
        It is something else: missing, a directory, a pipe, empty, larger than `largest` bytes, forbidden.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise DataError(f"{shown(path)}: is a directory, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{shown(path)}: not a regular file")
        if not status.st_size:
            raise DataError(f"{shown(path)}: the file is empty")
        if status.st_size > largest:
            raise DataError(f"{shown(path)}: {status.st_size:,} bytes, must be at most {largest:,}")
        if not os.access(path, os.R_OK):
            raise DataError(f"{shown(path)}: Permission denied")
    except OSError as error:
        raise DataError(f"{shown(path)}: {one_line(error)}") from None
    except ValueError as error:  # a null character in the name
        if isinstance(error, DataError):
            raise
        raise DataError(f"{shown(path)}: {one_line(error)}") from None
    return status.st_size


def is_gzip(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as gzip's do."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


@contextlib.contextmanager
def unpacked(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file's bytes as a stream, through gzip if it was packed by that.

    Raises
    ------
    DataError
        For whatever goes wrong inside, naming the file.
    """
    check_file(path, 1 << 62)
    try:
        with open(path, "rb") as plain:
            if not is_gzip(path):
                yield plain
                return
            with gzip.GzipFile(fileobj=plain) as packed:
                yield io.BufferedReader(packed)
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{shown(path)}: too large for this machine's memory") from None
    except DAMAGE as error:
        raise DataError(f"{shown(path)}: damaged: {one_line(error)}") from None


def read_bounded(path: str | os.PathLike[str], largest: int) -> bytes:
    """All bytes of a file, unpacked; no more than `largest` of them are ever made.

    Raises
    ------
    DataError
        It unpacks to more, or is damaged.
    """
    with unpacked(path) as file:
        found = file.read(largest + 1)
    if len(found) > largest:
        raise DataError(f"{shown(path)}: unpacks to more than {largest:,} bytes")
    return found


def room(path: str | os.PathLike[str], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array to unpack a file into: in memory, or if it is large in a temporary file that nobody else sees.

    Raises
    ------
    DataError
        Neither has room.
    """
    try:
        if math.prod(shape) * dtype.itemsize <= IN_MEMORY:
            return np.empty(shape, dtype)
        wanted = math.prod(shape) * dtype.itemsize
        if wanted > shutil.disk_usage(tempfile.gettempdir()).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with tempfile.TemporaryFile() as file:
            file.truncate(wanted)
            return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
    except (MemoryError, OSError) as error:
        raise DataError(f"{shown(path)}: no room to unpack shape {shape}: {one_line(error)}") from None


def fill(file: IO[bytes], array: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Read exactly the bytes of `array`; `DataError` for a stream that has fewer."""
    rest = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    while rest:
        count = file.readinto(rest[: 1 << 24])  # type: ignore[attr-defined]
        if not count:
            raise DataError(f"{shown(path)}: truncated: {len(rest):,} bytes of {array.nbytes:,} are missing")
        rest = rest[count:]
