"""Training steps of small networks, one call each: forward, loss, backprop, gradient descent."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cases import TRAIN_STEP, TrainCase
from benchmarks.conftest import Run
from benchmarks.passes import TOLERANCE
from benchmarks.training import FastStep, NaiveStep

each_case = pytest.mark.parametrize("case", TRAIN_STEP, ids=lambda case: case.id)


@each_case
def test_step(case: TrainCase, threads: int, run: Run) -> None:
    run(FastStep(case), f"{case.id} training step", "fastconv")


@each_case
def test_naive_step(case: TrainCase, run: Run) -> None:
    """The baseline. One step of it in float64 gives the parameters that fastconv's step must reach."""
    fast = FastStep(case)
    exact = NaiveStep(case, [value.astype(np.float64) for value in fast.parameters()])
    run(NaiveStep(case, fast.parameters()), f"{case.id} training step", "einsum")
    assert fast() == pytest.approx(exact(), rel=TOLERANCE["float32"])
    for value, expected in zip(fast.parameters(), exact.parameters(), strict=True):
        assert np.abs(value - expected).max() <= TOLERANCE["float32"] * np.abs(expected).max()
