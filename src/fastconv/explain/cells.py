"""One cell at a time: what was multiplied with what, which value won a window, who voted for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastconv import nn
from fastconv.explain.steps import Match, Step

if TYPE_CHECKING:
    from fastconv.explain.walking import Walk


@dataclass(frozen=True)
class Cell:
    """How one output cell comes about.

    Attributes
    ----------
    patch : ndarray, shape of `feature`
        What the feature lies on; 0 in the padding.
    feature : ndarray, shape (C / groups, *kernel) or (inputs,)
        Its weights.
    products : ndarray
        Element by element, float64.
    sum : float
        Of the products, float64.
    divisor : int or None
        Pixels of the feature, where the sum is divided by them.
    bias : float or None
    total : float
        The sum, divided or with the bias; float64.
    activation : str or None
        A function that the layer, or the next one, applies: its name.
    output : float
        What the engine made of it, behind `activation`.
    """

    patch: np.ndarray
    feature: np.ndarray
    products: np.ndarray
    sum: float
    divisor: int | None
    bias: float | None
    total: float
    activation: str | None
    output: float


@dataclass(frozen=True)
class Windows:
    """A max-pool's windows.

    Attributes
    ----------
    winners : ndarray of int, shape (C, *output spatial, spatial rank)
        Where in the input the winner of each window lies.
    ties : ndarray of int, shape (C, *output spatial)
        How many elements of the window hold the winning value; the first in scan order wins.
    covered : ndarray of int, shape (*output spatial,)
        How many elements of the input a window covers: fewer at the edges, where it hangs over.
    """

    winners: np.ndarray
    ties: np.ndarray
    covered: np.ndarray


@dataclass(frozen=True)
class Voters:
    """Which values voted for one output of a fully connected layer.

    Attributes
    ----------
    values, weights : ndarray, shape (inputs,)
    votes : ndarray, shape (inputs,), float64
        Each value times its weight.
    bias : float
    total : float
        Their sum, float64.
    """

    values: np.ndarray
    weights: np.ndarray
    votes: np.ndarray
    bias: float
    total: float

    def order(self) -> np.ndarray:
        """Numbers of the inputs, the largest vote either way first."""
        found: np.ndarray = np.argsort(-np.abs(self.votes), kind="stable")
        return found


def cell_of(seen: Walk, number: int, cell: tuple[int, ...]) -> Cell:
    """The arithmetic of one cell.

    Raises
    ------
    ValueError
        The map was not made by a convolution or a fully connected layer.
    """
    step = seen.steps[number - 1] if number else None
    if step is None or step.kind not in ("conv", "full"):
        what = "the input" if step is None else step.title
        raise ValueError(f"number={number}: is {what}; products are those of convolutions and full layers")
    layer = step.layer
    assert isinstance(layer, (nn.Linear, *_CONVS))
    feature = layer.weight.value[cell[0]]
    patch = _patch(seen, number, step, cell, feature.shape)
    products = patch.astype(np.float64) * feature.astype(np.float64)
    total = bare = float(products.sum())
    divisor = layer.divisor if isinstance(layer, Match) else None
    bias = None if layer.bias is None else float(layer.bias.value[cell[0]])
    if divisor is not None:
        total /= divisor
    if bias is not None:
        total += bias
    activation, made = layer.activation, number
    if activation is None:
        following = _activation_behind(seen, number)
        if following is not None:
            activation, made = type(seen.steps[following - 1].layer).__name__, following
    output = float(seen.maps[made].values[cell])
    return Cell(patch, feature, products, bare, divisor, bias, total, activation, output)


_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _activation_behind(seen: Walk, number: int) -> int | None:
    """The map of an activation that alone reads this one."""
    readers = [k + 1 for k, step in enumerate(seen.steps) if number in step.reads]
    return readers[0] if len(readers) == 1 and seen.steps[readers[0] - 1].kind == "activation" else None


def _patch(seen: Walk, number: int, step: Step, cell: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """What a feature lies on."""
    read = seen.maps[step.reads[0]].values
    axes = seen.axes(number)
    if axes is None:
        return read[cell[1:]] if read.ndim > 1 else read
    made = seen.shapes[number][0] // step.layer.groups  # type: ignore[attr-defined]
    first = cell[0] // made * shape[0]
    patch: np.ndarray = np.zeros(shape, read.dtype)
    windows = [axis.window(place) for axis, place in zip(axes, cell[1:])]
    inside = [(places >= 0) & (places < axis.size) for axis, places in zip(axes, windows)]
    within = np.ix_(np.arange(shape[0]), *(np.flatnonzero(each) for each in inside))
    taken = np.ix_(
        np.arange(first, first + shape[0]), *(places[each] for places, each in zip(windows, inside))
    )
    patch[within] = read[taken]
    return patch


def windows_of(seen: Walk, number: int) -> Windows:
    """The windows of a max-pool.

    Raises
    ------
    ValueError
        The map was not made by one.
    """
    step = seen.steps[number - 1] if number else None
    axes = seen.axes(number)
    if step is None or step.kind != "max pool" or axes is None:
        raise ValueError(f"number={number}: is not what a max-pool made")
    read, made = seen.maps[step.reads[0]].values, seen.maps[number].values
    rank = len(axes)
    winners = np.zeros((*made.shape, rank), np.int64)
    ties = np.zeros(made.shape, np.int64)
    covered = np.zeros(made.shape[1:], np.int64)
    every = slice(None)
    for place in np.ndindex(*made.shape[1:]):
        taps = [axis.taps(each) for axis, each in zip(axes, place)]
        inside = read[np.ix_(np.arange(len(read)), *taps)].reshape(len(read), -1)
        best = np.where(np.isnan(inside).any(1), np.isnan(inside).argmax(1), inside.argmax(1))
        where = np.unravel_index(best, [len(each) for each in taps])
        for axis in range(rank):
            found = (every, *place, axis)
            winners[found] = taps[axis][where[axis]]
        largest = np.take_along_axis(inside, best[:, None], 1)
        tied = (every, *place)
        ties[tied] = np.maximum((inside == largest).sum(1), 1)
        covered[place] = inside.shape[1]
    return Windows(winners, ties, covered)


def voters_of(seen: Walk, number: int, cell: tuple[int, ...]) -> Voters:
    """The voters of one output.

    Raises
    ------
    ValueError
        The map was not made by a fully connected layer from a row of values.
    """
    step = seen.steps[number - 1] if number else None
    if step is None or step.kind != "full":
        raise ValueError(f"number={number}: is not what a fully connected layer made")
    found = cell_of(seen, number, cell)
    bias = found.bias or 0.0
    return Voters(found.patch, found.feature, found.products, bias, found.sum + bias)
