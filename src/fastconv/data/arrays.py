"""Samples that are the rows of an array: which kind they are, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.files import shown
from fastconv.data.labels import listed, numbered, spelled
from fastconv.data.npy import read_npz
from fastconv.data.sources import ArraySource, Numbered

#: What arrays of an .npz file may be called: samples and labels; and the parts of it.
SAMPLES = ("x", "images", "data", "samples")
LABELS = ("y", "labels", "label", "target", "targets")
TRAIN = ("_train", "_training", "")
TEST = ("_test", "_testing", "_val", "_valid")

#: Names of the classes.
NAMES = ("classes", "class_names", "label_names", "target_names")

#: Rows of numbers that are pictures have at least this many pixels a side.
SMALLEST_SIDE = 5

#: Channels of a picture, where an axis may be colours.
COLOURS = (1, 3, 4)

#: Rows that are looked at, evenly spread, to see what they are.
LOOKED_AT = 1000


@dataclass(frozen=True)
class Wanted:
    """What the caller of `open_dataset` says about the samples."""

    kind: str | None = None
    classes: tuple[str, ...] | None = None
    groups: str | None = None
    label: str | int | None = None
    size: tuple[int, ...] | None = None


def npz_source(path: str, wanted: Wanted) -> ArraySource:
    """The samples of an .npz file; `test` of it those that the file sets aside.

    Raises
    ------
    DataError
        It holds no such arrays, or arrays that do not belong together.
    """
    arrays = read_npz(path)
    folded = {name.lower().replace("-", "_"): name for name in arrays}
    pairs = [pair for ends in (TRAIN, TEST) if (pair := _pair(folded, ends))]
    if not pairs:
        raise DataError(
            f"{shown(path)}: holds {', '.join(sorted(arrays)) or 'nothing'}; must hold x and y, images and "
            "labels, or x_train, y_train (and x_test, y_test)"
        )
    names = next((arrays[folded[name]] for name in NAMES if name in folded), None)
    sources: list[ArraySource] = []
    for part, (x, y) in zip(("", "test:"), pairs):
        labels, bad = spelled(shown(path), _named(path, arrays[y], names))
        if sources:
            wanted = Wanted(sources[0].kind, sources[0].classes, size=wanted.size)
        sources.append(array_source(path, arrays[x], labels, bad, wanted, part))
    sources[0].test = sources[1] if len(sources) > 1 else None
    return sources[0]


def _pair(folded: Mapping[str, str], ends: Sequence[str]) -> tuple[str, str] | None:
    """The names of samples and labels of one part."""
    for end in ends:
        x = next((folded[name + end] for name in SAMPLES if name + end in folded), None)
        y = next((folded[name + end] for name in LABELS if name + end in folded), None)
        if x is not None and y is not None:
            return x, y
    return None


def _named(path: str, labels: np.ndarray, names: np.ndarray | None) -> np.ndarray:
    """Labels as the file's own names of its classes, if it has such names and numbers for them."""
    if names is None or labels.dtype.kind not in "iu":
        return labels
    words, bad = spelled(shown(path), names)
    if bad or labels.size == 0:
        return labels
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(words):
        wrong = low if low < 0 else high
        raise DataError(
            f"{shown(path)}: label {wrong}, must be 0 to {len(words) - 1}, one of its class names"
        )
    named: np.ndarray = words[labels]
    return named


