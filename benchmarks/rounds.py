"""Measure engines on a problem in turns, and compare what they computed with the exact result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.exact import exact, relative_error
from benchmarks.measure import Timing
from benchmarks.peers import CannotError
from benchmarks.problems import Problem
from benchmarks.results import Result
from benchmarks.worker import Worker, WorkerError

#: A result farther off than this is not the same computation, and its time is not compared.
WRONG = 1e-2


@dataclass(frozen=True)
class Effort:
    """How long to measure: `rounds` turns of each engine within about `seconds`; a slow engine gets fewer."""

    rounds: int = 7
    seconds: float = 0.2
    least: int = 3

    def turns(self, once: float) -> int:
        """How many turns an engine gets whose call takes `once` seconds."""
        return min(self.rounds, max(self.least, int(2 * self.seconds / once)))


class Turns:
    """The engines on one problem at one number of threads."""

    def __init__(self, problem: Problem, threads: int, workers: dict[str, Worker]) -> None:
        self.problem, self.threads, self.workers = problem, threads, workers
        self.samples: dict[str, list[float]] = {name: [] for name in workers}
        self.out: dict[str, Result] = {}  #: engines that cannot, or failed

    def _result(self, engine: str, **what: Any) -> Result:
        return Result(self.problem.kind, self.problem.case_id, self.threads, engine, **what)

    def ask(self, engine: str, *request: Any) -> Any:
        """The answer, or None from an engine that is out from now on."""
        try:
            return self.workers[engine].ask(*request)
        except CannotError as error:
            self.out[engine] = self._result(engine, missing=str(error))
        except WorkerError as error:
            self.out[engine] = self._result(engine, failed=str(error))
        return None

    def measure(self, effort: Effort) -> None:
        """Turn after turn: what disturbs the machine for a while disturbs all engines."""
        turns = {}
        for name in self.workers:
            once = self.ask(name, "ready", self.problem, self.threads)
            turns[name] = 0 if once is None else effort.turns(once)
        for number in range(effort.rounds):
            for name in self.workers:
                if name not in self.out and number < turns[name]:
                    self.samples[name] += self.ask(name, "turn", effort.seconds / effort.rounds) or []

    def verdict(self, engine: str) -> Result:
        """Its timing, if what it computed is right."""
        value = None if engine in self.out else self.ask(engine, "result")
        if value is None:
            return self.out[engine]
        error = relative_error(value, exact(self.problem))
        if error > WRONG:
            return self._result(engine, failed=f"wrong result: its error is {error:.1e} of the result's rms")
        return self._result(engine, timing=Timing.of(self.samples[engine]), error=error)


def measure_problem(
    problem: Problem, threads: int, workers: dict[str, Worker], effort: Effort
) -> list[Result]:
    """Every engine's result, in the order of `workers`."""
    turns = Turns(problem, threads, workers)
    turns.measure(effort)
    return [turns.verdict(engine) for engine in workers]
