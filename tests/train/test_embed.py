"""Nets that begin with `embed`: from text files to votes and back, by every command."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from fastconv import cli, nn
from fastconv.data import DataError, TextPreprocessing, open_dataset
from fastconv.train import Settings, SpecError, load_model, parse_net, train

NET = "embed 8, conv 8 2, relu, pool all, fc"
QUICK = ("--net", NET, "--epochs", "12", "--batch", "8", "--lr", "0.02", "--cut", "line")


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lines in ten documents of each kind; now and then a line of the other kind, for mistakes."""
    rng = np.random.default_rng(0)
    kinds = {"land": "hill tree road farm stone field", "sea": "wave sail fish salt tide storm"}
    for kind in kinds:
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(10):
            lines = []
            for _ in range(6):
                told = kind if rng.random() < 0.9 else next(other for other in kinds if other != kind)
                lines.append(" ".join(rng.choice([*kinds[told].split(), "the", "a"], 6)))
            (tmp_path / "data" / kind / f"{number}.txt").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("line.txt").write_text("a wave and a fish")

    def run(*arguments: str) -> str:
        assert cli.main([*arguments]) == 0
        return capsys.readouterr().out

    said = run("train", "data", *QUICK, "-o", "text.fcn", "--report", "page.html")
    assert f"Net: {NET}" in said
    assert float(re.findall(r"Held out: .*: ([\d.]+)%", said)[0]) > 75
    model = load_model("text.fcn")
    assert isinstance(model.net[0], nn.Embedding)
    assert isinstance(model.preprocessing, TextPreprocessing)
    assert model.net[0].num_embeddings == len(model.preprocessing.vocabulary) + 2
    assert model.preprocessing.layout == "indices"
    assert "-> sea" in run("predict", "text.fcn", "line.txt")
    assert "Embedding" in run("show", "text.fcn")
    run("evaluate", "text.fcn", "data", "--held-out")
    assert Path("mistakes.png").exists()
    assert "taken for sea" in run("explain", "text.fcn", "line.txt", "-o", "explained.html")
    # what a file holds is what was learned
    found = open_dataset("data", preprocessing=model.preprocessing, classes=model.classes)
    x, y = found.batch(slice(None))
    assert x.dtype == np.int64
    assert (model.votes(x).argmax(1) == y).mean() > 0.75
    assert model.votes(x[:0]).shape == (0, 2)
    with pytest.raises(TypeError, match="must be one of integers"):
        model.votes(x.astype(np.float32))


def test_a_break_changes_no_bit(texts: Path) -> None:
    dataset = open_dataset("data", cut="line")
    settings = Settings(net=NET, epochs=3)
    whole = train(dataset, settings, output="whole.fcn")

    def stop(state: nn.TrainingState) -> None:
        if state.epoch == 1:
            raise KeyboardInterrupt

    train(dataset, settings, output="broken.fcn", on_epoch=stop)
    again = train(dataset, settings, output="broken.fcn", resume=True)
    one, two = whole.model.net.state_dict(), again.model.net.state_dict()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_numbers_of_words_as_they_were_opened(texts: Path) -> None:
    """The layout follows from the net, or the net from the layout."""
    dataset = open_dataset("data", cut="line", layout="indices")
    trained = train(dataset, Settings(epochs=1))
    assert trained.model.spec.startswith("embed 32, conv 64 3")
    with pytest.raises(DataError, match="let the net begin with embed N"):
        train(dataset, Settings(net="conv 8 3, pool all, fc", epochs=1))


@pytest.mark.parametrize(
    ("spec", "shape", "rows", "message"),
    [
        ("embed 8, pool all, fc", (1, 8, 8), None, r"item 1, 'embed 8' .*: reads numbers of words, but"),
        ("embed 8, pool all, fc", (9,), None, "item 1, 'embed 8' .*: reads numbers of words, but"),
        ("embed 8, embed 8, fc", (9,), 50, "item 2, 'embed 8' .*: must stand in front"),
        ("conv 8 3, embed 8, fc", (50, 9), None, "item 2, 'embed 8' .*: must stand in front"),
        ("conv 8 3, fc", (9,), 50, "item 1, 'conv 8 3' .*: what reaches it are numbers of words"),
        ("embed", (9,), 50, "lacks its numbers: embed NUMBERS"),
        ("embed 8 3, fc", (9,), 50, "nothing may follow here"),
        ("embed 8, conv 4 3, pool all, fc", (9,), 10_000_000_000, "embed 8.*parameters allowed"),
    ],
)
def test_what_does_not_fit(spec: str, shape: tuple[int, ...], rows: int | None, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_net(spec, shape, 2, 0, rows=rows)


def test_a_table_of_another_size_is_no_model(texts: Path) -> None:
    """A file whose vocabulary and table differ is refused in one line."""
    from fastconv.train import ModelError, save_model
    from fastconv.train.model import Model

    trained = train(open_dataset("data", cut="line"), Settings(net=NET, epochs=1))
    made = trained.model.preprocessing
    assert isinstance(made, TextPreprocessing)
    fewer = TextPreprocessing(
        shape=made.shape, length=made.length, vocabulary=made.vocabulary[1:], layout="indices"
    )
    model = trained.model
    save_model("other.fcn", Model(model.net, model.spec, model.classes, fewer))
    with pytest.raises(ModelError, match=r"other.fcn: .*array '0.weight' has shape"):
        load_model("other.fcn")
