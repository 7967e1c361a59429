"""Receptive fields: what of every earlier layer a cell depends on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fastconv import nn
from fastconv.explain.steps import Join, Step, axes_of

#: Per axis (channel first) the places that count, sorted.
Field = tuple[np.ndarray, ...]


def fields_of(
    steps: Sequence[Step], shapes: Sequence[tuple[int, ...]], number: int, cell: Sequence[int]
) -> dict[int, Field]:
    """What a cell depends on, in its own map and every earlier one.

    Parameters
    ----------
    steps : sequence of Step
    shapes : sequence of tuple of int
        Of the input and of what each step makes, without the batch.
    number : int
        Of a value: 0 is the input, k + 1 what step k makes.
    cell : sequence of int
        Channel first.

    Returns
    -------
    dict of int to tuple of ndarray
        By number of the value, the places along each axis. Where ways part and meet again, those of both.
    """
    found: dict[int, Field] = {number: tuple(np.array([place]) for place in cell)}
    for k in range(number, 0, -1):
        if k not in found:
            continue
        for read, field in zip(steps[k - 1].reads, _back(steps[k - 1], shapes, found[k], shapes[k])):
            if not all(map(len, field)):  # of what is joined, a part that is not seen
                continue
            known = found.get(read)
            found[read] = field if known is None else tuple(map(np.union1d, known, field))
    return found


def _whole(shape: Sequence[int]) -> Field:
    return tuple(np.arange(size) for size in shape)


def _back(step: Step, shapes: Sequence[tuple[int, ...]], field: Field, made: tuple[int, ...]) -> list[Field]:
    """What of each value that a step reads a part of its output depends on."""
    layer, reads = step.layer, [shapes[read] for read in step.reads]
    shape = reads[0]
    axes = axes_of(layer, shape)
    if axes is not None:
        spatial = tuple(
            np.unique(np.concatenate([axis.taps(int(place)) for place in places]))
            for axis, places in zip(axes, field[1:])
        )
        return [(_channels(step, shape[0], made[0], field[0]), *spatial)]
    if step.kind in ("activation", "norm", "affine", "identity"):
        return [field]
    if step.kind == "add":
        return [
            tuple(np.array([0]) if size == 1 else places for places, size in zip(field[-len(each) :], each))
            for each in reads
        ]
    if isinstance(layer, Join):
        ends = np.cumsum([0, *(each[0] for each in reads)])
        return [
            (field[0][(field[0] >= first) & (field[0] < last)] - first, *field[1:])
            for first, last in pairwise(ends)
        ]
    if step.kind == "flatten" and len(made) == 1:
        return [tuple(np.unique(each) for each in np.unravel_index(field[0], shape))]
    if isinstance(layer, nn.LocalResponseNorm):
        low, high = int(field[0].min()) - layer.size // 2, int(field[0].max()) + layer.size // 2
        return [(np.arange(max(0, low), min(shape[0], high + 1)), *field[1:])]
    return [_whole(each) for each in reads]


def _channels(step: Step, size: int, made: int, places: np.ndarray) -> np.ndarray:
    if step.kind != "conv":
        return places
    groups = step.layer.groups  # type: ignore[attr-defined]
    own, out = size // groups, made // groups
    return np.unique(np.concatenate([np.arange(own) + own * group for group in np.unique(places // out)]))
