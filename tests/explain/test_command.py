"""`fastconv explain`, `order-sensitivity` and `xo --compare` from the command line."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rich", reason="the commands need the extra cli")
Image = pytest.importorskip("PIL.Image", reason="the commands need the extra cli")
pytest.importorskip("matplotlib", reason="the commands need the extra cli")

from fastconv import cli, explain, nn, xo  # noqa: E402
from fastconv.explain.content import content_of  # noqa: E402
from fastconv.explain.sources import open_source  # noqa: E402

NEEDS_ONNX = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx is not installed")


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command prints."""
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures, a small xo network, and the place where things are written."""
    monkeypatch.chdir(tmp_path)
    picture = xo.deck_pictures()[0][5, 0]
    Image.fromarray((picture < 0).astype(np.uint8) * 255).save("o.png")
    (tmp_path / "text.png").write_text("no picture\n")
    knobs = xo.Knobs(features=(3,), layers=("conv", "relu", "pool", "pool"), hidden=())
    xo.save_model("net.npz", xo.build_network(knobs, 0), knobs, xo.Lesson())
    return tmp_path


# ---- explain ------------------------------------------------------------------------------------------


def test_the_deck(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The network made by hand: by name, by a file, as a picture."""
    assert cli.main(["explain", "deck"]) == 0
    assert "X is taken for X." in capsys.readouterr().out
    assert os.path.getsize("explain.html") < 2_000_000
    assert cli.main(["explain", "--model", "deck", "o.png", "-o", "o.html", "--label", "O"]) == 0
    assert "o.png is taken for O." in capsys.readouterr().out
    assert cli.main(["explain", "deck", "O rotated", "--png", "picture.png"]) == 0
    assert capsys.readouterr().out == "Picture written to picture.png\n"
    assert sorted(Path().glob("*.html")) == [Path("explain.html"), Path("o.html")]
    with Image.open("picture.png") as drawn:
        assert drawn.width == 1300


def test_a_network_of_xo(folder: Path) -> None:
    """Its votes are those that the network gives, and its error the example's."""
    source = open_source("net.npz", "o.png")
    network, knobs, _ = xo.load_model("net.npz")
    assert np.allclose(source.seen.votes, network(xo.read_picture("o.png", knobs.size)[None])[0], atol=1e-6)
    assert content_of(source.seen, source.title, source.name)["loss"] == "absolute"