def array_source(
    path: str,
    rows: np.ndarray,
    labels: np.ndarray,
    bad: Mapping[int, str],
    wanted: Wanted,
    part: str = "",
    numbers: np.ndarray | None = None,
) -> ArraySource:
    """Samples that are rows of an array.

    Parameters
    ----------
    path : str
    rows : ndarray, shape (N, ...)
    labels : ndarray of str, shape (N,)
    bad : dict
        Rows that are left out, by their places, and why.
    wanted : Wanted
    part : str
        Stands before the number in the name of a sample.
    numbers : ndarray, optional
        What the samples are called, in place of their numbers from 0.

    Raises
    ------
    DataError
        Another number of labels; no row that is good; values that are no real numbers, or of a shape that no
        kind has.
    """
    name = shown(path)
    if rows.ndim < 2 or not len(rows):
        raise DataError(f"{name}: samples of shape {rows.shape}, must be (N, ...) with at least one")
    if len(labels) != len(rows):
        raise DataError(f"{name}: {len(rows):,} samples and {len(labels):,} labels, must be as many")
    if rows.dtype.kind not in "fiub":
        raise DataError(f"{name}: samples are {rows.dtype}, must be real numbers")
    if 0 in rows.shape:
        raise DataError(f"{name}: samples of shape {rows.shape} hold nothing")
    names = Numbered(path, np.arange(len(rows)) if numbers is None else numbers, part)
    skipped = [(names[place], why) for place, why in sorted(bad.items())]
    if len(skipped) == len(rows):
        raise DataError(f"{name}: none of its {len(rows):,} samples can be used; the first: {skipped[0][1]}")
    kind = wanted.kind or _kind_of(rows)
    rows = _arranged(name, rows, kind, wanted.size)
    if bad:
        good = np.delete(np.arange(len(rows)), list(bad))
        rows, labels = rows[good], labels[good]
        names = Numbered(path, names.numbers[good], part)
    classes, own = numbered(name, labels, names, wanted.classes)
    return ArraySource(path, kind, classes, own, names, rows=rows, skipped=skipped)


def looked_at(rows: np.ndarray) -> np.ndarray:
    """Some of the rows, evenly spread."""
    some: np.ndarray = rows[np.linspace(0, len(rows) - 1, min(len(rows), LOOKED_AT)).astype(int)]
    return some


def _kind_of(rows: np.ndarray) -> str:
    """What rows are if nobody says: pictures, volumes, or numbers in columns."""
    if rows.ndim == 2:
        some = looked_at(rows)
        some = some[np.isfinite(some)]
        pixels = some.size and some.min() >= 0 and some.max() <= 255 and bool((some == np.rint(some)).all())
        return "images" if pixels and _square(rows.shape[1]) else "table"
    if rows.ndim == 4:
        coloured = rows.shape[3] in COLOURS or rows.shape[1] in COLOURS
        return "images" if coloured else "volumes"
    return "images" if rows.ndim == 3 else "volumes"


def _square(pixels: int) -> tuple[int, ...]:
    """(H, W) or (3, H, W) of a square picture of so many pixels; () if there is none."""
    for channels in (1, 3):
        side = math.isqrt(pixels // channels)
        if pixels == channels * side * side and side >= SMALLEST_SIDE:
            return (side, side) if channels == 1 else (3, side, side)
    return ()


def _arranged(name: str, rows: np.ndarray, kind: str, size: tuple[int, ...] | None) -> np.ndarray:
    """Views of pictures as (N, H, W) or (N, H, W, C), volumes as (N, D, H, W) or (N, C, D, H, W)."""
    shape = rows.shape[1:]
    if kind == "table":
        return rows.reshape(len(rows), -1)
    if kind == "images":
        if len(shape) == 1:
            picture = _square(shape[0])
            if size is not None and shape[0] % math.prod(size) == 0:
                channels = shape[0] // math.prod(size)
                picture = tuple(size) if channels == 1 else (channels, *size)
            if not picture:
                raise DataError(
                    f"{name}: rows of {shape[0]} pixels are no square; size= says height and width"
                )
            rows = rows.reshape(len(rows), *picture)
            shape = picture
        if len(shape) == 3 and shape[2] not in COLOURS and shape[0] in COLOURS:
            rows = rows.transpose(0, 2, 3, 1)
        if len(shape) == 2 or (len(shape) == 3 and rows.shape[3] in COLOURS):
            return rows
        raise DataError(f"{name}: samples of shape {shape} are no pictures: (H, W), (H, W, C) or (C, H, W)")
    if kind == "volumes":
        if len(shape) == 4 and shape[0] not in COLOURS and shape[3] in COLOURS:
            rows = rows.transpose(0, 4, 1, 2, 3)
        if len(shape) in (3, 4):
            return rows
        raise DataError(f"{name}: samples of shape {shape} are no volumes: (D, H, W) or (C, D, H, W)")
    raise DataError(
        f"{name}: holds arrays, which are read as {listed(('images', 'volumes', 'table'))}, not {kind}"
    )
