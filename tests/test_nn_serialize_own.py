"""save and load with layers of one's own: told by name, made by the classes that the caller gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nn_cases import rng

from fastconv import nn


class Block(nn.Layer):
    """Makes its layers itself; keeps its arguments under their names, as layers do."""

    def __init__(self, channels: int, *, scale: float = 1.0, rng: Any = None) -> None:
        self.channels, self.scale = channels, scale
        self.steps = [
            nn.Conv2d(channels, channels, 3, padding=1, rng=rng),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
        self.gain = nn.Parameter(np.array([scale], np.float32), "gain")

    def __call__(self, input: np.ndarray) -> np.ndarray:
        for step in self.steps:
            input = step(input)
        return input * self.gain.value


class Wraps(nn.Layer):
    """Is given its layers, in all the ways there are."""

    def __init__(
        self, first: nn.Layer, *layers: nn.Layer, heads: dict[str, list[nn.Layer]], size: Any = None
    ) -> None:
        self.first, self.layers, self.heads, self.size = first, layers, heads, size

    def __call__(self, input: np.ndarray) -> np.ndarray:
        input = self.first(input)
        for layer in self.layers:
            input = layer(input)
        return self.heads["x"][0](input) + self.heads["x"][1](input)


def test_layers_of_ones_own_come_back(tmp_path) -> None:
    """By name and arguments, with the arrays of layers that they make themselves, also shared and cast."""
    shared = nn.Conv2d(2, 2, 1, rng=0)
    for dtype in (np.float32, np.float64):
        net = nn.Sequential(
            Block(2, scale=0.5, rng=1),
            Wraps(
                shared, Block(2, rng=2), heads={"x": [shared, nn.ReLU()]}, size=(1, [2.5, None], {"a": True})
            ),
        ).astype(dtype)
        for buffer in net.named_buffers().values():
            buffer.value = abs(rng().standard_normal(buffer.value.shape)).astype(dtype)
        nn.save(net, tmp_path / "net.npz")
        again = nn.load(tmp_path / "net.npz", layers=[Block, Wraps])
        assert repr(again) == repr(net)
        assert list(again.state_dict()) == list(net.state_dict())
        x = rng().standard_normal((2, 2, 5, 5)).astype(dtype)
        assert np.array_equal(again(x), net(x))
        assert again[1].first is again[1].heads["x"][0]
        assert again[1].size == (1, [2.5, None], {"a": True})
        assert type(again[1].heads["x"]) is list
        assert again[0].steps[0].dtype == dtype


def test_a_class_that_is_missing_is_named_with_the_way_to_give_it(tmp_path) -> None:
    nn.save(nn.Sequential(Block(2), Wraps(nn.ReLU(), heads={})), tmp_path / "net.npz")
    for given, names in (((), "Block, Wraps"), ((Block,), "Wraps")):
        with pytest.raises(ValueError, match=rf"net\.npz: holds layers of your own.*layers=\[{names}\]"):
            nn.load(tmp_path / "net.npz", layers=given)


def test_classes_given_are_checked(tmp_path) -> None:
    nn.save(nn.ReLU(), tmp_path / "net.npz")
    for wrong, error in (
        (Block, TypeError),
        ([Block(2)], TypeError),
        ([int], TypeError),
        (["Block"], TypeError),
        ([type("ReLU", (nn.ReLU,), {})], ValueError),
        ([Block, type("Block", (nn.ReLU,), {})], ValueError),
    ):
        with pytest.raises(error, match="layers: "):
            nn.load(tmp_path / "net.npz", layers=wrong)  # type: ignore[arg-type]
    assert repr(nn.load(tmp_path / "net.npz", layers=[Block, Block, nn.ReLU])) == "ReLU()"


def test_numpy_numbers_that_a_layer_of_ones_own_keeps_are_written_as_numbers(tmp_path) -> None:
    nn.save(Block(np.int64(2), scale=np.float32(0.5)), tmp_path / "net.npz")
    assert repr(nn.load(tmp_path / "net.npz", layers=[Block])) == "Block(channels=2, scale=0.5)"


def test_a_class_that_has_changed_since_is_told_apart(tmp_path) -> None:
    """Other arguments, other arrays: one ValueError that names the file."""
    nn.save(Block(2), tmp_path / "net.npz")

    def renamed(**members: Any) -> type:
        return type("Block", (Block,), members)

    def fewer(self, channels: int, *, scale: float) -> None:
        self.channels, self.scale, self.steps = channels, scale, [nn.Conv2d(channels, channels, 3)]

    def other(self, width: int) -> None:
        Block.__init__(self, width)

    for changed, message in ((fewer, "Block is made with arrays"), (other, "must have the arguments width")):
        with pytest.raises(ValueError, match=rf"net\.npz: not a whole net file.*{message}"):
            nn.load(tmp_path / "net.npz", layers=[renamed(__init__=changed)])
