"""`python -m benchmarks.report`: measure fastconv beside every peer, write docs/performance.md and pictures.

Examples:

    python -m benchmarks.report              all of it, about twenty minutes, into docs/
    python -m benchmarks.report --quick      a few cases, half a minute, into build/report/
    python -m benchmarks.report --pass forward --case rn50-64,rn50-128 --threads 1
    python -m benchmarks.report --from docs/performance.json      page and pictures again, without measuring

Peers that are not installed are named as missing: pip install 'fastconv[bench]' brings them all.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import machine, memory
from benchmarks.cases import CASES
from benchmarks.contests import CONTESTS
from benchmarks.page import page
from benchmarks.peers import CannotError
from benchmarks.plots import draw
from benchmarks.problems import CONV_KINDS, Problem
from benchmarks.results import Memory, Run
from benchmarks.rounds import Effort, measure_problem
from benchmarks.show import show, show_summary
from benchmarks.worker import OURS, PEERS, Worker, WorkerError

PAGE, RESULTS = "performance.md", "performance.json"
MEMORY = "memory"
CHOICES = (*(contest.name for contest in CONTESTS), MEMORY)
NEEDED = {"rich": "rich", "matplotlib": "matplotlib", "pillow": "PIL"}
QUICK_CASES = ("toy", "lenet-c2", "rn50-128", "mbv1-dw112", "f64-lenet-c2", "pool-lenet", "xo-b1")
QUICK = Effort(rounds=3, seconds=0.03)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description="Measure fastconv beside every peer, write a page about it and its pictures.",
        epilog=(__doc__ or "").split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    passes = f"of {', '.join(CHOICES)}; several with commas"
    add("--pass", dest="passes", metavar="PASS", type=names(CHOICES), help=passes)
    add("--case", type=names(tuple(CASES)), help="ids of benchmarks/cases.py")
    add("--engine", type=names(PEERS), help=f"peers, of {', '.join(PEERS)}")
    add("--threads", type=names(("1", "2")), help="1, 2 or both")
    add("--rounds", type=positive(int), help=f"turns of each engine (default {Effort.rounds})")
    seconds = f"of each engine on each problem (default {Effort.seconds})"
    add("--seconds", type=positive(float), help=seconds)
    add("--quick", action="store_true", help="a few cases, shortly: whether it works at all")
    add("--from", dest="results", type=Path, metavar="FILE", help=f"{RESULTS} of an earlier run")
    add("--output", type=Path, metavar="DIR", help="default: docs, or build/report for a part")
    return parser


def names(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Comma-separated names out of those known."""

    def parse(text: str) -> tuple[str, ...]:
        given = tuple(part.strip() for part in text.split(",") if part.strip())
        for name in given:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        if not given:
            raise argparse.ArgumentTypeError("names nothing")
        return given

    return parse


def positive(kind: type) -> Callable[[str], Any]:
    """A number above 0."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < 10**6:
            raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
        return value

    return parse


def plan(given: argparse.Namespace) -> dict[Problem, list[str]]:
    """The problems of the passes chosen, each with the engines that it is given to."""
    peers = given.engine or PEERS
    cases = given.case or (QUICK_CASES if given.quick else tuple(CASES))
    engines: dict[Problem, list[str]] = {}
    for contest in CONTESTS:
        if given.passes and contest.name not in given.passes:
            continue
        for problem in contest.problems():
            if problem.case_id in cases:
                wanted = engines.setdefault(problem, [])
                for engine in (contest.ours, *contest.peers):
                    if engine not in wanted and (engine in peers or engine in OURS):
                        wanted.append(engine)
    return engines


def memory_plan(given: argparse.Namespace) -> list[tuple[str, Problem]]:
    """Engines and problems whose memory is measured."""
    if given.quick or (given.passes and MEMORY not in given.passes):
        return []
    cases = given.case or memory.CASES
    engines = [engine for engine in memory.ENGINES if engine in OURS or engine in (given.engine or PEERS)]
    problems = [Problem(kind, case) for case in memory.CASES if case in cases for kind in CONV_KINDS]
    return [(engine, problem) for problem in problems for engine in engines] if memory.AVAILABLE else []


def measure_peaks(run: Run, counts: list[int]) -> None:
    """The machine's limits; called before and after, the better values stay."""
    for count in counts:
        found = {f"{dtype} {count}": machine.fma_peak(dtype, count) for dtype in ("float32", "float64")}
        found[f"copy {count}"] = machine.copy_bandwidth(count)
        for what, speed in found.items():
            run.peaks[what] = max(speed, run.peaks.get(what, 0.0))


