"""WAV files: whole numbers of 8 to 32 bits and floating point, any rate and number of channels."""

from __future__ import annotations

import os
import struct
from typing import IO

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.files import check_file, one_line, shown

#: Samples per second that a file may have.
RATES = (1_000, 768_000)

#: How samples are written: by format tag and bits.
WHOLE, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def read_wav(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Samples of a WAV file.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    samples : ndarray, shape (n, channels), float32
        -1 to 1.
    rate : int
        Samples per second.

    Raises
    ------
    DataError
        It is no WAV file, is cut, has a coding other than plain numbers, no samples, or samples that are not
        finite.

    Notes
    -----
    Chunks as in "Multimedia Programming Interface and Data Specifications 1.0" (IBM and Microsoft, 1991).

    Examples
    --------
    >>> import wave
    >>> from fastconv.data import read_wav
    >>> with wave.open("tick.wav", "wb") as file:
    ...     file.setparams((1, 2, 8000, 0, "NONE", ""))
    ...     file.writeframes(b"\\x00\\x40" * 3)
    >>> samples, rate = read_wav("tick.wav")
    >>> samples[:, 0].tolist(), rate
    ([0.5, 0.5, 0.5], 8000)
    """
    size = check_file(path)
    try:
        with open(path, "rb") as file:
            samples, rate = _read(file, size)
    except (OSError, ValueError, MemoryError, struct.error) as error:
        raise DataError(f"{shown(path)}: {one_line(error)}") from None
    return samples, rate


def _read(file: IO[bytes], size: int) -> tuple[np.ndarray, int]:
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        raise ValueError("no WAV file: does not begin with RIFF ... WAVE")
    layout = None
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            if layout is None:
                raise ValueError("damaged: samples come before their format")
            return _samples(file, length, size - file.tell(), *layout)
        if name == b"fmt ":
            layout = _layout(file.read(min(length, 64)))
            length = max(length - 64, 0)
        file.seek(length + length % 2, os.SEEK_CUR)
    raise ValueError("damaged: holds no samples")


def _layout(chunk: bytes) -> tuple[np.dtype, int, int, int]:
    """How samples are written: dtype, bytes of each, channels, rate."""
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if tag == EXTENSIBLE and len(chunk) >= 26:
        tag = struct.unpack("<H", chunk[24:26])[0]
    width = bits // 8
    if tag == WHOLE and bits in (8, 16, 24, 32):
        dtype = np.dtype({1: "u1", 2: "<i2", 3: "u1", 4: "<i4"}[width])
    elif tag == FLOAT and bits in (32, 64):
        dtype = np.dtype(f"<f{width}")
    else:
        raise ValueError(f"samples of {bits} bits in format {tag}; read are plain numbers (formats 1 and 3)")
    if not 1 <= channels <= 64:
        raise ValueError(f"{channels} channels, must be 1 to 64")
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"{rate} samples per second, must be {RATES[0]} to {RATES[1]}")
    return dtype, width, channels, rate


def _samples(
    file: IO[bytes], length: int, left: int, dtype: np.dtype, width: int, channels: int, rate: int
) -> tuple[np.ndarray, int]:
    if length > left:
        raise ValueError(f"truncated: {length - left:,} bytes of {length:,} are missing")
    frames = length // (width * channels)
    if not frames:
        raise ValueError("holds no samples")
    data = np.frombuffer(file.read(frames * width * channels), dtype)
    if width == 3:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = data.reshape(-1, 3)
        data = wide.view("<i4")[:, 0]
    if data.dtype.kind == "f":
        if not np.isfinite(data).all():
            raise ValueError("has samples that are not finite")
        made: np.ndarray = data.astype(np.float32)
    elif width == 1:
        made = (data.astype(np.float32) - 128) / 128
    else:
        made = (data / np.float64(-int(np.iinfo(data.dtype).min))).astype(np.float32)
    return made.reshape(-1, channels), rate
