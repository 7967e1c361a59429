"""Graphs as functions: how they are called, what is settled beforehand, and whose memory is whose."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv.graph import Graph, Node, Value
from fastconv.graph.graph import PROGRAMS

FLOAT = np.dtype(np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def value(name: str, *shape: Any, dtype: np.dtype = FLOAT) -> Value:
    return Value(name, dtype, shape)


def normal(*shape: int) -> np.ndarray:
    return rng().standard_normal(shape).astype(np.float32)


def chain(*operators: str, outputs: int = 1) -> Graph:
    """Operators of one input, one after the other; the last values are returned."""
    values = [value("x", "n", 3, 8, 8), *(Value(f"v{i}") for i in range(len(operators)))]
    nodes = [Node(name, [values[i]], [values[i + 1]]) for i, name in enumerate(operators)]
    return Graph(values[:1], nodes, values[-outputs:])


# ---- calls ---------------------------------------------------------------------------------------------


def test_inputs_by_position_by_name_or_as_a_dict() -> None:
    """Names of a file need not be identifiers."""
    a, b, c = value("a:0", 2), value("b", 2), Value("c")
    graph = Graph([a, b], [Node("Sub", [a, b], [c])], [c])
    x, y = normal(2), np.ones(2, np.float32)
    for result in (graph(x, y), graph(x, b=y), graph({"a:0": x, "b": y}), graph({"a:0": x}, b=y)):
        np.testing.assert_array_equal(result, x - y)


@pytest.mark.parametrize(
    ("arguments", "named", "error", "words"),
    [
        ((), {}, TypeError, "input 'x': not given"),
        ((np.ones(2, np.float32),) * 2, {}, TypeError, "2 arrays given; the graph has 1 inputs: x"),
        ((), {"z": 1}, TypeError, "'z': the graph has no such input, but 'x'"),
        ((np.ones(2, np.float32),), {"x": 1}, TypeError, "'x': given twice"),
        ((np.ones((1, 3, 8, 8)),), {}, TypeError, r"'x': dtype float64 must be float32; .*converts it"),
        ((np.ones((3, 8, 8), np.float32),), {}, ValueError, r"\(3, 8, 8\) must have 4 axes \(n, 3, 8, 8\)"),
        ((np.ones((1, 4, 8, 8), np.float32),), {}, ValueError, r"\(1, 4, 8, 8\) must be \(n, 3, 8, 8\)"),
        (([1.0],), {}, TypeError, "input 'x'"),
    ],
)
def test_a_wrong_input_is_named_with_what_came_and_what_is_wanted(
    arguments: Any, named: Any, error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        chain("Relu")(*arguments, **named)


def test_sizes_of_one_name_must_agree_across_inputs() -> None:
    a, b, c = value("a", "n"), value("b", "n"), Value("c")
    graph = Graph([a, b], [Node("Add", [a, b], [c])], [c])
    with pytest.raises(ValueError, match=r"input 'b': shape \(3,\) must be \(n\) with n=2, as of input 'a'"):
        graph(normal(2), normal(3))


def test_what_a_node_refuses_is_said_with_its_name() -> None:
    x, y = value("x", "n", 3), Value("y")
    graph = Graph([x], [Node("MatMul", [x, Value.of(normal(4, 2))], [y], name="votes")], [y])
    with pytest.raises(ValueError, match=r"node 'votes' \(MatMul\): A, B: shapes \(1, 3\) and \(4, 2\)"):
        graph(normal(1, 3))


def test_a_graph_prints_as_a_program() -> None:
    assert str(chain("Relu", "Exp")) == (
        "graph(x: float32[n, 3, 8, 8])\n  v0 = Relu(x)\n  v1 = Exp(v0)\n  return v1"
    )


# ---- memory --------------------------------------------------------------------------------------------


def test_results_are_the_callers_and_inputs_stay_what_they_are() -> None:
    """Also a result that is an input, a constant, a view, or the same value twice."""
    x, y, z = value("x", 2, 3), Value("y"), Value("z")
    constant = Value.of(np.ones(2, np.float32))
    nodes = [Node("Relu", [x], [y]), Node("Transpose", [y], [z], {"perm": (1, 0)})]
    graph = Graph([x], nodes, [x, constant, y, z, y])
    given = normal(2, 3)
    before = given.copy()
    first = graph(given)
    kept = [array.copy() for array in first]
    for array in first:
        array[...] = 9
        for other in first:
            assert array is other or not np.shares_memory(array, other)
    np.testing.assert_array_equal(given, before)
    for again, expected in zip(graph(given), kept):
        np.testing.assert_array_equal(again, expected)


def test_a_chain_of_elementwise_operators_works_in_one_place() -> None:
    """No further storage, and the values between are not there any more."""
    shape = (1, 3, 8, 8)
    program = chain("Exp", "Sigmoid", "Relu", "Tanh").program(((shape, FLOAT),))
    assert program.plan.nbytes == 0  # all of it happens where the result is returned
    x = normal(*shape)
    expected = fastconv.tanh(fastconv.relu(fastconv.sigmoid(np.exp(x))))
    np.testing.assert_array_equal(chain("Exp", "Sigmoid", "Relu", "Tanh")(x), expected)


def test_a_value_that_is_read_again_is_not_written_over() -> None:
    x, a, b, c = value("x", 4), Value("a"), Value("b"), Value("c")
    nodes = [Node("Exp", [x], [a]), Node("Neg", [a], [b]), Node("Add", [b, a], [c])]
    np.testing.assert_array_equal(Graph([x], nodes, [c])(normal(4)), np.zeros(4, np.float32))


def test_storage_of_the_dead_is_used_again() -> None:
    """Convolutions in a row need room for two values, however many there are."""
    values = [value("x", 1, 4, 16, 16), *(Value(f"v{i}") for i in range(8))]
    weights = [Value.of(normal(4, 4, 1, 1)) for _ in range(8)]
    nodes = [Node("Conv", [values[i], weights[i]], [values[i + 1]]) for i in range(8)]
    program = Graph(values[:1], nodes, values[-1:]).program((((1, 4, 16, 16), FLOAT),))
    assert program.plan.nbytes == 2 * 4 * 16 * 16 * 4


@pytest.mark.parametrize("batch", [1, 3])
def test_parts_of_a_join_are_written_in_place(batch: int) -> None:
    """Also joins inside joins, and a part that stands in it twice."""
    x = value("x", batch, 2, 5, 5)
    a, b, c, d, joined, all_of_it = map(Value, "abcdjk")
    w = [Value.of(normal(3, 2, 1, 1)) for _ in range(3)]
    nodes = [
        Node("Conv", [x, w[0]], [a]),
        Node("Conv", [x, w[1]], [b]),
        Node("Concat", [a, b, a], [joined], {"axis": 1}),
        Node("Conv", [x, w[2]], [c]),
        Node("Relu", [c], [d]),
        Node("Concat", [joined, d], [all_of_it], {"axis": 1}),
    ]
    graph = Graph([x], nodes, [all_of_it])
    given = normal(batch, 2, 5, 5)
    parts = [fastconv.conv2d(given, each.constant) for each in w]
    expected = np.concatenate([parts[0], parts[1], parts[0], fastconv.relu(parts[2])], 1)
    np.testing.assert_array_equal(graph(given), expected)
    program = graph.program(((given.shape, FLOAT),))
    assert program.plan.nbytes == 0
    copies = [step for step in program.steps if step.node.operator == "Concat"]
    assert len(copies) == 1  # of the part that stands there twice


def test_a_view_keeps_what_it_looks_at_alive() -> None:
    """Storage under a view is nobody else's before the view is dead."""
    x, a, b, c, d, e = value("x", 4, 4), *map(Value, "abcde")
    nodes = [
        Node("Exp", [x], [a]),
        Node("Transpose", [a], [b], {"perm": (1, 0)}),
        Node("Sin", [x], [c]),
        Node("Cos", [c], [d]),
        Node("Sub", [d, b], [e]),
    ]
    given = normal(4, 4)
    expected = np.cos(np.sin(given)) - np.exp(given).T
    np.testing.assert_allclose(Graph([x], nodes, [e])(given), expected, rtol=1e-6)


