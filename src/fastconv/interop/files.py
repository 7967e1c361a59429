"""Files as inputs of a model: arrays, pictures, sound."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastconv.terminal import CommandError, need

if TYPE_CHECKING:
    from fastconv.graph import Value

#: Pictures that are read.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm")

#: Numbers of colours that say which axis they lie along.
COLOURS = {1: "L", 3: "RGB", 4: "RGBA"}


def read_arrays(path: str) -> np.ndarray | dict[str, np.ndarray]:
    """The array of an .npy file, or those of an .npz file by name.

    Raises
    ------
    CommandError
        In one line: it cannot be read, or holds something else.
    """
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return dict(found)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CommandError(f"{path}: holds no arrays: {error}") from None


def read_input(
    path: str, value: Value, mean: Sequence[float] | None, std: Sequence[float] | None
) -> np.ndarray:
    """A picture or sound as an input takes it.

    Parameters
    ----------
    path : str
        By its ending a picture (`PICTURES`) or sound (.wav).
    value : Value
        The input: pixels are brought to its size, colours to its number and place.
    mean, std : sequence of float, optional
        One number, or one per colour: subtracted from pixels, which lie in 0 to 1; and what they are divided
        by then.

    Raises
    ------
    CommandError
        In one line: it cannot be read, or the input is nothing for it.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending in PICTURES:
        return _picture(path, value, mean, std)
    if ending == ".wav":
        return _sound(path, value)
    raise CommandError(f"{path}: ends in none of .npy, .npz, .wav, {', '.join(PICTURES)}")


# ---- pictures -----------------------------------------------------------------------------------------


def _picture(
    path: str, value: Value, mean: Sequence[float] | None, std: Sequence[float] | None
) -> np.ndarray:
    images = need("PIL.Image", "pillow")
    shape = value.shape or (1, 3, None, None)
    if len(shape) not in (2, 3, 4):
        raise CommandError(f"{path}: a picture is nothing for input {value!r}")
    axes = shape[-3:] if len(shape) > 2 else (1, *shape)
    last = axes[-1] in COLOURS and axes[0] not in COLOURS
    colours = axes[-1] if last else axes[0]
    height, width = axes[:2] if last else axes[1:]
    mode = COLOURS.get(colours) if isinstance(colours, int) else "RGB"
    if mode is None:
        raise CommandError(f"{path}: a picture is nothing for input {value!r}, which has {colours} channels")
    try:
        with images.open(path) as image:
            image = image.convert(mode)
            size = (
                width if isinstance(width, int) else image.width,
                height if isinstance(height, int) else image.height,
            )
            pixels = np.asarray(image if image.size == size else image.resize(size, images.BILINEAR))
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or 'is no picture that can be read'}") from None
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    pixels = _normalised(path, pixels, value.dtype or np.dtype(np.float32), mean, std)
    pixels = pixels if last else pixels.transpose(2, 0, 1)
    pixels = pixels[0] if len(shape) == 2 else pixels[None] if len(shape) == 4 else pixels
    return np.ascontiguousarray(pixels)


def _normalised(
    path: str,
    pixels: np.ndarray,
    dtype: np.dtype,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> np.ndarray:
    """Pixels in 0 to 1, normalised; those of a model that takes whole numbers as they are."""
    if dtype.kind in "iu":
        if mean is not None or std is not None:
            raise CommandError(f"{path}: --mean and --std: the model takes whole numbers, {dtype}")
        return pixels.astype(dtype)
    found = pixels / 255.0
    for option, numbers in (("--mean", mean), ("--std", std)):
        if numbers is not None and len(numbers) not in (1, pixels.shape[2]):
            raise CommandError(
                f"{option} {','.join(f'{n:g}' for n in numbers)}: the picture has {pixels.shape[2]} colours"
            )
    if mean is not None:
        found = found - np.array(mean)
    if std is not None:
        if 0 in std:
            raise CommandError("--std: must not be 0")
        found = found / np.array(std)
    return found.astype(dtype)


# ---- sound --------------------------------------------------------------------------------------------


def _sound(path: str, value: Value) -> np.ndarray:
    """Samples in -1 to 1: (n,), (channels, n) or (1, channels, n), mixed where the model has one channel."""
    from fastconv.data.errors import DataError
    from fastconv.data.wav import read_wav

    try:
        samples = read_wav(path)[0].T
    except DataError as error:
        raise CommandError(str(error)) from None
    shape = value.shape or (1, None, None)
    if not 1 <= len(shape) <= 3:
        raise CommandError(f"{path}: sound is nothing for input {value!r}")
    if len(shape) == 1 or shape[-2] == 1 or not isinstance(shape[-2], int):
        samples = samples.mean(0, keepdims=True)
    samples = samples.astype(value.dtype or np.dtype(np.float32))
    sound: np.ndarray = samples[0] if len(shape) == 1 else samples if len(shape) == 2 else samples[None]
    return sound
