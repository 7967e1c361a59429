"""Volumes: blocks of voxels in .npy and NIfTI files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.nifti import read_nifti
from fastconv.data.npy import read_npy
from fastconv.data.preprocessing import Preprocessing, finite
from fastconv.data.resample import resized

#: Channels that a volume may have.
CHANNELS = 16


@dataclass(frozen=True, kw_only=True)
class VolumePreprocessing(Preprocessing):
    """What is done to volumes: brought to one size and normalised.

    Parameters
    ----------
    shape : (C, D, H, W)
    mean, std : tuple of float
        One number, or one per channel.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.data import VolumePreprocessing
    >>> VolumePreprocessing(shape=(1, 4, 4, 4)).apply(np.ones((8, 8, 8), np.uint8)).shape
    (1, 4, 4, 4)
    """

    kind: ClassVar[str] = "volumes"
    ranks: ClassVar[tuple[int, ...]] = (4,)

    def decode(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Voxels (D, H, W) or (C, D, H, W) of an .npy, .nii or .nii.gz file."""
        return read_npy(path) if os.fspath(path).lower().endswith(".npy") else read_nifti(path)

    def compact(self, raw: Any) -> np.ndarray:
        """Voxels (C, D, H, W), float32."""
        voxels = finite(np.asarray(raw))
        if voxels.ndim == 3:
            voxels = voxels[None]
        if voxels.ndim != 4 or 0 in voxels.shape or len(voxels) > CHANNELS:
            raise DataError(
                f"shape {np.shape(raw)}, must be (D, H, W) or (1 to {CHANNELS} channels, D, H, W)"
            )
        if len(voxels) != self.shape[0]:
            raise DataError(f"{len(voxels)} channels, must have {self.shape[0]}")
        return np.ascontiguousarray(resized(voxels, self.shape[1:], 1))
