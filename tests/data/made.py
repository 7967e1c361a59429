"""Small files of every kind, whole and otherwise."""

from __future__ import annotations

import gzip
import struct
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def png(path: Path, pixels: np.ndarray | Sequence[Sequence[int]], **options: object) -> Path:
    """A picture file of any format, by its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


def pictures(folder: Path, classes: Sequence[str] = ("cat", "dog"), count: int = 4, size: int = 8) -> Path:
    """A folder per class of pictures that are darker from class to class."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        for i in range(count):
            pixels = rng.integers(0, 40, (size, size)) + 60 * number
            png(folder / name / f"{i}.png", pixels)
    return folder


def wav(path: Path, samples: np.ndarray, rate: int = 8000, width: int = 2) -> Path:
    """Samples from -1 to 1, (n,) or (n, channels), as whole numbers of so many bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.asarray(samples, np.float64).reshape(len(samples), -1)
    highest = 2 ** (8 * width - 1) - 1
    whole = np.rint(np.clip(samples, -1, 1) * highest).astype(np.int64)
    if width == 1:
        data = (whole + 128).astype(np.uint8).tobytes()
    else:
        data = b"".join(int(v).to_bytes(width, "little", signed=True) for v in whole.reshape(-1))
    with wave.open(str(path), "wb") as file:
        file.setparams((samples.shape[1], width, rate, 0, "NONE", ""))
        file.writeframes(data)
    return path


def tone(frequency: float, seconds: float = 0.5, rate: int = 8000) -> np.ndarray:
    """A sine of half a full scale."""
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def idx(path: Path, array: np.ndarray, packed: bool = False) -> Path:
    """An array of bytes in MNIST's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data += array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def nifti(path: Path, voxels: np.ndarray, order: str = "<", slope: float = 0.0, inter: float = 0.0) -> Path:
    """Voxels (D, H, W) as int16 in a NIfTI-1 file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytearray(352)
    header[0:4] = struct.pack(f"{order}i", 348)
    header[40:56] = struct.pack(f"{order}8h", voxels.ndim, *voxels.shape[::-1], *[1] * (7 - voxels.ndim))
    header[70:74] = struct.pack(f"{order}2h", 4, 16)
    header[108:120] = struct.pack(f"{order}3f", 352, slope, inter)
    header[344:348] = b"n+1\0"
    data = bytes(header) + voxels.astype(f"{order}i2").tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
