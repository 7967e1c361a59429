"""Dropout: in training, a random part of the values is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.geometry import as_array
from fastconv.nn.arguments import Rng, generator, real
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import Backprop, Shape

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder


class Dropout(Layer):
    """In training each value becomes 0 with probability p, the rest grows by 1 / (1 - p); else nothing
    happens.

    Parameters
    ----------
    p : float in [0, 1), default 0.5
    rng : numpy.random.Generator, int seed or None
        Where the layer draws from; give it a seed for training that can be repeated. It is not saved with the
        net.

    Raises
    ------
    TypeError, ValueError
        `p` out of range, an `rng` that is none.

    Notes
    -----
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> layer = nn.Dropout(0.5, rng=0)
    >>> layer(np.ones(4))
    array([1., 1., 1., 1.])
    >>> y, backprop = layer.vjp(np.ones(4))
    >>> sorted(set(y.tolist()) | {0.0, 2.0})
    [0.0, 2.0]
    """

    def __init__(self, p: float = 0.5, rng: Rng = None) -> None:
        self.p = real("p", p, at_least=0, below=1)
        self.rng = generator("rng", rng)

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return as_array("input", input)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        return builder.add("Identity", *values)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_array("input", input)
        if not training:
            return input, lambda grad_output: grad_output
        kept = self.rng.random(input.shape, input.dtype) >= self.p
        growth = input.dtype.type(1.0 / (1.0 - self.p))
        bits = np.dtype(f"i{input.dtype.itemsize}")

        def thinned(values: np.ndarray) -> np.ndarray:
            with np.errstate(all="ignore"):
                out: np.ndarray = values * growth
            # as whole numbers: 0 times an infinite or NaN value is no 0
            np.multiply(out.view(bits), kept, out=out.view(bits))
            return out

        return thinned(input), thinned

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(input_shape)

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: nothing, outside training."""
        return 0
