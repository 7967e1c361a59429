"""Sound: WAV files of every width and rate, and their spectrograms."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from data.made import tone, wav
from fastconv.data import DataError, SoundPreprocessing, open_dataset, read_wav

MADE = SoundPreprocessing(shape=(1, 129, 30), sample_rate=8000, samples=4000, n_fft=256, hop=128)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_whole_numbers_of_any_width(width: int, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    found, rate = read_wav(wav(tmp_path / "x.wav", samples, 11025, width))
    assert rate == 11025
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, samples, atol=1.5 / 2 ** (8 * width - 1))


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_floating_point_with_other_chunks_between(dtype: str, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 9)
    width = np.dtype(dtype).itemsize
    chunks = b"LIST" + struct.pack("<I", 3) + b"abc\0"  # an odd one is padded
    chunks += b"fmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8000, 8000 * width, width, 8 * width)
    chunks += b"data" + struct.pack("<I", 9 * width) + samples.astype(dtype).tobytes()
    (tmp_path / "x.wav").write_bytes(b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks)
    np.testing.assert_allclose(read_wav(tmp_path / "x.wav")[0][:, 0], samples, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda data: data[:60], "truncated: 7,984 bytes of 8,000 are missing"),
        (lambda data: data[:40], "damaged: holds no samples"),
        (lambda data: b"", "the file is empty"),
        (lambda data: b"RIFX" + data[4:], "no WAV file"),
        (lambda data: data[:20] + struct.pack("<H", 7) + data[22:], "samples of 16 bits in format 7"),
        (lambda data: data[:22] + struct.pack("<H", 0) + data[24:], "0 channels"),
        (lambda data: data[:24] + struct.pack("<I", 0xFFFFFFFF) + data[28:], "samples per second"),
        (lambda data: data[:40] + struct.pack("<I", 0xFFFFFFFF) + data[44:], "truncated"),
        (lambda data: data[:40] + struct.pack("<I", 0), "holds no samples"),
        (lambda data: data[:12] + data[36:], "samples come before their format"),
    ],
)
def test_damaged_files(change: object, rule: str, tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", tone(440))
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(DataError, match=f"x.wav: .*{rule}") as caught:
        MADE.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
@pytest.mark.parametrize("frequency", [440, 1000, 3000])
def test_a_tone_is_bright_in_its_band_at_any_rate(frequency: float, rate: int, tmp_path: Path) -> None:
    found = MADE.read(wav(tmp_path / "x.wav", tone(frequency, 0.5, rate), rate))[0]
    assert found.shape == (129, 30)
    assert (abs(found.argmax(0) - frequency / 31.25) <= 1).all()


def test_what_a_lower_rate_cannot_carry_is_gone_and_not_mirrored(tmp_path: Path) -> None:
    made = SoundPreprocessing(
        shape=(1, 129, 30), sample_rate=8000, samples=4000, n_fft=256, hop=128, loudness="recorded"
    )
    high = made.read(wav(tmp_path / "x.wav", tone(7000, 0.5, 44100), 44100))[0, :, 5:-5]
    low = made.read(wav(tmp_path / "y.wav", tone(1000, 0.5, 44100), 44100))[0, :, 5:-5]
    assert low.max() - high.max() > 4  # bels


def test_intensities_are_bels(tmp_path: Path) -> None:
    made = SoundPreprocessing(
        shape=(1, 129, 30), sample_rate=8000, samples=4000, n_fft=256, hop=128, loudness="recorded"
    )
    loud = made.read(wav(tmp_path / "x.wav", tone(1000)))
    quiet = made.read(wav(tmp_path / "y.wav", 0.1 * tone(1000)))
    assert loud.max() - quiet.max() == pytest.approx(2, abs=0.01)
    same = MADE.read(tmp_path / "x.wav").max() - MADE.read(tmp_path / "y.wav").max()
    assert same == pytest.approx(0, abs=0.01)


def test_short_sounds_are_padded_on_both_sides_and_of_long_ones_the_strongest_part_is_taken() -> None:
    short = MADE.apply(tone(1000, 0.1))[0].max(0)
    assert short[:10].max() < short[15] - 4
    assert short[-10:].max() < short[15] - 4
    long = np.zeros(40_000)
    long[30_000:34_000] = tone(1000)
    np.testing.assert_allclose(MADE.apply(long), MADE.apply(tone(1000)), atol=0.05)


def test_mel_bands_are_even_to_the_ear() -> None:
    made = SoundPreprocessing(shape=(1, 24, 30), sample_rate=8000, samples=4000, n_fft=256, hop=128, mel=24)
    at = [made.apply(tone(f))[0, :, 15].argmax() for f in (200, 400, 800, 1600, 3200)]
    assert at == sorted(at)
    assert at[-1] - at[-2] < 8  # an octave takes 16 of the 129 at the top, and 51 of them
    assert at[1] - at[0] >= 2
    assert np.isfinite(made.apply(np.zeros(4000))).all()


def test_a_folder_of_sounds(tmp_path: Path) -> None:
    for i in range(6):
        wav(tmp_path / "low" / f"{i}.wav", tone(300 + 10 * i, 0.2 + 0.02 * i))
        wav(tmp_path / "high" / f"{i}.wav", tone(2000 + 10 * i, 0.3, 44100), 44100 if i < 2 else 8000)
    dataset = open_dataset(tmp_path).fitted()
    assert isinstance(dataset.preprocessing, SoundPreprocessing)
    assert (dataset.kind, dataset.preprocessing.sample_rate) == ("sound", 8000)
    x, _ = dataset.batch(slice(None))
    assert x.shape == (12, *dataset.preprocessing.shape)
    np.testing.assert_allclose(x.mean((0, 1, 3)), 0, atol=1e-4)  # band by band
    again = open_dataset(tmp_path, mel=20, n_fft=512, hop=100, seconds=0.25, sample_rate=16000)
    assert again.preprocessing.shape == (1, 20, 1 + (4000 - 512) // 100)
    with pytest.raises(ValueError, match="hop=0: must be at least 1"):
        open_dataset(tmp_path, hop=0)
    with pytest.raises(TypeError, match=r"size=: .* holds sound, whose options are: sample_rate"):
        open_dataset(tmp_path, size=3)
    with pytest.raises(DataError, match="n_fft=9000: a window is longer than the 4000 samples"):
        SoundPreprocessing(shape=(1, 4501, 1), sample_rate=8000, samples=4000, n_fft=9000, hop=128)
