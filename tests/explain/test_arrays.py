"""What is told of a net, as arrays: against the engine, float64, and the example's numbers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explain.nets import branches, chain, chain_walk, picture
from fastconv import explain, nn
from fastconv.xo import DECK, deck_pictures

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "deck.json").read_text())


# ---- maps ---------------------------------------------------------------------------------------------


def test_the_examples_numbers() -> None:
    """Every map of the network made by hand, in ninths."""
    seen = explain.deck_walk("X")
    for number, name in ((1, "filtered"), (2, "relu"), (3, "pooled"), (4, "pooled_twice")):
        assert np.allclose(seen.maps[number].values * 9, GOLDEN[f"{name}_X_ninths"], atol=1e-12), name
    for drawn in DECK:
        sums = GOLDEN["vote_sums_ninths"][drawn.name.replace(" ", "_")]
        assert np.allclose(explain.deck_walk(drawn.name).votes * (45, 36), sums, atol=1e-12), drawn.name


@pytest.mark.parametrize(("net", "shape"), [(chain(), (2, 12, 12)), (branches(), (1, 10, 10))])
def test_the_last_map_is_what_the_net_gives(net: nn.Sequential, shape: tuple[int, ...]) -> None:
    """Whichever ways there are, and whatever is fused when the net runs on its own."""
    x = picture(*shape)
    seen = explain.walk(net, x)
    assert np.allclose(seen.maps[-1].values, net(x[None])[0], rtol=1e-5, atol=1e-6)
    assert seen.probabilities.sum() == pytest.approx(1)


def test_maps_of_float32_are_those_of_float64() -> None:
    """Map by map."""
    wide = chain_walk(np.float64)
    net = chain(np.float64).astype(np.float32)
    narrow = explain.walk(net, picture(2, 12, 12))
    for a, b in zip(narrow.maps, wide.maps):
        assert np.allclose(a.values, b.values, rtol=1e-4, atol=1e-5), a.title


def test_what_is_told_of_a_map() -> None:
    """Shape, parameters, FLOPs, bytes, range, histogram, and channels that are dead."""
    seen = chain_walk()
    summary = nn.summary(chain(), (1, 2, 12, 12))
    rows = [row for row in summary.rows if row.path]
    assert [each.shape for each in seen.maps[1:]] == [row.output_shape[1:] for row in rows]
    assert [each.flops for each in seen.maps[1:]] == [row.flops for row in rows]
    conv = seen.maps[1]
    assert (conv.parameters, conv.nbytes) == (4 * 2 * 9 + 4, conv.values.nbytes)
    assert conv.minimum == conv.values.min()
    assert conv.maximum == conv.values.max()
    counts, edges = conv.histogram(7)
    assert counts.sum() == conv.values.size
    assert len(edges) == 8
    net = nn.Sequential(nn.Conv2d(1, 3, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(147, 2, rng=1))
    net[0].bias.value[1] = -1e6
    assert explain.walk(net, picture(1, 9, 9)).maps[2].dead.tolist() == [1]


def test_a_walk_does_not_change_with_the_net() -> None:
    """Weights are copied: what is learned later does not show."""
    net = chain()
    seen = explain.walk(net, picture(2, 12, 12))
    before = seen.gradients(0).pixels
    for parameter in net.parameters():
        parameter.value[...] = 0
    assert np.array_equal(seen.gradients(0).pixels, before)
    with pytest.raises(ValueError, match="read-only"):
        seen.maps[1].values[0] = 1


# ---- receptive fields ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("net", "shape"), [(chain(), (2, 12, 12)), (branches(), (1, 10, 10))])
def test_a_field_is_what_changes_a_cell(net: nn.Sequential, shape: tuple[int, ...]) -> None:
    """What lies outside changes nothing, to the bit; and no map's field has a place too few."""
    seen = explain.walk(net, picture(*shape))
    rng = np.random.default_rng(1)
    for shown in seen.maps[1 : seen.vote_number]:
        cell = tuple(int(rng.integers(size)) for size in shown.shape)
        fields = seen.field(shown.number, cell)
        assert [places.tolist() for places in fields[shown.number]] == [[place] for place in cell]
        for number, field in fields.items():
            others = np.ones(seen.shapes[number], bool)
            others[np.ix_(*field)] = False
            if number == shown.number or not others.any() or number != 0:
                continue
            changed = seen.value(0).copy()
            changed[0][others] += 1
            after = seen.tail(0, changed, shown.number)[0]
            assert after[cell] == shown.values[cell], (shown.title, cell)


