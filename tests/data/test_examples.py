"""The worked examples: what they write is what they say, and can be told apart."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest

from data.made import tone, wav
from fastconv.data import DataError, open_dataset
from fastconv.data.examples import (
    draw_customers,
    draw_solids,
    touch_tone,
    write_brain,
    write_customers,
    write_faces,
    write_sentences,
    write_spoken_digits,
    write_spoken_letters,
)
from fastconv.data.examples.__main__ import main
from fastconv.data.examples.brain import HALF, REGIONS, STEP
from fastconv.data.examples.customers import COLUMNS as KNOWN
from fastconv.data.examples.folder import new_folder
from fastconv.data.examples.learning import learn
from fastconv.data.examples.solids import SOLIDS
from fastconv.data.examples.spoken import LETTERS, SPEAKER
from fastconv.data.examples.touch_tones import COLUMNS, KEYS, ROWS


@pytest.mark.parametrize("decibels", [40, 0])
def test_every_key_has_its_two_tones_as_strong_as_told(decibels: float) -> None:
    rng = np.random.default_rng(0)
    for place, key in enumerate(KEYS):
        sound = touch_tone(key, decibels, rng)
        power = abs(np.fft.rfft(sound)) ** 2
        frequency = np.fft.rfftfreq(len(sound), 1 / 8000)
        strength = {f: power[abs(frequency - f) < 6].max() for f in (*ROWS, *COLUMNS)}
        strongest = sorted(strength, key=strength.__getitem__)[-2:]
        assert sorted(strongest) == [ROWS[place // 4], COLUMNS[place % 4]]
        assert abs(sound).max() <= 1


def test_solids_are_as_large_whatever_they_are() -> None:
    """So that it takes the shape to tell them apart."""
    drawn = draw_solids(np.repeat(np.arange(5), 60), 16, 0, 0)
    volumes = drawn.reshape(5, 60, -1).sum(2).mean(1)
    assert volumes.max() / volumes.min() < 1.15
    assert drawn.min() == 0
    assert drawn.max() == 1
    border = np.concatenate([drawn[:, 0].ravel(), drawn[:, :, :, -1].ravel()])
    assert border.mean() < 0.01  # they are whole


def test_a_ball_looks_alike_from_every_side_and_a_rod_does_not() -> None:
    ball, rod = draw_solids(np.array([SOLIDS.index("ball"), SOLIDS.index("rod")]), 16, 0, 3)

    def lengths(solid: np.ndarray) -> np.ndarray:
        places = np.argwhere(solid > 0.5)
        return np.sqrt(np.linalg.eigvalsh(np.cov(places.T)))

    assert np.ptp(lengths(ball)) < 0.1 * lengths(ball).max()
    assert lengths(rod)[2] > 1.5 * lengths(rod)[1]


def test_sentences_of_documents(tmp_path: Path) -> None:
    licences = tmp_path / "licences"
    licences.mkdir()
    for name in ("MIT", "GPL"):
        told = f"The {name} licence is long. It is short.\n\nNo warranty of any kind by {name}!"
        (licences / name).write_text(f"{told} None at all for you.")
    (licences / "link").symlink_to("MIT")
    write_sentences(tmp_path / "text", licences)
    dataset = open_dataset(tmp_path / "text", cut="line")
    assert dataset.classes == ("licence", "python")
    assert [name for name in dataset.names if name.startswith("licence")] == [
        *(f"licence/GPL.txt:{i}" for i in (1, 2, 3)),  # what is short is none, what GPL has is not MIT's
        *(f"licence/MIT.txt:{i}" for i in (1, 2)),
    ]
    everything = [
        line for path in (tmp_path / "text").rglob("*.txt") for line in path.read_text().splitlines()
    ]
    assert len(set(everything)) == len(everything)
    train, held_out = dataset.split(0.3, seed=0)
    assert dataset.groups is not None
    assert not set(dataset.groups[train]) & set(dataset.groups[held_out])


def test_nets_learn_from_sentences_and_controls_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few words of made documents; the figures in the documentation are of the whole."""
    rng = np.random.default_rng(0)
    for kind, own in (("licence", "grant warranty liable permit"), ("python", "class object import tuple")):
        (tmp_path / kind).mkdir()
        for number in range(12):
            lines = [rng.choice([*own.split(), "the", "a", "of", "in", "this"], 8) for _ in range(8)]
            (tmp_path / kind / f"{number}.txt").write_text("\n".join(map(" ".join, lines)))
    monkeypatch.setattr("fastconv.data.examples.learning.EPOCHS", {"sentences": 50})
    lines = list(learn("sentences", str(tmp_path)))
    told = dict(line.split(": ") for line in lines if not line.startswith(" "))
    nets = ("ConvNet, windows of 3 words", "ConvNet, of learned embeddings", "the first, positions shuffled")
    for name in (*nets, "bag of words"):
        accuracy, count = re.fullmatch(r"(.*)% of (\d+) held out", told[name]).groups()  # type: ignore[union-attr]
        assert float(accuracy) > 85, lines
        assert count == "48"
    assert told["always the more frequent kind"] == "50.0%"
    assert sum(line.startswith("  documents") for line in lines) == 4


def test_customers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Some columns have to do with the answer, names and addresses have not; a file opens as a table."""
    x, y = draw_customers(4000, 0)
    assert 0.4 < y.mean() < 0.6
    told = {name: abs(np.corrcoef(column, y)[0, 1]) for name, column in zip(KNOWN, x.T)}
    assert told["visits a month"] > 0.2 > 0.05 > told["letters in the name"]
    assert max(told[name] for name in ("house number", "street", "postal code")) < 0.05
    path = str(tmp_path / "customers.csv")
    assert main(["customers", path, "--count", "50"]) == 0
    assert "50 rows of a table in 2 classes, each (1, 16)" in capsys.readouterr().out
    kept = open_dataset(path, normalise="unit")
    np.testing.assert_allclose(kept.batch(slice(None))[0][:, 0], draw_customers(50, 0)[0], rtol=1e-4)
    with pytest.raises(FileExistsError):
        write_customers(path)
    assert main(["customers", str(tmp_path / "other.csv"), "--learn"]) == 2
    assert "no net is for a table" in capsys.readouterr().err
    assert not (tmp_path / "other.csv").exists()


def test_a_small_net_tells_keys_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Few keys in little noise; the figures in the documentation are of the whole."""
    monkeypatch.setattr("fastconv.data.examples.touch_tones.KEYS", KEYS[:3])
    monkeypatch.chdir(tmp_path)
    assert main(["touch-tones", "keys", "--count", "40", "--decibels", "20"]) == 0
    assert "120 sounds in 3 classes, each (1, 129, 30)" in capsys.readouterr().out
    monkeypatch.setattr("fastconv.data.examples.learning.EPOCHS", {"touch-tones": 50})
    (line,) = learn("touch-tones", "keys")
    accuracy, count = re.fullmatch(r"ConvNet on spectrograms: (.*)% of (\d+) held out", line).groups()  # type: ignore[union-attr]
    assert float(accuracy) > 90
    assert count == "30"
    assert main(["touch-tones", "keys"]) == 2
    assert capsys.readouterr().err == "error: keys: File exists\n"
    assert main(["solids", "few", "--count", "0"]) == 2
    assert capsys.readouterr().err == "error: count=0: must be at least 1\n"
    assert os.listdir(tmp_path) == ["keys"]


def test_digits_are_spoken_by_voices_that_are_not_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a program in the place of espeak-ng that hums."""
    hum = wav(tmp_path / "hum.wav", tone(440, 0.4))
    program = tmp_path / "bin" / "espeak-ng"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$2" != en-gb+nobody ] && cp {hum} "$8"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("fastconv.data.examples.spoken.SPEAKERS", ("ann", "bob", "cy"))
    write_spoken_digits(tmp_path / "digits", count=2)
    dataset = open_dataset(tmp_path / "digits", groups=SPEAKER)
    assert dataset.counts.tolist() == [6] * 10
    _, held_out = dataset.split(0.3, seed=0)
    assert len({Path(dataset.names[i]).name.split("_")[0] for i in held_out}) == 1
    write_spoken_letters(tmp_path / "letters", count=1)
    assert open_dataset(tmp_path / "letters").classes == tuple(LETTERS)
    monkeypatch.setattr("fastconv.data.examples.spoken.ACCENTS", ("en-gb",))
    monkeypatch.setattr("fastconv.data.examples.spoken.SPEAKERS", ("nobody",))
    with pytest.raises(DataError, match=r"espeak-ng: failed for the voice en-gb\+nobody"):
        write_spoken_digits(tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["spoken-digits", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: espeak-ng: is not installed")
    assert not (tmp_path / "none").exists()


def test_recorded_words_are_judged_and_a_folder_without_them_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two words that are a high and a low tone, spoken and recorded."""
    high_and_low = {"a": 2000.0, "b": 300.0}
    for word, pitch in high_and_low.items():
        for speaker in range(8):
            wav(tmp_path / "abc" / word / f"{speaker}_en_0.wav", tone(pitch * (1 + speaker / 50), 0.4))
        wav(tmp_path / "said" / f"{word}.wav", tone(pitch, 0.5))
    recordings = {"spoken-letters": (tuple(high_and_low), "letters")}
    monkeypatch.setattr("fastconv.data.examples.learning.RECORDINGS", recordings)
    monkeypatch.setattr("fastconv.data.examples.learning.BATCH", 4)
    monkeypatch.setattr("fastconv.data.examples.learning.RECORDED", str(tmp_path / "none"))
    *_, line = learn("spoken-letters", str(tmp_path / "abc"))
    assert line == "no recorded letters here (Debian's asterisk-core-sounds-en-wav)"
    *_, line = learn("spoken-letters", str(tmp_path / "abc"), 0, str(tmp_path / "said"))
    assert line == "recorded letters, never learned from: 2 of 2"


