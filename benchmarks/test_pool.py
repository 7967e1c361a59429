"""Max-pooling forward and backward at 1 and 2 threads, beside loops over the window's taps."""

from __future__ import annotations

import pytest

from benchmarks.cases import MAX_POOL, case_of
from benchmarks.conftest import Run
from benchmarks.passes import POOL_PASSES, assert_agree, pool_pair

each_pass = pytest.mark.parametrize("name", POOL_PASSES)
each_case = pytest.mark.parametrize("case", MAX_POOL)


@each_pass
@each_case
def test_max_pool(case: str, name: str, threads: int, run: Run) -> None:
    run(pool_pair(case_of(case), name).fastconv, f"{case} {name}", "fastconv")


@each_pass
@each_case
def test_loops_over_taps(case: str, name: str, run: Run) -> None:
    """The baseline, whose result fastconv's must equal."""
    pair = pool_pair(case_of(case), name)
    exact = run(pair.naive, f"{case} {name}", "loops over taps")
    assert_agree(pair.fastconv(), exact)
