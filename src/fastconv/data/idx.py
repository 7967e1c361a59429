"""IDX files, the format of MNIST: images and labels, gzipped or not."""

from __future__ import annotations

import math
import os
import re
import struct

import numpy as np

from fastconv.data.arrays import Wanted, array_source
from fastconv.data.errors import DataError
from fastconv.data.files import DEFLATE_RATIO, IN_MEMORY, check_file, fill, is_gzip, room, shown, unpacked
from fastconv.data.labels import spelled
from fastconv.data.sources import ArraySource

#: dtypes by the third byte of a file.
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

#: How files of images and of labels are told apart.
IMAGES = re.compile(r"images|data|idx[2-5](?!\d)", re.IGNORECASE)
TEST = re.compile(r"t10k|test|val", re.IGNORECASE)


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of an IDX file; mapped, if it is large and not gzipped.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    ndarray
        Of the dtype and shape in its header.

    Raises
    ------
    DataError
        It is none, is cut, or its header claims more than the file can hold.

    Notes
    -----
    LeCun, Cortes, Burges, "The MNIST database of handwritten digits": two zero bytes, one for the dtype, one
    for the number of axes, each size as four bytes, then the values; big-endian.
    """
    name = shown(path)
    size = check_file(path, 1 << 62)
    with unpacked(path) as file:
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in DTYPES or not 1 <= head[3] <= 8:
            raise DataError(f"{name}: no IDX file: begins with {head.hex(' ')}")
        sizes = file.read(4 * head[3])
        if len(sizes) < 4 * head[3]:
            raise DataError(f"{name}: truncated: its header is not whole")
        shape = struct.unpack(f">{head[3]}I", sizes)
        dtype = np.dtype(DTYPES[head[2]])
        wanted, packed = math.prod(shape) * dtype.itemsize, is_gzip(path)
        start = 4 + 4 * head[3]
        if wanted + start > (size * DEFLATE_RATIO if packed else size):
            raise DataError(f"{name}: truncated: shape {shape} needs {wanted:,} bytes, the file has {size:,}")
        if not packed and wanted > IN_MEMORY:
            return np.asarray(np.memmap(path, dtype, "r", start, shape))
        found = room(path, shape, dtype)
        fill(file, found, path)
    return found


def is_idx(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as IDX files do."""
    try:
        with unpacked(path) as file:
            head = file.read(4)
    except DataError:
        return False
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in DTYPES and 1 <= head[3] <= 8


def labels_beside(path: str) -> str | None:
    """The file of labels that belongs to a file of images; None if there is none beside it."""
    folder, name = os.path.split(path)
    bare = re.sub(r"\.gz$", "", name)
    spellings = [bare.replace("images", "labels"), bare.replace("data", "labels")]
    spellings += [re.sub(r"idx[2-5]", "idx1", spelling) for spelling in spellings]
    for spelling in spellings:
        for end in ("", ".gz"):
            beside = os.path.join(folder, spelling + end)
            if spelling != bare and os.path.isfile(beside):
                return beside
    return None


def idx_source(path: str, wanted: Wanted) -> ArraySource:
    """The samples of a file of images whose labels stand beside it, or of a folder of such pairs.

    Raises
    ------
    DataError
        No labels, another number of them, or a damaged file.
    """
    if not os.path.isdir(path):
        return _pair(path, wanted, "")
    found = image_files(path)
    train = [file for file in found if not TEST.search(os.path.basename(file))]
    test = [file for file in found if file not in train]
    if not train:
        train, test = test, []
    if len(train) != 1 or len(test) > 1:
        raise DataError(
            f"{shown(path)}: {len(found)} files of images; must be one, or one beside one for tests"
        )
    made = _pair(train[0], wanted, "")
    if test:
        made.test = _pair(test[0], Wanted(made.kind, made.classes, size=wanted.size), "")
    made.path = path
    return made


def image_files(folder: str) -> list[str]:
    """The IDX files of images in a folder that have labels beside them."""
    found: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if IMAGES.search(name) and os.path.isfile(path) and is_idx(path) and labels_beside(path):
            found.setdefault(re.sub(r"\.gz$", "", name), path)  # one of a file and its gzipped copy
    return list(found.values())


def _pair(path: str, wanted: Wanted, part: str) -> ArraySource:
    beside = labels_beside(path)
    if beside is None:
        raise DataError(
            f"{shown(path)}: no labels beside it: its name with 'labels' for 'images' (and idx1 for idx3)"
        )
    labels, bad = spelled(shown(beside), read_idx(beside))
    return array_source(path, read_idx(path), labels, bad, wanted, part)
