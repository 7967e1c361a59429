"""Optimizers and schedules: step by step the published formulas, written out here for single numbers."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

from fastconv import nn


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def sgd(lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    def step(p, g, s, t):
        g = g + weight_decay * p
        if not momentum:
            return p - lr * g
        s["v"] = momentum * s.get("v", 0.0) + g
        return p - lr * (g + momentum * s["v"] if nesterov else s["v"])

    return step


def rmsprop(lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0):
    def step(p, g, s, t):
        g = g + weight_decay * p
        s["q"] = alpha * s.get("q", 0.0) + (1 - alpha) * g * g
        move = g / (math.sqrt(s["q"]) + eps)
        if momentum:
            s["v"] = move = momentum * s.get("v", 0.0) + move
        return p - lr * move

    return step


def adagrad(lr=0.01, lr_decay=0.0, weight_decay=0.0, eps=1e-10):
    def step(p, g, s, t):
        g = g + weight_decay * p
        s["q"] = s.get("q", 0.0) + g * g
        return p - lr / (1 + (t - 1) * lr_decay) * g / (math.sqrt(s["q"]) + eps)

    return step


def adam(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    def step(p, g, s, t):
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        s["m"] = betas[0] * s.get("m", 0.0) + (1 - betas[0]) * g
        s["q"] = betas[1] * s.get("q", 0.0) + (1 - betas[1]) * g * g
        mean = s["m"] / (1 - betas[0] ** t)
        return p - lr * mean / (math.sqrt(s["q"] / (1 - betas[1] ** t)) + eps)

    return step


def adamw(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    return adam(lr, betas, eps, weight_decay, decoupled=True)


CASES = [
    (nn.SGD, sgd, {"lr": 0.1}),
    (nn.SGD, sgd, {"lr": 0.1, "weight_decay": 0.3}),
    (nn.SGD, sgd, {"lr": 0.05, "momentum": 0.9}),
    (nn.SGD, sgd, {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    (nn.RMSProp, rmsprop, {}),
    (nn.RMSProp, rmsprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.5}),
    (nn.AdaGrad, adagrad, {}),
    (nn.AdaGrad, adagrad, {"lr": 0.2, "lr_decay": 0.1, "weight_decay": 0.05, "eps": 1e-4}),
    (nn.Adam, adam, {}),
    (nn.Adam, adam, {"lr": 0.1, "betas": (0.5, 0.8), "eps": 1e-3, "weight_decay": 0.2}),
    (nn.AdamW, adamw, {}),
    (nn.AdamW, adamw, {"lr": 0.1, "weight_decay": 0.3}),
]
CASE = pytest.mark.parametrize(("optimizer", "formula", "settings"), CASES)

#: Scalars, rows, matrices, an array that takes more than one of the optimizer's rows, and two that share one.
SHAPES = [(), (3,), (4, 5), (200, 181), (7,), (40000,)]


def parameters(dtype: type = np.float64, seed: int = 0) -> list[nn.Parameter]:
    draw = np.random.default_rng(seed)
    return [
        nn.Parameter(np.asarray(draw.standard_normal(shape), dtype), f"p{i}")
        for i, shape in enumerate(SHAPES)
    ]


def set_grads(found: list[nn.Parameter], step: int) -> None:
    draw = np.random.default_rng(100 + step)
    for parameter in found:
        parameter.grad = np.asarray(draw.standard_normal(parameter.value.shape), parameter.value.dtype)


@CASE
def test_steps_follow_the_formula(optimizer, formula, settings) -> None:
    """Six steps, up to 20 numbers of every array, against the formula for one number."""
    found = parameters()
    flat = [np.arange(p.value.size) for p in found]
    picked = [rng().choice(all_, min(20, all_.size), replace=False) for all_ in flat]
    expected = [[float(p.value.reshape(-1)[i]) for i in chosen] for p, chosen in zip(found, picked)]
    states = [[{} for _ in chosen] for chosen in picked]
    rule, learner = formula(**settings), optimizer(found, **settings)
    for t in range(1, 7):
        set_grads(found, t)
        for p, chosen, values, state in zip(found, picked, expected, states):
            for k, i in enumerate(chosen):
                values[k] = rule(values[k], float(p.grad.reshape(-1)[i]), state[k], t)
        learner.step()
        for p, chosen, values in zip(found, picked, expected):
            np.testing.assert_allclose(p.value.reshape(-1)[chosen], values, rtol=1e-12, atol=1e-14)


@CASE
def test_values_are_updated_in_place_and_gradients_left_alone(optimizer, formula, settings) -> None:
    found = parameters(np.float32)
    arrays = [parameter.value for parameter in found]
    learner = optimizer(found, **settings)
    set_grads(found, 0)
    grads = [parameter.grad.copy() for parameter in found]
    before = [parameter.value.copy() for parameter in found]
    learner.step()
    for parameter, array, grad, old in zip(found, arrays, grads, before):
        assert parameter.value is array
        assert array.dtype == np.float32
        assert (array != old).all()
        np.testing.assert_array_equal(parameter.grad, grad)
    learner.zero_grad()
    assert not any(parameter.grad.any() for parameter in found)


@CASE
def test_a_saved_state_continues_as_if_nothing_had_happened(optimizer, formula, settings, tmp_path) -> None:
    """Through a dictionary and through a file: the next steps have the same bits."""
    found = parameters()
    learner = optimizer(found, **settings)
    for t in range(3):
        set_grads(found, t)
        learner.step()
    learner.lr = 0.07
    learner.save(tmp_path / "state.npz")
    state = learner.state_dict()
    values = [parameter.value.copy() for parameter in found]
    set_grads(found, 3)
    learner.step()
    for way in ("dictionary", "file"):
        again = parameters()
        for parameter, value in zip(again, values):
            parameter.value = value
        other = optimizer(again, **settings)
        if way == "file":
            other.load(tmp_path / "state.npz")
        else:
            other.load_state_dict(state)
        assert other.lr == 0.07
        assert other.steps == 3
        set_grads(again, 3)
        other.step()
        for a, b in zip(again, found):
            np.testing.assert_array_equal(a.value, b.value)


def test_states_have_the_shapes_of_their_parameters() -> None:
    learner = nn.Adam(parameters())
    set_grads(learner.parameters, 0)
    learner.step()
    state = learner.state_dict()
    assert list(state) == ["type", "lr", "steps", "exp_avg", "exp_avg_sq"]
    for parameter, mean, square in zip(learner.parameters, state["exp_avg"], state["exp_avg_sq"]):
        np.testing.assert_allclose(mean, 0.1 * parameter.grad, rtol=1e-12)
        np.testing.assert_allclose(square, 0.001 * parameter.grad**2, rtol=1e-10)


def test_bad_states_change_nothing(tmp_path) -> None:
    learner = nn.Adam(parameters())
    set_grads(learner.parameters, 0)
    learner.step()
    good = learner.state_dict()
    nn.SGD(parameters(), 0.1, momentum=0.9).save(tmp_path / "sgd.npz")
    nn.Adam(parameters()[:3]).save(tmp_path / "fewer.npz")
    bad = [
        ({**good, "type": "SGD"}, ValueError, "'SGD'"),
        ({k: v for k, v in good.items() if k != "exp_avg"}, ValueError, "must have"),
        ({**good, "extra": 1}, ValueError, "extra"),
        ({**good, "lr": -1.0}, ValueError, "lr"),
        ({**good, "steps": 1.5}, TypeError, "steps"),
        ({**good, "exp_avg": good["exp_avg"][:-1]}, ValueError, "exp_avg"),
        ({**good, "exp_avg": [a.astype(np.float32) for a in good["exp_avg"]]}, TypeError, "float32"),
        ({**good, "exp_avg_sq": [a.reshape(-1) for a in good["exp_avg_sq"]]}, ValueError, "shape"),
    ]
    for state, error, message in bad:
        with pytest.raises(error, match=message):
            learner.load_state_dict(state)
    for name in ("sgd", "fewer"):
        with pytest.raises(ValueError, match=f"{name}.npz: not a whole optimizer file"):
            learner.load(tmp_path / f"{name}.npz")
    after = learner.state_dict()
    for key in ("lr", "steps"):
        assert after[key] == good[key]
    for key in ("exp_avg", "exp_avg_sq"):
        for a, b in zip(after[key], good[key]):
            np.testing.assert_array_equal(a, b)


# ---- copies --------------------------------------------------------------------------------------------


def nudge(parameters, **settings) -> nn.Nudge:
    return nn.Nudge(parameters, 0.05, momentum=0.5)


COPIED = pytest.mark.parametrize(
    ("optimizer", "settings"), [*[(case[0], case[2]) for case in CASES], (nudge, {})]
)


def pair(optimizer, settings) -> tuple[nn.Sequential, nn.Optimizer]:
    """A net with dropout and batch norm, and an optimizer that has taken some steps."""
    draw = np.random.default_rng(1)
    net = nn.Sequential(
        nn.Linear(3, 4, rng=draw),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Dropout(0.3, rng=draw),
        nn.Linear(4, 2, rng=draw),
    )
    learner = optimizer(net.parameters(), **settings)
    go_on(net, learner)
    return net, learner


def go_on(net: nn.Layer, learner: nn.Optimizer) -> None:
    x = rng().standard_normal((8, 3)).astype(np.float32)
    for _ in range(3):
        learner.learn(net, nn.MSELoss(), x, np.ones((8, 2), np.float32))


def assert_equal_nets(a: nn.Layer, b: nn.Layer) -> None:
    for name, value in a.state_dict().items():
        np.testing.assert_array_equal(value, b.state_dict()[name])


@COPIED
def test_net_and_optimizer_copied_together_learn_as_the_originals(optimizer, settings) -> None:
    """Bit for bit, whichever comes first, through copies and pickles, and more than once."""
    for twins in (
        lambda net, learner: copy.deepcopy((net, learner)),
        lambda net, learner: copy.deepcopy((learner, net))[::-1],
        lambda net, learner: pickle.loads(pickle.dumps((net, learner))),
        lambda net, learner: pickle.loads(pickle.dumps((learner, net)))[::-1],
    ):
        net, learner = pair(optimizer, settings)
        net2, learner2 = twins(net, learner)
        before = net.state_dict()
        go_on(net2, learner2)
        for name, value in net.state_dict().items():
            np.testing.assert_array_equal(value, before[name])
        assert (net2.state_dict()["4.weight"] != before["4.weight"]).any()
        net3, learner3 = pickle.loads(pickle.dumps((net2, learner2)))
        go_on(net, learner)
        go_on(net, learner)
        go_on(net3, learner3)
        assert_equal_nets(net, net3)
        assert learner3.steps == learner.steps


@COPIED
def test_an_optimizer_copied_alone_learns_the_net_or_says_why_not(optimizer, settings) -> None:
    """copy.copy: the same parameters, a state of its own. Deeper copies have parameters of no net."""
    net, learner = pair(optimizer, settings)
    twin_net, twin = pair(optimizer, settings)
    again = copy.copy(twin)
    go_on(net, learner)
    go_on(twin_net, again)
    assert_equal_nets(net, twin_net)
    assert twin.steps == 3
    assert again.steps == 6
    x = np.ones((4, 3), np.float32)
    for alone in (copy.deepcopy(learner), pickle.loads(pickle.dumps(learner))):
        before = net.state_dict()
        with pytest.raises(ValueError, match="copy or pickle net and optimizer together"):
            go_on(net, alone)
        with pytest.raises(ValueError, match="optimizer: "):
            nn.fit(net, x, np.ones((4, 2), np.float32), loss=nn.MSELoss(), optimizer=alone, epochs=1)
        for name, value in net.state_dict().items():
            np.testing.assert_array_equal(value, before[name])


def test_a_net_copied_alone_is_refused_by_the_optimizer_of_the_original() -> None:
    """By `astype` too: it makes a copy, which needs an optimizer of its own."""
    net, learner = pair(nn.Adam, {})
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net.astype(np.float32)):
        with pytest.raises(ValueError, match="has none of the net's parameters"):
            go_on(other, learner)


@CASE
def test_an_optimizer_follows_parameters_that_are_cast(optimizer, formula, settings) -> None:
    """In place, between steps: it goes on in the other dtype, its state with it."""
    found = parameters(np.float64)
    learner = optimizer(found, **settings)
    reference = parameters(np.float64)
    other = optimizer(reference, **settings)
    for t in range(6):
        if t == 3:
            for parameter in found:
                parameter.cast(np.dtype(np.float32))
        set_grads(found, t)
        set_grads(reference, t)
        learner.step()
        other.step()
    for a, b in zip(found, reference):
        assert a.value.dtype == np.float32
        np.testing.assert_allclose(a.value, b.value, rtol=1e-4, atol=1e-5)
    for name in learner._state:
        for a, b in zip(learner.state_dict()[name], other.state_dict()[name]):
            assert a.dtype == np.float32
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_an_optimizer_of_ones_own_is_copied_with_all_it_has() -> None:
    class Signs(nn.Optimizer):
        _state = ("seen",)

        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters, 0.1, 0.0)
            self.notes = ["a"]

        def _update(self, row) -> None:
            row.state["seen"] += 1
            np.multiply(np.sign(row.gradient(0.0)), self.lr, out=row.work)

    net = nn.Linear(2, 2, rng=0)
    learner = Signs(net.parameters())
    x = np.ones((2, 2), np.float32)
    learner.learn(net, nn.MSELoss(), x, x)
    net2, learner2 = copy.deepcopy((net, learner))
    learner2.notes.append("b")
    for one, other in ((net, learner), (net2, learner2)):
        other.learn(one, nn.MSELoss(), x, x)
    assert_equal_nets(net, net2)
    assert learner.notes == ["a"]
    assert (learner2.state_dict()["seen"][0] == 2).all()


P = [nn.Parameter(np.ones(2))]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.SGD([], 0.1), ValueError, "parameters: there are none"),
        (lambda: nn.SGD([np.ones(2)], 0.1), TypeError, r"parameters\[0\]: must be a Parameter, not ndarray"),
        (lambda: nn.SGD(P + P, 0.1), ValueError, "twice"),
        (lambda: nn.SGD(P, -0.1), ValueError, "lr=-0.1: must be at least 0"),
        (lambda: nn.SGD(P, math.nan), ValueError, "lr=nan: must be finite"),
        (lambda: nn.SGD(P, "0.1"), TypeError, "lr='0.1': must be a number"),
        (lambda: nn.SGD(P, 0.1, momentum=-1), ValueError, "momentum=-1"),
        (lambda: nn.SGD(P, 0.1, nesterov=True), ValueError, "nesterov=True: needs a momentum"),
        (lambda: nn.SGD(P, 0.1, 0.9, nesterov=1), TypeError, "nesterov=1: must be True or False"),
        (lambda: nn.SGD(P, 0.1, weight_decay=-1), ValueError, "weight_decay=-1"),
        (lambda: nn.RMSProp(P, alpha=1.5), ValueError, "alpha=1.5: must be at most 1"),
        (lambda: nn.RMSProp(P, eps=-1e-8), ValueError, "eps"),
        (lambda: nn.AdaGrad(P, lr_decay=-1), ValueError, "lr_decay"),
        (lambda: nn.Adam(P, betas=(0.9, 1.0)), ValueError, r"betas\[1\]=1.0: must be below 1"),
        (lambda: nn.Adam(P, betas=0.9), TypeError, "betas=0.9: must be two numbers"),
        (lambda: nn.AdamW(P, eps=None), TypeError, "eps=None"),
        (lambda: nn.StepLR(0.1, 0), ValueError, "step_size=0"),
        (lambda: nn.ExponentialLR(0.1, 0), ValueError, "gamma=0: must be above 0"),
        (lambda: nn.CosineLR(0.1, 10, 0.2), ValueError, "min_lr=0.2: must be at most 0.1"),
        (lambda: nn.WarmupLR(0.1, 0), ValueError, "epochs=0"),
        (lambda: nn.WarmupLR("fast", 3), TypeError, "schedule='fast': must be a number"),
        (lambda: nn.ReduceLROnPlateau(0.1, factor=1.0), ValueError, "factor=1.0: must be below 1"),
        (lambda: nn.ReduceLROnPlateau(0.1, patience=-1), ValueError, "patience=-1"),
    ],
)
def test_bad_arguments(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()


def test_schedules() -> None:
    """The rates of a few epochs, by their definitions."""
    assert [nn.StepLR(1.0, 3, 0.1)(e) for e in (0, 2, 3, 6)] == pytest.approx([1, 1, 0.1, 0.01])
    assert [nn.ExponentialLR(2.0, 0.5)(e) for e in range(3)] == [2, 1, 0.5]
    cosine = nn.CosineLR(1.0, 10, 0.2)
    assert [cosine(e) for e in (0, 5, 10, 99)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    warm = nn.WarmupLR(nn.StepLR(1.0, 1, 0.5), 3)
    assert [warm(e) for e in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.5, 0.25])


def test_reduce_on_plateau() -> None:
    """The rate falls after `patience` + 1 epochs without a lower loss, again and again, not below min_lr."""
    schedule = nn.ReduceLROnPlateau(1.0, factor=0.1, patience=1, threshold=0.01, min_lr=0.05)
    rates = []
    for epoch, loss in enumerate([5.0, 4.0, 3.99, 3.98, 3.0, 3.0, 3.0, 3.0, 3.0]):
        rates.append(schedule(epoch))
        schedule.observe(loss)
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.05, 0.05])
    warm = nn.WarmupLR(nn.ReduceLROnPlateau(1.0, factor=0.5, patience=0), 1)
    for loss in (2.0, 3.0):
        warm.observe(loss)
    assert warm(5) == 0.5


def test_reduce_on_plateau_with_negative_losses() -> None:
    """A loss below zero can get lower too."""
    schedule = nn.ReduceLROnPlateau(1.0, factor=0.1, patience=0)
    for loss in (-1.0, -2.0, -3.0):
        schedule.observe(loss)
    assert schedule(3) == 1.0
