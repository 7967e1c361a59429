"""A model timed beside onnxruntime: in turns, on as many threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import numpy as np

from fastconv import __version__
from fastconv.graph import Graph
from fastconv.graph.summary import shapes_of
from fastconv.runtime import cpu_name, get_isa, get_num_threads
from fastconv.tables import table

#: Runs the model; the outputs.
Engine = Callable[[], list[Any]]


@dataclass(frozen=True)
class Timing:
    """What an engine took.

    Attributes
    ----------
    engine : str
        With its version.
    seconds : tuple of float
        Of each call.
    """

    engine: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the calls."""
        return median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """Between which eight of ten calls lie."""
        if len(self.seconds) < 2:
            return self.seconds[0], self.seconds[0]
        cuts = quantiles(self.seconds, n=10, method="inclusive")
        return cuts[0], cuts[-1]


@dataclass(frozen=True)
class Comparison:
    """A table of engines; `print` it.

    Attributes
    ----------
    timings : tuple of Timing
        fastconv first.
    inputs : tuple of (str, tuple of int)
    flops : int
        Of a call, as `Graph.summary` counts them.
    threads : int
    difference : float or None
        Between the results, as a part of the largest value; None without another engine.
    missing : str
        Why there is no other engine, or "".
    """

    timings: tuple[Timing, ...]
    inputs: tuple[tuple[str, tuple[int, ...] | None], ...]
    flops: int
    threads: int
    difference: float | None
    missing: str

    def __str__(self) -> str:
        lines = [("engine", "median ms", "8 of 10 between", "GFLOP/s", "times as fast")]
        slowest = self.timings[-1].median
        for each in self.timings:
            low, high = each.spread
            between = f"{low * 1e3:.3f} - {high * 1e3:.3f}"
            speed, ratio = self.flops / each.median / 1e9, slowest / each.median
            lines.append((each.engine, f"{each.median * 1e3:.3f}", between, f"{speed:.1f}", f"{ratio:.2f}"))
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        given = ", ".join(f"{name} {'?' if shape is None else shape}" for name, shape in self.inputs)
        text = [f"{cpu_name()}, {threads}, {get_isa()}", f"for {given}", *table(lines, "<>>>>")]
        count = len(self.timings[0].seconds)
        text.append(f"{count} calls each, in turns, each after one that is not timed")
        if self.missing:
            text.append(self.missing)
        if self.difference is not None:
            text.append(f"results differ by {self.difference:.2g} of the largest value")
        return "\n".join(text)


def compare(model: str, graph: Graph, shapes: Mapping[str, tuple[int, ...]], repeats: int) -> Comparison:
    """Time a model.

    Parameters
    ----------
    model : path
        What onnxruntime reads.
    graph : Graph
        The same, as fastconv has read it.
    shapes : mapping of str to tuple of int
        Of inputs that the model leaves open.
    repeats : int
        Calls of each engine.

    Raises
    ------
    TypeError, ValueError
        A shape that is not known or that the model does not take.
    """
    arrays = _drawn(graph, shapes)
    found = graph.summary(*arrays)
    engines: list[tuple[str, Engine]] = [(f"fastconv {__version__}", lambda: graph.run(arrays))]
    other, missing = _onnxruntime(model, graph, arrays)
    difference = None
    if other is not None:
        engines.append(other)
        difference = _difference(graph.run(arrays), other[1]())
    seconds: list[list[float]] = [[] for _ in engines]
    for k in range(repeats):
        for i in sorted(range(len(engines)), reverse=bool(k % 2)):
            run = engines[i][1]
            run()  # the threads of the one before go to sleep meanwhile
            began = time.perf_counter()
            run()
            seconds[i].append(time.perf_counter() - began)
    timings = tuple(Timing(name, tuple(each)) for (name, _), each in zip(engines, seconds))
    return Comparison(timings, found.inputs, found.flops, get_num_threads(), difference, missing)


def _drawn(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> list[np.ndarray]:
    """Random numbers for floating-point inputs, zeros for others, which may be places."""
    draw = np.random.default_rng(0)
    arrays = []
    for value, told in zip(graph.inputs, shapes_of(graph, (dict(shapes),))[0]):
        if told is None:
            raise ValueError(f"input {value.name!r}: is no array, so it cannot be drawn")
        shape, dtype = told
        floating = dtype.kind == "f"
        arrays.append(draw.standard_normal(shape).astype(dtype) if floating else np.zeros(shape, dtype))
    return arrays


def _onnxruntime(model: str, graph: Graph, arrays: list[np.ndarray]) -> tuple[tuple[str, Engine] | None, str]:
    """onnxruntime on as many threads, or why not."""
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        return None, "onnxruntime is not installed: nothing to compare with"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = get_num_threads(), 1
    options.log_severity_level = 4
    given = {value.name: array for value, array in zip(graph.inputs, arrays)}
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        session.run(None, given)
    except Exception as error:  # its own classes, one for each kind of trouble
        return None, f"onnxruntime does not run this model: {' '.join(str(error).split())[:200]}"
    return (f"onnxruntime {onnxruntime.__version__}", lambda: list(session.run(None, given))), ""


def _difference(ours: list[Any], theirs: list[Any]) -> float:
    """The largest difference of any two outputs, as a part of the largest value."""
    worst = 0.0
    for a, b in zip(ours, theirs):
        if isinstance(a, np.ndarray) and a.size and a.dtype.kind in "biuf" and a.shape == b.shape:
            wide, other = a.astype(np.float64), b.astype(np.float64)
            worst = max(worst, float(np.abs(wide - other).max() / (np.abs(other).max() or 1.0)))
    return worst
