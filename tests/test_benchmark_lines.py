"""`python -m benchmarks LINE...`: what is timed is what the line says, beside peers, with exact results."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks.cases import LINES, case_of
from benchmarks.exact import exact, relative_error
from benchmarks.fast import Fastconv
from benchmarks.peers import CannotError, NumPyLoops
from benchmarks.problems import Problem, compared, line_problem
from benchmarks.worker import Worker
from fastconv.functional.case import Case

#: Everything that a line can ask fastconv for.
EVERYTHING = (
    "conv1d n2 c4 12 k6 3 s2 p1:0 g2 bias activation=leaky_relu",
    "conv2d n2 c4 9x8 k6 3x4 psame d2",
    "conv2d n2 c4 9x8 k6 3x3 s1x2 p1 channels_last input_gradient",
    "conv3d c2 5x6x7 k3 2x3x2 d1x2x1 float64 weight_gradient",
    "conv2d c4 9x8 k6 3x3 algorithm=winograd precision=high",
    "conv_transpose1d n2 c4 9 k6 3 s2 p0:1 o1 bias",
    "conv_transpose2d n2 c4 9x8 k6 3x3 s2 p1 g2 input_gradient",
    "conv_transpose3d c2 4x5x6 k3 2x2x2 s2 weight_gradient",
    "max_pool1d c2 20 3 s2 p1 d2",
    "max_pool2d n2 c2 9x8 3x2 s2 p1 ceil_mode channels_last",
    "max_pool3d c2 7x6x8 3x3x3 s2 input_gradient",
    "avg_pool1d c2 20 3 s2 p1:0 float64",
    "avg_pool2d n2 c2 9x8 3x2 s2 p1 ceil_mode input_gradient",
    "avg_pool3d c2 7x6x8 3x3x3 s2 ceil_mode",
)


@pytest.mark.parametrize("line", EVERYTHING)
def test_fastconv_is_given_what_the_line_says(line: str) -> None:
    """Its result is the exact one, in the shape and dtype of the pass."""
    problem, case = line_problem(line), case_of(line)
    job = Fastconv("").job(problem, 1)
    result = job.result(job.call())
    shapes = {"input_gradient": case.input_shape, "weight_gradient": case.weight_shape}
    assert result.shape == shapes.get(case.direction, case.output_shape)
    assert result.dtype == case.dtype
    assert relative_error(compared(problem, result), exact(problem)) < 1e-5


@pytest.fixture(scope="module")
def torch() -> Iterator[Worker]:
    """In a process of its own."""
    worker = Worker("torch")
    try:
        worker.ask("hello")
        yield worker
    except CannotError as error:
        pytest.skip(f"torch: {error}")
    finally:
        worker.close()


@pytest.mark.parametrize("line", EVERYTHING)
def test_torch_is_given_what_the_line_says(line: str, torch: Worker) -> None:
    """The same problem, unless it is one that it does not offer."""
    problem = line_problem(line)
    if "p1:0" in line or "p0:1" in line:
        with pytest.raises(CannotError, match="pads both ends of an axis alike"):
            torch.ask("ready", problem, 1)
        return
    torch.ask("ready", problem, 1)
    assert relative_error(torch.ask("result"), exact(problem)) < 1e-5


def test_loops_take_part_in_a_line() -> None:
    problem = line_problem("conv2d n2 c4 9x8 k6 3x3 s2 p1 weight_gradient")
    job = NumPyLoops().job(problem, 1)
    assert relative_error(compared(problem, job.call()), exact(problem)) < 1e-5


def test_names_stand_for_their_lines_and_words_may_follow() -> None:
    """The names of the report are those of the command, and every one is its shortest line."""
    assert line_problem("rn50-64 input_gradient") == Problem("grad_input", "rn50-64 input_gradient")
    assert str(case_of("rn50-64 s2 bias")) == "conv2d n4 c64 56x56 k64 3x3 s2 p1 bias"
    assert all(str(Case.parse(line)) == line for line in LINES.values())


@pytest.mark.parametrize("rich", [True, False])
def test_a_table_for_each_line_and_number_of_threads(
    rich: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Titled with the shortest line and the algorithm; engines as rows; plain where rich is not installed."""
    if rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setattr(command, "find_spec", lambda name: None)
        imported = builtins.__import__

        def without_rich(name: str, *rest: Any) -> Any:
            assert not name.startswith("rich")
            return imported(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without_rich)
    words = ["conv2d n1 k3 c1 9 3 algorithm=direct", "max_pool1d c1 9 3"]
    assert command.main([*words, "--threads", "1", "--peers", "numpy loops", "--seconds", "0.001"]) == 0
    printed = capsys.readouterr().out
    assert "conv2d c1 9x9 k3 3x3 algorithm=direct, 1 thread, algorithm direct (channels as rows)\n" in printed
    assert "max_pool1d c1 9 3, 1 thread\n" in printed
    assert (printed.count("fastconv"), printed.count("numpy loops")) == (2, 1)
    assert ("│" in printed) is rich


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["conv2d c4 9x9 k4 3x3 s0"], "'s0' in 'conv2d c4 9x9 k4 3x3 s0': must be at least 1"),
        (["conv2d n0 c4 9x9 k4 3x3"], "'n0' in 'conv2d n0 c4 9x9 k4 3x3': an empty batch"),
        (["rn51"], "'rn51' in 'rn51': a line begins with an operation"),
        (["conv2d c4 9x9 k4 3x3 algorithm=depthwise"], "algorithm='depthwise'"),
        (["toy", "--threads", "0"], "--threads: '0' is none of 1, 2"),
        (["toy", "--peers", "fastest"], "--peers: 'fastest' is none of none, torch"),
        (["toy", "--seconds", "-1"], "--seconds: '-1' must be a number above 0"),
        ([], "LINE"),
    ],
)
def test_a_bad_line_ends_in_one_error(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, before anything is timed."""
    with pytest.raises(SystemExit) as refused:
        command.main(arguments)
    assert refused.value.code == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert said in error
