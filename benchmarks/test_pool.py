"""Max-pooling forward and backward at 1 and 2 threads, beside loops over the window's taps."""

from __future__ import annotations

import pytest

from benchmarks.cases import MAX_POOL, PoolCase
from benchmarks.conftest import Run
from benchmarks.passes import POOL_PASSES, assert_agree, pool_pair

each_pass = pytest.mark.parametrize("name", POOL_PASSES)
each_case = pytest.mark.parametrize("case", MAX_POOL, ids=lambda case: case.id)


@each_pass
@each_case
def test_max_pool(case: PoolCase, name: str, threads: int, run: Run) -> None:
    run(pool_pair(case, name).fastconv, f"{case.id} {name}", "fastconv")


@each_pass
@each_case
def test_loops_over_taps(case: PoolCase, name: str, run: Run) -> None:
    """The baseline, whose result fastconv's must equal."""
    pair = pool_pair(case, name)
    exact = run(pair.naive, f"{case.id} {name}", "loops over taps")
    assert_agree(pair.fastconv(), exact)
