"""Operators that look at one element of each input, broadcast: arithmetic, comparison, logic, bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.graph.keep import Keep
from fastconv.graph.operator import Kernel, Operator, Signature

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

#: Greatest numbers of the floats that overflow; the others stop at theirs by themselves.
GREATEST = {
    "float8_e4m3fn": 448.0,
    "float8_e4m3fnuz": 240.0,
    "float8_e5m2": 57344.0,
    "float8_e5m2fnuz": 57344.0,
}

#: The type that has nothing but an exponent.
POWERS_OF_TWO = "float8_e8m0fnu"


def broadcast(*signatures: Signature | None) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to."""
    return np.broadcast_shapes(
        *(each.shape for each in signatures if each is not None and each.shape is not None)
    )


# ---- operators that are one NumPy function --------------------------------------------------------------


def _ufunc(function: np.ufunc, dtype: Any = None) -> Operator:
    """An operator that is a NumPy ufunc; `dtype` is that of the output if it is not the first input's."""

    def compute(*arrays: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            result: np.ndarray = np.asarray(function(*arrays))
        wanted = arrays[0].dtype if dtype is None else np.dtype(dtype)
        return result if result.dtype == wanted else result.astype(wanted)

    def infer(*signatures: Signature) -> Signature:
        return Signature(signatures[0].dtype if dtype is None else np.dtype(dtype), broadcast(*signatures))

    def bind(keep: Keep, signatures: list[Signature], output: Signature) -> Kernel | None:
        if dtype is None and output.dtype not in FLOATS:
            return None  # NumPy may compute in a wider type
        return _writer(function)

    return Operator(compute, infer, bind=bind, overwrites=(0, 1) if function.nin == 2 else (0,))


def _writer(function: Callable[..., Any]) -> Kernel:
    def kernel(*arrays: np.ndarray) -> None:
        function(*arrays[:-1], out=arrays[-1])  # by position, NumPy warns for its maximum and minimum

    return kernel


def _unary(function: Callable[[np.ndarray], Any], dtype: Any = None) -> Operator:
    """An operator that is a Python function of one array."""

    def compute(x: np.ndarray, **attributes: Any) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(function(x, **attributes)).astype(
                x.dtype if dtype is None else dtype, copy=False
            )

    def infer(x: Signature, **attributes: Any) -> Signature:
        return Signature(x.dtype if dtype is None else np.dtype(dtype), x.shape)

    return Operator(compute, infer)


# ---- arithmetic --------------------------------------------------------------------------------------


def _divide(a: np.ndarray, b: np.ndarray) -> Any:
    """Quotient; of integers truncated, and 0 where the divisor is 0."""
    with np.errstate(all="ignore"):
        if a.dtype.kind not in "iu":
            return np.divide(a, b).astype(a.dtype, copy=False)
        quotient = np.asarray(a // np.where(b == 0, 1, b).astype(a.dtype))
        if a.dtype.kind == "i":
            quotient = quotient + ((quotient * b != a) & ((a < 0) != (b < 0)))
        return np.where(b == 0, 0, quotient).astype(a.dtype)


def _divide_kernel(keep: Keep, signatures: list[Signature], output: Signature) -> Kernel | None:
    return _writer(np.divide) if output.dtype in FLOATS else None


def _power(a: np.ndarray, b: np.ndarray) -> Any:
    """a ** b, in the type of a."""
    with np.errstate(all="ignore"):
        if a.dtype.kind in "iu" and (b.dtype.kind == "f" or (b.dtype.kind == "i" and np.any(b < 0))):
            return np.power(a.astype(np.float64), b).astype(a.dtype)
        if b.size == 1 and a.dtype.kind == "f" and b.dtype.kind in "iuf":
            exponent = float(b.reshape(()))
            shape = np.broadcast_shapes(a.shape, b.shape)
            if exponent == 2.0:
                return (a * a).reshape(shape)
            if exponent == 0.5:
                return np.sqrt(a).reshape(shape)
        return np.power(a, b.astype(a.dtype) if b.dtype.kind != a.dtype.kind else b).astype(
            a.dtype, copy=False
        )


def _power_kernel(keep: Keep, signatures: list[Signature], output: Signature) -> Kernel | None:
    """Squares and square roots, written where they belong."""
    base, exponent = signatures[0], signatures[1].value
    functions: dict[float, Callable[..., Any]] = {2.0: lambda a, out: np.multiply(a, a, out), 0.5: np.sqrt}
    if base.dtype not in FLOATS or not isinstance(exponent, np.ndarray) or exponent.size != 1:
        return None
    function = functions.get(float(exponent.reshape(())) if exponent.dtype.kind in "iuf" else 0.0)
    if function is None or base.shape != output.shape:
        return None
    return lambda a, b, out: function(a, out)


def _modulo(a: np.ndarray, b: np.ndarray, *, fmod: int = 0) -> Any:
    """Remainder with the sign of the divisor, or with `fmod` that of the dividend."""
    with np.errstate(all="ignore"):
        return (np.fmod if fmod else np.mod)(a, b).astype(a.dtype, copy=False)


def _shift(a: np.ndarray, b: np.ndarray, *, direction: str) -> np.ndarray:
    """Bits moved to the left or the right; what is moved by all bits or more is 0, or all signs."""
    bits = a.dtype.itemsize * 8
    if direction == "RIGHT":
        kept = np.right_shift(a, np.minimum(b, bits - 1).astype(a.dtype))
        return kept if a.dtype.kind == "i" else np.where(b >= bits, 0, kept).astype(a.dtype)
    wide = b >= bits
    return np.where(wide, 0, np.left_shift(a, np.where(wide, 0, b).astype(a.dtype))).astype(a.dtype)


def _fold(function: np.ufunc, mean: bool = False) -> Operator:
    """An operator of any number of inputs: Sum, Mean, Max, Min."""

    def compute(first: np.ndarray, *others: np.ndarray) -> np.ndarray:
        total = np.array(first) if not others else first
        with np.errstate(all="ignore"):
            for other in others:
                total = function(total, other)
            if mean:
                total = total / np.asarray(len(others) + 1, total.dtype)
        return np.asarray(total).astype(first.dtype, copy=False)

    def infer(*signatures: Signature) -> Signature:
        return Signature(signatures[0].dtype, broadcast(*signatures))

    def bind(keep: Keep, signatures: list[Signature], output: Signature) -> Kernel | None:
        if output.dtype not in FLOATS or len(signatures) != 2 or mean:
            return None
        return _writer(function)

    return Operator(compute, infer, bind=bind, overwrites=(0, 1))


# ---- functions of one value ---------------------------------------------------------------------------


def _erf(x: np.ndarray) -> Any:
    """The error function, to a unit or two in the last place of its dtype.

    The series of Abramowitz & Stegun 7.1.5 for small values, the continued fraction 7.1.14 for the tail; both
    in float64.
    """
    wide = np.asarray(x, np.float64)
    size = np.minimum(np.abs(wide), 7.0)
    series = np.zeros_like(size)
    small = size < 2.5
    if small.any():
        z = size[small]
        term, total = z.copy(), z.copy()
        for n in range(1, 60):
            term *= -z * z / n
            total += term / (2 * n + 1)
        series[small] = total * (2 / math.sqrt(math.pi))
    if not small.all():
        z = size[~small]
        fraction = np.zeros_like(z)
        for n in range(60, 0, -1):
            fraction = n / 2 / (z + fraction)
        series[~small] = 1 - np.exp(-z * z) / (z + fraction) / math.sqrt(math.pi)
    return np.where(np.isnan(wide), np.nan, np.copysign(series, wide))


def _isinf(x: np.ndarray, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    return np.isinf(x) & ((bool(detect_positive) & (x > 0)) | (bool(detect_negative) & (x < 0)))


def _reciprocal(x: np.ndarray) -> Any:
    return np.reciprocal(x)


def _sign(x: np.ndarray) -> Any:
    return np.sign(x)


def _absolute(x: np.ndarray) -> Any:
    return np.abs(x)


# ---- choice -------------------------------------------------------------------------------------------


def _where(condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(condition, a, b).astype(a.dtype, copy=False)


def _where_signature(condition: Signature, a: Signature, b: Signature) -> Signature:
    return Signature(a.dtype, broadcast(condition, a, b))


def _same_dtype(first: Signature, *others: Signature | None, **attributes: Any) -> Signature:
    return Signature(first.dtype, broadcast(first, *others))


# ---- dtype --------------------------------------------------------------------------------------------


def cast(x: np.ndarray, *, to: Any, saturate: int = 1, round_mode: str = "up") -> np.ndarray:
    """x in another dtype; what is cut off is cut off as NumPy does, but floats of 8 bits do not overflow."""
    dtype = np.dtype(to)
    if x.dtype == dtype:
        return np.array(x)
    with np.errstate(all="ignore"):
        if dtype.kind in "OUST" or x.dtype.kind in "OUST":
            return _cast_text(x, dtype)
        if dtype.name == POWERS_OF_TWO:
            return _cast_power(x, dtype, bool(saturate), round_mode)
        greatest = GREATEST.get(dtype.name)
        if saturate and greatest is not None:
            x = np.clip(x.astype(np.float32), -greatest, greatest)
        return x.astype(dtype)


def _cast_prepared(
    keep: Keep, signatures: list[Signature | None], *, to: Any, **attributes: Any
) -> Callable[..., np.ndarray] | None:
    """Between numbers that NumPy itself has: nothing is left to ask."""
    x, dtype = signatures[0], np.dtype(to)
    if (
        x is None
        or x.dtype is None
        or not all(d.isbuiltin == 1 and d.kind in "biuf" for d in (x.dtype, dtype))
    ):
        return None
    return lambda x: x.astype(dtype)


def _cast_power(x: np.ndarray, dtype: np.dtype, saturate: bool, round_mode: str) -> np.ndarray:
    """The nearest power of two, or the one above or below; nothing below 2**-127 nor above 2**127."""
    if round_mode not in ("up", "down", "nearest"):
        raise ValueError(f"round_mode={round_mode!r}: must be up, down or nearest")
    part, power = np.frexp(x.astype(np.float64))
    raised = {"up": part > 0.5, "down": np.zeros(part.shape, bool), "nearest": part >= 0.75}[round_mode]
    power = np.where(x == 0, -127, power - 1 + raised)
    made = np.ldexp(np.where(x < 0, np.nan, 1.0), np.clip(power, -127, 127))
    gone = ~np.isfinite(x.astype(np.float64)) if not saturate else np.isnan(x.astype(np.float64))
    made = np.where(np.isposinf(x.astype(np.float64)), 2.0**127, made)
    return np.where(gone | ((power > 127) & (not saturate)), np.nan, made).astype(dtype)


def _cast_text(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "OUST":
        if x.dtype.kind == "f":
            x = np.array([_number_text(value) for value in x.reshape(-1)], object).reshape(x.shape)
        return x.astype(str).astype(object)
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in x.reshape(-1)]
    return np.array([float(text) for text in texts]).reshape(x.shape).astype(dtype)


def _number_text(value: Any) -> str:
    text = str(value)
    return {"nan": "NaN", "inf": "INF", "-inf": "-INF"}.get(text, text)


def _cast_signature(x: Signature, *, to: Any, **attributes: Any) -> Signature:
    return Signature(np.dtype(to), x.shape)


def _cast_like(x: np.ndarray, other: np.ndarray, **attributes: Any) -> np.ndarray:
    return cast(x, to=other.dtype, **attributes)


def _bit_cast(x: np.ndarray, *, to: Any) -> np.ndarray:
    bits: np.ndarray = x.copy(order="C").view(np.dtype(to))
    return bits


def _identity(x: Any) -> Any:
    return x


OPERATORS: dict[str, Operator] = {
    "Add": _ufunc(np.add),
    "Sub": _ufunc(np.subtract),
    "Mul": _ufunc(np.multiply),
    "Div": Operator(_divide, _same_dtype, bind=_divide_kernel, overwrites=(0, 1)),
    "Pow": Operator(_power, _same_dtype, bind=_power_kernel, overwrites=(0,)),
    "Mod": Operator(_modulo, _same_dtype),
    "BitShift": Operator(_shift, _same_dtype),
    "Sum": _fold(np.add),
    "Mean": _fold(np.add, mean=True),
    "Max": _fold(np.maximum),
    "Min": _fold(np.minimum),
    "BitwiseAnd": _ufunc(np.bitwise_and),
    "BitwiseOr": _ufunc(np.bitwise_or),
    "BitwiseXor": _ufunc(np.bitwise_xor),
    "BitwiseNot": _ufunc(np.bitwise_not),
    "And": _ufunc(np.logical_and, bool),
    "Or": _ufunc(np.logical_or, bool),
    "Xor": _ufunc(np.logical_xor, bool),
    "Not": _ufunc(np.logical_not, bool),
    "Equal": _ufunc(np.equal, bool),
    "Less": _ufunc(np.less, bool),
    "LessOrEqual": _ufunc(np.less_equal, bool),
    "Greater": _ufunc(np.greater, bool),
    "GreaterOrEqual": _ufunc(np.greater_equal, bool),
    "Abs": _unary(_absolute),
    "Neg": _ufunc(np.negative),
    "Sign": _unary(_sign),
    "Sqrt": _ufunc(np.sqrt),
    "Reciprocal": _unary(_reciprocal),
    "Exp": _ufunc(np.exp),
    "Log": _ufunc(np.log),
    "Floor": _ufunc(np.floor),
    "Ceil": _ufunc(np.ceil),
    "Round": _ufunc(np.rint),
    "Sin": _ufunc(np.sin),
    "Cos": _ufunc(np.cos),
    "Tan": _ufunc(np.tan),
    "Asin": _ufunc(np.arcsin),
    "Acos": _ufunc(np.arccos),
    "Atan": _ufunc(np.arctan),
    "Sinh": _ufunc(np.sinh),
    "Cosh": _ufunc(np.cosh),
    "Asinh": _ufunc(np.arcsinh),
    "Acosh": _ufunc(np.arccosh),
    "Atanh": _ufunc(np.arctanh),
    "Erf": _unary(_erf),
    "IsNaN": _ufunc(np.isnan, bool),
    "IsInf": _unary(_isinf, bool),
    "Where": Operator(_where, _where_signature),
    "Cast": Operator(cast, _cast_signature, prepare=_cast_prepared),
    "CastLike": Operator(_cast_like),
    "BitCast": Operator(_bit_cast, _cast_signature),
    "Identity": Operator(_identity, is_view=True),
}
