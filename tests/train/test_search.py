"""Search: halving, processes, breaks; and a score that nothing was chosen by."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fastconv import cli
from fastconv.data import Dataset, open_dataset
from fastconv.train import (
    Candidate,
    Found,
    Plan,
    Row,
    SettingError,
    Settings,
    Space,
    SpecError,
    halving,
    load_model,
    search,
)
from fastconv.train.halving import Splits

from .conftest import COMMAND, Image, pictures

SPACE = Space(features=(2, 4), feature_size=(2, 3), pool=(2,), stride=(1, 2), neurons=(0, 8), depth=(1, 2))
PLAN = Plan(space=SPACE, trials=6, epochs=4, eta=2, settings=Settings(batch=16))


def test_one_in_eta_goes_on() -> None:
    assert PLAN.rungs() == [(6, 1), (3, 2), (1, 4)]
    assert Plan(space=SPACE, trials=1, epochs=9, settings=Settings()).rungs() == [(1, 9)]
    assert Plan(space=SPACE, trials=100, epochs=1, settings=Settings()).rungs() == [(100, 1)]


def test_choices_fit_and_follow_from_the_seed() -> None:
    drawn = [SPACE.draw(np.random.default_rng(3), (1, 8, 8), 3) for _ in range(2)]
    assert drawn[0] == drawn[1]
    rng = np.random.default_rng(0)
    many = [Space().draw(rng, (1, 8, 8), 3) for _ in range(60)]
    assert len({each.spec for each in many}) > 30
    assert all(each.stride <= each.pool for each in many)
    rates = [each.lr for each in many]
    assert 3e-4 <= min(rates) < 1e-3 < 1e-2 < max(rates) <= 3e-2
    with pytest.raises(SpecError, match="no choice of 1,000 fits the input"):
        Space(feature_size=(50,)).draw(rng, (1, 8, 8), 3)


def test_three_parts_none_in_two(data_file: str) -> None:
    dataset = open_dataset(data_file)
    splits = Splits(dataset, Settings(), False)
    parts = [*splits.choosing, splits.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(90))
    assert [len(part) for part in parts] == [57, 15, 18]
    assert np.bincount(dataset.labels[splits.test]).tolist() == [6, 6, 6]


def found_in(folder: Path, data: str, **options: object) -> tuple[Found, list[Row]]:
    told: list[Row] = []
    found = search(data, PLAN, folder / "best.fcn", on_row=lambda row, _: told.append(row), **options)  # type: ignore[arg-type]
    return found, told


def plain(rows: list[Row]) -> list[tuple[object, ...]]:
    """Rows without the time they took."""
    return sorted((r.trial, r.rung, r.epochs, r.accuracy, r.loss) for r in rows)  # type: ignore[type-var]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data_file: str) -> tuple[Path, Found]:
    folder = tmp_path_factory.mktemp("search")
    return folder, found_in(folder, data_file)[0]


def test_the_better_ones_go_on(whole: tuple[Path, Found], data_file: str) -> None:
    folder, found = whole
    assert isinstance(found.candidates[0], Candidate)
    for rung, (count, epochs) in enumerate(PLAN.rungs()):
        rows = [row for row in found.rows if row.rung == rung]
        assert [row.epochs for row in rows] == [epochs] * count
        if rung:
            ranked = sorted((row for row in found.rows if row.rung == rung - 1), key=lambda row: row.rank)
            assert {row.trial for row in rows} == {row.trial for row in ranked[:count]}
    assert os.listdir(folder) == ["best.fcn"]
    model = load_model(folder / "best.fcn")
    assert model.spec == found.candidates[found.best.trial].spec
    assert len(model.record["search"]["rows"]) == 10


def test_the_score_is_that_of_samples_nothing_was_chosen_by(
    whole: tuple[Path, Found], data_file: str
) -> None:
    _, found = whole
    part = Splits(open_dataset(data_file), PLAN.settings, False).test
    np.testing.assert_array_equal(found.test.indices, part)
    dataset = open_dataset(data_file, preprocessing=found.model.preprocessing)
    x, y = dataset.batch(part)
    assert found.test.accuracy == float((found.model.votes(x).argmax(1) == y).mean())


def test_the_test_part_changes_nothing_that_is_chosen(
    whole: tuple[Path, Found], data_file: str, tmp_path: Path
) -> None:
    """With other pictures in the part that measures, every trial and the net are the same."""
    x, y = (np.load(data_file)[name] for name in "xy")
    x = x.copy()
    x[Splits(open_dataset(data_file), PLAN.settings, False).test] = 7
    np.savez(tmp_path / "three.npz", x=x, y=y)
    found, _ = found_in(tmp_path, str(tmp_path / "three.npz"))
    assert plain(found.rows) == plain(whole[1].rows)


def test_in_processes_the_same(whole: tuple[Path, Found], data_file: str, tmp_path: Path) -> None:
    found, told = found_in(tmp_path, data_file, jobs=2)
    assert plain(found.rows) == plain(told) == plain(whole[1].rows)
    one, two = (each.model.net.state_dict() for each in (found, whole[1]))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_going_on_after_a_break(whole: tuple[Path, Found], data_file: str, tmp_path: Path) -> None:
    """What was done is not done again, but for a line that was cut; the end is the same."""

    class PowerCut(Exception):
        pass

    seen: list[Row] = []

    def cut(row: Row, _: Candidate) -> None:
        seen.append(row)
        if len(seen) == 8:
            raise PowerCut

    with pytest.raises(PowerCut):
        search(data_file, PLAN, tmp_path / "best.fcn", on_row=cut)
    rows = tmp_path / "best.fcn.search" / "trials.jsonl"
    lines = rows.read_bytes().splitlines(keepends=True)
    rows.write_bytes(b"".join(lines)[:-20])
    with pytest.raises(SettingError, match="resume goes on, restart forgets it"):
        search(data_file, PLAN, tmp_path / "best.fcn")
    with pytest.raises(SettingError, match="other data or other options"):
        search(
            data_file, Plan(space=SPACE, trials=5, settings=Settings()), tmp_path / "best.fcn", resume=True
        )
    with pytest.raises(SettingError, match="restart=True: contradicts resume"):
        search(data_file, PLAN, tmp_path / "best.fcn", resume=True, restart=True)
    with pytest.raises(SettingError, match="other data or other options"):  # another part would measure
        search(data_file, PLAN, tmp_path / "best.fcn", resume=True, test=data_file)
    found, _ = found_in(tmp_path, data_file, resume=True)
    assert plain(found.rows) == plain(whole[1].rows)
    assert os.listdir(tmp_path) == ["best.fcn"]


def test_a_folder_that_is_damaged(data_file: str, tmp_path: Path) -> None:
    """Lines that are none are left out; a plan that is none is said to be damaged."""
    folder = tmp_path / "best.fcn.search"
    plan = Plan(space=SPACE, trials=1, epochs=1, settings=PLAN.settings)

    def stop(*_: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        search(data_file, plan, tmp_path / "best.fcn", on_row=stop)
    row = json.loads((folder / "trials.jsonl").read_text())
    for bad in (b"null", b"[]", b"{", json.dumps({**row, "trial": 7}).encode(), b"\xff"):
        with (folder / "trials.jsonl").open("ab") as file:
            file.write(bad + b"\n")
    told = (folder / "plan.json").read_text()
    for text in ("", "[]", '{"version": 2}', '{"version": 1}'):
        (folder / "plan.json").write_text(text)
        with pytest.raises(SettingError, match=r"plan\.json is damaged .*: restart, which forgets it"):
            search(data_file, plan, tmp_path / "best.fcn", resume=True)
    (folder / "plan.json").write_text(told)
    found = search(data_file, plan, tmp_path / "best.fcn", resume=True)
    assert [row.trial for row in found.rows] == [0]


def test_statistics_are_taken_once(data_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All trials learn from the same samples: a vocabulary for each would be most of the work."""
    calls: list[object] = []
    fitted = Dataset.fitted
    monkeypatch.setattr(Dataset, "fitted", lambda self, *rest: calls.append(rest) or fitted(self, *rest))
    plan = Plan(space=SPACE, trials=3, epochs=1, settings=PLAN.settings)
    search(data_file, plan, tmp_path / "best.fcn")
    assert len(calls) == 1


def test_a_trial_that_fails_is_the_last(data_file: str, tmp_path: Path) -> None:
    space = Space(features=(2,), depth=(1,), neurons=(8,), lr=(1e-3, 1e38))
    settings = Settings(optimizer="sgd", batch=16)
    plan = Plan(space=space, trials=4, epochs=2, eta=2, settings=settings)
    found = search(data_file, plan, tmp_path / "best.fcn")
    assert any(row.accuracy is None for row in found.rows)
    assert found.best.accuracy is not None
    plan = Plan(space=Space(features=(2,), lr=(1e37, 1e38)), trials=2, epochs=1, settings=settings)
    with pytest.raises(FloatingPointError, match="every training"):
        search(data_file, plan, tmp_path / "other.fcn")


# ---- the command ---------------------------------------------------------------------------------------

SMALL = (
    "--epochs",
    "4",
    "--eta",
    "2",
    "--features",
    "2,4",
    "--depth",
    "1",
    "--neurons",
    "0,8",
    "--batch",
    "16",
)


def test_search_from_the_command_line(
    data_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table, a picture, a file of all trials, and the model."""
    monkeypatch.chdir(tmp_path)
    x, y = pictures(30, 5)
    np.savez("test.npz", x=x, y=y)
    more = ("--jobs", "1", "--table", "t.csv", "--picture", "p.png", "--test", "test.npz")
    assert cli.main(["search", data_file, "-o", "best.fcn", "--trials", "4", *SMALL, *more]) == 0
    said = capsys.readouterr()
    assert "4 nets are tried: 4 of 1 epochs, 2 of 2 epochs, 1 of 4 epochs." in said.out
    assert re.search(r"On samples that no choice was made with: \d+ of 30 right", said.out)
    assert len(re.findall(r"^trial \d, ", said.err, re.MULTILINE)) == 7
    assert sorted(os.listdir()) == ["best.fcn", "p.png", "t.csv", "test.npz"]
    with open("t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rung"] for row in rows] == ["0"] * 4 + ["1"] * 2 + ["2"]
    assert {row["features"] for row in rows} <= {"2", "4"}
    with Image.open("p.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 30
    told = load_model("best.fcn").record["search"]
    assert json.loads(json.dumps(told)) == told


def test_search_tells_what_it_could_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = pictures(60, 5)
    spoiled = x.astype(np.float32)
    spoiled[[7, 30], 2, 3] = np.nan
    np.savez("nan.npz", x=spoiled, y=y)
    assert cli.main(["search", "nan.npz", "--trials", "1", *SMALL, "--jobs", "1", "--no-picture"]) == 0
    said = capsys.readouterr().out
    assert "Skipped, as they cannot be read: 2." in said
    assert "nan.npz:30: the value at (2, 3) is nan" in said


def is_there(group: int) -> bool:
    """Whether any process of a group still is."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def trials_of(path: Path) -> list[dict[str, str]]:
    """A table of all trials without the time they took."""
    with path.open(newline="") as file:
        return [
            {name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)
        ]


def test_ctrl_c_keeps_what_was_tried(
    data_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With processes at work: one line more, exit code 130, nobody left behind; and --resume goes on.

    What was tried is not tried again, and the end is that of a search without a break.
    """
    wanted = ["search", data_file, "--trials", "30", *SMALL, "--no-picture"]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *wanted, "-o", "b.fcn", "--jobs", "2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    rows = tmp_path / "b.fcn.search" / "trials.jsonl"
    for _ in range(3000):
        if rows.exists() and rows.read_bytes().count(b"\n") > 8:
            break
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "--resume goes on" in said
    assert "Traceback" not in errors
    for _ in range(500):
        if not is_there(process.pid):
            break
        time.sleep(0.02)
    assert not is_there(process.pid)
    done = len([line for line in rows.read_bytes().splitlines() if line])

    monkeypatch.chdir(tmp_path)
    tried: list[object] = []
    monkeypatch.setattr(halving, "_try", lambda task, once=halving._try: tried.append(task) or once(task))
    for name, more in (("b", ["--resume"]), ("w", [])):
        assert cli.main([*wanted, "-o", f"{name}.fcn", "--jobs", "1", "--table", f"{name}.csv", *more]) == 0
        whole = 30 + 15 + 7
        assert len(tried) == (whole - done if more else whole)
        tried.clear()
    assert trials_of(Path("b.csv")) == trials_of(Path("w.csv"))
    one, two = (load_model(f"{name}.fcn").net.state_dict() for name in "bw")
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_ctrl_c_before_anything_was_tried(
    data_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is promised that is not there."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fastconv.train.searching.find", interrupt)
    assert cli.main(["search", data_file]) == 130
    assert "--resume" not in capsys.readouterr().out


def test_ctrl_c_in_the_middle_of_a_trial(
    data_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process alone: half a trial is none, and no assertion is what a user sees."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastconv.train.training.evaluate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        search(data_file, PLAN, tmp_path / "best.fcn")
    assert os.listdir(tmp_path / "best.fcn.search") == ["plan.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--trials 0", "--trials"),
        ("--eta 1", "--eta 1: must be"),
        ("--features 0", "--features"),
        ("--lr 1", "--lr"),
        ("--lr 0.1,0.01", "--lr 0.1,0.01: must be two numbers above 0"),
        ("--feature-size 50", "no choice of 1,000 fits"),
        ("--held-out 0.6", "--held-out 0.6: must be at most 0.4"),
        ("--jobs 1000", "--jobs 1000"),
        ("--resume", "nothing to go on with"),
        ("--picture x.txt", "--picture x.txt: must end in"),
        ("-o a.png --picture ./a.png", "--picture ./a.png: is the file that --output writes"),
        ("--picture a.png --table a.png", "--table a.png: is the file that --picture writes"),
        ("--picture a.png --no-picture", "--picture a.png: contradicts --no-picture"),
        ("--resume --restart", "--restart: contradicts resume"),
        ("--test nowhere", "nowhere: No such file"),
    ],
)
def test_search_refuses_in_one_line(
    arguments: str,
    words: str,
    data_file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code: object = cli.main(["search", data_file, *arguments.split()])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("fastconv search: error: ")
    assert words in last
    assert os.listdir() == []
