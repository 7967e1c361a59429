"""Starting values: signals come out of a layer as large as they went in, whatever its kind."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from fastconv import nn

#: By name: how the layer is made, the shape of an input, and the border to leave out, where fewer products
#: meet: of the output of transposed convolutions, of the input of others.
CASES: dict[str, tuple[Any, tuple[int, ...], int]] = {
    "Linear": (lambda: nn.Linear(300, 200, rng=0), (500, 300), 0),
    "Conv1d": (lambda: nn.Conv1d(64, 64, 9, stride=4, rng=0), (8, 64, 200), 8),
    "Conv2d": (lambda: nn.Conv2d(64, 48, 3, rng=0), (8, 64, 20, 20), 2),
    "Conv2d, grouped": (lambda: nn.Conv2d(64, 128, 3, groups=8, stride=2, rng=0), (8, 64, 20, 20), 2),
    "Conv2d, depthwise": (lambda: nn.Conv2d(512, 512, 5, groups=512, rng=0), (4, 512, 20, 20), 4),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(64, 48, 8, stride=4, rng=0), (8, 64, 100), 8),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(64, 32, 4, stride=2, rng=0), (8, 64, 20, 20), 4),
    "ConvTranspose2d, odd": (lambda: nn.ConvTranspose2d(64, 32, 3, stride=2, rng=0), (8, 64, 21, 21), 4),
    "ConvTranspose2d, axes": (lambda: nn.ConvTranspose2d(64, 32, 4, stride=(4, 1), rng=0), (8, 64, 9, 29), 4),
    "ConvTranspose2d, dilated": (
        lambda: nn.ConvTranspose2d(64, 32, 3, stride=2, dilation=2, rng=0),
        (8, 64, 20, 20),
        6,
    ),
    "ConvTranspose2d, grouped": (
        lambda: nn.ConvTranspose2d(64, 128, 4, stride=2, groups=8, rng=0),
        (8, 64, 20, 20),
        4,
    ),
    "ConvTranspose2d, depthwise": (
        lambda: nn.ConvTranspose2d(512, 512, 4, stride=2, groups=512, rng=0),
        (4, 512, 12, 12),
        4,
    ),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(32, 16, 4, stride=2, rng=0), (2, 32, 9, 9, 9), 4),
}
CASE = pytest.mark.parametrize(("make", "shape", "border"), CASES.values(), ids=CASES)


def power(array: np.ndarray, border: int = 0) -> float:
    """The mean square of what does not lie in the border."""
    inner = slice(border, -border) if border else slice(None)
    return float(np.square(array[(..., *(inner,) * (array.ndim - 2))] if array.ndim > 2 else array).mean())


def borders(layer: nn.Layer, border: int) -> tuple[int, int]:
    """Of the input and of the output."""
    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    return (0, border) if isinstance(layer, transposed) else (border, 0)


def signal(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


@CASE
def test_a_layer_behind_a_relu_keeps_the_variance(make: Any, shape: tuple[int, ...], border: int) -> None:
    """As it is made: He's values make up for the half that the ReLU has cut off."""
    x = signal(shape)
    layer = make()
    assert 0.85 < power(layer(np.maximum(x, 0)), borders(layer, border)[1]) / power(x) < 1.15
    assert not layer.bias.value.any()


@CASE
def test_initialisers_know_the_fans_of_a_layer(make: Any, shape: tuple[int, ...], border: int) -> None:
    """He's keep the variance forward; Glorot's the mean of forward and backward."""
    x = signal(shape)
    layer = make()
    inner, outer = borders(layer, border)
    layer = copy.deepcopy(layer.astype(np.float64)).astype(np.float32)  # copies know them too
    for fill in (nn.init.he_uniform, nn.init.he_normal):
        fill(layer.weight, 1, gain=1.0)
        assert 0.85 < power(layer(x), outer) / power(x) < 1.15
    for fill in (nn.init.glorot_uniform, nn.init.glorot_normal):
        fill(layer.weight, 2)
        output, backprop = layer.vjp(x)
        gradient = backprop(signal(output.shape))
        forward, backward = power(output, outer) / power(x), power(gradient, inner)
        # 2 fan_in / (fan_in + fan_out), and the same of fan_out
        assert 0.8 < (forward + backward) / 2 < 1.2


def test_fans_count_products_and_places() -> None:
    """Against counting: inputs that reach an output, outputs that an input reaches, far from the border."""
    fans = nn.init.fans
    assert fans((4, 6)) == (6, 4)
    assert fans((8, 3, 5, 5)) == (75, 200)
    assert fans((8, 1, 3, 3), groups=4) == (9, 18)
    assert fans((8, 3, 3, 3), stride=(1, 2)) == (27, 36)
    assert fans((8, 3, 4), stride=2, groups=4, transposed=True) == (4, 12)
    for stride, transposed in ((1, False), (2, False), (2, True), (3, True)):
        kind = nn.ConvTranspose1d if transposed else nn.Conv1d
        layer = kind(4, 6, 5, stride=stride, groups=2, bias=False, dtype=np.float64)
        layer.weight.value[...] = 1.0
        output, backprop = layer.vjp(np.ones((1, 4, 240)))
        reached = backprop(np.ones_like(output))
        arriving, leaving = (array[..., 18:54].mean() for array in (output, reached))  # whole strides
        assert layer.weight.fans == pytest.approx((arriving, leaving))


def test_plain_arrays_may_be_given_their_fans() -> None:
    """Else they are read off the shape, as those of a convolution of stride 1."""
    shape = (64, 32, 4, 4)
    known = nn.init.fans(shape, stride=2, transposed=True)
    layer = nn.ConvTranspose2d(64, 32, 4, stride=2)
    assert layer.weight.fans == known
    np.testing.assert_array_equal(
        nn.init.he_normal(np.empty(shape, np.float32), 3, fans=known),
        nn.init.he_normal(layer.weight, 3).value,
    )
    assert nn.Parameter(np.ones(shape)).fans is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.init.he_uniform(np.empty((4, 0))), ValueError, r"target: shape \(4, 0\)"),
        (lambda: nn.init.he_uniform(np.empty((4, 4), int)), TypeError, "target: dtype"),
        (lambda: nn.init.he_uniform(np.broadcast_to(1.0, (4, 4))), ValueError, "target: must be writable"),
        (
            lambda: nn.init.he_uniform(np.empty((4, 4)), fans=(0, 1)),
            ValueError,
            r"fans\[0\]=0: must be above 0",
        ),
        (lambda: nn.init.fans((4, 4, 3), stride=0), ValueError, "stride=0"),
        (lambda: nn.init.fans((4, 4, 3), groups=0), ValueError, "groups=0"),
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
