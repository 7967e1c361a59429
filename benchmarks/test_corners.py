"""Calls off the beaten track at 1 and 2 threads, beside the line that does the same without fastconv."""

from __future__ import annotations

import pytest

from benchmarks.conftest import Run
from benchmarks.corners import CORNERS, CornerCase, corner_arrays, corner_call
from benchmarks.exact import relative_error

each_case = pytest.mark.parametrize("case", CORNERS, ids=lambda case: case.id)


@each_case
def test_corner(case: CornerCase, threads: int, run: Run) -> None:
    run(corner_call("fastconv", case, corner_arrays(case)), case.id, "fastconv")


@each_case
def test_line_without_fastconv(case: CornerCase, run: Run) -> None:
    """The baseline, whose result fastconv's must be, but for rounding."""
    if "scipy" not in case.lines:
        pytest.skip("torch has a line for it, NumPy and SciPy have none: see the report")
    pytest.importorskip("scipy")
    arrays = corner_arrays(case)
    expected = run(corner_call("scipy", case, arrays), case.id, "scipy")
    assert relative_error(corner_call("fastconv", case, arrays)(), expected) < 1e-5
