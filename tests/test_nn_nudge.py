"""Nudge: the deck's rule gives the slopes that backprop gives, and learns to tell an X from an O."""

from __future__ import annotations

import numpy as np
import pytest
from nn_cases import letters, rng, small_net

from fastconv import nn


def slopes_by_nudging(net: nn.Layer, loss: nn.Loss, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    nudge = nn.Nudge(net.parameters(), lr=0.0, amount=1e-4)
    nudge.learn(net, loss, x, loss.prepare(net(x).shape, x.dtype, y))
    return [parameter.grad.copy() for parameter in net.parameters()]


def slopes_by_backprop(net: nn.Layer, loss: nn.Loss, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    net.zero_grad()
    prediction, backprop = net.vjp(x)
    backprop(loss.vjp(prediction, y)[1])
    return [parameter.grad.copy() for parameter in net.parameters()]


def shared_net() -> nn.Sequential:
    middle = nn.Linear(6, 6, rng=2, dtype=np.float64)
    return nn.Sequential(
        nn.Linear(4, 6, rng=1, dtype=np.float64),
        middle,
        nn.Tanh(),
        nn.Sequential(middle, nn.Sigmoid()),
        nn.Residual(nn.Linear(6, 6, rng=3, dtype=np.float64), nn.Tanh()),
        nn.Linear(6, 3, rng=4, dtype=np.float64),
    )


@pytest.mark.parametrize(
    "batch_bytes", [1, 4000, 1 << 22], ids=["one by one", "few at a time", "all at once"]
)
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (small_net, (5, 1, 9, 9)),
        (shared_net, (5, 4)),
        (lambda: nn.Linear(4, 3, rng=0, dtype=np.float64), (5, 4)),
    ],
    ids=["the deck's net", "nested and shared layers", "a single layer"],
)
def test_slopes_are_those_of_backprop(make, shape, batch_bytes: int, monkeypatch) -> None:
    """However many nudges are evaluated together, also of a layer that stands in two places."""
    monkeypatch.setattr("fastconv.nn.nudge.BATCH_BYTES", batch_bytes)
    net, x = make(), rng().standard_normal(shape)
    y = np.array([0, 1, 1, 0, 1])
    for loss in (nn.CrossEntropyLoss(), nn.MSELoss()):
        target = y if isinstance(loss, nn.CrossEntropyLoss) else rng().standard_normal(net(x).shape)
        before = net.state_dict()
        found = slopes_by_nudging(net, loss, x, target)
        for name, value in net.state_dict().items():
            np.testing.assert_array_equal(value, before[name])
        for a, b in zip(found, slopes_by_backprop(net, loss, x, target)):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_step_is_the_decks_rule() -> None:
    """Up a bit, down a bit, and against the change of the error, written out with plain loops."""
    x, y = letters(6)
    net, twin, loss = small_net(np.float32), small_net(np.float32), nn.TotalAbsoluteError()
    value, prediction = nn.Nudge(net.parameters(), lr=0.1, amount=0.01).learn(
        net, loss, x, loss.prepare((6, 2), x.dtype, y)
    )
    assert value == loss(twin(x), y)
    np.testing.assert_array_equal(prediction, twin(x))
    moves = []
    for parameter in twin.parameters():
        for i in np.ndindex(parameter.value.shape):
            kept = parameter.value[i]
            errors = []
            for amount in (0.01, -0.01):
                parameter.value[i] = kept + np.float32(amount)
                errors.append(loss(twin(x), y))
            parameter.value[i] = kept
            moves.append((parameter, i, 0.1 * (errors[0] - errors[1]) / 0.02))
    for parameter, i, move in moves:
        parameter.value[i] -= move
    for a, b in zip(net.parameters(), twin.parameters()):
        np.testing.assert_allclose(a.value, b.value, rtol=1e-4, atol=1e-5)


def test_it_learns_x_and_o() -> None:
    """The deck's net of 56 numbers, by the deck's rule and the deck's error, from random weights."""
    x, y = letters(64)
    net = small_net(np.float32)
    nudge = nn.Nudge(net.parameters(), lr=0.02, amount=0.01, momentum=0.5)
    assert nudge.evaluations_per_step == 2 * 56
    history = nn.fit(
        net,
        x,
        y,
        loss=nn.TotalAbsoluteError(),
        optimizer=nudge,
        epochs=40,
        batch_size=16,
        rng=0,
        progress=False,
    )
    assert history.accuracy[-1] == 1
    unseen, labels = letters(200, seed=1)
    assert nn.evaluate(net, unseen, labels, loss=nn.TotalAbsoluteError())[1] == 1


def test_cost_beside_backprop() -> None:
    """The report counts evaluations, times both ways, compares their slopes, and moves nothing."""
    x, y = letters(8)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(98, 2, rng=1))
    nudge = nn.Nudge([net[0].weight, net[3].weight], amount=1e-3)
    net[0].weight.grad += 1
    before = net.state_dict()
    cost = nudge.cost(net, x, y, loss=nn.CrossEntropyLoss())
    assert cost.evaluations == 2 * (18 + 196)
    assert cost.seconds > 0 < cost.backprop_seconds
    assert "428 evaluations" in str(cost)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert (net[0].weight.grad == 1).all()
    plain, noise = small_net(), rng().standard_normal(x.shape)
    nudge = nn.Nudge(plain.parameters(), amount=1e-5)
    assert nudge.cost(plain, noise, y, loss=nn.CrossEntropyLoss()).difference < 1e-8


def test_bad_input() -> None:
    x, y = letters(4)
    net, loss = small_net(np.float32), nn.CrossEntropyLoss()
    with pytest.raises(ValueError, match="amount=0: must be above 0"):
        nn.Nudge(net.parameters(), amount=0)
    with pytest.raises(ValueError, match="belongs to no layer"):
        nn.Nudge(small_net(np.float32).parameters()).learn(net, loss, x, y)
    mixing = nn.Sequential(net, nn.Softmax(0))
    with pytest.raises(ValueError, match="mixes the examples"):
        nn.Nudge(net.parameters()).learn(mixing, nn.MSELoss(), x, net(x))
    net.parameters()[0].value = np.full((3, 1, 3, 3), np.nan, np.float32)
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        nn.Nudge(net.parameters()).learn(net, loss, x, y)
