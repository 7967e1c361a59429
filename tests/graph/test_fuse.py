"""Fused nodes compute what the nodes one by one compute, and are as few as they should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv.graph import Graph, Node, Value

DRAW = np.random.default_rng(3)


def constant(*shape: int, low: float = -1.0) -> Value:
    return Value.of(DRAW.uniform(low, 1.0, shape).astype(np.float32))


def number(x: float) -> Value:
    return Value.of(np.array(x, np.float32))


class Line:
    """Nodes one after the other; `self.x` is the newest value."""

    def __init__(self, *shape: int) -> None:
        self.start = self.x = Value("x", np.dtype(np.float32), shape)
        self.shape, self.nodes = shape, []

    def then(self, operator: str, *others: Value, first: bool = True, **attributes: Any) -> Line:
        made = Value(f"v{len(self.nodes)}")
        inputs = (self.x, *others) if first else (*others, self.x)
        self.nodes.append(Node(operator, inputs, [made], attributes))
        self.x = made
        return self


def conv(line: Line, bias: bool = False, kernel: int = 3) -> Line:
    more = (constant(6),) if bias else ()
    return line.then("Conv", constant(6, 4, kernel, kernel), *more, pads=(1, 1, 1, 1))


def residual(line: Line, *bias: Value, channels: int = 4, first: bool = True) -> Line:
    x = line.x
    line.then("Conv", constant(channels, channels, 1, 1), *bias)
    return line.then("Add", x, first=first)


def norm(line: Line) -> Line:
    statistics = (constant(6), constant(6), constant(6), constant(6, low=0.5))
    return line.then("BatchNormalization", *statistics, epsilon=1e-3)


def swish(line: Line) -> Line:
    x = line.x
    line.then("Sigmoid")
    return line.then("Mul", x, first=False)


def hard_swish(line: Line) -> Line:
    x = line.x
    line.then("Add", number(3)).then("Clip", number(0), number(6))
    return line.then("Mul", x, first=False).then("Div", number(6))


def gelu(line: Line) -> Line:
    x = line.x
    line.then("Div", number(2**0.5)).then("Erf").then("Add", number(1))
    return line.then("Mul", x, first=False).then("Mul", number(0.5))


IMAGE, ROWS = (2, 4, 6, 7), (2, 5, 4)

CASES: dict[str, tuple[Callable[[], Line], list[str]]] = {
    "conv, norm, relu": (lambda: norm(conv(Line(*IMAGE))).then("Relu"), ["Conv"]),
    "conv with bias, norm, relu6": (
        lambda: norm(conv(Line(*IMAGE), True)).then("Clip", number(0), number(6)),
        ["Conv"],
    ),
    "conv, factor and summand": (
        lambda: conv(Line(*IMAGE)).then("Mul", constant(1, 6, 1, 1)).then("Add", constant(6, 1, 1)),
        ["Conv"],
    ),
    "conv, less a number": (lambda: conv(Line(*IMAGE)).then("Sub", number(2)), ["Conv"]),
    "conv, subtracted from": (
        lambda: conv(Line(*IMAGE)).then("Sub", number(2), first=False),
        ["Conv", "Sub"],
    ),
    "conv, summand along the rows": (lambda: conv(Line(*IMAGE)).then("Add", constant(7)), ["Conv", "Add"]),
    "conv, leaky relu": (lambda: conv(Line(*IMAGE)).then("LeakyRelu", alpha=0.01), ["Conv"]),
    "conv, leakier relu": (lambda: conv(Line(*IMAGE)).then("LeakyRelu", alpha=0.3), ["Conv"]),
    "residual, leakier relu": (
        lambda: residual(Line(*IMAGE), constant(4)).then("LeakyRelu", alpha=0.3),
        ["Conv"],
    ),
    "not below a number": (lambda: Line(*ROWS).then("Max", number(-0.1)), ["Clip"]),
    "not above a number": (lambda: Line(*ROWS).then("Min", number(0.2), first=False), ["Clip"]),
    "larger of two": (lambda: Line(*ROWS).then("Max", constant(4)), ["Max"]),
    "larger than NaN": (lambda: Line(*ROWS).then("Max", number(np.nan)), ["Max"]),
    "not below a matrix of one": (lambda: Line(4).then("Max", constant(1, 1)), ["Max"]),
    "relu twice": (
        lambda: conv(Line(*IMAGE)).then("Relu").then("Clip", number(0), number(6)),
        ["Conv", "Clip"],
    ),
    "padding, conv": (
        lambda: conv(Line(*IMAGE).then("Pad", Value.of(np.array([0, 0, 1, 2, 0, 0, 0, 3])))),
        ["Conv"],
    ),
    "padding that is no zeros, conv": (
        lambda: conv(Line(*IMAGE).then("Pad", Value.of(np.array([0, 0, 1, 2, 0, 0, 0, 3])), number(1))),
        ["Pad", "Conv"],
    ),
    "columns": (
        lambda: Line(2, 4, 9, 1).then(
            "Conv", constant(6, 4, 3, 1), constant(6), strides=(2, 1), pads=(1, 0, 0, 0)
        ),
        ["Transpose", "Conv", "Transpose"],
    ),
    "residual": (lambda: residual(Line(*IMAGE), constant(4)), ["Conv"]),
    "residual, relu": (lambda: residual(Line(*IMAGE), first=False).then("Relu"), ["Conv"]),
    "residual, norm": (lambda: residual(norm(conv(Line(*IMAGE))), channels=6), ["Conv", "Conv"]),
    "residual of many rows": (lambda: residual(Line(3, 4, 40, 40), constant(4)).then("Relu"), ["Conv"]),
    "swish": (lambda: swish(Line(*IMAGE)), ["Swish"]),
    "hard swish": (lambda: hard_swish(Line(*IMAGE)), ["HardSwish"]),
    "gelu": (lambda: gelu(Line(*ROWS)), ["Gelu"]),
    "product, bias, relu": (
        lambda: Line(*ROWS).then("MatMul", constant(4, 3)).then("Add", constant(3)).then("Relu"),
        ["Linear"],
    ),
    "two transpositions": (
        lambda: Line(*ROWS).then("Transpose", perm=(2, 0, 1)).then("Transpose", perm=(1, 2, 0)),
        [],
    ),
    "mean of planes": (
        lambda: Line(*IMAGE).then("ReduceMean", Value.of(np.array([3, 2]))),
        ["GlobalAveragePool"],
    ),
    "mean of rows": (lambda: Line(*IMAGE).then("ReduceMean", Value.of(np.array([3]))), ["ReduceMean"]),
}


@pytest.mark.parametrize("name", CASES)
def test_fused_nodes_compute_what_they_are_made_of(name: str) -> None:
    line, operators = CASES[name][0](), CASES[name][1]
    fused = Graph([line.start], line.nodes, [line.x])
    x = DRAW.standard_normal(line.shape).astype(np.float32)
    values: dict[Value, Any] = {line.start: x}
    for node in line.nodes:  # one by one, each in a graph of its own
        inputs = [values.get(value, value.constant) for value in node.inputs]
        single = Node(node.operator, map(Value.of, inputs), node.outputs, node.attributes)
        values[node.outputs[0]] = Graph([], [single], node.outputs)()
    np.testing.assert_allclose(fused(x), values[line.x], rtol=1e-5, atol=2e-6)
    found = fused.program(((line.shape, np.dtype(np.float32)),)).found
    assert [node.operator for node in found.nodes] == operators


@pytest.mark.parametrize("operator", ["Max", "Min"])
def test_nan_is_neither_above_nor_below_a_number(operator: str) -> None:
    """It stays, as the operators say; infinities are held."""
    line = Line(4).then(operator, number(0.5))
    found = Graph([line.start], line.nodes, [line.x])(np.array([np.nan, np.inf, -np.inf, 0.5], np.float32))
    expected = [np.nan, np.inf, 0.5, 0.5] if operator == "Max" else [np.nan, 0.5, -np.inf, 0.5]
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_a_value_that_is_returned_is_not_fused_away() -> None:
    line = norm(conv(Line(*IMAGE)))
    between = line.nodes[0].outputs[0]
    graph = Graph([line.start], line.nodes, [between, line.x])
    assert len(graph(np.ones(IMAGE, np.float32))) == 2
    found = graph.program(((IMAGE, np.dtype(np.float32)),)).found
    assert [node.operator for node in found.nodes] == ["Conv", "BatchNormalization"]


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_residual_that_is_read_again_stays_what_it_was(channels_last: bool) -> None:
    """A sum is written over one of its parts only where nobody else reads that."""
    x = Value("x", np.dtype(np.float32), (2, 8, 6, 6))
    one, two, total, last = (Value(name) for name in ("one", "two", "total", "last"))
    weights = [constant(8, 8, 1, 1) for _ in range(2)]
    nodes = [
        Node("Conv", [x, weights[0]], [one]),
        Node("Conv", [one, weights[1]], [two]),
        Node("Add", [two, one], [total]),
        Node("Mul", [total, one], [last]),
    ]
    graph = Graph([x], nodes, [last])
    given = DRAW.standard_normal((2, 8, 6, 6)).astype(np.float32)
    if channels_last:
        given = np.ascontiguousarray(given.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    first = np.einsum("nchw,kc->nkhw", given, weights[0].constant[:, :, 0, 0])
    second = np.einsum("nchw,kc->nkhw", first, weights[1].constant[:, :, 0, 0])
    for _ in range(2):
        np.testing.assert_allclose(graph(given), (second + first) * first, rtol=1e-4, atol=1e-4)
    found = graph.program(((x.shape, x.dtype),)).found  # type: ignore[arg-type]
    assert [node.operator for node in found.nodes] == ["Conv", "Conv", "Mul"]


def test_joins_that_begin_alike_share_their_memory() -> None:
    """As a dense block has them: every value is written once."""
    x = Value("x", np.dtype(np.float32), (1, 4, 5, 5))
    parts, nodes = [x], []
    for i in range(4):
        joined, made = Value(f"j{i}"), Value(f"c{i}")
        nodes.append(Node("Concat", parts, [joined], {"axis": 1}))
        depth = 4 + 3 * i
        nodes.append(Node("Conv", [joined, constant(3, depth, 1, 1)], [made]))
        parts = [*parts, made]
    last = Value("last")
    nodes.append(Node("Concat", parts, [last], {"axis": 1}))
    graph = Graph([x], nodes, [last])
    program = graph.program((((1, 4, 5, 5), np.dtype(np.float32)),))
    copies = [step.node for step in program.steps if step.node.operator == "Concat"]
    assert len(copies) == 1  # of the input
    given = DRAW.standard_normal((1, 4, 5, 5)).astype(np.float32)
    assert graph(given).shape == (1, 16, 5, 5)
    np.testing.assert_array_equal(graph(given)[:, :4], given)


def test_exact_fusion_changes_no_bit() -> None:
    """What nets of `nn` are prepared by: activations only."""
    line = norm(conv(Line(*IMAGE))).then("Relu")
    exact = Graph([line.start], line.nodes, [line.x], exact=True)
    found = exact.program(((IMAGE, np.dtype(np.float32)),)).found
    assert [node.operator for node in found.nodes] == ["Conv", "BatchNormalization", "Relu"]


def test_weights_made_by_fusion_are_made_once_for_all_shapes() -> None:
    line = norm(conv(Line(*IMAGE)))
    line.start.shape = ("n", 4, "h", "w")
    graph = Graph([line.start], line.nodes, [line.x])
    for size in range(3, 9):
        graph(np.ones((1, 4, size, size), np.float32))
    assert len(graph._keep._made) == 2  # the weight, and what is packed of it
