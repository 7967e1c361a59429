"""What layers with a weight have in common: starting values, gradients, an activation of what they store."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np

from fastconv.geometry import as_array, flag
from fastconv.grad.bias import through_activation
from fastconv.nn.arguments import Rng, generator
from fastconv.nn.init import fans, he_uniform
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import Backprop, ParameterBackprop, Shape
from fastconv.nn.parameter import Parameter


class Weighted(Layer):
    """A layer with a weight and, unless turned off, a bias; `_learn` says how they learn."""

    weight: Parameter
    bias: Parameter | None
    activation: str | None = None
    _fuses: ClassVar[bool] = False  # whether this class itself applies activations: a subclass has to say so

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_array("input", input)
        output, shape = self(input), input.shape

        def backprop(grad_output: np.ndarray) -> np.ndarray:
            return self._input_gradient(shape, self._learn(input, output, grad_output))

        def through(grad_output: np.ndarray) -> np.ndarray:
            gradient, _ = through_activation(self.activation, output, grad_output, 0, False)
            return self._input_gradient(shape, gradient)

        return output, backprop if training else through

    def vjp_parameters(self, input: np.ndarray) -> tuple[np.ndarray, ParameterBackprop]:
        """See `Layer.vjp_parameters`."""
        input = as_array("input", input)
        output = self(input)
        return output, lambda grad_output: self._learn(input, output, grad_output)

    def _activated(self, activation: str) -> Layer | None:
        if not vars(type(self)).get("_fuses") or self.activation is not None:
            return None
        twin = copy.copy(self)
        vars(twin)["activation"] = activation
        return twin

    def _learn(self, input: np.ndarray, output: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
        """Add the gradients of weight and bias; returns the gradient in front of the activation."""
        raise NotImplementedError

    def _input_gradient(self, input_shape: Shape, grad_output: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _make(self, weight: Shape, features: int, bias: Any, rng: Rng, **how: Any) -> None:
        """The starting values: He's for the weight, zeros for the bias; `how` is what `fans` asks for."""
        draw, known = generator("rng", rng), fans(weight, **how)
        dtype = self.dtype  # type: ignore[attr-defined]
        self.weight = self._parameter("weight", weight, dtype, lambda a: he_uniform(a, draw, fans=known))
        self.weight.fans = known
        has_bias = flag("bias", bias)
        self.bias = (
            self._parameter("bias", (features,), dtype, lambda array: array.fill(0)) if has_bias else None
        )
