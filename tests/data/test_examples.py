"""The worked examples: what they write is what they say, and can be told apart."""

from __future__ import annotations

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
    write_customers,
    write_sentences,
    write_spoken_digits,
)
from fastconv.data.examples.__main__ import main
from fastconv.data.examples.customers import COLUMNS as KNOWN
from fastconv.data.examples.folder import new_folder
from fastconv.data.examples.learning import learn
from fastconv.data.examples.solids import SOLIDS
from fastconv.data.examples.spoken_digits import SPEAKER
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
    monkeypatch.setattr("fastconv.data.examples.spoken_digits.SPEAKERS", ("ann", "bob", "cy"))
    write_spoken_digits(tmp_path / "digits", count=2)
    dataset = open_dataset(tmp_path / "digits", groups=SPEAKER)
    assert dataset.counts.tolist() == [6] * 10
    _, held_out = dataset.split(0.3, seed=0)
    assert len({Path(dataset.names[i]).name.split("_")[0] for i in held_out}) == 1
    monkeypatch.setattr("fastconv.data.examples.spoken_digits.ACCENTS", ("en-gb",))
    monkeypatch.setattr("fastconv.data.examples.spoken_digits.SPEAKERS", ("nobody",))
    with pytest.raises(DataError, match=r"espeak-ng: failed for the voice en-gb\+nobody"):
        write_spoken_digits(tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["spoken-digits", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: espeak-ng: is not installed")
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_not_finished_is_not_there(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_folder(tmp_path / "made") as made:
            Path(made, "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == []
