"""Small data and a model that was trained on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("safetensors", reason="models need the extra cli")
Image = pytest.importorskip("PIL.Image", reason="the command needs the extra cli")

from fastconv.data import Dataset, open_dataset  # noqa: E402
from fastconv.train import Settings, Trained, save_model, train  # noqa: E402

#: Three classes that small nets tell apart: where in the picture it is bright.
CLASSES = ("bottom", "left", "top")
NET = "conv 4 3 pad same, bn, relu, pool 2, drop 0.1, fc"

#: The command line as a program that Ctrl-C reaches.
COMMAND = """
import signal, sys
from fastconv import cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.exit(cli.main(sys.argv[1:]))
"""


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey pictures (N, 8, 8) and their classes, as many of each as there are; noisy enough for mistakes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    x = rng.integers(0, 120, (count, 8, 8))
    for picture, label in zip(x, labels):
        where = (slice(5, 8), slice(None)), (slice(None), slice(0, 3)), (slice(0, 3), slice(None))
        picture[where[label]] += 60
    return x.astype(np.uint8), labels


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """90 pictures in an .npz file."""
    path = tmp_path_factory.mktemp("data") / "three.npz"
    x, y = pictures(90, 0)
    np.savez(path, x=x, y=y)
    return str(path)


@pytest.fixture
def dataset(data_file: str) -> Dataset:
    return open_dataset(data_file)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures in a folder per class."""
    path = tmp_path_factory.mktemp("pictures")
    for i, (picture, label) in enumerate(zip(*pictures(60, 1))):
        place = path / CLASSES[label]
        place.mkdir(exist_ok=True)
        Image.fromarray(picture).save(place / f"{i:02}.png")
    return path


@pytest.fixture(scope="session")
def trained(data_file: str) -> Trained:
    """What a short training gives."""
    return train(open_dataset(data_file), Settings(net=NET, epochs=30, batch=16, lr=0.01))


@pytest.fixture(scope="session")
def model_file(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "three.fcn"
    save_model(path, trained.model)
    return str(path)


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line of a command that exits with 2 and prints nothing else."""
    from fastconv import cli

    def run(*arguments: str) -> str:
        try:
            code = cli.main(arguments)
        except SystemExit as stop:
            code = stop.code  # type: ignore[assignment]
        said = capsys.readouterr()
        assert code == 2, said
        assert said.out == ""
        assert said.err.count("\n") == 1, said.err
        return said.err

    return run
