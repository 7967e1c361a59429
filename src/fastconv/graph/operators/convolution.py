"""Convolution and transposed convolution, on fastconv's kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv import functional
from fastconv.algorithm import plan
from fastconv.functional.packed import packed_conv
from fastconv.geometry import ConvGeometry, conv_geometry, conv_transpose_geometry
from fastconv.graph.keep import Keep
from fastconv.graph.operator import Kernel, Operator, Signature
from fastconv.graph.operators.activation import in_float
from fastconv.graph.operators.elementwise import FLOATS
from fastconv.graph.operators.windows import Windows, windows
from fastconv.runtime import get_precision

#: Activations that a convolution applies as it stores, by their names there; with the slope that one has.
ACTIVATED: dict[str | None, Callable[[np.ndarray, float], np.ndarray]] = {
    None: lambda x, slope: x,
    "relu": lambda x, slope: functional.relu(x),
    "leaky_relu": functional.leaky_relu,
    "relu6": lambda x, slope: functional.relu6(x),
}
CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def _rank(x: tuple[int, ...] | None, weight: tuple[int, ...] | None) -> int:
    assert x is not None
    assert weight is not None
    if len(x) != len(weight) or not 3 <= len(x) <= 5:
        raise ValueError(f"X, W: shapes {x} and {weight} must have the same 3 to 5 axes")
    return len(x) - 2


def _windows(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    auto_pad: str,
    dilations: Sequence[int],
    kernel_shape: Sequence[int],
    pads: Sequence[int],
    strides: Sequence[int],
) -> Windows:
    _rank(x, weight)
    if kernel_shape and tuple(kernel_shape) != weight[2:]:
        raise ValueError(f"kernel_shape={tuple(kernel_shape)}: must be the weight's {weight[2:]}")
    return windows(x[2:], weight[2:], strides, pads, dilations, auto_pad)


# ---- convolution --------------------------------------------------------------------------------------


@in_float
def _conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    added: np.ndarray | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] = (),
    group: int = 1,
    kernel_shape: Sequence[int] = (),
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
    activation: str | None = None,
    negative_slope: float = 0.01,
) -> np.ndarray:
    """Windows of x times the weight, plus bias; and what fusion has put here: a sum, and an activation."""
    where = _windows(x.shape, weight.shape, auto_pad, dilations, kernel_shape, pads, strides)
    conv, numbers = CONV[len(where.kernel)], (where.stride, where.padding, where.dilation, group)
    result = conv(x, weight, bias, *numbers)
    if added is not None:
        np.add(result, added, out=result)
    return ACTIVATED[activation](result, negative_slope)


def _geometry(x: Signature, weight: Signature, attributes: dict[str, Any]) -> ConvGeometry:
    told = {"auto_pad": "NOTSET", "dilations": (), "kernel_shape": (), "pads": (), "strides": ()}
    told = {name: attributes.get(name, default) for name, default in told.items()}
    assert x.shape is not None
    assert weight.shape is not None
    where = _windows(x.shape, weight.shape, **told)  # type: ignore[arg-type]
    group = attributes.get("group", 1)
    return conv_geometry(
        x.shape, weight.shape, where.stride, where.padding, where.dilation, group, len(where.kernel)
    )


def _conv_signature(
    x: Signature,
    weight: Signature,
    bias: Signature | None = None,
    added: Signature | None = None,
    **attributes: Any,
) -> Signature:
    return Signature(x.dtype, _geometry(x, weight, attributes).output_shape)


def _conv_kernel(
    keep: Keep, signatures: list[Signature | None], output: Signature, **attributes: Any
) -> Kernel | None:
    """A packed convolution, if the weight is constant."""
    x, weight = signatures[0], signatures[1]
    bias = signatures[2] if len(signatures) > 2 else None
    assert x is not None
    assert weight is not None
    assert x.shape is not None
    assert weight.shape is not None
    if x.dtype not in FLOATS or weight.value is None or (bias is not None and bias.value is None):
        return None
    if weight.dtype != x.dtype or (bias is not None and bias.dtype != x.dtype):
        raise TypeError(f"W: dtype {weight.dtype} must be that of X, {x.dtype}, and so must that of B")
    geometry = _geometry(x, weight, attributes)
    told = {name: attributes.get(name, ()) for name in ("dilations", "kernel_shape", "pads", "strides")}
    where = _windows(x.shape, weight.shape, attributes.get("auto_pad", "NOTSET"), **told)
    numbers = (where.stride, where.padding, where.dilation, geometry.groups, attributes.get("activation"))
    slope, held = attributes.get("negative_slope", 0.01), None if bias is None else bias.value
    packed = keep(
        (weight.value, held),
        (*numbers, slope),
        lambda: packed_conv(weight.value, held, *numbers, slope=slope),
    )

    def kernel(x: np.ndarray, *others: Any) -> None:
        packed(x, others[-1])

    def adding(x: np.ndarray, *others: Any) -> None:
        weight, bias, added, out = others
        if not np.may_share_memory(added, out):
            np.copyto(out, added)
        if not packed.add_to(out, x):
            np.copyto(out, _conv(x, weight, bias, out, **attributes))

    return kernel if len(signatures) < 4 else adding


def adds_up(x: Signature, weight: Signature, attributes: dict[str, Any]) -> bool:
    """Whether the kernel for these shapes can add what it computes to what is there."""
    if x.dtype not in FLOATS or weight.dtype != x.dtype:
        return False
    return bool(plan(_geometry(x, weight, attributes), "forward", "auto", get_precision()).can_add)


def _conv_flops(signatures: list[Signature], output: Signature, **attributes: Any) -> int:
    return _geometry(signatures[0], signatures[1], attributes).flops


# ---- transposed convolution ---------------------------------------------------------------------------


def _transposed(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] = (),
    kernel_shape: Sequence[int] = (),
    output_padding: Sequence[int] = (),
    output_shape: Sequence[int] = (),
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> tuple[Windows, tuple[int, ...]]:
    """The windows, and what is added behind the output."""
    where = _windows(x, weight, "NOTSET", dilations, kernel_shape, pads, strides)
    added = tuple(output_padding) or (0,) * len(where.kernel)
    if len(added) != len(where.kernel):
        raise ValueError(f"output_padding={added}: must have {len(where.kernel)} entries")
    wanted = tuple(output_shape)[-len(where.kernel) :]
    if not wanted and auto_pad in ("NOTSET", "", "VALID"):
        return where, added
    if not wanted:
        wanted = tuple(size * stride for size, stride in zip(x[2:], where.stride))
    padding, more = [], []
    for i, (size, k, stride, dilation) in enumerate(zip(x[2:], where.kernel, where.stride, where.dilation)):
        total = (size - 1) * stride + added[i] + (k - 1) * dilation + 1 - wanted[i]
        half = max(0, total) // 2
        rest = max(0, total) - half
        padding.append((rest, half) if auto_pad == "SAME_LOWER" else (half, rest))
        more.append(added[i] + max(0, -total))
    return where._replace(padding=tuple(padding)), tuple(more)


@in_float
def _conv_transpose(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] = (),
    group: int = 1,
    kernel_shape: Sequence[int] = (),
    output_padding: Sequence[int] = (),
    output_shape: Sequence[int] = (),
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> np.ndarray:
    """Every element of x paints the weight into the output; what overlaps is added."""
    where, added = _transposed(
        x.shape, weight.shape, auto_pad, dilations, kernel_shape, output_padding, output_shape, pads, strides
    )
    inside = tuple(
        min(more, max(stride, dilation) - 1)
        for more, stride, dilation in zip(added, where.stride, where.dilation)
    )
    transposed = TRANSPOSED[len(where.kernel)]
    result = transposed(x, weight, bias, where.stride, where.padding, inside, group, where.dilation)
    if inside == added:
        return result
    # further behind than any window reaches there is the bias alone
    shape = (*result.shape[:2], *(size + a - i for size, a, i in zip(result.shape[2:], added, inside)))
    wide = np.zeros(shape, x.dtype)
    if bias is not None:
        wide += bias.reshape(-1, *(1,) * len(added))
    wide[tuple(slice(size) for size in result.shape)] = result
    return wide


def _transposed_geometry(
    x: Signature, weight: Signature, group: int = 1, **attributes: Any
) -> tuple[ConvGeometry | None, tuple[int, ...]]:
    """The geometry, where the kernel serves it; and the shape of the output."""
    assert x.shape is not None
    assert weight.shape is not None
    where, added = _transposed(x.shape, weight.shape, **attributes)
    sizes = (
        (size - 1) * stride - before - after + (k - 1) * dilation + 1 + more
        for size, stride, (before, after), k, dilation, more in zip(
            x.shape[2:], where.stride, where.padding, where.kernel, where.dilation, added
        )
    )
    shape = (x.shape[0], weight.shape[1] * group, *sizes)
    if min(shape[2:]) < 1:
        raise ValueError(f"pads={where.padding}: nothing is left of an output of shape {shape}")
    if any(more >= max(s, d) for more, s, d in zip(added, where.stride, where.dilation)):
        return None, shape
    rank = len(where.kernel)
    found = conv_transpose_geometry(
        x.shape, weight.shape, where.stride, where.padding, added, group, where.dilation, rank
    )
    return found, shape


def _transpose_signature(
    x: Signature, weight: Signature, bias: Signature | None = None, **attributes: Any
) -> Signature:
    return Signature(x.dtype, _transposed_geometry(x, weight, **attributes)[1])


def _transpose_kernel(
    keep: Keep, signatures: list[Signature | None], output: Signature, **attributes: Any
) -> Kernel | None:
    x, weight = signatures[0], signatures[1]
    assert x is not None
    assert weight is not None
    geometry = _transposed_geometry(x, weight, **attributes)[0]
    if geometry is None or x.dtype not in FLOATS or weight.dtype != x.dtype:
        return None
    found = plan(geometry, "input_gradient", "auto", get_precision())

    def kernel(x: np.ndarray, weight: np.ndarray, *others: Any) -> None:
        bias = others[0] if len(others) > 1 else None
        found.run(x, weight, bias, others[-1])

    return kernel


def _transpose_flops(signatures: list[Signature], output: Signature, **attributes: Any) -> int:
    geometry = _transposed_geometry(signatures[0], signatures[1], **attributes)[0]
    return 0 if geometry is None else geometry.flops


def pass_of(
    operator: str, x: Signature, weight: Signature, attributes: dict[str, Any]
) -> tuple[ConvGeometry, str] | None:
    """Geometry and direction of a convolution, if the kernels serve it: what `conv_info` tells of."""
    told = {name: value for name, value in attributes.items() if name not in ("activation", "negative_slope")}
    if operator == "Conv":
        return _geometry(x, weight, told), "forward"
    geometry = _transposed_geometry(x, weight, **told)[0] if operator == "ConvTranspose" else None
    return None if geometry is None else (geometry, "input_gradient")


OPERATORS: dict[str, Operator] = {
    "Conv": Operator(_conv, _conv_signature, bind=_conv_kernel, overwrites=(3,), flops=_conv_flops),
    "ConvTranspose": Operator(
        _conv_transpose, _transpose_signature, bind=_transpose_kernel, flops=_transpose_flops
    ),
}
