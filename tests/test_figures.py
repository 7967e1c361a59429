"""The command that measures the figures: what it reads, what it writes, what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import figures
from benchmarks.figures import FIGURES, HELD_OUT, Bench, MissingError, Row, main, merged, share
from benchmarks.throughput import Contest, _fastconv, _torch, torch_net
from fastconv import get_num_threads
from fastconv.train import parse_net


def page(*lines: str) -> str:
    return "\n".join(["# Figures", figures.BEGIN, *lines, figures.END, "the end"])


def test_a_share_is_read_and_compared_with_what_is_asked() -> None:
    said = "nothing\nHeld out: 1,970 of 2,000 right: 98.50% (95% interval 97% to 99%).\n"
    row = share(said, HELD_OUT, 98.5, "digits", 20, 30)
    assert (row.asked, row.measured, row.good) == ("at least 98.5% within 30 s", "98.5% of 2,000", True)
    assert share(said, HELD_OUT, 98.5, "digits", 31, 30).good is False
    assert share(said, HELD_OUT, 99, "digits", 20).good is False
    assert share(said, HELD_OUT, None, "digits", 20).good is None
    with pytest.raises(RuntimeError, match="no "):
        share("Test: 1 of 2", HELD_OUT, 90, "digits", 1)


def test_rows_of_other_figures_stay_and_all_are_in_order() -> None:
    before = page("| figure |", "|---|", "| digits | old |", "| solids | kept |", "| no-such | gone |")
    after = merged(before, {"xo-9": ["| xo-9 | new |"], "digits": ["| digits | 1 |", "| digits | 2 |"]})
    lines = after.splitlines()
    rows = ["| digits | 1 |", "| digits | 2 |", "| xo-9 | new |", "| solids | kept |"]
    assert lines[2:-2][2:] == rows
    assert (lines[0], lines[-1]) == ("# Figures", "the end")
    assert merged(after, {}) == after
    with pytest.raises(ValueError, match="must have"):
        merged("# Figures", {})


def test_the_page_has_rows_of_known_figures_only() -> None:
    """And the markers that they are written between."""
    text = figures.PAGE.read_text(encoding="utf-8")
    assert merged(text, {}).count("\n| ") == text.count("\n| ") or f"{figures.BEGIN}\n{figures.END}" in text


def test_what_is_missing_is_told_and_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def there(bench: Bench) -> Iterator[Row]:
        assert bench.folder.is_dir()
        yield Row("a thing", "at least 1%", "2% of 3", True, 0.5)

    def not_there(bench: Bench) -> Iterator[Row]:
        raise MissingError("Debian's nothing")
        yield

    monkeypatch.setattr(figures, "FIGURES", {"there": there, "not": not_there})
    monkeypatch.setattr(figures, "PAGE", tmp_path / "figures.md")
    figures.PAGE.write_text(page(), encoding="utf-8")
    assert main(["--write", "--threads", "1"]) == 0
    assert "left out: not: Debian's nothing" in capsys.readouterr().out
    written = figures.PAGE.read_text(encoding="utf-8")
    assert "| there | a thing | at least 1% | 2% of 3 | yes | 0.5 | 1 | " in written
    assert "not" not in written
    monkeypatch.setattr(figures, "FIGURES", {"there": lambda bench: iter([Row("it", "more", "0", False)])})
    assert main(["there"]) == 1


def test_a_command_that_lacks_its_data_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the line that the command ends with."""
    monkeypatch.setattr(figures, "FASHION", str(tmp_path / "none"))
    with pytest.raises(MissingError, match="dataset-fashion-mnist"):
        next(FIGURES["fashion"](Bench(tmp_path, 1)))
    bench = Bench(tmp_path, 1)
    source = ("--source", str(tmp_path))
    with pytest.raises(MissingError, match="mricron-data"):
        bench.run("fastconv.data.examples", "brain", "made", *source)
    with pytest.raises(RuntimeError, match="File exists"):
        bench.run("fastconv.data.examples", "solids", ".")


def test_an_unknown_figure_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["digit"])
    assert "'digit' is none of digits, mnist" in capsys.readouterr().err


def test_both_learn_the_samples_of_a_turn(tmp_path: Path) -> None:
    """From one file; the last batch is not full."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.integers(0, 256, (50, 8, 8), np.uint8), y=np.arange(50) % 2)
    contest = Contest(str(tmp_path / "x.npz"), "conv 4 3 pad same, bn, relu, pool 2, fc", 16, 40)
    for opened in (_fastconv, _torch):
        opened(contest, get_num_threads(), True)()


@pytest.mark.parametrize("spec", [figures.DIGITS_NET, figures.FASHION_NET, figures.MNIST_NET])
def test_torch_is_given_the_same_net(spec: str) -> None:
    """As many parameters of the same shapes; windows of pools over the edge are kept by both."""
    torch = pytest.importorskip("torch")
    ours = parse_net(spec, (1, 28, 28), 10, rng=0)
    theirs = torch_net(spec, 10)
    votes = theirs(torch.zeros(2, 1, 28, 28))
    assert votes.shape == ours(np.zeros((2, 1, 28, 28), np.float32)).shape
    shapes = [tuple(parameter.shape) for parameter in theirs.parameters()]
    assert [parameter.value.shape for parameter in ours.parameters()] == shapes
