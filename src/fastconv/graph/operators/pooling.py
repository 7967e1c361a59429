"""Poolings: fastconv's kernels for float32 and float64, windows of a strided view for all else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from fastconv._kernels.pool.plan import PoolPlan
from fastconv.functional.pool import pool_plan
from fastconv.geometry import check_memory
from fastconv.graph.keep import Keep
from fastconv.graph.operator import Kernel, Operator, Signature
from fastconv.graph.operators.activation import in_float
from fastconv.graph.operators.axes import integers
from fastconv.graph.operators.elementwise import FLOATS
from fastconv.graph.operators.windows import Windows, windows
from fastconv.graph.order import lie_alike


def _sizes(where: Windows, sizes: Sequence[int], ceil_mode: int) -> tuple[int, ...]:
    """Spatial sizes of the output; no window begins behind the input and its padding in front."""
    found = []
    for size, k, stride, dilation, (before, after) in zip(
        sizes, where.kernel, where.stride, where.dilation, where.padding
    ):
        room = size + before + after - ((k - 1) * dilation + 1)
        count = (-(-room // stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (count - 1) * stride >= size + before:
            count -= 1
        if count < 1:
            raise ValueError(f"kernel_shape={where.kernel}: no window fits an input of {tuple(sizes)}")
        found.append(count)
    return tuple(found)


def _where(x: tuple[int, ...], told: dict[str, Any]) -> Windows:
    if len(x) < 3:
        raise ValueError(f"X: shape {x} must have at least 3 axes")
    return windows(
        x[2:],
        told["kernel_shape"],
        told.get("strides", ()),
        told.get("pads", ()),
        told.get("dilations", ()),
        told.get("auto_pad", "NOTSET"),
    )


def _plan(x: tuple[int, ...], where: Windows, ceil_mode: int, dilated: bool = True) -> PoolPlan | None:
    """A plan of the kernels for these windows, if there is one."""
    if not 3 <= len(x) <= 5 or 0 in x or (not dilated and max(where.dilation) > 1):
        return None
    try:
        found = pool_plan(
            len(x) - 2, x, where.kernel, where.stride, where.padding, where.dilation, bool(ceil_mode)
        )
    except ValueError:
        return None  # padding wider than half a window, mostly
    return found if found.geometry.output_shape[2:] == _sizes(where, x[2:], ceil_mode) else None


def _strided(x: np.ndarray, where: Windows, ceil_mode: int, fill: Any) -> np.ndarray:
    """(N, C, *outputs, *kernel): the windows of a padded copy."""
    sizes = _sizes(where, x.shape[2:], ceil_mode)
    pads = []
    for size, out, k, stride, dilation, (before, _) in zip(
        x.shape[2:], sizes, where.kernel, where.stride, where.dilation, where.padding
    ):
        pads.append((before, max(0, (out - 1) * stride + (k - 1) * dilation + 1 - size - before)))
    check_memory((*x.shape[:2], *(s + a + b for s, (a, b) in zip(x.shape[2:], pads))), x.dtype)
    padded = np.pad(x, ((0, 0), (0, 0), *pads), constant_values=fill)
    steps = padded.strides[2:]
    return np.lib.stride_tricks.as_strided(
        padded,
        (*x.shape[:2], *sizes, *where.kernel),
        (
            *padded.strides[:2],
            *(step * stride for step, stride in zip(steps, where.stride)),
            *(step * dilation for step, dilation in zip(steps, where.dilation)),
        ),
        writeable=False,
    )


def _write(run: Callable[..., Any]) -> Kernel:
    """A pooling as a kernel: its result lies in memory as its input does, which need not be as `out` does."""

    def kernel(x: np.ndarray, out: np.ndarray) -> None:
        if lie_alike(x, out):
            run(x, out=out)
        else:
            np.copyto(out, run(x))

    return kernel


# ---- maxima -------------------------------------------------------------------------------------------


def _max_pool(
    x: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] = (),
    pads: Sequence[int] = (),
    storage_order: int = 0,
    strides: Sequence[int] = (),
    indices: bool = False,
) -> Any:
    """The largest element of each window; with `indices` also where it lies in the flat input."""
    where = windows(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad)
    plan = _plan(x.shape, where, ceil_mode) if x.dtype in FLOATS else None
    if plan is not None:
        if not indices:
            return plan.maximum(x)
        largest, places = plan.maximum(x, True)
    else:
        lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
        seen = _strided(x, where, ceil_mode, lowest)
        flat = seen.reshape(*seen.shape[: x.ndim], -1)
        largest = flat.max(-1)
        if not indices:
            return largest
        places = _places(flat.argmax(-1), where, x.shape[2:])
    if storage_order:
        spread = np.unravel_index(places, x.shape[2:])
        places = np.ravel_multi_index(spread[::-1], x.shape[:1:-1])
    planes = np.arange(x.shape[0] * x.shape[1], dtype=np.int64) * prod(x.shape[2:])
    return largest, places + planes.reshape(*x.shape[:2], *(1,) * (x.ndim - 2))


def _places(taps: np.ndarray, where: Windows, sizes: Sequence[int]) -> np.ndarray:
    """Where in a plane the taps with these numbers in their windows lie."""
    rank = len(sizes)
    each = np.unravel_index(taps, where.kernel)
    place = np.zeros(taps.shape, np.int64)
    for i in range(rank):
        first = np.arange(taps.shape[2 + i]) * where.stride[i] - where.padding[i][0]
        along = first.reshape(-1, *(1,) * (rank - 1 - i)) + each[i] * where.dilation[i]
        place = place * sizes[i] + along
    return place


def _max_pool_signatures(x: Signature, **told: Any) -> list[Signature]:
    assert x.shape is not None
    shape = (*x.shape[:2], *_sizes(_where(x.shape, told), x.shape[2:], told.get("ceil_mode", 0)))
    return [Signature(x.dtype, shape), Signature(np.dtype(np.int64), shape)]


def _max_pool_kernel(
    keep: Keep, signatures: list[Signature], output: Signature, **told: Any
) -> Kernel | None:
    x = signatures[0]
    assert x.shape is not None
    plan = _plan(x.shape, _where(x.shape, told), told.get("ceil_mode", 0)) if x.dtype in FLOATS else None
    return None if plan is None else _write(plan.maximum)


def _max_unpool(
    x: np.ndarray,
    indices: np.ndarray,
    output_shape: np.ndarray | None = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> np.ndarray:
    """Zeros, but for the elements of x where their indices say, in the shape without `output_shape`."""
    shape, wanted = _unpooled(x.shape, output_shape, kernel_shape, pads, strides)
    if indices.shape != x.shape or indices.dtype != np.int64:
        raise ValueError(f"I: {indices.dtype} of shape {indices.shape} must be int64 of X's shape {x.shape}")
    check_memory(shape, x.dtype)
    check_memory(wanted, x.dtype)
    if indices.size and not (indices.min() >= 0 and indices.max() < prod(shape)):
        raise ValueError(f"I: {indices.min()} to {indices.max()} must lie in [0, {prod(shape)})")
    flat = np.zeros(prod(shape), x.dtype)
    flat[indices.reshape(-1)] = x.reshape(-1)
    if wanted == shape:
        return flat.reshape(shape)
    out = np.zeros(wanted, x.dtype)
    both = tuple(slice(min(a, b)) for a, b in zip(shape, wanted))
    out[both] = flat.reshape(shape)[both]
    return out


def _unpooled(
    x: tuple[int, ...],
    output_shape: np.ndarray | None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape that indices count in, and that of the output."""
    if len(x) < 3:
        raise ValueError(f"X: shape {x} must have at least 3 axes")
    where = windows(x[2:], kernel_shape, strides, pads)
    sizes = tuple(
        (size - 1) * stride + k - before - after
        for size, k, stride, (before, after) in zip(x[2:], where.kernel, where.stride, where.padding)
    )
    shape = (*x[:2], *sizes)
    wanted = shape if output_shape is None else tuple(integers("output_shape", output_shape))
    if len(wanted) != len(x) or min(*shape, *wanted) < 0:
        raise ValueError(f"output_shape={wanted}: must have {len(x)} sizes of 0 or more, as {shape}")
    return shape, wanted


