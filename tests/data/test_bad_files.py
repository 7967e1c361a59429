"""Files that nobody vouches for: one bad one in many is skipped and named, nothing crashes or hangs."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.made import idx, nifti, pictures, png, tone, wav
from fastconv.data import DataError, ImagePreprocessing, open_dataset
from fastconv.data.kinds import KINDS


def bomb(width: int, height: int) -> bytes:
    """A PNG file of few bytes with so many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "the file is empty"),
    "no picture": (lambda data: b"not a picture at all", "not a picture in a known format"),
    "truncated": (lambda data: data[: len(data) // 2], "damaged"),
    "bomb": (lambda data: bomb(30_000, 30_000), "more than 100,000,000 pixels"),
    "one pixel wide bomb": (lambda data: bomb(1, 2**31 - 1), "more than 100,000,000 pixels|damaged"),
    "nothing but its head": (lambda data: bomb(50, 50), "damaged"),
    "postscript": (lambda data: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "known format"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_picture_in_many_is_skipped_and_named(name: str, tmp_path: Path) -> None:
    pictures(tmp_path, count=10)
    change, rule = BAD[name]
    path = tmp_path / "dog" / "3.png"
    path.write_bytes(change(path.read_bytes()))
    dataset = open_dataset(tmp_path).fitted()
    shown = [y for _, y in dataset.batches(batch_size=4, rng=0)]
    assert sum(map(len, shown)) == 19
    ((skipped, why),) = dataset.skipped
    assert skipped == "dog/3.png"
    assert "\n" not in why
    with pytest.raises(DataError, match=f"dog/3.png: .*({rule})"):
        dataset.preprocessing.read(path)


def test_all_bad_is_an_error(tmp_path: Path) -> None:
    pictures(tmp_path)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"none of 8 files can be read; the first, cat/0.png: not a picture"):
        open_dataset(tmp_path)
    pictures(tmp_path)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])  # their heads are whole
    dataset = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"none of its 8 samples can be read; the first, cat/0.png: damaged"):
        dataset.fitted()
    for path in (tmp_path / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"cat: none of its 4 files can be read: the file is empty"):
        open_dataset(tmp_path)


def test_folders_that_are_no_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file or directory"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has no class; it must have two"):
        open_dataset(tmp_path)
    pictures(tmp_path, ("cat",))
    with pytest.raises(DataError, match="has one class, 'cat'; it must have two"):
        open_dataset(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match="dog: holds no images"):
        open_dataset(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"1")
    with pytest.raises(DataError, match="is no folder, nor a file of"):
        open_dataset(tmp_path / "a.bin")
    with pytest.raises(ValueError, match="kind='pictures': must be one of images"):
        open_dataset(tmp_path, kind="pictures")
    with pytest.raises(DataError, match="embedded null"):
        open_dataset("a\0b")
    for kind in ("sound", "text", "volumes", "table"):
        with pytest.raises(DataError):
            open_dataset(tmp_path, kind=kind)


def test_pipes_and_links_in_circles_do_not_stop_it(tmp_path: Path) -> None:
    pictures(tmp_path)
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    (tmp_path / "cat" / "circle.png").symlink_to(tmp_path / "cat" / "circle.png")
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    (tmp_path / "dog" / "folder.png").mkdir()
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 8
    assert dict(dataset.skipped)["cat/pipe.png"] == "not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "cat" / "1.png").chmod(0)
    assert dict(open_dataset(tmp_path).skipped) == {"cat/1.png": "Permission denied"}


def test_names_are_told_in_one_line(tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "cat" / "two\nlines\x1b[31m.png").write_bytes(b"")
    broken = os.fsencode(tmp_path / "cat") + b"/\xff\xfe.png"
    with open(broken, "wb"):
        pass
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 8
    for name, _ in dataset.skipped:
        assert name.isprintable()
    with pytest.raises(DataError) as caught:
        ImagePreprocessing(shape=(1, 8, 8)).read(tmp_path / "cat" / "two\nlines\x1b[31m.png")
    assert str(caught.value).isprintable()


def test_a_file_that_goes_away_is_skipped(tmp_path: Path) -> None:
    pictures(tmp_path)
    dataset = open_dataset(tmp_path)
    (tmp_path / "cat" / "2.png").unlink()
    x, _ = dataset.batch(slice(None))
    assert len(x) == 7
    assert dict(dataset.skipped) == {"cat/2.png": "No such file or directory"}


