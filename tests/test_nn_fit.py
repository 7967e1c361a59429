"""fit when something goes wrong, and what one may add to it: nothing is lost, nothing is silent."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from test_nn_training import classifier, fit_points, points, scripted

from fastconv import nn


def normed_net() -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm1d(2),
        nn.Linear(2, 8, rng=0),
        nn.BatchNorm1d(8),
        nn.Dropout(0.3, rng=1),
        nn.Linear(8, 3, rng=2),
    )


def fit(net: nn.Layer, x: Any, y: Any = None, **changes: Any) -> nn.History:
    options = {
        "loss": nn.CrossEntropyLoss(),
        "optimizer": nn.SGD(net.parameters(), 0.05),
        "epochs": 2,
        "rng": 0,
        "progress": False,
        **changes,
    }
    return nn.fit(net, x, y, **options)


def assert_state(net: nn.Layer, state: dict[str, np.ndarray]) -> None:
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


# ---- a last batch of one -----------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "batch_size"), [(65, 32), (1, 32), (8, 1), (9, 4)])
def test_a_batch_of_one_that_batch_norm_cannot_take_is_found_before_the_first_step(count, batch_size) -> None:
    net = normed_net()
    before, drawn = net.state_dict(), net[3].rng.bit_generator.state
    with pytest.raises(
        ValueError,
        match=rf"^batch_size={batch_size}: leaves a last batch of one .*BatchNorm1d.*drop_last=True",
    ):
        fit(net, *points(count), batch_size=batch_size)
    assert_state(net, before)
    assert net[3].rng.bit_generator.state == drawn


def test_a_batch_of_one_is_fine_where_the_net_can_learn_from_it() -> None:
    """No batch norm; batch norm over pixels; without backprop; and what drop_last leaves out."""
    assert len(fit(classifier(), *points(65))) == 2
    net = normed_net()
    assert len(fit(net, *points(65), drop_last=True)) == 2
    few = nn.Sequential(nn.Linear(2, 3, rng=0), nn.BatchNorm1d(3))
    assert len(fit(few, *points(5), batch_size=4, optimizer=nn.Nudge(few.parameters()))) == 2
    pixels = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 3, rng=0))
    x, y = np.random.default_rng(0).standard_normal((5, 1, 2, 2), np.float32), np.arange(5) % 3
    assert len(fit(pixels, x, y, batch_size=4)) == 2


def test_looking_ahead_changes_no_bit_of_the_training() -> None:
    """Dropout draws and batch norm moves as if nobody had looked."""
    x, y = np.random.default_rng(0).standard_normal((5, 1, 2, 2), np.float32), np.arange(5) % 3
    states = []
    for extra in ({}, {"drop_last": True}):
        net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(0.5, rng=0), nn.Linear(4, 3, rng=0))
        fit(net, x, y, batch_size=4, epochs=1, on_step=lambda state: state.stop(), **extra)
        states.append(net.state_dict())
    for a, b in zip(*(state.values() for state in states)):
        np.testing.assert_array_equal(a, b)


def test_a_batch_of_one_from_an_iterable_is_named() -> None:
    """It cannot be known before; nothing moves in its step."""
    net, twin = normed_net(), normed_net()
    with pytest.raises(ValueError, match=r"^x: batch 2: x: layer 0, BatchNorm1d.*one value per channel"):
        fit(net, [points(8), points(1)])
    fit(twin, [points(8)], epochs=1)
    assert_state(net, twin.state_dict())


def test_drop_last_leaves_out_what_does_not_fill_a_batch() -> None:
    steps: list[tuple[int, int, int]] = []
    history = fit(
        classifier(),
        *points(70),
        drop_last=True,
        on_step=lambda state: steps.append((state.epoch, state.batch, state.step)),
    )
    assert steps == [(0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 3)]
    assert len(history) == 2


# ---- interrupted -------------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Stop])
@pytest.mark.parametrize("where", ["on_step", "on_epoch"])
def test_an_interrupted_training_keeps_the_best_parameters_and_the_record(kind, where) -> None:
    """Ctrl-C, or an exception in a callback: the exception carries the history."""
    net = classifier()
    best: dict[int, dict[str, np.ndarray]] = {}

    def watch(state: nn.TrainingState) -> None:
        if where == "on_epoch" or state.batch == 0:
            best[state.epoch] = state.net.state_dict()
        if state.epoch == 4 and (where == "on_epoch" or state.batch == 3):
            raise kind

    with pytest.raises(kind) as caught:
        fit_points(net, patience=9, **{where: watch})
    history = caught.value.history
    assert len(history) == (5 if where == "on_epoch" else 4)
    assert history.best_epoch == int(np.argmin(history.validation_loss))
    value, _ = nn.evaluate(net, *points(120, seed=1), loss=nn.CrossEntropyLoss())
    assert value == min(history.validation_loss)
    if where == "on_epoch":
        assert_state(net, best[history.best_epoch])


def test_a_loss_that_explodes_keeps_the_best_parameters_and_the_record() -> None:
    net = classifier()
    with pytest.raises(FloatingPointError, match="in epoch 4") as caught:
        fit_points(
            net,
            patience=9,
            schedule=lambda epoch: 0.02 if epoch < 3 else 1e38,
            optimizer=nn.SGD(net.parameters(), 1),
        )
    history = caught.value.history
    assert len(history) == 3
    value, _ = nn.evaluate(net, *points(120, seed=1), loss=nn.CrossEntropyLoss())
    assert value == min(history.validation_loss) == history.validation_loss[history.best_epoch]


def test_the_record_is_there_without_patience_too() -> None:
    def fail(state: nn.TrainingState) -> None:
        raise Stop

    with pytest.raises(Stop) as caught:
        fit_points(on_epoch=fail)
    assert len(caught.value.history) == 1
    assert caught.value.history.best_epoch is None


# ---- numbers that are none ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("x", np.nan, r"^the loss is nan in epoch 1, batch \d+: x\[17, 1\] is nan\b"),
        ("x", -np.inf, r"^the loss is (?:nan|inf) in epoch 1, batch \d+: x\[17, 1\] is -inf\b"),
        ("y", np.nan, r"^the loss is nan in epoch 1, batch \d+: y\[17, 1\] is nan\b"),
        ("vx", np.nan, r"^validation after epoch 1: the loss is nan: validation\[0\]\[17, 1\] is nan\b"),
        ("vy", np.inf, r"^validation after epoch 1: the loss is inf: validation\[1\]\[17, 1\] is inf\b"),
    ],
)
def test_bad_numbers_in_the_data_are_named_with_their_place(part, value, message) -> None:
    """Not "a lower rate may help"."""
    data = {
        name: np.random.default_rng(0).standard_normal((40, 2), np.float32) for name in ("x", "y", "vx", "vy")
    }
    data[part][17, 1] = value
    net = nn.Sequential(nn.Linear(2, 2, rng=0))
    with pytest.raises(FloatingPointError, match=message) as caught:
        fit(net, data["x"], data["y"], loss=nn.MSELoss(), validation=(data["vx"], data["vy"]), batch_size=8)
    history = caught.value.history  # what was not finished is in no column
    assert [history.loss, history.validation_loss, history.seconds, history.lr] == [[]] * 4


def test_a_net_that_was_not_finite_to_begin_with_is_named() -> None:
    net = classifier()
    net[3].bias.value[0] = np.nan
    with pytest.raises(FloatingPointError, match=r"3\.bias of the net was not finite before the first step"):
        fit(net, *points(40))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_validation_losses_that_are_never_finite_are_told(bad) -> None:
    """With words; the parameters are what was learned, not the untrained ones."""
    with pytest.warns(RuntimeWarning) as caught:
        history, weight = scripted([9.0] + [bad] * 5, epochs=3, patience=9)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2
    assert f"the validation loss after epoch 1 is {bad}" in messages[0]
    assert "no validation loss was finite" in messages[1]
    assert all(warning.filename == __file__.replace("test_nn_fit", "test_nn_training") for warning in caught)
    assert (history.best_epoch, weight) == (None, 3)


def test_a_validation_loss_that_is_not_finite_once_is_not_the_best() -> None:
    with pytest.warns(RuntimeWarning, match="the validation loss after epoch 1 is nan"):
        history, weight = scripted([9.0, math.nan, 3.0, 2.0, -math.inf, 4.0], epochs=5, patience=9)
    assert (history.best_epoch, weight) == (2, 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_reduce_on_plateau_survives_a_loss_that_is_not_finite(bad) -> None:
    """It has not fallen; what comes after it is compared with the lowest finite one."""
    schedule = nn.ReduceLROnPlateau(1.0, factor=0.5, patience=1)
    for loss in (bad, 3.0, 2.0, bad, 1.0, 0.5, 0.25):
        schedule.observe(loss)
    assert schedule(7) == 1.0
    for loss in (bad, bad):
        schedule.observe(loss)
    assert schedule(9) == 0.5


# ---- averages ----------------------------------------------------------------------------------------

LOSSES = {
    "class weights": lambda: nn.CrossEntropyLoss(np.array([0.5, 1.0, 7.0])),
    "ignored labels": lambda: nn.CrossEntropyLoss(ignore_index=1),
    "weights and smoothing": lambda: nn.CrossEntropyLoss(np.array([0.5, 0.0, 7.0]), 0.1),
    "log-probabilities": lambda: nn.NLLLoss(np.array([0.5, 1.0, 7.0])),
    "hinge": lambda: nn.HingeLoss(ignore_index=2),
    "sum": lambda: nn.CrossEntropyLoss(np.array([0.5, 1.0, 7.0]), reduction="sum"),
}


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_averages_do_not_depend_on_the_batch_size(make, weighted) -> None:
    """evaluate, the training loss and the validation loss are those of all examples in one batch."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((23, 3)), rng.integers(0, 3, 23)
    weights = rng.random(23) if weighted else None
    loss = make()
    expected = loss(x, y, weights)
    found = []
    for batch_size in (1, 4, 32):
        options = {"loss": loss, "batch_size": batch_size, "sample_weight": weights}
        found.append(nn.evaluate(nn.Identity(), x, y, **options))
        net = nn.Linear(3, 3, dtype=np.float64)
        net.load_state_dict({"weight": np.eye(3), "bias": np.zeros(3)})
        held_out = (x, y) if weights is None else (x, y, weights)
        history = fit(
            net,
            x,
            y,
            optimizer=nn.SGD(net.parameters(), 0.0),
            validation=held_out,
            **options,
        )
        found += zip(history.loss, history.accuracy)
        found += zip(history.validation_loss, history.validation_accuracy)
    for value, accuracy in found:
        assert math.isclose(value, expected, rel_tol=1e-12)
        assert math.isclose(accuracy, found[0][1], rel_tol=1e-12)


