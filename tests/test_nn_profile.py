"""profile: every layer is there, timed once per round, with what it computes; fused ones are named."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fastconv import nn


class Slow(nn.Layer):
    """A layer of one's own that sleeps, and has a layer inside."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.inner = nn.Linear(4, 4, rng=0)
        self.calls: list[int] = []

    def __call__(self, input: np.ndarray) -> np.ndarray:
        self.calls.append(len(input))
        time.sleep(self.seconds)
        return self.inner(input)

    def output_shape(self, input_shape):
        return input_shape


def test_rows_are_those_of_the_summary() -> None:
    """The same layers with the same shapes and FLOPs, inside one another too."""
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, rng=0),
        nn.ReLU(),
        nn.Residual(nn.Conv2d(4, 4, 3, padding=1, rng=1), nn.BatchNorm2d(4), nn.ReLU(), nn.ReLU()),
        nn.Concat(nn.Conv2d(4, 2, 1, rng=2), nn.Identity()),
        nn.Residual(nn.Conv2d(6, 8, 1, rng=3), shortcut=nn.Conv2d(6, 8, 1, rng=4)),
        nn.Flatten(),
        nn.Linear(8 * 36, 2, rng=5),
    )
    x = np.ones((3, 1, 6, 6), np.float32)
    found, expected = nn.profile(net, x, repeats=2), nn.summary(net, x.shape)
    for row, wanted in zip(found.rows, expected.rows, strict=True):
        assert (row.path, row.text, row.output_shape, row.flops) == (
            wanted.path,
            wanted.text,
            wanted.output_shape,
            wanted.flops,
        )
        assert (row.seconds > 0) != row.fused
    # batch norm applies no activation as it stores, a convolution does, and only one
    assert [row.path for row in found.rows if row.fused] == ["1"]
    assert found.rows[0].share == 1
    assert found.seconds == found.rows[0].seconds


def test_the_time_of_a_layer_of_ones_own_shows_and_what_is_inside_it() -> None:
    slow = Slow(0.005)
    net = nn.Sequential(nn.Linear(4, 4, rng=0), slow, nn.Flatten())
    found = nn.profile(net, np.ones((2, 4), np.float32), repeats=3)
    assert [row.path for row in found.rows] == ["", "0", "1", "1.inner", "2"]
    assert found.rows[2].seconds >= 0.005
    assert found.rows[2].share > 0.5
    assert len(slow.calls) >= 2 * (3 + 1)  # alone and within the net, once to warm up
    text = str(found)
    assert "GFLOP/s" in text
    assert text.splitlines()[-1] == "input (2, 4): median of 3 times"


def test_nothing_in_the_net_moves() -> None:
    net = nn.Sequential(nn.Linear(4, 4, rng=0), nn.BatchNorm1d(4), nn.Dropout(0.5, rng=0))
    before, drawn = net.state_dict(), net[2].rng.bit_generator.state
    nn.profile(net, np.ones((2, 4), np.float32), repeats=1)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert net[2].rng.bit_generator.state == drawn


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("net", np.ones((1, 4))), TypeError, "net: must be an nn.Layer, not str"),
        ((nn.Linear(4, 2), [1.0]), TypeError, "x: must be an array"),
        ((nn.Linear(4, 2), np.ones((1, 3), np.float32)), ValueError, "input: shape"),
        ((nn.Linear(4, 2), np.ones((1, 4), np.float32), 0), ValueError, "repeats=0: must be at least 1"),
    ],
)
def test_bad_input(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        nn.profile(*arguments)
