"""Graphs inside graphs, lists and optional values: what onnx's own cases do not look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra [onnx] is not installed")

from onnx import TensorProto, helper  # noqa: E402

from fastconv.graph import Graph, Node, Value  # noqa: E402
from fastconv.interop.onnx import load  # noqa: E402

F32, I64 = np.dtype(np.float32), np.dtype(np.int64)


def scalar(value: Any, dtype: Any = np.int64) -> np.ndarray:
    return np.array(value, dtype)


def loop(body: Graph, inputs: list[Value | None], carried: int, outputs: int, **told: Any) -> Graph:
    made = [Value(f"o{i}") for i in range(outputs)]
    node = Node("Loop", inputs, made, {"body": body, "carried": carried, **told})
    return Graph([value for value in inputs if value is not None and value.constant is None], [node], made)


def body(nodes: list[Node], own: list[Value], outputs: list[Value]) -> Graph:
    step, condition = Value("step", I64, ()), Value("condition", np.dtype(bool), ())
    return Graph([step, condition, *own], nodes, [condition, *outputs], "body")


def doubling() -> Graph:
    x, y = Value("x"), Value("y", F32, (2, None))
    return body([Node("Add", [x, x], [y])], [x], [y, y])


def test_a_loop_that_does_not_end_is_ended() -> None:
    x = Value("x", F32)
    graph = loop(doubling(), [None, None, x], 1, 2, max_iterations=50)
    with pytest.raises(ValueError, match=r"node 'o0' .Loop.*max_iterations=50"):
        graph(np.zeros((2, 1), np.float32))


def test_a_file_cannot_raise_its_own_limit() -> None:
    """What is said to `load` holds, whatever a node has among its attributes."""
    info = helper.make_tensor_value_info
    inner = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, [])],
        [info("d", TensorProto.BOOL, [])],
    )
    node = helper.make_node("Loop", ["", "t"], ["o"], body=inner, max_iterations=1 << 40, carried=0)
    outer = helper.make_graph(
        [helper.make_node("Loop", ["", "t", "x"], ["y"], body=_passing(), max_iterations=1 << 40)],
        "net",
        [info("t", TensorProto.BOOL, []), info("x", TensorProto.FLOAT, [])],
        [info("y", TensorProto.FLOAT, [])],
    )
    assert node.attribute
    net = load(helper.make_model(outer, opset_imports=[helper.make_opsetid("", 19)]), max_iterations=10)
    with pytest.raises(ValueError, match="max_iterations=10"):
        net(np.array(True), np.array(1, np.float32))


def _passing() -> onnx.GraphProto:
    info = helper.make_tensor_value_info
    return helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("v", TensorProto.FLOAT, [])],
        [info("d", TensorProto.BOOL, []), info("w", TensorProto.FLOAT, [])],
    )


def test_no_iterations_leave_what_was_carried_and_empty_stacks() -> None:
    """Of the shape that the body declares; and the result is not the caller's own array."""
    x = Value("x", F32)
    data = np.ones((2, 1), np.float32)
    last, kept = loop(doubling(), [Value.of(scalar(0)), None, x], 1, 2)(data)
    last[...] = 5
    assert data.tolist() == [[1], [1]]
    assert kept.shape == (0, 2, 0)
    assert kept.dtype == F32


def test_what_a_loop_returns_unchanged_outlives_its_source() -> None:
    """A loop that did nothing hands on memory that others take as soon as its input is dead."""
    x, y, out = Value("x", F32), Value("y"), Value("out")
    looped, before = Value("looped"), Value("s0")
    told = {"body": doubling(), "carried": 1}
    nodes = [
        Node("Relu", [x], [y]),
        Node("Loop", [Value.of(scalar(0)), None, y], [looped, None], told),
        Node("Exp", [x], [before]),
    ]
    for i in range(1, 4):
        after = Value(f"s{i}")
        nodes.append(Node("Add", [before, before], [after]))
        before = after
    nodes.append(Node("Add", [before, looped], [out]))
    data = np.array([[1], [-2]], np.float32)
    (got,) = Graph([x], nodes, [out]).run([data])
    np.testing.assert_allclose(got, 8 * np.exp(data) + np.maximum(data, 0), rtol=1e-6)


def test_stacks_need_one_shape() -> None:
    x, y = Value("x"), Value("y")
    growing = body([Node("Concat", [x, x], [y], {"axis": 0})], [x], [y, y])
    with pytest.raises(ValueError, match="output 'y' must be an array, of one shape"):
        loop(growing, [Value.of(scalar(2)), None, Value("x", F32)], 1, 2)(np.zeros(1, np.float32))
    kept = body([Node("Concat", [x, x], [y], {"axis": 0})], [x], [y])
    assert loop(kept, [Value.of(scalar(3)), None, Value("x", F32)], 1, 1)(np.zeros(1, np.float32)).shape == (
        8,
    )