def _unpool_signature(
    x: Signature, indices: Signature, output_shape: Signature | None = None, **told: Any
) -> Signature:
    assert x.shape is not None
    wanted = None if output_shape is None else output_shape.value
    return Signature(x.dtype, _unpooled(x.shape, wanted, **told)[1])


# ---- averages and norms -------------------------------------------------------------------------------


@in_float
def _average_pool(
    x: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] = (),
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> np.ndarray:
    """The mean of each window, of its elements inside the input, or also of those in the padding."""
    where = windows(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad)
    plan = _plan(x.shape, where, ceil_mode, dilated=False)
    if plan is not None:
        return plan.average(x, bool(count_include_pad))
    axes = tuple(range(-len(where.kernel), 0))
    total = _strided(x, where, ceil_mode, 0).sum(axes)
    inside = np.ones((1, 1, *x.shape[2:]), x.dtype)
    if count_include_pad:
        inside = np.pad(inside, ((0, 0), (0, 0), *where.padding), constant_values=1)
        where = where._replace(padding=((0, 0),) * len(where.kernel))
        counts = _strided(inside, where, ceil_mode, 0).sum(axes)
        both = (slice(None), slice(None), *map(slice, total.shape[2:]))
        counts = counts[both]
    else:
        counts = _strided(inside, where, ceil_mode, 0).sum(axes)
    result: np.ndarray = total / counts
    return result


