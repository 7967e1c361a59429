"""Sound: how strong each band of frequencies is at each time."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.preprocessing import Preprocessing, check_numbers, check_word, finite
from fastconv.data.wav import RATES, read_wav
from fastconv.terminal import need

#: Intensities below this part of a full scale's are silence: 80 dB less.
SILENCE = 1e-8

#: How loudness counts: as it was recorded, or every sound brought to the same.
LOUDNESS = ("same", "recorded")


@dataclass(frozen=True, kw_only=True)
class SoundPreprocessing(Preprocessing):
    """What is done to sounds: a spectrogram, the logarithm of the intensity per frequency band and time.

    Parameters
    ----------
    shape : (1, bands, frames)
        The lowest band is row 0.
    mean, std : tuple of float
        Of intensities in bels (tenfold steps), or one per band.
    sample_rate : int
        What every sound is brought to, in samples per second.
    samples : int
        Of each sound: shorter ones are padded with silence on both sides, of longer ones the strongest part
        is taken.
    n_fft, hop : int
        Samples of a window (Hann's), and from one to the next.
    mel : int, default 0
        Bands that are as wide as they are heard; 0 for the n_fft // 2 + 1 of the transform.
    loudness : str, default "same"
        "same" brings every sound to one loudness, "recorded" leaves it.

    Notes
    -----
    Stevens, Volkmann, Newman, "A scale for the measurement of the psychological magnitude pitch", J. Acoust.
    Soc. Am. 8 (1937), in the usual form 2595 log10(1 + f / 700).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.data import SoundPreprocessing
    >>> made = SoundPreprocessing(shape=(1, 129, 31), sample_rate=8000, samples=4096, n_fft=256, hop=128)
    >>> x = made.apply(np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000))
    >>> x.shape, int(x[0, :, 15].argmax()) * 8000 / 256
    ((1, 129, 31), 1000.0)
    """

    kind: ClassVar[str] = "sound"
    ranks: ClassVar[tuple[int, ...]] = (3,)

    sample_rate: int
    samples: int
    n_fft: int
    hop: int
    mel: int = 0
    loudness: str = "same"

    def __post_init__(self) -> None:
        check_numbers(
            sample_rate=self.sample_rate,
            samples=self.samples,
            n_fft=self.n_fft,
            hop=self.hop,
            mel=self.mel + 1,
        )
        check_word("loudness", self.loudness, LOUDNESS)
        super().__post_init__()
        if not RATES[0] <= self.sample_rate <= RATES[1]:
            raise DataError(f"sample_rate={self.sample_rate}: must be {RATES[0]} to {RATES[1]}")
        if self.shape != spectrogram_shape(self.samples, self.n_fft, self.hop, self.mel):
            raise DataError(
                f"shape={self.shape!r}: {self.samples} samples in windows of {self.n_fft}, {self.hop} apart, "
                f"give {spectrogram_shape(self.samples, self.n_fft, self.hop, self.mel)}"
            )

    @property
    def _statistics_axis(self) -> int:
        return 1

    def decode(self, path: str | os.PathLike[str]) -> np.ndarray:
        """One channel of samples, -1 to 1, at `sample_rate`."""
        samples, rate = read_wav(path)
        return resample(samples.mean(1), rate, self.sample_rate)

    def compact(self, raw: Any) -> np.ndarray:
        """The spectrogram, (1, bands, frames), float32."""
        sound = finite(np.asarray(raw))
        if sound.ndim != 1 or not sound.size:
            raise DataError(f"shape {sound.shape}, must be (samples,) of one channel")
        sound = _trimmed(sound.astype(np.float32), self.samples)
        if self.loudness == "same":
            strength = math.sqrt(float(np.mean(np.square(sound, dtype=np.float64))))
            sound = sound * np.float32(0.1 / strength) if strength > 0 else sound
        windows = np.lib.stride_tricks.sliding_window_view(sound, self.n_fft)[:: self.hop]
        power = np.square(np.abs(np.fft.rfft(windows * self._window))).astype(np.float32).T
        if self.mel:
            power = self._bands @ power
        made: np.ndarray = np.log10(power + np.float32(SILENCE))[None]
        return made

    @cached_property
    def _window(self) -> np.ndarray:
        """Hann's, at a sum of 1 so that intensities do not depend on its length; float32."""
        window = np.sin(np.pi * np.arange(self.n_fft) / self.n_fft) ** 2 if self.n_fft > 1 else np.ones(1)
        made: np.ndarray = (window / window.sum()).astype(np.float32)
        return made

    @cached_property
    def _bands(self) -> np.ndarray:
        """Triangles over the frequencies of the transform, (mel, n_fft // 2 + 1), float32."""
        highest = 2595 * math.log10(1 + self.sample_rate / 2 / 700)
        edges = 700 * (10 ** (np.linspace(0, highest, self.mel + 2) / 2595) - 1)
        step = self.sample_rate / self.n_fft
        frequencies = np.arange(self.n_fft // 2 + 1) * step
        # no narrower than the transform can tell apart
        up = np.maximum(edges[1:-1] - edges[:-2], step)[:, None]
        down = np.maximum(edges[2:] - edges[1:-1], step)[:, None]
        away = frequencies - edges[1:-1, None]
        made: np.ndarray = np.clip(np.minimum(1 + away / up, 1 - away / down), 0, 1).astype(np.float32)
        return made


def spectrogram_shape(samples: int, n_fft: int, hop: int, mel: int) -> tuple[int, int, int]:
    """(1, bands, frames) of a sound of so many samples.

    Raises
    ------
    DataError
        Not even one window fits.
    """
    if samples < n_fft:
        raise DataError(f"n_fft={n_fft}: a window is longer than the {samples} samples of a sound")
    return 1, mel or n_fft // 2 + 1, 1 + (samples - n_fft) // hop


def resample(sound: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples at another rate, without what the new one cannot carry."""
    if rate == wanted:
        return sound
    signal = need("scipy.signal", "scipy")
    shared = math.gcd(rate, wanted)
    made: np.ndarray = signal.resample_poly(sound, wanted // shared, rate // shared).astype(np.float32)
    return made


def _trimmed(sound: np.ndarray, count: int) -> np.ndarray:
    """So many samples: with silence on both sides, or the part that is strongest."""
    missing = count - len(sound)
    if missing >= 0:
        return np.pad(sound, (missing // 2, missing - missing // 2))
    energy = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    start = int(np.argmax(energy[count:] - energy[:-count]))
    return sound[start : start + count]
