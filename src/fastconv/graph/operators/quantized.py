"""Numbers in few bits: to them and back, and products and convolutions of them, exact as integers are.

Sums of products of integers are computed in floating point, which has the quick kernels: in float32 where no
sum can reach 2 ** 24, else in float64. All of them are whole numbers that the type holds exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv.graph.keep import Keep
from fastconv.graph.operator import Operator, Signature, like_first
from fastconv.graph.operators.elementwise import GREATEST
from fastconv.graph.operators.integers import Convolution, Product, scaled

#: Least and greatest numbers of integers that NumPy does not have.
RANGES = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}

FLOAT32 = np.dtype(np.float32)


def limits(dtype: np.dtype) -> tuple[int, int] | None:
    """Least and greatest number of an integer type; None of floats."""
    if dtype.name in RANGES:
        return RANGES[dtype.name]
    if dtype.kind not in "iu":
        return None
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _placed(
    name: str, parameter: np.ndarray, shape: tuple[int, ...], axis: int, block_size: int
) -> np.ndarray:
    """A scale or zero point as it broadcasts with the data: of all, per index of an axis, or per block."""
    if parameter.ndim == 0 or (parameter.size == 1 and parameter.ndim == 1):
        return parameter.reshape(())
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis={axis}: must be one of the {len(shape)} axes of shape {shape}")
    axis %= len(shape)
    size = shape[axis]
    if parameter.ndim == 1 and not (block_size and len(shape) == 1):
        if parameter.size != size:
            raise ValueError(f"{name}: shape {parameter.shape} must be ({size},), as axis {axis} of {shape}")
        return parameter.reshape(size, *[1] * (len(shape) - axis - 1))
    if block_size <= 0:
        raise ValueError(f"block_size={block_size}: must be positive for a {name} of shape {parameter.shape}")
    wanted = (*shape[:axis], -(-size // block_size), *shape[axis + 1 :])
    if parameter.shape != wanted:
        raise ValueError(
            f"{name}: shape {parameter.shape} must be {wanted}, blocks of {block_size} in {shape}"
        )
    index = np.arange(size) // block_size
    return np.take(parameter, index, axis)


# ---- to few bits --------------------------------------------------------------------------------------


def quantized(
    ratio: np.ndarray, zero: np.ndarray | None, dtype: np.dtype, saturate: bool = True
) -> np.ndarray:
    """Floats, which may be changed, as the nearest numbers of a type; halves go to the even neighbour."""
    if ratio.dtype != FLOAT32 and ratio.dtype != np.float64:
        ratio = ratio.astype(np.float32)
    if ratio.ndim == 0:
        ratio = ratio.reshape(1)
        return quantized(ratio, zero, dtype, saturate).reshape(())
    bounds = limits(dtype)
    if bounds is not None:
        if bounds[1] > 1 << 16:
            ratio = ratio.astype(np.float64)
        np.rint(ratio, ratio)
        if zero is not None:
            ratio += zero.astype(ratio.dtype)
        np.maximum(ratio, ratio.dtype.type(bounds[0]), out=ratio)
        np.minimum(ratio, ratio.dtype.type(bounds[1]), out=ratio)
        if dtype.name in RANGES:
            return ratio.astype(np.int8).astype(dtype)
        return ratio.astype(dtype)
    if zero is not None:
        ratio += zero.astype(ratio.dtype)
    greatest = GREATEST.get(dtype.name)
    if saturate and greatest is not None:
        np.clip(ratio, -greatest, greatest, out=ratio)
    return ratio.astype(dtype)


def _quantize(
    x: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: Any = None,
    precision: Any = None,
    saturate: int = 1,
) -> np.ndarray:
    """x / scale + zero, rounded and held in the range of the type."""
    if zero is not None and zero.shape != scale.shape and zero.size * scale.size != 1:
        raise ValueError(f"y_zero_point: shape {zero.shape} must be y_scale's, {scale.shape}")
    dtype = _quantized_dtype(zero, output_dtype)
    kind = np.dtype(precision) if precision else scale.dtype
    divisor = _placed("y_scale", scale, x.shape, axis, block_size).astype(kind)
    with np.errstate(all="ignore"):
        ratio = np.asarray(x.astype(kind, copy=False) / divisor)
        offset = None if zero is None else _placed("y_zero_point", zero, x.shape, axis, block_size)
        return quantized(ratio, offset, dtype, bool(saturate))


def _quantized_dtype(zero: np.ndarray | Signature | None, output_dtype: Any) -> np.dtype:
    if zero is None:
        return np.dtype(output_dtype or np.uint8)
    if output_dtype and np.dtype(output_dtype) != zero.dtype:
        raise ValueError(f"output_dtype={output_dtype}: must be y_zero_point's, {zero.dtype}")
    assert zero.dtype is not None
    return zero.dtype


def _quantize_signature(
    x: Signature,
    scale: Signature,
    zero: Signature | None = None,
    *,
    output_dtype: Any = None,
    **attributes: Any,
) -> Signature:
    return Signature(_quantized_dtype(zero, output_dtype), x.shape)


def _dequantize(
    x: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: Any = None,
) -> np.ndarray:
    """(x - zero) * scale, in the type of the result."""
    dtype = np.dtype(output_dtype) if output_dtype else scale.dtype
    if zero is not None and zero.shape != scale.shape and zero.size * scale.size != 1:
        raise ValueError(f"x_zero_point: shape {zero.shape} must be x_scale's, {scale.shape}")
    factor = _placed("x_scale", scale, x.shape, axis, block_size).astype(dtype)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float32)
        if zero is not None and zero.any():
            wide -= _placed("x_zero_point", zero, x.shape, axis, block_size).astype(np.float32)
        if dtype == FLOAT32:
            wide *= factor
            return wide
        return np.asarray(wide.astype(dtype) * factor)


def _dequantize_signature(
    x: Signature,
    scale: Signature,
    zero: Signature | None = None,
    *,
    output_dtype: Any = None,
    **attributes: Any,
) -> Signature:
    return Signature(np.dtype(output_dtype) if output_dtype else scale.dtype, x.shape)


def _quantize_dynamically(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x as uint8, with the scale and zero point that its least and greatest number, and 0, ask for."""
    with np.errstate(all="ignore"):
        low, high = x.min(initial=0), x.max(initial=0)
        scale = np.asarray((high - low) / x.dtype.type(255))
        if not scale:
            scale = np.ones_like(scale)
        zero = np.asarray(np.clip(np.rint(-low / scale), 0, 255).astype(np.uint8))
        return quantized(np.asarray(x / scale), zero, zero.dtype), scale.astype(x.dtype), zero


def _dynamic_signatures(x: Signature) -> list[Signature]:
    byte = np.dtype(np.uint8)
    return [Signature(byte, x.shape), Signature(x.dtype, ()), Signature(byte, ())]


# ---- products -----------------------------------------------------------------------------------------


def _multiply_integers(
    a: np.ndarray, b: np.ndarray, a_zero: np.ndarray | None = None, b_zero: np.ndarray | None = None
) -> np.ndarray:
    """The product of two arrays of integers, each less its zero point, as int32."""
    return _as_int32(Product(b, b_zero)(a, a_zero))


def _as_int32(sums: np.ndarray) -> np.ndarray:
    """Whole numbers as int32, of which sums that are too large keep the low bits."""
    return sums.astype(np.int64).astype(np.int32)


def _multiply_prepared(
    keep: Keep, signatures: Sequence[Signature | None], **attributes: Any
) -> Callable[..., np.ndarray] | None:
    b, b_zero = _constants(signatures, 1, 3)
    if b is None:
        return None
    product = keep((b, b_zero), "integer product", lambda: Product(b, b_zero))
    return lambda a, b, a_zero=None, b_zero=None: _as_int32(product(a, a_zero))


def _constants(signatures: Sequence[Signature | None], *places: int) -> list[np.ndarray | None]:
    """Constant inputs; the first is None if one of them is given, but not constant."""
    found = [signatures[i] if i < len(signatures) else None for i in places]
    if any(each is not None and each.value is None for each in found):
        return [None] * len(places)
    return [each and each.value for each in found]


