"""Products of matrices: fastconv's where the right factor never changes, NumPy's where both do."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fastconv import functional
from fastconv.geometry import check_memory
from fastconv.graph.keep import Keep
from fastconv.graph.operator import Kernel, Operator, Signature
from fastconv.graph.operators.elementwise import FLOATS
from fastconv.graph.operators.rows import RowProduct


def _widened(function: Any, *arrays: np.ndarray) -> np.ndarray:
    """A product in the arrays' own dtype; types that NumPy has no product for go through float32."""
    if arrays[0].dtype in FLOATS or arrays[0].dtype.kind in "iu":
        result: np.ndarray = np.asarray(function(*arrays))
        return result.astype(arrays[0].dtype, copy=False)
    return np.asarray(function(*(a.astype(np.float32) for a in arrays))).astype(arrays[0].dtype)


def _matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _widened(np.matmul, a, b)


def _matmul_signature(a: Signature, b: Signature) -> Signature:
    assert a.shape is not None
    assert b.shape is not None
    if not a.shape or not b.shape or a.shape[-1] != b.shape[-2 if len(b.shape) > 1 else 0]:
        raise ValueError(f"A, B: shapes {a.shape} and {b.shape} have no product")
    rows = a.shape[-2:-1]
    columns = b.shape[-1:] if len(b.shape) > 1 else ()
    return Signature(a.dtype, (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *rows, *columns))


def _matmul_kernel(keep: Keep, signatures: list[Signature], output: Signature) -> Kernel | None:
    a, b = signatures
    assert a.shape is not None
    assert b.shape is not None
    assert output.shape is not None
    if output.dtype not in FLOATS or a.dtype != b.dtype or len(a.shape) < 2 or len(b.shape) < 2:
        return None
    if b.value is None or len(b.shape) != 2:
        return _matmul_into
    return _times_constant(keep, b.value, False, output, None)


