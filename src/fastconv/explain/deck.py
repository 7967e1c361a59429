"""The example's hand-made network as a net of layers, in which every number is a ninth."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import nn
from fastconv.explain.steps import Match
from fastconv.explain.walking import Walk, walk
from fastconv.xo import DECK, LETTERS, O_VOTERS, X_VOTERS, deck_features

#: Names of the ten pictures.
PICTURES = tuple(picture.name for picture in DECK)


def deck_net() -> nn.Sequential:
    """The network made by hand: filter, ReLU, pool, pool, and votes that are listed.

    Returns
    -------
    nn.Sequential
        From pictures (N, 1, 9, 9), float64, to votes (N, 2) for X and O.

    Examples
    --------
    >>> from fastconv.explain import deck_net
    >>> from fastconv.xo import deck_pictures
    >>> deck_net()(deck_pictures()[0][:1].astype(float)).round(2)
    array([[1.  , 0.56]])
    """
    match = Match(1, 3, 3, bias=False, rng=0, dtype=np.float64)
    match.weight.value[...] = deck_features()
    votes = nn.Linear(12, 2, bias=False, rng=0, dtype=np.float64)
    votes.weight.value[...] = 0
    for row, voters in enumerate((X_VOTERS, O_VOTERS)):
        votes.weight.value[row, list(voters)] = 1 / len(voters)
    pools = [nn.MaxPool2d(2, ceil_mode=True) for _ in range(2)]
    return nn.Sequential(match, nn.ReLU(), *pools, nn.Flatten(), votes)


def deck_walk(picture: Any = "X") -> Walk:
    """One of the ten pictures on its way through the network made by hand.

    Parameters
    ----------
    picture : str or array, shape (1, 9, 9)
        Its name, such as "O rotated"; or another picture of +1 and -1.

    Returns
    -------
    Walk
        Its `loss` is the example's: the sum over classes of |right answer - actual answer|.

    Raises
    ------
    ValueError
        No such picture.

    Examples
    --------
    >>> from fastconv import explain
    >>> explain.deck_walk("X").votes.round(2)
    array([1.  , 0.56])
    """
    if isinstance(picture, str):
        if picture not in PICTURES:
            raise ValueError(f"picture={picture!r}: must be one of {', '.join(PICTURES)}")
        picture = DECK[PICTURES.index(picture)].pixels[None]
    array = np.asarray(picture, np.float64)
    return walk(deck_net(), array, classes=LETTERS, loss=nn.TotalAbsoluteError())
