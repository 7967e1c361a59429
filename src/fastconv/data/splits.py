"""Which samples are held out: as large a part of every class, and nothing on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.data.errors import DataError
from fastconv.nn.arguments import real


def stratified_split(
    labels: Any, fraction: float, seed: int, groups: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split samples into those to learn from and those held out, class by class.

    Parameters
    ----------
    labels : array, shape (N,), whole numbers
    fraction : float, above 0 and below 1
        The part of every class that is held out: at least one sample, and never all.
    seed : int
        The same seed gives the same split.
    groups : array, shape (N,), whole numbers, optional
        Samples of one number stay together, such as the sentences of a document or the words of a speaker.
        The parts are then as near to `fraction` as whole groups can be.

    Returns
    -------
    train, held_out : ndarray, int64
        Numbers of samples, ascending.

    Raises
    ------
    DataError
        A class has too few samples (or groups) to be on both sides.
    ValueError, TypeError
        An argument is something else.

    Examples
    --------
    >>> from fastconv.data import stratified_split
    >>> train, held_out = stratified_split([0] * 10 + [1] * 20, 0.2, seed=0)
    >>> len(train), [int((held_out < 10).sum()), int((held_out >= 10).sum())]
    (24, [2, 4])
    """
    fraction = real("fraction", fraction, above=0, below=1)
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not labels.size:
        raise ValueError(f"labels: {labels.dtype} {labels.shape}, must be whole numbers (N,), at least one")
    rng = np.random.default_rng(seed)
    if groups is None:
        held = _by_sample(labels, fraction, rng)
    else:
        groups = np.asarray(groups)
        if groups.shape != labels.shape:
            raise ValueError(f"groups: shape {groups.shape}, must be that of labels, {labels.shape}")
        held = _by_group(labels, groups, fraction, rng)
    return np.flatnonzero(~held), np.flatnonzero(held)


def _by_sample(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if len(own) < 2:
            raise DataError(f"class {label} has 1 sample; it must have 2 or more, to hold one out")
        count = min(max(1, round(fraction * len(own))), len(own) - 1)
        held[rng.permutation(own)[:count]] = True
    return held


def _by_group(
    labels: np.ndarray, groups: np.ndarray, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Group after group in random order, each held out if that brings the classes nearer to their parts."""
    classes, label_of = np.unique(labels, return_inverse=True)
    names, group_of = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (group_of, label_of), 1)
    wanted = fraction * counts.sum(0)
    chosen = np.zeros(len(names), bool)
    so_far = np.zeros(len(classes))
    for group in rng.permutation(len(names)):
        with_it = so_far + counts[group]
        lonely = so_far[counts[group] > 0].min() == 0 and (with_it < counts.sum(0))[counts[group] > 0].all()
        if lonely or np.abs(wanted - with_it).sum() < np.abs(wanted - so_far).sum():
            chosen[group], so_far = True, with_it
    for place in np.flatnonzero((so_far == 0) | (so_far == counts.sum(0))):
        own = int((counts[:, place] > 0).sum())
        raise DataError(
            f"class {classes[place]} has {own} group{'s' * (own != 1)} of samples that belong together; "
            "that does not split into two sides"
        )
    held: np.ndarray = chosen[group_of]
    return held