def test_a_weighted_mean_by_hand() -> None:
    """Three examples that cost 1, 2 and 4 and weigh 1, 1 and 2 cost 11/4, in batches of any size."""
    rows = -np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 4.0]])
    for batch_size in (1, 2, 3):
        loss = nn.NLLLoss(np.array([1.0, 2.0]))
        value, _ = nn.evaluate(nn.Identity(), rows, np.array([0, 0, 1]), loss=loss, batch_size=batch_size)
        assert value == pytest.approx(11 / 4)


# ---- memory ------------------------------------------------------------------------------------------


class Watched(nn.Identity):
    """Notes how many examples come at a time."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, input: np.ndarray) -> np.ndarray:
        self.seen.append(len(input))
        return input


def test_what_is_computed_together_is_bounded_by_the_batch_size() -> None:
    """evaluate, predict and validation; validation has a bound of its own if it is given one."""
    x, y = points(100)
    watched = Watched()
    net = nn.Sequential(nn.Linear(2, 3, rng=0), watched)
    for run, bound in [
        (lambda: nn.evaluate(net, x, y, loss=nn.CrossEntropyLoss(), batch_size=7), 7),
        (lambda: nn.evaluate(net, x, y, loss=nn.CrossEntropyLoss()), 32),
        (lambda: nn.predict(net, x, batch_size=9), 9),
        (lambda: fit(net, x, y, batch_size=10, validation=(x, y)), 10),
        (lambda: fit(net, x, y, batch_size=10, validation=(x, y), validation_batch_size=60), 60),
    ]:
        watched.seen.clear()
        run()
        assert max(watched.seen) == bound


def test_predict_gives_what_the_net_gives() -> None:
    """In any batches, prepared or not, also of no example at all; in the memory order of the net."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, rng=0), nn.ReLU())
    x = np.random.default_rng(0).standard_normal((11, 2, 6, 5), np.float32)
    for view in (x, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
        expected = net(view)
        for batch_size in (1, 4, 11, 50):
            for run in (net, net.prepare()):
                found = nn.predict(run, view, batch_size)
                np.testing.assert_array_equal(found, expected)
                assert found.strides == expected.strides
    assert nn.predict(net, x[:0]).shape == (0, 3, 6, 5)
    for arguments, error, message in [
        (("net", x), TypeError, "net: must be an nn.Layer, not str"),
        ((net, x.tolist()), TypeError, "x: must be an array"),
        ((net, x[0, 0, 0]), ValueError, r"x: shape \(5,\) must be \(N, ...\)"),
        ((net, x, 0), ValueError, "batch_size=0"),
        ((nn.Flatten(0), x), ValueError, "net: turns 11 examples of x into shape .*must keep the batch axis"),
    ]:
        with pytest.raises(error, match=message):
            nn.predict(*arguments)


# ---- callbacks, clipping, schedules of steps ---------------------------------------------------------


def test_callbacks_see_the_training_and_may_end_it() -> None:
    losses: list[float] = []

    def step(state: nn.TrainingState) -> None:
        losses.append(state.loss)
        assert state.optimizer.steps == state.step + 1
        assert len(state.history) == state.epoch

    def epoch(state: nn.TrainingState) -> None:
        assert len(state.history) == state.epoch + 1
        assert state.loss == state.history.loss[-1]
        if state.epoch == 1:
            state.stop()

    history = fit(classifier(), *points(64), epochs=9, on_step=step, on_epoch=epoch)
    assert (len(history), history.stopped_early) == (2, True)
    assert history.loss == pytest.approx([np.mean(losses[:2]), np.mean(losses[2:])])
    history = fit(classifier(), *points(64), epochs=9, on_step=lambda state: state.stop())
    assert (len(history), len(history.seconds), history.stopped_early) == (1, 1, True)


def test_gradients_are_clipped_in_fit() -> None:
    """No step is longer than the rate times the largest norm."""
    net = classifier()
    last = [net.state_dict()]
    lengths: list[float] = []

    def watch(state: nn.TrainingState) -> None:
        now = state.net.state_dict()
        lengths.append(math.sqrt(sum(((now[k] - last[0][k]) ** 2).sum() for k in now)))
        last[0] = now

    fit(net, *points(64), optimizer=nn.SGD(net.parameters(), 0.5), max_grad_norm=0.01, on_step=watch)
    assert lengths == pytest.approx([0.005] * 4, rel=1e-4)


def test_a_schedule_of_steps_is_asked_before_every_step() -> None:
    rates: list[float] = []
    schedule = nn.PerStep(nn.WarmupLR(nn.CosineLR(0.1, 4), 2))
    history = fit(
        classifier(),
        *points(64),
        epochs=3,
        schedule=schedule,
        on_step=lambda state: rates.append(state.optimizer.lr),
    )
    assert rates == [schedule(step) for step in range(6)]
    assert history.lr == rates[1::2]
    plateau = nn.ReduceLROnPlateau(0.1, factor=0.5, patience=0)
    scripted([9, 5, 6, 7], epochs=3, schedule=nn.PerStep(plateau))
    assert plateau(0) == 0.025  # told once per epoch
    with pytest.raises(TypeError, match=r"schedule=0\.1: must be a function from step"):
        nn.PerStep(0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.StepLR(0.1, 2),
        lambda: nn.ExponentialLR(0.1, 0.5),
        lambda: nn.CosineLR(0.1, 4),
        lambda: nn.WarmupLR(nn.ReduceLROnPlateau(0.1, patience=0), 1),
        lambda: nn.PerStep(nn.ReduceLROnPlateau(0.1, patience=0)),
        lambda: nn.PerStep(lambda step: 0.1),
    ],
)
def test_the_state_of_a_schedule_can_be_kept(make) -> None:
    """A new one goes on where the old one was."""
    old, new = make(), make()
    for loss in (3.0, 3.0, 2.0):
        getattr(old, "observe", lambda loss: None)(loss)
    new.load_state_dict(old.state_dict())
    for loss in (2.0, 2.0):
        for schedule in (old, new):
            getattr(schedule, "observe", lambda loss: None)(loss)
        assert new(9) == old(9)
    with pytest.raises(ValueError, match="state: of a schedule has"):
        new.load_state_dict({"rate": 0.1})


