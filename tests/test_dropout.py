"""Dropout: what is dropped is 0, whatever stood there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv import nn


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_dropped_values_are_zero_whatever_they_were(bad: float, dtype: Any) -> None:
    """NaN and infinities are dropped like any value, both ways and without a warning; the rest stays."""
    layer = nn.Dropout(0.5, rng=3)
    x = np.full((40, 5), bad, dtype)
    y, backprop = layer.vjp(x)
    dropped = y == 0
    assert 0 < dropped.sum() < x.size
    np.testing.assert_array_equal(y[~dropped], x[~dropped])
    np.testing.assert_array_equal(backprop(x), y)
    assert y.dtype == dtype


def test_dropout_keeps_the_memory_order_of_its_input() -> None:
    """Channels-last stays channels-last, and a gradient in another order is dropped at the same places."""
    x = np.ones((2, 4, 5, 3), np.float32).transpose(0, 3, 1, 2)
    y, backprop = nn.Dropout(0.25, rng=1).vjp(x)
    assert y.strides == x.strides
    np.testing.assert_array_equal(backprop(np.ones(x.shape, np.float32)), y)
