"""The kinds of data, by name."""

from __future__ import annotations

from fastconv.data.images import ImagePreprocessing
from fastconv.data.preprocessing import Preprocessing
from fastconv.data.sound import SoundPreprocessing
from fastconv.data.table import TablePreprocessing
from fastconv.data.text import TextPreprocessing
from fastconv.data.volumes import VolumePreprocessing

KINDS: dict[str, type[Preprocessing]] = {
    made.kind: made
    for made in (
        ImagePreprocessing,
        SoundPreprocessing,
        TextPreprocessing,
        TablePreprocessing,
        VolumePreprocessing,
    )
}
