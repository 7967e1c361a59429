"""Every layer of `fastconv.nn`, each with an input it takes; what layers promise is tested on this list."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import fastconv
from fastconv import nn

SEED = 20240607


class LayerCase(NamedTuple):
    name: str
    make: Callable[[], nn.Layer]
    shape: tuple[int, ...]


def rng() -> np.random.Generator:
    return np.random.default_rng(SEED)


F64 = {"dtype": np.float64}

#: (name, how it is made, shape of an input).
LAYERS = [
    LayerCase("conv1d", lambda: nn.Conv1d(2, 3, 3, padding=1, rng=rng(), **F64), (2, 2, 7)),
    LayerCase(
        "conv2d", lambda: nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=1, rng=rng(), **F64), (2, 2, 6, 5)
    ),
    LayerCase("conv2d unbatched", lambda: nn.Conv2d(2, 3, 3, rng=rng(), **F64), (2, 6, 5)),
    LayerCase(
        "conv2d depthwise", lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False, rng=rng(), **F64), (2, 4, 5, 5)
    ),
    LayerCase(
        "conv2d same", lambda: nn.Conv2d(2, 2, 3, padding="same", dilation=2, rng=rng(), **F64), (1, 2, 5, 6)
    ),
    LayerCase("conv2d relu", lambda: nn.Conv2d(2, 3, 3, activation="relu", rng=rng(), **F64), (2, 2, 6, 5)),
    LayerCase(
        "conv2d leaky_relu",
        lambda: nn.Conv2d(2, 3, 3, activation="leaky_relu", rng=rng(), **F64),
        (2, 2, 6, 5),
    ),
    LayerCase("conv2d relu6", lambda: nn.Conv2d(2, 3, 3, activation="relu6", rng=rng(), **F64), (2, 2, 6, 5)),
    LayerCase("conv3d", lambda: nn.Conv3d(1, 2, 2, rng=rng(), **F64), (2, 1, 3, 4, 3)),
    LayerCase("conv_transpose1d", lambda: nn.ConvTranspose1d(2, 3, 3, stride=2, rng=rng(), **F64), (2, 2, 4)),
    LayerCase(
        "conv_transpose2d",
        lambda: nn.ConvTranspose2d(
            2, 4, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=1, rng=rng(), **F64
        ),
        (2, 2, 3, 4),
    ),
    LayerCase(
        "conv_transpose3d", lambda: nn.ConvTranspose3d(1, 2, 2, bias=False, rng=rng(), **F64), (1, 1, 2, 3, 2)
    ),
    LayerCase("linear", lambda: nn.Linear(5, 3, rng=rng(), **F64), (4, 5)),
    LayerCase("linear of rows", lambda: nn.Linear(5, 3, bias=False, rng=rng(), **F64), (2, 3, 5)),
    LayerCase("max_pool1d", lambda: nn.MaxPool1d(3, stride=2, padding=1), (2, 2, 8)),
    LayerCase("max_pool2d", lambda: nn.MaxPool2d(2, ceil_mode=True), (2, 2, 5, 7)),
    LayerCase("max_pool2d dilated", lambda: nn.MaxPool2d((2, 3), 1, dilation=2), (1, 2, 6, 7)),
    LayerCase("max_pool3d", lambda: nn.MaxPool3d(2), (1, 2, 4, 4, 3)),
    LayerCase("avg_pool1d", lambda: nn.AvgPool1d(3, padding=1, count_include_pad=False), (2, 2, 8)),
    LayerCase("avg_pool2d", lambda: nn.AvgPool2d(2, ceil_mode=True), (2, 2, 5, 7)),
    LayerCase("avg_pool3d", lambda: nn.AvgPool3d(2, divisor_override=3), (1, 2, 4, 4, 3)),
    LayerCase("lp_pool1d", lambda: nn.LPPool1d(2.0, 3), (2, 2, 7)),
    LayerCase("lp_pool2d", lambda: nn.LPPool2d(4.0, 2, ceil_mode=True), (2, 2, 5, 4)),
    LayerCase("lp_pool3d", lambda: nn.LPPool3d(2.0, 2), (1, 2, 4, 4, 3)),
    LayerCase("adaptive_avg_pool1d", lambda: nn.AdaptiveAvgPool1d(3), (2, 2, 7)),
    LayerCase("adaptive_avg_pool2d", lambda: nn.AdaptiveAvgPool2d((2, None)), (2, 2, 5, 4)),
    LayerCase("adaptive_avg_pool3d", lambda: nn.AdaptiveAvgPool3d(2), (1, 2, 3, 4, 2)),
    LayerCase("adaptive_max_pool1d", lambda: nn.AdaptiveMaxPool1d(3), (2, 2, 7)),
    LayerCase("adaptive_max_pool2d", lambda: nn.AdaptiveMaxPool2d((2, None)), (2, 2, 5, 4)),
    LayerCase("adaptive_max_pool3d", lambda: nn.AdaptiveMaxPool3d(2), (1, 2, 3, 4, 2)),
    LayerCase("global_avg_pool", nn.GlobalAvgPool, (2, 3, 4, 5)),
    LayerCase("global_max_pool", nn.GlobalMaxPool, (2, 3, 4)),
    LayerCase("relu", nn.ReLU, (3, 8)),
    LayerCase("relu6", nn.ReLU6, (3, 8)),
    LayerCase("leaky_relu", lambda: nn.LeakyReLU(0.2), (3, 8)),
    LayerCase("prelu", lambda: nn.PReLU(**F64), (3, 8)),
    LayerCase("prelu per channel", lambda: nn.PReLU(3, 0.1, **F64), (2, 3, 4)),
    LayerCase("elu", lambda: nn.ELU(0.7), (3, 8)),
    LayerCase("selu", nn.SELU, (3, 8)),
    LayerCase("celu", lambda: nn.CELU(1.5), (3, 8)),
    LayerCase("gelu", nn.GELU, (3, 8)),
    LayerCase("gelu tanh", lambda: nn.GELU("tanh"), (3, 8)),
    LayerCase("silu", nn.SiLU, (3, 8)),
    LayerCase("mish", nn.Mish, (3, 8)),
    LayerCase("sigmoid", nn.Sigmoid, (3, 8)),
    LayerCase("hardsigmoid", nn.Hardsigmoid, (3, 8)),
    LayerCase("hardswish", nn.Hardswish, (3, 8)),
    LayerCase("log_sigmoid", nn.LogSigmoid, (3, 8)),
    LayerCase("tanh", nn.Tanh, (3, 8)),
    LayerCase("tanhshrink", nn.Tanhshrink, (3, 8)),
    LayerCase("hardtanh", lambda: nn.Hardtanh(-0.5, 0.8), (3, 8)),
    LayerCase("softplus", lambda: nn.Softplus(2.0, 3.0), (3, 8)),
    LayerCase("softsign", nn.Softsign, (3, 8)),
    LayerCase("softshrink", lambda: nn.Softshrink(0.3), (3, 8)),
    LayerCase("hardshrink", nn.Hardshrink, (3, 8)),
    LayerCase("threshold", lambda: nn.Threshold(0.1, -2.0), (3, 8)),
    LayerCase("softmax", nn.Softmax, (3, 8)),
    LayerCase("softmax of channels", lambda: nn.Softmax(1), (2, 3, 4)),
    LayerCase("log_softmax", nn.LogSoftmax, (3, 8)),
    LayerCase("batch_norm1d", lambda: nn.BatchNorm1d(3, **F64), (6, 3)),
    LayerCase("batch_norm1d of signals", lambda: nn.BatchNorm1d(3, affine=False, **F64), (2, 3, 5)),
    LayerCase("batch_norm2d", lambda: nn.BatchNorm2d(3, eps=1e-3, momentum=0.3, **F64), (2, 3, 4, 2)),
    LayerCase("batch_norm3d", lambda: nn.BatchNorm3d(2, **F64), (2, 2, 3, 2, 2)),
    LayerCase("layer_norm", lambda: nn.LayerNorm((3, 4), **F64), (2, 3, 4)),
    LayerCase("layer_norm without bias", lambda: nn.LayerNorm(8, bias=False, **F64), (3, 8)),
    LayerCase("layer_norm plain", lambda: nn.LayerNorm(8, elementwise_affine=False), (3, 8)),
    LayerCase("local_response_norm", lambda: nn.LocalResponseNorm(3, alpha=0.5, k=2.0), (2, 5, 3)),
    LayerCase("identity", nn.Identity, (3, 8)),
    LayerCase("flatten", nn.Flatten, (2, 3, 4, 2)),
    LayerCase("flatten some", lambda: nn.Flatten(1, 2), (2, 3, 4, 2)),
    LayerCase("dropout", lambda: nn.Dropout(0.4, rng=3), (3, 8)),
    LayerCase("sequential", lambda: small_net(), (2, 1, 9, 9)),
    LayerCase(
        "residual",
        lambda: nn.Residual(nn.Conv2d(2, 2, 3, padding=1, rng=rng(), **F64), nn.Tanh()),
        (2, 2, 4, 4),
    ),
    LayerCase(
        "residual with shortcut",
        lambda: nn.Residual(
            nn.Conv2d(2, 4, 3, stride=2, padding=1, rng=rng(), **F64),
            nn.Tanh(),
            shortcut=nn.Conv2d(2, 4, 1, stride=2, rng=rng(), **F64),
        ),
        (2, 2, 5, 5),
    ),
    LayerCase(
        "concat",
        lambda: nn.Concat(nn.Conv2d(2, 3, 1, rng=rng(), **F64), nn.Identity(), nn.Sequential(nn.Tanh())),
        (2, 2, 3, 4),
    ),
    LayerCase(
        "concat of rows",
        lambda: nn.Concat(nn.Linear(3, 2, rng=rng(), **F64), nn.Identity(), dim=-1),
        (2, 4, 3),
    ),
]

#: Called with integers, so tested by itself.
OF_INTEGERS = {"Embedding"}

#: Called with two arrays, so tested by themselves.
OF_TWO_ARRAYS = {
    "MaxUnpool1d": (1, (2, 3, 8)),
    "MaxUnpool2d": (2, (1, 2, 4, 6)),
    "MaxUnpool3d": (3, (1, 2, 4, 4, 2)),
}


def small_net(dtype: type = np.float64) -> nn.Sequential:
    """The deck's kind of net: filter, rectify, pool twice, vote."""
    draw = rng()
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, rng=draw, dtype=dtype),
        nn.ReLU(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(12, 2, rng=draw, dtype=dtype),
    )


