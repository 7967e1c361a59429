"""Activations: fastconv's where it has them, on float32 and float64; softmax and its kin."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from fastconv import functional
from fastconv._kernels.pointwise.activation import CODES, activate
from fastconv.functional.elementwise import SELU_ALPHA, SELU_SCALE
from fastconv.graph.keep import Keep
from fastconv.graph.operator import Kernel, Operator, Signature, like_first
from fastconv.graph.operators.elementwise import FLOATS
from fastconv.graph.order import is_dense

#: The numbers that an activation's code takes, from its attributes.
Parameters = Callable[..., tuple[float, ...]]


def in_float(compute: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """A function of float32 and float64 as one of any numbers: others are computed in float32 and rounded."""

    @wraps(compute)
    def computed(x: np.ndarray, *others: Any, **attributes: Any) -> np.ndarray:
        if x.dtype in FLOATS:
            return compute(x, *others, **attributes)
        others = tuple(each.astype(np.float32) if isinstance(each, np.ndarray) else each for each in others)
        return compute(x.astype(np.float32), *others, **attributes).astype(x.dtype)

    return computed


def write(code: int, x: np.ndarray, out: np.ndarray, parameters: tuple[float, ...]) -> None:
    """An activation of x, written where it belongs: a dense array, or one image after the other."""
    if is_dense(out) or out.ndim < 2:
        a, b, c = (*parameters, 0.0, 0.0, 0.0)[:3]
        activate(code, x, out, a, b, c)
        return
    for image, place in zip(x, out):
        write(code, image, place, parameters)


def _none() -> tuple[float, ...]:
    return ()


def _activation(name: str, told: Parameters = _none) -> Operator:
    """An operator that is one of fastconv's elementwise kernels; `told` gives its numbers from attributes."""
    code = CODES[name]

    @in_float
    def compute(x: np.ndarray, **attributes: Any) -> np.ndarray:
        out = np.empty_like(x, order="C")
        write(code, x, out, told(**attributes))
        return out

    def bind(keep: Keep, signatures: list[Signature], output: Signature, **attributes: Any) -> Kernel | None:
        if output.dtype not in FLOATS:
            return None
        numbers = told(**attributes)

        def kernel(x: np.ndarray, out: np.ndarray) -> None:
            write(code, x, out, numbers)

        return kernel

    return Operator(compute, like_first, bind=bind, overwrites=(0,))


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) if x.dtype.kind in "iu" else functional.relu(x)


def _leaky(*, alpha: float = 0.01) -> tuple[float, ...]:
    return (alpha,)


def _elu(*, alpha: float = 1.0) -> tuple[float, ...]:
    return (1.0, alpha, 1.0)


def _clip(x: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None) -> np.ndarray:
    """Values held between two scalars; the upper one wins where they cross."""
    if low is not None:
        x = np.maximum(x, low.reshape(()).astype(x.dtype))
    if high is not None:
        x = np.minimum(x, high.reshape(()).astype(x.dtype))
    return x if low is not None or high is not None else np.array(x)


def _clip_signature(x: Signature, *bounds: Signature | None) -> Signature:
    return Signature(x.dtype, x.shape)


def _clip_kernel(keep: Keep, signatures: list[Signature | None], output: Signature) -> Kernel | None:
    bounds = [-np.inf, np.inf]
    for i, each in enumerate(signatures[1:3]):
        if each is not None:
            if not isinstance(each.value, np.ndarray):
                return None
            bounds[i] = float(each.value.reshape(()))
    low, high = bounds
    if output.dtype not in FLOATS or not low <= high:
        return None

    def kernel(x: np.ndarray, *others: Any) -> None:
        write(CODES["hardtanh"], x, others[-1], (low, high))

    return kernel


def _hard_sigmoid(x: np.ndarray, *, alpha: float = 0.2, beta: float = 0.5) -> np.ndarray:
    """max(0, min(1, alpha * x + beta))."""
    kind = x.dtype.type
    result: np.ndarray = np.clip(x * kind(alpha) + kind(beta), kind(0), kind(1))
    return result


def _hard_sigmoid_kernel(
    keep: Keep, signatures: list[Signature], output: Signature, *, alpha: float = 0.2, beta: float = 0.5
) -> Kernel | None:
    if output.dtype not in FLOATS:
        return None
    assert output.dtype is not None
    kind = output.dtype.type

    def kernel(x: np.ndarray, out: np.ndarray) -> None:
        np.multiply(x, kind(alpha), out)
        np.add(out, kind(beta), out)
        write(CODES["hardtanh"], out, out, (0.0, 1.0))

    return kernel


