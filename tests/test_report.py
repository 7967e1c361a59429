"""The report says what the results say: made-up results in, tables, pages and pictures out.

Also what gets the results: the exact values they are compared with, and the processes of engines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import problems, report
from benchmarks.cases import CASES
from benchmarks.contests import CONTESTS
from benchmarks.exact import conv_part, exact, relative_error
from benchmarks.measure import Timing
from benchmarks.page import LOSS, page
from benchmarks.peers import CannotError, NumPyLoops
from benchmarks.problems import Problem, compared, conv_arrays
from benchmarks.results import Memory, Result, Run, geomean
from benchmarks.rounds import Effort, measure_problem
from benchmarks.tables import missing, rows, summaries
from benchmarks.worker import Worker, WorkerError
from fastconv import conv2d, grad

FORWARD = next(contest for contest in CONTESTS if contest.name == "forward")


def result(case: str, engine: str, seconds: float, threads: int = 1, kind: str = "forward") -> Result:
    return Result(
        kind, case, threads, engine, Timing(seconds, 0.9 * seconds, 1.1 * seconds, 0.8 * seconds), 3e-7
    )


@pytest.fixture
def run() -> Run:
    """Two wins (4 times and 2 times) and a loss (half as fast); ncnn not there, scipy failed once."""
    return Run(
        command="python -m benchmarks.report",
        date="2026-01-01 00:00 UTC",
        machine={"CPU": "a made-up one"},
        versions={"fastconv": "0.1.0", "torch": "9.9"},
        peaks={"float32 1": 100e9, "float32 2": 200e9, "copy 1": 10e9, "copy 2": 20e9},
        results=[
            result("toy", "fastconv", 2e-6),
            result("toy", "torch", 3e-6),
            result("toy", "onnxruntime", 1e-6),
            Result("forward", "toy", 1, "scipy", failed="died (signal 11)"),
            result("lenet-c2", "fastconv", 1e-3),
            result("lenet-c2", "torch", 4e-3),
            result("lenet-c2", "torch channels-last", 5e-3),
            Result("forward", "lenet-c2", 1, "onnxruntime", missing="no such layer"),
            result("rn50-64", "fastconv", 4e-3),
            result("rn50-64", "torch", 8e-3),
            result("rn50-64", "fastconv", 2e-3, threads=2),
            result("rn50-64", "torch", 4e-3, threads=2),
        ],
        memory=[
            Memory("forward", "rn50-64", 2, "fastconv", 3 * 2**20, 20 * 2**20),
            Memory("forward", "rn50-64", 2, "torch", 11 * 2**20),
        ],
        absent={"ncnn": "not installed (ncnn)"},
    )


def line_of(text: str, start: str) -> str:
    """The first line of a table that begins so."""
    return next(line for line in text.splitlines() if line.startswith(f"| {start} |"))


# ---- ratios -----------------------------------------------------------------------------------------


def test_the_ratio_is_to_the_fastest_peer(run: Run) -> None:
    found = {row.problem.case_id: (row.peer, row.ratio) for row in rows(run, FORWARD, 1)}
    assert found == {
        "toy": ("onnxruntime", pytest.approx(0.5)),
        "lenet-c2": ("torch", pytest.approx(4)),
        "rn50-64": ("torch", pytest.approx(2)),
    }


def test_threads_are_compared_with_as_many(run: Run) -> None:
    (row,) = rows(run, FORWARD, 2)
    assert row.ratio == pytest.approx(2)
    assert row.share == pytest.approx(Problem("forward", "rn50-64").flops / 2e-3 / 200e9)


def test_without_peers_there_is_no_ratio(run: Run) -> None:
    run.results = [result for result in run.results if result.engine == "fastconv"]
    assert all(row.ratio is None for row in rows(run, FORWARD, 1))
    assert "no peer" in line_of(page(run), "toy")
    assert not [line for line in summaries(run) if line.name == "forward"]


def test_geomean_and_worst_case_beside_the_goals(run: Run) -> None:
    line = next(line for line in summaries(run) if line.name == "forward" and line.threads == "1")
    assert line.geomean == pytest.approx(geomean([0.5, 4, 2])) == pytest.approx(4 ** (1 / 3))
    assert (line.worst, line.worst_problem.case_id) == (pytest.approx(0.5), "toy")
    assert (line.losses, line.count) == (1, 3)
    assert (line.goal_geomean, line.goal_worst) == (1.3, 0.9)
    assert not line.reached, "the mean is above its goal, the worst case below"


def test_a_goal_is_reached_by_mean_and_worst_case_together(run: Run) -> None:
    run.results = [result for result in run.results if result.case_id != "toy"]
    assert all(line.reached for line in summaries(run) if line.name == "forward")


def test_gain_of_the_second_thread(run: Run) -> None:
    line = next(line for line in summaries(run) if line.name == "threads")
    assert (line.geomean, line.count) == (pytest.approx(2), 1)


# ---- the page ---------------------------------------------------------------------------------------


def test_every_case_has_its_row_wins_and_losses_in_the_order_of_the_cases(run: Run) -> None:
    text = page(run)
    assert (
        text.index(line_of(text, "toy"))
        < text.index(line_of(text, "lenet-c2"))
        < text.index(line_of(text, "rn50-64"))
    )
    assert f"{LOSS} 0.50" in line_of(text, "toy")
    assert "onnxruntime" in line_of(text, "toy")
    assert "4.00" in line_of(text, "lenet-c2")
    assert LOSS not in line_of(text, "lenet-c2")


def test_the_page_tells_machine_versions_and_command(run: Run) -> None:
    text = page(run)
    for said in ("a made-up one", "torch 9.9", "2026-01-01", "`python -m benchmarks.report`", "100 GFLOP/s"):
        assert said in text


def test_missing_peers_are_named_with_the_reason(run: Run) -> None:
    assert missing(run) == [
        ("ncnn", "not installed (ncnn)", ["everything"]),
        ("scipy", "FAILED: died (signal 11)", ["toy forward (1 threads)"]),
        ("onnxruntime", "no such layer", ["lenet-c2 forward"]),
    ]
    text = page(run)
    assert "**Missing**: ncnn (not installed (ncnn))" in text
    assert "- scipy: FAILED: died (signal 11)" in text


def test_the_means_come_last(run: Run) -> None:
    last = page(run).rsplit("\n## ", 1)[1]
    assert last.startswith("In short\n")
    assert "| Forward, float32 | 1 | 1.59 | 1.3 | 0.50 | toy forward | 0.9 | 1 of 3 | **no** |" in last


def test_memory_beside_torch_and_the_promise(run: Run) -> None:
    assert "| rn50-64 forward | 2 | 3.0 MiB | 11.0 MiB | 20.0 MiB |" in page(run)


def test_results_survive_the_file(run: Run, tmp_path: Path) -> None:
    run.write(tmp_path / "results.json")
    assert page(Run.read(tmp_path / "results.json")) == page(run)


def test_page_and_pictures_are_made_again_without_measuring(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("rich")
    run.write(tmp_path / "performance.json")
    report.main(["--from", str(tmp_path / "performance.json")])
    assert (tmp_path / "performance.md").read_text(encoding="utf-8").count("](forward.png)") == 1
    for picture in ("forward.png", "roofline.png"):
        assert 5_000 < (tmp_path / picture).stat().st_size < 150_000


# ---- the command ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--case", "nothing"], "--case: 'nothing' is none of toy"),
        (["--pass", ""], "--pass: names nothing"),
        (["--engine", "fastest"], "--engine: 'fastest' is none of torch"),
        (["--rounds", "0"], "--rounds: '0' must be a number above 0"),
        (["--seconds", "soon"], "--seconds: 'soon' must be a number above 0"),
        (["--pass", "training", "--case", "toy"], "none of these passes has these cases"),
        (["--from", "nowhere.json"], "--from: nowhere.json: No such file"),
        (["--from", str(report.__file__)], "not the results of a run"),
        (["--from", "nowhere.json", "--pass", "forward"], "--pass: goes with measuring"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("rich")
    with pytest.raises(SystemExit) as refused:
        report.main(arguments)
    assert refused.value.code == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert said in error


def test_every_convolution_is_compared_in_every_pass() -> None:
    planned = report.plan(report.options().parse_args([]))
    for case in CASES:
        kinds = {problem.kind for problem in planned if problem.case_id == case}
        if case == "large-63":  # a gradient of it takes torch minutes
            assert kinds == {"forward"}
        elif not case.startswith("loops"):
            passes = (
                problems.CONV_KINDS,
                problems.POOL_KINDS,
                problems.TRAIN_KINDS,
                problems.CORNER_KINDS,
            )
            assert kinds in [set(kinds) for kinds in passes], case
    assert all("fastconv" in engines and "torch" in engines for engines in planned.values())


# ---- exact values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [10**4, 10**6, 10**9])
@pytest.mark.parametrize("case_id", ["toy", "xo-b32-l2", "dqn-c2", "mbv1-dw56-s2", "f64-lenet-c2"])
def test_the_part_that_is_compared_is_a_part_of_the_whole(
    case_id: str, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "EXACT_FLOPS", budget)
    case = CASES[case_id]
    input, weight, grad_output = (array.astype(np.float64) for array in conv_arrays(case))
    whole = {
        "forward": conv2d(input, weight, **case.parameters),
        "grad_input": grad.conv2d_input(input.shape, weight, grad_output, **case.parameters),
        "grad_weight": grad.conv2d_weight(input, weight.shape, grad_output, **case.parameters),
    }
    for kind, computed in whole.items():
        cut = compared(Problem(kind, case_id), computed)
        assert cut.size > 0
        assert relative_error(cut, conv_part(Problem(kind, case_id))) < 1e-14


def test_a_result_of_another_shape_or_with_nan_is_infinitely_wrong() -> None:
    assert relative_error(np.ones(2), np.ones(3)) == np.inf
    assert relative_error(np.array([np.nan, 1]), np.ones(2)) == np.inf
    assert relative_error(np.full(4, 1.01), np.ones(4)) == pytest.approx(0.01)


# ---- engines ----------------------------------------------------------------------------------------


class Pretended:
    """A worker that answers at once."""

    def __init__(self, name: str, log: list[str], value: Any = None) -> None:
        self.name, self.log, self.value = name, log, value

    def ask(self, request: str, *_: Any) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        if request == "turn":
            self.log.append(self.name)
        return {"ready": 1e-3, "turn": [1e-3, 3e-3], "result": self.value}[request]


def test_engines_take_turns_and_faults_do_not_end_the_run() -> None:
    problem, log = Problem("forward", "toy"), []
    right = exact(problem)
    pretended = {
        "fastconv": Pretended("fastconv", log, right),
        "torch": Pretended("torch", log, right + 1),
        "onnxruntime": Pretended("onnxruntime", log, CannotError("float32 only")),
        "ncnn": Pretended("ncnn", log, WorkerError("died (signal 11)")),
    }
    workers: Any = pretended
    found = {
        result.engine: result for result in measure_problem(problem, 1, workers, Effort(rounds=3, seconds=1))
    }
    assert log == ["fastconv", "torch"] * 3
    assert found["fastconv"].timing == Timing(2e-3, 1e-3, 3e-3, 1e-3)
    assert found["fastconv"].error == 0
    assert found["torch"].timing is None
    assert found["torch"].failed.startswith("wrong result")
    assert found["onnxruntime"].missing == "float32 only"
    assert found["ncnn"].failed == "died (signal 11)"


def test_an_engine_works_in_its_own_process_and_comes_back_after_a_crash() -> None:
    worker = Worker("numpy loops")
    problem = Problem("grad_weight", "toy")
    try:
        assert worker.ask("hello") == {"numpy": np.__version__}
        assert worker.ask("ready", problem, 1) > 0
        assert all(seconds > 0 for seconds in worker.ask("turn", 1e-3))
        assert relative_error(worker.ask("result"), exact(problem)) < 1e-6
        with pytest.raises(CannotError, match="one thread only"):
            worker.ask("ready", problem, 2)
        assert worker._process is not None
        worker._process.kill()
        with pytest.raises(WorkerError, match="died"):
            worker.ask("hello")
        assert worker.ask("ready", problem, 1) > 0
    finally:
        worker.close()


def test_an_engine_says_what_it_does_not_offer() -> None:
    with pytest.raises(CannotError, match="small cases only"):
        NumPyLoops().job(Problem("forward", "vgg-3_2"), 1)


def test_the_cases_are_those_that_the_design_names() -> None:
    """Ids are unique, and every kind of layer that the peers neglect is there."""
    planned = [contest.cases for contest in CONTESTS]
    assert all(len(cases) == len(set(cases)) for cases in planned)
    assert {len(case.size) for case in CASES.values() if hasattr(case, "groups")} == {1, 2, 3}
