"""What every activation is, one float64 at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934


def clamp(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def gelu(x: float, approximate: str = "none") -> float:
    if approximate == "none":
        return x * normal_cdf(x)
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def softplus_with(x: float, beta: float = 1.0, threshold: float = math.inf) -> float:
    return x if beta * x > threshold else softplus(beta * x) / beta


def elu(x: float, alpha: float = 1.0) -> float:
    return x if x > 0 else alpha * math.expm1(x)


#: name: the function of one float64, written out
CLOSED_FORM: dict[str, Callable[..., float]] = {
    "celu": lambda x, alpha=1.0: x if x > 0 else alpha * math.expm1(x / alpha),
    "elu": elu,
    "gelu": gelu,
    "hardshrink": lambda x, lambd=0.5: 0.0 if -lambd <= x <= lambd else x,
    "hardsigmoid": lambda x: clamp(x / 6 + 0.5, 0, 1),
    "hardswish": lambda x: x * clamp(x / 6 + 0.5, 0, 1),
    "hardtanh": lambda x, low=-1.0, high=1.0: clamp(x, low, high),
    "leaky_relu": lambda x, slope=0.01: x if x > 0 else slope * x,
    "logsigmoid": lambda x: -softplus(-x),
    "mish": lambda x: x * math.tanh(softplus(x)),
    "relu": lambda x: max(x, 0.0),
    "relu6": lambda x: clamp(x, 0, 6),
    "selu": lambda x: SELU_SCALE * elu(x, SELU_ALPHA),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "softplus": softplus_with,
    "softshrink": lambda x, lambd=0.5: math.copysign(max(abs(x) - lambd, 0.0), x),
    "softsign": lambda x: x / (1 + abs(x)),
    "tanh": math.tanh,
    "tanhshrink": lambda x: x - math.tanh(x),
    "threshold": lambda x, threshold, value: x if x > threshold else value,
}
