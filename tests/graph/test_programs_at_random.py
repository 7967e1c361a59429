"""Graphs of random operators: what a program makes, in memory used again, is what the operators say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.graph import Graph, Node, Value
from fastconv.graph.operators import OPERATORS

#: Operators that write where they are told, give views, join, or make new arrays.
CHOICES = (
    "Relu", "Sigmoid", "Neg", "Add", "Mul", "Split", "Slice", "Concat", "Transpose", "Reshape", "Expand",
    "Pad", "Identity", "ReduceSum", "Gather", "ConstantOfShape",
)  # fmt: skip

#: No array of a graph becomes larger.
LARGEST = 4000


def ints(*values: Any) -> Value:
    return Value.of(np.array(values, np.int64))


class Growing:
    """A graph that grows node by node, and what each of its values is."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.x = Value("x", np.dtype(np.float32))
        self.arrays = {self.x: self.rng.standard_normal((4, 6)).astype(np.float32)}
        self.nodes: list[Node] = []
        for _ in range(14):
            self.grow()

    def any(self) -> Value:
        """One of the last values."""
        values = list(self.arrays)[-5:]
        return values[self.rng.integers(len(values))]

    def chosen(self, operator: str) -> tuple[list[Value], dict[str, Any]]:
        """Inputs and attributes."""
        value = self.any()
        a, rng = self.arrays[value], self.rng
        axis = int(rng.integers(a.ndim))
        same = [each for each, array in self.arrays.items() if array.shape == a.shape]
        if operator in ("Add", "Mul"):
            return [value, same[rng.integers(len(same))]], {}
        if operator == "Concat":
            return [same[rng.integers(len(same))] for _ in range(3)], {"axis": axis}
        if operator == "Split":
            return [value], {"num_outputs": 2, "axis": axis}
        if operator == "Slice":
            return [value, ints(rng.integers(2)), ints(99), ints(axis), ints(rng.choice([1, 2]))], {}
        if operator == "Transpose":
            return [value], {"perm": tuple(rng.permutation(a.ndim).tolist())}
        inputs = {
            "Reshape": [value, ints(2, -1) if a.size % 2 == 0 else ints(-1)],
            "Expand": [value, ints(2, *[1] * a.ndim)],
            "Pad": [value, ints(*rng.integers(0, 2, 2 * a.ndim))],
            "ReduceSum": [value, ints(axis)],
            "Gather": [value, ints(0, -1)],
            "ConstantOfShape": [ints(*a.shape)],
        }
        return inputs.get(operator, [value]), {}

    def grow(self) -> None:
        operator = str(self.rng.choice(CHOICES))
        inputs, told = self.chosen(operator)
        arrays = [self.arrays[value] if value.constant is None else value.constant for value in inputs]
        made = OPERATORS[operator].compute(*arrays, **told)
        made = made if isinstance(made, tuple) else (made,)
        if any(not 0 < each.size <= LARGEST for each in made):
            return
        outputs = [Value(f"{len(self.nodes)}.{i}") for i in range(len(made))]
        self.arrays.update(zip(outputs, map(np.array, made)))
        self.nodes.append(Node(operator, inputs, outputs, told))


@pytest.mark.parametrize("seed", range(60))
def test_a_program_computes_what_its_operators_do(seed: int) -> None:
    """Twice, and whatever the caller does to the results of the first time; the input stays as it is."""
    grown = Growing(seed)
    values = list(grown.arrays)
    returned = [*values[-1:], *(value for value in values[1:] if grown.rng.random() < 0.3)]
    graph = Graph([grown.x], grown.nodes, returned)
    data = np.array(grown.arrays[grown.x])
    for _ in range(2):
        got = graph.run([data])
        for value, array in zip(returned, got):
            np.testing.assert_allclose(array, grown.arrays[value], rtol=1e-5, atol=1e-6, err_msg=str(graph))
        for array in got:
            array[...] = np.nan
        np.testing.assert_array_equal(data, grown.arrays[grown.x])
