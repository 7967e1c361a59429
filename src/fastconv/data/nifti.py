"""NIfTI-1 files, as scanners' volumes are passed on: .nii and .nii.gz."""

from __future__ import annotations

import math
import os
import struct

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.files import fill, room, shown, unpacked

#: Voxels that a volume may have.
LARGEST_VOLUME = 1 << 28

HEADER_BYTES = 348

#: dtypes by the header's number.
DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"
}  # fmt: skip


def read_nifti(path: str | os.PathLike[str]) -> np.ndarray:
    """The voxels of a NIfTI-1 file, scaled as its header says.

    Parameters
    ----------
    path : str or path
        One file with header and voxels, gzipped or not.

    Returns
    -------
    ndarray, shape (D, H, W) or (C, D, H, W), float32
        The file's z, y and x; a fourth axis, such as time, becomes channels.

    Raises
    ------
    DataError
        It is none, is cut, has a dtype that is no number, or is too large.

    Notes
    -----
    Cox et al., "A (sort of) new image data format standard: NIfTI-1", Human Brain Mapping (2004), and the
    C header that belongs to it.
    """
    with unpacked(path) as file:
        header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES or header[344:348] != b"n+1\0":
            raise DataError(f"{shown(path)}: no NIfTI-1 file: its header does not end in n+1")
        order = "<" if struct.unpack("<i", header[:4])[0] == HEADER_BYTES else ">"
        dim = struct.unpack(f"{order}8h", header[40:56])
        code = struct.unpack(f"{order}h", header[70:72])[0]
        offset, slope, inter = struct.unpack(f"{order}3f", header[108:120])
        if not 3 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1 or max(dim[5 : dim[0] + 1], default=1) > 1:
            raise DataError(f"{shown(path)}: dimensions {dim[1 : max(dim[0], 0) + 1]}, must be 3 or 4 sizes")
        if code not in DTYPES:
            raise DataError(f"{shown(path)}: data type {code}, must be real numbers of 8 to 64 bits")
        shape = dim[4:0:-1] if dim[0] > 3 and dim[4] > 1 else dim[3:0:-1]
        if math.prod(shape) > LARGEST_VOLUME:
            raise DataError(f"{shown(path)}: {shape} has more than {LARGEST_VOLUME:,} voxels")
        if not HEADER_BYTES <= offset <= 1 << 24:
            raise DataError(f"{shown(path)}: damaged: voxels at byte {offset}")
        file.read(int(offset) - HEADER_BYTES)
        voxels = room(path, shape, np.dtype(order + DTYPES[code]))
        fill(file, voxels, path)
    with np.errstate(over="ignore", invalid="ignore"):
        found = voxels.astype(np.float32)
        if slope != 0 and (slope, inter) != (1, 0):  # a slope of 0 stands for none
            found = found * np.float32(slope) + np.float32(inter)
    return found
