"""summary: shapes, parameters and FLOPs of a net, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from nn_cases import small_net

from fastconv import nn


def test_the_decks_net() -> None:
    """Counts by hand: 3 features of 3x3 on 9x9 give 3 * 7 * 7 * 9 multiplications and additions."""
    report = nn.summary(small_net(np.float32), (1, 1, 9, 9))
    assert report.parameters == 27 + 3 + 24 + 2
    assert [row.output_shape for row in report.rows] == [
        (1, 2),
        (1, 3, 7, 7),
        (1, 3, 7, 7),
        (1, 3, 4, 4),
        (1, 3, 2, 2),
        (1, 12),
        (1, 2),
    ]
    assert [row.flops for row in report.rows[1:]] == [2 * 147 * 9, 147, 48 * 4, 12 * 4, 0, 2 * 24]
    assert report.flops == report.rows[0].flops == sum(row.flops for row in report.rows[1:])
    assert [row.parameters for row in report.rows[1:]] == [30, 0, 0, 0, 0, 26]


def test_the_table_is_aligned_and_complete() -> None:
    lines = str(nn.summary(small_net(np.float32), (1, 1, 9, 9))).splitlines()
    assert lines[0].split() == ["layer", "output", "shape", "parameters", "FLOPs"]
    body = lines[2:-2]
    assert len(body) == 7
    assert len({len(line) for line in body}) == 1
    assert len({line.index(" (1, ") for line in body}) == 1
    assert "0 Conv2d(in_channels=1, out_channels=3, kernel_size=3)" in body[1]
    assert lines[-1] == "input (1, 1, 9, 9): 56 parameters, 3,081 FLOPs"


def test_nested_and_shared_layers() -> None:
    """Layers inside layers are indented under them; parameters that are shared count once."""
    shared = nn.Conv2d(2, 2, 3, padding=1)
    net = nn.Sequential(
        nn.Residual(shared, nn.ReLU(), shared, shortcut=nn.Conv2d(2, 2, 1)),
        nn.Concat(nn.Identity(), nn.Sequential(nn.BatchNorm2d(2))),
    )
    report = nn.summary(net, (4, 2, 5, 5))
    assert [row.path for row in report.rows] == [
        "",
        "0",
        "0.0",
        "0.1",
        "0.2",
        "0.shortcut",
        "1",
        "1.0",
        "1.1",
        "1.1.0",
    ]
    assert report.parameters == 38 + 6 + 4
    assert report.buffers == 4
    assert report.rows[0].output_shape == (4, 4, 5, 5)
    conv = 2 * 4 * 2 * 25 * 2 * 9
    assert report.flops == 2 * conv + 200 + conv // 9 + 200 + 400
    text = str(report)
    assert "    2 Conv2d(in_channels=2, out_channels=2, kernel_size=3, padding=1)" in text
    assert text.count("shared") == 1
    assert text.endswith("48 parameters and 4 kept, 16,000 FLOPs")


def test_nothing_is_computed() -> None:
    """A shape whose arrays no machine could hold is answered at once."""
    report = nn.summary(nn.Conv2d(1, 1, 3), (1, 1, 10_000_000, 10_000_000))
    assert report.rows[0].output_shape == (1, 1, 9_999_998, 9_999_998)


@pytest.mark.parametrize(
    ("net", "shape", "error", "message"),
    [
        ("net", (1, 2), TypeError, "net: must be a layer"),
        (nn.ReLU(), 9, TypeError, "input_shape=9: must be a shape"),
        (nn.ReLU(), (1, 0), ValueError, "input_shape=0: must be at least 1"),
        (nn.ReLU(), (1, 2.5), TypeError, "input_shape=2.5"),
        (
            nn.Sequential(nn.ReLU(), nn.Linear(3, 2)),
            (1, 4),
            ValueError,
            r"layer 1, Linear.*must end in in_features=3",
        ),
        (nn.Conv2d(2, 3, 3), (1, 1, 9, 9), ValueError, "input: 1 channels"),
        (nn.MaxPool2d(4), (1, 1, 3, 3), ValueError, "kernel_size=4"),
    ],
)
def test_bad_input(net, shape, error, message) -> None:
    with pytest.raises(error, match=message):
        nn.summary(net, shape)
