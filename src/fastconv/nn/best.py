"""The best parameters of a training so far."""

from __future__ import annotations

import math

import numpy as np

from fastconv.nn.layers.base import Layer


class Best:
    """The parameters of the epoch with the lowest validation loss, and how long ago that was.

    A loss that is infinite or NaN is never the lowest.
    """

    def __init__(self, net: Layer, patience: int) -> None:
        self._net, self._patience = net, patience
        self.lowest = math.inf
        self.epoch: int | None = None
        self.state: dict[str, np.ndarray] | None = None

    def observe(self, epoch: int, value: float) -> None:
        """Take note of the validation loss after an epoch."""
        if math.isfinite(value) and value < self.lowest:
            self.note(epoch, value, self._net.state_dict())

    def note(self, epoch: int, value: float, state: dict[str, np.ndarray]) -> None:
        """This is the best so far."""
        self.lowest, self.epoch, self.state = value, epoch, state

    def is_over(self, epochs: int) -> bool:
        """Whether patience has run out after so many epochs."""
        return epochs - 1 - (-1 if self.epoch is None else self.epoch) >= self._patience

    def restore(self) -> int | None:
        """Put the best parameters back, if any were; returns their epoch."""
        if self.state is not None:
            self._net.load_state_dict(self.state)
        return self.epoch