def _product_signature(a: Signature, b: Signature, *others: Signature | None) -> Signature:
    return Signature(np.dtype(np.int32), Product.shape(a.shape, b.shape))


def _multiply_quantized(
    a: np.ndarray,
    a_scale: np.ndarray,
    a_zero: np.ndarray,
    b: np.ndarray,
    b_scale: np.ndarray,
    b_zero: np.ndarray,
    y_scale: np.ndarray,
    y_zero: np.ndarray,
) -> np.ndarray:
    return _requantized_product(Product(b, b_zero), a, a_scale, a_zero, b_scale, y_scale, y_zero)


def _requantized_product(
    product: Product,
    a: np.ndarray,
    a_scale: np.ndarray,
    a_zero: np.ndarray,
    b_scale: np.ndarray,
    y_scale: np.ndarray,
    y_zero: np.ndarray,
) -> np.ndarray:
    sums = product(a, a_zero)
    with np.errstate(all="ignore"):
        factor = (
            product.rows(a_scale, sums.ndim) * product.columns(b_scale) / product.rows(y_scale, sums.ndim)
        )
        return quantized(scaled(sums, factor), product.rows(y_zero, sums.ndim), y_zero.dtype)


def _multiply_quantized_prepared(
    keep: Keep, signatures: Sequence[Signature | None], **attributes: Any
) -> Callable[..., np.ndarray] | None:
    b, b_zero = _constants(signatures, 3, 5)
    if b is None:
        return None
    product = keep((b, b_zero), "integer product", lambda: Product(b, b_zero))

    def run(a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any, b_zero: Any, *y: Any) -> np.ndarray:
        return _requantized_product(product, a, a_scale, a_zero, b_scale, *y)

    return run


def _quantized_product_signature(*inputs: Signature) -> Signature:
    return Signature(inputs[7].dtype, Product.shape(inputs[0].shape, inputs[3].shape))


# ---- convolutions -------------------------------------------------------------------------------------


def _convolve_integers(
    x: np.ndarray,
    w: np.ndarray,
    x_zero: np.ndarray | None = None,
    w_zero: np.ndarray | None = None,
    **attributes: Any,
) -> np.ndarray:
    """The convolution of two arrays of integers, each less its zero point, as int32."""
    return _as_int32(Convolution(w, w_zero, None, **attributes)(x, x_zero))


def _convolve_prepared(
    keep: Keep, signatures: Sequence[Signature | None], **attributes: Any
) -> Callable[..., np.ndarray] | None:
    w, w_zero = _constants(signatures, 1, 3)
    if w is None:
        return None
    parameters = ("integer convolution", tuple(sorted(attributes.items())))
    convolution = keep((w, w_zero), parameters, lambda: Convolution(w, w_zero, None, **attributes))
    return lambda x, w, x_zero=None, w_zero=None: _as_int32(convolution(x, x_zero))


def _convolution_signature(
    x: Signature, w: Signature, *zeros: Signature | None, **attributes: Any
) -> Signature:
    return Signature(np.dtype(np.int32), Convolution.shape(x.shape, w.shape, **attributes))


def _convolve_quantized(
    x: np.ndarray,
    x_scale: np.ndarray,
    x_zero: np.ndarray,
    w: np.ndarray,
    w_scale: np.ndarray,
    w_zero: np.ndarray,
    y_scale: np.ndarray,
    y_zero: np.ndarray,
    bias: np.ndarray | None = None,
    **attributes: Any,
) -> np.ndarray:
    convolution = Convolution(w, w_zero, bias, **attributes)
    return _requantized_convolution(convolution, x, x_scale, x_zero, w_scale, y_scale, y_zero)


