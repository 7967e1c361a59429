"""Checkpoints of a training: resumed to the same bits, whole at any time, and believed only if they fit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import nn

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((48, 1, 6, 6), np.float32)
Y = (X[:, 0, 2, 2] > 0).astype(int)


def make_net(seed: int = 0, features: int = 4, bits: type = np.random.PCG64) -> nn.Sequential:
    draw = np.random.Generator(bits(seed))
    return nn.Sequential(
        nn.Conv2d(1, features, 3, activation="relu", rng=draw),
        nn.BatchNorm2d(features),
        nn.Flatten(),
        nn.Dropout(0.3, rng=draw),
        nn.Sequential(nn.Dropout(0.1, rng=7), nn.Linear(features * 16, 2, rng=draw)),
    )


def fit(net: nn.Layer, **changes: Any) -> nn.History:
    options = {
        "loss": nn.CrossEntropyLoss(),
        "optimizer": nn.Adam(net.parameters(), 0.01),
        "epochs": 5,
        "batch_size": 16,
        "validation": (X[:20], Y[:20]),
        "patience": 9,
        "rng": 3,
        "progress": False,
        **changes,
    }
    history = nn.fit(net, X, Y, **options)
    history.seconds.clear()
    return history


class Broken(Exception):
    pass


def broken_at(epoch: int, batch: int) -> Any:
    def watch(state: nn.TrainingState) -> None:
        if (state.epoch, state.batch) == (epoch, batch):
            raise Broken

    return watch


OPTIMIZERS = {
    "SGD": lambda p: nn.SGD(p, 0.05),
    "momentum": lambda p: nn.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "RMSProp": lambda p: nn.RMSProp(p, 0.005, momentum=0.5),
    "AdaGrad": lambda p: nn.AdaGrad(p, 0.05),
    "Adam": lambda p: nn.Adam(p, 0.01),
    "AdamW": lambda p: nn.AdamW(p, 0.01),
}
SCHEDULES = {
    "none": lambda: None,
    "plateau": lambda: nn.ReduceLROnPlateau(0.05, factor=0.5, patience=0),
    "steps": lambda: nn.PerStep(nn.WarmupLR(nn.CosineLR(0.05, 12), 3)),
}


EVERY = [(optimizer, "none") for optimizer in OPTIMIZERS] + [("Adam", "plateau"), ("momentum", "steps")]


@pytest.mark.parametrize(("optimizer", "schedule"), EVERY)
def test_a_resumed_training_has_the_bits_of_one_without_a_break(optimizer, schedule, tmp_path) -> None:
    """Net, dropout, batch norm, order of examples, optimizer, schedule, record and best parameters."""
    make, schedule = OPTIMIZERS[optimizer], SCHEDULES[schedule]
    net, path = make_net(), tmp_path / "run"
    whole = fit(net, optimizer=make(net.parameters()), schedule=schedule())
    again, resumed = make_net(), None
    # all that counts is in the file, so that the second and third may begin anywhere
    for seed, where in ((3, (1, 1)), (None, (3, 0)), (None, (9, 9))):
        again = make_net(0 if seed else 5)
        try:
            resumed = fit(
                again,
                optimizer=make(again.parameters()),
                schedule=schedule(),
                checkpoint=path,
                resume=True,
                on_step=broken_at(*where),
                rng=seed,
            )
        except Broken:
            assert where != (9, 9)
    assert resumed == whole
    for name, value in again.state_dict().items():
        np.testing.assert_array_equal(value, net.state_dict()[name])


def test_a_training_by_nudging_resumes_too(tmp_path) -> None:
    def run(epochs: int, **options: Any) -> dict[str, np.ndarray]:
        net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2, rng=options.pop("seed", 0)))
        nudge = nn.Nudge(net.parameters(), 0.02, momentum=0.5)
        fit(net, optimizer=nudge, epochs=epochs, batch_size=48, **options)
        return net.state_dict()

    run(1, checkpoint=tmp_path / "run")
    for a, b in zip(run(2).values(), run(2, checkpoint=tmp_path / "run", resume=True, seed=1).values()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_generators_of_every_kind_are_kept(bits, tmp_path) -> None:
    def run(epochs: int, **options: Any) -> dict[str, np.ndarray]:
        seed = options.pop("seed", 0)
        net = make_net(seed, bits=bits)
        fit(net, epochs=epochs, rng=np.random.Generator(bits(seed)), **options)
        return net.state_dict()

    run(1, checkpoint=tmp_path / "run")
    for a, b in zip(run(2).values(), run(2, checkpoint=tmp_path / "run", resume=True, seed=1).values()):
        np.testing.assert_array_equal(a, b)
    message = rf"run: not a whole .*generator 'fit' is a {bits.__name__}, not a PCG64"
    with pytest.raises(ValueError, match=message):
        fit(make_net(bits=bits), checkpoint=tmp_path / "run", resume=True)


def test_one_training_may_be_longer_than_the_one_before(tmp_path) -> None:
    """Of one that is over, early or not, resuming gives the record and the best parameters at once."""
    path = tmp_path / "run"
    first = make_net()
    fit(first, epochs=2, checkpoint=path)
    again = make_net(seed=1)
    assert len(fit(again, epochs=2, checkpoint=path, resume=True)) == 2
    for name, value in again.state_dict().items():
        np.testing.assert_array_equal(value, first.state_dict()[name])
    assert len(fit(again, epochs=4, checkpoint=path, resume=True)) == 4


def test_an_early_stop_stays_one(tmp_path) -> None:
    histories = []
    for _ in range(2):
        net = make_net()
        histories.append(
            fit(
                net,
                epochs=60,
                patience=1,
                optimizer=nn.SGD(net.parameters(), 0.5),
                checkpoint=tmp_path / "run",
                resume=True,
            )
        )
    assert histories[0].stopped_early
    assert histories[0] == histories[1]


def test_a_file_that_is_there_is_not_overwritten_unasked(tmp_path) -> None:
    path = tmp_path / "run"
    fit(make_net(), epochs=1, checkpoint=path)
    before, net = path.read_bytes(), make_net()
    state = net.state_dict()
    with pytest.raises(FileExistsError, match="run': is there already; resume=True goes on from it"):
        fit(net, checkpoint=path)
    assert path.read_bytes() == before
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


def test_a_place_that_cannot_be_written_is_found_before_the_first_step(tmp_path) -> None:
    net = make_net()
    state = net.state_dict()
    with pytest.raises(OSError, match="No such file"):
        fit(net, checkpoint=tmp_path / "missing" / "run")
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


class Remembering:
    """A schedule of one's own with a memory."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __call__(self, epoch: int) -> float:
        return 0.01

    def state_dict(self) -> Any:
        return {"seen": self.state}

    def load_state_dict(self, state: Any) -> None:
        self.state = state["seen"]


def test_schedules_of_ones_own_are_kept_if_json_holds_them(tmp_path) -> None:
    fit(make_net(), epochs=1, schedule=Remembering([1, 2]), checkpoint=tmp_path / "run")
    fresh = Remembering(None)
    fit(make_net(), epochs=2, schedule=fresh, checkpoint=tmp_path / "run", resume=True)
    assert fresh.state == [1, 2]
    with pytest.raises(TypeError, match="schedule: its state_dict cannot be kept in a checkpoint"):
        fit(make_net(), schedule=Remembering(np.ones(2)), checkpoint=tmp_path / "other")


# ---- files that do not fit ---------------------------------------------------------------------------


def adam_and(net: nn.Layer, **options: Any) -> dict[str, Any]:
    return {"net": net, "optimizer": nn.Adam(net.parameters(), 0.01), **options}


def with_optimizer(make: Any) -> dict[str, Any]:
    net = make_net()
    return {"net": net, "optimizer": make(net)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: adam_and(make_net(features=5)), r"array 'net.0.weight' has shape \(4, 1, 3, 3\)"),
        (
            lambda: adam_and(nn.Sequential(nn.Flatten(), nn.Linear(36, 2))),
            "array 'net.1.weight' has 144 bytes",
        ),
        (
            lambda: with_optimizer(lambda net: nn.SGD(net.parameters(), 0.1)),
            "it holds the state of 'Adam', not of 'SGD'",
        ),
        (lambda: with_optimizer(lambda net: nn.Adam([net[0].weight])), "arrays that belong to nothing: opt"),
        (lambda: adam_and(make_net(), schedule=nn.ReduceLROnPlateau(0.1)), "state: of a schedule has"),
        (lambda: adam_and(drop_free()), "it has generators"),
    ],
)
def test_a_file_of_another_training_is_refused(change, message, tmp_path) -> None:
    """One error that names the file; nothing has changed."""
    path = tmp_path / "run"
    fit(make_net(), epochs=1, checkpoint=path)
    arguments = change()
    net = arguments.pop("net")
    before, rates = net.state_dict(), arguments["optimizer"].lr
    with pytest.raises(ValueError, match=rf"run: not a whole training file of fastconv: .*{message}"):
        fit(net, checkpoint=path, resume=True, **arguments)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert (arguments["optimizer"].lr, arguments["optimizer"].steps) == (rates, 0)


