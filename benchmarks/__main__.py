"""Print the headline numbers as Markdown tables: `python -m benchmarks` (about a minute and a half)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

import numpy as np

import fastconv
from benchmarks import measure, memory
from benchmarks.cases import PURE_LOOPS, RESNET_1X1, RESNET_3X3, ConvCase, conv_case
from benchmarks.passes import CONV_PASSES, Pair, assert_agree, conv_pair, pure_pair
from fastconv.functional.algorithm import choose
from fastconv.geometry import conv_geometry

SPEED_HEADER = (
    "layer",
    "pass",
    "algorithm",
    "GFLOP/s, 1 thread",
    "FMA peak",
    "share",
    "spread",
    "best share",
    "gain of most threads",
    "x einsum, 1 thread",
    "x einsum, most threads",
)
MEMORY_CASES = ("rn50-64", "rn50-512", "rn50-1x1-s2", "vgg-1_2", "c3d-64", "audio-1d-k9", "large-15")


def write_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A Markdown table, row by row as they are measured."""
    sys.stdout.write(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}\n")
    for row in rows:
        sys.stdout.write(f"| {' | '.join(row)} |\n")
        sys.stdout.flush()


def timed(pair: Pair, with_naive: bool) -> dict[str, measure.Timing]:
    """fastconv at 1 and 2 threads, and the naive call, in turns; their results compared beforehand."""

    def at(count: int) -> object:
        with measure.threads(count):
            return pair.fastconv()

    assert_agree(pair.fastconv(), np.asarray(pair.naive()))
    calls = {f"{count}": lambda count=count: at(count) for count in measure.threads_to_time()}
    timings = measure.compare(calls)
    if with_naive:
        timings["naive"] = measure.Timing.of([measure.seconds(pair.naive) for _ in range(3)])
    return timings


def algorithm(case: ConvCase, name: str) -> str:
    """What "auto" chooses; the weight gradient has no choice."""
    if name == "grad_weight":
        return "direct"
    geometry = conv_geometry(
        case.input_shape, case.weight_shape, spatial_rank=len(case.size), **case.parameters
    )
    return choose(geometry, "forward" if name == "forward" else "input_gradient", fastconv.get_precision())


def speed_row(case: ConvCase, name: str) -> list[str]:
    """Share of the FMA peak on one thread, the gain of a second one, and einsum's time over fastconv's."""
    timings = timed(conv_pair(case, name), with_naive=True)
    peak = measure.fma_peak(case.dtype)
    one, most = timings["1"], timings[str(measure.threads_to_time()[-1])]
    return [
        case.id,
        name,
        algorithm(case, name),
        f"{case.flops / one.median / 1e9:.0f}",
        f"{peak / 1e9:.0f}",
        f"{case.flops / one.median / peak:.0%}",
        f"±{one.spread / 2:.0%}",
        f"{case.flops / one.best / peak:.0%}",
        f"{one.median / most.median:.2f}",
        f"{timings['naive'].median / one.median:.0f}",
        f"{timings['naive'].median / most.median:.0f}",
    ]


def pure_row(case: ConvCase) -> list[str]:
    timings = timed(pure_pair(case), with_naive=True)
    return [
        case.id,
        f"{timings['naive'].median * 1e3:.0f} ms",
        *(
            f"{timings['naive'].median / timings[f'{count}'].median:.0f}"
            for count in measure.threads_to_time()
        ),
    ]


def call_row(label: str, **arguments: object) -> list[str]:
    """A 9x9 convolution with one 3x3 kernel."""
    case = conv_case("toy")
    input, weight = np.ones(case.input_shape, np.float32), np.ones(case.weight_shape, np.float32)
    timing = measure.compare({"call": lambda: fastconv.conv2d(input, weight, **arguments)})["call"]
    return [label, f"{timing.median * 1e6:.2f} us", f"{timing.low * 1e6:.2f} to {timing.high * 1e6:.2f} us"]


def memory_row(case_id: str, name: str) -> list[str]:
    """Extra memory beside what is promised, at each number of threads."""
    row = [case_id, name]
    for count in measure.threads_to_time():
        used, allowed = memory.extra_bytes(case_id, name, count), memory.allowed_bytes(case_id, count)
        row.append(f"{used / 2**20:.1f} of {allowed / 2**20:.1f} MiB")
    return row


def main() -> None:
    counts = measure.threads_to_time()
    known = {**measure.machine(), "load before": f"{os.getloadavg()[0]:.1f}"}
    sys.stdout.write(", ".join(f"{name}: {value}" for name, value in known.items()) + "\n")
    write_table(
        "ResNet-50 layers: medians. GFLOP count as in the direct algorithm, whichever is used; the naive side"
        " loops over kernel taps with np.einsum (no BLAS).",
        SPEED_HEADER,
        (speed_row(case, name) for case in (*RESNET_3X3, *RESNET_1X1) for name in CONV_PASSES),
    )
    write_table(
        "3x3 convolution of a 32x32 picture: times faster than loops in pure Python",
        ("case", "pure Python", *(f"x, {count} threads" for count in counts)),
        map(pure_row, PURE_LOOPS),
    )
    out = np.empty(conv_case("toy").output_shape, np.float32)
    write_table(
        "One warm 9x9 call",
        ("call", "median", "quartiles"),
        [call_row("conv2d(input, weight)"), call_row("conv2d(input, weight, out=out)", out=out)],
    )
    if memory.AVAILABLE:
        write_table(
            "Extra memory of a call, of what is promised (packed weights + 8 MiB per thread)",
            ("case", "pass", *(f"{count} threads" for count in counts)),
            (memory_row(case_id, name) for case_id in MEMORY_CASES for name in CONV_PASSES),
        )


if __name__ == "__main__":
    main()
