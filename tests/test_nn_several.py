"""Layers, losses and nets with several inputs and outputs: what is carried through, and what is refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from several_cases import (
    Add,
    Contrast,
    Heads,
    Lookup,
    Merging,
    Twins,
    looking_up,
    numbered,
    pairs,
    two_headed,
    two_targets,
)

from fastconv import nn

HEADS = nn.LossPerOutput(nn.CrossEntropyLoss(), nn.MSELoss(), weights=(1.0, 0.5))


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


# ---- gradients -----------------------------------------------------------------------------------------

NETS: dict[str, Any] = {
    "two inputs": (lambda: nn.Sequential(Add(), nn.Linear(3, 2, rng=0)), (draw(4, 3), draw(4, 3, seed=1))),
    "two outputs": (two_headed, draw(4, 3)),
    "two and two": (lambda: nn.Sequential(Twins(nn.Linear(3, 4, rng=0)), Add()), (draw(4, 3), draw(4, 3))),
    "a siamese net": (lambda: nn.Sequential(Twins(two_headed()[:2])), (draw(4, 3), draw(4, 3, seed=1))),
    "integers": (looking_up, (draw(4, 2), np.array([1, 0, 1, 4]))),
    "around": (
        lambda: nn.Residual(Twins(nn.Linear(3, 3, rng=0))),
        (draw(4, 3), draw(4, 3, seed=1)),
    ),
    "around by a shortcut": (
        lambda: nn.Residual(
            Twins(nn.Linear(3, 2, rng=0)), Add(), shortcut=nn.Sequential(Add(), nn.Linear(3, 2, rng=1))
        ),
        (draw(4, 3), draw(4, 3, seed=1)),
    ),
    "branches": (
        lambda: nn.Concat(nn.Sequential(Add(), nn.Linear(3, 2, rng=0)), Add()),
        (draw(4, 3), draw(4, 3, seed=1)),
    ),
    "branches of two outputs": (
        lambda: nn.Sequential(nn.Concat(Heads(3, 2, 4), Heads(3, 3, 1)), Add()),
        draw(4, 3),
    ),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_go_through_tuples(name: str, training: bool) -> None:
    """Of every input and parameter, in training and in inference, by central differences."""
    make, x = NETS[name]
    net = make()
    report = nn.gradcheck(net, x, training=training)
    assert report, str(report)
    floats = [array for array in (x if isinstance(x, tuple) else (x,)) if array.dtype.kind == "f"]
    parameters = sum(p.value.size for p in net.parameters()) if training else 0
    assert report.checked == sum(array.size for array in floats) + parameters


@pytest.mark.parametrize("name", NETS)
def test_a_training_pass_gives_what_a_call_gives(name: str) -> None:
    """Also prepared, cast, saved and loaded, and where nobody wants the gradients of the inputs."""
    make, x = NETS[name]
    net = make().astype(np.float64)
    inputs = x if isinstance(x, tuple) else (x,)
    expected = net(*inputs)
    file = io.BytesIO()
    nn.save(net, file)
    file.seek(0)
    again = nn.load(file, layers=[Add, Heads, Lookup, Twins])
    ready = net.prepare(x)
    for found in (net.vjp(*inputs)[0], net.vjp_parameters(*inputs)[0], again(*inputs), ready(*inputs)):
        assert isinstance(found, tuple) == isinstance(expected, tuple)
        for one, other in zip(found, expected):
            np.testing.assert_array_equal(one, other)


def test_an_output_that_nobody_uses_has_no_gradient() -> None:
    """None for it is as zeros; None for all of them is None for all inputs, and adds nothing."""
    net, x = two_headed(), draw(4, 3).astype(np.float32)
    (votes, where), backprop = net.vjp(x)
    grad = backprop(np.ones_like(votes), None)
    np.testing.assert_array_equal(grad, net.vjp(x)[1](np.ones_like(votes), np.zeros_like(where)))
    assert not net[2].where.weight.grad.any()
    net.zero_grad()
    assert net.vjp(x)[1](None, None) is None
    assert not any(parameter.grad.any() for parameter in net.parameters())


def test_integers_have_no_gradient() -> None:
    (features, ids), _ = numbered(4)
    output, backprop = looking_up().vjp(features, ids)
    grad_features, grad_ids = backprop(np.ones_like(output))
    assert grad_features.shape == features.shape
    assert grad_ids is None


def test_gradcheck_finds_a_gradient_for_the_wrong_input() -> None:
    def swapped(left: np.ndarray, right: np.ndarray) -> Any:
        return left * right, lambda grad: (grad * left, grad * right)

    report = nn.gradcheck(swapped, (draw(3), draw(3, seed=1)))
    assert not report
    assert report.place.startswith("inputs[")
    with pytest.raises(ValueError, match="backprop returns 1 gradients for 2 inputs"):
        nn.gradcheck(lambda a, b: (a * b, lambda grad: grad * b), (draw(3), draw(3)))


# ---- counts that do not match --------------------------------------------------------------------------

ONE = np.ones((2, 3), np.float32)


def one_gradient() -> nn.Layer:
    class Forgets(Add):
        def vjp(self, left: np.ndarray, right: np.ndarray, training: bool = True) -> Any:
            return self(left, right), lambda grad_output: grad_output

    return Forgets()


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda: nn.Sequential(Heads(3, 2, 2), nn.ReLU())(ONE),
            r"layer 1, ReLU\(\): ReLU takes 1 input, and was given 2",
        ),
        (
            lambda: nn.Sequential(Heads(3, 2, 2), nn.ReLU()).vjp(ONE),
            r"layer 1, ReLU\(\): ReLU takes 1 input, and was given 2",
        ),
        (
            lambda: nn.Sequential(nn.ReLU(), Add())(ONE),
            r"layer 1, Add\(\): Add takes 2 inputs, and was given 1",
        ),
        (
            lambda: nn.Sequential(nn.ReLU(), Add()).vjp(ONE),
            r"layer 1, Add\(\): Add takes 2 inputs, and was given 1",
        ),
        (
            lambda: nn.Sequential(Add()).vjp_parameters(ONE, ONE, ONE),
            "layer 0, .*takes 2 inputs, and was given 3",
        ),
        (lambda: nn.Sequential(Add()).prepare()(ONE), "layer 0, .*takes 2 inputs, and was given 1"),
        (lambda: nn.Concat(nn.ReLU(), nn.ReLU())(ONE, ONE), "ReLU takes 1 input, and was given 2"),
        (lambda: nn.Sequential(Add())(), "input: is missing"),
        (lambda: nn.Sequential(Add())(ONE, 3.0), r"inputs\[1\]: must be an array"),
        (lambda: nn.Sequential(nn.ReLU()).vjp(ONE, False), "training=False: must be given by name"),
        (
            lambda: two_headed().vjp(ONE)[1](ONE),
            "backprop: takes 2 gradients, one per output, and was given 1",
        ),
        (
            lambda: nn.Sequential(nn.ReLU()).vjp(ONE)[1](ONE, ONE),
            "backprop: takes 1 gradient, .* was given 2",
        ),
        (
            lambda: nn.Sequential(one_gradient(), nn.ReLU()).vjp(ONE, ONE)[1](ONE),
            "backprop of Forgets: must return 2 gradients, one per input .*, and returned 1",
        ),
        (
            lambda: nn.summary(nn.Sequential(nn.ReLU()), ((2, 3), (2, 3))),
            "ReLU takes 1 input, and was given 2",
        ),
        (
            lambda: nn.MSELoss()((ONE, ONE), (ONE, ONE)),
            "MSELoss takes one output and one target, and was given 2 and 2",
        ),
        (lambda: HEADS((ONE, ONE), ONE), "LossPerOutput has 2 losses .* was given 2 and 1"),
    ],
)
def test_counts_that_do_not_match_are_named(run: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        run()


def test_branches_with_different_counts_of_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="Concat: branches have 2, 1 outputs"):
        nn.Concat(Heads(3, 2, 2), nn.Linear(3, 2))(ONE)
    with pytest.raises(ValueError, match="Residual: the layers end in shape"):
        nn.Residual(Heads(3, 3, 3))(ONE)


def fit(net: nn.Layer, x: Any, y: Any = None, **changes: Any) -> nn.History:
    options = {
        "loss": nn.CrossEntropyLoss(),
        "optimizer": nn.Adam(net.parameters(), 0.02),
        "epochs": 2,
        "rng": 0,
        "progress": False,
        **changes,
    }
    return nn.fit(net, x, y, **options)


IDS = np.array([0, 1])


@pytest.mark.parametrize(
    ("net", "x", "y", "loss", "error", "message"),
    [
        (
            looking_up,
            (ONE[:, :2], IDS[:1]),
            IDS,
            None,
            ValueError,
            r"x\[1\]: has 1 examples, x\[0\] 2; all must",
        ),
        (looking_up, (ONE[:, :2], IDS, IDS), IDS, None, TypeError, "Lookup takes 2 inputs, and was given 3"),
        (looking_up, ONE[:, :2], IDS, None, TypeError, "Lookup takes 2 inputs, and was given 1"),
        (looking_up, (), IDS, None, ValueError, "x: is an empty tuple"),
        (
            looking_up,
            (ONE[:, :2].astype(float), IDS),
            IDS,
            None,
            TypeError,
            r"x\[0\]: dtype float64, but the net's",
        ),
        (looking_up, (ONE[:, :2], "ab"), IDS, None, TypeError, r"x\[1\]: must be an array"),
        (
            two_headed,
            ONE,
            (IDS, ONE),
            HEADS,
            ValueError,
            r"y \(the target\): target\[1\]: shape \(2, 3\) must",
        ),
        (two_headed, ONE, (IDS + 5, ONE[:, :2]), HEADS, ValueError, r"target\[0\]: labels from 5"),
        (
            two_headed,
            ONE,
            (IDS, ONE),
            None,
            TypeError,
            "loss: CrossEntropyLoss takes one output and one target",
        ),
        (two_headed, ONE, IDS, HEADS, TypeError, "loss: LossPerOutput has 2 losses"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_a_step(net, x, y, loss, error, message) -> None:
    """By fit, evaluate and learn alike; nothing has moved."""
    net, loss = net(), loss or nn.CrossEntropyLoss()
    before = net.state_dict()
    with pytest.raises(error, match=message):
        fit(net, x, y, loss=loss)
    with pytest.raises(error, match=message):
        nn.evaluate(net, x, y, loss=loss)
    with pytest.raises(
        error,
        match=message.replace("x\\", "input\\").replace("x:", "input:").replace("y \\(the target\\): ", ""),
    ):
        nn.SGD(net.parameters(), 0.1).learn(net, loss, x, y)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


# ---- training ------------------------------------------------------------------------------------------


def test_a_siamese_net_learns() -> None:
    """Two pictures, a loss of both outputs and one target; the same steps as a loop by hand."""
    x, y = pairs(64)
    nets = [
        nn.Sequential(Twins(nn.Sequential(nn.Linear(3, 8, rng=0), nn.Tanh(), nn.Linear(8, 2, rng=1))))
        for _ in "ab"
    ]
    history = fit(
        nets[0],
        x,
        y,
        loss=Contrast(),
        epochs=30,
        validation=(x, y),
        optimizer=nn.SGD(nets[0].parameters(), 0.1),
    )
    assert history.validation_loss[-1] < 0.6 * history.loss[0]
    optimizer, shuffle = nn.SGD(nets[1].parameters(), 0.1), np.random.default_rng(0)
    for _ in range(30):
        order = shuffle.permutation(64)
        for some in (order[:32], order[32:]):
            prediction, backprop = nets[1].vjp(x[0][some], x[1][some])
            optimizer.zero_grad()
            backprop(*Contrast().vjp(prediction, y[some])[1])
            optimizer.step()
    for one, other in zip(nets[0].parameters(), nets[1].parameters()):
        np.testing.assert_array_equal(one.value, other.value)


def test_a_net_with_two_heads_learns() -> None:
    x, y = two_targets(128)
    net = two_headed()
    history = fit(net, x, y, loss=HEADS, epochs=40)
    assert history.accuracy[-1] > 0.9
    value, accuracy = nn.evaluate(net, x, y, loss=HEADS)
    votes, where = nn.predict(net, x, batch_size=50)
    by_hand = nn.CrossEntropyLoss()(votes, y[0]) + 0.5 * nn.MSELoss()(where, y[1])
    assert value == pytest.approx(by_hand, rel=1e-6)
    assert accuracy == (votes.argmax(axis=1) == y[0]).mean()


def test_a_net_of_integers_learns() -> None:
    x, y = numbered(64)
    assert fit(looking_up(), x, y, epochs=20).accuracy[-1] == 1.0


def test_means_of_several_losses_do_not_depend_on_the_batch_size() -> None:
    """Each has its own divisor: labels that are ignored count in one, not in the other."""
    x, (labels, places) = two_targets(41)
    labels = np.where(np.arange(41) % 3 == 0, -100, labels)
    weights = np.linspace(0, 2, 41)
    for extra in ({}, {"sample_weight": weights}):
        whole = nn.evaluate(two_headed(), x, (labels, places), loss=HEADS, batch_size=41, **extra)
        parts = nn.evaluate(two_headed(), x, (labels, places), loss=HEADS, batch_size=4, **extra)
        assert parts == pytest.approx(whole, rel=1e-6)
        assert whole[0] == pytest.approx(HEADS(two_headed()(x), (labels, places), *extra.values()), rel=1e-6)


def test_gradients_of_several_losses() -> None:
    """By central differences in every output; a target a loss."""
    targets = np.array([0, 2, 1, 1]), draw(4, 2, seed=2)

    def function(votes: np.ndarray, where: np.ndarray) -> Any:
        value, gradients = HEADS.vjp((votes, where), targets)
        return value, lambda grad: tuple(grad * gradient for gradient in gradients)

    report = nn.gradcheck(function, (draw(4, 3), draw(4, 2, seed=1)))
    assert report, str(report)


@pytest.mark.parametrize("collate", [tuple, list])
def test_batches_of_several_arrays_are_learned_from(collate: Any) -> None:
    """Tuples or, as loaders collate them, lists; the same bits as arrays in the same order."""
    x, y = two_targets(48)
    features = np.ones((48, 3), np.float32)

    def make() -> nn.Sequential:
        return nn.Sequential(Add(), *two_headed())

    batches = [
        collate(
            [collate([x[i : i + 16], features[i : i + 16]]), collate([y[0][i : i + 16], y[1][i : i + 16]])]
        )
        for i in range(0, 48, 16)
    ]
    nets = make(), make()
    history = fit(nets[0], batches, loss=HEADS, validation=batches, epochs=2)
    optimizer = nn.Adam(nets[1].parameters(), 0.02)
    for _ in range(2):
        for i in range(0, 48, 16):
            some = slice(i, i + 16)
            optimizer.learn(nets[1], HEADS, (x[some], features[some]), (y[0][some], y[1][some]))
    for one, other in zip(nets[0].parameters(), nets[1].parameters()):
        np.testing.assert_array_equal(one.value, other.value)
    whole = nn.evaluate(nets[1], (x, features), y, loss=HEADS)
    assert (history.validation_loss[-1], history.validation_accuracy[-1]) == pytest.approx(whole)


def test_a_training_of_tuples_resumes_to_the_same_bits(tmp_path) -> None:
    x, y = numbered(40)
    whole, parts = looking_up(), looking_up()
    fit(whole, x, y, epochs=4)
    fit(parts, x, y, epochs=2, checkpoint=tmp_path / "run.npz")
    again = looking_up()
    fit(again, x, y, epochs=4, checkpoint=tmp_path / "run.npz", resume=True)
    for name, value in again.state_dict().items():
        np.testing.assert_array_equal(value, whole.state_dict()[name])


def test_nudging_finds_the_slopes_of_several_arrays() -> None:
    for net, x, y, loss in (
        (looking_up(), *numbered(6), nn.CrossEntropyLoss()),
        (two_headed(), *two_targets(6), HEADS),
    ):
        assert nn.Nudge(net.parameters(), amount=0.01).cost(net, x, y, loss=loss).difference < 2e-3
        assert len(fit(net, x, y, loss=loss, optimizer=nn.Nudge(net.parameters()))) == 2


def test_bad_numbers_in_several_arrays_are_named_with_their_place() -> None:
    (left, right), y = pairs(8)
    right[5, 2] = np.nan
    with pytest.raises(FloatingPointError, match=r"x\[1\]\[5, 2\] is nan"):
        fit(nn.Sequential(Twins(nn.Linear(3, 2, rng=0))), (left, right), y, loss=Contrast())


@pytest.mark.parametrize("frozen", ["the front", "the rest"])
def test_a_part_of_a_net_of_tuples_learns(frozen: str) -> None:
    """As the whole net does, but for what stays."""
    net = nn.Sequential(Twins(nn.Sequential(nn.Linear(3, 3, rng=0), nn.BatchNorm1d(3))), Add(), *two_headed())
    learned = net[1:].parameters() if frozen == "the front" else net[0].parameters()
    before = net.state_dict()
    (x, _), (_, y) = pairs(16), two_targets(16)
    nn.SGD(learned, 0.1).learn(net, HEADS, x, y)
    after = net.state_dict()
    moved = {name for name in before if (before[name] != after[name]).any()}
    expected = {name for name, p in net.named_parameters().items() if any(p is one for one in learned)}
    neither = {"0.body.1.running_mean", "0.body.1.running_var", "0.body.0.bias"}  # norm takes the bias out
    assert moved - neither == expected - neither


@pytest.mark.parametrize("part", ["left", "right", "sum", "head", "all"])
def test_a_part_of_a_net_of_ones_own_learns_as_in_the_whole(part: str) -> None:
    """Whatever stays, in front of it or behind: what learns moves by the gradients of the whole net."""
    left, right, y = draw(8, 3).astype(np.float32), draw(8, 5).astype(np.float32), np.arange(8) % 2
    nets = Merging(), Merging()
    for net, learned in zip(nets, (nets[0], nets[1] if part == "all" else getattr(nets[1], part))):
        nn.SGD(learned.parameters(), 0.1).learn(net, nn.CrossEntropyLoss(), (left, right), y)
    start = Merging().state_dict()
    for name, value in nets[1].state_dict().items():
        learns = part == "all" or name.startswith(f"{part}.")
        np.testing.assert_array_equal(value, nets[0].state_dict()[name] if learns else start[name])
    assert nn.gradcheck(Merging(), (draw(4, 3), draw(4, 5)))


# ---- looked at -----------------------------------------------------------------------------------------


def test_summary_and_profile_of_several_arrays() -> None:
    net = nn.Sequential(Lookup(5, 4), nn.Linear(6, 8, rng=0), Heads(8, 3, 2))
    report = nn.summary(net, ((4, 2), (4,)))
    assert [(row.path, row.output_shape) for row in report.rows] == [
        ("", ((4, 3), (4, 2))),
        ("0", (4, 6)),
        ("1", (4, 8)),
        ("2", ((4, 3), (4, 2))),
        ("2.votes", (4, 3)),
        ("2.where", (4, 2)),
    ]
    assert report.parameters == 20 + 56 + 27 + 18
    assert "input ((4, 2), (4,))" in str(report)
    found = nn.profile(net, (np.ones((4, 2), np.float32), np.arange(4)), repeats=1)
    assert [(row.path, row.output_shape) for row in found.rows] == [
        (row.path, row.output_shape) for row in report.rows
    ]


def test_predict_bounds_the_batch_of_several_arrays() -> None:
    """The same bits as all at once; inputs that differ in length are refused."""
    x, _ = numbered(40)
    net = nn.Sequential(*looking_up()[:3], Heads(8, 3, 2))
    for found, expected in zip(nn.predict(net, x, batch_size=7), net(*x)):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match=r"x\[1\]: has 3 examples, x\[0\] 40"):
        nn.predict(net, (x[0], x[1][:3]))
