"""The named problems that are timed: layers of well-known networks, and what the peers neglect.

Ids are used everywhere a number is reported. Shapes are in elements. This module needs NumPy alone, so that
whatever is compared with fastconv can be given the same cases without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmarks.corners import CORNERS


@dataclass(frozen=True)
class ConvCase:
    """A convolution: input (n, in_channels, *size), weight (out_channels, in_channels / groups, *kernel)."""

    id: str
    n: int
    in_channels: int
    size: tuple[int, ...]
    out_channels: int
    kernel: tuple[int, ...]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    dtype: str = "float32"

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.n, self.in_channels, *self.size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def output_shape(self) -> tuple[int, ...]:
        spatial = (
            (size + 2 * self.padding - self.dilation * (kernel - 1) - 1) // self.stride + 1
            for size, kernel in zip(self.size, self.kernel, strict=True)
        )
        return (self.n, self.out_channels, *spatial)

    @property
    def parameters(self) -> dict[str, int]:
        """What every pass is given besides arrays."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    @property
    def flops(self) -> int:
        """Multiplications and additions of any one pass; windows over the edge count whole."""
        return 2 * math.prod(self.output_shape) * math.prod(self.weight_shape[1:])

    @property
    def least_bytes(self) -> int:
        """What any pass reads or writes at least: input, weight and output, once each."""
        shapes = (self.input_shape, self.weight_shape, self.output_shape)
        return sum(map(math.prod, shapes)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class PoolCase:
    """A max-pooling of (n, channels, *size), float32."""

    id: str
    n: int
    channels: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: int
    padding: int = 0

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.n, self.channels, *self.size)

    @property
    def window(self) -> tuple[tuple[int, ...], int, int]:
        """Kernel, stride and padding, as every max_pool2d takes them."""
        return self.kernel, self.stride, self.padding


CONV = (
    ConvCase("toy", 1, 1, (9, 9), 3, (3, 3)),
    ConvCase("xo-b32-l2", 32, 8, (8, 8), 16, (3, 3), padding=1),
    ConvCase("lenet-c1", 64, 1, (28, 28), 6, (5, 5), padding=2),
    ConvCase("lenet-c2", 64, 6, (14, 14), 16, (5, 5)),
    ConvCase("dqn-c1", 32, 4, (84, 84), 16, (8, 8), stride=4),
    ConvCase("dqn-c2", 32, 16, (20, 20), 32, (4, 4), stride=2),
    ConvCase("alexnet-c1", 8, 3, (227, 227), 96, (11, 11), stride=4),
    ConvCase("alexnet-c2", 8, 96, (27, 27), 256, (5, 5), padding=2, groups=2),
    ConvCase("alexnet-c3", 8, 256, (13, 13), 384, (3, 3), padding=1),
    ConvCase("vgg-1_1", 1, 3, (224, 224), 64, (3, 3), padding=1),
    ConvCase("vgg-1_2", 1, 64, (224, 224), 64, (3, 3), padding=1),
    ConvCase("vgg-3_2", 1, 256, (56, 56), 256, (3, 3), padding=1),
    ConvCase("vgg-4_2", 1, 512, (28, 28), 512, (3, 3), padding=1),
    ConvCase("vgg-5_1", 1, 512, (14, 14), 512, (3, 3), padding=1),
    ConvCase("rn50-stem", 4, 3, (224, 224), 64, (7, 7), stride=2, padding=3),
    ConvCase("rn50-64", 4, 64, (56, 56), 64, (3, 3), padding=1),
    ConvCase("rn50-128", 4, 128, (28, 28), 128, (3, 3), padding=1),
    ConvCase("rn50-256", 4, 256, (14, 14), 256, (3, 3), padding=1),
    ConvCase("rn50-512", 4, 512, (7, 7), 512, (3, 3), padding=1),
    ConvCase("rn50-1x1-up", 4, 64, (56, 56), 256, (1, 1)),
    ConvCase("rn50-1x1-down", 4, 512, (28, 28), 128, (1, 1)),
    ConvCase("rn50-1x1-s2", 4, 256, (56, 56), 512, (1, 1), stride=2),
    ConvCase("mbv1-dw112", 4, 32, (112, 112), 32, (3, 3), padding=1, groups=32),
    ConvCase("mbv1-dw56-s2", 4, 128, (56, 56), 128, (3, 3), stride=2, padding=1, groups=128),
    ConvCase("mbv1-pw14", 4, 512, (14, 14), 512, (1, 1)),
    ConvCase("resnext-g32", 4, 128, (56, 56), 128, (3, 3), padding=1, groups=32),
    ConvCase("convnext-dw7", 4, 96, (56, 56), 96, (7, 7), padding=3, groups=96),
    ConvCase("dilated-4", 1, 256, (64, 64), 256, (3, 3), padding=4, dilation=4),
    ConvCase("large-15", 1, 16, (256, 256), 16, (15, 15), padding=7),
    ConvCase("audio-1d-k9", 16, 64, (4096,), 64, (9,), padding=4),
    ConvCase("text-1d-k3", 32, 128, (256,), 128, (3,), padding=1),
    ConvCase("conformer-1d-dw31", 8, 256, (1000,), 256, (31,), padding=15, groups=256),
    ConvCase("c3d-64", 1, 64, (16, 56, 56), 64, (3, 3, 3), padding=1),
    ConvCase("volume-1ch", 1, 1, (64, 64, 64), 8, (5, 5, 5), padding=2),
    ConvCase("f64-rn50-64", 4, 64, (56, 56), 64, (3, 3), padding=1, dtype="float64"),
    ConvCase("f64-rn50-256", 4, 256, (14, 14), 256, (3, 3), padding=1, dtype="float64"),
    ConvCase("f64-lenet-c2", 64, 6, (14, 14), 16, (5, 5), dtype="float64"),
)

