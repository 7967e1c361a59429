"""Training: what is learned and kept; breaks at any moment; every knob."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fastconv import cli, nn
from fastconv.data import Augmentation, DataError, Dataset, open_dataset
from fastconv.train import Lesson, SettingError, Settings, SpecError, Trained, load_model, train

from .conftest import COMMAND, NET, pictures

QUICK = Settings(net=NET, epochs=4, batch=16, augmentation=Augmentation(translate=0.1, noise=0.1))


def states_equal(one: nn.Layer, two: nn.Layer) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)


def test_it_learns(trained: Trained) -> None:
    """Held-out samples are told apart, and none of them was learned from."""
    assert trained.held_out is not None
    assert trained.held_out.accuracy > 0.8
    assert len(trained.history) == 30
    assert trained.model.record["learned_from"] == 72
    assert trained.history.best_epoch is not None


def test_the_best_epoch_is_kept(dataset: Dataset) -> None:
    trained = train(dataset, QUICK)
    losses = trained.history.validation_loss
    assert trained.history.best_epoch == int(np.argmin(losses))
    assert trained.held_out is not None
    assert trained.held_out.loss == pytest.approx(min(losses), rel=1e-5)


def test_statistics_know_nothing_of_what_is_held_out(dataset: Dataset) -> None:
    lesson = Lesson(dataset, QUICK)
    x, _ = lesson.dataset.batch(lesson.learned_from)
    assert abs(float(x.mean())) < 1e-4
    assert not set(lesson.learned_from.tolist()) & set(lesson.held_out.tolist())
    assert np.bincount(dataset.labels[lesson.held_out]).tolist() == [6, 6, 6]


def test_same_seed_same_bits_at_any_number_of_threads(dataset: Dataset) -> None:
    import fastconv

    before = fastconv.get_num_threads()
    nets = []
    try:
        for threads in (1, 2):
            fastconv.set_num_threads(threads)
            nets.append(train(dataset, QUICK.replaced(epochs=2)).model.net)
    finally:
        fastconv.set_num_threads(before)
    assert states_equal(*nets)
    other = train(dataset, QUICK.replaced(epochs=2, seed=1)).model.net
    assert not states_equal(nets[0], other)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd", "schedule": "constant", "momentum": 0.5, "weight_decay": 1e-4},
        {"optimizer": "adamw", "schedule": "step", "warmup": 1, "label_smoothing": 0.1},
        {"optimizer": "rmsprop", "schedule": "exponential", "balance": True, "max_grad_norm": 1.0},
        {"optimizer": "adagrad", "schedule": "plateau", "warmup": 1, "loss": "hinge", "patience": 1},
        {"optimizer": "nudge", "net": "pool 4, fc", "loss": "error", "batch": 1, "augmentation": None},
    ],
    ids=lambda changes: changes["optimizer"],
)
def test_every_knob_turns(changes: dict[str, object], dataset: Dataset) -> None:
    """And is in the record, from which the same settings come back."""
    settings = QUICK.replaced(epochs=3, **changes)
    trained = train(dataset, settings)
    assert all(np.isfinite(trained.history.loss))
    assert Settings.from_json(trained.model.record["settings"]) == settings


def test_the_rate_falls_as_asked() -> None:
    rates = {}
    for schedule in ("cosine", "step", "exponential", "constant"):
        settings = Settings(lr=0.1, schedule=schedule, epochs=6, warmup=2)
        made = settings.make_schedule(10)
        rates[schedule] = [made(step) for step in (0, 20, 59)]
        assert rates[schedule][0] < rates[schedule][1] == pytest.approx(0.1)
    assert rates["cosine"][2] < 0.001
    assert rates["step"][2] == pytest.approx(0.01)
    assert rates["exponential"][2] == pytest.approx(0.001, rel=0.2)
    assert rates["constant"][2] == pytest.approx(0.1)


def test_balance_weighs_rare_classes() -> None:
    loss = Settings(balance=True).make_loss(np.array([90, 10]))
    even = Settings().make_loss(np.array([90, 10]))
    votes = np.array([[2.0, 0.0]] * 9 + [[2.0, 0.0]], np.float32)
    labels = np.array([0] * 9 + [1])
    assert loss.value(votes, labels) == pytest.approx(
        (even.value(votes[:1], labels[:1]) + even.value(votes[9:], labels[9:])) / 2, rel=1e-5
    )


def test_test_data_is_measured_and_nothing_is_chosen_by_it(data_file: str, tmp_path: Path) -> None:
    x, y = pictures(30, 5)
    np.savez(tmp_path / "test.npz", x=x, y=y)
    dataset = open_dataset(data_file)
    lesson = Lesson(dataset, QUICK)
    test = open_dataset(tmp_path / "test.npz", preprocessing=lesson.dataset.preprocessing)
    with_test, without = train(dataset, QUICK, test=test), train(dataset, QUICK)
    assert states_equal(with_test.model.net, without.model.net)
    assert with_test.test is not None
    assert len(with_test.test.labels) == 30
    assert with_test.model.record["test"]["count"] == 30


def test_a_last_batch_of_one_is_left_out(dataset: Dataset) -> None:
    """Batch norm could not learn from it."""
    settings = QUICK.replaced(batch=71, epochs=2)
    lesson = Lesson(dataset, settings)
    assert len(lesson.learned_from) == 72
    assert len(lesson.batches()) == 1
    assert len(lesson.run().history) == 2


# ---- breaks --------------------------------------------------------------------------------------------


def test_going_on_gives_the_same_bits(folder: Path, tmp_path: Path) -> None:
    """Files that are decoded, augmented, and dropout: broken off in the third epoch."""
    whole = train(open_dataset(folder), QUICK)
    output = tmp_path / "model.fcn"

    class PowerCut(Exception):
        pass

    def cut(state: nn.TrainingState) -> None:
        if (state.epoch, state.batch) == (2, 1):
            raise PowerCut

    with pytest.raises(PowerCut):
        train(open_dataset(folder), QUICK, output=output, on_step=cut)
    assert sorted(os.listdir(tmp_path)) == ["model.fcn.part"]
    again = train(open_dataset(folder), None, output=output, resume=True)
    assert states_equal(again.model.net, whole.model.net)
    assert again.history.loss == whole.history.loss
    assert states_equal(load_model(output).net, whole.model.net)
    assert sorted(os.listdir(tmp_path)) == ["model.fcn"]


def command(data: str, output: Path, *more: str) -> list[str]:
    knobs = ("--net", NET, "--epochs", "15", "--batch", "12", "--noise", "0.1")
    return [sys.executable, "-c", COMMAND, "train", data, "-o", str(output), *knobs, *more]


def moment(path: Path) -> int:
    """When a file was written last; 0 without one."""
    return path.stat().st_mtime_ns if path.exists() else 0


def wait_for_another(path: Path, before: int) -> None:
    """Until the file is there, or was written anew."""
    for _ in range(6000):
        if moment(path) != before:
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} never came")


def test_killed_at_any_moment(data_file: str, tmp_path: Path) -> None:
    """SIGKILL, again and again; what comes out at last is what an unbroken training gives."""
    broken, whole = tmp_path / "broken.fcn", tmp_path / "whole.fcn"
    checkpoint = tmp_path / "broken.fcn.part" / "checkpoint.npz"
    more: tuple[str, ...] = ()
    for wait in (0.0, 0.007):
        before = moment(checkpoint)
        process = subprocess.Popen(
            command(data_file, broken, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_another(checkpoint, before)
        time.sleep(wait)
        process.kill()
        process.wait(30)
        more = ("--resume",)
    assert not broken.exists()
    for output, options in ((broken, more), (whole, ())):
        assert cli.main(command(data_file, output, *options)[3:]) == 0
    assert states_equal(load_model(broken).net, load_model(whole).net)
    assert sorted(os.listdir(tmp_path)) == ["broken.fcn", "whole.fcn"]


def test_ctrl_c_keeps_the_best_model(data_file: str, tmp_path: Path) -> None:
    """One line, exit code 130, a model that works; and --resume goes on to the end."""
    output = tmp_path / "model.fcn"
    arguments = command(data_file, output, "--epochs", "100000")
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    checkpoint = tmp_path / "model.fcn.part" / "checkpoint.npz"
    wait_for_another(checkpoint, 0)
    wait_for_another(checkpoint, moment(checkpoint))
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "Interrupted after" in said
    assert "--resume goes on" in said
    model = load_model(output)
    assert model.record["interrupted"]
    assert 0 < model.record["held_out"]["accuracy"] <= 1
    assert model.votes(np.zeros((1, 1, 8, 8), np.float32)).shape == (1, 3)
    assert sorted(os.listdir(tmp_path)) == ["model.fcn", "model.fcn.part"]


def test_ctrl_c_before_an_epoch_is_over_leaves_nothing(data_file: str, tmp_path: Path) -> None:
    def interrupt(state: nn.TrainingState) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(open_dataset(data_file), QUICK, output=tmp_path / "m.fcn", on_step=interrupt)
    assert os.listdir(tmp_path) == []


def test_ctrl_c_while_it_goes_on_keeps_what_was_best(data_file: str, tmp_path: Path) -> None:
    output, dataset = tmp_path / "m.fcn", open_dataset(data_file)

    def interrupt(state: nn.TrainingState) -> None:
        if state.epoch == 2:
            raise KeyboardInterrupt

    for resume in (False, True):
        trained = train(dataset, QUICK, output=output, resume=resume, on_step=interrupt)
        assert trained.interrupted
        assert len(trained.history) == 2
        assert states_equal(load_model(output).net, trained.model.net)
    whole = train(dataset, QUICK, output=output, resume=True)
    assert states_equal(whole.model.net, train(dataset, QUICK).model.net)
    assert not whole.interrupted


def begun(folder: Path, data: str, settings: Settings = QUICK) -> Path:
    """A training that was broken off; returns its output."""

    def stop(state: nn.TrainingState) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        train(open_dataset(data), settings, output=folder / "m.fcn", on_step=stop)
    return folder / "m.fcn"


def test_an_unfinished_training_is_not_overwritten(data_file: str, tmp_path: Path) -> None:
    output = begun(tmp_path, data_file)
    with pytest.raises(SettingError, match="not finished: resume goes on, restart forgets"):
        train(open_dataset(data_file), QUICK, output=output)
    with pytest.raises(SettingError, match="restart=True: contradicts resume"):
        train(open_dataset(data_file), QUICK, output=output, resume=True, restart=True)
    with pytest.raises(SettingError, match="restart=True: needs the output"):
        train(open_dataset(data_file), QUICK, restart=True)
    assert train(open_dataset(data_file), QUICK, output=output, restart=True).held_out is not None
    assert os.listdir(tmp_path) == ["m.fcn"]


def test_going_on_with_something_else_is_refused(data_file: str, tmp_path: Path) -> None:
    output = begun(tmp_path, data_file)
    dataset = open_dataset(data_file)
    with pytest.raises(SettingError, match=r"^epochs=9: the training to go on with was begun with 4"):
        train(dataset, QUICK.replaced(epochs=9), output=output, resume=True)
    x, y = pictures(90, 7)
    np.savez(tmp_path / "other.npz", x=x, y=y)
    with pytest.raises(SettingError, match=r"resume.*other\.npz or its options are not those"):
        train(open_dataset(tmp_path / "other.npz"), QUICK, output=output, resume=True)
    with pytest.raises(SettingError, match="nothing to go on with"):
        train(dataset, None, output=tmp_path / "n.fcn", resume=True)
    for text in ("", "[]", '{"version": 1}', '{"version": 1, "settings": {"x": 1}, "data": ""}'):
        (tmp_path / "m.fcn.part" / "settings.json").write_text(text)
        with pytest.raises(SettingError, match="damaged"):
            train(dataset, None, output=output, resume=True)


def test_files_of_others_in_the_folder_stay(data_file: str, tmp_path: Path) -> None:
    (tmp_path / "m.fcn.part").mkdir()
    (tmp_path / "m.fcn.part" / "thesis.txt").write_text("years of work")
    train(open_dataset(data_file), QUICK.replaced(epochs=1), output=tmp_path / "m.fcn")
    assert os.listdir(tmp_path / "m.fcn.part") == ["thesis.txt"]


# ---- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("batch", 0), ("seed", -1), ("patience", 0), ("warmup", 20), ("lr", 0.0),
        ("lr", float("nan")), ("momentum", 1.0), ("weight_decay", -1.0), ("held_out", 0.0), ("held_out", 1.0),
        ("label_smoothing", 2.0), ("max_grad_norm", 0.0), ("optimizer", "magic"), ("loss", "x"),
        ("schedule", ""),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_work(name: str, value: object) -> None:
    with pytest.raises(SettingError, match=f"^{name}="):
        Settings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", 1.5), ("lr", "fast"), ("net", 3), ("augmentation", 1)]
)
def test_a_setting_of_another_type(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"^{name}="):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_data_that_cannot_be_learned_from(data_file: str, tmp_path: Path) -> None:
    x, _ = pictures(12, 0)
    np.savez(tmp_path / "one.npz", x=x, y=np.zeros(12, int))
    with pytest.raises(DataError, match="one class"):
        train(open_dataset(tmp_path / "one.npz"), QUICK)
    np.savez(tmp_path / "single.npz", x=x, y=[0] * 11 + [1])
    with pytest.raises(DataError, match="1 sample"):
        train(open_dataset(tmp_path / "single.npz"), QUICK)
    x, y = pictures(30, 0)
    for part, words in ((0, "no sample to take statistics from"), (1, "none of the 6 samples held out can")):
        np.savez(tmp_path / "whole.npz", x=x, y=y)
        spoiled = x.astype(np.float32)
        spoiled[open_dataset(tmp_path / "whole.npz").split(QUICK.held_out, QUICK.seed)[part]] = np.nan
        np.savez(tmp_path / "nan.npz", x=spoiled, y=y)
        with pytest.raises(DataError, match=rf"nan\.npz: {words}"):
            train(open_dataset(tmp_path / "nan.npz"), QUICK, output=tmp_path / "m.fcn")
    with pytest.raises(SpecError, match="do not fit"):
        train(open_dataset(data_file), QUICK.replaced(net="conv 3 20, fc"), output=tmp_path / "m.fcn")
    with pytest.raises(SettingError, match="batch=1"):
        train(open_dataset(data_file), QUICK.replaced(batch=1))
    assert "m.fcn.part" not in os.listdir(tmp_path)


def test_learning_that_diverges_leaves_nothing(data_file: str, tmp_path: Path) -> None:
    settings = Settings(net="fc 8, elu, fc", lr=1e30, optimizer="sgd", epochs=5)
    with pytest.raises(FloatingPointError):
        train(open_dataset(data_file), settings, output=tmp_path / "m.fcn")
    assert os.listdir(tmp_path) == []


def test_a_call_that_is_refused_leaves_nothing_to_go_on_with(data_file: str, tmp_path: Path) -> None:
    """Nothing was learned: the next training is not told of one that was not finished."""
    with pytest.raises(TypeError, match="progress='yes'"):
        train(open_dataset(data_file), QUICK, output=tmp_path / "m.fcn", progress="yes")  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []
