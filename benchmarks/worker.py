"""An engine in a process of its own: `Worker` is the near end of the pipes, `serve` the far one.

A worker blocks on its pipe while another is timed, and hands its answer over only when the threads of its
libraries have stopped spinning.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from benchmarks import measure
from benchmarks.peers import (
    CannotError,
    Engine,
    Job,
    Ncnn,
    NumPyLoops,
    OnnxRuntime,
    OpenVino,
    SciPy,
    Torch,
)
from benchmarks.problems import Problem, compared

#: fastconv in several ways, and everybody else.
OURS = (
    "fastconv",
    "fastconv high",
    "fastconv channels-last",
    "fastconv new output",
    "fastconv packed",
)
PEERS = ("torch", "torch channels-last", "onnxruntime", "openvino", "ncnn", "scipy", "numpy loops")

#: Seconds that an answer may take.
PATIENCE = 60.0


class WorkerError(Exception):
    """The engine failed or died; the message is one line."""


class Worker:
    """An engine's process. Started when first asked, and again after it died."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: Path | None = None  # what the libraries print goes here

    def _start(self) -> subprocess.Popen[bytes]:
        handle, name = tempfile.mkstemp(prefix="fastconv-benchmarks-")
        self._errors = Path(name)
        command = [sys.executable, "-m", "benchmarks.worker", self.engine]
        root = Path(__file__).parent.parent
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=handle, cwd=root
        )
        os.close(handle)
        return process

    def ask(self, *request: Any) -> Any:
        """Send a request and wait for its answer.

        Raises
        ------
        CannotError
            The engine does not offer this, or is not installed.
        WorkerError
            It failed, died, or gave no answer in time.
        """
        self._process = process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            send(process.stdin, request)
            if not select.select([process.stdout], [], [], PATIENCE)[0]:
                raise WorkerError(f"no answer within {PATIENCE:.0f} s")
            state, answer = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise WorkerError(f"died ({self.close()})") from None
        except BaseException:
            self.close()
            raise
        if state == "cannot":
            raise CannotError(answer)
        if state == "failed":
            raise WorkerError(answer)
        return answer

    def close(self) -> str:
        """End the process; the last line it printed, or how it ended."""
        if self._process is None or self._errors is None:
            return ""
        self._process.kill()
        with contextlib.suppress(OSError):  # what was not read any more
            self._process.communicate()
        printed = self._errors.read_text(errors="replace").split("\n")
        self._errors.unlink()
        code, self._process, self._errors = self._process.returncode, None, None
        return next((line.strip() for line in reversed(printed) if line.strip()), f"exit code {code}")


def send(pipe: IO[bytes], message: Any) -> None:
    pickle.dump(message, pipe, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def make_engine(name: str) -> Engine:
    """The engine of that name; raises `ImportError` if what it consists of is not there."""
    if name in OURS:
        from benchmarks.fast import Fastconv

        return Fastconv(name.removeprefix("fastconv").strip())
    makers = (Torch, lambda: Torch(channels_last=True), OnnxRuntime, OpenVino, Ncnn, SciPy, NumPyLoops)
    return dict(zip(PEERS, makers, strict=True))[name]()


class Bench:
    """The far end: an engine, and the problem it has been made ready for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.engine: Engine | None = None
        self.problem: Problem | None = None
        self.work = Job(lambda: None)
        self.once = 0.0

    def hello(self) -> dict[str, str]:
        """Versions of what the engine consists of."""
        try:
            self.engine = self.engine or make_engine(self.name)
        except ImportError as error:
            raise CannotError(f"not installed ({error.name or error})") from None
        return self.engine.versions()

    def ready(self, problem: Problem, threads: int) -> float:
        """Build a problem, warm it up; seconds of one call."""
        self.hello()
        assert self.engine is not None
        self.problem, self.work = None, Job(lambda: None)  # the last one's memory goes first
        self.work = self.engine.job(problem, threads)
        self.problem = problem
        self.work.call()
        self.once = max(measure.seconds(self.work.call), 1e-7)
        settle()
        return self.once

    def turn(self, seconds: float) -> list[float]:
        """Seconds per call, again and again for so long; a short call is made once before, for the caches."""
        calls = max(1, round(measure.CLOCK_SECONDS / self.once))
        if self.once < seconds / 4:
            self.work.call()
        samples: list[float] = []
        stop = time.perf_counter() + seconds
        while not samples or time.perf_counter() < stop:
            samples.append(measure.seconds(self.work.call, calls))
        self.once = min(samples)
        settle()
        return samples

    def result(self) -> Any:
        """The part of the result that is compared, of one more call of what was timed."""
        assert self.problem is not None
        value = compared(self.problem, self.work.result(self.work.call())).copy()
        settle()
        return value


def settle() -> None:
    """Wait until no thread of this process uses the CPU any more: many spin for a while after their work."""
    for _ in range(200):
        before = time.process_time()
        time.sleep(1e-3)
        if time.process_time() - before < 2e-4:
            return


def serve(name: str) -> None:
    """Answer requests from standard input until it ends; what a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    bench = Bench(name)
    while True:
        try:
            request, *arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = "done", getattr(bench, request)(*arguments)
        except CannotError as error:
            answer = "cannot", str(error)
        except Exception as error:
            answer = "failed", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        send(answers, answer)


if __name__ == "__main__":
    serve(sys.argv[1])
