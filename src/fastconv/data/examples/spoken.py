"""Digits and letters spoken by a machine in many voices, for a net that hears voices it does not know."""

from __future__ import annotations

import os
import shutil
import string
import subprocess
from collections.abc import Mapping

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.examples.folder import new_folder
from fastconv.geometry import whole_number

#: What the synthesiser reads for each class; a Z is "zed" in most of its accents.
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = {str(digit): word for digit, word in enumerate(NUMBERS)}
LETTERS = {letter: letter.upper() for letter in string.ascii_lowercase} | {"z": "zee"}

#: Where Debian's asterisk-core-sounds-en-wav keeps what a person said: a.wav, 0.wav and so on.
RECORDED = "/usr/share/asterisk/sounds/en_US_f_Allison"

#: Speakers of espeak-ng ("variants"), and accents that each may have.
SPEAKERS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "grandma", "grandpa"),
    *("adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "belinda", "benjamin", "boris", "caleb", "david"),
    *("ed", "edward", "Gene", "Henrique", "Hugo", "Jacky", "john", "Lee", "linda", "marcelo", "Mario", "max"),
    *(
        "Michael",
        "Mike",
        "Nguyen",
        "pablo",
        "paul",
        "quincy",
        "rob",
        "robert",
        "steph",
        "travis",
        "victor",
        "Zac",
    ),
)
ACCENTS = ("en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")

#: Pitches and speeds that are drawn from, as espeak-ng counts them (0 to 99; words per minute).
PITCHES, SPEEDS = (30, 70), (120, 190)


def write_spoken_digits(folder: str | os.PathLike[str], count: int = 3, seed: int = 0) -> None:
    """A folder of .wav files for each digit, named after who speaks: "belinda_en-us_1.wav".

    Opened with `groups=SPEAKER`, no voice is both learned from and held out.

    Parameters
    ----------
    folder : str or path
        Must not be there yet.
    count : int, default 3
        Times that each of the 50 speakers says each digit: in an accent, pitch and speed of its own.
    seed : int

    Raises
    ------
    DataError
        The program espeak-ng is not installed, or fails.
    FileExistsError
        The folder is there.
    """
    _write(folder, DIGITS, count, seed)


def write_spoken_letters(folder: str | os.PathLike[str], count: int = 3, seed: int = 0) -> None:
    """The same of the letters a to z; see `write_spoken_digits`."""
    _write(folder, LETTERS, count, seed)


def _write(folder: str | os.PathLike[str], words: Mapping[str, str], count: int, seed: int) -> None:
    count = whole_number("count", count, 1)
    if shutil.which("espeak-ng") is None:
        raise DataError("espeak-ng: is not installed (Debian's package of that name)")
    rng = np.random.default_rng(seed)
    with new_folder(folder) as made:
        for name, word in words.items():
            os.mkdir(os.path.join(made, name))
            for speaker in SPEAKERS:
                for number in range(count):
                    accent = ACCENTS[rng.integers(len(ACCENTS))]
                    pitch, speed = (int(rng.integers(*limits)) for limits in (PITCHES, SPEEDS))
                    file = os.path.join(made, name, f"{speaker}_{accent}_{number}.wav")
                    _speak(word, f"{accent}+{speaker}", pitch, speed, file)


#: Finds the speaker in a name, for `open_dataset(groups=SPEAKER)`.
SPEAKER = r"/([^/_]+)_"


def _speak(word: str, voice: str, pitch: int, speed: int, name: str) -> None:
    command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "-w", name, word]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not os.path.exists(name):
        raise DataError(f"espeak-ng: {' '.join(done.stderr.split()) or f'failed for the voice {voice}'}")
