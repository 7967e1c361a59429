"""The named problems that are timed: layers of well-known networks, and what the peers neglect.

Names are used everywhere a number is reported. A layer is a line, in the language that `fastconv.conv_info`
reads too; its reader is all of fastconv that is used here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.corners import CORNERS, CornerCase
from fastconv.functional.case import Case

CONV = {
    "toy": "conv2d c1 9x9 k3 3x3",
    "xo-b32-l2": "conv2d n32 c8 8x8 k16 3x3 p1",
    "lenet-c1": "conv2d n64 c1 28x28 k6 5x5 p2",
    "lenet-c2": "conv2d n64 c6 14x14 k16 5x5",
    "dqn-c1": "conv2d n32 c4 84x84 k16 8x8 s4",
    "dqn-c2": "conv2d n32 c16 20x20 k32 4x4 s2",
    "alexnet-c1": "conv2d n8 c3 227x227 k96 11x11 s4",
    "alexnet-c2": "conv2d n8 c96 27x27 k256 5x5 p2 g2",
    "alexnet-c3": "conv2d n8 c256 13x13 k384 3x3 p1",
    "vgg-1_1": "conv2d c3 224x224 k64 3x3 p1",
    "vgg-1_2": "conv2d c64 224x224 k64 3x3 p1",
    "vgg-3_2": "conv2d c256 56x56 k256 3x3 p1",
    "vgg-4_2": "conv2d c512 28x28 k512 3x3 p1",
    "vgg-5_1": "conv2d c512 14x14 k512 3x3 p1",
    "rn50-stem": "conv2d n4 c3 224x224 k64 7x7 s2 p3",
    "rn50-64": "conv2d n4 c64 56x56 k64 3x3 p1",
    "rn50-128": "conv2d n4 c128 28x28 k128 3x3 p1",
    "rn50-256": "conv2d n4 c256 14x14 k256 3x3 p1",
    "rn50-512": "conv2d n4 c512 7x7 k512 3x3 p1",
    "rn50-1x1-up": "conv2d n4 c64 56x56 k256 1x1",
    "rn50-1x1-down": "conv2d n4 c512 28x28 k128 1x1",
    "rn50-1x1-s2": "conv2d n4 c256 56x56 k512 1x1 s2",
    "mbv1-dw112": "conv2d n4 c32 112x112 k32 3x3 p1 g32",
    "mbv1-dw56-s2": "conv2d n4 c128 56x56 k128 3x3 s2 p1 g128",
    "mbv1-pw14": "conv2d n4 c512 14x14 k512 1x1",
    "resnext-g32": "conv2d n4 c128 56x56 k128 3x3 p1 g32",
    "convnext-dw7": "conv2d n4 c96 56x56 k96 7x7 p3 g96",
    "dilated-4": "conv2d c256 64x64 k256 3x3 p4 d4",
    "large-15": "conv2d c16 256x256 k16 15x15 p7",
    "audio-1d-k9": "conv1d n16 c64 4096 k64 9 p4",
    "text-1d-k3": "conv1d n32 c128 256 k128 3 p1",
    "conformer-1d-dw31": "conv1d n8 c256 1000 k256 31 p15 g256",
    "c3d-64": "conv3d c64 16x56x56 k64 3x3x3 p1",
    "volume-1ch": "conv3d c1 64x64x64 k8 5x5x5 p2",
    "f64-rn50-64": "conv2d n4 c64 56x56 k64 3x3 p1 float64",
    "f64-rn50-256": "conv2d n4 c256 14x14 k256 3x3 p1 float64",
    "f64-lenet-c2": "conv2d n64 c6 14x14 k16 5x5 float64",
}

#: Small enough for loops in pure Python.
PURE_LOOPS = {
    "loops-16": "conv2d c16 32x32 k16 3x3 p1",
    "loops-32": "conv2d c32 32x32 k32 3x3 p1",
}

#: A kernel that no known network has: for FFT.
VERY_LARGE = {
    "large-63": "conv2d c3 256x256 k3 63x63 p31",
}

MAX_POOL = {
    "pool-lenet": "max_pool2d n64 c16 28x28 2x2",
    "pool-resnet": "max_pool2d n4 c64 112x112 3x3 s2 p1",
    "pool-alexnet": "max_pool2d n8 c96 55x55 3x3 s2",
    "pool-inception": "max_pool2d n4 c256 28x28 3x3 s1 p1",
}

#: The line of every named layer.
LINES = {**CONV, **PURE_LOOPS, **VERY_LARGE, **MAX_POOL}


@cache
def case_of(line: str) -> Case:
    """What a line says; a name of `LINES` stands for its line, and further words may follow it.

    Raises
    ------
    ValueError
        Naming the word that breaks a rule, and the rule.
    """
    first, *words = line.split() or [""]
    return Case.parse(" ".join([LINES[first], *words]) if first in LINES else line)


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

#: Every case by its name.
CASES: dict[str, Case | TrainCase | CornerCase] = {
    **{name: case_of(name) for name in LINES},
    **{case.id: case for case in (*TRAIN_STEP, *CORNERS)},
}


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
