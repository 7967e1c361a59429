"""A run as rows of tables: ratios to the fastest peer, their means, what is missing and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.contests import CONTESTS, Contest
from benchmarks.measure import Timing
from benchmarks.problems import Problem
from benchmarks.results import Result, Run, geomean

#: A second thread is judged by calls that take at least so long on one.
WORTH_SHARING = 1e-3

#: What a second thread should bring there.
GAIN = 1.8

Timed = dict[tuple[Problem, int, str], tuple[Timing, float]]


def timed(run: Run) -> Timed:
    """Timing and error by problem, threads and engine."""
    return {
        (result.problem, result.threads, result.engine): (result.timing, result.error or 0.0)
        for result in run.results
        if result.timing
    }


@dataclass(frozen=True)
class Row:
    """fastconv and its fastest peer on a problem at a number of threads."""

    problem: Problem
    threads: int
    ours: Timing
    error: float
    peer: str = ""  #: empty if no peer was there
    peer_seconds: float = 0.0
    peer_error: float = 0.0
    share: float = 0.0  #: of the FMA peak; 0 where FLOPs say nothing

    @property
    def ratio(self) -> float | None:
        """Time of the fastest peer over fastconv's; above 1 fastconv is faster."""
        return self.peer_seconds / self.ours.median if self.peer else None


def rows(run: Run, contest: Contest, threads: int) -> list[Row]:
    """In the order of the cases, whoever wins."""
    known, found = timed(run), []
    for problem in contest.problems():
        if (problem, threads, contest.ours) not in known:
            continue
        ours, error = known[problem, threads, contest.ours]
        peak = run.peaks.get(f"{problem.dtype} {threads}", 0.0)
        share = problem.flops / ours.median / peak if peak else 0.0
        peers = [peer for peer in contest.peers if (problem, threads, peer) in known]
        if not peers:
            found.append(Row(problem, threads, ours, error, share=share))
            continue
        best = min(peers, key=lambda peer: known[problem, threads, peer][0].median)
        timing, peer_error = known[problem, threads, best]
        found.append(Row(problem, threads, ours, error, best, timing.median, peer_error, share))
    return found


def threads_of(run: Run) -> list[int]:
    return sorted({result.threads for result in run.results})


@dataclass(frozen=True)
class Summary:
    """A table in one line."""

    name: str
    title: str
    threads: str
    geomean: float
    worst: float
    worst_problem: Problem
    losses: int
    count: int
    goal_geomean: float | None
    goal_worst: float | None

    @property
    def reached(self) -> bool:
        """Whether both goals are."""
        return (self.goal_geomean is None or self.geomean >= self.goal_geomean) and (
            self.goal_worst is None or self.worst >= self.goal_worst
        )


def summarize(
    name: str,
    title: str,
    threads: str,
    ratios: dict[Problem, float],
    goals: tuple[float | None, float | None],
) -> Summary:
    """Geometric mean and worst case."""
    worst = min(ratios, key=ratios.__getitem__)
    return Summary(
        name, title, threads, geomean(list(ratios.values())), ratios[worst], worst,
        sum(ratio < 1 for ratio in ratios.values()), len(ratios), *goals,
    )  # fmt: skip


def summaries(run: Run) -> Iterator[Summary]:
    """Every contest at every number of threads, then the gain of the second thread."""
    for contest in CONTESTS:
        for threads in threads_of(run):
            ratios = {row.problem: row.ratio for row in rows(run, contest, threads) if row.ratio}
            if ratios:
                goals = contest.geomean, contest.worst
                yield summarize(contest.name, contest.title, str(threads), ratios, goals)
    gains = {problem: one / two for problem, (one, two) in gain_seconds(run).items() if one >= WORTH_SHARING}
    if gains:
        yield summarize("threads", "Gain of the second thread", "2 over 1", gains, (None, GAIN))


def gain_seconds(run: Run) -> dict[Problem, tuple[float, float]]:
    """fastconv's seconds on one thread and on two."""
    known = timed(run)
    problems = dict.fromkeys(problem for problem, _, engine in known if engine == "fastconv")
    return {
        problem: (known[problem, 1, "fastconv"][0].median, known[problem, 2, "fastconv"][0].median)
        for problem in problems
        if all((problem, threads, "fastconv") in known for threads in (1, 2))
    }


def missing(run: Run) -> list[tuple[str, str, list[str]]]:
    """(engine, what is missing and why, where), engines that are not there first."""
    found = [(engine, why, ["everything"]) for engine, why in run.absent.items()]
    where: dict[tuple[str, str], list[str]] = defaultdict(list)
    for result in run.results:
        if result.failed or (result.missing and result.engine not in run.absent):
            why = f"FAILED: {result.failed}" if result.failed else result.missing
            where[result.engine, why].append(place(result))
    return found + [(engine, why, list(dict.fromkeys(places))) for (engine, why), places in where.items()]


def place(result: Result) -> str:
    """Case and pass; the number of threads where only a failure tells them apart."""
    return f"{result.case_id} {result.kind}" + (f" ({result.threads} threads)" if result.failed else "")
