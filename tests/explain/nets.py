"""Nets that the tests look into."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import explain, nn


def chain(dtype: Any = np.float32) -> nn.Sequential:
    """One of everything that stands in a row: for pictures (2, 12, 12)."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, dilation=2, rng=0, dtype=dtype),
        nn.BatchNorm2d(4, dtype=dtype),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, activation="relu", rng=1, dtype=dtype),
        nn.AvgPool2d(2, 1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(24, 5, rng=2, dtype=dtype),
        nn.Tanh(),
        nn.Linear(5, 3, rng=3, dtype=dtype),
        nn.Softmax(),
    )
    rng = np.random.default_rng(7)
    for parameter in net.parameters():
        if parameter.value.ndim == 1:
            parameter.value[...] = rng.normal(0.1, 0.2, parameter.value.shape)
    return net


def branches() -> nn.Sequential:
    """Ways that part and meet: for pictures (1, 10, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, rng=0),
        nn.Residual(nn.Conv2d(4, 4, 3, padding=1, rng=1), nn.ReLU()),
        nn.Concat(nn.Conv2d(4, 2, 1, rng=2), nn.MaxPool2d(3, 1, padding=1), nn.Identity()),
        nn.Residual(nn.Conv2d(10, 6, 1, rng=3), shortcut=nn.Conv2d(10, 6, 1, bias=False, rng=4)),
        nn.AdaptiveMaxPool2d(3),
        nn.GlobalAvgPool(),
        nn.Flatten(),
        nn.Linear(6, 2, rng=5),
    )


def picture(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    """Noise with something bright in it."""
    found = np.random.default_rng(seed).normal(size=shape)
    found[..., 2:6, 3:8] += 2
    return found.astype(dtype)


def chain_walk(dtype: Any = np.float32) -> explain.Walk:
    """A picture through the chain."""
    return explain.walk(chain(dtype), picture(2, 12, 12, dtype=dtype), classes=["cat", "dog", "<owl>"])
