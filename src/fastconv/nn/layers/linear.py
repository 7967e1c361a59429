"""The fully connected layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import functional, grad
from fastconv.geometry import whole_number
from fastconv.grad.bias import through_activation
from fastconv.nn.arguments import Rng, float_dtype
from fastconv.nn.layers.calling import Shape
from fastconv.nn.layers.weighted import Weighted

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder


class Linear(Weighted):
    """Fully connected: every input value gets a weighted vote for each output.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool, default True
    rng : numpy.random.Generator, int seed or None
        Draws the weight (`nn.init.he_uniform`); the bias starts as zeros.
    dtype : float32 or float64, default float32

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
    bias : Parameter, shape (out_features,), or None

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, an input that does not end in `in_features`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Linear(12, 2)(np.ones((10, 12), np.float32)).shape
    (10, 2)
    """

    _fuses = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: Rng = None,
        dtype: Any = np.float32,
    ) -> None:
        self.in_features = whole_number("in_features", in_features, 1)
        self.out_features = whole_number("out_features", out_features, 1)
        self.dtype = float_dtype("dtype", dtype)
        self._make((self.out_features, self.in_features), self.out_features, bias, rng)

    def __call__(self, input: np.ndarray) -> np.ndarray:
        bias = None if self.bias is None else self.bias.value
        return functional.linear(input, self.weight.value, bias, activation=self.activation)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        weight, bias = builder.constant(self.weight), builder.constant(self.bias)
        return builder.add("Linear", *values, weight, bias, activation=self.activation, transposed=True)

    def _learn(self, input: np.ndarray, output: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
        grad_output, grad_bias = through_activation(
            self.activation, output, grad_output, output.ndim - 1, self.bias is not None
        )
        self.weight.add_grad_of(grad.linear_weight, input, grad_output)
        if self.bias is not None and grad_bias is not None:
            self.bias.add_grad(grad_bias)
        return grad_output

    def _input_gradient(self, input_shape: Shape, grad_output: np.ndarray) -> np.ndarray:
        return grad.linear_input(self.weight.value, grad_output)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        if len(input_shape) < 1 or input_shape[-1] != self.in_features:
            raise ValueError(f"input: shape {tuple(input_shape)} must end in in_features={self.in_features}")
        return (*input_shape[:-1], self.out_features)

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: the bias not counted."""
        return 2 * math.prod(self.output_shape(input_shape)) * self.in_features