#: Small enough for loops in pure Python.
PURE_LOOPS = (
    ConvCase("loops-16", 1, 16, (32, 32), 16, (3, 3), padding=1),
    ConvCase("loops-32", 1, 32, (32, 32), 32, (3, 3), padding=1),
)

#: A kernel that no known network has: for FFT.
VERY_LARGE = (ConvCase("large-63", 1, 3, (256, 256), 3, (63, 63), padding=31),)

MAX_POOL = (
    PoolCase("pool-lenet", 64, 16, (28, 28), (2, 2), 2),
    PoolCase("pool-resnet", 4, 64, (112, 112), (3, 3), 2, padding=1),
    PoolCase("pool-alexnet", 8, 96, (55, 55), (3, 3), 2),
    PoolCase("pool-inception", 4, 256, (28, 28), (3, 3), 1, padding=1),
)


def conv_case(case_id: str) -> ConvCase:
    """The convolution of that id."""
    return next(case for case in (*CONV, *PURE_LOOPS, *VERY_LARGE) if case.id == case_id)


def whole_numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Whole numbers from -4 to 4: sums of their products are exact in any order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def normal_numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Normally distributed numbers, on which rounding shows."""
    return np.random.default_rng(seed).standard_normal(shape, np.dtype(dtype))


@dataclass(frozen=True)
class Conv:
    """A convolution layer with bias, ReLU behind it."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class Pool:
    """Max-pooling whose windows do not overlap."""

    kernel: int


@dataclass(frozen=True)
class Linear:
    """A fully connected layer with bias; ReLU behind it unless it is the last one."""

    in_features: int
    out_features: int


LEARNING_RATE, MOMENTUM = 0.01, 0.9

#: While steps are timed, thousands on one batch, the network must stay as it is: where a neuron dies or the
#: batch is learned, numbers become denormal, and those take their own time.
TIMED_LEARNING_RATE = 1e-6


@dataclass(frozen=True)
class TrainCase:
    """One step of training: mean squared error, backprop, gradient descent with momentum."""

    id: str
    n: int
    picture: tuple[int, int, int]
    layers: tuple[Conv | Pool | Linear, ...]


XO = (Conv(1, 8, 3, padding=1), Pool(2), Conv(8, 16, 3, padding=1), Pool(2), Linear(256, 2))

TRAIN_STEP = (
    TrainCase("xo-b1", 1, (1, 16, 16), XO),
    TrainCase("xo-b32", 32, (1, 16, 16), XO),
    TrainCase(
        "lenet-b64",
        64,
        (1, 28, 28),
        (
            Conv(1, 6, 5, padding=2),
            Pool(2),
            Conv(6, 16, 5),
            Pool(2),
            Linear(400, 120),
            Linear(120, 84),
            Linear(84, 10),
        ),
    ),
    TrainCase(
        "dqn-b32",
        32,
        (4, 84, 84),
        (Conv(4, 16, 8, stride=4), Conv(16, 32, 4, stride=2), Linear(2592, 256), Linear(256, 6)),
    ),
)

#: Every case by its id.
CASES = {case.id: case for case in (*CONV, *PURE_LOOPS, *VERY_LARGE, *MAX_POOL, *TRAIN_STEP, *CORNERS)}


def examples(case: TrainCase) -> tuple[np.ndarray, np.ndarray]:
    """Random pictures and targets."""
    rng = np.random.default_rng(2)
    last = case.layers[-1]
    outputs = last.out_features if isinstance(last, Linear) else 1
    pictures = rng.standard_normal((case.n, *case.picture), np.float32)
    return pictures, rng.standard_normal((case.n, outputs), np.float32)


def parameters(case: TrainCase) -> list[np.ndarray]:
    """Weights and biases to begin with, layer by layer: uniform within 1 / sqrt(inputs of a neuron)."""
    rng = np.random.default_rng(1)
    values = []
    for layer in case.layers:
        if isinstance(layer, Pool):
            continue
        if isinstance(layer, Conv):
            shape: tuple[int, ...] = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
        else:
            shape = (layer.out_features, layer.in_features)
        bound = math.prod(shape[1:]) ** -0.5
        values += [rng.uniform(-bound, bound, size).astype(np.float32) for size in (shape, shape[:1])]
    return values
