"""A trained net with all that is needed to use it: its spec, its classes, how inputs are prepared."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fastconv import __version__, nn
from fastconv.data import Preprocessing
from fastconv.functional import softmax
from fastconv.geometry import as_array, as_ndarray

#: What the maps of a batch may take in memory, in bytes, and its most examples.
BATCH_BYTES, BATCH_SIZE = 64 << 20, 256


def _versions() -> dict[str, str]:
    return {"fastconv": __version__, "numpy": np.__version__}


@dataclass(frozen=True)
class Model:
    """A net, and all that is needed to use it; what a `.fcn` file holds.

    Attributes
    ----------
    net : nn.Sequential
        From (N, *shape), float32, to votes (N, K).
    spec : str
        The net in words, as `parse_net` reads them.
    classes : tuple of str
        What the K votes are for, in order.
    preprocessing : fastconv.data.Preprocessing
        From a file to what the net gets.
    record : dict
        How it was trained, as JSON has it: settings, data, losses, held-out accuracy.
    versions : dict
        Of the software that made it.

    Examples
    --------
    >>> from fastconv.train import Model, parse_net
    >>> from fastconv.data import ImagePreprocessing
    >>> net = parse_net("conv 4 3, relu, fc", (1, 8, 8), 2, rng=0)
    >>> model = Model(net, "conv 4 3, relu, fc", ("X", "O"), ImagePreprocessing(shape=(1, 8, 8)))
    >>> model.probabilities(np.zeros((3, 1, 8, 8), np.float32)).shape
    (3, 2)
    """

    net: nn.Sequential
    spec: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    record: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=_versions)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What the net gets, without the batch: (C, H, W), (C, L), (C, D, H, W) or (L,)."""
        return tuple(self.preprocessing.shape)

    @cached_property
    def batch_size(self) -> int:
        """How many samples may go through the net together, by what their maps take in memory.

        Examples
        --------
        >>> from fastconv.train import Model, parse_net
        >>> from fastconv.data import ImagePreprocessing
        >>> spec, shape = "conv 64 3, pool all, fc", (1, 1024, 1024)
        >>> Model(parse_net(spec, shape, 2), spec, ("X", "O"), ImagePreprocessing(shape=shape)).batch_size
        1
        """
        shape = self.input_shape
        maps = [row.output_shape for row in nn.summary(self.net, (1, *shape)).rows]
        largest = max(int(np.prod(each)) for each in (shape, *maps))
        return max(1, min(BATCH_SIZE, BATCH_BYTES // (4 * largest)))

    def votes(self, x: np.ndarray) -> np.ndarray:
        """What the net gives for each class; the largest wins.

        Parameters
        ----------
        x : ndarray, shape (N, *input_shape), float32, or integers if the net begins with `embed`
            Prepared as `preprocessing` does.

        Returns
        -------
        ndarray, shape (N, K), float32

        Raises
        ------
        TypeError, ValueError
            Another shape or dtype.
        """
        numbers = self.preprocessing.rows is not None
        x = as_ndarray("x", x) if numbers else as_array("x", x)
        if x.shape[1:] != self.input_shape:
            raise ValueError(f"x: shape {x.shape} must be (N, {', '.join(map(str, self.input_shape))})")
        if not numbers and x.dtype != np.float32:
            raise TypeError(f"x: dtype {x.dtype} must be float32")
        if not len(x):
            return np.empty((0, len(self.classes)), np.float32)
        found: np.ndarray = nn.predict(self.net, (x,) if numbers else x, self.batch_size)
        return found

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Softmax of the votes: shares that add up to 1.

        Parameters
        ----------
        x : ndarray, shape (N, *input_shape), float32

        Returns
        -------
        ndarray, shape (N, K), float32
        """
        return softmax(self.votes(x), -1)