def test_what_is_constant_around_a_body_is_constant_inside() -> None:
    """So shapes in there are known, and its steps have places in memory."""
    x, shape, size, y = Value("x", F32), Value("shape"), Value("size"), Value("y")
    inner = body([Node("Reshape", [x, shape], [y])], [x, shape], [y])
    outer, made = Value("x", F32, (2, 3)), Value("made")
    nodes = [
        Node("Size", [outer], [size]),
        Node("Loop", [Value.of(scalar(1)), None, outer, size], [made], {"body": inner, "carried": 1}),
    ]
    graph = Graph([outer], nodes, [made])
    program = graph.program((((2, 3), F32),))
    (step,) = program.steps
    assert [value.name for value in step.node.attributes["body"].inputs] == ["step", "condition", "x"]
    np.testing.assert_array_equal(graph(np.arange(6, dtype=np.float32).reshape(2, 3)), np.arange(6))


def test_bodies_that_do_not_fit_are_errors() -> None:
    x = Value("x", F32)
    for inner in (body([], [], []), Graph([], [], [])):
        with pytest.raises(ValueError, match=r"node .*body: "):
            loop(inner, [Value.of(scalar(1)), None, x], 1, 1)(np.zeros(1, np.float32))


def test_a_branch_is_chosen_as_it_runs() -> None:
    """By a condition that is not known before, with what each branch reads from around it."""
    x, c, out = Value("x", F32), Value("c", np.dtype(bool)), Value("out")

    def branch(operator: str) -> Graph:
        inner, made = Value("x"), Value("made")
        return Graph([inner], [Node(operator, [inner], [made])], [made])

    told = {"then_branch": branch("Neg"), "else_branch": branch("Identity")}
    graph = Graph([c, x], [Node("If", [c, x], [out], told)], [out])
    data = np.ones(2, np.float32)
    assert graph(np.array([True]), data).tolist() == [-1, -1]
    same = graph(np.array(False), data)
    same[...] = 3
    assert data.tolist() == [1, 1]


# ---- lists ----------------------------------------------------------------------------------------------


def test_elements_of_a_list_outlive_their_source() -> None:
    """The place of a value is another's after its last use; what a list holds must not be there."""
    x, y, z = Value("x", F32), Value("y"), Value("z")
    listed, before, last = Value("listed"), Value("s0"), Value("last")
    nodes = [
        Node("Relu", [x], [y]),
        Node("SequenceConstruct", [y], [listed]),
        Node("Exp", [x], [before]),
    ]
    for i in range(1, 4):
        after = Value(f"s{i}")
        nodes.append(Node("Add", [before, before], [after]))
        before = after
    nodes += [
        Node("SequenceInsert", [listed, before], [last]),
        Node("ConcatFromSequence", [last], [z], {"axis": 0}),
    ]
    data = np.array([1, -2], np.float32)
    (got,) = Graph([x], nodes, [z]).run([data])
    np.testing.assert_allclose(got, [1, 0, *(8 * np.exp(data))], rtol=1e-6)


def test_an_optional_that_is_empty_has_no_element() -> None:
    empty, has, element = Value("empty"), Value("has"), Value("element")
    made = Node("Optional", [], [empty])
    assert Graph([], [made, Node("OptionalHasElement", [empty], [has])], [has])().tolist() is False
    assert Graph([], [Node("OptionalHasElement", [None], [has])], [has])().tolist() is False
    with pytest.raises(ValueError, match=r"node 'element' .*empty optional"):
        Graph([], [made, Node("OptionalGetElement", [empty], [element])], [element])()


@pytest.mark.parametrize("position", [-3, 2])
def test_positions_outside_a_list_are_errors(position: int) -> None:
    listed, at = Value("listed"), Value("at")
    x = Value("x", F32)
    nodes = [
        Node("SequenceConstruct", [x, x], [listed]),
        Node("SequenceAt", [listed, Value.of(scalar(position))], [at]),
    ]
    with pytest.raises(ValueError, match=f"node 'at' .*position={position}: must be -2 to 1"):
        Graph([x], nodes, [at])(np.zeros(1, np.float32))


# ---- what is drawn --------------------------------------------------------------------------------------


def test_a_seed_makes_runs_equal_and_none_does_not() -> None:
    for seed, same in ((3.0, True), (None, False)):
        out = Value("out")
        told = {"shape": (50,), **({} if seed is None else {"seed": seed})}
        graph = Graph([], [Node("RandomNormal", [], [out], told)], [out])
        first, second = graph(), graph()
        assert np.array_equal(first, second) is same
        assert first.dtype == F32


def test_dropout_in_training_keeps_the_mean_and_tells_what_it_kept() -> None:
    x, y, mask = Value("x", F32), Value("y"), Value("mask")
    inputs = [x, Value.of(scalar(0.25, np.float32)), Value.of(scalar(True, bool))]
    graph = Graph([x], [Node("Dropout", inputs, [y, mask])], [y, mask])
    got, kept = graph(np.ones(20000, np.float32))
    np.testing.assert_allclose(got, kept / np.float32(0.75), rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 0.02
