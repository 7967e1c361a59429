"""fit: it learns, gives the same bits again, stops in time, and says what is wrong before it starts."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from nn_cases import letters, rng, small_net

import fastconv
from fastconv import nn


def points(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points in the plane and which of three directions they lie in."""
    draw = np.random.default_rng(seed)
    angle = draw.uniform(0, 2 * np.pi, count)
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1) * draw.uniform(0.5, 2, (count, 1))
    return x.astype(np.float32), (angle // (2 * np.pi / 3)).astype(np.int64)


def classifier(seed: int = 0) -> nn.Sequential:
    draw = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Linear(2, 16, rng=draw), nn.Tanh(), nn.Dropout(0.1, rng=draw), nn.Linear(16, 3, rng=draw)
    )


def fit_points(net: nn.Layer | None = None, **changes) -> nn.History:
    net = classifier() if net is None else net
    x, y = points(240)
    options = {
        "loss": nn.CrossEntropyLoss(),
        "optimizer": nn.Adam(net.parameters(), 0.02),
        "epochs": 30,
        "validation": points(120, seed=1),
        "rng": 3,
        "progress": False,
    }
    return nn.fit(net, x, y, **{**options, **changes})


def test_it_learns_and_the_history_tells() -> None:
    """A small problem with a known answer; every column has one entry per epoch."""
    history = fit_points()
    assert len(history) == 30
    assert history.loss[-1] < history.loss[0] / 3
    assert history.accuracy[-1] > 0.9
    assert history.validation_accuracy[-1] > 0.95
    columns = (
        history.accuracy,
        history.validation_loss,
        history.validation_accuracy,
        history.seconds,
        history.lr,
    )
    assert [len(column) for column in columns] == [30] * 5
    assert all(seconds > 0 for seconds in history.seconds)
    assert set(history.lr) == {0.02}
    assert history.best_epoch is None
    assert not history.stopped_early


def test_it_learns_x_and_o_by_backprop() -> None:
    """The deck's net and the deck's error."""
    x, y = letters(128)
    net = small_net(np.float32)
    optimizer = nn.Adam(net.parameters(), 0.02)
    nn.fit(net, x, y, loss=nn.TotalAbsoluteError(), optimizer=optimizer, epochs=30, rng=0, progress=False)
    unseen, labels = letters(500, seed=1)
    assert nn.evaluate(net, unseen, labels, loss=nn.TotalAbsoluteError())[1] == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda p: nn.SGD(p, 0.1, momentum=0.9, nesterov=True),
        lambda p: nn.RMSProp(p, 0.005),
        lambda p: nn.AdaGrad(p, 0.1),
        lambda p: nn.AdamW(p, 0.02),
    ],
    ids=["SGD", "RMSProp", "AdaGrad", "AdamW"],
)
def test_every_optimizer_learns(make) -> None:
    net = classifier()
    assert fit_points(net, optimizer=make(net.parameters())).validation_accuracy[-1] > 0.9


def run_seeded(threads: int, seed: int) -> tuple[nn.History, dict[str, np.ndarray]]:
    fastconv.set_num_threads(threads)
    draw = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, activation="relu", rng=draw),
        nn.BatchNorm2d(16),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, activation="relu", rng=draw),
        nn.Flatten(),
        nn.Dropout(0.2, rng=draw),
        nn.Linear(16 * 36, 2, rng=draw),
    )
    x, y = letters(96, size=16)
    history = nn.fit(
        net,
        x,
        y,
        loss=nn.HingeLoss(),
        optimizer=nn.SGD(net.parameters(), 0.01, momentum=0.9),
        epochs=3,
        validation=letters(32, 1, size=16),
        rng=draw,
        progress=False,
    )
    history.seconds.clear()
    return history, net.state_dict()


def test_the_same_seed_gives_the_same_bits_at_any_number_of_threads() -> None:
    first, state = run_seeded(1, seed=5)
    for threads in (1, 2):
        again, other = run_seeded(threads, seed=5)
        assert again == first
        for name, value in other.items():
            np.testing.assert_array_equal(value, state[name])
    assert run_seeded(1, seed=6)[0] != first