def test_memory_does_not_grow_with_ever_new_shapes() -> None:
    graph = chain("Relu", "Exp")
    for n in range(1, 3 * PROGRAMS):
        graph(normal(n, 3, 8, 8))
    assert len(graph._programs) == PROGRAMS


def test_any_number_of_threads_may_run_a_graph() -> None:
    """Each run has memory of its own."""
    x, y, z = value("x", "n", 8, 9, 9), Value("y"), Value("z")
    weight = normal(8, 8, 3, 3)
    nodes = [Node("Conv", [x, Value.of(weight)], [y]), Node("Exp", [y], [z])]
    graph = Graph([x], nodes, [z])
    inputs = [normal(n, 8, 9, 9) * n for n in (1, 2, 1, 2)]
    expected = [np.exp(fastconv.conv2d(each, weight)) for each in inputs]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(50):
            if not np.array_equal(graph(inputs[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_channels_last_goes_in_and_comes_out() -> None:
    """As of a convolution called by itself, to the bit."""
    x, y, z = value("x", 2, 16, 9, 9), Value("y"), Value("z")
    weight = normal(32, 16, 3, 3)
    graph = Graph([x], [Node("Conv", [x, Value.of(weight)], [y]), Node("Sigmoid", [y], [z])], [z])
    given = np.moveaxis(normal(2, 9, 9, 16), -1, 1)
    expected = fastconv.sigmoid(fastconv.conv2d(given, weight))
    np.testing.assert_array_equal(graph(given), expected)
    assert graph(given).strides == expected.strides


def test_a_pickled_graph_is_the_same_function() -> None:
    x, y = value("x", "n", 2, 4, 4), Value("y")
    graph = Graph([x], [Node("Conv", [x, Value.of(normal(3, 2, 3, 3))], [y])], [y], metadata={"a": "b"})
    given = normal(1, 2, 4, 4)
    expected = graph(given)
    again = pickle.loads(pickle.dumps(graph))
    np.testing.assert_array_equal(again(given), expected)
    assert again.metadata == {"a": "b"}
    assert str(again) == str(graph)


# ---- what is settled beforehand ------------------------------------------------------------------------


def operators_of(graph: Graph, *shapes: tuple[int, ...]) -> list[str]:
    program = graph.program(tuple((shape, FLOAT) for shape in shapes))
    return [node.operator for node in program.found.nodes]


def test_shape_arithmetic_is_done_before_the_run() -> None:
    """x.reshape(n, size / n) with both numbers worked out by nodes."""
    x, shape, n, size, rest, target, y = value("x", "n", 3, 4), *map(Value, ("s", "n", "c", "r", "t", "y"))
    first = Value.of(np.zeros(1, np.int64))
    nodes = [
        Node("Shape", [x], [shape]),
        Node("Gather", [shape, first], [n], {"axis": 0}),
        Node("Size", [x], [size]),
        Node("Div", [size, n], [rest]),
        Node("Concat", [n, rest], [target], {"axis": 0}),
        Node("Reshape", [x, target], [y]),
    ]
    graph = Graph([x], nodes, [y])
    assert operators_of(graph, (2, 3, 4)) == ["Reshape"]
    assert graph(normal(5, 3, 4)).shape == (5, 12)


def test_a_branch_whose_condition_is_known_stands_in_place_of_its_if() -> None:
    """Here by the shape of the input: a graph has programs that take different branches."""
    x, shape, last, two, condition, y = value("x", "n"), *map(Value, ("s", "l", "t", "c", "y"))
    inner, made, other, negated = Value("i"), Value("m"), Value("o"), Value("g")
    branches = {
        "then_branch": Graph([inner], [Node("Exp", [inner], [made])], [made]),
        "else_branch": Graph([other], [Node("Neg", [other], [negated])], [negated]),
    }
    nodes = [
        Node("Shape", [x], [shape]),
        Node("Gather", [shape, Value.of(np.array(0))], [last], {"axis": 0}),
        Node("Less", [last, Value.of(np.array(2))], [condition]),
        Node("If", [condition, x], [y], branches),
    ]
    graph = Graph([x], nodes, [y])
    assert operators_of(graph, (1,)) == ["Exp"]
    assert operators_of(graph, (3,)) == ["Neg"]
    np.testing.assert_array_equal(graph(normal(3)), -normal(3))
    del two


def test_constants_are_computed_once() -> None:
    x, a, b, y = value("x", 3), *map(Value, "aby")
    nodes = [
        Node("Exp", [Value.of(np.ones(3, np.float32))], [a]),
        Node("Neg", [a], [b]),
        Node("Add", [x, b], [y]),
    ]
    assert operators_of(Graph([x], nodes, [y]), (3,)) == ["Add"]


def test_nodes_that_nothing_depends_on_do_not_run() -> None:
    x, y, z = value("x", 3), Value("y"), Value("z")
    nodes = [Node("Exp", [x], [y]), Node("Neg", [x], [z])]
    assert operators_of(Graph([x], nodes, [z]), (3,)) == ["Neg"]