def test_a_bad_state_of_a_schedule_changes_nothing() -> None:
    schedule = nn.ReduceLROnPlateau(0.1)
    for state in ({"lr": -1.0, "lowest": 1.0, "waited": 0}, {"lr": 0.2, "lowest": math.nan, "waited": 0}):
        with pytest.raises(ValueError, match=r"state\['l"):
            schedule.load_state_dict(state)
        assert schedule(0) == 0.1


# ---- batches from an iterable ------------------------------------------------------------------------


def batches(count: int = 4, size: int = 16) -> list[tuple[np.ndarray, np.ndarray]]:
    return [points(size, seed) for seed in range(count)]


@pytest.mark.parametrize(
    "source",
    [
        lambda: batches(),
        lambda: lambda: iter(batches()),
        lambda: lambda: (list(pair) for pair in batches()),
        lambda: tuple((x, y, np.ones(len(x))) for x, y in batches()),
    ],
    ids=["list", "function", "generator", "with weights"],
)
def test_batches_are_learned_from_as_they_come(source) -> None:
    """The same steps as by hand; validation and evaluate take batches, too."""
    nets = classifier(), classifier()
    history = fit(nets[0], source(), validation=source(), epochs=2)
    optimizer, loss = nn.SGD(nets[1].parameters(), 0.05), nn.CrossEntropyLoss()
    for _ in range(2):
        for x, y in batches():
            optimizer.learn(nets[1], loss, x, y)
    assert_state(nets[0], nets[1].state_dict())
    whole = [np.concatenate(part) for part in zip(*batches())]
    value, accuracy = nn.evaluate(nets[1], *whole, loss=loss)
    assert (history.validation_loss[-1], history.validation_accuracy[-1]) == pytest.approx((value, accuracy))
    assert nn.evaluate(nets[1], source(), loss=loss) == pytest.approx((value, accuracy))