def _requantized_convolution(
    convolution: Convolution,
    x: np.ndarray,
    x_scale: np.ndarray,
    x_zero: np.ndarray,
    w_scale: np.ndarray,
    y_scale: np.ndarray,
    y_zero: np.ndarray,
) -> np.ndarray:
    sums = convolution(x, x_zero)
    per_channel = (-1, *[1] * (sums.ndim - 2))
    factor = x_scale.reshape(-1) * w_scale.reshape(-1) / y_scale.reshape(-1)
    with np.errstate(all="ignore"):
        ratio = scaled(sums, factor.astype(np.float32).reshape(per_channel))
        return quantized(ratio, y_zero.reshape(per_channel), y_zero.dtype)


def _convolve_quantized_prepared(
    keep: Keep, signatures: Sequence[Signature | None], **attributes: Any
) -> Callable[..., np.ndarray] | None:
    w, w_zero, bias = _constants(signatures, 3, 5, 8)
    if w is None:
        return None
    parameters = ("integer convolution", tuple(sorted(attributes.items())))
    convolution = keep((w, w_zero, bias), parameters, lambda: Convolution(w, w_zero, bias, **attributes))

    def run(
        x: Any,
        x_scale: Any,
        x_zero: Any,
        w: Any,
        w_scale: Any,
        w_zero: Any,
        y_scale: Any,
        y_zero: Any,
        *b: Any,
    ) -> np.ndarray:
        return _requantized_convolution(convolution, x, x_scale, x_zero, w_scale, y_scale, y_zero)

    return run


def _quantized_convolution_signature(*inputs: Signature, **attributes: Any) -> Signature:
    return Signature(inputs[7].dtype, Convolution.shape(inputs[0].shape, inputs[3].shape, **attributes))


# ---- onnxruntime's ------------------------------------------------------------------------------------


def _elementwise(function: Callable[..., np.ndarray]) -> Operator:
    """com.microsoft's operators that compute in float between two quantised numbers."""

    def compute(
        a: np.ndarray,
        a_scale: np.ndarray,
        a_zero: np.ndarray | None,
        b: np.ndarray,
        b_scale: np.ndarray,
        b_zero: np.ndarray | None,
        y_scale: np.ndarray,
        y_zero: np.ndarray | None = None,
    ) -> np.ndarray:
        made = function(_dequantize(a, a_scale, a_zero), _dequantize(b, b_scale, b_zero))
        return _quantize(made, y_scale, y_zero, output_dtype=a.dtype)

    def infer(a: Signature, *others: Signature) -> Signature:
        assert a.shape is not None
        assert others[2].shape is not None
        return Signature(a.dtype, np.broadcast_shapes(a.shape, others[2].shape))

    return Operator(compute, infer)


def _quantized_sigmoid(
    x: np.ndarray,
    x_scale: np.ndarray,
    x_zero: np.ndarray | None,
    y_scale: np.ndarray,
    y_zero: np.ndarray | None = None,
) -> np.ndarray:
    with np.errstate(all="ignore"):
        made = 1 / (1 + np.exp(-_dequantize(x, x_scale, x_zero)))
    return _quantize(made, y_scale, y_zero, output_dtype=x.dtype)


OPERATORS: dict[str, Operator] = {
    "QuantizeLinear": Operator(_quantize, _quantize_signature),
    "DequantizeLinear": Operator(_dequantize, _dequantize_signature),
    "DynamicQuantizeLinear": Operator(_quantize_dynamically, _dynamic_signatures),
    "MatMulInteger": Operator(_multiply_integers, _product_signature, prepare=_multiply_prepared),
    "QLinearMatMul": Operator(
        _multiply_quantized, _quantized_product_signature, prepare=_multiply_quantized_prepared
    ),
    "ConvInteger": Operator(_convolve_integers, _convolution_signature, prepare=_convolve_prepared),
    "QLinearConv": Operator(
        _convolve_quantized, _quantized_convolution_signature, prepare=_convolve_quantized_prepared
    ),
    "QLinearAdd": _elementwise(np.add),
    "QLinearMul": _elementwise(np.multiply),
    "QLinearSigmoid": Operator(_quantized_sigmoid, like_first),
}