def letters(count: int, seed: int = 0, size: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Small X and O pictures at random places, and their labels: something that can be learned."""
    draw = np.random.default_rng(seed)
    pictures = np.full((count, 1, size, size), -1.0, np.float32)
    labels = np.arange(count) % 2
    for picture, label in zip(pictures[:, 0], labels):
        top, left = draw.integers(0, size - 5 + 1, 2)
        patch = picture[top : top + 5, left : left + 5]
        if label == 0:
            np.fill_diagonal(patch, 1)
            np.fill_diagonal(patch[::-1], 1)
        else:
            patch[[0, -1], 1:-1] = 1
            patch[1:-1, [0, -1]] = 1
    return pictures, labels


def unpooled(rank: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What max-pool of rank `rank`, window 2, makes of a random array: values and indices."""
    values = rng().standard_normal(shape)
    pool = {1: fastconv.max_pool1d, 2: fastconv.max_pool2d, 3: fastconv.max_pool3d}[rank]
    return pool(values, 2, return_indices=True)


class Chain(nn.Layer):
    """Blocks in a list, called one after the other: the layer that everybody writes."""

    def __init__(self, blocks: list[nn.Layer]) -> None:
        self.blocks = blocks

    def __call__(self, input: np.ndarray) -> np.ndarray:
        for block in self.blocks:
            input = block(input)
        return input

    def vjp(self, input: np.ndarray):
        backprops = []
        for block in self.blocks:
            input, backprop = block.vjp(input)
            backprops.append(backprop)

        def backward(grad_output: np.ndarray) -> np.ndarray:
            for backprop in reversed(backprops):
                grad_output = backprop(grad_output)
            return grad_output

        return input, backward
