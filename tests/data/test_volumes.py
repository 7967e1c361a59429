"""Volumes: .npy and NIfTI files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from data.made import nifti
from fastconv.data import DataError, VolumePreprocessing, open_dataset, read_nifti

VOXELS = np.arange(2 * 3 * 4).reshape(2, 3, 4)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti(name: str, order: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_nifti(nifti(tmp_path / name, VOXELS, order)), VOXELS)
    scaled = nifti(tmp_path / name, VOXELS, order, slope=0.5, inter=-1)
    np.testing.assert_allclose(read_nifti(scaled), VOXELS * 0.5 - 1)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda data: data[:100], "no NIfTI-1 file"),
        (lambda data: data[:-1], "truncated: 1 bytes of 48 are missing"),
        (lambda data: data[:42] + struct.pack("<3h", 32767, 32767, 32767) + data[48:], "has more than"),
        (lambda data: data[:42] + struct.pack("<h", -4) + data[44:], "dimensions"),
        (lambda data: data[:70] + struct.pack("<h", 128) + data[72:], "data type 128"),
        (lambda data: data[:108] + struct.pack("<f", np.nan) + data[112:], "voxels at byte nan"),
    ],
)
def test_nifti_that_is_damaged(change: object, rule: str, packed: bool, tmp_path: Path) -> None:
    data = change(nifti(tmp_path / "x.nii", VOXELS).read_bytes())  # type: ignore[operator]
    path = tmp_path / "y.nii.gz"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match=f"y.nii.gz: .*{rule}"):
        read_nifti(path)


def test_a_folder_of_volumes_comes_to_one_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label, level in (("empty", 0), ("full", 1000)):
        (tmp_path / label).mkdir()
        for i in range(3):
            nifti(tmp_path / label / f"{i}.nii.gz", rng.integers(0, 100, (6, 5, 4)) + level)
        np.save(tmp_path / label / "3.npy", (rng.integers(0, 100, (12, 10, 8)) + level).astype(np.float32))
    dataset = open_dataset(tmp_path, size=(6, 5, 4)).fitted()
    x, y = dataset.batch(slice(None))
    assert x.shape == (8, 1, 6, 5, 4)
    assert (x.mean((1, 2, 3, 4)) > 0).tolist() == (y == 1).tolist()
    np.testing.assert_allclose(x.std(), 1, atol=1e-4)
    assert open_dataset(tmp_path).preprocessing.shape == (1, 32, 32, 32)  # they differ


def test_channels_must_be_as_many(tmp_path: Path) -> None:
    made = VolumePreprocessing(shape=(2, 4, 4, 4))
    assert made.apply(np.zeros((2, 8, 8, 8))).shape == (2, 4, 4, 4)
    with pytest.raises(DataError, match="3 channels, must have 2"):
        made.apply(np.zeros((3, 8, 8, 8)))
    with pytest.raises(DataError, match=r"shape \(8, 8\), must be \(D, H, W\)"):
        made.apply(np.zeros((8, 8)))


def test_volumes_in_an_npz_file(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).random((6, 5, 6, 7))
    np.savez(tmp_path / "d.npz", x=voxels, y=np.arange(6) % 2)
    dataset = open_dataset(tmp_path / "d.npz", normalise="unit")
    assert dataset.kind == "volumes"
    np.testing.assert_allclose(dataset.batch([3])[0][0, 0], voxels[3], rtol=1e-6)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:60],
        lambda data: data[:-8],
        lambda data: b"\x93NUMPY\x09\x09" + data[8:],
        lambda data: b"",
    ],
)
def test_npy_files_that_are_cut(spoil: object, tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(2):
            np.save(tmp_path / label / f"{i}.npy", np.zeros((3, 3, 3)))
    path = tmp_path / "a" / "1.npy"
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    dataset = open_dataset(tmp_path)
    assert [name for name, _ in dataset.skipped] == ["a/1.npy"]
    assert len(dataset) == 3
    np.save(path, np.array([None, 1], object), allow_pickle=True)
    assert "Python objects" in dict(open_dataset(tmp_path).skipped)["a/1.npy"]