def test_the_field_of_dilated_and_strided_windows() -> None:
    """The places themselves, not the box around them."""
    net = nn.Sequential(
        nn.Conv2d(1, 1, 3, dilation=2, rng=0), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2)
    )
    seen = explain.walk(net, picture(1, 12, 12))
    assert [places.tolist() for places in seen.field(2, (0, 1, 0))[0]] == [
        [0],
        [2, 3, 4, 5, 6, 7],
        [0, 1, 2, 3, 4, 5],
    ]
    assert [places.tolist() for places in seen.field(1, (0, 1, 0))[0]] == [[0], [1, 3, 5], [0, 2, 4]]
    assert seen.maps[1].field == (5, 5)


def test_the_field_goes_by_groups_and_branches() -> None:
    """A grouped feature sees its own channels, and a joined channel the branch it came by."""
    seen = chain_walk()
    assert seen.field(5, (4, 1, 1))[4][0].tolist() == [2, 3]
    seen = explain.walk(branches(), picture(1, 10, 10))
    join = next(each for each in seen.maps if each.kind == "join")
    assert [len(part) for part in seen.field(join.number, (9, 5, 5))[0]] == [1, 5, 5]  # by the identity


# ---- cells --------------------------------------------------------------------------------------------


def test_a_match_of_the_example() -> None:
    """Patch, products, sum, division and ReLU, as the slides have them."""
    cell = explain.deck_walk("X").cell(1, (0, 3, 3))
    assert cell.patch.tolist() == [[[1, -1, 1], [-1, 1, -1], [1, -1, 1]]]
    assert (cell.sum, cell.divisor, cell.bias, cell.activation) == (5, 9, None, "ReLU")
    assert cell.total == cell.output == 5 / 9
    assert explain.deck_walk("X").cell(1, (0, 0, 1)).output == 0  # -1/9 behind ReLU


@pytest.mark.parametrize("number", [1, 5, 9, 11])
def test_a_cells_arithmetic_is_the_engines(number: int) -> None:
    """For every cell: what is summed here in float64 is what the engine computed; padding counts as 0."""
    seen = chain_walk()
    for cell in np.ndindex(*seen.shapes[number]):
        found = seen.cell(number, cell)
        assert found.products.shape == found.feature.shape
        total = found.sum + (found.bias or 0)
        assert found.total == pytest.approx(total)
        own = max(total, 0) if number == 5 else total
        assert own == pytest.approx(float(seen.maps[number].values[cell]), rel=1e-4, abs=1e-5)


def test_pool_windows() -> None:
    """Winners, ties and what hangs over, against the gradient of the engine's pool."""
    seen = explain.deck_walk("X")
    windows = seen.windows(3)
    read = seen.maps[2].values
    places = tuple(np.moveaxis(windows.winners, -1, 0))
    channels = np.arange(3)[:, None, None]
    assert np.array_equal(read[(channels, *places)], seen.maps[3].values)
    marks = nn.MaxPool2d(2, ceil_mode=True).vjp(read[None].copy())[1](np.ones((1, 3, 4, 4)))[0]
    won = np.zeros_like(read)
    np.add.at(won, (channels, *places), 1)
    assert np.array_equal(won, marks)
    assert windows.covered.tolist() == [[4, 4, 4, 2], [4, 4, 4, 2], [4, 4, 4, 2], [2, 2, 2, 1]]
    assert windows.ties[0, 0, 1] == 2  # 0.33 twice


def test_who_voted() -> None:
    """The example's listed voters, each with a fifth of its value."""
    voters = explain.deck_walk("X").voters(6, 0)
    assert voters.order()[:5].tolist() == GOLDEN["x_voters"]
    assert voters.votes[:5].tolist() == [0.2, 0, 0, 0.2, 0.2]
    seen = chain_walk()
    for k in range(3):
        assert seen.voters(11, k).total == pytest.approx(float(seen.votes[k]), abs=1e-5)


# ---- backwards ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("net", "shape"), [(chain(), (2, 12, 12)), (branches(), (1, 10, 10))])
def test_gradients_are_the_nets_own(net: nn.Sequential, shape: tuple[int, ...]) -> None:
    """At the pixels, that of `vjp` in inference."""
    x = picture(*shape)
    seen = explain.walk(net, x)
    body = net[:-1] if isinstance(net[-1], nn.Softmax) else net
    for vote in range(len(seen.classes)):
        votes, backprop = body.vjp(x[None], training=False)
        start = np.zeros_like(votes)
        start[0, vote] = 1
        assert np.allclose(seen.gradients(vote).pixels, backprop(start)[0], rtol=1e-4, atol=1e-6)


