"""Layers of one's own: what stands in their lists, tuples and dicts is the net's, as is what they call."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from nn_cases import Chain, rng

import fastconv
from fastconv import nn
from fastconv.graph import Graph


class Heads(nn.Layer):
    """A trunk in a tuple, heads in a dict of lists, a parameter and a buffer in a list; only `__call__`."""

    def __init__(self) -> None:
        self.trunk = (nn.Conv2d(1, 4, 3, padding=1, rng=0), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))
        self.heads = {"x": [nn.Conv2d(4, 2, 3, rng=1)], "y": [nn.Conv2d(4, 3, 3, rng=2), nn.ReLU()]}
        self.scales = [nn.Parameter(np.array([2.0], np.float32)), nn.Buffer(np.array([3.0], np.float32))]

    def __call__(self, input: np.ndarray) -> np.ndarray:
        for layer in self.trunk:
            input = layer(input)
        ends = []
        for head in self.heads.values():
            end = input
            for layer in head:
                end = layer(end)
            ends.append(end)
        return np.concatenate(ends, axis=1) * self.scales[0].value * self.scales[1].value


PATHS = [
    "scales.0", "scales.1", "trunk.0.weight", "trunk.0.bias", "trunk.1.0.weight", "trunk.1.0.bias",
    "trunk.1.0.running_mean", "trunk.1.0.running_var", "heads.x.0.weight", "heads.x.0.bias",
    "heads.y.0.weight", "heads.y.0.bias",
]  # fmt: skip


def test_what_stands_in_lists_tuples_and_dicts_is_found_by_torchs_paths() -> None:
    """Buffers, children, parameters; the cast and the state with them."""
    net = Heads()
    assert list(net.state_dict()) == PATHS
    assert list(net.children()) == ["trunk.0", "trunk.1", "heads.x.0", "heads.y.0", "heads.y.1"]
    assert len(net.parameters()) == 9
    double = net.astype(np.float64)
    assert all(value.dtype == np.float64 for value in double.state_dict().values())
    x = rng().standard_normal((2, 1, 6, 6))
    assert double(x).dtype == np.float64
    changed = {name: value + 1 for name, value in net.state_dict().items()}
    net.load_state_dict(changed)
    np.testing.assert_array_equal(net.state_dict()["heads.y.0.weight"], changed["heads.y.0.weight"])


def test_blocks_in_a_list_are_trained() -> None:
    net = Chain([nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1)])
    before = net.state_dict()
    assert list(before) == ["blocks.0.weight", "blocks.0.bias", "blocks.2.weight", "blocks.2.bias"]
    optimizer = nn.SGD(net.parameters(), 0.1)
    optimizer.learn(net, nn.MSELoss(), np.ones((2, 3), np.float32), np.zeros((2, 2), np.float32))
    for name, value in net.state_dict().items():
        assert (value != before[name]).any(), name
    report = nn.gradcheck(net, rng().standard_normal((4, 3)))
    assert report, str(report)
    assert report.checked == 12 + 3 * 4 + 4 + 4 * 2 + 2


def test_what_is_appended_later_is_found_when_somebody_asks() -> None:
    """Also by a `Sequential` around it, and by an optimizer that has seen the net before."""
    chain = Chain([])
    net = nn.Sequential(nn.Flatten(), chain)
    assert net.parameters() == []
    x, target = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    chain.blocks.append(nn.Linear(3, 3, rng=0))
    optimizer = nn.SGD(net.parameters(), 0.1)
    before = net.state_dict()
    optimizer.learn(net, nn.MSELoss(), x, target)
    assert all((value != before[name]).any() for name, value in net.state_dict().items())
    chain.blocks.append(nn.Linear(3, 3, rng=1))
    before = net.state_dict()
    assert list(before)[2:] == ["1.blocks.1.weight", "1.blocks.1.bias"]
    assert (
        np.array_equal(optimizer.learn(net, nn.MSELoss(), x, target)[1], nn.Sequential(*chain.blocks)(x))
        is False
    )
    after = net.state_dict()
    assert (after["1.blocks.0.weight"] != before["1.blocks.0.weight"]).any()
    np.testing.assert_array_equal(after["1.blocks.1.weight"], before["1.blocks.1.weight"])


def test_an_optimizer_sees_what_was_appended_to_a_partly_frozen_net() -> None:
    """The way the net learns is decided once, but not beyond a change of the net."""
    chain = Chain([nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1)])
    optimizer = nn.SGD(chain.blocks[1].parameters(), 0.0)
    x, target = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    optimizer.learn(chain, nn.MSELoss(), x, target)
    chain.blocks.append(nn.Linear(3, 3, rng=2))
    np.testing.assert_array_equal(optimizer.learn(chain, nn.MSELoss(), x, target)[1], chain(x))


def test_a_layer_that_stands_twice_counts_once_and_circles_end() -> None:
    """In one list or two; a list that holds itself, a layer that knows the one around it."""
    shared = nn.Linear(2, 2, rng=0)
    net = Chain([shared, nn.Tanh(), shared])
    net.blocks.append(net.blocks)  # type: ignore[arg-type]
    assert list(net.children()) == ["blocks.0", "blocks.1", "blocks.2"]
    assert len(net.parameters()) == 2

    class Knows(nn.Identity):
        def __init__(self) -> None:
            self.around: list[nn.Layer] = []

    inner = Knows()
    outer = Chain([inner, shared])
    inner.around.append(outer)
    assert [path for path, _ in outer.walk()] == ["", "blocks.0.", "blocks.1."]
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(outer.prepare()(x), shared(x))
    assert nn.summary(outer, (1, 2)).parameters == 6
    nn.SGD([shared.bias], 0.1).learn(outer, nn.MSELoss(), x, x)


def test_two_things_of_one_name_are_refused() -> None:
    """Keys of a dict can make the same path twice; neither may be lost."""
    with pytest.raises(ValueError, match=r"Chain: two things inside would be called 'blocks\.1'"):
        Chain({1: nn.Linear(2, 2), "1": nn.Linear(2, 2)}).parameters()  # type: ignore[arg-type]


def test_subclasses_of_containers_may_have_more_inside() -> None:
    class Gated(nn.Sequential):
        def __init__(self, *layers: nn.Layer) -> None:
            super().__init__(*layers)
            self.gates = [nn.Linear(2, 2, rng=0)]

    assert list(Gated(nn.Linear(2, 2)).state_dict()) == [
        "0.weight",
        "0.bias",
        "gates.0.weight",
        "gates.0.bias",
    ]


# ---- summary -------------------------------------------------------------------------------------------


def test_summary_counts_what_a_layer_of_ones_own_calls() -> None:
    """Shapes, parameters and FLOPs of what is inside, no rule asked for; indented under it by its path."""
    net = nn.Sequential(Heads(), nn.Flatten())
    report = nn.summary(net, (2, 1, 6, 6))
    assert [(row.path, row.output_shape) for row in report.rows] == [
        ("", (2, 80)),
        ("0", (2, 5, 4, 4)),
        ("0.trunk.0", (2, 4, 6, 6)),
        ("0.trunk.1", (2, 4, 6, 6)),
        ("0.trunk.1.0", (2, 4, 6, 6)),
        ("0.trunk.1.1", (2, 4, 6, 6)),
        ("0.heads.x.0", (2, 2, 4, 4)),
        ("0.heads.y.0", (2, 3, 4, 4)),
        ("0.heads.y.1", (2, 3, 4, 4)),
        ("1", (2, 80)),
    ]
    trunk = 2 * 36 * 4 * (2 * 9 + 2 + 1)
    heads = 2 * 16 * 5 * 2 * 4 * 9 + 2 * 16 * 3
    assert report.flops == net.flops((2, 1, 6, 6)) == trunk + heads
    assert report.parameters == 1 + 40 + 8 + 74 + 111
    lines = str(report).splitlines()
    assert lines[4].startswith("    trunk.0 Conv2d(")
    assert lines[6].startswith("      0 BatchNorm2d(")
    assert lines[8].startswith("    heads.x.0 Conv2d(")


def test_summary_sees_single_layers_of_an_inner_net_and_calls_that_repeat() -> None:
    """Iterated over, indexed, called twice; the net itself is only looked at."""

    class Picks(nn.Layer):
        def __init__(self) -> None:
            self.net = nn.Sequential(nn.Linear(3, 3, rng=0), nn.BatchNorm1d(3))
            self.calls = nn.Buffer(np.zeros(1))

        def __call__(self, input: np.ndarray) -> np.ndarray:
            for layer in self.net:
                input = layer(input)
            return input + self.net[0](input)

    net = Picks()
    report = nn.summary(net, (4, 3))
    assert [(row.path, row.shared) for row in report.rows[1:]] == [
        ("net.0", False), ("net.1", False), ("net.0", True),
    ]  # fmt: skip
    assert report.flops == 4 * (18 + 6 + 18)
    assert report.parameters == 12 + 6


def test_summaries_on_several_threads_do_not_mix() -> None:
    net = Chain([nn.Linear(3, 3, rng=0), nn.Tanh(), nn.Linear(3, 1, rng=1)])
    found: list[int] = []

    def work(batch: int) -> None:
        for _ in range(5):
            found.append(nn.summary(net, (batch, 3)).flops // batch)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {18 + 3 + 6}


# ---- prepare -------------------------------------------------------------------------------------------


def graphs_inside(prepared: nn.layers.base.Layer) -> list[Graph]:
    """The graphs that a prepared net runs."""
    return [vars(layer)["_graph"] for _, layer in prepared._net.walk() if "_graph" in vars(layer)]


def weights_inside(prepared: nn.layers.base.Layer) -> int:
    """How many convolutions and products the graphs of a prepared net have."""
    nodes = [node for graph in graphs_inside(prepared) for node in graph.nodes]
    return sum(node.operator in ("Conv", "Linear") for node in nodes)


def test_prepare_packs_what_is_inside_a_layer_of_ones_own() -> None:
    """In lists, dicts and nested; same bits, a snapshot, and layers are still what they were to look at."""

    class Looks(nn.Layer):
        def __init__(self) -> None:
            self.inner = nn.Sequential(Heads(), nn.Conv2d(5, 2, 1, rng=3), nn.ReLU())

        def __call__(self, input: np.ndarray) -> np.ndarray:
            conv = self.inner[1]
            assert isinstance(self.inner, nn.Sequential)
            assert isinstance(conv, nn.Conv2d)
            assert len(self.inner) == 3
            return self.inner(input) * conv.weight.value.sum()

    net = Looks()
    x = rng().standard_normal((2, 1, 6, 6)).astype(np.float32)
    expected = net(x)
    prepared = net.prepare((1, 1, 6, 6))
    assert weights_inside(prepared) == 4
    assert np.array_equal(prepared(x), expected)
    for buffer in net.named_buffers().values():
        buffer.value += 1
    assert np.array_equal(prepared(x), expected)
    assert not np.array_equal(net(x), expected)


def test_a_layer_in_several_places_is_packed_once() -> None:
    shared = nn.Linear(64, 64, rng=0)
    net = Chain([shared, nn.Tanh(), shared, nn.Sequential(shared)])
    prepared = net.prepare()
    x = rng().standard_normal((3, 64)).astype(np.float32)
    assert np.array_equal(prepared(x), net(x))
    keeps = {id(graph._keep): graph._keep for graph in graphs_inside(prepared)}
    assert [len(keep._made) for keep in keeps.values()] == [1]


def test_trained_and_prepared_at_once_on_several_threads() -> None:
    """A prepared net is its own: nothing that happens to the net shows in it."""
    net = Chain([nn.Linear(8, 8, rng=0), nn.ReLU(), nn.Linear(8, 2, rng=1)])
    x = rng().standard_normal((4, 8)).astype(np.float32)
    prepared, expected = net.prepare(), net(x)
    wrong: list[Any] = []

    def infer() -> None:
        for _ in range(100):
            if not np.array_equal(prepared(x), expected):
                wrong.append(x)

    threads = [threading.Thread(target=infer) for _ in range(2)]
    for thread in threads:
        thread.start()
    optimizer = nn.SGD(net.parameters(), 0.1)
    for _ in range(20):
        optimizer.learn(net, nn.MSELoss(), x, np.zeros((4, 2), np.float32))
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_dtype_of_layers_inside_follows_the_cast() -> None:
    """Also that of a layer with an activation fused into it, and of a net that only keeps the argument."""

    class Typed(nn.Layer):
        def __init__(self, dtype: Any = np.float32) -> None:
            self.dtype = np.dtype(dtype)
            self.blocks = [nn.Sequential(nn.Conv2d(1, 1, 1, dtype=dtype), nn.ReLU())]

        def __call__(self, input: np.ndarray) -> np.ndarray:
            return self.blocks[0](input)

    net = Typed().astype(np.float64)
    assert net.dtype == net.blocks[0][0].dtype == np.float64
    x = rng().standard_normal((1, 1, 3, 3))
    assert np.array_equal(net(x), np.maximum(fastconv.conv2d(x, net.blocks[0][0].weight.value), 0))
