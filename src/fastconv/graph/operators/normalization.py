"""Normalisations, with fastconv's sums in double precision where it has them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv import functional
from fastconv._kernels.pointwise.norm import group_map
from fastconv.functional.norm import channel_window_sums
from fastconv.graph.keep import Keep
from fastconv.graph.operator import Kernel, Operator, Signature, like_first
from fastconv.graph.operators.activation import in_float
from fastconv.graph.operators.elementwise import FLOATS
from fastconv.graph.order import is_dense


def per_channel(values: np.ndarray, rank: int) -> np.ndarray:
    """(C,) as it broadcasts over (N, C, ...) of this rank."""
    return values.reshape(-1, *(1,) * (rank - 2))


def factors(statistics: Sequence[np.ndarray], epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Batch normalisation by scale, bias, mean and variance as x * factor + shift, in float64."""
    scale, bias, mean, var = (np.asarray(each, np.float64) for each in statistics)
    factor = scale / np.sqrt(var + epsilon)
    return factor, bias - mean * factor


def _batch_norm(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Any:
    """(x - mean) / sqrt(var + epsilon) * scale + bias, per channel; in training by the batch's own."""
    wide = x if x.dtype in FLOATS else x.astype(np.float32)
    axes = (0, *range(2, x.ndim))
    used_mean, used_var = mean, var
    if training_mode:
        used_mean, used_var = wide.mean(axes, dtype=np.float64), wide.var(axes, dtype=np.float64)
    factor, shift = factors((scale, bias, used_mean, used_var), epsilon)
    out = wide * per_channel(factor, x.ndim).astype(wide.dtype) + per_channel(shift, x.ndim).astype(
        wide.dtype
    )
    if not training_mode:
        return out.astype(x.dtype, copy=False)
    moved = [
        (old * momentum + new * (1 - momentum)).astype(old.dtype)
        for old, new in ((mean, used_mean), (var, used_var))
    ]
    return (out.astype(x.dtype, copy=False), *moved)


def _batch_norm_signatures(x: Signature, *others: Signature, **told: Any) -> list[Signature]:
    return [Signature(x.dtype, x.shape), *(Signature(each.dtype, each.shape) for each in others[2:4])]


def _batch_norm_kernel(
    keep: Keep,
    signatures: list[Signature],
    output: Signature,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Kernel | None:
    if training_mode or output.dtype not in FLOATS or any(each.value is None for each in signatures[1:]):
        return None
    scale, bias, mean, var = (np.asarray(each.value, np.float64) for each in signatures[1:])
    unit, inverse = np.ones(len(mean)), 1.0 / np.sqrt(var + epsilon)

    def kernel(x: np.ndarray, *others: Any) -> None:
        out = others[-1]
        if is_dense(out):
            group_map(x, unit, mean, inverse, bias, out, weight=scale)
        else:
            for i in range(len(out)):
                group_map(x[i : i + 1], unit, mean, inverse, bias, out[i : i + 1], weight=scale)

    return kernel


@in_float
def _instance_norm(
    x: np.ndarray, scale: np.ndarray, bias: np.ndarray, *, epsilon: float = 1e-5
) -> np.ndarray:
    """Every plane made mean 0 and variance 1, then scaled and shifted per channel."""
    rows = np.ascontiguousarray(x).reshape(x.shape[0] * x.shape[1], -1)
    made = functional.layer_norm(rows, rows.shape[1], None, None, float(epsilon)).reshape(x.shape)
    result: np.ndarray = made * per_channel(scale, x.ndim) + per_channel(bias, x.ndim)
    return result


@in_float
def _group_norm(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    per_group: bool = False,
) -> np.ndarray:
    """Groups of channels of an image made mean 0 and variance 1; `per_group`: as scale and bias once were."""
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"num_groups={num_groups}: must divide the {x.shape[1]} channels of X")
    rows = np.ascontiguousarray(x).reshape(x.shape[0] * num_groups, -1)
    made = functional.layer_norm(rows, rows.shape[1], None, None, float(epsilon)).reshape(x.shape)
    if per_group:
        scale, bias = (np.repeat(each, x.shape[1] // num_groups) for each in (scale, bias))
    result: np.ndarray = made * per_channel(scale, x.ndim) + per_channel(bias, x.ndim)
    return result


def _layer_norm(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
) -> Any:
    """The last axes made mean 0 and variance 1; also the means, and what was multiplied by."""
    axis %= x.ndim
    wide = x if x.dtype in FLOATS else x.astype(np.float32)
    rows = np.ascontiguousarray(wide).reshape(prod(x.shape[:axis]), -1)
    made = functional.layer_norm(rows, rows.shape[1], None, None, float(epsilon)).reshape(x.shape)
    made = made * scale.astype(wide.dtype)
    if bias is not None:
        made = made + bias.astype(wide.dtype)
    kept = (*x.shape[:axis], *(1,) * (x.ndim - axis))
    mean = rows.mean(1, dtype=np.float64)
    inverse = 1 / np.sqrt(rows.var(1, dtype=np.float64) + epsilon)
    return (
        made.astype(x.dtype, copy=False),
        mean.astype(np.float32).reshape(kept),
        inverse.astype(np.float32).reshape(kept),
    )


def _layer_norm_signatures(
    x: Signature, *others: Signature | None, axis: int = -1, epsilon: float = 1e-5
) -> list[Signature]:
    assert x.shape is not None
    axis %= len(x.shape)
    kept = Signature(np.dtype(np.float32), (*x.shape[:axis], *(1,) * (len(x.shape) - axis)))
    return [Signature(x.dtype, x.shape), kept, kept]


def _layer_norm_kernel(
    keep: Keep,
    signatures: list[Signature | None],
    output: Signature,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
) -> Kernel | None:
    assert output.shape is not None
    shape = output.shape[axis % len(output.shape) :]
    if any(each is not None and each.dtype != output.dtype for each in signatures):
        return None
    if output.dtype not in FLOATS or any(each is not None and each.shape != shape for each in signatures[1:]):
        return None

    def kernel(x: np.ndarray, scale: np.ndarray, *others: Any) -> None:
        bias = others[0] if len(others) > 1 else None
        np.copyto(others[-1], functional.layer_norm(x, shape, scale, bias, epsilon))

    return kernel


@in_float
def _lp_norm(x: np.ndarray, *, axis: int = -1, p: int = 2) -> np.ndarray:
    """x divided by its norm along an axis; 0 where that is 0."""
    size = np.abs(x).sum(axis, keepdims=True) if p == 1 else np.sqrt((x * x).sum(axis, keepdims=True))
    scaled: np.ndarray = np.divide(x, size, out=np.zeros_like(x), where=size != 0)
    return scaled


@in_float
def _response_norm(
    x: np.ndarray, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> np.ndarray:
    """x / (bias + alpha / size * sum of squares of neighbouring channels) ** beta."""
    total = channel_window_sums(x * x, (size - 1) // 2, size - 1 - (size - 1) // 2)
    kind = x.dtype.type
    result: np.ndarray = x / (kind(bias) + kind(alpha / size) * total) ** kind(beta)
    return result


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": Operator(
        _batch_norm, _batch_norm_signatures, bind=_batch_norm_kernel, overwrites=(0,)
    ),
    "InstanceNormalization": Operator(_instance_norm, like_first),
    "GroupNormalization": Operator(_group_norm, like_first),
    "LayerNormalization": Operator(_layer_norm, _layer_norm_signatures, bind=_layer_norm_kernel),
    "LpNormalization": Operator(_lp_norm, like_first),
    "LRN": Operator(_response_norm, like_first),
}
