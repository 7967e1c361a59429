"""Pictures: files of many formats, arrays of pixels, and what is done to both."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.files import check_file, one_line, shown
from fastconv.data.npy import read_npy
from fastconv.data.preprocessing import Preprocessing, check_word, finite, is_number
from fastconv.data.resample import resized
from fastconv.terminal import need

if TYPE_CHECKING:
    from PIL.Image import Image

#: Endings of picture files.
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

#: File formats that are read; others (PostScript, PDF) would start foreign programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

#: A picture may have this many pixels.
LARGEST_PICTURE = 100_000_000

#: How a picture of other proportions comes to its size.
FITS = ("stretch", "contain", "cover")

#: What white may be in arrays of whole numbers.
PEAKS = (1, 16, 255, 65535)

#: Parts of red, green and blue in grey (ITU-R BT.601), as Pillow has them.
GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, kw_only=True)
class ImagePreprocessing(Preprocessing):
    """What is done to pictures.

    Parameters
    ----------
    shape : (C, H, W)
        One channel for grey, three for colours.
    mean, std : tuple of float
        Of values that go from 0, black, to 1, white.
    fit : str, default "stretch"
        How a picture of other proportions comes to its size. "contain": all of it, the rest filled with its
        border. "cover": the middle of it.
    peak : float, default 255
        What white is in arrays of pixels; files know that themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.data import ImagePreprocessing
    >>> ImagePreprocessing(shape=(3, 8, 8)).apply(np.zeros((16, 20), np.uint8)).shape
    (3, 8, 8)
    """

    kind: ClassVar[str] = "images"
    ranks: ClassVar[tuple[int, ...]] = (3,)

    fit: str = "stretch"
    peak: float = 255.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape[0] not in (1, 3):
            raise DataError(f"shape={self.shape!r}: a picture has 1 or 3 channels")
        check_word("fit", self.fit, FITS)
        if not is_number(self.peak) or self.peak <= 0:
            raise DataError(f"peak={self.peak!r}: must be a number above 0")

    @property
    def colour(self) -> bool:
        """Whether there are three channels."""
        return self.shape[0] == 3

    @property
    def _peak(self) -> float:
        return self.peak

    def decode(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Pixels (H, W) or (H, W, 3), 0 to `peak`; large pictures come at their new size at once."""
        if os.fspath(path).lower().endswith(".npy"):
            return read_npy(path)
        pixels = read_pixels(path, self.colour, self.shape[1:], self.fit)
        if pixels.dtype == np.uint8 and self.peak == 255:
            return pixels
        white = 255 if pixels.dtype == np.uint8 else 1
        scaled: np.ndarray = pixels * np.float32(self.peak / white)
        return scaled

    def compact(self, raw: np.ndarray) -> np.ndarray:
        """Pixels (C, H, W) as they were counted: uint8 if they need no more."""
        pixels = finite(np.asarray(raw))
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or 0 in pixels.shape:
            raise DataError(f"shape {np.shape(raw)}, must be (H, W) or (H, W, 1 to 4 channels) of a picture")
        pixels = self._coloured(pixels)
        pixels = _placed(pixels, self.shape[1:], self.fit).transpose(2, 0, 1)
        if pixels.dtype == np.uint8:
            return np.ascontiguousarray(pixels)
        return np.ascontiguousarray(pixels, np.float32)

    def compact_all(self, raws: np.ndarray) -> np.ndarray | None:
        """Pictures of the right size in uint8, all at once."""
        if raws.dtype != np.uint8:
            return None
        if raws.shape[1:] == self.shape[1:] and self.shape[0] == 1:
            return raws[:, None]
        if raws.shape[1:] == (*self.shape[1:], self.shape[0]):
            turned: np.ndarray = raws.transpose(0, 3, 1, 2)
            return turned
        return None

    def _coloured(self, pixels: np.ndarray) -> np.ndarray:
        """With as many channels as the net takes; what is transparent counts as white."""
        channels = pixels.shape[2]
        if channels in (2, 4):
            opaque = pixels[:, :, -1:].astype(np.float32) / np.float32(self.peak)
            pixels = pixels[:, :, :-1] * opaque + np.float32(self.peak) * (1 - opaque)
            channels -= 1
        if channels == 3 and not self.colour:
            grey = (pixels.astype(np.float32) @ GREY)[:, :, None]
            return np.rint(grey).astype(np.uint8) if pixels.dtype == np.uint8 else grey
        if channels == 1 and self.colour:
            return np.repeat(pixels, 3, axis=2)
        return pixels


# ---- sizes -----------------------------------------------------------------------------------------------


