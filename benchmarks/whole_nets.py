"""Whole nets beside onnxruntime: time, peak memory, load and first run.

`python -m benchmarks.whole_nets` measures the nets of benchmarks/nets.py, and models of other people where
FASTCONV_MODELS names a folder with them; `--write` puts the tables into docs/nets.md.
"""

from __future__ import annotations

import argparse
import datetime
import math
import multiprocessing
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from benchmarks.nets import NETS
from fastconv.runtime import cpu_name
from tests.interop.models import FILES, found

PAGE = Path(__file__).parent.parent / "docs" / "nets.md"
ENGINES = ("fastconv", "onnxruntime")

#: Seconds before a turn: threads of the engine whose turn is over wait awake for a while, and take a CPU.
SETTLES = 0.05

#: What models of other people read: shapes and dtypes by input, or a number.
INPUTS: dict[str, dict[str, Any]] = {
    "det": {"x": (1, 3, 736, 736)},
    "rec": {"x": (6, 3, 48, 320)},
    "cls": {"x": (6, 3, 48, 192)},
    "silero": {"input": (1, 576), "state": (2, 1, 128), "sr": np.array(16000, np.int64)},
    "silero op15": {"input": (1, 576), "state": (2, 1, 128), "sr": np.array(16000, np.int64)},
    "silero op18": {"input": (1, 576), "state": (2, 1, 128), "sr": np.array(16000, np.int64)},
    "basic pitch": {"serving_default_input_2:0": (1, 43844, 1)},
    "mel": {"input": (1, 16000)},
    "embedding": {"input_1": (1, 76, 32, 1)},
    "magika": {"bytes": np.arange(2048, dtype=np.int32)[None] % 257},
}


@dataclass(frozen=True)
class Measured:
    """One engine on one net.

    Attributes
    ----------
    seconds : float
        Median of a call.
    spread : float
        Half the distance of the quartiles, of the median.
    first : float
        Seconds to load the model and run it once.
    peak : int
        Bytes by which the process grew, at most.
    """

    seconds: float
    spread: float
    first: float
    peak: int


def _model(name: str) -> bytes:
    path, _ = found(name) if name in FILES else (None, "")
    return path.read_bytes() if path else NETS[name]().SerializeToString()


