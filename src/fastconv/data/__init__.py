"""Data of people's own: pictures, sound, text, tables and volumes, as a net wants them.

`open_dataset` opens a folder or a file and sees what is in it. Samples are decoded when they are asked for, so
that there may be more than memory holds.
"""

from __future__ import annotations

from fastconv.data.augmentation import Augmentation
from fastconv.data.batches import Batches
from fastconv.data.dataset import Dataset
from fastconv.data.errors import DataError
from fastconv.data.idx import read_idx
from fastconv.data.images import ImagePreprocessing
from fastconv.data.nifti import read_nifti
from fastconv.data.opening import open_dataset
from fastconv.data.preprocessing import Preprocessing
from fastconv.data.sound import SoundPreprocessing
from fastconv.data.splits import stratified_split
from fastconv.data.table import TablePreprocessing
from fastconv.data.text import TextPreprocessing
from fastconv.data.volumes import VolumePreprocessing
from fastconv.data.wav import read_wav

__all__ = [
    "Augmentation",
    "Batches",
    "DataError",
    "Dataset",
    "ImagePreprocessing",
    "Preprocessing",
    "SoundPreprocessing",
    "TablePreprocessing",
    "TextPreprocessing",
    "VolumePreprocessing",
    "open_dataset",
    "read_idx",
    "read_nifti",
    "read_wav",
    "stratified_split",
]
