"""Products of rows with a weight that stays."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from fastconv._kernels.conv.matmul import multiply
from fastconv._kernels.engine.packed import PackedWeight
from fastconv.functional.linear import product_plan


class RowProduct:
    """Rows times the transpose of a weight (K, C), which is packed for all calls that have several rows.

    fastconv's own product packs the weight once; a single row is quicker by BLAS, as it is bound by how
    quickly the weight is read.
    """

    def __init__(self, weight: np.ndarray) -> None:
        self.weight = np.ascontiguousarray(weight)
        self.packed = PackedWeight()

    @cached_property
    def transposed(self) -> np.ndarray:
        return np.ascontiguousarray(self.weight.T)

    def of(self, count: int) -> Callable[[np.ndarray, np.ndarray], Any]:
        """`product(rows, out)` for so many rows."""
        weight, packed = self.weight, self.packed
        if count < 2 or not weight.size:
            return self._of_one
        plan = product_plan(weight.shape[0], weight.shape[1], count)

        def product(rows: np.ndarray, out: np.ndarray) -> None:
            multiply(plan, weight, False, rows, True, out, True, None, 0, packed)

        return product

    def _of_one(self, rows: np.ndarray, out: np.ndarray) -> None:
        np.dot(rows, self.transposed, out)
