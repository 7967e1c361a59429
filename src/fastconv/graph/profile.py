"""Where the time of a graph goes, node by node."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Any

import numpy as np

from fastconv.functional.packed import PackedLinear
from fastconv.geometry import whole_number
from fastconv.graph.graph import Graph
from fastconv.graph.program import Program, Step
from fastconv.graph.summary import Row, summary
from fastconv.runtime import get_isa, get_num_threads
from fastconv.tables import table

#: Rows, columns and depth of the product whose speed counts as the machine's peak, and how often it is run.
PEAK_SIZE, PEAK_RUNS = 1024, 7


@dataclass(frozen=True)
class ProfileRow:
    """One node that takes time.

    Attributes
    ----------
    node : fastconv.graph.summary.Row
        What it is.
    seconds : float
        Median over the calls.
    share : float
        Of the time of all nodes.
    peak : float
        Of what the machine computes at most, the part that this node does; 0 without FLOPs.
    """

    node: Row
    seconds: float
    share: float
    peak: float

    @property
    def gflops(self) -> float:
        """Billions of operations per second."""
        return self.node.flops / self.seconds / 1e9 if self.seconds else 0.0


@dataclass(frozen=True)
class Profile:
    """A table of the time that nodes take; `print` it.

    Attributes
    ----------
    rows : tuple of ProfileRow
        Nodes in the order in which they run. Those that only look at memory in another way take no step of
        their own and are not among them.
    seconds : float
        Median time of a whole call.
    flops : int
        Operations of a call.
    peak_flops : float
        What the machine computes per second at most, as `profile` has measured it.
    repeats, threads : int
    """

    rows: tuple[ProfileRow, ...]
    seconds: float
    flops: int
    peak_flops: float
    repeats: int
    threads: int

    def __str__(self) -> str:
        lines = [("node", "operator", "output shape", "algorithm", "ms", "share", "GFLOP/s", "of peak")]
        for row in self.rows:
            node = row.node
            figures = (f"{row.seconds * 1e3:.3f}", f"{row.share:.1%}", f"{row.gflops:.1f}", f"{row.peak:.0%}")
            shape = "?" if node.shape is None else str(node.shape)
            lines.append((node.name, node.title, shape, node.algorithm, *figures))
        times = "once" if self.repeats == 1 else f"median of {self.repeats} calls"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        speed = self.flops / self.seconds / 1e9 if self.seconds else 0.0
        peak = self.peak_flops / 1e9
        text = table(lines, "<<<<>>>>")
        text.append(
            f"{self.seconds * 1e3:.3f} ms, {times}, {threads}: {speed:.1f} GFLOP/s of {peak:.1f} at most"
        )
        return "\n".join(text)


def profile(graph: Graph, x: Any, repeats: int = 10) -> Profile:
    """Time of each node of a graph for one input.

    Parameters
    ----------
    graph : Graph
    x : array, tuple of arrays, or dict of arrays by name
        The inputs.
    repeats : int, default 10
        Calls that are timed, after one that warms up; each row is the median of them.

    Returns
    -------
    Profile
        With a table as its `str`.

    Raises
    ------
    TypeError, ValueError
        As calling the graph.

    Notes
    -----
    Nodes are timed inside whole calls, so that each finds in cache what it would find there. The peak is the
    fastest of seven products of 1024x1024 matrices with a packed weight, float32, on the threads and the
    instruction set in use: measured when first asked for, and kept. Winograd's algorithm needs fewer
    multiplications than are counted, so it may be above the peak.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.graph import Graph, Node, Value
    >>> x, y, z = Value("x", np.dtype(np.float32), ("n", 3, 8, 8)), Value("y"), Value("z")
    >>> weight = Value.of(np.ones((4, 3, 3, 3), np.float32))
    >>> graph = Graph([x], [Node("Conv", [x, weight], [y]), Node("Softmax", [y], [z])], [z])
    >>> found = graph.profile(np.ones((2, 3, 8, 8), np.float32))
    >>> [row.node.operator for row in found.rows], 0 < found.seconds < 1
    (['Conv', 'Softmax'], True)
    """
    repeats = whole_number("repeats", repeats, 1)
    given = dict(x) if isinstance(x, Mapping) else x
    arrays = graph.bound(tuple(given) if isinstance(given, (tuple, list)) else (given,), {})
    told = summary(graph, *arrays)
    program = graph.program_of(arrays)
    watch = _Watch()
    program.timed(arrays, watch)
    watch.seconds.clear()
    totals = []
    for _ in range(repeats):
        began = time.perf_counter()
        program.timed(arrays, watch)
        totals.append(time.perf_counter() - began)
    return _profile(program, told.rows, watch, totals, told.flops)


class _Watch:
    """Notes how long each step takes."""

    def __init__(self) -> None:
        self.seconds: dict[Step, list[float]] = {}
        self._last = 0.0

    def __call__(self, step: Step | None) -> None:
        now = time.perf_counter()
        if step is not None:
            self.seconds.setdefault(step, []).append(now - self._last)
        self._last = time.perf_counter()


def _profile(
    program: Program, nodes: tuple[Row, ...], watch: _Watch, totals: list[float], flops: int
) -> Profile:
    of = dict(zip(program.found.nodes, nodes))
    medians = {step: median(seconds) for step, seconds in watch.seconds.items()}
    together = sum(medians.values())
    peak = peak_flops(get_num_threads(), get_isa())
    rows = [
        ProfileRow(
            of[step.node],
            seconds,
            seconds / together if together else 0.0,
            of[step.node].flops / seconds / peak if seconds else 0.0,
        )
        for step, seconds in medians.items()
    ]
    return Profile(tuple(rows), median(totals), flops, peak, len(totals), get_num_threads())


@lru_cache(maxsize=8)
def peak_flops(threads: int, isa: str) -> float:
    """Operations per second of the fastest product that was seen, with these threads and instructions."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((PEAK_SIZE, PEAK_SIZE), np.float32)
    product = PackedLinear(draw.standard_normal((PEAK_SIZE, PEAK_SIZE), np.float32))
    fastest = float("inf")
    for _ in range(PEAK_RUNS):
        began = time.perf_counter()
        product(x)
        fastest = min(fastest, time.perf_counter() - began)
    return 2.0 * PEAK_SIZE**3 / fastest
