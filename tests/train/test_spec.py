"""Nets in words: read, written again, built, and refused by item, place and rule."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn
from fastconv.train import SpecError, parse_net, spec_of


def test_a_spec_makes_the_layers_that_it_names() -> None:
    net = parse_net(
        "conv 8 3, relu, pool 2, conv 16 3 pad same, bn, relu, drop 0.25, fc 32, tanh, fc", (1, 9, 9), 4, 0
    )
    kinds = [type(layer).__name__ for layer in net]
    assert kinds == [
        *("Conv2d", "ReLU", "MaxPool2d", "Conv2d", "BatchNorm2d", "ReLU", "Dropout", "Flatten"),
        *("Linear", "Tanh", "Linear"),
    ]
    assert net(np.zeros((5, 1, 9, 9), np.float32)).shape == (5, 4)
    assert net[0].bias is not None
    assert net[3].bias is None  # batch norm has one


@pytest.mark.parametrize(
    ("shape", "spec", "layer"),
    [
        ((3, 50), "conv 4 5 stride 2, avg 2, fc", nn.Conv1d),
        ((3, 9, 9), "conv 4 3x5, pool 2x1, fc", nn.Conv2d),
        ((1, 8, 8, 8), "conv 4 3 pad 1, pool all, fc", nn.Conv3d),
    ],
)
def test_the_rank_follows_the_input(shape: tuple[int, ...], spec: str, layer: type) -> None:
    net = parse_net(spec, shape, ["a", "b"], 0)
    assert isinstance(net[0], layer)
    assert net(np.zeros((2, *shape), np.float32)).shape == (2, 2)


def test_pool_windows_over_the_edge_are_kept_unless_told_otherwise() -> None:
    assert parse_net("pool 2, fc", (1, 7, 7), 2, 0)[0].output_shape((1, 1, 7, 7)) == (1, 1, 4, 4)
    assert parse_net("pool 2 floor, fc", (1, 7, 7), 2, 0)[0].output_shape((1, 1, 7, 7)) == (1, 1, 3, 3)


def test_full_is_as_large_as_the_axis() -> None:
    """A window of words: features as high as the dictionary."""
    net = parse_net("conv 6 fullx3, relu, pool all, fc", (1, 100, 20), 2, 0)
    assert net[0].weight.value.shape == (6, 1, 100, 3)
    assert net[0].output_shape((1, 1, 100, 20)) == (1, 6, 1, 18)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("conv  8 3  stride 1 pad SAME , relu,pool 2", (1, 9, 9)),
        (
            "conv 8 3x5 stride 2x1 pad 1x2 dilation 1x2, leaky 0.2, avg 3 stride 2 pad 1 floor, fc 5, fc",
            (2, 20, 20),
        ),
        ("conv 4 2 groups 2, lrn 5, res 8 stride 2, flatten, drop 0.5, fc", (2, 9)),
        *((name, (1, 28, 28)) for name in ("auto", "deck", "lenet", "resnet-8", "resnet-18")),
        ("cifar10_quick", (3, 32, 32)),
        *(
            ("auto", shape)
            for shape in ((1, 8, 8), (3, 224, 224), (40, 100), (1, 7), (1, 16, 16, 16), (1, 64, 3), (2, 1))
        ),
    ],
)
def test_what_is_written_is_read_as_the_same(spec: str, shape: tuple[int, ...]) -> None:
    if "pad SAME" in spec:
        spec = spec.replace("SAME", "same")
    written = spec_of(spec, shape)
    assert spec_of(written, shape) == written
    assert len(written) <= len(spec) or " " not in spec
    if written.endswith("fc"):
        one, two = parse_net(spec, shape, 3, 5), parse_net(written, shape, 3, 5)
        assert repr(one) == repr(two)
        for a, b in zip(one.parameters(), two.parameters()):
            np.testing.assert_array_equal(a.value, b.value)


def test_same_seed_same_weights() -> None:
    one, two, other = (parse_net("deck", (1, 9, 9), 2, seed) for seed in (1, 1, 2))
    assert (one[0].weight.value == two[0].weight.value).all()
    assert (one[0].weight.value != other[0].weight.value).any()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "is empty"),
        ("conv 8 3,, fc", "item 2, '' (character 10): is empty"),
        ("conv 8", "item 1, 'conv 8' (character 1): lacks its size: conv FEATURES SIZE"),
        ("conv 8 3, rleu", "item 2, 'rleu' (character 11): no such word; did you mean relu?"),
        ("conv x 3, fc", "features x: must be a whole number from 1"),
        ("conv 0 3, fc", "features 0: must be"),
        ("conv 8 3 pad, fc", "pad must be followed"),
        ("conv 8 3 padding 2, fc", "'padding': after conv may stand stride, pad, dilation, groups"),
        ("conv 8 3 pad 1 pad 2, fc", "pad is there twice"),
        ("relu 3, fc", "'3': nothing may follow here"),
        ("drop 1, fc", "share 1: must be a number from 0 to below 1"),
        (
            "conv 8 3, relu, pool 2, conv 8 5, fc",
            "item 4, 'conv 8 5' (character 25): its features of 5x5 do not fit",
        ),
        ("conv 8 3x3x3, fc", "size 3x3x3: has 3 numbers for 2 axes"),
        ("conv 8 3 groups 3, fc", "groups 3: must divide"),
        ("conv 8 3", "leaves 8x7x7 values; the net must end in votes for 2 classes"),
        ("fc 7", "leaves 7 values"),
        ("fc, conv 3 3", "item 2, 'conv 3 3' (character 5): comes after the maps have become a row"),
        ("fc 9000000, fc 9000000, fc", "parameters allowed"),
        ("pool 20 floor, fc", "its windows of 20x20 do not fit"),
        ("pool 3 pad 2, fc", "padding"),
        ("resnet-21", "6n + 2"),
        ("conv 8 9999999999 3", "size 9999999999"),
        ("fc, " * 3000, "items"),
    ],
)
def test_a_spec_that_cannot_work_is_one_line(spec: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_net(spec, (1, 9, 9), ["X", "O"])
    message = str(caught.value)
    assert words in message
    assert message.startswith("net: ")
    assert "\n" not in message


def test_a_named_net_that_does_not_fit_says_where() -> None:
    with pytest.raises(SpecError, match=r"item 3, 'conv 50 5'.*do not fit what reaches it, 2x2"):
        parse_net("lenet", (1, 8, 8), 10)


def test_nothing_is_allocated_for_a_net_that_is_too_large() -> None:
    with pytest.raises(SpecError, match="more than the 1,000 parameters allowed"):
        parse_net("fc 1000000, relu, fc", (1, 1000, 1000), 2, most_parameters=1000)
