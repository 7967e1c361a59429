"""Labels of any spelling as numbers of classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastconv.data.errors import DataError


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Different names, numbers by their size and in front, words by the alphabet.

    Examples
    --------
    >>> from fastconv.data.labels import in_order
    >>> in_order(["10", "b", "9", "a", "9"])
    ('9', '10', 'a', 'b')
    """

    def key(name: str) -> tuple[bool, float, str]:
        try:
            number = float(name)
        except ValueError:
            return True, 0.0, name
        return number != number, number if number == number else 0.0, name

    return tuple(sorted(set(names), key=key))


def spelled(path: str, labels: Any) -> tuple[np.ndarray, dict[int, str]]:
    """Labels as words, and of those that are none the place and the reason.

    Parameters
    ----------
    path : str
        What messages begin with.
    labels : array, shape (N,) or (N, 1)
        Whole numbers in any dtype, words, or bytes.

    Raises
    ------
    DataError
        Another shape or dtype.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"{path}: labels of shape {labels.shape}, must be (N,): one number or word per sample"
        )
    bad: dict[int, str] = {}
    if labels.dtype.kind == "f":
        good = np.isfinite(labels) & (labels == np.rint(labels)) & (np.abs(labels) < 2**53)
        bad = {
            int(i): f"label {labels[i]:g}, must be a whole number or a word" for i in np.flatnonzero(~good)
        }
        labels = np.where(good, labels, 0).astype(np.int64)
    if labels.dtype.kind in "iub":
        return labels.astype(np.int64).astype(str), bad
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind != "U":
        raise DataError(f"{path}: labels are {labels.dtype}, must be whole numbers or words")
    labels = np.char.strip(labels)
    return labels, {int(i): "has no label" for i in np.flatnonzero(labels == "")}


def numbered(
    path: str, words: np.ndarray, names: Sequence[str], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Classes in order, and the number of each sample's.

    Parameters
    ----------
    path : str
        What messages begin with.
    words : ndarray of str, shape (N,)
    names : sequence of str
        Of the samples, for messages.
    classes : sequence of str, optional
        Those that there may be, in their order; without it those that there are, which must then be two at
        least.

    Raises
    ------
    DataError
        A label that is none of `classes`; a single class; or nearly as many classes as samples.
    """
    found, where = np.unique(words, return_inverse=True)
    if classes is None:
        made = in_order(found.tolist())
        check_classes(path, made)
        if len(made) > max(2, len(words) // 2):
            raise DataError(
                f"{path}: {len(made):,} different labels for {len(words):,} samples; labels must be classes, "
                "with several samples of each"
            )
    else:
        made = tuple(classes)
        for word in found.tolist():
            if word not in made:
                first = names[int(np.flatnonzero(words == word)[0])]
                raise DataError(f"{path}: {first}: label {word!r}, must be one of {listed(made)}")
    number = {name: i for i, name in enumerate(made)}
    return made, np.array([number[word] for word in found.tolist()], np.int64)[where.reshape(-1)]


def check_classes(path: str, classes: Sequence[str]) -> None:
    """Raise `DataError` unless there are two classes at least."""
    if len(classes) < 2:
        only = f"one class, {classes[0]!r}" if classes else "no class"
        raise DataError(f"{path}: has {only}; it must have two or more to tell apart")


def listed(names: Sequence[str]) -> str:
    """Names in a message, not all of them if they are many."""
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:10])} ... {names[-1]}"
