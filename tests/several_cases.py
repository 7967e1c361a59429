"""Layers and nets with several inputs or outputs, as a user would write them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import nn


class Add(nn.Layer):
    """Two branches added, the right one times a number that is learned."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(np.array([0.5], np.float32), "weight")

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return left + right * self.weight.value

    def vjp(self, left: np.ndarray, right: np.ndarray, training: bool = True) -> Any:
        def backprop(grad_output: np.ndarray) -> Any:
            if training:
                self.weight.add_grad((grad_output * right).sum(keepdims=True).reshape(1))
            return grad_output, grad_output * self.weight.value

        return self(left, right), backprop


class Heads(nn.Layer):
    """One input, two outputs: votes and places."""

    def __init__(self, features: int, classes: int, places: int) -> None:
        self.features, self.classes, self.places = features, classes, places
        self.votes = nn.Linear(features, classes, rng=1)
        self.where = nn.Linear(features, places, rng=2)

    def __call__(self, input: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.votes(input), self.where(input)

    def vjp(self, input: np.ndarray, training: bool = True) -> Any:
        votes, backprop_votes = self.votes.vjp(input, training=training)
        where, backprop_where = self.where.vjp(input, training=training)

        def backprop(grad_votes: np.ndarray, grad_where: np.ndarray) -> np.ndarray:
            return backprop_votes(grad_votes) + backprop_where(grad_where)

        return (votes, where), backprop


class Lookup(nn.Layer):
    """An image's features beside a row of a table for its number: numbers have no gradient."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        table = np.random.default_rng(3).standard_normal((rows, columns), np.float32)
        self.table = nn.Parameter(table, "table")

    def __call__(self, features: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return np.concatenate([features, self.table.value[ids]], axis=1)

    def vjp(self, features: np.ndarray, ids: np.ndarray, training: bool = True) -> Any:
        def backprop(grad_output: np.ndarray) -> Any:
            grad_features, grad_rows = np.split(grad_output, [features.shape[1]], axis=1)
            if training:
                grad_table = np.zeros_like(self.table.value)
                np.add.at(grad_table, ids, grad_rows)
                self.table.add_grad(grad_table)
            return grad_features, None

        return self(features, ids), backprop

    def example(self, input_shape: Any) -> tuple[np.ndarray, ...]:
        features, ids = input_shape
        return np.zeros(features, self.table.value.dtype), np.zeros(ids, np.int64)


class Twins(nn.Layer):
    """A siamese net: the same body for both pictures."""

    def __init__(self, body: nn.Layer) -> None:
        self.body = body

    def __call__(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.body(left), self.body(right)

    def vjp(self, left: np.ndarray, right: np.ndarray, training: bool = True) -> Any:
        one, backprop_left = self.body.vjp(left, training=training)
        two, backprop_right = self.body.vjp(right, training=training)
        return (one, two), lambda grad_one, grad_two: (backprop_left(grad_one), backprop_right(grad_two))


class Contrast(nn.Loss):
    """Squared distance of two outputs where the target is 1, what it lacks to 1 where it is 0."""

    def prepare(self, shape: Any, dtype: np.dtype, target: np.ndarray) -> np.ndarray:
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"prediction: shapes {shape} must be two of one kind")
        if target.shape != shape[0][:1]:
            raise ValueError(f"target: shape {target.shape} must be {shape[0][:1]}")
        return target.astype(dtype)

    def value(self, prediction: Any, target: np.ndarray) -> float:
        squares = ((prediction[0] - prediction[1]) ** 2).sum(axis=1)
        return float(np.where(target == 1, squares, np.maximum(0, 1 - squares)).mean())

    def gradient(self, prediction: Any, target: np.ndarray) -> Any:
        difference = prediction[0] - prediction[1]
        squares = (difference**2).sum(axis=1)
        sign = np.where(target == 1, 1, np.where(squares < 1, -1, 0)) * (2 / len(target))
        gradient = (difference * sign[:, None]).astype(difference.dtype)
        return self.value(prediction, target), (gradient, -gradient)


def two_headed() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 8, rng=0), nn.Tanh(), Heads(8, 3, 2))


def two_targets(count: int, seed: int = 0) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 3), np.float32)
    return x, (x.argmax(axis=1), x[:, :2] ** 2)


def pairs(count: int, seed: int = 0) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((2, count, 3), np.float32)
    return (left, right), (left[:, 0] * right[:, 0] > 0).astype(np.int64)


def numbered(count: int, seed: int = 0) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    features, ids = rng.standard_normal((count, 2), np.float32), rng.integers(0, 5, count)
    return (features, ids), ids % 2


def looking_up() -> nn.Sequential:
    return nn.Sequential(Lookup(5, 4), nn.Linear(6, 8, rng=0), nn.Tanh(), nn.Linear(8, 2, rng=1))


class Merging(nn.Layer):
    """A net of one's own: a branch for each input, added, and a head."""

    def __init__(self) -> None:
        self.left, self.right = nn.Linear(3, 8, rng=0), nn.Linear(5, 8, rng=1)
        self.sum, self.head = Add(), nn.Linear(8, 2, rng=2)

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return self.head(self.sum(self.left(left), self.right(right)))

    def vjp(self, left: np.ndarray, right: np.ndarray, training: bool = True) -> Any:
        one, backprop_left = self.left.vjp(left, training=training)
        two, backprop_right = self.right.vjp(right, training=training)
        total, backprop_sum = self.sum.vjp(one, two, training=training)
        output, backprop_head = self.head.vjp(total, training=training)

        def backprop(grad_output: np.ndarray) -> Any:
            grad_one, grad_two = backprop_sum(backprop_head(grad_output))
            return backprop_left(grad_one), backprop_right(grad_two)

        return output, backprop
