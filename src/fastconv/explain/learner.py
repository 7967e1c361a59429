"""Nets as things that are fitted and then predict: what is trained anew for every order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv import nn

#: Neurons of the control, which is fully connected.
NEURONS = 64

#: How a net is taught unless it says otherwise.
EPOCHS, RATE, BATCH = 10, 0.003, 32


class Learner:
    """A net that is taught by Adam and cross-entropy.

    Parameters
    ----------
    net : nn.Layer
        From (N, *shape) to votes (N, classes); it learns in place.
    seed : int
        Of the order of the examples.
    epochs, lr, batch_size
        As `nn.fit` and `nn.Adam` take them; the rate falls along half a cosine.
    standardise : bool, default False
        Bring every position of the input to mean 0 and deviation 1, as the training examples have them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.explain import Learner
    >>> x, y = np.eye(2, dtype=np.float32)[[0, 1] * 20], np.array([0, 1] * 20)
    >>> Learner(nn.Linear(2, 2, rng=0), seed=0, lr=0.1).fit(x, y).predict(x[:2])
    array([0, 1])
    """

    def __init__(
        self,
        net: nn.Layer,
        seed: int,
        epochs: int = EPOCHS,
        lr: float = RATE,
        batch_size: int = BATCH,
        *,
        standardise: bool = False,
    ) -> None:
        self.net, self.seed, self.epochs, self.lr = net, seed, epochs, lr
        self.batch_size, self.standardise = batch_size, standardise
        self._mean: Any = 0.0
        self._deviation: Any = 1.0

    def fit(self, X: np.ndarray, y: np.ndarray) -> Learner:
        """Learn from examples; y are whole numbers from 0."""
        if self.standardise:
            self._mean, self._deviation = X.mean(0), X.std(0) + 1e-6
        nn.fit(
            self.net,
            self._ready(X),
            y,
            loss=nn.CrossEntropyLoss(),
            optimizer=nn.Adam(self.net.parameters(), self.lr),
            epochs=self.epochs,
            batch_size=self.batch_size,
            schedule=nn.CosineLR(self.lr, self.epochs),
            rng=self.seed,
            progress=False,
        )
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The class with the largest vote, for each example."""
        found: np.ndarray = np.asarray(nn.predict(self.net, self._ready(X), 256)).argmax(1)
        return found

    def _ready(self, X: np.ndarray) -> Any:
        """Examples as the net takes them: standardised if wished, in its dtype, or as numbers of words."""
        if self.net._rows_read() is not None:
            return (X.astype(np.int64),)
        if self.standardise:
            X = (X - self._mean) / self._deviation
        parameter = next(iter(self.net.parameters()), None)
        return X if parameter is None else X.astype(parameter.value.dtype, copy=False)


def fully_connected(shape: tuple[int, ...], classes: int, **options: Any) -> Callable[[int], Learner]:
    """What makes the order-blind control: a net in which every value has a weight of its own.

    Parameters
    ----------
    shape : tuple of int
        Of an example.
    classes : int
    **options
        As `Learner`.
    """
    size = math.prod(shape)

    def make(seed: int) -> Learner:
        rng = np.random.default_rng(seed)
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(size, NEURONS, rng=rng), nn.ReLU(), nn.Linear(NEURONS, classes, rng=rng)
        )
        return Learner(net, seed, **{"standardise": True, **options})

    return make
