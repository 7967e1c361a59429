"""`python -m benchmarks LINE...`: time the problems that lines name, beside every peer that is installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import fastconv
from benchmarks import machine
from benchmarks.cases import Case, case_of
from benchmarks.page import ratio, seconds
from benchmarks.peers import CannotError
from benchmarks.problems import Problem, line_problem
from benchmarks.report import names, positive
from benchmarks.results import Result
from benchmarks.rounds import Effort, measure_problem
from benchmarks.worker import PEERS, Worker, WorkerError

EXAMPLES = """
Examples:

    python -m benchmarks "conv2d n4 c64 56x56 k64 3x3 p1"
    python -m benchmarks rn50-64 "rn50-64 input_gradient" --threads 1 --peers torch,onnxruntime

A line begins with the operation, then come images, channels, size, output channels, kernel, and what is not
the default: `python -c "import fastconv; help(fastconv.conv_info)"` tells the words. A name of
benchmarks/cases.py stands for its line. Peers that are not installed are left out.
"""

HEAD = ("", "median", "±", "GFLOP/s", "ratio", "error")


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time fastconv beside its peers on the problems that lines name.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("lines", metavar="LINE", nargs="+", type=timed, help="a problem in words, or a named layer")
    add("--threads", type=names(("1", "2")), help="1, 2 or both (default: all that there are)")
    add("--peers", type=names(("none", *PEERS)), help=f"none, or of {', '.join(PEERS)} (default: all)")
    spent = f"of each engine on each problem (default {Effort.seconds})"
    add("--seconds", type=positive(float), default=Effort.seconds, help=spent)
    return parser


def timed(line: str) -> Problem:
    """The problem of a line, which must be one that there is something to time of."""
    try:
        case = case_of(line)
        if case.n == 0:
            raise ValueError(f"'n0' in {line!r}: an empty batch takes no time")
        algorithm(case)  # whether it serves the line
        return line_problem(line)
    except (ValueError, MemoryError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def algorithm(case: Case) -> str:
    """What `conv_info` names, of a convolution."""
    if case.is_pool:
        return ""
    info = fastconv.conv_info(str(case))
    return f", algorithm {info.algorithm} ({info.way})"


def installed(peers: tuple[str, ...]) -> Iterator[tuple[str, Worker]]:
    """fastconv and those that are there, started."""
    for engine in ("fastconv", *peers):
        worker = Worker(engine)
        try:
            worker.ask("hello")
        except (CannotError, WorkerError):
            worker.close()
        else:
            yield engine, worker


def table(problem: Problem, results: list[Result]) -> list[tuple[str, ...]]:
    """A row for each engine that offers the problem: the ratio is its time over fastconv's."""
    ours = results[0].timing
    rows = []
    for result in results:
        timing = result.timing
        if timing is None:
            if result.failed:
                rows.append((result.engine, "FAILED", result.failed, "", "", ""))
            continue
        speed = f"{problem.flops / timing.median / 1e9:.1f}" if problem.flops else ""
        compared = ratio(timing.median / ours.median) if ours and result is not results[0] else ""
        error = "" if result.error is None else f"{result.error:.1e}"
        rows.append(
            (result.engine, seconds(timing.median), f"{timing.spread / 2:.0%}", speed, compared, error)
        )
    return rows


def show(title: str, rows: list[tuple[str, ...]]) -> None:
    """With rich if it is there, in plain columns otherwise."""
    if find_spec("rich"):
        from rich.console import Console
        from rich.table import Table

        shown = Table(*HEAD)
        for row in rows:
            shown.add_row(*row)
        console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
        console.print(title, shown, sep="\n", markup=False)
        return
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (HEAD, *rows)
    ]
    sys.stdout.write("\n".join([title, *lines]) + "\n\n")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; 1 if fastconv failed."""
    given = options().parse_args(arguments)
    counts = [int(count) for count in given.threads] if given.threads else list(machine.threads_to_time())
    peers = tuple(peer for peer in given.peers or PEERS if peer != "none")
    failed = False
    workers = dict(installed(peers))
    try:
        for problem in given.lines:
            for count in counts:
                results = measure_problem(problem, count, workers, Effort(seconds=given.seconds))
                failed |= results[0].timing is None
                threads = f"{count} thread{'s' * (count > 1)}"
                case = case_of(problem.case_id)
                title = f"{case}, {threads}{algorithm(case)}"
                show(title, table(problem, results))
    finally:
        for worker in workers.values():
            worker.close()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
