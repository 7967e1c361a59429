"""`learn`, of every optimizer: what it is given is checked before anything moves, as `fit` checks it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from fastconv import nn

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4)).astype(np.float32)
Y = np.array([0, 1, 2, 0, 1, 2])


def make_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 5, rng=0), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.2, rng=1), nn.Linear(5, 3, rng=2)
    )


class Mine(nn.Loss):
    """A loss of one's own, without sample_weight."""

    def prepare(self, shape, dtype, target):
        return np.asarray(target)

    def value(self, prediction, target):
        return float(prediction.sum())

    def gradient(self, prediction, target):
        return float(prediction.sum()), np.ones_like(prediction)


BAD = [
    ({"net": "net"}, TypeError, "net: must be an nn.Layer, not str"),
    ({"loss": nn.MSELoss}, TypeError, "loss: must be an nn.Loss, not type"),
    ({"loss": nn.CrossEntropyLoss(reduction="none")}, ValueError, "loss: reduction='none' gives no single"),
    ({"loss": nn.CrossEntropyLoss(np.ones(4))}, ValueError, r"loss: weight: shape \(4,\) must be \(3,\)"),
    ({"input": X.tolist()}, TypeError, "input: must be an array"),
    (
        {"input": X.astype(np.float64)},
        TypeError,
        "input: dtype float64, but the net's parameters are float32",
    ),
    ({"input": X.astype(np.int64)}, TypeError, "input: dtype must be float32 or float64"),
    ({"input": X[0]}, ValueError, r"input: shape \(4,\) must be \(N, ...\)"),
    ({"input": X[:0], "target": Y[:0]}, ValueError, "input: shape .* at least one example"),
    ({"input": X[:, :3]}, ValueError, "in_features=4"),
    ({"target": Y - 1}, ValueError, "target: labels from -1 to 1 must be from 0 to 2"),
    ({"target": Y + 1}, ValueError, "target: labels from 1 to 3 must be from 0 to 2"),
    ({"target": Y.tolist()}, TypeError, "target: must be an array"),
    ({"target": Y[:5]}, ValueError, r"target: shape \(5,\) must be \(6,\)"),
    ({"target": Y.astype(np.float32)}, TypeError, "target: labels must be integers, not float32"),
    ({"target": np.full((6, 3), 2, np.float32)}, ValueError, "target: must be integer labels or probab"),
    ({"loss": nn.MSELoss(), "target": Y}, TypeError, "target: dtype must be float32"),
    ({"loss": nn.MSELoss(), "target": np.ones((6, 1), np.float32)}, ValueError, r"must be \(6, 3\)"),
    ({"sample_weight": np.ones(5)}, ValueError, r"sample_weight: shape \(5,\) must be \(6,\)"),
    ({"sample_weight": -np.ones(6)}, ValueError, "sample_weight: must be one finite number, at least 0"),
    ({"sample_weight": np.ones(6), "loss": Mine()}, TypeError, "sample_weight: Mine.value has no such"),
    ({"max_grad_norm": 0}, ValueError, "max_grad_norm=0: must be above 0"),
]


@pytest.mark.parametrize("make", [nn.SGD, nn.Adam, nn.Nudge], ids=["SGD", "Adam", "Nudge"])
@pytest.mark.parametrize(("changes", "error", "message"), BAD)
def test_bad_input(changes, error, message, make) -> None:
    """One error that names the argument; parameters, statistics, gradients and generators are as before."""
    net = make_net()
    optimizer = make(net.parameters(), 0.1)
    before, drawn = net.state_dict(), net[3].rng.bit_generator.state
    arguments = {"net": net, "loss": nn.CrossEntropyLoss(), "input": X, "target": Y, **changes}
    with pytest.raises(error, match=message):
        optimizer.learn(**arguments)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert not any(parameter.grad.any() for parameter in net.parameters())
    assert optimizer.steps == 0
    assert net[3].rng.bit_generator.state == drawn


