"""Blocks of a brain that was scanned and labelled: which region is each from?"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.examples.folder import new_folder
from fastconv.data.files import shown
from fastconv.data.nifti import read_nifti
from fastconv.geometry import whole_number

#: Where Debian's mricron-data keeps a brain, and the atlas that labels it voxel by voxel, of 1 mm.
TEMPLATES = "/usr/share/mricron/templates"
BRAIN, ATLAS = "ch2.nii.gz", "aal.nii.gz"

#: The atlas's numbers of each region, from and to.
REGIONS = {
    "frontal": ((1, 28),),
    "parietal": ((57, 70),),
    "temporal": ((79, 90),),
    "occipital": ((43, 56),),
    "cerebellum": ((91, 116),),
    "inside": ((29, 42), (71, 78)),  # insula, cingulum, hippocampus and amygdala; the nuclei
}

#: Voxels from one block to the next.
STEP = 8

#: How much of a block must be labelled, and how much of that be one region.
LABELLED, OF_ONE = 1 / 3, 0.6

#: Finds the half of the brain in a name, for `open_dataset(groups=HALF)`.
HALF = r"/(left|right)_"


def write_brain(
    folder: str | os.PathLike[str], source: str | os.PathLike[str] = TEMPLATES, size: int = 24
) -> None:
    """A folder of .npy files for each region: blocks of the scan that lie in it for the most part.

    A block lies on one side of the middle plane, which its name begins with. Neighbours overlap; with
    `groups=HALF` no voxel is both learned from and held out.

    Parameters
    ----------
    folder : str or path
        Must not be there yet.
    source : str or path
        A folder with ch2.nii.gz and aal.nii.gz.
    size : int, default 24
        Voxels of a block along each axis.

    Raises
    ------
    DataError
        The scan or its labels are not there, are damaged, or do not belong together.
    FileExistsError
        The folder is there.
    """
    size = whole_number("size", size, 1)
    scan, regions = _read(os.fsdecode(source))
    with new_folder(folder) as made:
        for name in REGIONS:
            os.mkdir(os.path.join(made, name))
        for half, place in _places(regions.shape, size):
            cut = tuple(slice(at, at + size) for at in place)
            counts = np.bincount(regions[cut].ravel(), minlength=len(REGIONS) + 1)[1:]
            if counts.sum() >= LABELLED * size**3 and counts.max() >= OF_ONE * counts.sum():
                name = f"{half}_{'_'.join(map(str, place))}.npy"
                np.save(os.path.join(made, list(REGIONS)[counts.argmax()], name), scan[cut])


def _read(source: str) -> tuple[np.ndarray, np.ndarray]:
    """The scan as bytes, and for each voxel the number of its region, from 1; 0 for none."""
    for name in (BRAIN, ATLAS):
        if not os.path.isfile(os.path.join(source, name)):
            raise DataError(f"{shown(os.path.join(source, name))}: is not there (Debian's mricron-data)")
    scan, atlas = (read_nifti(os.path.join(source, name)) for name in (BRAIN, ATLAS))
    if scan.shape != atlas.shape or scan.ndim != 3:
        raise DataError(f"{shown(source)}: a scan {scan.shape} and labels {atlas.shape}, must be on one grid")
    if not (scan.min() >= 0 and scan.max() <= 255 and atlas.min() >= 0 and atlas.max() <= 255):
        raise DataError(f"{shown(source)}: scan and labels must be from 0 to 255")
    region_of = np.zeros(256, np.uint8)
    for region, ranges in enumerate(REGIONS.values(), 1):
        for first, last in ranges:
            region_of[first : last + 1] = region
    return scan.astype(np.uint8), region_of[atlas.astype(np.uint8)]


def _places(shape: tuple[int, ...], size: int) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Where blocks begin: on either side of the middle plane, which the last axis crosses."""
    depth, height, width = shape
    middle = width // 2
    for z in range(0, depth - size + 1, STEP):
        for y in range(0, height - size + 1, STEP):
            for away in range(0, middle - size + 1, STEP):
                yield "left", (z, y, middle - size - away)
                if middle + away + size <= width:
                    yield "right", (z, y, middle + away)
