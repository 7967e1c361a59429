"""What a vote becomes where a part of the input is hidden."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.geometry import per_axis, whole_number

if TYPE_CHECKING:
    from fastconv.explain.walking import Walk

#: Numbers that are computed at once: the maps of all cases together.
AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Occlusion:
    """A vote for every place of a window that hides what is under it.

    Attributes
    ----------
    votes : ndarray, shape (places along each axis)
        The vote with that part hidden.
    vote : float
        With nothing hidden.
    starts : tuple of ndarray
        Per axis, where the windows begin.
    size : tuple of int
        Of the window.
    fill : ndarray, shape (C,)
        What hides.
    """

    votes: np.ndarray
    vote: float
    starts: tuple[np.ndarray, ...]
    size: tuple[int, ...]
    fill: np.ndarray

    @property
    def drop(self) -> np.ndarray:
        """How much the vote falls; negative where it rises."""
        found: np.ndarray = self.vote - self.votes
        return found


def occlude(seen: Walk, vote: int, *, size: Any = None, stride: Any = None, fill: Any = None) -> Occlusion:
    """Hide one part of the input after the other, and look what becomes of a vote.

    Parameters
    ----------
    seen : Walk
    vote : int
        Number of the class.
    size : int or one per axis, optional
        Of the window; without it about a sixth of the input, at least 3.
    stride : int or one per axis, optional
        Between windows; without it 1, or so many that there are about sixteen places.
    fill : float or one per channel, optional
        What hides; without it the median of each channel, which in a drawing is the paper.

    Returns
    -------
    Occlusion

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    Zeiler, Fergus, "Visualizing and understanding convolutional networks", arXiv:1311.2901.

    Examples
    --------
    >>> from fastconv import explain
    >>> found = explain.deck_walk("X").occlusion("X")
    >>> found.votes.shape, round(float(found.drop.max()), 3)
    ((7, 7), 0.311)
    """
    shape = seen.shapes[0][1:]
    if not shape:
        raise ValueError("input: has no spatial axis along which something could be hidden")
    rank = len(shape)
    sizes = _per_axis("size", size, [min(side, max(3, side // 6)) for side in shape])
    strides = _per_axis("stride", stride, [max(1, side // 16) for side in shape])
    if any(own > side for own, side in zip(sizes, shape)):
        raise ValueError(f"size={size!r}: must fit the input's {shape}")
    channels = seen.shapes[0][0]
    if fill is None:
        fills = np.median(seen.input[0].reshape(channels, -1), axis=1)
    else:
        fills = np.broadcast_to(np.asarray(fill, np.float64), (channels,))
    starts = tuple(
        np.unique([*range(0, side - own + 1, step), side - own])
        for side, own, step in zip(shape, sizes, strides)
    )
    places = list(itertools.product(*starts))
    count = max(1, AT_ONCE // sum(map(math.prod, seen.shapes)))
    votes: list[np.ndarray] = []
    for first in range(0, len(places), count):
        part = places[first : first + count]
        cases = np.repeat(seen.input, len(part), axis=0)
        for case, place in zip(cases, part):
            hidden = (slice(None), *(slice(start, start + own) for start, own in zip(place, sizes)))
            case[hidden] = fills.reshape(channels, *(1,) * rank)
        votes.append(seen.tail(0, cases)[:, vote])
    shown = np.concatenate(votes).reshape([len(each) for each in starts])
    return Occlusion(shown, float(seen.votes[vote]), starts, sizes, fills)


def _per_axis(name: str, told: Any, default: list[int]) -> tuple[int, ...]:
    if told is None:
        return tuple(default)
    if not isinstance(told, (tuple, list)):
        whole_number(name, told, 1)
    return tuple(per_axis(name, told, len(default), 1))