class Column:
    """As a table gives it: no array, but it has one."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.values


def test_labels_and_weights_may_come_from_a_table() -> None:
    nets = nn.Linear(4, 3, rng=0), nn.Linear(4, 3, rng=0)
    loss, weights = nn.CrossEntropyLoss(), np.arange(6.0)
    nn.SGD(nets[0].parameters(), 0.1).learn(nets[0], loss, X, Y, weights)
    nn.SGD(nets[1].parameters(), 0.1).learn(nets[1], loss, X, Column(Y), Column(weights))
    np.testing.assert_array_equal(nets[0].weight.value, nets[1].weight.value)
    assert loss(nets[0](X), Column(Y)) == loss(nets[0](X), Y)


def test_another_nets_optimizer_is_refused() -> None:
    net = make_net()
    with pytest.raises(ValueError, match="optimizer: has none of the net's parameters"):
        nn.SGD(make_net().parameters(), 0.1).learn(net, nn.CrossEntropyLoss(), X, Y)
    with pytest.raises(ValueError, match=r"optimizer: Parameter.* belongs to no layer of the net"):
        nn.Nudge([*net.parameters(), nn.Parameter(np.ones(1, np.float32))]).learn(
            net, nn.CrossEntropyLoss(), X, Y
        )
    with pytest.raises(ValueError, match="target: labels from 1 to 3"):
        nn.Nudge(net.parameters()).cost(net, X, Y + 1, loss=nn.CrossEntropyLoss())


def test_one_optimizer_may_meet_several_nets() -> None:
    """What is known of the one is not believed of the other."""
    shared = nn.Linear(4, 3, rng=0)
    nets = shared, nn.Sequential(shared, nn.Linear(3, 2, rng=1))
    optimizer = nn.SGD(nets[1].parameters(), 0.1)
    for _ in range(2):
        optimizer.learn(nets[0], nn.CrossEntropyLoss(), X, Y)
        with pytest.raises(ValueError, match="labels from 0 to 2 must be from 0 to 1"):
            optimizer.learn(nets[1], nn.CrossEntropyLoss(), X, Y)


def test_what_is_known_of_a_net_is_not_copied() -> None:
    """A pair that is copied or pickled together learns on its own."""
    net = nn.Linear(4, 3, rng=0)
    optimizer = nn.SGD(net.parameters(), 0.1)
    optimizer.learn(net, nn.CrossEntropyLoss(), X, Y)
    for twin in (copy.deepcopy(optimizer._known), pickle.loads(pickle.dumps(optimizer._known))):
        assert twin.net is None


@pytest.mark.parametrize("spoil", ["input", "parameters"])
def test_a_loss_that_is_not_finite_moves_no_running_statistics(spoil: str) -> None:
    """They would be NaN for good."""
    net, x = make_net(), X.copy()
    optimizer = nn.SGD(net.parameters(), 0.1)
    if spoil == "input":
        x[0, 0] = np.nan
    else:
        net[4].weight.value[0] = np.inf
    before = net.state_dict()
    with pytest.raises(FloatingPointError, match="the loss is"):
        optimizer.learn(net, nn.CrossEntropyLoss(), x, Y)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_batch_from_which_nothing_can_be_learned_moves_nothing() -> None:
    """One example and batch norm: the layers in front of it have not moved either."""
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 2, rng=0), nn.BatchNorm1d(2))
    before = net.state_dict()
    with pytest.raises(ValueError, match="one value per channel"):
        nn.SGD(net.parameters(), 0.1).learn(
            net, nn.CrossEntropyLoss(), np.ones((1, 1, 2, 2), np.float32), np.array([0])
        )
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("make", [nn.SGD, nn.Nudge])
def test_weights_reach_the_step(make) -> None:
    """A step with weights 0 and 1 is that of the examples that count."""
    nets = [nn.Linear(4, 3, rng=0, dtype=np.float64) for _ in range(2)]
    x, keep = X.astype(np.float64), np.array([1, 0, 1, 1, 0, 1])
    for net, batch in zip(nets, [(x, Y, keep), (x[keep == 1], Y[keep == 1])]):
        make(net.parameters(), 0.1).learn(net, nn.CrossEntropyLoss(), *batch)
    np.testing.assert_allclose(nets[0].weight.value, nets[1].weight.value, rtol=1e-12)


# ---- clipping ----------------------------------------------------------------------------------------


def test_clip_grad_norm_scales_all_gradients_by_one_factor() -> None:
    parameters = [nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros((1, 1)))]
    for max_norm, scale in ((26.0, 1.0), (6.5, 0.5)):
        parameters[0].grad = np.array([3.0, -4.0])
        parameters[1].grad = np.array([[12.0]])
        assert nn.clip_grad_norm(parameters, max_norm) == pytest.approx(13.0)
        np.testing.assert_allclose(parameters[0].grad, np.array([3.0, -4.0]) * scale)
        np.testing.assert_allclose(parameters[1].grad, [[12.0 * scale]])
    parameters[0].grad, parameters[1].grad = np.array([3.0, -4.0]), np.array([[12.0]])
    assert nn.clip_grad_norm(iter(parameters), 100.0, 1) == pytest.approx(19)
    assert nn.clip_grad_norm(parameters, 6.0, np.inf) == 12
    np.testing.assert_allclose(parameters[1].grad, [[6.0]])
    assert nn.clip_grad_norm([nn.Parameter(np.zeros(3))], 1.0) == 0


def test_norms_neither_overflow_nor_lose_digits() -> None:
    large = nn.Parameter(np.zeros(2))
    large.grad = np.array([3e200, 4e200])
    assert nn.clip_grad_norm([large], 1.0) == pytest.approx(5e200)
    np.testing.assert_allclose(large.grad, [0.6, 0.8])
    long = nn.Parameter(np.zeros(2**20, np.float32))
    long.grad = np.full(2**20, 0.1, np.float32)
    assert nn.clip_grad_norm([long], 1e9) == pytest.approx(102.4, rel=1e-7)


def test_clipping_refuses_what_cannot_be_scaled() -> None:
    parameter = nn.Parameter(np.zeros(2))
    for value in (np.nan, np.inf, -np.inf):
        parameter.grad = np.array([1.0, value])
        with pytest.raises(FloatingPointError, match="the norm of the gradients is"):
            nn.clip_grad_norm([parameter], 1.0)
        assert parameter.grad[0] == 1
    for arguments, error, message in [
        (([parameter], 0), ValueError, "max_norm=0: must be above 0"),
        (([parameter], 1.0, 0.5), ValueError, "norm_type=0.5: must be at least 1"),
        ((["p"], 1.0), TypeError, r"parameters\[0\]: must be a Parameter, not str"),
    ]:
        with pytest.raises(error, match=message):
            nn.clip_grad_norm(*arguments)


@pytest.mark.parametrize("make", [nn.SGD, nn.Nudge])
def test_learn_clips_before_it_moves(make) -> None:
    """The step has exactly the length of the clipped gradient, times the rate."""
    net = nn.Linear(4, 3, rng=0, dtype=np.float64)
    before = net.state_dict()
    make(net.parameters(), 0.5).learn(
        net, nn.CrossEntropyLoss(reduction="sum"), X.astype(np.float64), Y, max_grad_norm=0.01
    )
    moved = [net.state_dict()[name] - value for name, value in before.items()]
    assert np.sqrt(sum((move**2).sum() for move in moved)) == pytest.approx(0.005)
