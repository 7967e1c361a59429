"""Arrays in .npy and .npz files, mapped where they lie if they are large and were not packed."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from typing import IO, Any

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.files import (
    DAMAGE,
    DEFLATE_RATIO,
    IN_MEMORY,
    LARGEST_FILE,
    check_file,
    fill,
    one_line,
    room,
    shown,
)

#: Bytes of a .npy header that are read.
HEADER_LIMIT = 10_000

#: An entry of a zip file in its own place: 30 bytes, its name and more, then the data.
LOCAL_HEADER = struct.Struct("<4s22xHH")


def read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of an .npy file, checked against the file's size before it is allocated.

    Raises
    ------
    DataError
        It is none, is cut, or holds Python objects.
    """
    size = check_file(path, LARGEST_FILE)
    try:
        with open(path, "rb") as file:
            shape, fortran, dtype = _header(file)
            wanted = math.prod(shape) * dtype.itemsize
            if file.tell() + wanted > size:
                raise DataError(
                    f"{shown(path)}: truncated: shape {shape} of {dtype} needs {wanted:,} bytes, "
                    f"the file has {size:,}"
                )
            found = np.fromfile(file, dtype, math.prod(shape))
    except DataError:
        raise
    except (MemoryError, *DAMAGE) as error:
        raise DataError(f"{shown(path)}: not an .npy file: {one_line(error)}") from None
    return found.reshape(shape[::-1]).T if fortran else found.reshape(shape)


def npy_rank(path: str | os.PathLike[str]) -> int:
    """How many axes the array of an .npy file has; 0 if that cannot be told."""
    try:
        check_file(path)
        with open(path, "rb") as file:
            return len(_header(file)[0])
    except DAMAGE:
        return 0


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name.

    Large ones that were not compressed are mapped: they are read when they are used, and need no memory.
    Large others are unpacked into a temporary file.

    Raises
    ------
    DataError
        It is none, is cut or damaged, holds Python objects, or claims to unpack to more than it can.
    """
    size = check_file(path, 1 << 62)
    found: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    found[info.filename.removesuffix(".npy")] = _member(path, archive, info, size)
    except DataError:
        raise
    except (
        MemoryError,
        NotImplementedError,
        RuntimeError,
        struct.error,
        zipfile.BadZipFile,
        *DAMAGE,
    ) as error:
        raise DataError(f"{shown(path)}: not a whole .npz file: {one_line(error)}") from None
    return found


def _member(path: Any, archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> np.ndarray:
    with archive.open(info) as file:
        shape, fortran, dtype = _header(file)
        wanted = math.prod(shape) * dtype.itemsize
        start = file.tell()
        stored = info.compress_type == zipfile.ZIP_STORED
        if start + wanted > info.file_size or wanted > (size if stored else size * DEFLATE_RATIO):
            raise DataError(
                f"{shown(path)}: array {info.filename!r} of shape {shape} has fewer bytes than that needs"
            )
        memory_shape = shape[::-1] if fortran else shape
        if stored and wanted > IN_MEMORY:
            with open(path, "rb") as plain:
                plain.seek(info.header_offset)
                magic, name, extra = LOCAL_HEADER.unpack(plain.read(LOCAL_HEADER.size))
            if magic != b"PK\x03\x04":
                raise DataError(f"{shown(path)}: damaged: no entry where its table says")
            offset = info.header_offset + LOCAL_HEADER.size + name + extra + start
            array = np.asarray(np.memmap(path, dtype, "r", offset, memory_shape))
        else:
            array = room(path, memory_shape, dtype)
            fill(file, array, path)
    return array.T if fortran else array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and dtype; `ValueError` for Python objects."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file, max_header_size=HEADER_LIMIT)
    if dtype.hasobject:
        raise ValueError("holds Python objects, which are not read")
    if any(size < 0 for size in shape):
        raise ValueError(f"shape {shape} is negative")
    return shape, fortran, dtype
