"""The keys of a telephone: two tones at once, in noise."""

from __future__ import annotations

import os
import wave

import numpy as np

from fastconv.data.examples.folder import new_folder
from fastconv.geometry import real_number, whole_number

#: Rows and columns of the keys, in Hz (ITU-T Q.23), and the names of their folders.
ROWS = (697, 770, 852, 941)
COLUMNS = (1209, 1336, 1477, 1633)
KEYS = ("1", "2", "3", "A", "4", "5", "6", "B", "7", "8", "9", "C", "star", "0", "hash", "D")

RATE = 8000

#: Seconds of a file, and of the key in it, which may begin at any time.
SECONDS, SHORTEST, LONGEST = 0.5, 0.1, 0.3

#: A file's effective value, as a part of a full scale: loud, and hardly ever cut.
LOUDNESS = 0.15


def touch_tone(key: str, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """One key pressed once, in white noise that goes on before and after it.

    Parameters
    ----------
    key : str
        One of `KEYS`.
    decibels : float
        How much stronger the tones are than the noise, while they sound: at 0 as strong.
    rng : numpy.random.Generator
        Chooses when the key is pressed and for how long, the phases, how one tone compares with the other (4
        dB at most, either way), and the noise.

    Returns
    -------
    ndarray, shape (4000,), float64
        Half a second at 8,000 samples per second, -1 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.data.examples import touch_tone
    >>> power = abs(np.fft.rfft(touch_tone("5", 60, np.random.default_rng(0))))  # a place for every 2 Hz
    >>> [2 * int(power[:500].argmax()), 2 * int(500 + power[500:].argmax())]
    [770, 1336]
    """
    place = KEYS.index(key)
    time = np.arange(round(SECONDS * RATE)) / RATE
    begin = rng.uniform(0, SECONDS - LONGEST)
    sounds = (time >= begin) & (time < begin + rng.uniform(SHORTEST, LONGEST))
    twist = 10 ** (rng.uniform(-2, 2) / 20)
    low, high = ROWS[place // 4], COLUMNS[place % 4]
    phases = rng.uniform(0, 2 * np.pi, 2)
    tones = twist * np.sin(2 * np.pi * low * time + phases[0])
    tones += np.sin(2 * np.pi * high * time + phases[1]) / twist
    tones /= np.sqrt((twist**2 + twist**-2) / 2)
    noise = rng.standard_normal(len(time)) * 10 ** (-decibels / 20)
    sound = np.where(sounds, tones, 0.0) + noise
    made: np.ndarray = np.clip(sound * (LOUDNESS / np.sqrt(np.mean(sound**2))), -1, 1)
    return made


def write_touch_tones(
    folder: str | os.PathLike[str], count: int = 60, decibels: float = 0.0, seed: int = 0
) -> None:
    """A folder of .wav files for each of the 16 keys.

    Parameters
    ----------
    folder : str or path
        Must not be there yet.
    count : int, default 60
        Files of each key.
    decibels : float, default 0
        As in `touch_tone`.
    seed : int

    Raises
    ------
    FileExistsError
        The folder is there.
    """
    count, decibels = whole_number("count", count, 1), real_number("decibels", decibels)
    rng = np.random.default_rng(seed)
    with new_folder(folder) as made:
        for key in KEYS:
            os.mkdir(os.path.join(made, key))
            for number in range(count):
                samples = np.rint(32767 * touch_tone(key, decibels, rng)).astype("<i2")
                with wave.open(os.path.join(made, key, f"{number:04}.wav"), "wb") as file:
                    file.setparams((1, 2, RATE, 0, "NONE", ""))
                    file.writeframes(samples.tobytes())
