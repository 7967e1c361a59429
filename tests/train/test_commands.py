"""`fastconv train`, `predict`, `evaluate` and `show`, as a user meets them."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastconv import cli
from fastconv.train import load_model

from .conftest import NET, Image, pictures

Refusal = Callable[..., str]
QUICK = ("--net", NET, "--epochs", "3", "--batch", "16")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """What a command says that succeeds."""
    code = cli.main(arguments)
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out, said.err


def check_plain(text: str) -> None:
    assert not [c for c in text if c != "\n" and not c.isprintable()]


# ---- train ---------------------------------------------------------------------------------------------


def test_train_says_what_it_does(data_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes and balance, the net, epochs with speed and time left, the result with its interval; one file."""
    said, errors = run(capsys, "train", data_file, *QUICK)
    check_plain(said)
    assert "90 images in 3 classes" in said
    assert said.count("33.3%") == 3
    assert "Learns from 72; 18 are held out." in said
    assert f"Net: {NET}" in said
    assert re.search(r"Held out: \d+ of 18 right: [\d.]+% \(95% interval [\d.]+% to [\d.]+%\)\.", said)
    assert "Model written to model.fcn" in said
    assert re.search(r"epoch 2/3  loss [\d.]+, [\d.]+% right; .*; [\d,]+ a second, [\d.]+ s left", errors)
    assert os.listdir() == ["model.fcn"]
    assert load_model("model.fcn").record["settings"]["epochs"] == 3


def test_a_terminal_gets_a_bar(data_file: str, own_folder: Path) -> None:
    """With loss, accuracy, speed and time left, drawn in place."""
    outer, inner = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    arguments = [sys.executable, "-m", "fastconv", "train", data_file, *QUICK]
    process = subprocess.Popen(arguments, stdout=inner, stderr=inner, stdin=inner, env=environment)
    os.close(inner)
    shown = b""
    while True:
        try:
            part = os.read(outer, 65536)
        except OSError:  # the other side has closed
            break
        if not part:
            break
        shown += part
    os.close(outer)
    assert process.wait(60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(
        r"epoch 3/3 ━+ 0\.0 s left +[\d,]+/s loss [\d.]+, [\d.]+% right; validation [\d.]+", text
    )


def test_a_folder_of_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With every case of variation, and one bad file that is skipped and counted."""
    shutil.copytree(folder, "pictures")
    Path("pictures/left/01.png").write_bytes(b"no picture")
    varied = "--translate 0.1 --scale 0.1 --rotate 10 --weight 0.5 --contrast 0.2 --noise 0.1 --mirror"
    said, _ = run(capsys, "train", "pictures", "-o", "m.fcn", *QUICK, *varied.split(), "--size", "10")
    assert "in 3 classes, each (1, 10, 10)" in said
    assert "skipped: 1" in said
    assert "left/01.png" in said
    model = load_model("m.fcn")
    assert model.classes == ("bottom", "left", "top")
    assert model.record["settings"]["augmentation"]["rotate"] == 10
    assert model.input_shape == (1, 10, 10)


def test_the_knobs_are_the_net(data_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    knobs = "--features 3,5 --feature-size 2 --pool 3 --stride 2 --neurons 7 --depth 2 --epochs 1"
    said, _ = run(capsys, "train", data_file, *knobs.split())
    assert "Net: conv 3 2, relu, conv 5 2, relu, pool 3 stride 2, fc 7, relu, fc" in said


def test_every_option_of_learning(data_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = (
        "--optimizer sgd --lr 0.02 --momentum 0.8 --weight-decay 0.001 --schedule step --warmup 1 --loss "
        "cross-entropy --label-smoothing 0.1 --balance --max-grad-norm 5 --patience 2 --seed 4 --held-out 0.3"
    )
    run(capsys, "train", data_file, *QUICK, *given.split())
    settings = load_model("model.fcn").record["settings"]
    for words in ("lr 0.02", "momentum 0.8", "warmup 1", "patience 2", "seed 4", "held_out 0.3"):
        name, value = words.split()
        assert settings[name] == float(value)
    assert settings["balance"] is True


def test_test_data_of_their_own(data_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = pictures(30, 5)
    np.savez("test.npz", x=x, y=y)
    said, _ = run(capsys, "train", data_file, *QUICK, "--test", "test.npz")
    assert re.search(r"^Test: \d+ of 30 right: ", said, re.MULTILINE)
    np.savez("keras.npz", x_train=x, y_train=y, x_test=x[:12], y_test=y[:12])
    said, _ = run(capsys, "train", "keras.npz", *QUICK)
    assert re.search(r"^Test: \d+ of 12 right: ", said, re.MULTILINE)


def test_a_report_is_a_page_of_its_own(data_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Losses and the ranges of every layer and weight; nothing is fetched, nothing runs."""
    np.savez("a<b>&.npz", **np.load(data_file))
    run(capsys, "train", "a<b>&.npz", *QUICK, "--report", "page.html")
    page = Path("page.html").read_text()
    assert "How a&lt;b&gt;&amp;.npz was learned" in page
    assert "<b>&" not in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=|url\(|@import", page)
    for title in ("loss", "accuracy", "learning rate"):
        assert f"<b>{title}</b>" in page
    for kind in ("activations", "gradients", "weights"):
        assert f"Ranges of {kind}" in page
    layers = page.split("Ranges of activations")[1].split("Ranges of gradients")[0]
    assert layers.count("<svg") == 7
    assert "Updates" in page


def broken_off(data: str, *options: str) -> None:
    """A training of ten epochs whose first three are done."""

    def cut(state: object) -> None:
        if state.epoch == 3:  # type: ignore[attr-defined]
            raise RuntimeError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fastconv.train.report.Report.step", lambda self, state: cut(state))
        with pytest.raises(RuntimeError):
            cli.main(["train", data, *QUICK, "--epochs", "10", "--report", "page.html", *options])


@pytest.mark.parametrize("batch", ["16", "72"])
def test_what_goes_on_counts_from_where_it_was(
    batch: str, data_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ranges are known from the fourth epoch on, and say so; figures and times are those of all ten."""
    broken_off(data_file, "--batch", batch)
    capsys.readouterr()
    said, errors = run(
        capsys,
        "train",
        data_file,
        *QUICK,
        "--epochs",
        "10",
        "--batch",
        batch,
        "--resume",
        "--report",
        "page.html",
    )
    assert re.findall(r"^epoch +(\d+)/10 ", errors, re.MULTILINE) == [str(n) for n in range(4, 11)]
    assert said.count("\n10 epochs in ") == 1
    page = Path("page.html").read_text()
    over_time, ranges = page.split("Ranges of activations")
    ends = re.compile(r">(\d+)</text><text [^>]*>epoch (\d+)<")
    assert set(ends.findall(over_time)) == {("1", "10")}
    assert set(ends.findall(ranges)) == {("4", "10")}
    record = load_model("model.fcn").record
    assert record["seconds"] == pytest.approx(sum(record["history"]["seconds"]), abs=1e-3)
    # from weights that it has not seen, the report must not tell how far a step went
    updates = page.split("Updates")[1]
    assert min(line.count(",") for line in re.findall(r'points="([^"]*)"', updates)) == (
        7 if batch == "16" else 6
    )


def test_a_report_changes_no_bit(data_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "train", data_file, *QUICK, "-o", "a.fcn")
    run(capsys, "train", data_file, *QUICK, "-o", "b.fcn", "--report", "page.html")
    one, two = (load_model(name).net.state_dict() for name in ("a.fcn", "b.fcn"))
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--net rleu", "net: item 1, 'rleu'"),
        ("--net", "--net"),
        ("--features 0", "--features"),
        ("--features 3 --net fc", "--features 3: contradicts --net"),
        ("--feature-size 20 --net deck", "do not fit"),
        ("--epochs 0", "--epochs 0: must be at least 1"),
        ("--epochs 1.5", "--epochs"),
        ("--lr 0", "--lr 0: must be above 0"),
        ("--lr 1e30 --net fc,elu,fc --optimizer sgd", "--lr 1e+30: learning failed"),
        ("--batch 1", "--batch 1: must be at least 2 with bn"),
        ("--held-out 1", "--held-out 1: must be above 0 and below 1"),
        ("--optimizer magic", "--optimizer"),
        ("--rotate 200", "rotate=200"),
        ("--resume", "--resume: nothing to go on with: there is no model.fcn.part"),
        ("--resume --restart", "--restart: contradicts"),
        ("--test nowhere", "nowhere: No such file"),
        ("--seconds 3", "seconds"),
        ("--colour --grey", "--grey: contradicts"),
        ("-o .", "--output .: is a directory"),
        ("-o /no/such/folder/m.fcn", "--output /no/such/folder/m.fcn: no such directory"),
        ("--report /no/such/page.html", "--report"),
        ("--report ./model.fcn", "--report ./model.fcn: is the file that --output writes"),
    ],
)
def test_train_refuses_in_one_line(
    arguments: str, words: str, data_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = cli.main(["train", data_file, "--net", NET, *arguments.split()])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    assert code == 2
    last = said.err.strip().splitlines()[-1]
    assert last.startswith("fastconv train: error: ")
    assert words in last
    assert os.listdir() == []


def test_data_is_not_overwritten(data_file: str, refusal: Refusal) -> None:
    shutil.copy(data_file, "data.npz")
    assert "would overwrite the data" in refusal("train", "data.npz", "-o", "./data.npz")
    assert "would overwrite the data" in refusal("train", "data.npz", "--report", "data.npz")


@pytest.mark.parametrize("name", ["nowhere", "empty.npz", "text.npz", "."])
def test_data_that_is_none(name: str, refusal: Refusal) -> None:
    Path("empty.npz").touch()
    Path("text.npz").write_text("no arrays")
    assert refusal("train", name).startswith(f"fastconv train: error: {name}: ")


# ---- show ----------------------------------------------------------------------------------------------


def test_show(model_file: str, capsys: pytest.CaptureFixture[str], refusal: Refusal) -> None:
    """Classes, preprocessing, layers, losses; also under a name that says nothing."""
    shutil.copy(model_file, "model")
    for name in (model_file, "model"):
        said, _ = run(capsys, "show", name)
        check_plain(said)
        for words in (
            "classes: 0, 1, 2",
            "input: images, 1x8x8",
            f"net: {NET}",
            "made by fastconv",
            "Conv2d(",
        ):
            assert words in said
        assert re.search(r"Held out: [\d.]+% of 18 right", said)
        assert said.count("(kept)") == 1
    assert "--shape: goes with ONNX models" in refusal("show", model_file, "--shape", "1x1x8x8")
    Path("model").write_bytes(b"{" * 100)
    os.rename("model", "model.fcn")
    assert "model.fcn: is no model file of fastconv" in refusal("show", "model.fcn")
    assert "No such file" in refusal("show", "nowhere.fcn")


# ---- predict -------------------------------------------------------------------------------------------


@pytest.fixture
def files(own_folder: Path) -> list[str]:
    """Six pictures, two of each class."""
    names = []
    for i, picture in enumerate(pictures(6, 9)[0]):
        names.append(f"{i}.png")
        Image.fromarray(picture).save(names[-1])
    return names


def test_predict_in_every_form(model_file: str, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model(model_file)
    votes = model.votes(np.stack([model.preprocessing.read(name) for name in files]))
    winners = [model.classes[i] for i in votes.argmax(1)]
    lines = run(capsys, "predict", model_file, *files)[0].splitlines()
    for name, line, vote, winner in zip(files, lines, votes, winners):
        assert re.fullmatch(rf"{name}: .*  -> {winner} \([\d.]+%\)", line)
        assert f"0 {vote[0]:.2f}" in line
    told = json.loads(run(capsys, "predict", model_file, "--json", *files)[0])
    assert [each["class"] for each in told] == winners
    assert told[2]["votes"]["1"] == pytest.approx(votes[2, 1], rel=1e-6)
    assert sum(told[2]["probabilities"].values()) == pytest.approx(1)
    table = list(csv.reader(io.StringIO(run(capsys, "predict", model_file, "--csv", *files)[0])))
    assert table[0] == ["file", "class", "probability", "0", "1", "2"]
    assert [row[1] for row in table[1:]] == winners
    assert float(table[3][4]) == pytest.approx(votes[2, 1], rel=1e-5)


def test_names_from_standard_input(
    model_file: str, files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("1.png\n\n2.png\r\n"))
    said, _ = run(capsys, "predict", model_file, "0.png", "-", "3.png")
    assert [line.split(":")[0] for line in said.splitlines()] == ["0.png", "1.png", "2.png", "3.png"]


def test_one_bad_file_is_told_and_counted(
    model_file: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are judged all the same."""
    Path("bad\n[b].png").write_bytes(b"no picture")
    assert cli.main(["predict", model_file, "0.png", "bad\n[b].png", "nowhere.png", "1.png"]) == 2
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.out.splitlines()] == ["0.png", "1.png"]
    errors = said.err.splitlines()
    assert len(errors) == 3
    assert errors[0].startswith("fastconv predict: bad\\n[b].png: ")
    assert errors[1] == "fastconv predict: nowhere.png: No such file or directory"
    assert errors[2] == "fastconv predict: error: 2 of 4 files could not be read"


def test_predict_refuses(model_file: str, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nowhere.fcn: No such file" in refusal("predict", "nowhere.fcn", "x.png")
    assert "no model file" in refusal("predict", __file__, "x.png")
    assert "FILE" in refusal("predict", model_file)
    assert "--csv" in refusal("predict", model_file, "x.png", "--json", "--csv")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "standard input names no file" in refusal("predict", model_file, "-")


def test_a_reader_that_has_seen_enough(model_file: str, files: list[str]) -> None:
    """`| head -1` ends quietly."""
    arguments = [sys.executable, "-W", "error", "-m", "fastconv", "predict", model_file, *files * 3000]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(30) == 1


# ---- evaluate ------------------------------------------------------------------------------------------


def test_evaluate(model_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures, and two pictures; as JSON the same."""
    x, y = pictures(300, 6)
    x[:60] //= 3  # too dark to be told apart
    np.savez("test.npz", x=x, y=y)
    said, _ = run(capsys, "evaluate", model_file, "test.npz")
    check_plain(said)
    assert re.search(r"^\d+ of 300 right: [\d.]+% \(95% interval", said, re.MULTILINE)
    for words in ("precision", "recall", "taken for", "Calibration: ", "how sure"):
        assert words in said
    assert "has learned from" not in said
    for name in ("evaluation.png", "mistakes.png"):
        with Image.open(name) as picture:
            assert min(picture.size) > 200
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    told = json.loads(run(capsys, "evaluate", model_file, "test.npz", "--json", "--no-pictures")[0])
    assert f"{told['right']:,} of 300 right: {told['accuracy']:.2%}" in said
    assert np.sum(told["confusion"]) == told["count"] == 300
    assert told["classes"][1]["name"] == "1"


def test_what_was_held_out_alone(
    data_file: str, capsys: pytest.CaptureFixture[str], refusal: Refusal
) -> None:
    """The figure of the training comes again; data that the model has learned from is called that."""
    trained, _ = run(capsys, "train", data_file, *QUICK)
    line = re.search(r"^Held out: (.*)$", trained, re.MULTILINE)
    assert line is not None
    said, _ = run(capsys, "evaluate", "model.fcn", data_file, "--held-out", "--no-pictures")
    assert said.splitlines()[0] == line[1]
    said, _ = run(capsys, "evaluate", "model.fcn", data_file, "--no-pictures")
    assert "The model has learned from 72 of these" in said
    x, y = pictures(30, 5)
    np.savez("other.npz", x=x, y=y)
    assert "--held-out: other.npz is not what" in refusal("evaluate", "model.fcn", "other.npz", "--held-out")


def test_evaluate_refuses(model_file: str, data_file: str, folder: Path, refusal: Refusal) -> None:
    assert "folder bottom, must be one of 0, 1, 2" in refusal("evaluate", model_file, str(folder))
    assert "nowhere: No such file" in refusal("evaluate", model_file, "nowhere")
    assert "--picture x.txt: must end in" in refusal("evaluate", model_file, data_file, "--picture", "x.txt")
    assert "contradicts" in refusal("evaluate", model_file, data_file, "--picture", "x.png", "--no-pictures")
    assert "--picture writes" in refusal(
        "evaluate", model_file, data_file, "--picture", "a.png", "--gallery", "./a.png"
    )
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (("train", "{data}", *QUICK), "{here}/model.fcn.part/settings.json"),
        (("evaluate", "{model}", "{data}"), "--picture evaluation.png"),
        (("search", "{data}", "--jobs", "1"), "{here}/model.fcn.search/plan.json"),
    ],
    ids=("train", "evaluate", "search"),
)
def test_a_full_disk(
    arguments: tuple[str, ...],
    start: str,
    data_file: str,
    model_file: str,
    own_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told of the file that has no room: the system names none, and output is not to blame."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    assert cli.main([each.format(data=data_file, model=model_file) for each in arguments]) == 2
    line = capsys.readouterr().err
    command = arguments[0]
    assert line == f"fastconv {command}: error: {start.format(here=own_folder)}: No space left on device\n"
    assert os.listdir() == []


# ---- extras --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("rich", ("train", "{data}")),
        ("safetensors", ("train", "{data}")),
        ("safetensors", ("search", "{data}")),
        ("safetensors", ("show", "{model}")),
        ("matplotlib", ("search", "{data}")),
        ("matplotlib", ("evaluate", "{model}", "{data}")),
    ],
)
def test_what_is_missing_is_told_before_anything_is_learned(
    module: str,
    arguments: tuple[str, ...],
    data_file: str,
    model_file: str,
    refusal: Refusal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("fastconv.nn.fit", None)
    line = refusal(*(argument.format(data=data_file, model=model_file) for argument in arguments))
    assert "pip install 'fastconv[cli]'" in line
    assert os.listdir() == []


def test_help_imports_no_training() -> None:
    """`fastconv --help` stays quick: what trains is imported by those who train."""
    code = "import sys, fastconv.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "fastconv.train.options" in loaded
    assert not {"fastconv.interop.command", "fastconv.train.training", "fastconv.train.model_file"} & loaded
