"""Pooling, unpooling and their gradients as plain float64 loops.

Windows are written out position by position, never as a formula. Arrays are batched, (N, C, *spatial);
`padding` is one (before, after) pair per axis, everything else one number per axis. A window is, per axis,
the positions it covers and the number that it is counted as when padding counts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

Numbers = Sequence[int]
Pairs = Sequence[tuple[int, int]]
Window = tuple[list[int], int]


# ---- windows ---------------------------------------------------------------------------------------


def axis_windows(
    extent: int, taps: int, step: int, padding: tuple[int, int], spread: int, ceil_mode: bool
) -> list[Window]:
    """The windows along one axis.

    A window is kept if it fits into the padded input; with `ceil_mode` also one that hangs over its end by
    less than a step, if it begins before the input itself ends.
    """
    before, after = padding
    end = extent + after
    windows: list[Window] = []
    start = -before
    while True:
        positions = [start + tap * spread for tap in range(taps)]
        overhang = positions[-1] + 1 - end
        if overhang > 0 and not (ceil_mode and overhang < step and start < extent):
            return windows
        counted = sum(1 for position in positions if position < end)
        windows.append(([p for p in positions if 0 <= p < extent], counted))
        start += step


def adaptive_windows(extent: int, outputs: int) -> list[Window]:
    """The windows along one axis of adaptive pooling: what each of `outputs` equal parts of it touches."""
    windows = []
    for output in range(outputs):
        # position p is the interval (p, p + 1), the part is (output, output + 1) * extent / outputs
        begin, end = output * extent, (output + 1) * extent
        covered = [p for p in range(extent) if p * outputs < end and begin < (p + 1) * outputs]
        windows.append((covered, len(covered)))
    return windows


def pool_windows(
    size: Numbers, kernel: Numbers, stride: Numbers, padding: Pairs, dilation: Numbers, ceil_mode: bool
) -> list[list[Window]]:
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    return [axis_windows(*axis, ceil_mode) for axis in axes]


def outputs(windows: list[list[Window]]) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]], int]]:
    """(output position, input positions in scan order, elements counted with the padding) of every window."""
    for output in itertools.product(*(range(len(axis)) for axis in windows)):
        chosen = [axis[o] for axis, o in zip(windows, output, strict=True)]
        positions = list(itertools.product(*(covered for covered, _ in chosen)))
        yield output, positions, math.prod(counted for _, counted in chosen)


def output_size(windows: list[list[Window]]) -> tuple[int, ...]:
    return tuple(len(axis) for axis in windows)


def _flat(position: tuple[int, ...], size: Numbers) -> int:
    index = 0
    for p, extent in zip(position, size, strict=True):
        index = index * extent + p
    return index


def _unflat(index: int, size: Numbers) -> tuple[int, ...]:
    position = []
    for extent in reversed(size):
        position.append(index % extent)
        index //= extent
    return tuple(reversed(position))


# ---- maxima ----------------------------------------------------------------------------------------


def max_pool(input: np.ndarray, windows: list[list[Window]]) -> tuple[np.ndarray, np.ndarray]:
    """Maxima and their flat positions: the first NaN of a window, else the first of its greatest values."""
    size = input.shape[2:]
    values = np.empty((*input.shape[:2], *output_size(windows)))
    indices = np.empty(values.shape, np.int64)
    for n, c in np.ndindex(input.shape[:2]):
        for output, positions, _ in outputs(windows):
            best = positions[0]
            for position in positions:
                value, top = float(input[n, c][position]), float(input[n, c][best])
                if not math.isnan(top) and (math.isnan(value) or value > top):
                    best = position
            values[n, c][output] = input[n, c][best]
            indices[n, c][output] = _flat(best, size)
    return values, indices


def max_pool_input(size: Numbers, indices: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
    gradient = np.zeros((*indices.shape[:2], *size))
    for place in np.ndindex(indices.shape):
        n, c = place[:2]
        gradient[n, c][_unflat(int(indices[place]), size)] += float(grad_output[place])
    return gradient


def max_unpool(input: np.ndarray, indices: np.ndarray, size: Numbers) -> np.ndarray:
    output = np.zeros((*input.shape[:2], *size))
    for place in np.ndindex(input.shape):
        n, c = place[:2]
        output[n, c][_unflat(int(indices[place]), size)] = input[place]
    return output


def max_unpool_input(indices: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
    gradient = np.empty(indices.shape)
    for place in np.ndindex(indices.shape):
        n, c = place[:2]
        gradient[place] = grad_output[n, c][_unflat(int(indices[place]), grad_output.shape[2:])]
    return gradient


# ---- averages --------------------------------------------------------------------------------------


def _divisor(covered: int, counted: int, count_include_pad: bool, divisor_override: int | None) -> int:
    if divisor_override is not None:
        return divisor_override
    return counted if count_include_pad else covered


def avg_pool(
    input: np.ndarray,
    windows: list[list[Window]],
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    result = np.empty((*input.shape[:2], *output_size(windows)))
    for n, c in np.ndindex(input.shape[:2]):
        for output, positions, counted in outputs(windows):
            total = sum(float(input[n, c][position]) for position in positions)
            result[n, c][output] = total / _divisor(
                len(positions), counted, count_include_pad, divisor_override
            )
    return result


def avg_pool_input(
    size: Numbers,
    grad_output: np.ndarray,
    windows: list[list[Window]],
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    gradient = np.zeros((*grad_output.shape[:2], *size))
    for n, c in np.ndindex(grad_output.shape[:2]):
        for output, positions, counted in outputs(windows):
            divisor = _divisor(len(positions), counted, count_include_pad, divisor_override)
            for position in positions:
                gradient[n, c][position] += float(grad_output[n, c][output]) / divisor
    return gradient


# ---- norms -----------------------------------------------------------------------------------------


def _norm(values: list[float], norm_type: float, whole: int) -> float:
    if math.isinf(norm_type):
        return max(map(abs, values)) if norm_type > 0 else min(map(abs, values))
    total = sum(value**norm_type for value in values) * whole / len(values)
    return total ** (1 / norm_type)


def lp_pool(input: np.ndarray, windows: list[list[Window]], norm_type: float, kernel: Numbers) -> np.ndarray:
    result = np.empty((*input.shape[:2], *output_size(windows)))
    for n, c in np.ndindex(input.shape[:2]):
        for output, positions, _ in outputs(windows):
            values = [float(input[n, c][position]) for position in positions]
            result[n, c][output] = _norm(values, norm_type, math.prod(kernel))
    return result


def lp_pool_input(
    input: np.ndarray,
    grad_output: np.ndarray,
    windows: list[list[Window]],
    norm_type: float,
    kernel: Numbers,
) -> np.ndarray:
    """From y^p = whole / covered * (sum of x^p) follows dy/dx = whole / covered * (x / y)^(p - 1)."""
    gradient = np.zeros(input.shape)
    for n, c in np.ndindex(input.shape[:2]):
        plane = input[n, c].astype(np.float64)
        for output, positions, _ in outputs(windows):
            values = [float(plane[position]) for position in positions]
            norm = _norm(values, norm_type, math.prod(kernel))
            share = float(grad_output[n, c][output])
            if math.isinf(norm_type):
                chosen = next(position for position in positions if abs(plane[position]) == norm)
                gradient[n, c][chosen] += share * np.sign(plane[chosen])
            elif norm != 0:
                share *= math.prod(kernel) / len(positions)
                for position, value in zip(positions, values, strict=True):
                    gradient[n, c][position] += share * (value / norm) ** (norm_type - 1)
    return gradient
