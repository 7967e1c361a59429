"""The trainable network: built from its knobs, and looked into."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fastconv import nn
from fastconv.xo.knobs import Knobs
from fastconv.xo.pictures import LETTERS


def build_network(knobs: Knobs, rng: np.random.Generator | int | None = None) -> nn.Sequential:
    """A network with random weights.

    Parameters
    ----------
    knobs : Knobs
    rng : numpy.random.Generator or int, optional
        Source of the weights, or its seed.

    Returns
    -------
    nn.Sequential
        From pictures (N, 1, size, size), float32, to votes (N, 2) for X and O.

    Examples
    --------
    >>> from fastconv.xo import Knobs, build_network, deck_pictures
    >>> net = build_network(Knobs(), rng=0)
    >>> net(deck_pictures()[0]).shape
    (10, 2)
    """
    rng = np.random.default_rng(rng)
    stages = knobs.plan()
    layers: list[nn.Layer] = []
    for before, stage in pairwise(stages):
        if stage.kind == "conv":
            layers.append(nn.Conv2d(before.channels, stage.channels, knobs.feature_size, rng=rng))
        elif stage.kind == "pool":
            layers.append(nn.MaxPool2d(knobs.pool, knobs.stride, ceil_mode=True))
        else:
            layers.append(nn.ReLU())
    layers.append(nn.Flatten())
    width = stages[-1].channels * stages[-1].side ** 2
    for neurons in knobs.hidden:
        layers += [nn.Linear(width, neurons, rng=rng), nn.ReLU()]
        width = neurons
    layers.append(nn.Linear(width, len(LETTERS), rng=rng))
    return nn.Sequential(*layers)


def maps_of(network: nn.Sequential, picture: np.ndarray) -> list[np.ndarray]:
    """What each layer makes of one picture, up to the maps that are flattened.

    Parameters
    ----------
    network : nn.Sequential
        From `build_network`.
    picture : ndarray, shape (1, size, size), float32

    Returns
    -------
    list of ndarray
        One array of shape (maps, H, W) per conv, relu or pool layer.

    Examples
    --------
    >>> from fastconv.xo import Knobs, build_network, deck_pictures, maps_of
    >>> [m.shape for m in maps_of(build_network(Knobs(layers=("conv", "pool"))), deck_pictures()[0][0])]
    [(16, 7, 7), (16, 4, 4)]
    """
    maps = []
    values = picture[None]
    for layer in network:
        if isinstance(layer, nn.Flatten):
            break
        values = layer(values)
        maps.append(values[0])
    return maps
