"""A picture file of the user's own, turned into what a network looks at: a letter of +1 in the middle of -1.

Whatever is drawn may be dark on light or light on dark, in colour or not, in one corner of a large sheet: the
ink is told from the paper by brightness, cut out, brought to the size of the letters networks learn from,
and put in the middle.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.files import check_file, one_line
from fastconv.geometry import whole_number
from fastconv.terminal import need
from fastconv.xo.errors import PictureError
from fastconv.xo.generator import NARROWEST, SMALLEST
from fastconv.xo.pictures import resample, scale_ink

if TYPE_CHECKING:
    from PIL.Image import Image

#: File formats that are read; others (PostScript, PDF) would start foreign programs.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "PCX")

#: Larger pictures are reduced to this many pixels on the longer side before anything else.
WORKING_SIDE = 512

#: The longer side of the letter, as a part of the network's picture.
FILL = 0.8

#: Dark and light must differ by this part of the whole range, or there is nothing to be seen.
LEAST_CONTRAST = 0.08

#: Pictures this large may be photographs, whose light is evened out by their rim, this part on each side.
#: Most of that rim must look like paper.
SMALLEST_LIT = 48
RIM = 0.06
MOSTLY = 0.7

#: So much of the ink may lie outside the letter, on each side: specks of dust.
DUST = 0.005


def read_picture(path: str | os.PathLike[str], size: int = 9) -> np.ndarray:
    """Read a picture file and prepare it for a network.

    Parameters
    ----------
    path : path of a PNG, JPEG, GIF, BMP, TIFF, WebP, PPM, ICO, TGA or PCX file
        Any mode; of an animation, the first picture. What is transparent counts as white.
    size : int, at least 5, default 9
        Height and width that the network takes.

    Returns
    -------
    ndarray, shape (1, size, size), float32
        +1 for ink and -1 for paper. A picture of exactly this size is taken pixel by pixel; any other is
        cropped to its ink, scaled and centred.

    Raises
    ------
    PictureError
        Missing, a directory, empty, not a picture, damaged, too large to decode safely, or of one brightness.
    TypeError, ValueError
        `size` is not an integer of at least 5.
    MissingExtraError
        Pillow is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> from PIL import Image
    >>> from fastconv.xo import deck_pictures, read_picture
    >>> picture = deck_pictures()[0][0, 0]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.png")
    ...     Image.fromarray((picture < 0).astype("uint8") * 255).save(path)
    ...     bool((read_picture(path)[0] == picture).all())
    True
    """
    size = whole_number("size", size, SMALLEST)
    name = os.fspath(path)
    gray = _read_gray(name)
    gray = _even_light(gray)
    if float(np.ptp(gray)) < LEAST_CONTRAST:
        raise PictureError(
            f"{name}: nothing to be seen: all pixels are nearly as bright (transparent ones as white)"
        )
    ink = _find_ink(gray)
    if ink.shape != (size, size):
        ink = _center(_crop(ink), size)
    picture: np.ndarray = np.where(ink, np.float32(1), np.float32(-1))[None]
    return picture


# ---- the file ----------------------------------------------------------------------------------------


def _read_gray(name: str) -> np.ndarray:
    """Brightness of every pixel, 0 black to 1 white, float64; no side longer than `WORKING_SIDE`."""
    image_module = need("PIL.Image", "pillow")
    _check_file(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oddities of the file are not for the user to read
            warnings.simplefilter("error", image_module.DecompressionBombWarning)
            with image_module.open(name, formats=FORMATS) as image:
                return _brightness(image)
    except (image_module.DecompressionBombError, image_module.DecompressionBombWarning):
        limit = image_module.MAX_IMAGE_PIXELS
        raise PictureError(f"{name}: too large: more than {limit:,} pixels") from None
    except image_module.UnidentifiedImageError:
        raise PictureError(f"{name}: not a picture in a known format ({', '.join(FORMATS)})") from None
    except MemoryError:
        raise PictureError(f"{name}: too large for this machine's memory") from None
    except PictureError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they stumble upon
        raise PictureError(f"{name}: damaged: {one_line(error)}") from None


def _check_file(name: str) -> None:
    """Raise `PictureError` for anything but a readable file with content; pipes and devices would block."""
    try:
        check_file(name)
    except DataError as error:
        raise PictureError(str(error)) from None


def _brightness(image: Image) -> np.ndarray:
    image.draft("L", (WORKING_SIDE, WORKING_SIDE))  # lets a JPEG be decoded at a fraction of its size
    if image.mode.startswith(("I", "F")):
        # 16 or 32 bits per pixel, of whatever range
        values = np.asarray(image, np.float64)
        if not np.isfinite(values).all():
            raise PictureError(f"{getattr(image, 'filename', 'picture')}: has pixels that are not numbers")
        span = float(np.ptp(values))
        return _reduce((values - values.min()) / span if span else np.ones(values.shape))
    if image.mode == "LAB":
        image = image.getchannel(0)
    elif "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        paper = image.copy()
        paper.paste((255, 255, 255, 255), (0, 0, *image.size))
        paper.alpha_composite(image)
        image = paper
    image = image.convert("L")
    factor = -(-max(image.size) // WORKING_SIDE)
    return np.asarray(image.reduce(factor), np.float64) / 255.0


def _reduce(values: np.ndarray) -> np.ndarray:
    """Means of blocks, so that no side is longer than `WORKING_SIDE`."""
    factor = -(-max(values.shape) // WORKING_SIDE)
    return resample(values, -(-values.shape[0] // factor), -(-values.shape[1] // factor))


# ---- the letter --------------------------------------------------------------------------------------


def _even_light(gray: np.ndarray) -> np.ndarray:
    """Brightness without shadows that fall softly across the sheet: what a photograph of paper needs.

    A parabolic surface is laid through the rim of the picture, where there is mostly paper, such that the sum
    of absolute differences is small (by least squares reweighted a few times), so that ink on a minor part of
    the rim does not bend it.
    """
    height, width = gray.shape
    if min(height, width) < SMALLEST_LIT:
        return gray
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    rows, columns = np.nonzero(np.maximum(np.abs(x), np.abs(y)) > 1 - 2 * RIM)
    step = max(1, len(rows) // 5000)
    at = np.stack(_parabola(x[columns[::step]], y[rows[::step], 0]), axis=1)
    values = gray[rows[::step], columns[::step]]
    weights = np.ones(len(values))
    for _ in range(20):
        root = np.sqrt(weights)
        surface = np.linalg.lstsq(at * root[:, None], values * root, rcond=None)[0]
        distance = np.abs(values - at @ surface)
        weights = 1.0 / np.maximum(distance, 1e-3)
    if np.mean(distance < LEAST_CONTRAST) < MOSTLY:
        return gray  # a letter cut out tightly, or no paper at all: nothing is known about the light
    light = sum(factor * term for factor, term in zip(surface, _parabola(x, y)))
    even: np.ndarray = gray - light + np.mean(light)
    return even


def _parabola(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """The terms of a surface of second order."""
    return [x * 0 + 1, x, y, x * x, x * y, y * y]


def _find_ink(gray: np.ndarray) -> np.ndarray:
    """Which pixels are ink: those on the other side of the threshold than most of the rim."""
    dark = gray <= _threshold(gray)
    rim = np.concatenate([dark[0], dark[-1], dark[1:-1, 0], dark[1:-1, -1]])
    corners = dark[[0, 0, -1, -1], [0, -1, 0, -1]]
    # a letter cut out tightly covers much of the rim or all corners, but hardly most of all three
    darkness = (rim.mean() + dark.mean() + corners.mean() / 2) / 2.5
    return ~dark if darkness > 0.5 else dark


def _threshold(gray: np.ndarray) -> float:
    """The brightness that splits pixels into the two most distinct groups.

    Notes
    -----
    Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979): the split with
    the largest variance between the groups. Where there is nothing between the two, the middle of the gap.
    """
    counts, edges = np.histogram(gray, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = total / below - (total[-1] - total) / above
    between = np.where((below > 0) & (above > 0), below * above * difference**2, 0.0)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float(edges[(best[0] + best[-1]) // 2 + 1])


def _crop(ink: np.ndarray) -> np.ndarray:
    """The smallest box that holds the ink, dust aside."""
    for _ in range(2):
        share = np.cumsum(ink.sum(axis=1)) / ink.sum()
        first, last = np.searchsorted(share, [DUST, 1 - DUST], side="right")
        ink = ink[first : min(int(last), len(ink) - 1) + 1].T
    return ink


def _center(ink: np.ndarray, size: int) -> np.ndarray:
    """The letter scaled to `FILL` of a picture, its shape kept unless it is narrower than any in training."""
    height, width = ink.shape
    longest = max(3, round(FILL * size))
    narrowest = round(NARROWEST * longest)
    rows = max(narrowest, round(longest * height / max(height, width)))
    columns = max(narrowest, round(longest * width / max(height, width)))
    picture = np.zeros((size, size), bool)
    top, left = (size - rows) // 2, (size - columns) // 2
    picture[top : top + rows, left : left + columns] = scale_ink(ink, rows, columns)
    return picture
