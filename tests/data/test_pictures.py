"""Folders of pictures: what a net gets of files of any format, size and colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.made import pictures, png
from fastconv.data import DataError, ImagePreprocessing, open_dataset


def test_a_folder_per_class_is_opened_as_it_is(tmp_path: Path) -> None:
    dataset = open_dataset(pictures(tmp_path, ("10", "9", "b")), normalise="unit")
    assert (dataset.kind, dataset.classes) == ("images", ("9", "10", "b"))  # numbers by their size
    assert dataset.counts.tolist() == [4, 4, 4]
    assert dataset.preprocessing.shape == (1, 8, 8)
    place = list(dataset.names).index("b/2.png")
    x, y = dataset.batch([place])
    pixels = np.asarray(Image.open(tmp_path / "b" / "2.png"))
    np.testing.assert_allclose(x[0, 0], pixels / 255, atol=1e-6)
    assert x.dtype == np.float32
    assert y.tolist() == [2]


@pytest.mark.parametrize("ending", ["png", "webp", "bmp", "tif", "gif"])
def test_lossless_formats_give_the_same_pixels(ending: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9), np.uint8)
    options = {"lossless": True} if ending == "webp" else {}
    path = png(tmp_path / f"x.{ending}", pixels, **options)
    found = ImagePreprocessing(shape=(1, 6, 9)).read(path)
    np.testing.assert_allclose(found[0], pixels / 255, atol=1e-2 if ending == "webp" else 1e-6)


def test_colours_are_channels_or_become_grey_as_pillow_makes_them(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    path = png(tmp_path / "x.png", pixels)
    coloured = ImagePreprocessing(shape=(3, 5, 5)).read(path)
    np.testing.assert_allclose(coloured, pixels.transpose(2, 0, 1) / 255, atol=1e-6)
    grey = ImagePreprocessing(shape=(1, 5, 5))
    np.testing.assert_allclose(grey.read(path)[0], np.asarray(Image.open(path).convert("L")) / 255, atol=1e-6)
    # an array of the same pixels, such as that of an .npz file, gives the same
    np.testing.assert_allclose(grey.apply(pixels), grey.read(path), atol=1.01 / 255)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    path = png(tmp_path / "x.png", [[0, 51], [102, 255]])
    found = ImagePreprocessing(shape=(3, 2, 2)).read(path)
    assert (found == found[:1]).all()


def test_what_is_transparent_counts_as_white(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, :, 3] = 255  # black above, nothing below
    path = png(tmp_path / "x.png", pixels)
    made = ImagePreprocessing(shape=(1, 2, 2))
    assert made.read(path)[0].tolist() == [[0, 0], [1, 1]]
    assert made.apply(pixels)[0].tolist() == [[0, 0], [1, 1]]


def test_sixteen_bits_are_as_bright_as_eight(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.array([[0, 65535], [32768, 257]], np.uint16)).save(path)
    found = ImagePreprocessing(shape=(1, 2, 2)).read(path)
    np.testing.assert_allclose(found[0], [[0, 1], [0.5, 1 / 255]], atol=1e-4)


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, 8:] = 255
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    image.save(tmp_path / "x.png", exif=exif)
    found = ImagePreprocessing(shape=(1, 16, 8)).read(tmp_path / "x.png")[0]
    assert found[:8].max() == 0
    assert found[8:].min() == 1


@pytest.mark.parametrize("fit", ["stretch", "contain", "cover"])
def test_other_proportions_come_to_the_size_as_told(fit: str, tmp_path: Path) -> None:
    """A wide picture, black but for a white left quarter and a grey right one."""
    pixels = np.zeros((10, 40), np.uint8)
    pixels[:, :10], pixels[:, 30:] = 255, 128
    made = ImagePreprocessing(shape=(1, 20, 20), fit=fit)
    found = made.read(png(tmp_path / "x.png", pixels))[0]
    np.testing.assert_allclose(found, made.apply(pixels)[0], atol=0.02)
    if fit == "cover":
        assert found.max() < 0.7  # its ends are gone
        assert found[:, 5:15].max() == 0
    else:
        assert found[:, 0].min() > 0.9
    if fit == "contain":
        assert (found[:6] == found[6]).all()  # above it, its border


def test_reducing_takes_the_mean_and_not_every_other_pixel() -> None:
    """A board of single pixels becomes grey, not black or white."""
    board = np.indices((64, 64)).sum(0) % 2 * 255
    found = ImagePreprocessing(shape=(1, 16, 16)).apply(board.astype(np.uint8))
    np.testing.assert_allclose(found[:, 2:-2, 2:-2], 0.5, atol=0.02)


def test_an_array_is_resized_as_pillow_does(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31), np.uint8)
    for size in [(8, 8), (40, 45), (10, 50)]:
        made = ImagePreprocessing(shape=(1, *size))
        wanted = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)) / 255
        np.testing.assert_allclose(made.apply(pixels)[0], wanted, atol=1.01 / 255)


def test_size_and_colour_follow_the_files_if_nobody_says(tmp_path: Path) -> None:
    for name, shape in {"same": (30, 20), "large": (600, 300)}.items():
        for i in range(4):
            png(tmp_path / name / "ab"[i % 2] / f"{i}.png", np.zeros(shape))
    assert open_dataset(tmp_path / "same").preprocessing.shape == (1, 30, 20)
    assert open_dataset(tmp_path / "large").preprocessing.shape == (1, 64, 32)
    png(tmp_path / "same" / "a" / "wide.png", np.zeros((10, 50, 3)))
    assert open_dataset(tmp_path / "same").preprocessing.shape == (3, 32, 32)
    assert open_dataset(tmp_path / "same", size=12, colour=False).preprocessing.shape == (1, 12, 12)


def test_folders_train_and_test_are_parts_and_not_classes(tmp_path: Path) -> None:
    pictures(tmp_path / "train")
    pictures(tmp_path / "test", count=2)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert len(dataset) == 8
    assert dataset.test is not None
    assert len(dataset.test) == 4
    fitted = dataset.fitted()
    assert fitted.test is not None
    assert fitted.test.preprocessing == fitted.preprocessing != dataset.preprocessing


def test_hidden_and_foreign_files_are_left_out_and_folders_below_belong_to_the_class(tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cat" / "notes.txt").write_text("a cat")
    (tmp_path / ".git").mkdir()
    png(tmp_path / "dog" / "more" / "far" / "x.png", np.zeros((8, 8)))
    dataset = open_dataset(tmp_path)
    assert dataset.counts.tolist() == [4, 5]
    assert "dog/more/far/x.png" in list(dataset.names)
    assert dataset.skipped == []


def test_groups_are_read_from_names(tmp_path: Path) -> None:
    for label in "ab":
        for who in "xyz":
            for i in range(2):
                png(tmp_path / label / f"{who}_{i}.png", np.zeros((8, 8)))
    dataset = open_dataset(tmp_path, groups=r"/(\w)_")
    train, held_out = dataset.split(0.34, seed=0)
    speakers = [{dataset.names[i].split("/")[1][0] for i in part} for part in (train, held_out)]
    assert not speakers[0] & speakers[1]
    assert [len(part) for part in speakers] == [2, 1]
    for pattern, rule in (("(", "groups='('"), ("x", "parentheses"), ("(q)", "does not match")):
        with pytest.raises(ValueError, match=rule.replace("(", r"\(")):
            open_dataset(tmp_path, groups=pattern)


def test_a_model_opens_other_files_with_its_own_preprocessing(tmp_path: Path) -> None:
    dataset = open_dataset(pictures(tmp_path / "one")).fitted()
    pictures(tmp_path / "two", ("dog",), size=20)
    other = open_dataset(tmp_path / "two", preprocessing=dataset.preprocessing, classes=dataset.classes)
    assert other.preprocessing is dataset.preprocessing
    assert other.labels.tolist() == [1] * 4
    assert other.batch([0])[0].shape == (1, 1, 8, 8)
    pictures(tmp_path / "three", ("dog", "cow"))
    with pytest.raises(DataError, match="folder cow, must be one of cat, dog"):
        open_dataset(tmp_path / "three", preprocessing=dataset.preprocessing, classes=dataset.classes)
    with pytest.raises(ValueError, match=r"size=: is said by the preprocessing"):
        open_dataset(tmp_path / "two", preprocessing=dataset.preprocessing, size=3)
    with pytest.raises(ValueError, match="the preprocessing is for images"):
        open_dataset(tmp_path / "two", preprocessing=dataset.preprocessing, kind="sound")


def test_pictures_as_npy_files(tmp_path: Path) -> None:
    for label, value in (("a", 0.0), ("b", 200.0)):
        (tmp_path / label).mkdir()
        for i in range(2):
            np.save(tmp_path / label / f"{i}.npy", np.full((7, 9), value))
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, dataset.preprocessing.shape) == ("images", (1, 7, 9))
