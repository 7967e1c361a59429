"""Operators that draw numbers.

Without a seed two runs differ. With one every run draws the same, from the generator (MT19937) and in the
order of `numpy.random.RandomState`, as the results that ONNX publishes for its seeded nodes do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.operator import Operator, Signature
from fastconv.graph.operators.axes import number

FLOAT32 = np.dtype(np.float32)


def _generator(seed: float | None) -> Any:
    """Draws by `uniform` and `normal`."""
    if seed is None:
        return np.random.default_rng()
    if float(seed).is_integer() and 0 <= seed < 1 << 32:
        return np.random.RandomState(int(seed))
    return np.random.RandomState(int(np.float32(seed).view(np.uint32)))


def _drawn(
    seed: float | None, name: str, first: float, second: float, shape: tuple[int, ...], dtype: Any
) -> np.ndarray:
    if any(size < 0 for size in shape):
        raise ValueError(f"shape={shape}: sizes must be 0 or more")
    check_memory(shape, np.dtype(np.float64))
    drawn: np.ndarray = np.asarray(getattr(_generator(seed), name)(first, second, shape))
    with np.errstate(all="ignore"):
        return drawn.astype(np.dtype(dtype))


def _normal(
    *,
    shape: Sequence[int],
    dtype: Any = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> np.ndarray:
    """Normally distributed numbers."""
    return _drawn(seed, "normal", mean, _scale(scale), tuple(shape), dtype or FLOAT32)


def _scale(scale: float) -> float:
    if not scale >= 0:
        raise ValueError(f"scale={scale}: must be 0 or more")
    return scale


def _uniform(
    *, shape: Sequence[int], dtype: Any = None, low: float = 0.0, high: float = 1.0, seed: float | None = None
) -> np.ndarray:
    """Numbers distributed evenly from low to high."""
    return _drawn(seed, "uniform", low, high, tuple(shape), dtype or FLOAT32)


def _normal_like(
    x: np.ndarray, *, dtype: Any = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> np.ndarray:
    return _drawn(seed, "normal", mean, _scale(scale), x.shape, dtype or x.dtype)


def _uniform_like(
    x: np.ndarray, *, dtype: Any = None, low: float = 0.0, high: float = 1.0, seed: float | None = None
) -> np.ndarray:
    return _drawn(seed, "uniform", low, high, x.shape, dtype or x.dtype)


def _shape_signature(*, shape: Sequence[int], dtype: Any = None, **attributes: Any) -> Signature:
    return Signature(np.dtype(dtype or FLOAT32), tuple(shape))


def _like_signature(x: Signature, *, dtype: Any = None, **attributes: Any) -> Signature:
    return Signature(np.dtype(dtype or x.dtype), x.shape)


def _bernoulli(x: np.ndarray, *, dtype: Any = None, seed: float | None = None) -> np.ndarray:
    """1 with the probability that x says, else 0."""
    drawn = _generator(seed).uniform(0.0, 1.0, x.shape)
    return np.asarray(drawn < x.astype(np.float64)).astype(np.dtype(dtype or x.dtype))


def _multinomial(
    x: np.ndarray, *, sample_size: int = 1, dtype: Any = None, seed: float | None = None
) -> np.ndarray:
    """Places along the last axis, drawn with probabilities whose logarithms, up to a constant, x holds."""
    if x.ndim != 2 or not x.shape[1] or sample_size < 0:
        raise ValueError(
            f"input: shape {x.shape} must be (n, classes), and sample_size={sample_size} 0 or more"
        )
    check_memory((len(x), sample_size), np.dtype(np.float64))
    wide = x.astype(np.float64)
    steps = np.cumsum(np.exp(wide - wide.max(1, keepdims=True)), 1)
    drawn = _generator(seed).uniform(0.0, 1.0, (len(x), sample_size)) * steps[:, -1:]
    found = [np.searchsorted(row, each, "right") for row, each in zip(steps, drawn)]
    places = np.array(found, np.int64).reshape(len(x), sample_size)
    return np.asarray(np.minimum(places, x.shape[1] - 1)).astype(np.dtype(dtype or np.int32))


def _multinomial_signature(
    x: Signature, *, sample_size: int = 1, dtype: Any = None, seed: float | None = None
) -> Signature:
    assert x.shape is not None
    return Signature(np.dtype(dtype or np.int32), (x.shape[0], max(0, sample_size)))


def _dropout(
    x: np.ndarray,
    ratio: np.ndarray | None = None,
    training_mode: np.ndarray | None = None,
    *,
    seed: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """x; in training with a part of it 0 and the rest larger, so that sums stay. And what was kept."""
    share = 0.5 if ratio is None else float(number("ratio", ratio))
    if not 0 <= share < 1:
        raise ValueError(f"ratio={share}: must be at least 0 and below 1")
    if training_mode is None or not number("training_mode", training_mode) or share == 0:
        return x, np.ones(x.shape, bool)
    kept = _generator(seed).uniform(0.0, 1.0, x.shape) >= share
    wide = x if x.dtype == np.float64 else x.astype(np.float32)
    return (wide * kept * wide.dtype.type(1 / (1 - share))).astype(x.dtype, copy=False), kept


def _dropout_signature(x: Signature, *others: Signature | None, seed: int | None = None) -> list[Signature]:
    return [Signature(x.dtype, x.shape), Signature(np.dtype(bool), x.shape)]


OPERATORS: dict[str, Operator] = {
    "RandomNormal": Operator(_normal, _shape_signature, is_random=True),
    "RandomUniform": Operator(_uniform, _shape_signature, is_random=True),
    "RandomNormalLike": Operator(_normal_like, _like_signature, is_random=True),
    "RandomUniformLike": Operator(_uniform_like, _like_signature, is_random=True),
    "Bernoulli": Operator(_bernoulli, _like_signature, is_random=True),
    "Multinomial": Operator(_multinomial, _multinomial_signature, is_random=True),
    "Dropout": Operator(_dropout, _dropout_signature, is_view=True, is_random=True),
}
