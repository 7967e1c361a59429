"""Products and convolutions of integers with a weight that stays, each less its zero point; exact."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fastconv.functional.packed import PackedConv, pack_weight
from fastconv.geometry import conv_geometry
from fastconv.graph.operators.rows import RowProduct
from fastconv.runtime import precision

#: The largest difference of two numbers of 8 bits.
WIDEST = 255

#: Whole numbers below it are exact in float32, and so are all sums on the way to them.
EXACT = 1 << 24


def _centred(w: np.ndarray, zero: np.ndarray | None, axis: int | None, also: float = 0.0) -> np.ndarray:
    """A weight less its zero point, in the narrowest float that holds all sums of its products.

    Parameters
    ----------
    axis : int or None
        Outputs lie along this axis: a sum runs over all others. None stands for one sum of each last but one.
    also : float
        What comes to a sum at most besides products.
    """
    wide: np.ndarray = w.astype(np.float64)
    if zero is not None and zero.any():
        wide -= zero.astype(np.float64)
    whole = w.dtype.kind in "iu"
    axes = -2 if axis is None else tuple(i for i in range(w.ndim) if i != axis)
    longest = np.abs(wide).sum(axes if w.ndim > 1 else None).max(initial=0.0)
    return wide.astype(np.float32) if whole and longest * WIDEST + also < EXACT else wide


class Product:
    """`product(a, zero)`: the product of `a` with `b`, each less its zero point; whole numbers as floats.

    Parameters
    ----------
    b : array
    zero : array or None
        One for all, or for each column.
    """

    def __init__(self, b: np.ndarray, zero: np.ndarray | None) -> None:
        self.matrix = _centred(b, self.columns(zero), None)
        self.rows_times = RowProduct(self.matrix, transposed=False) if b.ndim == 2 else None

    def __call__(self, a: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
        shape = self.shape(a.shape, self.matrix.shape)
        wide = a.astype(self.matrix.dtype if a.dtype.kind in "iu" else np.float64, order="C")
        if zero is not None and zero.any():
            wide -= self.rows(zero, a.ndim).astype(wide.dtype)
        if self.rows_times is None or wide.dtype != self.matrix.dtype:
            return np.asarray(np.matmul(wide, self.matrix))
        out: np.ndarray = np.empty(shape, wide.dtype)
        if out.size:
            count = prod(shape[:-1])
            self.rows_times.of(count)(wide.reshape(count, -1), out.reshape(count, -1))
        return out

    @staticmethod
    def rows(parameter: np.ndarray, ndim: int) -> np.ndarray:
        """A parameter of all, or of each row, as it broadcasts."""
        if parameter.size == 1:
            return parameter.reshape(())
        return parameter[:, None] if parameter.ndim == 1 and ndim > 1 else parameter

    @staticmethod
    def columns(parameter: Any) -> Any:
        """A parameter of all, or of each column, as it broadcasts."""
        return parameter.reshape(()) if parameter is not None and parameter.size == 1 else parameter

    @staticmethod
    def shape(a: tuple[int, ...] | None, b: tuple[int, ...] | None) -> tuple[int, ...]:
        """The shape of a product."""
        if not a or not b or a[-1] != b[-2 if len(b) > 1 else 0]:
            raise ValueError(
                f"shapes {a} and {b}: the last axis of A must be as long as the last but one of B"
            )
        return (*np.broadcast_shapes(a[:-2], b[:-2]), *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


class Convolution:
    """`convolution(x, zero)`: the convolution of x, each number less its zero point; whole numbers as floats.

    Parameters
    ----------
    w : array, shape (K, C / group, *kernel)
    zero : array or None
        One for all, or for each of the K.
    bias : array, shape (K,), or None
    auto_pad, dilations, group, kernel_shape, pads, strides
        As ONNX's operators have them.
    """

    def __init__(
        self, w: np.ndarray, zero: np.ndarray | None, bias: np.ndarray | None, **attributes: Any
    ) -> None:
        if zero is not None:
            zero = zero.reshape(-1, *[1] * (w.ndim - 1))
        also = 0.0 if bias is None else float(np.abs(bias.astype(np.float64)).max(initial=0.0))
        self.weight = _centred(w, zero, 0, also)
        self.bias = None if bias is None else bias.astype(self.weight.dtype)
        self.attributes = attributes
        self._packed: dict[Any, PackedConv] = {}

    def __call__(self, x: np.ndarray, zero: np.ndarray | None) -> np.ndarray:
        strides, pads, dilations, group = self.parameters(x.shape, self.weight.shape, **self.attributes)
        if pads not in self._packed:
            self._packed[pads] = pack_weight(
                self.weight, self.bias, strides, pads, dilations, group, algorithm="direct"
            )
        wide = x.astype(self.weight.dtype)
        if zero is not None and zero.any():
            wide -= zero.reshape(()).astype(wide.dtype)
        with precision("highest"):
            return self._packed[pads](wide)

    @staticmethod
    def parameters(
        x: tuple[int, ...],
        w: tuple[int, ...],
        *,
        auto_pad: str = "NOTSET",
        dilations: tuple[int, ...] | None = None,
        group: int = 1,
        kernel_shape: tuple[int, ...] | None = None,
        pads: tuple[int, ...] | None = None,
        strides: tuple[int, ...] | None = None,
    ) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...], int]:
        """Strides, padding, dilations and groups as fastconv takes them."""
        rank = len(w) - 2
        if len(x) != len(w) or not 1 <= rank <= 3:
            raise ValueError(f"shapes {x} and {w}: must have 3 to 5 axes, as many as each other")
        if kernel_shape is not None and tuple(kernel_shape) != w[2:]:
            raise ValueError(f"kernel_shape={kernel_shape}: must be that of the weight, {w[2:]}")
        strides, dilations = tuple(strides or (1,) * rank), tuple(dilations or (1,) * rank)
        for name, given, count in (("strides", strides, rank), ("dilations", dilations, rank)):
            if len(given) != count or min(given) < 1:
                raise ValueError(f"{name}={given}: must be {count} positive numbers")
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            pairs = []
            for size, kernel, stride, dilation in zip(x[2:], w[2:], strides, dilations):
                total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
                less, more = total // 2, total - total // 2
                pairs.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
            return strides, tuple(pairs), dilations, group
        if auto_pad not in ("NOTSET", "VALID", ""):
            raise ValueError(f"auto_pad={auto_pad!r}: must be NOTSET, SAME_UPPER, SAME_LOWER or VALID")
        pads = tuple(pads or ()) if auto_pad != "VALID" else ()
        if len(pads) not in (0, 2 * rank):
            raise ValueError(f"pads={pads}: must be {2 * rank} numbers")
        pads = pads or (0,) * (2 * rank)
        return strides, tuple(zip(pads[:rank], pads[rank:])), dilations, group

    @classmethod
    def shape(
        cls, x: tuple[int, ...] | None, w: tuple[int, ...] | None, **attributes: Any
    ) -> tuple[int, ...]:
        """The shape of a result."""
        assert x is not None
        assert w is not None
        strides, pads, dilations, group = cls.parameters(x, w, **attributes)
        rank = len(x) - 2
        geometry = conv_geometry(x, w, strides, pads, dilations, group, rank)
        return (x[0], w[0], *geometry.output_size[3 - rank :])


def scaled(sums: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Whole numbers times a factor, in float32."""
    single = sums.astype(np.float32, copy=False)
    if factor.size == 1 or np.broadcast_shapes(single.shape, factor.shape) == single.shape:
        return np.multiply(single, factor.astype(np.float32), out=single) if single.ndim else single * factor
    return np.asarray(single * factor.astype(np.float32))