def _pool_signature(x: Signature, **told: Any) -> Signature:
    return _max_pool_signatures(x, **told)[0]


def _average_pool_kernel(
    keep: Keep, signatures: list[Signature], output: Signature, *, count_include_pad: int = 0, **told: Any
) -> Kernel | None:
    x = signatures[0]
    assert x.shape is not None
    if x.dtype not in FLOATS:
        return None
    plan = _plan(x.shape, _where(x.shape, told), told.get("ceil_mode", 0), dilated=False)
    if plan is None:
        return None

    def run(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        return plan.average(x, bool(count_include_pad), out=out)

    return _write(run)


@in_float
def _lp_pool(
    x: np.ndarray,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] = (),
    p: int = 2,
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
) -> np.ndarray:
    """(sum of |x| ** p) ** (1 / p) over each window."""
    where = windows(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad)
    axes = tuple(range(-len(where.kernel), 0))
    powers = np.abs(_strided(x, where, ceil_mode, 0)) ** p
    result: np.ndarray = powers.sum(axes) ** x.dtype.type(1 / p)
    return result


def _pool_flops(signatures: list[Signature], output: Signature, **told: Any) -> int:
    taps: int = prod(told["kernel_shape"])
    return output.size * taps


# ---- whole planes -------------------------------------------------------------------------------------


def _whole(x: tuple[int, ...]) -> PoolPlan | None:
    """A plan whose windows are whole planes."""
    if not 3 <= len(x) <= 5 or 0 in x:
        return None
    return pool_plan(len(x) - 2, x, x[2:])


@in_float
def _global_average(x: np.ndarray) -> np.ndarray:
    plan = _whole(x.shape)
    return x.mean(tuple(range(2, x.ndim)), keepdims=True) if plan is None else plan.average(x)


def _global_max(x: np.ndarray) -> Any:
    plan = _whole(x.shape) if x.dtype in FLOATS else None
    return x.max(tuple(range(2, x.ndim)), keepdims=True) if plan is None else plan.maximum(x)


@in_float
def _global_lp(x: np.ndarray, *, p: int = 2) -> np.ndarray:
    total = (np.abs(x) ** p).sum(tuple(range(2, x.ndim)), keepdims=True)
    result: np.ndarray = total ** x.dtype.type(1 / p)
    return result


def _global_signature(x: Signature, **told: Any) -> Signature:
    assert x.shape is not None
    return Signature(x.dtype, (*x.shape[:2], *(1,) * (len(x.shape) - 2)))


def _global_kernel(name: str) -> Callable[..., Kernel | None]:
    def bind(keep: Keep, signatures: list[Signature], output: Signature) -> Kernel | None:
        x = signatures[0]
        assert x.shape is not None
        plan = _whole(x.shape) if x.dtype in FLOATS else None
        return None if plan is None else _write(getattr(plan, name))

    return bind


def _global_flops(signatures: list[Signature], output: Signature, **told: Any) -> int:
    return signatures[0].size


OPERATORS: dict[str, Operator] = {
    "MaxPool": Operator(_max_pool, _max_pool_signatures, bind=_max_pool_kernel, flops=_pool_flops),
    "AveragePool": Operator(_average_pool, _pool_signature, bind=_average_pool_kernel, flops=_pool_flops),
    "LpPool": Operator(_lp_pool, _pool_signature, flops=_pool_flops),
    "GlobalAveragePool": Operator(
        _global_average, _global_signature, bind=_global_kernel("average"), flops=_global_flops
    ),
    "GlobalMaxPool": Operator(
        _global_max, _global_signature, bind=_global_kernel("maximum"), flops=_global_flops
    ),
    "GlobalLpPool": Operator(_global_lp, _global_signature, flops=_global_flops),
    "MaxUnpool": Operator(_max_unpool, _unpool_signature, shaped_by=(2,)),
}
