"""One function that opens data of every kind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fastconv.data.arrays import Wanted, npz_source
from fastconv.data.csv_file import csv_source
from fastconv.data.dataset import Dataset
from fastconv.data.design import OPTIONS, design
from fastconv.data.errors import DataError
from fastconv.data.files import check_file, shown
from fastconv.data.folders import folder_source
from fastconv.data.idx import idx_source, image_files, is_idx
from fastconv.data.labels import listed
from fastconv.data.preprocessing import Preprocessing
from fastconv.data.sources import Source
from fastconv.geometry import whole_number

#: What samples may be normalised to.
NORMALISE = ("standard", "signed", "unit")


def open_dataset(
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    preprocessing: Preprocessing | None = None,
    classes: Sequence[str] | None = None,
    groups: str | None = None,
    label: str | int | None = None,
    normalise: str = "standard",
    cache_bytes: int = 1 << 29,
    **options: Any,
) -> Dataset:
    """Open samples of several classes; they are read when they are asked for.

    Parameters
    ----------
    path : str or path
        A folder with a folder per class, of pictures (png, jpg, webp, ...), sounds (wav), texts or volumes
        (npy, nii, nii.gz), or one with such folders train/ and test/; an .npz file with x and y, images and
        labels, or x_train, y_train, x_test and y_test; an IDX file of images (MNIST's format, gzipped or
        not) whose labels stand beside it, or a folder with such pairs; a CSV file (gzipped or not) with a
        label and pixels or other numbers in each line.
    kind : str, optional
        "images", "sound", "text", "table" or "volumes"; without it, what the data looks like.
    preprocessing : Preprocessing, optional
        What is done to the samples, such as that of the data that a net has learned from. Without it, what
        the options and the data suggest; its statistics come with `Dataset.fitted`.
    classes : sequence of str, optional
        Names of the classes in their order, such as those that a net votes for. Data may then lack some, and
        have no others.
    groups : str, optional
        A regular expression whose part in parentheses finds in a file's name what belongs together, such as
        the speaker; nothing of that is split. (Texts that are cut belong together by file.)
    label : str or int, optional
        The column of a CSV file that is the label: its name, its number from 0, "first" or "last". Without it
        the one that is named so or has words; or the first or last, whichever looks like classes.
    normalise : str, default "standard"
        What `fitted` does. "standard": mean 0 and standard deviation 1. "signed": pixels from -1, black, to
        +1. "unit": pixels from 0 to 1, others as they are.
    cache_bytes : int, default 2**29
        Memory for prepared samples, so that they are not decoded in every epoch.
    **options
        Of pictures: `size`, (height, width) or one number for both (without it the size that all have, no
        side above 64, or (32, 32)); `colour`, bool (without it, if any has colours); `fit` as in
        `ImagePreprocessing`. Of sound: `sample_rate` (without it the most frequent, 16,000 at most),
        `seconds` (what nine of ten sounds do not exceed, 4 at most), `n_fft`, `hop`, `mel` and `loudness` as
        in `SoundPreprocessing`. Of text: `words`, `length` (what nine of ten texts do not exceed, 64 at
        most), `layout`, `cut` and `encoding` as in `TextPreprocessing`. Of volumes: `size`, (depth, height,
        width) or one number (without it the size that all have, no side above 32).

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        In one line: the file, and what is wrong with it. A bad sample among good ones is noted in
        `Dataset.skipped` instead.
    TypeError, ValueError
        An option is unknown or cannot have its value.
    MissingExtraError
        A package that reads such files is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.data import open_dataset
    >>> x = np.random.default_rng(0).integers(0, 17, (20, 64))
    >>> np.savetxt("digits.csv", np.column_stack([np.arange(20) % 2, x]), "%d", ",")
    >>> dataset = open_dataset("digits.csv", normalise="unit")
    >>> dataset.batch([0, 1])[0].shape, dataset.names[1]
    ((2, 1, 8, 8), 'digits.csv:2')
    """
    name = os.fsdecode(path)
    if normalise not in NORMALISE:
        raise ValueError(f"normalise={normalise!r}: must be one of {', '.join(NORMALISE)}")
    cache_bytes = whole_number("cache_bytes", cache_bytes, 0)
    if preprocessing is not None:
        if options:
            raise ValueError(f"{next(iter(options))}=: is said by the preprocessing that is given")
        if kind not in (None, preprocessing.kind):
            raise ValueError(f"kind={kind!r}: the preprocessing is for {preprocessing.kind}")
        kind = preprocessing.kind
    if kind is not None and kind not in OPTIONS:
        raise ValueError(f"kind={kind!r}: must be one of {', '.join(OPTIONS)}")
    wanted = Wanted(
        kind, None if classes is None else tuple(classes), groups, label, _size(options, preprocessing)
    )
    source, columns = _source(name, wanted)
    if preprocessing is None:
        source, preprocessing = design(source, columns, options)
    elif source.kind != preprocessing.kind:
        raise DataError(f"{shown(name)}: holds {source.kind}, the preprocessing is for {preprocessing.kind}")
    else:
        source = source.cut(preprocessing)

    def made(source: Source, test: Dataset | None = None) -> Dataset:
        return Dataset(source, preprocessing, normalise=normalise, cache_bytes=cache_bytes, test=test)

    return made(source, None if source.test is None else made(source.test.cut(preprocessing)))


def _size(options: dict[str, Any], preprocessing: Preprocessing | None) -> tuple[int, ...] | None:
    """Height and width that pixels in rows have, if anybody says."""
    if preprocessing is not None:
        return preprocessing.shape[-2:] if preprocessing.kind == "images" else None
    size = options.get("size")
    return tuple(size) if isinstance(size, (tuple, list)) and len(size) == 2 else None


def _source(path: str, wanted: Wanted) -> tuple[Source, tuple[str, ...]]:
    """The samples, and the names of their columns if it is a table."""
    if os.path.isdir(path):
        return (idx_source(path, wanted) if image_files(path) else folder_source(path, wanted)), ()
    check_file(path, 1 << 62)
    lower = path.lower()
    if lower.endswith(".npz"):
        return npz_source(path, wanted), ()
    if is_idx(path):
        return idx_source(path, wanted), ()
    if lower.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".data")):
        return csv_source(path, wanted)
    raise DataError(
        f"{shown(path)}: is no folder, nor a file of {listed(('.npz', '.csv', '.csv.gz', 'IDX'))}"
    )