def test_gradients_by_nudging() -> None:
    """At every map and every weight, in float64."""
    seen = chain_walk(np.float64)
    found = seen.gradients("dog")
    rng = np.random.default_rng(3)
    for number in range(seen.vote_number):
        cell = tuple(int(rng.integers(size)) for size in seen.shapes[number])
        both = np.repeat(seen.value(number), 2, axis=0)
        both[(0, *cell)] += 1e-6
        both[(1, *cell)] -= 1e-6
        votes = seen.tail(number, both)[:, 1]
        gradient = found.maps[number]
        assert gradient is not None
        assert gradient[cell] == pytest.approx((votes[0] - votes[1]) / 2e-6, rel=1e-5, abs=1e-8)
    for number, weights in found.weights.items():
        index = tuple(int(rng.integers(size)) for size in weights.shape)
        layer: Any = copy.deepcopy(seen.steps[number - 1].layer)
        votes = []
        for by in (1e-6, -2e-6):
            layer.weight.value[index] += by
            votes.append(seen.tail(number, layer(seen.value(number - 1)))[0, 1])
        assert weights[index] == pytest.approx((votes[0] - votes[1]) / 2e-6, rel=1e-5, abs=1e-8)


def test_the_curve_of_a_weight() -> None:
    """The error for each value is that of a net with that weight; the slope is the curve's."""
    net, x = chain(np.float64), picture(2, 12, 12, dtype=np.float64)
    seen = explain.walk(net, x, loss=nn.TotalAbsoluteError())
    curve = seen.curve(1, (2, 1, 0, 1), 2, lr=0.05, points=21)
    body = net[:-1]
    for k in (0, 7, 20):
        net[0].weight.value[2, 1, 0, 1] = curve.weights[k]
        assert curve.errors[k] == pytest.approx(nn.TotalAbsoluteError()(body(x[None]), np.array([2])))
    assert curve.weights[10] == pytest.approx(curve.weight)
    assert curve.errors[10] == pytest.approx(curve.error)
    assert curve.new_weight == curve.weight - 0.05 * curve.slope
    near = seen.curve(1, (2, 1, 0, 1), 2, reach=1e-6, points=3)
    assert near.slope == pytest.approx((near.errors[2] - near.errors[0]) / 2e-6, rel=1e-4)


def test_occlusion() -> None:
    """Each vote is that of the picture with that part painted over."""
    seen = chain_walk()
    found = seen.occlusion(0, size=(4, 3), stride=5, fill=(0.5, -1))
    assert found.votes.shape == (3, 3)
    assert [s.tolist() for s in found.starts] == [[0, 5, 8], [0, 5, 9]]
    x = picture(2, 12, 12)
    x[0, 5:9, 9:12], x[1, 5:9, 9:12] = 0.5, -1
    assert found.votes[1, 2] == pytest.approx(float(chain()[:-1](x[None])[0, 0]), abs=1e-5)
    assert np.allclose(found.drop, found.vote - found.votes)


def test_cases() -> None:
    """Shifts are those of the pixels, no change is no change, and pictures of two values keep them."""
    seen = explain.deck_walk("X scaled")
    cases = {case.name: case for case in explain.cases_of(seen)}
    right = cases["shift right"]
    at = right.amounts.index(2.0)
    assert np.array_equal(right.pictures[at][0][:, 2:], seen.input[0, 0][:, :-2])
    for name, still in (("shift down", 0), ("rotation", 0), ("scale", 1), ("thickness", 0)):
        k = cases[name].amounts.index(still)
        assert np.array_equal(cases[name].pictures[k], seen.input[0]), name
        assert set(np.unique(cases[name].pictures)) == {-1, 1}, name
    quarter = explain.cases.resampled(deck_pictures()[0][3], angle=90)
    assert np.array_equal(quarter[0], np.rot90(deck_pictures()[0][3, 0]))
    ink = [(picture > 0).sum() for picture in cases["thickness"].pictures]
    assert ink == sorted(ink)
    assert ink[2] < ink[3] < ink[4]


# ---- other ranks, other nets --------------------------------------------------------------------------


def test_sound_and_volumes() -> None:
    """One and three spatial axes: fields, cells, gradients, hidden parts."""
    sound = nn.Sequential(nn.Conv1d(2, 3, 5, rng=0), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(24, 2, rng=1))
    solid = nn.Sequential(nn.Conv3d(1, 2, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2, rng=1))
    for net, shape in ((sound, (2, 20)), (solid, (1, 6, 6, 6))):
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        seen = explain.walk(net, x)
        cell = (1, *(2,) * (len(shape) - 1))
        assert seen.cell(1, cell).total == pytest.approx(float(seen.maps[1].values[cell]), abs=1e-5)
        assert [len(part) for part in seen.field(1, cell)[0]] == [
            shape[0],
            *(5 if net is sound else 3,) * (len(shape) - 1),
        ]
        assert seen.gradients(1).pixels.shape == shape
        assert seen.occlusion(0, stride=3).votes.ndim == len(shape) - 1
        assert explain.cases_of(seen) == []