def test_an_iterator_gives_its_batches_once() -> None:
    assert len(fit(classifier(), iter(batches()), epochs=1)) == 1
    before = classifier()
    with pytest.raises(ValueError, match="x: an iterator gives its batches only once, not in 2 epochs"):
        fit(before, iter(batches()), epochs=2)
    assert_state(before, classifier().state_dict())


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ((points(4)[0], points(4)[1] + 5), ValueError, r"x: batch 3: y \(the target\): target: labels from"),
        ((points(4)[0].astype(float), points(4)[1]), TypeError, "x: batch 3: x: dtype float64, but the net"),
        (points(4)[0], TypeError, "x: batch 3: must be .x, y. or .*, not ndarray"),
        ((points(4)[0],), TypeError, "x: batch 3: must be .x, y. or .*, not 1 things"),
        (
            (np.full((4, 2), np.nan, np.float32), np.zeros(4, int)),
            FloatingPointError,
            "batch 3: x: batch 3: x.0, 0. is nan",
        ),
    ],
)
def test_each_batch_is_checked_as_it_comes(bad, error, message) -> None:
    """The step before it was the last; the record is there."""
    net, twin = classifier(), classifier()
    with pytest.raises(error, match=message) as caught:
        fit(net, [*batches(2), bad])
    fit(twin, batches(2), epochs=1)
    assert_state(net, twin.state_dict())
    assert len(caught.value.history) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": []}, ValueError, "x: gave no batch"),
        ({"x": lambda: 3}, TypeError, "x: the function must return an iterable, not int"),
        ({"sample_weight": np.ones(4)}, ValueError, "sample_weight: of batches, give it as the third"),
        ({"validation": []}, TypeError, "validation: must be a pair"),
        ({"validation": lambda: []}, ValueError, "validation: gave no batch"),
    ],
)
def test_bad_batches(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        fit(classifier(), **{"x": batches(), **arguments})


def test_progress_without_a_known_length(capsys) -> None:
    """Lines as ever; and a bar that learns how long an epoch is."""
    fit(classifier(), lambda: iter(batches()), progress=None)
    assert len(capsys.readouterr().err.splitlines()) == 2
    pytest.importorskip("rich")
    fit(classifier(), lambda: iter(batches()), progress=True)
    assert "epoch 2/2" in capsys.readouterr().err


def test_no_warning_in_an_ordinary_training() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_points(epochs=2, patience=1)
