"""The `fastconv` command from outside: what it prints and writes, and its one line when it refuses."""

from __future__ import annotations

import errno
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import cli, terminal, xo

Image = pytest.importorskip("PIL.Image", reason="the command needs the extra cli")

QUICK = ("--train", "100", "--unseen", "60", "--epochs", "1")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command in a folder of its own; warnings are errors."""

    def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "fastconv", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    return command


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network that has learned well enough to judge clean letters."""
    knobs, lesson = xo.Knobs(), xo.Lesson(train=2000, epochs=5, unseen=50)
    path = tmp_path_factory.mktemp("model") / "net.npz"
    xo.save_model(path, xo.learn(knobs, lesson).network, knobs, lesson)
    return str(path)


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """x.png, dark on light, and o.png, light on dark, 90 pixels wide; in the folder the command runs in."""
    pictures, _ = xo.deck_pictures()
    for name, picture, ink in (("x", pictures[0, 0], 0), ("o", pictures[5, 0], 255)):
        pixels = np.where(picture > 0, ink, 255 - ink).repeat(10, 0).repeat(10, 1).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def check_plain(text: str) -> None:
    """No control characters but line ends."""
    assert not [c for c in text if c != "\n" and not c.isprintable()]


# ---- the demonstration -------------------------------------------------------------------------------


def test_the_whole_demonstration(run: Run, tmp_path: Path) -> None:
    """9 of 10 by hand, 10 of 10 and at least 99 % learned, a figure; with nothing but defaults."""
    done = run("xo")
    assert done.returncode == 0, done.stderr
    check_plain(done.stdout)
    check_plain(done.stderr)
    by_hand, learned = done.stdout.split("Learning from random weights")
    assert "9 of 10 right." in by_hand
    assert by_hand.count("right") == 9 + 1
    assert by_hand.count("wrong") == 1
    assert "X weight" in by_hand
    assert "10 of 10 right." in learned
    share = re.search(r"([\d,]+) of 2,000 unseen pictures right: ([\d.]+)%", learned)
    assert share is not None
    assert float(share[2]) >= 99
    with Image.open(tmp_path / "xo.png") as figure:
        assert figure.format == "PNG"
        assert min(figure.size) > 1000
        assert len(np.unique(np.asarray(figure.convert("L")))) > 50
    assert os.listdir(tmp_path) == ["xo.png"]


def test_every_knob_is_an_option(run: Run, tmp_path: Path) -> None:
    """Given on the command line, each shows in the network that is learned."""
    knobs = ("--size", "12", "--features", "5,6", "--feature-size", "2", "--pool", "3", "--stride", "3")
    more = ("--hidden", "7,8", "--seed", "3", "--learn", "backprop", "--layers", "conv,relu,conv,pool")
    done = run("xo", *QUICK, *knobs, *more, "--output", "figure.svg", "--noise", "0", "--scale", "0.7,1")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "12x12 picture, 5 features 2x2, relu, 6 features 2x2, pool 3/3, 7 hidden, 8 hidden" in said
    assert "Learned from 100 pictures, once each" in said
    assert "of 60 unseen pictures" in said
    assert (tmp_path / "figure.svg").read_text().startswith("<?xml")
    assert os.listdir(tmp_path) == ["figure.svg"]


def test_nudging_says_what_it_costs(run: Run, tmp_path: Path) -> None:
    """--learn nudge learns the example's first network and compares a step with backprop."""
    done = run("xo", "--learn", "nudge", *QUICK, "--no-picture")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "6 features 3x3, relu, pool 2/2, pool 2/2, 2 votes: 110 weights" in said
    assert re.search(r"220 evaluations, [\d.e+]+ ms per step; backprop: [\d.e+]+ ms", said)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--lr", "0.0000001"), "It has learned nothing: "),
        (("--train", "300", "--epochs", "2"), "It has not learned enough: "),
    ],
)
def test_a_training_that_ended_badly_says_so(
    arguments: tuple[str, ...], words: str, run: Run, letters: Path
) -> None:
    """In words, with what to try; also where pictures of the user's own are judged by what it has learned."""
    for pictures in ((), ("x.png",)):
        done = run("xo", *pictures, *QUICK, "--no-picture", *arguments)
        assert done.returncode == 0
        assert words in done.stdout
        assert "Try another --seed" in " ".join(done.stdout.split())
    good = run("xo", "--train", "2000", "--epochs", "5", "--unseen", "200", "--no-picture")
    assert "It has" not in good.stdout