def _matmul_into(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    np.matmul(a, b, out)


def _times_constant(
    keep: Keep,
    b: np.ndarray,
    transposed: bool,
    output: Signature,
    bias: np.ndarray | None,
    activation: str | None = None,
) -> Kernel:
    """(..., C) times a constant (C, K), or (K, C) if `transposed`; the constant is packed once."""
    assert output.shape is not None
    columns = output.shape[-1]
    rows = output.size // columns
    factor = keep((b,), (transposed, "product"), lambda: RowProduct(b, transposed))
    product = factor.of(rows, bias, activation)

    def kernel(a: np.ndarray, *others: Any) -> None:
        out = others[-1]
        flat = out.reshape(rows, columns)
        product(a.reshape(rows, -1), flat)
        if not np.may_share_memory(flat, out):
            np.copyto(out, flat.reshape(out.shape))

    return kernel


def _product_flops(signatures: list[Signature], output: Signature, **told: Any) -> int:
    shape = signatures[0].shape or (1,)
    return 2 * output.size * shape[0 if told.get("transA") else -1]


# ---- Gemm ---------------------------------------------------------------------------------------------


def _gemm(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> np.ndarray:
    """alpha * a @ b + beta * c."""
    result = _widened(np.matmul, a.T if transA else a, b.T if transB else b)
    if alpha != 1.0:
        result = (result * np.asarray(alpha, np.float64)).astype(a.dtype)
    if c is not None and beta != 0.0:
        scaled = c if beta == 1.0 else (c * np.asarray(beta, np.float64)).astype(a.dtype)
        result = (result + scaled).astype(a.dtype, copy=False)
    return result


def _gemm_signature(a: Signature, b: Signature, c: Signature | None = None, **told: Any) -> Signature:
    assert a.shape is not None
    assert b.shape is not None
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ValueError(f"A, B: shapes {a.shape} and {b.shape} must be matrices")
    left = a.shape[::-1] if told.get("transA") else a.shape
    right = b.shape[::-1] if told.get("transB") else b.shape
    if left[1] != right[0]:
        raise ValueError(f"A, B: shapes {left} and {right} have no product")
    shape = (left[0], right[1])
    if c is not None and c.shape is not None and np.broadcast_shapes(c.shape, shape) != shape:
        raise ValueError(f"C: shape {c.shape} must broadcast to {shape}")
    return Signature(a.dtype, shape)


def _gemm_kernel(
    keep: Keep, signatures: list[Signature | None], output: Signature, **told: Any
) -> Kernel | None:
    a, b = signatures[:2]
    c = signatures[2] if len(signatures) > 2 else None
    assert a is not None
    assert b is not None
    assert output.shape is not None
    plain = told.get("alpha", 1.0) == 1.0 and told.get("beta", 1.0) == 1.0 and not told.get("transA")
    if not plain or output.dtype not in FLOATS or b.value is None or b.dtype != a.dtype:
        return None
    bias = None
    if c is not None:
        if c.value is None or c.size not in (1, output.shape[1]) or c.dtype != a.dtype:
            return None
        if c.shape and c.shape[-1] != c.size:
            return None
        bias = np.ascontiguousarray(np.broadcast_to(c.value.reshape(-1), output.shape[1:]))
    return _times_constant(keep, b.value, bool(told.get("transB")), output, bias)


# ---- Linear -------------------------------------------------------------------------------------------


def _linear(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str | None = None,
    transposed: bool = False,
) -> np.ndarray:
    """x (..., C) times a weight (C, K), or (K, C) if `transposed`, plus a bias, and an activation of that."""
    weight = weight if transposed else weight.T
    return functional.linear(x, np.ascontiguousarray(weight), bias, activation=activation)


def _linear_signature(
    x: Signature, weight: Signature, bias: Signature | None = None, *, transposed: bool = False, **told: Any
) -> Signature:
    assert x.shape is not None
    assert weight.shape is not None
    depth, columns = weight.shape[::-1] if transposed else weight.shape
    if not x.shape or x.shape[-1] != depth:
        raise ValueError(f"input: shape {x.shape} must end in the {depth} features of the weight")
    return Signature(x.dtype, (*x.shape[:-1], columns))


def _linear_kernel(
    keep: Keep,
    signatures: list[Signature | None],
    output: Signature,
    *,
    activation: str | None = None,
    transposed: bool = False,
) -> Kernel | None:
    weight, bias = signatures[1], signatures[2] if len(signatures) > 2 else None
    assert weight is not None
    if output.dtype not in FLOATS or weight.value is None or (bias is not None and bias.value is None):
        return None
    held = None if bias is None else bias.value
    return _times_constant(keep, weight.value, transposed, output, held, activation)


# ---- Einsum -------------------------------------------------------------------------------------------


def _einsum(*arrays: np.ndarray, equation: str) -> np.ndarray:
    """Einstein's sum, in NumPy's notation."""
    equation = equation.replace(" ", "")
    return _widened(partial(np.einsum, equation, optimize=len(arrays) > 2), *arrays)


def _einsum_signature(*signatures: Signature, equation: str) -> Signature:
    """The shape alone: a sum over arrays of no memory, each axis cut to at most one element, scaled back."""
    equation = equation.replace(" ", "")
    terms, _, result = equation.partition("->")
    sizes: dict[str, int] = {}
    dots: tuple[int, ...] = ()
    letters = ""
    for term, signature in zip(terms.split(","), signatures):
        assert signature.shape is not None
        front, ellipsis, back = term.partition("...")
        if not ellipsis and len(front) != len(signature.shape):
            raise ValueError(f"equation={equation!r}: an input has shape {signature.shape}")
        middle = signature.shape[len(front) : len(signature.shape) - len(back)] if ellipsis else ()
        named = [*front, *back]
        shape = (*signature.shape[: len(front)], *signature.shape[len(signature.shape) - len(back) :])
        for letter, size in zip(named, shape if ellipsis else signature.shape):
            if size != 1 and sizes.get(letter, 1) not in (1, size):
                raise ValueError(f"equation={equation!r}: {letter!r} is {sizes[letter]} and {size}")
            sizes[letter] = max(size, sizes.get(letter, 1)) if size else 0
        dots = np.broadcast_shapes(dots, middle)
        letters += front + back
    if "->" not in equation:
        result = "..." + "".join(sorted(letter for letter in sizes if letters.count(letter) == 1))
    front, ellipsis, back = result.partition("...")
    unknown = sorted({*front, *back} - set(sizes))
    if unknown:
        raise ValueError(f"equation={equation!r}: {unknown[0]!r} is an axis of no input")
    shape = (*(sizes[i] for i in front), *(dots if ellipsis else ()), *(sizes[i] for i in back))
    dtype = signatures[0].dtype
    assert dtype is not None
    check_memory(shape, dtype)
    return Signature(dtype, shape)


OPERATORS: dict[str, Operator] = {
    "MatMul": Operator(_matmul, _matmul_signature, bind=_matmul_kernel, flops=_product_flops),
    "Gemm": Operator(_gemm, _gemm_signature, bind=_gemm_kernel, flops=_product_flops),
    "Linear": Operator(_linear, _linear_signature, bind=_linear_kernel, flops=_product_flops),
    "Einsum": Operator(_einsum, _einsum_signature),
}