class Doubled(nn.Layer):
    """A layer of one's own."""

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return input * 2

    def vjp(self, input: np.ndarray, training: bool = True) -> Any:
        return input * 2, lambda grad_output: grad_output * 2


def test_layers_of_ones_own_are_one_step() -> None:
    """What it depends on is not known, so it may be everything."""
    net = nn.Sequential(Doubled(), nn.Flatten(), nn.Linear(9, 2, rng=0))
    seen = explain.walk(net, np.ones((1, 3, 3), np.float32))
    assert [each.kind for each in seen.maps] == ["input", "other", "flatten", "full"]
    assert [len(part) for part in seen.field(1, (0, 1, 1))[0]] == [1, 3, 3]
    assert seen.gradients(0).pixels is not None


def test_models_from_elsewhere() -> None:
    """A graph of ONNX: the same maps and gradients as the net it was made from."""
    onnx = pytest.importorskip("fastconv.interop.onnx", exc_type=ImportError)
    for net, shape in ((chain(), (2, 12, 12)), (branches(), (1, 10, 10))):
        x = picture(*shape)
        net = net.replaced(4, nn.AdaptiveMaxPool2d(2)) if len(net) == 8 else net  # which ONNX has words for
        graph = onnx.load(onnx.export(net, None, (1, *shape)))
        seen, own = explain.walk(graph, x), explain.walk(net, x)
        assert np.allclose(seen.maps[-1].values, own.maps[-1].values, rtol=1e-4, atol=1e-6)
        assert np.allclose(seen.gradients(1).pixels, own.gradients(1).pixels, rtol=1e-3, atol=1e-5)
        assert "other" not in [each.kind for each in seen.maps]


def test_a_node_without_gradient_is_named() -> None:
    """Maps are shown all the same."""
    from fastconv.graph import Graph, Node, Value

    x, y, z = Value("x", np.dtype(np.float32), (1, 4)), Value("y"), Value("z")
    graph = Graph([x], [Node("Cos", [x], [y], name="wave"), Node("Neg", [y], [z])], [z])
    seen = explain.walk(graph, np.ones(4, np.float32))
    assert np.allclose(seen.votes, -np.cos(1))
    with pytest.raises(TypeError, match=r"\(Neg\): no gradient is known"):
        seen.gradients(0)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (lambda: explain.walk(3, np.ones((1, 3, 3))), "model: must be a layer"),
        (lambda: explain.walk(chain(), np.ones((1, 3, 3), int)), "input: dtype must be float32"),
        (lambda: explain.walk(chain(), np.ones((3, 12, 12), np.float32)), "layer 0, Conv2d"),
        (lambda: explain.walk(nn.Conv2d(1, 2, 3), np.ones((1, 5, 5), np.float32)), "must end in votes"),
        (lambda: explain.walk(chain(), picture(2, 12, 12), classes=["a"]), "classes: 1 names"),
        (lambda: chain_walk().field(30, (0, 0, 0)), "number=30: the last map is 12"),
        (lambda: chain_walk().cell(1, (0, 0, 99)), r"cell=\(0, 0, 99\): map 1 has shape"),
        (lambda: chain_walk().cell(2, (0, 0, 0)), "number=2: is batch norm"),
        (lambda: chain_walk().windows(1), "number=1: is not what a max-pool made"),
        (lambda: chain_walk().voters(1, 0), r"cell=\(0,\)"),
        (lambda: chain_walk().gradients("cow"), "vote='cow': must be one of cat, dog"),
        (lambda: chain_walk().curve(2, (0,), 0), "number=2: has no weights"),
        (lambda: chain_walk().curve(1, (0, 0, 0, 9), 0), r"index=\(0, 0, 0, 9\)"),
        (lambda: chain_walk().curve(1, (0, 0, 0, 0), 0, lr=-1), "lr=-1"),
        (lambda: chain_walk().occlusion(0, size=13), "size=13"),
        (lambda: chain_walk().occlusion(0, stride=0), "stride=0"),
        (lambda: explain.deck_walk("Q"), "picture='Q'"),
    ],
)
def test_bad_requests(told: Any, message: str) -> None:
    """Each names the argument, its value and the rule."""
    with pytest.raises((TypeError, ValueError), match=message):
        told()