def test_a_model_of_train(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file says how inputs are prepared and what classes are called."""
    pytest.importorskip("safetensors")
    from fastconv.data import ImagePreprocessing
    from fastconv.train import Model, parse_net, save_model

    net = parse_net("conv 4 3, relu, pool 2, fc", (1, 9, 9), 2, rng=0)
    model = Model(net, "conv 4 3, relu, pool 2, fc", ("cross", "<ring>"), ImagePreprocessing(shape=(1, 9, 9)))
    save_model("model.fcn", model)
    assert cli.main(["explain", "model.fcn", "o.png", "--label", "<ring>"]) == 0
    seen = open_source("model.fcn", "o.png").seen
    assert np.allclose(seen.votes, model.votes(model.preprocessing.read("o.png")[None])[0], atol=1e-5)
    assert "<ring>" not in Path("explain.html").read_text()
    data = Path("model.fcn").read_bytes()
    Path("cut.fcn").write_bytes(data[: len(data) // 2])
    assert refusal(["explain", "cut.fcn", "o.png"], capsys).startswith("fastconv explain: error: cut.fcn: ")


def test_a_cnn_from_elsewhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An ONNX file, a picture normalised as told, and names of classes from a file."""
    onnx = pytest.importorskip("fastconv.interop.onnx", exc_type=ImportError)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(196, 2, rng=1))
    onnx.export(net, "net.onnx", (1, 3, 9, 9))
    Path("names.txt").write_text("cross\nring\n")
    told = ["--classes", "names.txt", "--mean", "0.5", "--std", "0.25"]
    assert cli.main(["explain", "--model", "net.onnx", "o.png", *told]) == 0
    assert "is taken for" in capsys.readouterr().out
    np.save("x.npy", np.ones((1, 3, 9, 9), np.float32))
    assert open_source("net.onnx", "x.npy").seen.shapes[0] == (3, 9, 9)
    Path("one.txt").write_text("cross\n")
    assert "classes: 1 names" in refusal(["explain", "net.onnx", "o.png", "--classes", "one.txt"], capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no model: name"),
        (["deck", "nowhere.png"], "nowhere.png: no such file, and none of X, X translated"),
        (["deck", "text.png"], "text.png: "),
        (["deck", "X", "O"], "O: one input at a time"),
        (["net.npz"], "net.npz: nothing to look at"),
        (["nowhere.fcn", "o.png"], "nowhere.fcn: No such file"),
        (["o.png", "o.png"], "o.png: "),
        (["nowhere.npz", "o.png"], "nowhere.npz: No such file"),
        pytest.param(["nowhere.onnx", "o.png"], "nowhere.onnx: No such file", marks=NEEDS_ONNX),
        (["deck", "--mean", "1"], "--mean: goes with an .onnx model"),
        (["deck", "--mean", "x"], "argument --mean: 'x' is not a number"),
        (["deck", "--label", "Q"], "--label Q: must be one of X, O"),
        (["deck", "-o", "."], "--output .: is a directory"),
        (["deck", "-o", "/no/such/page.html"], "--output /no/such/page.html: no such directory"),
        (["deck", "o.png", "-o", "o.png"], "--output o.png: would overwrite the input"),
        (["deck", "--png", "a.txt"], "--png a.txt: must end in"),
        (["deck", "-o", "a.png", "--png", "a.png"], "--png a.png: is the file that --output writes"),
    ],
)
def test_refusals(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names what is wrong; nothing is written."""
    before = sorted(os.listdir())
    if message.startswith("argument"):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["explain", *arguments])
        line = capsys.readouterr().err
    else:
        line = refusal(["explain", *arguments], capsys)
    assert line.startswith(f"fastconv explain: error: {message}")
    assert sorted(os.listdir()) == before


def test_a_full_disk(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only shows when the page is written is one line, too, and the old page is whole."""
    Path("explain.html").write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    line = refusal(["explain", "deck"], capsys)
    assert line == "fastconv explain: error: --output explain.html: No space left on device\n"
    assert Path("explain.html").read_text() == "old"
    assert sorted(os.listdir()) == ["explain.html", "net.npz", "o.png", "text.png"]


# ---- order-sensitivity --------------------------------------------------------------------------------


def test_a_table_has_no_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Customers: what the columns say does not depend on where they stand. It is never said to matter."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 2
    lines = ["label,age,visits,spent,distance,orders,returns"]
    for label in y:
        row = rng.normal(size=6) + 1.5 * label
        lines.append(f"{'keeps' if label else 'leaves'},{','.join(f'{each:.3f}' for each in row)}")
    Path("customers.csv").write_text("\n".join(lines) + "\n")
    told = ["--net", "conv 4 3, relu, fc", "--epochs", "3", "--folds", "2", "--permutations", "4"]
    assert cli.main(["order-sensitivity", "customers.csv", *told, "--output", "order.png"]) == 0
    printed = capsys.readouterr().out
    assert "90 samples of shape (1, 6); the net: conv 4 3, relu, fc" in printed
    assert "4 permutations of axis 2" in printed
    assert os.path.getsize("order.png") > 1000
    assert cli.main(["order-sensitivity", "customers.csv", *told, "--json", "--no-picture"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["permuted"]) == 4
    assert found["verdict"] in ("equivalent within the margin", "inconclusive")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.npz"], "nowhere.npz: "),
        (["few.npz", "--axis", "0"], "--axis 0: has 1 place"),
        (["few.npz", "--axis", "7"], "axis=7"),
        (["few.npz", "--net", "conv 4 99"], "net: item 1, 'conv 4 99'"),
        (["few.npz", "--folds", "9"], "cv=9"),
        (["few.npz", "--margin", "-1"], "margin=-1"),
        (["few.npz", "--output", "few.npz"], "--output few.npz: would overwrite the data"),
        (["few.npz", "--output", "a.txt"], "--output a.txt: must end in"),
        (["few.npz", "--output", "a.png", "--no-picture"], "--output a.png: contradicts"),
    ],
)
def test_orders_refused(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is trained."""
    np.savez("few.npz", x=np.arange(8 * 64, dtype=np.uint8).reshape(8, 8, 8), y=np.arange(8) % 2)
    assert refusal(["order-sensitivity", *arguments], capsys).startswith(
        f"fastconv order-sensitivity: error: {message}"
    )


# ---- xo --compare -------------------------------------------------------------------------------------


def test_compare(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both learn alike, at very different costs."""
    knobs = xo.Knobs(features=(2,), layers=("conv", "relu", "pool", "pool"), hidden=())
    found = xo.compare(knobs, xo.Lesson(learn="nudge", train=100, unseen=1), steps=12)
    assert found.errors[0, 0] == pytest.approx(found.errors[1, 0])
    assert found.errors[:, -1].max() < found.errors[0, 0]
    assert found.agreement.mean() > 0.8
    assert found.evaluations == 2 * sum(p.value.size for p in xo.build_network(knobs, 0).parameters())
    told = ["--features", "2", "--train", "60", "--output", "both.png"]
    assert cli.main(["xo", "--compare", *told]) == 0
    assert "signs agree for" in capsys.readouterr().out
    assert os.path.getsize("both.png") > 1000
    for arguments, message in (
        (["--model", "net.npz"], "--model: says nothing to --compare"),
        (["--learn", "backprop"], "--learn backprop: contradicts --compare, which learns in both ways"),
        (["o.png"], "o.png: a picture says nothing to --compare"),
    ):
        assert refusal(["xo", "--compare", *arguments], capsys) == f"fastconv xo: error: {message}\n"


def test_public_names() -> None:
    """Everything in `__all__` is there and documented."""
    for name in explain.__all__:
        assert getattr(explain, name).__doc__, name