def test_same_seed_same_output(run: Run) -> None:
    """Apart from times, two runs say the same."""
    one, two = (re.sub(r"in [\d.]+ s", "", run("xo", *QUICK, "--no-picture").stdout) for _ in range(2))
    assert one == two
    other = re.sub(r"in [\d.]+ s", "", run("xo", *QUICK, "--no-picture", "--seed", "1").stdout)
    assert one != other


def test_terminal_gets_colours_and_a_bar(model: str, tmp_path: Path) -> None:
    """On a terminal: escape sequences, and a bar that moves."""
    arguments = [sys.executable, "-m", "fastconv", "xo", *QUICK, "--no-picture"]
    outer, inner = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        arguments, stdout=inner, stderr=inner, stdin=inner, cwd=tmp_path, env=environment
    )
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
    text = shown.decode()
    assert "\x1b[" in text
    assert "epoch" in text
    assert "━" in text
    assert "▀" in text


# ---- pictures of the user's own ------------------------------------------------------------------------


def test_pictures_are_judged(run: Run, letters: Path, model: str) -> None:
    """Several files: drawn, with votes and verdict each, and no figure unless asked for."""
    done = run("xo", "--model", model, "x.png", "o.png")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^x\.png: X \S+  O \S+  -> X$", done.stdout, re.MULTILINE)
    assert re.search(r"^o\.png: X \S+  O \S+  -> O$", done.stdout, re.MULTILINE)
    assert "it is an X" in done.stdout
    assert done.stderr == ""
    check_plain(done.stdout)
    assert sorted(os.listdir(letters)) == ["o.png", "x.png"]


def test_learns_before_judging(run: Run, letters: Path) -> None:
    """Without a model it learns first, keeps what it has learned, and draws the figure asked for."""
    done = run("xo", "x.png", *QUICK, "--size", "11", "--save", "net", "--output", "way.png")
    assert done.returncode == 0, done.stderr
    assert "x.png: X" in done.stdout
    assert sorted(os.listdir(letters)) == ["net", "o.png", "way.png", "x.png"]
    assert xo.load_model(letters / "net")[1].size == 11


def test_kept_network_judges_the_same(run: Run, tmp_path: Path) -> None:
    """The demonstration with a kept network shows what the one that learned it showed."""
    learned = run("xo", *QUICK, "--save", "net.npz", "--no-picture").stdout
    kept = run("xo", "--model", "net.npz", "--no-picture").stdout
    assert kept.partition("What it has learned")[2] == learned.partition("What it has learned")[2] != ""
    assert "Learning" not in kept


