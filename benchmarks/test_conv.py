"""Convolution: every case, forward and both gradients, at 1 and 2 threads, beside loops with einsum."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cases import CONV, PURE_LOOPS, ConvCase, conv_case
from benchmarks.conftest import Run
from benchmarks.passes import CONV_PASSES, assert_agree, conv_pair, pure_pair

each_pass = pytest.mark.parametrize("name", CONV_PASSES)
each_case = pytest.mark.parametrize("case", CONV, ids=lambda case: case.id)
each_small_case = pytest.mark.parametrize("case", PURE_LOOPS, ids=lambda case: case.id)


@each_pass
@each_case
def test_conv(case: ConvCase, name: str, threads: int, run: Run) -> None:
    run(conv_pair(case, name).fastconv, f"{case.id} {name}", "fastconv", case.flops, case.dtype)


@each_pass
@each_case
def test_einsum(case: ConvCase, name: str, run: Run) -> None:
    """The baseline, whose result fastconv's must equal."""
    pair = conv_pair(case, name)
    exact = run(pair.naive, f"{case.id} {name}", "einsum", case.flops)
    assert_agree(pair.fastconv(), exact)


@each_small_case
def test_small_conv(case: ConvCase, threads: int, run: Run) -> None:
    run(pure_pair(case).fastconv, f"{case.id} forward", "fastconv", case.flops)


@each_small_case
def test_pure_python(case: ConvCase, run: Run) -> None:
    """The baseline without NumPy, whose result fastconv's must equal."""
    pair = pure_pair(case)
    exact = run(pair.naive, f"{case.id} forward", "pure Python", case.flops)
    assert_agree(pair.fastconv(), np.array(exact, case.dtype))


def test_call_overhead(run: Run) -> None:
    """A warm 9x9 call: next to no arithmetic, so this is the way through the floors."""
    case = conv_case("toy")
    run(conv_pair(case, "forward").fastconv, "9x9 conv2d call", "fastconv")