def _selu(x: np.ndarray, *, alpha: float = SELU_ALPHA, gamma: float = SELU_SCALE) -> np.ndarray:
    return activate(CODES["elu"], x, np.empty_like(x, order="C"), gamma, gamma * alpha, 1.0)


def _celu(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    return functional.celu(x, alpha)


def _softplus(x: np.ndarray) -> np.ndarray:
    return functional.softplus(x)


def _gelu(x: np.ndarray, *, approximate: str = "none") -> np.ndarray:
    return functional.gelu(x, approximate)


def _gelu_kernel(
    keep: Keep, signatures: list[Signature], output: Signature, *, approximate: str = "none"
) -> Kernel | None:
    return _writer("gelu" if approximate == "none" else "gelu_tanh", output)


def _swish_kernel(
    keep: Keep, signatures: list[Signature], output: Signature, *, alpha: float = 1.0
) -> Kernel | None:
    return _writer("silu", output) if alpha == 1.0 else None


def _writer(name: str, output: Signature) -> Kernel | None:
    """The kernel of an activation without parameters."""
    if output.dtype not in FLOATS:
        return None
    code = CODES[name]

    def kernel(x: np.ndarray, out: np.ndarray) -> None:
        write(code, x, out, ())

    return kernel


def _prelu(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.where(x < 0, x * slope, x).astype(x.dtype, copy=False)


def _thresholded(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > alpha, x, 0).astype(x.dtype)


def _shrink(x: np.ndarray, *, bias: float = 0.0, lambd: float = 0.5) -> np.ndarray:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0)).astype(x.dtype)


def _swish(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    if alpha == 1.0:
        return functional.silu(x)
    gated: np.ndarray = x * functional.sigmoid(x * x.dtype.type(alpha))
    return gated


# ---- along an axis ------------------------------------------------------------------------------------


def _softmax(x: np.ndarray, *, axis: int = -1, flat: bool = False) -> np.ndarray:
    """Softmax along one axis; `flat` takes all axes from that one on together, as opsets before 13 did."""
    return _along(functional.softmax, x, axis, flat)


def _log_softmax(x: np.ndarray, *, axis: int = -1, flat: bool = False) -> np.ndarray:
    return _along(functional.log_softmax, x, axis, flat)


def _hardmax(x: np.ndarray, *, axis: int = -1, flat: bool = False) -> np.ndarray:
    return _along(_first_largest, x, axis, flat)


def _first_largest(x: np.ndarray, axis: int) -> np.ndarray:
    out = np.zeros_like(x)
    np.put_along_axis(out, np.expand_dims(x.argmax(axis), axis), 1, axis)
    return out


def _along(
    function: Callable[[np.ndarray, int], np.ndarray], x: np.ndarray, axis: int, flat: bool
) -> np.ndarray:
    if not flat:
        return function(x, axis)
    axis %= max(1, x.ndim)
    rows = x.reshape(int(np.prod(x.shape[:axis])), -1)
    return function(rows, 1).reshape(x.shape)


OPERATORS: dict[str, Operator] = {
    "Clip": Operator(_clip, _clip_signature, bind=_clip_kernel, overwrites=(0,)),
    "Relu": Operator(_relu, like_first, bind=_activation("relu").bind, overwrites=(0,)),
    "LeakyRelu": _activation("leaky_relu", _leaky),
    "Sigmoid": _activation("sigmoid"),
    "Tanh": _activation("tanh"),
    "Softsign": _activation("softsign"),
    "Elu": _activation("elu", _elu),
    "HardSwish": _activation("hardswish"),
    "Mish": _activation("mish"),
    "HardSigmoid": Operator(in_float(_hard_sigmoid), like_first, bind=_hard_sigmoid_kernel, overwrites=(0,)),
    "Selu": Operator(in_float(_selu), like_first),
    "Celu": Operator(in_float(_celu), like_first),
    "Softplus": Operator(in_float(_softplus), like_first),
    "Gelu": Operator(in_float(_gelu), like_first, bind=_gelu_kernel, overwrites=(0,)),
    "PRelu": Operator(_prelu, like_first),
    "ThresholdedRelu": Operator(_thresholded, like_first),
    "Shrink": Operator(_shrink, like_first),
    "Swish": Operator(in_float(_swish), like_first, bind=_swish_kernel, overwrites=(0,)),
    "Softmax": Operator(in_float(_softmax), like_first),
    "LogSoftmax": Operator(in_float(_log_softmax), like_first),
    "Hardmax": Operator(_hardmax, like_first),
}