def greet(run: Run, workers: dict[str, Worker]) -> None:
    """Start every engine; those that are not there are noted and left out."""
    for engine, worker in list(workers.items()):
        try:
            run.versions.update(worker.ask("hello"))
        except (CannotError, WorkerError) as error:
            run.absent[engine] = str(error)
            del workers[engine]


def measure(run: Run, given: argparse.Namespace) -> None:
    """Everything that was asked for."""
    counts = [int(count) for count in given.threads] if given.threads else list(machine.threads_to_time())
    effort = QUICK if given.quick else Effort()
    effort = Effort(given.rounds or effort.rounds, given.seconds or effort.seconds)
    problems, remembered = plan(given), memory_plan(given)
    needed = {engine for wanted in problems.values() for engine in wanted}
    needed = {engine for wanted in problems.values() for engine in wanted}
    workers = {engine: Worker(engine) for engine in (*OURS, *PEERS) if engine in needed}
    try:
        with show(len(problems) * len(counts) + len(remembered) + 2) as progress:
            progress.step("the machine")
            measure_peaks(run, counts)
            greet(run, workers)
            for problem, wanted in problems.items():
                there = {engine: workers[engine] for engine in wanted if engine in workers}
                for count in counts:
                    progress.step(f"{problem.case_id} {problem.kind}, {count} thread(s)")
                    run.results += measure_problem(problem, count, there, effort)
            for engine, problem in remembered:
                progress.step(f"memory of {problem.case_id} {problem.kind}, {engine}")
                if engine not in run.absent:
                    run.memory.append(measure_memory(engine, problem, counts[-1]))
            progress.step("the machine again")
            measure_peaks(run, counts)
    finally:
        for worker in workers.values():
            worker.close()


def measure_memory(engine: str, problem: Problem, threads: int) -> Memory:
    """Beside it, for fastconv, what is promised."""
    allowed = memory.allowed_bytes(problem, threads) if engine in OURS else None
    extra = memory.extra_bytes(engine, problem, threads)
    return Memory(problem.kind, problem.case_id, threads, engine, extra, allowed)


def write(run: Run, folder: Path, with_results: bool) -> None:
    """The pictures, the page, and what both were made from."""
    folder.mkdir(parents=True, exist_ok=True)
    if with_results:
        run.write(folder / RESULTS)
    pictures = draw(run, folder)
    (folder / PAGE).write_text(page(run, pictures), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    parser = options()
    given = parser.parse_args(arguments)
    for package, module in NEEDED.items():
        if find_spec(module) is None:
            parser.error(f"needs {package}, which is not installed: pip install 'fastconv[bench]'")
    chosen = [
        name for name in ("passes", "case", "engine", "threads", "rounds", "seconds") if getattr(given, name)
    ]
    if given.results:
        for option in chosen + ["quick"] * given.quick:
            parser.error(
                f"argument --{option.replace('passes', 'pass')}: goes with measuring, not with --from"
            )
        try:
            run = Run.read(given.results)
        except OSError as error:
            parser.error(f"argument --from: {given.results}: {error.strerror}")
        except ValueError as error:
            parser.error(f"argument --from: {error}")
        write(run, given.output or given.results.parent, with_results=False)
        return
    if not plan(given) and not memory_plan(given):
        parser.error("argument --case: none of these passes has these cases")
    folder = given.output or Path("build/report" if chosen or given.quick else "docs")
    command = " ".join(["python -m benchmarks.report", *(sys.argv[1:] if arguments is None else arguments)])
    now = datetime.datetime.now(datetime.timezone.utc)
    run = Run(command, f"{now:%Y-%m-%d %H:%M} UTC", machine.machine(), {}, {})
    measure(run, given)
    write(run, folder, with_results=True)
    show_summary(run)
    sys.stdout.write(f"{folder / PAGE}\n")


if __name__ == "__main__":
    main()
