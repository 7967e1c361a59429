"""Convolution: every case, forward and both gradients, at 1 and 2 threads, beside loops with einsum."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cases import CONV, PURE_LOOPS, case_of
from benchmarks.conftest import Run
from benchmarks.passes import CONV_PASSES, assert_agree, conv_pair, pure_pair
from benchmarks.problems import Problem

each_pass = pytest.mark.parametrize("name", CONV_PASSES)
each_case = pytest.mark.parametrize("case", CONV)
each_small_case = pytest.mark.parametrize("case", PURE_LOOPS)


@each_pass
@each_case
def test_conv(case: str, name: str, threads: int, run: Run) -> None:
    problem = Problem(name, case)
    run(
        conv_pair(case_of(case), name).fastconv,
        f"{case} {name}",
        "fastconv",
        problem.flops,
        problem.dtype,
    )


@each_pass
@each_case
def test_einsum(case: str, name: str, run: Run) -> None:
    """The baseline, whose result fastconv's must equal."""
    pair = conv_pair(case_of(case), name)
    exact = run(pair.naive, f"{case} {name}", "einsum", Problem(name, case).flops)
    assert_agree(pair.fastconv(), exact)


@each_small_case
def test_small_conv(case: str, threads: int, run: Run) -> None:
    flops = Problem("forward", case).flops
    run(pure_pair(case_of(case)).fastconv, f"{case} forward", "fastconv", flops)


@each_small_case
def test_pure_python(case: str, run: Run) -> None:
    """The baseline without NumPy, whose result fastconv's must equal."""
    pair = pure_pair(case_of(case))
    exact = run(pair.naive, f"{case} forward", "pure Python", Problem("forward", case).flops)
    assert_agree(pair.fastconv(), np.array(exact, case_of(case).dtype))


def test_call_overhead(run: Run) -> None:
    """A warm 9x9 call: next to no arithmetic, so this is the way through the floors."""
    run(conv_pair(case_of("toy"), "forward").fastconv, "9x9 conv2d call", "fastconv")