def test_faces_are_written_half_of_each_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of pictures made up: "faces" are bright in the middle. Every one is held out once in each round."""
    rng = np.random.default_rng(0)
    made = rng.random((40, 12, 12)) * 0.5
    made[:20, 4:8, 4:8] += 0.5
    np.save(tmp_path / "made.npy", made)
    monkeypatch.setattr("fastconv.data.examples.learning.EPOCHS", {"faces": 8})
    monkeypatch.setattr("fastconv.data.examples.learning.BATCH", 8)
    folder = str(tmp_path / "faces")
    assert main(["faces", folder, "--source", str(tmp_path / "made.npy"), "--learn"]) == 0
    said = capsys.readouterr().out
    assert "40 images in 2 classes, each (1, 12, 12)" in said
    mean = re.search(r"mean of 2 such rounds: ([\d.]+)% of 80 held out", said)
    assert mean is not None
    assert float(mean[1]) > 90
    np.save(tmp_path / "odd.npy", made[:3])
    assert main(["faces", str(tmp_path / "odd"), "--source", str(tmp_path / "odd.npy")]) == 2
    assert "half of them faces" in capsys.readouterr().err
    monkeypatch.setattr("fastconv.data.examples.faces.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"scikit-image: is not installed \(pip install"):
        write_faces(tmp_path / "none")


def nifti(path: Path, voxels: np.ndarray) -> None:
    """Bytes (D, H, W) as a NIfTI-1 file."""
    header = bytearray(352)
    header[:4] = (348).to_bytes(4, "little")
    header[40:56] = np.array([3, *voxels.shape[::-1], 1, 1, 1, 1], "<i2").tobytes()
    header[70:72] = (2).to_bytes(2, "little")
    header[108:112] = np.array([352], "<f4").tobytes()
    header[344:348] = b"n+1\0"
    path.write_bytes(gzip.compress(bytes(header) + voxels.astype(np.uint8).tobytes()))


def test_blocks_of_a_brain_lie_in_their_region_and_on_one_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a head of six slabs, each of its own brightness; between the halves no voxel is shared."""
    labels = np.zeros((6 * 16, 16, 40), np.uint8)
    for number, ((first, _), *_) in enumerate(REGIONS.values()):
        labels[16 * number : 16 * number + 16] = first
    nifti(tmp_path / "ch2.nii.gz", labels * 2)
    nifti(tmp_path / "aal.nii.gz", labels)
    write_brain(tmp_path / "blocks", tmp_path, size=8)
    dataset = open_dataset(tmp_path / "blocks", groups=HALF)
    assert dataset.classes == tuple(sorted(REGIONS))
    assert dataset.groups is not None
    sides = [set(), set()]  # type: list[set[int]]
    for name, group in zip(dataset.names, dataset.groups):
        *_, x = map(int, Path(name).stem.split("_")[1:])
        sides[group] |= set(range(x, x + 8))
        block = np.load(tmp_path / "blocks" / name)
        assert (block == 2 * REGIONS[name.split("/")[0]][0][0]).mean() >= 0.5
    assert not sides[0] & sides[1]
    assert len(dataset) == 6 * 2 * 2 * 2 * (16 // STEP)
    monkeypatch.setattr("fastconv.data.examples.learning.EPOCHS", {"brain": 2})
    *_, line = learn("brain", str(tmp_path / "blocks"))
    assert re.fullmatch(r"ConvNet on blocks, both halves: [\d.]+% of \d+ held out", line)
    (tmp_path / "aal.nii.gz").unlink()
    assert main(["brain", str(tmp_path / "none"), "--source", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("aal.nii.gz: is not there (Debian's mricron-data)\n")


def test_a_folder_that_is_not_finished_is_not_there(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_folder(tmp_path / "made") as made:
            Path(made, "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == []
