"""`fastconv run`, `show` and `bench`: what they print and write, and their one line when they refuse."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastconv import cli, get_num_threads, nn
from fastconv.graph import Graph, Node, Value

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
from fastconv.interop.onnx import export  # noqa: E402

Call = Callable[..., tuple[int, str, str]]
F32 = np.dtype(np.float32)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command in a folder with a small model, net.onnx; exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    export(net(), "net.onnx", (1, 3, 8, 8), name="votes", metadata={"author": "nobody"})

    def command(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
        return (code, *capsys.readouterr())

    return command


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, rng=0), nn.ReLU(), nn.GlobalAvgPool(), nn.Flatten(), nn.Linear(4, 6, rng=1)
    )


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def model_of(path: str, *inputs: Value, operator: str = "Relu") -> None:
    """A model of one node."""
    made = Value("y")
    export(Graph(inputs, [Node(operator, inputs, [made])], [made]), path)


# ---- run ----------------------------------------------------------------------------------------------


def test_outputs_are_shown_in_short_and_kept_whole(call: Call) -> None:
    """Shape, range and the largest values of rows are printed; the file has every number."""
    x = drawn(2, 3, 8, 8)
    np.save("x.npy", x)
    expected = net()(x)
    code, out, err = call("run", "net.onnx", "x.npy", "-o", "out.npz")
    assert (code, err) == (0, "")
    assert out.startswith("output: float32 (2, 6), ")
    assert f"row 0: [{expected[0].argmax()}] " in out
    with np.load("out.npz") as kept:
        assert np.allclose(kept["output"], expected, atol=1e-5)


def test_json_is_for_other_programs(call: Call) -> None:
    """One object, nothing else; what is not finite is null."""
    model_of("relu.onnx", Value("x", F32, (None,)))
    np.save("x.npy", np.array([1, np.inf, -1], np.float32))
    code, out, _ = call("run", "relu.onnx", "x.npy", "--json")
    assert code == 0
    assert json.loads(out)["outputs"] == [
        {"name": "y", "dtype": "float32", "shape": [3], "values": [1.0, None, 0.0]}
    ]


def test_inputs_go_by_name_or_in_order(call: Call) -> None:
    """From several files, or one .npz with their names."""
    model_of("sub.onnx", Value("a", F32, (2,)), Value("b", F32, (2,)), operator="Sub")
    a, b = np.array([5, 6], np.float32), np.array([1, 4], np.float32)
    np.save("a.npy", a)
    np.save("b.npy", b)
    np.savez("both.npz", b=b, a=a)
    for given in (("a.npy", "b.npy"), ("b=b.npy", "a=a.npy"), ("both.npz",), ("b=b.npy", "a.npy")):
        code, out, err = call("run", "sub.onnx", *given, "--json")
        assert code == 0, err
        assert json.loads(out)["outputs"][0]["values"] == [4.0, 2.0]


def test_pictures_come_in_the_size_and_order_of_the_model(call: Call) -> None:
    """Scaled to 0..1, normalised if asked for; colours first or last as the model declares."""
    images = pytest.importorskip("PIL.Image")
    images.new("RGB", (20, 10), (255, 0, 51)).save("p.png")
    model_of("first.onnx", Value("x", F32, (1, 3, 4, 5)), operator="Neg")
    model_of("last.onnx", Value("x", F32, (1, 6, 5, 3)), operator="Neg")
    model_of("whole.onnx", Value("x", np.dtype(np.uint8), (1, None, None, 1)), operator="Identity")
    assert call("run", "first.onnx", "p.png", "-o", "y.npz")[0] == 0
    first = -np.load("y.npz")["y"]
    assert first.shape == (1, 3, 4, 5)
    assert np.allclose(first[0, :, 0, 0], [1, 0, 0.2])
    assert call("run", "last.onnx", "p.png", "--mean", "1,0,0", "--std", "2", "-o", "y.npz")[0] == 0
    assert np.allclose(-np.load("y.npz")["y"][0, 0, 0], [0, 0, 0.1])
    assert call("run", "whole.onnx", "p.png", "-o", "y.npz")[0] == 0
    (whole,) = np.load("y.npz").values()
    assert (whole.shape, whole.dtype) == ((1, 10, 20, 1), np.uint8)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sound_is_samples_in_minus_1_to_1(width: int, call: Call) -> None:
    """Of any width; mixed where the model takes one channel."""
    samples = np.array([[-(2 ** (8 * width - 1)), 0], [2 ** (8 * width - 2)] * 2], np.int64)
    if width == 1:
        samples += 128
    with wave.open("s.wav", "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(b"".join(int(n).to_bytes(width, "little", signed=width > 1) for n in samples.flat))
    model_of("stereo.onnx", Value("x", F32, (1, 2, None)), operator="Neg")
    model_of("mono.onnx", Value("x", F32, (None,)), operator="Neg")
    assert call("run", "stereo.onnx", "s.wav", "-o", "y.npz")[0] == 0
    assert np.allclose(-np.load("y.npz")["y"], [[[-1, 0.5], [0, 0.5]]])
    assert call("run", "mono.onnx", "s.wav", "-o", "y.npz")[0] == 0
    assert np.allclose(-np.load("y.npz")["y"], [-0.5, 0.5])


# ---- show and bench -----------------------------------------------------------------------------------


def test_show_prints_the_summary_and_draws(call: Call) -> None:
    """What the file declares, a line per node, and a picture where it is wanted."""
    code, out, err = call("show", "net.onnx", "--shape", "2x3x8x8", "--picture", "net.svg")
    assert (code, err) == (0, "")
    assert "in   input: float32[batch, 3, 8, 8]" in out
    assert "author: nobody" in out
    assert re.search(r"Conv \+ Relu +\(2, 4, 6, 6\)", out)
    assert "Picture written to net.svg" in out
    assert Path("net.svg").read_text(encoding="utf-8").startswith("<svg")


def test_bench_compares_and_names_the_machine(call: Call) -> None:
    """Medians with their spread, the same threads, how far results are apart; threads are put back."""
    before = get_num_threads()
    code, out, err = call("bench", "net.onnx", "--repeats", "3", "--threads", "1")
    assert (code, err) == (0, "")
    assert "1 thread, " in out.splitlines()[0]
    assert re.search(r"^fastconv \S+ +[\d.]+ +[\d.]+ - [\d.]+ ", out, re.MULTILINE)
    assert re.search(r"^onnxruntime \S+ ", out, re.MULTILINE) or "not installed" in out
    assert get_num_threads() == before


def test_bench_without_onnxruntime_says_so(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is timed alone."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, out, _ = call("bench", "net.onnx", "--repeats", "1")
    assert code == 0
    assert "onnxruntime is not installed" in out


# ---- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("run none.onnx x.npy", "none.onnx: No such file"),
        ("run x.npy x.npy", "x.npy: model: is no ONNX model"),
        ("run net.onnx", "input 'input': not given"),
        ("run net.onnx none.npy", "none.npy: No such file"),
        ("run net.onnx net.onnx", "ends in none of"),
        ("run net.onnx broken.npy", "broken.npy: holds no arrays"),
        ("run net.onnx broken.png", "broken.png: is no picture"),
        ("run net.onnx broken.wav", "broken.wav: no WAV file"),
        ("run net.onnx x.npy x.npy", "no more than 1 inputs"),
        ("run net.onnx other=x.npy", "no input 'other'"),
        ("run net.onnx small.npy", "input 'input': shape (2,)"),
        ("run net.onnx x.npy -o nowhere/out.npz", "no such directory"),
        ("run net.onnx x.npy -o net.onnx", "would overwrite the model"),
        ("run net.onnx x.npy --mean one", "is not a number"),
        ("show net.onnx --shape 3", "must be (batch, 3, 8, 8)"),
        ("show net.onnx --shape other=3", "no such input"),
        ("show net.onnx --shape 3x", "is no shape"),
        ("show net.onnx --picture .", "is a directory"),
        ("show net.onnx --picture net.png", "--picture net.png: must end in .svg"),
        ("bench net.onnx --repeats 0", "no whole number"),
    ],
)
def test_refused_in_one_line(arguments: str, words: str, call: Call) -> None:
    """Naming the file, input or option; nothing is printed, and nothing written."""
    np.save("x.npy", drawn(1, 3, 8, 8))
    np.save("small.npy", drawn(2))
    for name in ("broken.npy", "broken.png", "broken.wav"):
        Path(name).write_bytes(b"nothing")
    before = sorted(os.listdir())
    code, out, err = call(*arguments.split())
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert out == ""
    assert sorted(os.listdir()) == before


def test_every_command_explains_itself(call: Call) -> None:
    """With examples."""
    for command in ("run", "show", "bench"):
        code, out, _ = call(command, "--help")
        assert code == 0
        assert f"fastconv {command} net.onnx" in out


def test_without_onnx_the_extra_is_named() -> None:
    """And every other command works."""
    blocked = "import sys; sys.modules['onnx'] = None; from fastconv.cli import main; "
    for arguments, code in ((["show", "net.onnx"], 2), (["config"], 0)):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", f"{blocked}sys.exit(main({arguments}))"],
            capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}main(['show', 'net.onnx'])"],
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.stderr == (
        "fastconv show: error: needs onnx, which is not installed: pip install 'fastconv[onnx]'\n"
    )