def drop_free() -> nn.Sequential:
    """The net without its generators."""
    net = make_net()
    return nn.Sequential(*net[:3], nn.Identity(), nn.Sequential(nn.Identity(), net[4][1]))


def test_damaged_files_are_refused(tmp_path) -> None:
    """Cut short, another format, a net's file, changed bytes: a ValueError, and the net as it was."""
    path = tmp_path / "run"
    fit(make_net(), epochs=1, checkpoint=path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    nn.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "net")
    other = (tmp_path / "net").read_bytes()
    for data in (b"", b"nonsense", whole[:-7], whole[: len(whole) // 3], bytes(flipped), other):
        path.write_bytes(data)
        net = make_net()
        before = net.state_dict()
        with pytest.raises(ValueError, match="run: not a whole training file"):
            fit(net, checkpoint=path, resume=True)
        for name, value in net.state_dict().items():
            np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.update(epoch=-1),
        lambda header: header.update(epoch="1"),
        lambda header: header.pop("step"),
        lambda header: header["best"].update(lowest="low"),
        lambda header: header["history"].update(loss=10**12),
        lambda header: header["generators"]["fit"]["state"].update(state="x"),
        lambda header: header["generators"].update(fit=3),
        lambda header: header["optimizer"].update(lr=-1.0),
        lambda header: header["optimizer"].pop("steps"),
        lambda header: header.pop("schedule"),
        lambda header: header.update(best=[1]),
    ],
)
def test_nonsense_in_the_header_is_refused(change, tmp_path) -> None:
    path = tmp_path / "run"
    fit(make_net(), epochs=1, checkpoint=path)
    with np.load(path) as file:
        arrays = dict(file)
    top = json.loads(arrays["__header__"].tobytes())
    change(top["header"])
    arrays["__header__"] = np.frombuffer(json.dumps(top).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    net = make_net()
    optimizer, before = nn.Adam(net.parameters(), 0.01), net.state_dict()
    with pytest.raises(ValueError, match="run: not a whole training file"):
        fit(net, optimizer=optimizer, checkpoint=path, resume=True)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert optimizer.steps == 0


# ---- killed ------------------------------------------------------------------------------------------

RUN = """
import sys
import test_nn_checkpoint as case
case.fit(case.make_net(), epochs=10_000, patience=10_000, checkpoint=sys.argv[1])
"""


def test_a_killed_process_leaves_a_whole_file(tmp_path) -> None:
    """SIGKILL in the middle of writing checkpoint after checkpoint: what is there resumes."""
    path = tmp_path / "run"
    here = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, *sys.path])}
    process = subprocess.Popen([sys.executable, "-c", RUN, str(path)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert zipfile.ZipFile(path).testzip() is None
    done = len(fit(make_net(), epochs=1, patience=10_000, checkpoint=path, resume=True))
    net, twin = make_net(), make_net()
    resumed = fit(net, epochs=done + 1, patience=10_000, checkpoint=path, resume=True)
    assert resumed == fit(twin, epochs=done + 1, patience=10_000)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, twin.state_dict()[name])
