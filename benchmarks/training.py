"""One step of training a small network, by fastconv.nn and by the naive loops, from the same parameters."""

from __future__ import annotations

import numpy as np

from benchmarks import naive
from benchmarks.cases import LEARNING_RATE, MOMENTUM, Conv, Linear, Pool, TrainCase, examples, parameters
from fastconv import nn


class FastStep:
    """The case's network in fastconv.nn; a call is one step and returns the loss."""

    def __init__(self, case: TrainCase, learning_rate: float = LEARNING_RATE) -> None:
        self.net = network(case)
        for parameter, value in zip(self.net.parameters(), parameters(case), strict=True):
            parameter.value[...] = value
        self.loss = nn.MSELoss()
        self.optimizer = nn.SGD(self.net.parameters(), learning_rate, momentum=MOMENTUM)
        self.input, self.target = examples(case)

    def __call__(self) -> float:
        value, _ = self.optimizer.learn(self.net, self.loss, self.input, self.target)
        return value

    def parameters(self) -> list[np.ndarray]:
        """Weights and biases, layer by layer."""
        return [parameter.value for parameter in self.net.parameters()]


def network(case: TrainCase) -> nn.Sequential:
    """The case's network."""
    layers: list[nn.Layer] = []
    flat = False
    for layer in case.layers:
        if isinstance(layer, Pool):
            layers.append(nn.MaxPool2d(layer.kernel))
        elif isinstance(layer, Conv):
            channels, window = (
                (layer.in_channels, layer.out_channels),
                (layer.kernel, layer.stride, layer.padding),
            )
            layers.append(nn.Conv2d(*channels, *window, activation="relu"))
        else:
            if not flat:
                layers.append(nn.Flatten())
                flat = True
            layers.append(nn.Linear(layer.in_features, layer.out_features))
            if layer is not case.layers[-1]:
                layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class NaiveStep:
    """The same network by loops over taps and einsum, in the dtype of the parameters given."""

    def __init__(self, case: TrainCase, parameters: list[np.ndarray]) -> None:
        self.layers = case.layers
        self.values = [value.copy() for value in parameters]
        self.velocity = [np.zeros_like(value) for value in parameters]
        dtype = parameters[0].dtype
        self.input, self.target = (array.astype(dtype) for array in examples(case))

    def __call__(self) -> float:
        prediction, kept = self.forward()
        difference = prediction - self.target
        gradients = self.backward(2 / difference.size * difference, kept)
        for value, velocity, gradient in zip(self.values, self.velocity, gradients, strict=True):
            velocity *= MOMENTUM
            velocity += gradient
            value -= LEARNING_RATE * velocity
        return float((difference**2).mean())

    def parameters(self) -> list[np.ndarray]:
        """Weights and biases, layer by layer."""
        return self.values

    def forward(self) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
        """The prediction, and per layer its input and output (of a pool: the indices)."""
        x, kept, parameters = self.input, [], iter(self.values)
        for layer in self.layers:
            if isinstance(layer, Pool):
                y, remembered = naive.max_pool(x, (layer.kernel, layer.kernel), layer.kernel)
            elif isinstance(layer, Conv):
                weight, bias = next(parameters), next(parameters)
                y = naive.conv(x, weight, layer.stride, layer.padding) + bias[:, None, None]
                y = remembered = np.maximum(y, 0)
            else:
                weight, bias = next(parameters), next(parameters)
                y = np.einsum("nc,kc->nk", x.reshape(x.shape[0], -1), weight) + bias
                y = remembered = y if layer is self.layers[-1] else np.maximum(y, 0)
            kept.append((x, remembered))
            x = y
        return x, kept

    def backward(self, gradient: np.ndarray, kept: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """Gradients of weights and biases, layer by layer."""
        gradients: list[np.ndarray] = []
        position = len(self.values)
        for layer, (x, remembered) in zip(reversed(self.layers), reversed(kept), strict=True):
            if isinstance(layer, Pool):
                gradient = naive.max_pool_input(x.shape, remembered, gradient)
                continue
            position -= 2
            weight = self.values[position]
            if isinstance(layer, Conv) or layer is not self.layers[-1]:
                gradient = gradient * (remembered > 0)
            if isinstance(layer, Linear):
                flat = x.reshape(x.shape[0], -1)
                grad_weight, grad_bias = np.einsum("nk,nc->kc", gradient, flat), gradient.sum(axis=0)
                gradient = np.einsum("nk,kc->nc", gradient, weight).reshape(x.shape)
            else:
                how = (layer.stride, layer.padding)
                grad_weight = naive.conv_weight(x, weight.shape, gradient, *how)
                grad_bias = gradient.sum(axis=(0, 2, 3))
                gradient = naive.conv_input(x.shape, weight, gradient, *how)
            gradients[:0] = [grad_weight, grad_bias]
        return gradients
