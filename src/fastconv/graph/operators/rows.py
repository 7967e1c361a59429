"""Products of rows with a factor that stays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv._kernels.conv.direct import ACTIVATIONS
from fastconv._kernels.conv.matmul import multiply
from fastconv._kernels.engine.packed import PackedWeight
from fastconv.functional.linear import product_plan


class RowProduct:
    """Rows (..., C) times a constant factor, which is packed once for all calls.

    A row's result does not depend on how many there are: no product is left to BLAS, which sums otherwise for
    one row than for several.

    Parameters
    ----------
    weight : ndarray, shape (K, C), or (C, K) if not `transposed`, float32 or float64
        Nobody may write to it any more.
    transposed : bool, default True
        Whether the factor is the weight's transpose, as in a fully connected layer.
    """

    def __init__(self, weight: np.ndarray, transposed: bool = True) -> None:
        self.weight, self.transposed = np.ascontiguousarray(weight), transposed
        self._packed = PackedWeight()

    def of(
        self, count: int, bias: np.ndarray | None = None, activation: str | None = None
    ) -> Callable[[np.ndarray, np.ndarray], None]:
        """`product(rows, out)` for so many rows, each plus a bias, and an activation of that."""
        weight, transposed, packed = self.weight, self.transposed, self._packed
        if not weight.size or not count:
            return _nothing
        columns, depth = weight.shape if transposed else weight.shape[::-1]
        plan, code = product_plan(columns, depth, count), ACTIVATIONS[activation]

        def product(rows: np.ndarray, out: np.ndarray) -> None:
            multiply(plan, weight, not transposed, rows, True, out, True, bias, code, packed)

        return product


def _nothing(rows: np.ndarray, out: np.ndarray) -> None:
    """The sum of no products."""
    out.fill(0)