def place(
    size: Sequence[int], wanted: Sequence[int], fit: str
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Which part of a picture is taken, (top, left, bottom, right), and the size that it is brought to."""
    (height, width), (rows, columns) = size, wanted
    if fit == "contain":
        factor = min(rows / height, columns / width)
        made = max(1, round(height * factor)), max(1, round(width * factor))
        return (0.0, 0.0, float(height), float(width)), made
    tall, wide = float(height), float(width)
    if fit == "cover":
        factor = max(rows / height, columns / width)
        tall, wide = rows / factor, columns / factor
    top, left = (height - tall) / 2, (width - wide) / 2
    return (top, left, top + tall, left + wide), (rows, columns)


def _placed(pixels: np.ndarray, wanted: Sequence[int], fit: str) -> np.ndarray:
    """Pixels (H, W, C) at the size wanted; themselves if they have it."""
    if pixels.shape[:2] == tuple(wanted):
        return pixels
    (top, left, bottom, right), made = place(pixels.shape[:2], wanted, fit)
    rows = slice(round(top), max(round(bottom), round(top) + 1))
    columns = slice(round(left), max(round(right), round(left) + 1))
    pixels = pixels[rows, columns]
    if pixels.shape[:2] != made:
        pixels = resized(pixels, made)
    if made == tuple(wanted):
        return pixels
    above, before = ((w - m) // 2 for w, m in zip(wanted, made))
    below, after = wanted[0] - made[0] - above, wanted[1] - made[1] - before
    return np.pad(pixels, ((above, below), (before, after), (0, 0)), mode="edge")


def white_of(pixels: np.ndarray) -> float:
    """What white is likely to be in an array of pixels; 1 where values are in no known range."""
    if pixels.dtype.kind == "f":
        pixels = pixels[np.isfinite(pixels)]
    if not pixels.size:
        return 1.0
    low, high = float(pixels.min()), float(pixels.max())
    whole = pixels.dtype.kind in "iub" or bool((pixels == np.rint(pixels)).all())
    if low < 0:
        return 1.0
    if whole:
        return float(next((peak for peak in PEAKS if high <= peak), high))
    return 255.0 if 16 < high <= 255 else 1.0


# ---- files -----------------------------------------------------------------------------------------------


def measure(path: str | os.PathLike[str]) -> tuple[tuple[int, int], bool]:
    """Height and width of a picture file, and whether it has colours, from its first bytes."""
    found: tuple[tuple[int, int], bool] = _open(
        path, lambda image: ((image.height, image.width), _is_coloured(image))
    )
    return found


def read_pixels(
    path: str | os.PathLike[str], colour: bool, size: tuple[int, ...], fit: str = "stretch"
) -> np.ndarray:
    """A picture file as pixels of about the size wanted.

    Of an animation the first picture; what is transparent counts as white; turned as its camera says.

    Parameters
    ----------
    path : str or path
    colour : bool
        Red, green and blue, or grey.
    size : (height, width)
    fit : str

    Returns
    -------
    ndarray, uint8 from 0 to 255 or float32 from 0 to 1
        (H, W) or (H, W, 3). With "contain" one side may be shorter than wanted.

    Raises
    ------
    DataError
        Missing, empty, no picture, damaged, or of too many pixels.
    """

    def read(image: Image) -> np.ndarray:
        if image.format == "JPEG":  # decoded at a fraction of its size
            image.draft("RGB" if colour else "L", (2 * size[1], 2 * size[0]))
        return _pixels(image, colour, size, fit)

    found: np.ndarray = _open(path, read)
    return found


def _open(path: str | os.PathLike[str], use: Any) -> Any:
    """What `use` makes of a picture file."""
    image_module = need("PIL.Image", "pillow")
    check_file(path)
    name = shown(path)
    too_large = f"{name}: more than {LARGEST_PICTURE:,} pixels"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities of the file, and bombs: they have a limit of their own
            with image_module.open(path, formats=FORMATS) as image:
                if image.width * image.height > LARGEST_PICTURE:
                    raise DataError(too_large)
                return use(image)
    except DataError:
        raise
    except image_module.DecompressionBombError:
        raise DataError(too_large) from None
    except image_module.UnidentifiedImageError:
        raise DataError(f"{name}: not a picture in a known format ({', '.join(FORMATS)})") from None
    except MemoryError:
        raise DataError(f"{name}: too large for this machine's memory") from None
    except Exception as error:  # decoders of damaged files raise whatever they stumble upon
        raise DataError(f"{name}: damaged: {one_line(error)}") from None


def _is_coloured(image: Image) -> bool:
    return image.mode not in ("1", "L", "LA", "La") and not image.mode.startswith(("I", "F"))


def _pixels(image: Image, colour: bool, size: tuple[int, ...], fit: str) -> np.ndarray:
    image_module = need("PIL.Image", "pillow")
    turned = need("PIL.ImageOps", "pillow").exif_transpose(image)
    if turned.mode.startswith(("I", "F")):  # 16 or 32 bits per pixel
        values = finite(np.asarray(turned, np.float32))
        white = 65535.0 if turned.mode.startswith("I") else 1.0
        values = np.clip(values / np.float32(white), 0, 1)
        return np.repeat(values[:, :, None], 3, axis=2) if colour else values
    if "transparency" in turned.info or turned.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        turned = turned.convert("RGBA")
        paper = image_module.new("RGBA", turned.size, (255, 255, 255, 255))
        paper.alpha_composite(turned)
        turned = paper
    turned = turned.convert("RGB" if colour else "L")
    (top, left, bottom, right), made = place((turned.height, turned.width), size, fit)
    if (turned.height, turned.width) != made:
        turned = turned.resize(
            made[::-1], image_module.Resampling.BILINEAR, box=(left, top, right, bottom), reducing_gap=3.0
        )
    return np.asarray(turned)