class Scripted(nn.SGD):
    """Counts its steps into the one parameter, so that losses follow a script."""

    def learn(self, net, loss, input, target):
        value = loss.value(net(input), target)
        self.parameters[0].value += 1
        return value, net(input)


class Script(nn.Loss):
    """The loss after step k is values[k]; the net's parameter counts the steps."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def prepare(self, shape, dtype, target):
        return np.asarray(target)

    def value(self, prediction, target):
        return self.values[round(float(prediction.ravel()[0]))]


def scripted(values: list[float], **options) -> tuple[nn.History, float]:
    net = nn.Linear(1, 1, bias=False)
    net.weight.value = np.zeros((1, 1), np.float32)
    one = np.ones((1, 1), np.float32)
    history = nn.fit(
        net,
        one,
        one,
        loss=Script(values),
        optimizer=Scripted(net.parameters(), 0.1),
        validation=(one, one),
        progress=False,
        **options,
    )
    return history, float(net.weight.value[0, 0])


def test_early_stopping_puts_the_best_parameters_back() -> None:
    """Validation losses 5 4 2 3 3 9...: stops after patience epochs without a new low, back at the low."""
    history, weight = scripted([9, 5, 4, 2, 3, 3, 9, 9, 9], epochs=8, patience=2)
    assert history.validation_loss == [5, 4, 2, 3, 3]
    assert history.stopped_early
    assert history.best_epoch == 2
    assert weight == 3


def test_the_best_parameters_are_put_back_at_the_end_too() -> None:
    history, weight = scripted([9, 5, 4, 2, 3, 3], epochs=5, patience=10)
    assert not history.stopped_early
    assert (history.best_epoch, weight) == (2, 3)


def test_without_patience_the_last_parameters_stay() -> None:
    history, weight = scripted([9, 5, 4, 2, 3, 3], epochs=5)
    assert history.best_epoch is None
    assert weight == 5


def test_early_stopping_restores_batch_norm_statistics() -> None:
    """Running statistics belong to the parameters of their epoch."""
    draw = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(2, 4, rng=draw), nn.BatchNorm1d(4), nn.Linear(4, 3, rng=draw))
    x, y = points(64)
    validation = points(64, seed=2)
    history = nn.fit(
        net,
        x,
        y,
        loss=nn.CrossEntropyLoss(),
        optimizer=nn.SGD(net.parameters(), 2.0, momentum=0.9),
        epochs=15,
        validation=validation,
        patience=15,
        rng=0,
        progress=False,
    )
    assert history.best_epoch is not None
    assert history.best_epoch < 14
    value, accuracy = nn.evaluate(net, *validation, loss=nn.CrossEntropyLoss())
    assert value == history.validation_loss[history.best_epoch] == min(history.validation_loss)
    assert accuracy == history.validation_accuracy[history.best_epoch]


def test_schedules_set_the_rate_of_every_epoch() -> None:
    assert fit_points(epochs=4, schedule=nn.StepLR(0.1, 2, 0.5)).lr == [0.1, 0.1, 0.05, 0.05]
    assert fit_points(epochs=3, schedule=lambda epoch: 0.1 / (epoch + 1)).lr == [0.1, 0.05, 0.1 / 3]
    history, _ = scripted([9, 5, 4, 4, 4, 4], epochs=5, schedule=nn.ReduceLROnPlateau(1.0, 0.5, patience=0))
    assert history.lr == [1.0, 1.0, 1.0, 0.5, 0.25]


def test_every_example_is_seen_once_per_epoch_in_a_new_order() -> None:
    """The last batch takes what is left."""
    seen: list[np.ndarray] = []

    class Watch(nn.SGD):
        def learn(self, net, loss, input, target):
            seen.append(target.ravel().copy())
            return super().learn(net, loss, input, target)

    net = nn.Linear(1, 1, dtype=np.float64)
    x = np.arange(10.0).reshape(10, 1)
    nn.fit(
        net,
        x,
        x,
        loss=nn.MSELoss(),
        optimizer=Watch(net.parameters(), 0.001),
        epochs=2,
        batch_size=4,
        rng=0,
        progress=False,
    )
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    np.testing.assert_array_equal(np.sort(first), np.arange(10))
    np.testing.assert_array_equal(np.sort(second), np.arange(10))
    assert (first != second).any()


def test_a_mean_of_unequal_batches_weighs_examples() -> None:
    """History and evaluate give the mean over examples, not over batches."""
    x = np.arange(5.0).reshape(5, 1)
    y = np.zeros((5, 1))
    assert nn.evaluate(nn.Identity(), x, y, loss=nn.MSELoss(), batch_size=2)[0] == pytest.approx(6.0)
    net = nn.Linear(1, 1, dtype=np.float64, rng=0)
    net.load_state_dict({"weight": np.ones((1, 1)), "bias": np.zeros(1)})
    history = nn.fit(
        net,
        x,
        y,
        loss=nn.MSELoss(),
        optimizer=nn.SGD(net.parameters(), 0.0),
        epochs=1,
        batch_size=2,
        progress=False,
    )
    assert history.loss == pytest.approx([6.0])
    assert history.accuracy == []


def test_evaluate_does_not_depend_on_the_batch_size() -> None:
    net, (x, y) = classifier(), points(50)
    whole = nn.evaluate(net, x, y, loss=nn.CrossEntropyLoss(), batch_size=50)
    parts = nn.evaluate(net, x, y, loss=nn.CrossEntropyLoss(), batch_size=7)
    assert whole[1] == parts[1]
    assert math.isclose(whole[0], parts[0], rel_tol=1e-5)


@pytest.mark.parametrize(
    ("make", "reason"), [(nn.SGD, "the loss is (inf|nan)"), (nn.Nudge, "a nudge of 0.01 is lost beside")]
)
def test_numbers_that_explode_are_an_error_that_says_where(make, reason) -> None:
    """Epoch and batch are named, and no step is made with a loss that is not finite."""
    net = nn.Linear(2, 3, rng=0)
    x, y = points(64)
    options = {"loss": nn.MSELoss(), "optimizer": make(net.parameters(), 1e6), "rng": 0, "progress": False}
    with pytest.raises(
        FloatingPointError, match=reason + r".* in epoch \d+, batch \d+, at learning rate 1e\+06"
    ):
        nn.fit(net, x, np.eye(3, dtype=np.float32)[y], epochs=20, batch_size=16, **options)
    assert all(np.isfinite(parameter.value).all() for parameter in net.parameters())


def test_nan_in_the_data_is_found_in_its_batch() -> None:
    x, y = points(64)
    x[40] = np.nan
    net = classifier()
    optimizer = nn.SGD(net.parameters(), 0.1)
    with pytest.raises(
        FloatingPointError, match=r"^the loss is nan in epoch 1, batch [12]: x\[40, 0\] is nan\b"
    ):
        nn.fit(net, x, y, loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=2, rng=0, progress=False)


X, Y = points(8)
NET = classifier()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"net": "net"}, TypeError, "net: must be an nn.Layer, not str"),
        ({"x": X.tolist()}, TypeError, "x: must be an array"),
        ({"x": X.astype(np.float64)}, TypeError, "x: dtype float64, but the net's parameters are float32"),
        ({"x": X.astype(np.int64)}, TypeError, "x: dtype must be float32 or float64"),
        ({"x": X[0]}, ValueError, r"x: shape \(2,\) must be \(N, ...\)"),
        ({"x": X[:0], "y": Y[:0]}, ValueError, "at least one example"),
        ({"x": np.ones((8, 3), np.float32)}, ValueError, "layer 0, Linear.*in_features=2"),
        ({"y": Y[:7]}, ValueError, r"y \(the target\): target: shape \(7,\) must be \(8,\)"),
        ({"y": Y + 1}, ValueError, "y .*labels from 1 to 3 must be from 0 to 2"),
        ({"y": Y.astype(np.float32)}, TypeError, "y .*labels must be integers, not float32"),
        ({"loss": "mse"}, TypeError, "loss: must be an nn.Loss, not str"),
        ({"loss": nn.MSELoss}, TypeError, "loss: must be an nn.Loss, not type"),
        ({"optimizer": nn.Adam}, TypeError, "optimizer: must be an nn.Optimizer, not type"),
        (
            {"optimizer": nn.Adam(classifier().parameters())},
            ValueError,
            "optimizer: has none of the net's parameters",
        ),
        ({"epochs": 0}, ValueError, "epochs=0: must be at least 1"),
        ({"epochs": 2.5}, TypeError, "epochs=2.5"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"validation": X}, TypeError, "validation: must be a pair"),
        ({"validation": (X, Y, Y, Y)}, TypeError, "validation: must be a pair"),
        ({"validation": (X, Y, -np.ones(8))}, ValueError, r"validation\[2\] \(the sample_weight\)"),
        ({"validation_batch_size": 0}, ValueError, "validation_batch_size=0"),
        ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight: shape \(3,\) must be \(8,\)"),
        ({"sample_weight": np.zeros(8)}, ValueError, "y: nothing counts"),
        ({"y": np.full(8, -100)}, ValueError, "y: nothing counts, every label is ignored or weighs 0"),
        ({"loss": nn.CrossEntropyLoss(np.ones(2))}, ValueError, r"loss: weight: shape \(2,\) must be \(3,\)"),
        ({"loss": nn.CrossEntropyLoss(reduction="none")}, ValueError, "loss: reduction='none'"),
        ({"drop_last": True}, ValueError, "drop_last=True: 8 examples do not fill a batch of 32"),
        ({"drop_last": 1}, TypeError, "drop_last=1: must be True or False"),
        ({"max_grad_norm": -1}, ValueError, "max_grad_norm=-1: must be above 0"),
        ({"on_step": "print"}, TypeError, "on_step='print': must be a function"),
        ({"on_epoch": 3}, TypeError, "on_epoch=3: must be a function"),
        ({"resume": True}, ValueError, "resume=True: needs checkpoint="),
        ({"resume": "yes"}, TypeError, "resume='yes': must be True or False"),
        ({"checkpoint": 3}, TypeError, "checkpoint=3: must be a path"),
        ({"y": None}, TypeError, "y: is missing, and x is no iterable of batches"),
        ({"x": 3, "y": None}, TypeError, "y: is missing, and x is no iterable of batches"),
        ({"validation": (X, Y[:3])}, ValueError, r"validation\[1\]"),
        ({"validation": (X[:, :1], Y)}, ValueError, "in_features=2"),
        ({"patience": 3}, ValueError, "patience=3: needs validation data"),
        ({"patience": 0, "validation": (X, Y)}, ValueError, "patience=0"),
        ({"schedule": 0.1}, TypeError, "schedule=0.1: must be a function"),
        ({"schedule": lambda epoch: -1.0}, ValueError, r"schedule\(0\)=-1.0"),
        ({"rng": "seed"}, TypeError, "rng='seed'"),
        ({"rng": -1}, ValueError, "rng=-1"),
        ({"progress": "yes"}, TypeError, "progress='yes'"),
    ],
)
def test_bad_input(changes, error, message) -> None:
    """One error that names the argument, and nothing has been learned."""
    before = NET.state_dict()
    options = {
        "net": NET,
        "x": X,
        "y": Y,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": nn.Adam(NET.parameters()),
        "epochs": 1,
        "progress": False,
        **changes,
    }
    with pytest.raises(error, match=message):
        nn.fit(options.pop("net"), options.pop("x"), options.pop("y"), **options)
    for name, value in NET.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_evaluate_refuses_what_fit_refuses() -> None:
    for arguments, error in [
        ((NET, X, Y[:3]), ValueError),
        (("net", X, Y), TypeError),
        ((NET, X[:0], Y), ValueError),
    ]:
        with pytest.raises(error):
            nn.evaluate(*arguments, loss=nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match="batch_size=0"):
        nn.evaluate(NET, X, Y, loss=nn.CrossEntropyLoss(), batch_size=0)


def test_a_net_that_loses_the_batch_axis_is_refused() -> None:
    net = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Flatten(0))
    with pytest.raises(ValueError, match="must keep the batch axis"):
        nn.fit(
            net,
            X,
            Y,
            loss=nn.CrossEntropyLoss(),
            optimizer=nn.Adam(net.parameters()),
            epochs=1,
            progress=False,
        )


# ---- progress ----------------------------------------------------------------------------------------


def test_plain_lines_where_there_is_no_terminal(capsys) -> None:
    """About twenty lines however long it takes, on stderr, the first and the last among them."""
    fit_points(epochs=60, progress=None)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 21
    assert lines[0].startswith("epoch  1/60  loss ")
    assert lines[-1].startswith("epoch 60/60  loss ")
    assert lines[-1].count("% right") == 2
    assert "; validation " in lines[-1]


def test_no_progress_is_silent(capsys) -> None:
    fit_points(epochs=2, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_bar_if_asked_for(capsys) -> None:
    pytest.importorskip("rich")
    fit_points(epochs=3, progress=True)
    err = capsys.readouterr().err
    assert "epoch 3/3" in err
    assert "% right; validation" in err


def test_a_bar_on_a_terminal(capsys, monkeypatch) -> None:
    """On a terminal the bar is the default; it is drawn with control characters."""
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit_points(epochs=3, progress=None)
    assert "\x1b[" in capsys.readouterr().err


def test_lines_if_a_bar_is_asked_for_but_rich_is_missing(capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    fit_points(epochs=2, progress=True)
    assert capsys.readouterr().err.startswith("epoch 1/2  loss ")


def test_what_was_done_before_took_no_time_of_now(monkeypatch) -> None:
    """Speed and time left of a training that goes on are those since then; the first batch counts, too."""
    from fastconv.nn import progress

    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    for batches in (5, None):
        shown = progress.open_progress(False, 10, batches)
        clock.now += 60  # a checkpoint is read
        shown.begin(4, 20)
        for done in (21, 22):
            clock.now += 2
            shown.batch(done, 8, 0.5)
        assert shown.speed == 4
        if batches is None:  # how long an epoch is shows when one is over
            assert math.isnan(shown.left)
            for done in (23, 24, 25):
                clock.now += 2
                shown.batch(done, 8, 0.5)
            shown.epoch(5, "")
        assert shown.left == 2 * (28 if batches else 25)


def test_importing_nn_does_not_import_extras(run_python) -> None:
    """Everything but numpy is only for those who ask for it."""
    code = "import sys; from fastconv import nn; print({'rich', 'PIL', 'matplotlib'} & set(sys.modules))"
    done = run_python(code)
    assert done.stdout.strip() == "set()", done.stderr


def test_examples_in_docstrings() -> None:
    """Every example in the documentation of nn runs and prints what it says."""
    import doctest
    import importlib
    import pkgutil

    count = 0
    for module in pkgutil.walk_packages(nn.__path__, "fastconv.nn."):
        result = doctest.testmod(importlib.import_module(module.name))
        assert result.failed == 0, module.name
        count += result.attempted
    assert count > 100


def test_gradient_of_the_data_is_not_needed_for_training() -> None:
    """fit asks for parameter gradients only; what it adds equals full backprop."""
    net, twin = small_net(), small_net()
    x, y = rng().standard_normal((4, 1, 9, 9)), np.array([0, 1, 1, 0])
    loss = nn.CrossEntropyLoss()
    nn.SGD(net.parameters(), 0.0).learn(net, loss, x, y)
    prediction, backprop = twin.vjp(x)
    backprop(loss.vjp(prediction, y)[1])
    for a, b in zip(net.parameters(), twin.parameters()):
        np.testing.assert_array_equal(a.grad, b.grad)
