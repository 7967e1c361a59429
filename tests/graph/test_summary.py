"""`graph.summary` and `graph.profile`: what they say is what runs."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.graph import Graph, Node, Value
from fastconv.graph.lower import Builder

F32 = np.dtype(np.float32)


def graph_of(exact: bool = False) -> Graph:
    """Convolution, batch norm, ReLU, pool, product; a batch of any size."""
    draw = np.random.default_rng(0)

    def weight(*shape: int) -> Value:
        return Value.of(draw.standard_normal(shape).astype(np.float32))

    x, values = Value("x", F32, ("n", 3, 12, 12)), [Value(f"v{i}") for i in range(6)]
    statistics = [weight(8) for _ in range(3)]
    positive = Value.of(np.abs(draw.standard_normal(8)).astype(np.float32))
    nodes = [
        Node("Conv", [x, weight(8, 3, 3, 3)], values[:1], name="first"),
        Node("BatchNormalization", [values[0], *statistics, positive], values[1:2]),
        Node("Relu", [values[1]], values[2:3]),
        Node("MaxPool", [values[2]], values[3:4], {"kernel_shape": (2, 2), "strides": (2, 2)}),
        Node("Flatten", [values[3]], values[4:5]),
        Node("Gemm", [values[4], weight(200, 4)], values[5:6]),
    ]
    return Graph([x], nodes, values[5:6], "small", exact=exact)


def test_rows_are_the_nodes_that_run() -> None:
    """Fused operators stand with the node that does their work; shapes are those of a call."""
    graph = graph_of()
    found = graph.summary((2, 3, 12, 12))
    assert [row.title for row in found.rows] == [
        "Conv + BatchNormalization + Relu", "MaxPool", "Flatten", "Gemm",
    ]  # fmt: skip
    assert [row.shape for row in found.rows] == [(2, 8, 10, 10), (2, 8, 5, 5), (2, 200), (2, 4)]
    assert found.rows[0].name == "first"
    assert found.nodes == 6
    assert graph(np.ones((2, 3, 12, 12), np.float32)).shape == found.rows[-1].shape
    assert len(graph_of(exact=True).summary().rows) == 6


def test_flops_algorithm_and_memory_are_conv_infos() -> None:
    """A convolution's row says what `conv_info` says of the same call."""
    row = graph_of().summary((2, 3, 12, 12)).rows[0]
    info = fastconv.conv_info((2, 3, 12, 12), (8, 3, 3, 3))
    assert (row.algorithm, row.flops, row.packed_bytes) == (
        info.algorithm, info.flops, info.packed_weight_bytes,
    )  # fmt: skip
    assert row.workspace_bytes == info.workspace_bytes * info.threads
    assert row.nbytes == 2 * 8 * 10 * 10 * 4


def test_totals_count_each_weight_once() -> None:
    """Parameters are those of the file; memory counts what fusion has made beside them."""
    found = graph_of().summary()
    file = 8 * 3 * 9 + 4 * 8 + 200 * 4
    assert found.parameters == file
    assert found.weight_bytes == 4 * (file + 8 * 3 * 9 + 8)
    assert found.flops == sum(row.flops for row in found.rows)
    assert found.output_bytes == 4 * 4
    assert found.peak_bytes >= found.arena_bytes + found.weight_bytes + found.packed_bytes


def test_an_activation_of_a_layer_is_shown() -> None:
    """What the layer itself fuses is in the table like what the graph fuses."""
    builder = Builder(lambda buffer: buffer.value)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, activation="relu6", rng=0))
    output = net._lower(builder, builder.input("x"))
    assert builder.graph([output]).summary((1, 1, 5, 5)).rows[0].title == "Conv + relu6"


def test_table_has_a_line_per_node_and_the_totals() -> None:
    """Printed, it is a table whose columns stand below each other."""
    lines = str(graph_of().summary()).splitlines()
    assert len(lines) == 3 + 4 + 3
    assert lines[1] == lines[-4] == "-" * len(lines[1])
    column = lines[0].index("output shape")
    assert all(line[column] == "(" for line in lines[2:-4])
    assert "4 of 6 nodes left" in lines[-2]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (((2, 3, 12, 12), (1,)), "2 shapes given"),
        (((2, 3, 12),), "must be"),
        (((2, 4, 12, 12),), "must be"),
        (({"y": (1,)},), "no such input"),
        (("x",), "must be an array or a shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(given: tuple, words: str) -> None:
    """By name, before anything is made."""
    with pytest.raises((TypeError, ValueError), match=words):
        graph_of().summary(*given)


def test_only_a_first_axis_may_be_left_open() -> None:
    """A batch counts as 1; any other size that varies has to be given."""
    x, y = Value("x", F32, ("n", 1, "h", 3)), Value("y")
    graph = Graph([x], [Node("Relu", [x], [y])], [y])
    with pytest.raises(ValueError, match=r"input 'x'.*give one"):
        graph.summary()
    assert graph.summary((2, 1, 4, 3)).rows[0].shape == (2, 1, 4, 3)


def test_profile_times_every_step_that_runs() -> None:
    """Shares are of one whole; a view takes no step; the result of the calls is not changed by watching."""
    graph = graph_of()
    x = np.random.default_rng(1).standard_normal((2, 3, 12, 12)).astype(np.float32)
    before = graph(x)
    found = graph.profile(x, repeats=3)
    assert [row.node.operator for row in found.rows] == ["Conv", "MaxPool", "Gemm"]
    assert abs(sum(row.share for row in found.rows) - 1) < 1e-9
    assert all(row.seconds > 0 for row in found.rows)
    assert found.seconds > 0
    assert found.peak_flops > 0
    assert found.flops == graph.summary(x).flops
    assert np.array_equal(graph(x), before)
    assert "median of 3 calls" in str(found)
    assert found.rows[0].gflops == found.rows[0].node.flops / found.rows[0].seconds / 1e9


def test_profile_refuses_what_a_call_refuses() -> None:
    """The same error, naming the input."""
    with pytest.raises(ValueError, match="input 'x'"):
        graph_of().profile(np.ones((1, 2, 12, 12), np.float32))
    with pytest.raises(ValueError, match="repeats=0"):
        graph_of().profile(np.ones((1, 3, 12, 12), np.float32), repeats=0)