@pytest.mark.parametrize("compressed", [False, True])
def test_npz_whose_arrays_claim_more_than_there_is(compressed: bool, tmp_path: Path) -> None:
    """A header of a terabyte: refused before anything of that size is asked for."""
    np.savez(tmp_path / "good.npz", x=np.zeros((4, 8, 8), np.uint8), y=[0, 1, 0, 1])
    way = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(tmp_path / "good.npz") as good, zipfile.ZipFile(tmp_path / "d.npz", "w", way) as bad:
        for name in good.namelist():
            data = good.read(name)
            if name == "x.npy":
                shape = b"(4000000, 512, 512), }"
                data = data.replace(b"(4, 8, 8), }" + b" " * (len(shape) - 12), shape)
                assert shape in data
            bad.writestr(name, data)
    with pytest.raises(DataError, match=r"'x.npy' of shape \(4000000, 512, 512\) has fewer bytes"):
        open_dataset(tmp_path / "d.npz")


def whole_file(kind: str, folder: Path) -> Path:
    """A good file of each kind."""
    if kind == "images":
        return png(folder / "x.png", np.arange(64).reshape(8, 8))
    if kind == "sound":
        return wav(folder / "x.wav", tone(440, 0.05))
    if kind == "volumes":
        return nifti(folder / "x.nii", np.arange(27).reshape(3, 3, 3))
    path = folder / ("x.txt" if kind == "text" else "row.csv")
    path.write_text("some words of text" if kind == "text" else "1,2,3")
    return path


def preprocessings() -> dict[str, object]:
    made = {
        "images": {"shape": [1, 8, 8], "fit": "contain", "peak": 255.0},
        "sound": {"shape": [1, 65, 5], "sample_rate": 8000, "samples": 400, "n_fft": 128, "hop": 64}
        | {"mel": 0, "loudness": "same"},
        "volumes": {"shape": [1, 4, 4, 4]},
        "text": {"shape": [3, 4], "length": 4, "vocabulary": ["of", "some"], "words": 2}
        | {"layout": "channels", "cut": "file", "encoding": "utf-8"},
        "table": {"shape": [1, 3], "columns": []},
    }
    return {
        kind: KINDS[kind].from_json({"kind": kind, "mean": [0.0], "std": [1.0], **fields})
        for kind, fields in made.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_mutants_of_files_give_arrays_or_one_line(kind: str, tmp_path: Path) -> None:
    """Bytes changed, cut and doubled at random: an array of the shape, finite, or a `DataError`."""
    made = preprocessings()[kind]
    path = whole_file(kind, tmp_path)
    good = path.read_bytes()
    assert made.read(path).shape == made.shape  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(0, min(len(data), 400))] = rng.integers(0, 256)
        if rng.random() < 0.3:
            data = data[: rng.integers(0, len(data))]
        path.write_bytes(bytes(data))
        try:
            x = made.read(path)  # type: ignore[attr-defined]
        except DataError as error:
            refused += 1
            assert str(error).startswith(str(path)), error  # noqa: PT017
            assert str(error).isprintable()  # noqa: PT017
        else:
            assert x.shape == made.shape  # type: ignore[attr-defined]
            assert np.isfinite(x).all()
    assert refused > 30


@pytest.mark.parametrize("name", ["d.npz", "d.csv", "d.csv.gz", "images-idx3-ubyte", "images-idx3-ubyte.gz"])
def test_mutants_of_whole_data_sets(name: str, tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).integers(0, 256, (12, 5, 5), np.uint8), np.arange(12) % 2
    path = tmp_path / name
    if name == "d.npz":
        np.savez_compressed(path, x=x, y=y)
    elif "idx" in name:
        idx(path, x, packed=name.endswith("gz"))
        idx(tmp_path / "labels-idx1-ubyte", y)
    else:
        text = "\n".join(",".join(map(str, [label, *row.ravel()])) for row, label in zip(x, y)).encode()
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        data = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(0, len(data))] = rng.integers(0, 256)
        if rng.random() < 0.3:
            data = data[: rng.integers(0, len(data))]
        path.write_bytes(bytes(data))
        try:
            dataset = open_dataset(path)
            found, _ = dataset.batch(slice(None))
        except DataError as error:
            refused += 1
            assert str(error).isprintable()  # noqa: PT017
        else:
            assert np.isfinite(found).all()
    assert refused > 5
