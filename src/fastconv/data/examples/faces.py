"""Faces and what are none: 200 small grey pictures that come with scikit-image."""

from __future__ import annotations

import os
from importlib.util import find_spec

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.examples.folder import new_folder
from fastconv.data.files import shown
from fastconv.data.npy import read_npy
from fastconv.terminal import need

#: The pictures of each kind, in this order in the file.
KINDS = ("face", "other")


def write_faces(folder: str | os.PathLike[str], source: str | os.PathLike[str] | None = None) -> None:
    """A folder of .png files for each kind, of 25x25 pixels.

    Parameters
    ----------
    folder : str or path
        Must not be there yet.
    source : str or path, optional
        `lfw_subset.npy`; without it that of the scikit-image that is installed. Its first half are faces, cut
        out of "Labeled Faces in the Wild", its second other parts of such photographs.

    Raises
    ------
    DataError
        It is not there, or no such file.
    FileExistsError
        The folder is there.
    MissingExtraError
        Pillow is not installed.
    """
    path = _installed() if source is None else os.fsdecode(source)
    pictures = read_npy(path)
    if pictures.ndim != 3 or not len(pictures) or len(pictures) % 2 or pictures.dtype.kind != "f":
        told = f"{pictures.dtype} {pictures.shape}"
        raise DataError(f"{shown(path)}: {told}, must be grey pictures, half of them faces")
    if not (pictures.min() >= 0 and pictures.max() <= 1):
        raise DataError(f"{shown(path)}: its pixels must be from 0 to 1")
    image = need("PIL.Image", "pillow")
    with new_folder(folder) as made:
        for kind, some in zip(KINDS, np.split(np.rint(255 * pictures).astype(np.uint8), 2)):
            os.mkdir(os.path.join(made, kind))
            for number, pixels in enumerate(some):
                image.fromarray(pixels).save(os.path.join(made, kind, f"{number:03}.png"))


def _installed() -> str:
    """Where scikit-image has the pictures; it is not imported."""
    found = find_spec("skimage")
    for home in (found and found.submodule_search_locations) or ():
        path = os.path.join(home, "data", "lfw_subset.npy")
        if os.path.isfile(path):
            return path
    raise DataError("scikit-image: is not installed (pip install scikit-image==0.26.0 has the pictures)")
