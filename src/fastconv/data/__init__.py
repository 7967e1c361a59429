"""Data of people's own: pictures, sound, text, tables and volumes, as a net wants them.

`open_dataset` opens a folder or a file and sees what is in it. Samples are decoded when they are asked for,
so that there may be more than memory holds.

| module | question it answers |
|---|---|
| `opening`, `design` | what is in a folder or a file, and what should a net get of it? |
| `preprocessing` | what is done to every sample, in training and ever after? |
| `images`, `sound`, `text`, `table`, `volumes` | the same, of each kind |
| `folders`, `arrays`, `idx`, `csv_file` | where are samples, and what are their labels? |
| `npy`, `wav`, `nifti`, `files` | what does a file hold, whoever made it? |
| `dataset`, `sources` | which samples are there, and what was made of them already? |
| `splits` | which of them are held out? |
| `batches`, `augmentation` | in what order, and how changed, does a net see them? |
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
