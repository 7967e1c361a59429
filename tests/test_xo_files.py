"""Picture files of the user's own: whatever the format, ink, place and light, the letter is found."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastconv import xo

Image = pytest.importorskip("PIL.Image", reason="reading picture files needs pillow")
ImageDraw = pytest.importorskip("PIL.ImageDraw")


def letter(
    name: str, side: int = 200, box: tuple[int, int, int, int] = (40, 60, 150, 170), pen: int = 14
) -> np.ndarray:
    """A drawing of X or O, (side, side) of uint8: 255 where there is ink; not drawn by our generator."""
    image = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = box
    if name == "O":
        draw.ellipse(box, outline=255, width=pen)
    else:
        draw.line((left, top, right, bottom), fill=255, width=pen)
        draw.line((left, bottom, right, top), fill=255, width=pen)
    return np.asarray(image)


def dark(name: str) -> Image.Image:
    return Image.fromarray(255 - letter(name))


def with_alpha(name: str, mode: str) -> Image.Image:
    """Black ink on nothing."""
    image = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    image.putalpha(Image.fromarray(letter(name)))
    return image.convert(mode)


def wide(name: str, scale: float, dtype: type) -> Image.Image:
    """More than eight bits per pixel."""
    return Image.fromarray(((255.0 - letter(name)) * scale).astype(dtype))


FILES: dict[str, Callable[[str, Path], None]] = {
    "gray.png": lambda name, path: dark(name).save(path),
    "bilevel.png": lambda name, path: dark(name).convert("1").save(path),
    "colour.png": lambda name, path: dark(name).convert("RGB").save(path),
    "palette.gif": lambda name, path: dark(name).convert("P").save(path),
    "transparent palette.png": lambda name, path: dark(name).convert("P").save(path, transparency=255),
    "alpha.png": lambda name, path: with_alpha(name, "RGBA").save(path),
    "gray alpha.png": lambda name, path: with_alpha(name, "LA").save(path),
    "sixteen bits.png": lambda name, path: wide(name, 257, np.uint16).save(path),
    "32 bits.tif": lambda name, path: wide(name, 1e5, np.int32).save(path),
    "float.tif": lambda name, path: wide(name, 0.3, np.float32).save(path),
    "cmyk.tif": lambda name, path: dark(name).convert("CMYK").save(path),
    "lab.tif": lambda name, path: Image.merge("LAB", [dark(name)] * 3).save(path),
    "photo.jpg": lambda name, path: dark(name).convert("RGB").save(path, quality=60),
    "old.bmp": lambda name, path: dark(name).save(path),
    "plain.ppm": lambda name, path: dark(name).convert("RGB").save(path),
    "light on dark.png": lambda name, path: Image.fromarray(letter(name)).save(path),
    "low contrast.png": lambda name, path: Image.fromarray(150 - letter(name) // 6).save(path),
    "corner.png": lambda name, path: Image.fromarray(255 - letter(name, box=(150, 5, 190, 45), pen=2)).save(
        path
    ),
    "tight.png": lambda name, path: Image.fromarray(255 - letter(name, 60, (0, 0, 59, 59), 6)).save(path),
    "thin.png": lambda name, path: Image.fromarray(255 - letter(name, 900, (90, 80, 800, 810), 3)).save(path),
    "thick.png": lambda name, path: Image.fromarray(255 - letter(name, pen=26)).save(path),
    "large.png": lambda name, path: Image.fromarray(
        255 - letter(name, 3000, (300, 500, 2500, 2700), 200)
    ).save(path),
    "small.png": lambda name, path: Image.fromarray(255 - letter(name, 14, (2, 2, 11, 11), 1)).save(path),
    "flat.png": lambda name, path: Image.fromarray(255 - letter(name, box=(30, 60, 170, 150))).save(path),
}


@pytest.fixture(scope="module")
def network() -> xo.Learned:
    return xo.learn(xo.Knobs(), xo.Lesson(train=3000, epochs=6, unseen=100))


@pytest.mark.parametrize("file", FILES)
def test_letters_are_found(file: str, network: xo.Learned, tmp_path: Path) -> None:
    """X and O in every mode, format, ink, place, size and pen are judged right."""
    for label, name in enumerate(xo.LETTERS):
        FILES[file](name, tmp_path / file)
        picture = xo.read_picture(tmp_path / file)
        assert picture.shape == (1, 9, 9)
        assert picture.dtype == np.float32
        assert set(np.unique(picture)) == {-1.0, 1.0}
        assert xo.judge(network.network, picture[None]).argmax() == label, picture


@pytest.mark.parametrize("light", ["dark on light", "light on dark"])
def test_uneven_light(light: str, network: xo.Learned, tmp_path: Path) -> None:
    """A shadow across the sheet that is deeper than the ink is dark, with the grain of a photograph."""
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    rng = np.random.default_rng(0)
    for label, name in enumerate(xo.LETTERS):
        ink = letter(name) / 255.0
        sheet = 0.9 - 0.3 * ink if light == "dark on light" else 0.3 + 0.3 * ink
        photo = sheet * (0.75 + 0.2 * x - 0.1 * y * y) + rng.normal(0, 0.01, ink.shape)
        Image.fromarray((photo.clip(0, 1) * 255).astype(np.uint8)).save(tmp_path / "photo.png")
        picture = xo.read_picture(tmp_path / "photo.png")
        assert xo.judge(network.network, picture[None]).argmax() == label, picture


@pytest.mark.parametrize("inverted", [False, True])
def test_pictures_of_the_right_size_are_taken_as_they_are(inverted: bool, tmp_path: Path) -> None:
    """Pixel by pixel, the ten and others: neither cropped nor moved, whichever of the colours is ink."""
    pictures = np.concatenate([xo.deck_pictures()[0], xo.generate(100, rng=0)[0]])
    for picture in pictures:
        brightness = np.where((picture[0] > 0) ^ inverted, 0, 255).astype(np.uint8)
        Image.fromarray(brightness).save(tmp_path / "x.png")
        np.testing.assert_array_equal(xo.read_picture(tmp_path / "x.png"), picture)


@pytest.mark.parametrize("size", [5, 9, 20, 64])
def test_letters_are_centred(size: int, tmp_path: Path) -> None:
    """Any letter fills most of the picture and leaves the same margin, to a pixel, on both sides."""
    Image.fromarray(255 - letter("O", box=(150, 5, 190, 45), pen=4)).save(tmp_path / "o.png")
    picture = xo.read_picture(tmp_path / "o.png", size)[0]
    rows, columns = np.nonzero(picture > 0)
    for places in (rows, columns):
        assert abs(int(places.min()) - (size - 1 - int(places.max()))) <= 1
        assert 0.6 * size <= places.max() - places.min() + 1 <= 0.9 * size


# ---- files that are none -----------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG whose header may claim more than its data holds."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


BAD_FILES = {
    "empty.png": (b"", "the file is empty"),
    "text.png": (b"no picture\n", "not a picture"),
    "zeros.jpg": (bytes(1000), "not a picture"),
    "program.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    "short.png": (png(200, 200, bytes(100)), "damaged"),
    "cut.png": (png(50, 50, bytes(51 * 50))[:60], "damaged"),
    "bomb.png": (png(100_000, 100_000, bytes(10_000)), "too large"),
    "large.png": (png(12_000, 12_000, bytes(10_000)), "too large"),
    "blank.png": (png(20, 20, bytes(21 * 20)), "nothing to be seen"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_no_picture(name: str, tmp_path: Path) -> None:
    """One line that begins with the file's name and says what is wrong."""
    content, message = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(xo.PictureError) as caught:
        xo.read_picture(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_damage_anywhere(tmp_path: Path) -> None:
    """A file cut off or changed at any place is read or refused, never anything else."""
    path = tmp_path / "x.jpg"
    FILES["photo.jpg"]("X", path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for length in range(1, len(whole), 401):
        damaged = bytearray(whole)
        damaged[length] ^= int(rng.integers(1, 256))
        for content in (whole[:length], bytes(damaged)):
            path.write_bytes(content)
            with contextlib.suppress(xo.PictureError):
                assert xo.read_picture(path).shape == (1, 9, 9)


def test_things_that_are_no_files(tmp_path: Path) -> None:
    """Directories, pipes (which would block) and names without a file."""
    with pytest.raises(xo.PictureError, match="is a directory"):
        xo.read_picture(tmp_path)
    with pytest.raises(xo.PictureError, match="No such file"):
        xo.read_picture(tmp_path / "missing.png")
    with pytest.raises(xo.PictureError, match="null"):
        xo.read_picture("a\0b")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(xo.PictureError, match="not a regular file"):
        xo.read_picture(tmp_path / "pipe.png")


def test_transparent_and_not_a_number(tmp_path: Path) -> None:
    """Nothing but transparency, or NaN, is nothing to be seen."""
    Image.new("RGBA", (30, 30), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    with pytest.raises(xo.PictureError, match="nothing to be seen"):
        xo.read_picture(tmp_path / "clear.png")
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(xo.PictureError, match="not numbers"):
        xo.read_picture(tmp_path / "nan.tif")


def test_size_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="size=4"):
        xo.read_picture(tmp_path / "any.png", 4)
