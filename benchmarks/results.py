"""What a run found, as data that can be written to a file and read again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from math import exp, log
from pathlib import Path

from benchmarks.measure import Timing
from benchmarks.problems import Problem


@dataclass(frozen=True)
class Result:
    """One engine on one problem: a timing, or why there is none."""

    kind: str
    case_id: str
    threads: int
    engine: str
    timing: Timing | None = None
    error: float | None = None  #: rms of the error relative to the exact result's rms
    missing: str = ""  #: what the engine does not offer
    failed: str = ""  #: what went wrong

    @property
    def problem(self) -> Problem:
        return Problem(self.kind, self.case_id)


@dataclass(frozen=True)
class Memory:
    """Bytes that the first call of an engine takes beyond its arrays; None if that could not be measured."""

    kind: str
    case_id: str
    threads: int
    engine: str
    extra_bytes: int | None
    allowed_bytes: int | None = None  #: what fastconv promises


@dataclass
class Run:
    """A whole run."""

    command: str
    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    peaks: dict[str, float]  #: FLOP/s by dtype and threads ("float32 1"), bytes/s by threads ("copy 1")
    results: list[Result] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)  #: engines that are not there, and why

    def find(self, problem: Problem, threads: int, engine: str) -> Result | None:
        """That result, if there is one with a timing."""
        for result in self.results:
            if (result.problem, result.threads, result.engine) == (problem, threads, engine):
                return result if result.timing else None
        return None

    def write(self, path: Path) -> None:
        """As JSON, with four digits: more were never measured."""
        path.write_text(json.dumps(rounded(dataclasses.asdict(self)), indent=None) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Run:
        """What `write` has written; raises `ValueError` for anything else."""
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            for result in known["results"]:
                result["timing"] = Timing(**result["timing"]) if result["timing"] else None
            known["results"] = [Result(**result) for result in known["results"]]
            known["memory"] = [Memory(**memory) for memory in known["memory"]]
            return cls(**known)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not the results of a run ({error})") from None


def rounded(value: object) -> object:
    """Floats with four significant digits, however deep they are; what says nothing left out."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return value


def geomean(values: list[float]) -> float:
    """Geometric mean."""
    return exp(sum(map(log, values)) / len(values))