def test_odd_file_names(run: Run, letters: Path, model: str) -> None:
    """Names with markup, line ends and bytes that are no text come out as one printable line."""
    content = (letters / "x.png").read_bytes()
    name = os.fsdecode(b"[bold]\n\xff.png")
    (letters / name).write_bytes(content)
    done = run("xo", "--model", model, name, "--output", "way.png")
    assert done.returncode == 0, done.stderr
    check_plain(done.stdout)
    assert "[bold]\\n\\udcff.png: X" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_old_encodings(run: Run, letters: Path, model: str, encoding: str) -> None:
    """Where there are no block characters, pictures are drawn with # and dots."""
    done = run("xo", "--model", model, "x.png", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert ".#.....#." in done.stdout
    assert done.stdout.isascii()


# ---- refusals ------------------------------------------------------------------------------------------


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr, of a command that exits with 2 and prints nothing else."""
    try:
        code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code  # type: ignore[assignment]
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        "--size 4",
        "--size nine",
        "--size 100000",
        "--features 0",
        "--features 3,x",
        "--features 1,2,3,4",
        "--feature-size 10",
        "--feature-size 0",
        "--pool 20",
        "--pool 0",
        "--stride 0",
        "--hidden 0,3",
        "--hidden 1000000000",
        "--layers conv,tanh",
        "--layers pool",
        "--learn magic",
        "--train 0",
        "--train 1000000000",
        "--unseen 0",
        "--epochs 0",
        "--epochs 1.5",
        "--batch 0",
        "--lr 0",
        "--lr nan",
        "--seed -1",
        "--noise 2",
        "--rotation 90",
        "--translation -1",
        "--scale 1,0.5",
        "--scale 1",
        "--weight 0,2",
        "--output /no/such/folder/xo.png",
        "--output .",
        "--output xo.unknown",
        "--output /dev/null",
        "--output a.png --no-picture",
        "--save /no/such/folder/net",
        "--save .",
        "--model /no/such/file",
        "--model .",
    ],
)
def test_options_that_cannot_work(
    arguments: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names the option; nothing is learned, printed or written before."""
    monkeypatch.chdir(tmp_path)
    line = refusal(["xo", *arguments.split()], capsys)
    assert line.startswith("fastconv xo: error: ")
    assert arguments.split()[0] in line
    assert os.listdir(tmp_path) == []


def test_a_figure_that_nobody_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the default cannot be written, the line says what was tried and what to do: no option is blamed."""
    monkeypatch.chdir(tmp_path)
    way_out = "; --output FILE writes it elsewhere, --no-picture not at all\n"
    start = "fastconv xo: error: cannot write the figure to xo.png: "
    with monkeypatch.context() as locked:
        locked.setattr("os.access", lambda path, mode: False)
        assert refusal(["xo"], capsys) == f"{start}no permission to write in {tmp_path}{way_out}"
        line = refusal(["xo", "--output", "way.png"], capsys)
        assert line == f"fastconv xo: error: --output way.png: no permission to write in {tmp_path}\n"
    assert refusal(["xo", "--save", "xo.png"], capsys) == f"{start}is the file that --save writes{way_out}"
    (tmp_path / "xo.png").mkdir()
    assert refusal(["xo"], capsys) == f"{start}is a directory{way_out}"
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert refusal(["xo"], capsys) == f"{start}the current directory does not exist any more{way_out}"


@pytest.mark.parametrize("arguments", [(), ("--output", "xo.png")])
def test_a_disk_that_is_full_by_then(
    arguments: tuple[str, ...],
    model: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What only shows when the figure is written is one line as well, and leaves no part of a file."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.replace", full)
    assert cli.main(["xo", "--model", model, *arguments]) == 2
    line = capsys.readouterr().err
    if arguments:
        assert line == "fastconv xo: error: --output xo.png: No space left on device\n"
    else:
        assert line.startswith(
            "fastconv xo: error: cannot write the figure to xo.png: No space left on device; "
        )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("typed", ["", " --feature-size 3"])
def test_a_default_that_does_not_fit_is_called_one(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has typed it."""
    line = refusal(["xo", *f"--layers conv,conv,conv,conv,conv{typed}".split()], capsys)
    assert f"--feature-size 3{'' if typed else ' (the default)'}: is larger than the 1x1 maps" in line


def test_too_few_pictures_are_known_before_anything_is_learned(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those to learn from, and those to be judged by."""
    generate, calls = xo.generate, []

    def scarce(*arguments: Any, **more: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise ValueError("no more")
        return generate(*arguments, **more)

    monkeypatch.setattr("fastconv.xo.training.generate", scarce)
    monkeypatch.setattr("fastconv.nn.fit", None)
    assert cli.main(["xo", "--no-picture", "--train", "10"]) == 2
    assert "--unseen 2000 (the default): is more pictures than can be" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--size=9", "--features=3", "--epochs=1", "--noise=0", "--save=net"])
def test_a_kept_network_is_not_learned(option: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Options of learning contradict --model."""
    assert option.split("=")[0] in refusal(["xo", "--model", model, option], capsys)


@pytest.mark.parametrize("name", ["missing.png", "text.png", "empty.png", "folder", "pipe", "cut.png"])
def test_files_that_are_no_pictures(
    name: str,
    letters: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line on stderr and exit code 2, also where a good file comes first; nothing is judged."""
    (letters / "text.png").write_text("no picture\n")
    (letters / "empty.png").touch()
    (letters / "folder").mkdir()
    os.mkfifo(letters / "pipe")
    (letters / "cut.png").write_bytes((letters / "x.png").read_bytes()[:50])
    monkeypatch.chdir(letters)
    line = refusal(["xo", "--model", model, "x.png", name], capsys)
    assert line.startswith(f"fastconv xo: error: {name}: ")


def test_pictures_are_not_overwritten(
    letters: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by the figure nor by the network, under whatever name."""
    monkeypatch.chdir(letters)
    (letters / "link.png").symlink_to("x.png")
    assert "--output" in refusal(["xo", "x.png", "--output", "./x.png"], capsys)
    assert "--output" in refusal(["xo", "link.png", "--output", "x.png"], capsys)
    assert "--save" in refusal(["xo", "x.png", "--save", "x.png"], capsys)
    assert "--output" in refusal(["xo", "--save", "a.png", "--output", "a.png"], capsys)


def test_learning_that_diverges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learning rate that ends in infinity is one line naming --lr."""
    monkeypatch.chdir(tmp_path)
    code = cli.main(["xo", "--lr", "1e30", "--train", "200", "--unseen", "10", "--no-picture"])
    assert code == 2
    assert re.search(r"^fastconv xo: error: --lr 1e\+30: .*\n\Z", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("rich", ["--model", "{model}", "--no-picture"]),
        ("PIL", ["--model", "{model}", "x.png"]),
        ("matplotlib", ["--model", "{model}"]),
    ],
)
def test_missing_extras(
    module: str,
    arguments: list[str],
    model: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line that tells how to install what is missing."""
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    line = refusal(["xo", *(argument.format(model=model) for argument in arguments)], capsys)
    assert "pip install 'fastconv[cli]'" in line


def test_import_brings_no_extras(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """`import fastconv.cli` and `fastconv config` work with NumPy alone."""
    code = """
import sys
for name in ("rich", "PIL", "matplotlib"):
    sys.modules[name] = None
import fastconv.xo
from fastconv.cli import main
assert main(["config"]) == 0
assert main([]) == 0
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert fastconv.get_isa() in done.stdout


# ---- output that nobody takes --------------------------------------------------------------------------


def test_reader_that_leaves(model: str, tmp_path: Path) -> None:
    """`fastconv xo | head -1` ends without a complaint."""
    command = f'"{sys.executable}" -W error -m fastconv xo --model "{model}" --no-picture | head -1'
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_full_disk(model: str, tmp_path: Path) -> None:
    """Output that cannot be written is one line and a failure."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "fastconv", "xo", "--model", model, "--no-picture"],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("fastconv xo: error: cannot write the output")
    assert done.stderr.count("\n") == 1


# ---- the rest ------------------------------------------------------------------------------------------


def test_version_help_and_config(capsys: pytest.CaptureFixture[str]) -> None:
    """--version, --help with examples for each command, and config as show_config prints it."""
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"fastconv {fastconv.__version__}\n"
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    assert {"xo", "config"} <= set(capsys.readouterr().out.split())
    with pytest.raises(SystemExit, match="0"):
        cli.main(["xo", "--help"])
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "fastconv xo my.png" in text
    assert cli.main(["config"]) == 0
    printed = capsys.readouterr().out
    fastconv.show_config()
    assert printed == capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["xo", "--nonsense"], ["xo", "--siz", "9"]]
)
def test_unknown_words(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown commands and options, abbreviated ones too, are one line and exit code 2."""
    assert refusal(arguments, capsys).startswith("fastconv")


def test_interrupted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with the usual code and no traceback."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastconv.xo.command.learn", interrupt)
    assert cli.main(["xo", "--no-picture"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_drawing() -> None:
    """Two rows of pixels in a line of half blocks; an odd last row alone."""
    picture = np.array([[1, -1, 1, -1], [-1, -1, 1, 1], [1, 1, -1, -1]])
    assert terminal.draw(picture) == ["▀ █▄", "▀▀  "]


def test_printable() -> None:
    """Control characters become escapes, letters stay."""
    assert terminal.printable("é\t\x1b[0m") == "é\\t\\x1b[0m"


def test_a_figure_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ending says the format; what cannot be written leaves the old file, and names it."""
    figure = pytest.importorskip("matplotlib.figure").Figure()
    for ending, start in ((".png", b"\x89PNG"), (".SVG", b"<?xml"), (".pdf", b"%PDF")):
        terminal.save_figure(figure, tmp_path / f"a{ending}")
        assert (tmp_path / f"a{ending}").read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"a\.txt': must end in \.png, \.svg or \.pdf"):
        terminal.save_figure(figure, tmp_path / "a.txt")
    with pytest.raises(OSError, match=r"nowhere/a\.png") as caught:
        terminal.save_figure(figure, tmp_path / "nowhere" / "a.png")
    assert caught.value.errno == errno.ENOENT

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    (tmp_path / "a.png").write_text("old")
    with pytest.raises(OSError, match=r"No space left on device: '.*/a\.png'$"):
        terminal.save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["a.SVG", "a.pdf", "a.png"]


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("new.png", None),
        ("new.PDF", None),
        ("new", "must end in .png, .svg or .pdf"),
        ("here.txt.gif", "must end in .png, .svg or .pdf"),
        ("input.png", "would overwrite the data"),
        ("nowhere/new.txt", "no such directory: {}/nowhere"),
    ],
)
def test_a_picture_that_cannot_be_drawn(
    path: str, fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("input.png").touch()
    wanted = fault and fault.format(tmp_path)
    assert terminal.picture_fault(path, ["./input.png"], "data") == wanted
    assert terminal.picture_fault("new.png", endings=(".svg",)) == "must end in .svg"


def test_counting(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that is gone at the end; where nobody looks, none."""
    with terminal.counting("orders") as tell:
        assert tell is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with terminal.counting("orders") as tell:
        assert tell is not None
        tell(3, 1200)
    assert capsys.readouterr().err == "\r3 of 1,200 orders\r\x1b[K"