def _arrays(name: str, batch: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(1)
    shapes = INPUTS.get(name, {"x": (batch, 1, 256, 256) if name == "unet" else (batch, 3, 224, 224)})
    return {
        key: told if isinstance(told, np.ndarray) else draw.standard_normal(told).astype(np.float32)
        for key, told in shapes.items()
    }


def _opened(engine: str, model: bytes, threads: int) -> Callable[[dict[str, np.ndarray]], Any]:
    """A model as a function, by one engine."""
    if engine == "fastconv":
        from fastconv.interop.onnx import load

        return load(model)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(model, options)
    return lambda arrays: session.run(None, arrays)


def _work(pipe: Connection, engine: str, name: str, threads: int, batch: int) -> None:
    """A process of one engine: it answers each number with the seconds of as many calls."""
    import fastconv

    fastconv.set_num_threads(threads)
    __import__("onnxruntime" if engine == "onnxruntime" else "fastconv.interop.onnx")
    model, arrays = _model(name), _arrays(name, batch)
    before = _memory("VmRSS", reset=True)
    began = time.perf_counter()
    run = _opened(engine, model, threads)
    result = run(arrays)
    first = time.perf_counter() - began
    result = result[0] if isinstance(result, (list, tuple)) else result
    pipe.send((first, np.asarray(result)))
    while (calls := pipe.recv()) is not None:
        time.sleep(SETTLES)
        run(arrays)
        seconds = []
        for _ in range(calls):
            began = time.perf_counter()
            run(arrays)
            seconds.append(time.perf_counter() - began)
        pipe.send((seconds, _memory("VmHWM") - before))


def _memory(line: str, reset: bool = False) -> int:
    """Bytes of memory that Linux tells of this process; `reset` begins the peak (VmHWM) anew."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    told = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(each.split()[1]) * 1024 for each in told.splitlines() if each.startswith(line))


def measure(name: str, threads: int, batch: int, seconds: float) -> dict[str, Measured]:
    """Both engines, each in a process of its own, a few calls in turns."""
    context = multiprocessing.get_context("spawn")
    pipes, workers, first, results = {}, [], {}, {}
    for engine in ENGINES:
        here, there = context.Pipe()
        worker = context.Process(target=_work, args=(there, engine, name, threads, batch), daemon=True)
        worker.start()
        workers.append(worker)
        pipes[engine] = here
        first[engine], results[engine] = here.recv()
    error = float(np.abs(results["fastconv"] - results["onnxruntime"]).max())
    if not error <= 2e-3 * float(np.abs(results["onnxruntime"]).max()):
        raise AssertionError(f"{name}: results differ by {error}")
    times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    peaks = dict.fromkeys(ENGINES, 0)
    calls, spent = 1, 0.0
    while spent < seconds or len(times["fastconv"]) < 5:
        for engine, pipe in pipes.items():
            pipe.send(calls)
            taken, peaks[engine] = pipe.recv()
            times[engine] += taken
            spent += sum(taken) / len(ENGINES)
            calls = max(1, min(500, int(0.1 / max(1e-6, min(taken)))))
    for pipe in pipes.values():
        pipe.send(None)
    for worker in workers:
        worker.join()
    return {engine: _summed(times[engine], first[engine], peaks[engine]) for engine in ENGINES}


def _summed(times: list[float], first: float, peak: int) -> Measured:
    middle = median(times)
    low, _, high = quantiles(times, n=4)
    return Measured(middle, (high - low) / 2 / middle, first, peak)


def rows(names: list[str], threads: list[int], batches: list[int], seconds: float) -> Iterator[str]:
    """The table, row by row, and what it comes to."""
    yield "| net | threads | batch | fastconv | onnxruntime | ratio | first run | peak memory |"
    yield "|---|---|---|---|---|---|---|---|"
    ratios, firsts, peaks = [], [], []
    for name in names:
        for count in threads:
            for batch in batches if name in NETS else [1]:
                both = measure(name, count, batch, seconds)
                ours, theirs = both["fastconv"], both["onnxruntime"]
                ratios.append(theirs.seconds / ours.seconds)
                firsts.append(theirs.first / ours.first)
                peaks.append(max(1, ours.peak) / max(1, theirs.peak))
                yield (
                    f"| {name} | {count} | {batch} | {_time(ours)} | {_time(theirs)} | {ratios[-1]:.2f} "
                    f"| {ours.first * 1e3:.0f} ms, {firsts[-1]:.2f} "
                    f"| {ours.peak / 2**20:.0f} MiB, {peaks[-1]:.2f} |"
                )
    yield ""
    yield (
        f"Geometric means: time {_mean(ratios):.2f}, the smallest {min(ratios):.2f}; load and first run "
        f"{_mean(firsts):.2f}; peak memory {_mean(peaks):.2f}."
    )


def _time(measured: Measured) -> str:
    return f"{measured.seconds * 1e3:.2f} ms ± {measured.spread:.0%}"


def _mean(numbers: list[float]) -> float:
    return math.exp(sum(map(math.log, numbers)) / len(numbers))


def main() -> None:
    """The command."""
    known = [*NETS, *(name for name in INPUTS if found(name)[0])]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whole_nets", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NET", help=f"of {', '.join(known)} (default: all)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each engine on each net (default 3)")
    parser.add_argument("--write", action="store_true", help="write docs/nets.md")
    told = parser.parse_args()
    lines = []
    for line in rows(told.names or known, told.threads, told.batch, told.seconds):
        print(line, flush=True)
        lines.append(line)
    if told.write:
        day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        head = [
            "# Whole nets",
            "",
            f"Written by `python -m benchmarks.whole_nets {shlex.join(sys.argv[1:])}` on {day}, on",
            f"{cpu_name()}. Each engine in a process of its own, a few calls in turns; medians",
            "with half the distance of quartiles. Ratios are onnxruntime's figure over fastconv's, but for",
            "memory, where they are fastconv's over onnxruntime's. Nets of `benchmarks/nets.py` have random",
            "weights.",
            "",
        ]
        PAGE.write_text("\n".join([*head, *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
