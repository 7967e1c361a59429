"""Functions of arrays that have no operator of their own: what layers of `fastconv.nn` compute, mostly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.graph.operator import Operator, Signature


def _called(
    x: np.ndarray, *others: Any, function: Callable[..., Any], shape: Any, settings: tuple[Any, ...] = ()
) -> Any:
    """What a function makes of arrays, and of settings behind them."""
    return function(x, *others, *settings)


def _signature(
    x: Signature, *others: Signature, function: Any, shape: Callable[..., Any], settings: Any = ()
) -> Signature:
    """The shape that is told; the dtype is that of the first input."""
    return Signature(x.dtype, tuple(shape(x.shape)))


OPERATORS: dict[str, Operator] = {
    "Function": Operator(_called, _signature),
    "View": Operator(_called, _signature, is_view=True),  # of a function whose result may lie in its input
}
