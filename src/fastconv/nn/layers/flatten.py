"""Layers that compute nothing: they only look at the array in another shape, or in none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.geometry import LIMIT, as_ndarray, axis_number, whole_number
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import Backprop, Shape

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder


class Identity(Layer):
    """The output is the input.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Identity()(np.ones(2))
    array([1., 1.])
    """

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return input

    def _lower(self, builder: Builder, *values: Value) -> Any:
        return builder.add("Identity", *values)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        return input, lambda grad_output: grad_output

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(input_shape)


class Flatten(Layer):
    """Axes `start_dim` to `end_dim` become one: (N, C, H, W) becomes (N, C * H * W).

    Parameters
    ----------
    start_dim, end_dim : int, default 1 and -1
        First and last axis that are joined; negative ones count from the end.

    Raises
    ------
    TypeError, ValueError
        Not integers; when run, axes that the input does not have or that stand in the wrong order.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Flatten()(np.ones((2, 3, 4, 4))).shape
    (2, 48)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = whole_number("start_dim", start_dim, -LIMIT)
        self.end_dim = whole_number("end_dim", end_dim, -LIMIT)

    def __call__(self, input: np.ndarray) -> np.ndarray:
        input = as_ndarray("input", input)
        return input.reshape(self.output_shape(input.shape))

    def _lower(self, builder: Builder, *values: Value) -> Any:
        twin = Flatten(self.start_dim, self.end_dim)
        return builder.add("View", *values, function=twin, shape=twin.output_shape)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_ndarray("input", input)
        shape = input.shape
        return self(input), lambda grad_output: grad_output.reshape(shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        rank = len(input_shape)
        start = axis_number("start_dim", self.start_dim, rank)
        end = axis_number("end_dim", self.end_dim, rank)
        if not start <= end < rank:
            raise ValueError(
                f"input: shape {tuple(input_shape)} has no axes from start_dim={self.start_dim} "
                f"to end_dim={self.end_dim}"
            )
        return (*input_shape[:start], math.prod(input_shape[start : end + 1]), *input_shape[end + 1 :])
