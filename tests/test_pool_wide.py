"""Pooling with wide windows: running maxima and sums give what going through every window gives."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from conv_cases import assert_close, lay_out
from numpy.lib.stride_tricks import sliding_window_view
from pool_cases import (
    ADAPTIVE_AVG,
    ADAPTIVE_AVG_INPUT,
    ADAPTIVE_MAX,
    AVG_POOL,
    AVG_POOL_INPUT,
    LP_POOL,
    LP_POOL_INPUT,
    MAX_POOL,
    MAX_POOL_INPUT,
)

import fastconv
from fastconv import grad, nn
from fastconv.functional.case import Case

NAN, INF = math.nan, math.inf

#: What running windows treat in its own way.
LINES = (
    "max_pool1d c2 40 37 s1 p18",  # hardly a whole window
    "max_pool1d c2 97 9 s1 p4",  # around the border between the two ways
    "max_pool1d c2 400 31 s1 p15",  # long enough for stretches
    "max_pool1d c2 400 21 s3 p10:0 ceil_mode",
    "max_pool1d c2 400 20 s7 p0:10 d2 ceil_mode",  # remainders by the dilation
    "max_pool1d c2 61 12 s5 p3:5 d4",
    "max_pool1d c2 9 40 s1 p20",  # wider than the input
    "max_pool2d c2 23x21 13x11 s1 p6x5",
    "max_pool2d c2 23x21 19x1 s1 p9x0",  # a column
    "max_pool2d c2 23x21 1x19 s1x2 p0x9:0 ceil_mode",  # a row
    "max_pool2d c2 120x1 33x1 s1 p16x0",  # a plane that is one column
    "max_pool2d c2 25x24 8x9 s2x3 p4:2x1:8 d2 ceil_mode",
    "max_pool3d c2 9x8x10 7x6x7 s1 p3x3:2x3",
    "max_pool3d c2 9x8x10 7x1x7 s1x1x2 p3x0x3 ceil_mode",
)
#: size, kernel, stride, padding, dilation, ceil_mode
CASES = [
    (case.size, case.kernel, case.stride, case.padding_pairs, case.dilation, case.ceil_mode)
    for case in map(Case.parse, LINES)
]
LAYOUTS = ["C", "channels_last", "sliced"]
ARRAYS = [
    ("C", np.float32),
    ("channels_last", np.float64),
    ("channels_last", np.float32),
    ("sliced", np.float64),
]


def values_of(shape: tuple[int, ...], kind: str, seed: int = 0) -> np.ndarray:
    """Few values and many ties, mostly -inf with a few NaN, or reals."""
    generator = np.random.default_rng(seed)
    if kind == "ties":
        return generator.integers(-2, 3, shape).astype(np.float64)
    values = generator.standard_normal(shape)
    if kind == "wild":
        values[generator.random(shape) < 0.8] = -INF
        values[generator.random(shape) < 0.01] = NAN
    return values


@pytest.mark.parametrize(("layout", "dtype"), ARRAYS)
@pytest.mark.parametrize("kind", ["ties", "wild"])
def test_maxima_equal_plain_algorithm(kind: str, layout: str, dtype: type) -> None:
    """Values and places: the first of equal maxima, the first NaN, the first element of nothing but -inf."""
    for number, (size, kernel, stride, pads, dilation, ceil_mode) in enumerate(CASES):
        rank = len(size)
        input = lay_out(values_of((1, 2, *size), kind, number).astype(dtype), layout, 1)
        parameters = (kernel, stride, pads, dilation, ceil_mode)
        expected, places = MAX_POOL[rank](input, *parameters, return_indices=True, algorithm="reference")
        values, indices = MAX_POOL[rank](input, *parameters, return_indices=True)
        np.testing.assert_array_equal(values, expected, str(CASES[number]))
        np.testing.assert_array_equal(indices, places, str(CASES[number]))
        np.testing.assert_array_equal(MAX_POOL[rank](input, *parameters), expected)


@pytest.mark.parametrize(("layout", "dtype"), ARRAYS)
def test_averages_equal_plain_algorithm(layout: str, dtype: type) -> None:
    """Averages and their gradients, whatever is counted."""
    for number, (size, kernel, stride, pads, _, ceil_mode) in enumerate(CASES):
        rank, shape = len(size), (1, 2, *size)
        pads = tuple(tuple(min(p, k // 2) for p in pair) for pair, k in zip(pads, kernel))
        input = lay_out(values_of(shape, "reals", number).astype(dtype), layout, 1)
        counting = ((True, None), (False, None), (True, -3))[number % 3]
        parameters = (kernel, stride, pads, ceil_mode, *counting)
        averages = AVG_POOL[rank](input, *parameters)
        expected = AVG_POOL[rank](input.astype(np.float64), *parameters, algorithm="reference")
        exact = {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-14}
        np.testing.assert_allclose(averages, expected, **exact)
        grad_output = lay_out(values_of(averages.shape, "reals").astype(dtype), layout, 1)
        gradient = AVG_POOL_INPUT[rank](shape, grad_output, *parameters)
        expected = AVG_POOL_INPUT[rank](
            shape, grad_output.astype(np.float64), *parameters, algorithm="reference"
        )
        np.testing.assert_allclose(gradient, expected, **exact)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("size", "wanted"), [((90,), (41,)), ((11, 40), (40, 7)), ((30, 29), (1, 29)), ((5, 6, 7), (3, 7, 40))]
)
def test_uneven_windows_equal_plain_algorithm(
    size: tuple[int, ...], wanted: tuple[int, ...], layout: str
) -> None:
    """Adaptive pools, with more outputs than elements too."""
    rank, shape = len(size), (2, 3, *size)
    input = lay_out(values_of(shape, "ties"), layout, 1)
    maxima, indices = ADAPTIVE_MAX[rank](input, wanted, return_indices=True)
    expected, places = ADAPTIVE_MAX[rank](input, wanted, return_indices=True, algorithm="reference")
    np.testing.assert_array_equal(maxima, expected)
    np.testing.assert_array_equal(indices, places)
    assert_close(ADAPTIVE_AVG[rank](input, wanted), ADAPTIVE_AVG[rank](input, wanted, algorithm="reference"))
    grad_output = lay_out(values_of(maxima.shape, "ties"), layout, 1)
    gradient = ADAPTIVE_AVG_INPUT[rank](shape, grad_output)
    expected = ADAPTIVE_AVG_INPUT[rank](shape, grad_output, algorithm="reference")
    np.testing.assert_allclose(gradient, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [
        ((1, 2, 5000), (301,)),
        ((1, 1, 5000), (2001,)),
        ((1, 2, 150, 140), (31, 45)),
        ((1, 1, 24, 30, 32), (9, 11, 13)),
    ],
)
def test_large_windows_equal_numpy(shape: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    """Against NumPy's maximum and mean of every window, axis by axis, and with the adjoint of the average."""
    rank = len(kernel)
    input = np.random.default_rng(5).standard_normal(shape)
    maxima, sums = input, input
    for axis, width in enumerate(kernel, start=2):
        maxima = sliding_window_view(maxima, width, axis).max(-1)
        sums = sliding_window_view(sums, width, axis).mean(-1)
    values, indices = MAX_POOL[rank](input, kernel, 1, return_indices=True)
    np.testing.assert_array_equal(values, maxima)
    np.testing.assert_array_equal(
        np.take_along_axis(input.reshape(*shape[:2], -1), indices.reshape(*shape[:2], -1), 2).reshape(
            values.shape
        ),
        maxima,
    )
    np.testing.assert_allclose(AVG_POOL[rank](input, kernel, 1), sums, rtol=0, atol=1e-14)
    grad_output = np.random.default_rng(6).standard_normal(maxima.shape)
    spread = AVG_POOL_INPUT[rank](shape, grad_output, kernel, 1)
    assert math.isclose(np.vdot(spread, input), np.vdot(grad_output, sums), rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_non_finite_values_reach_exactly_their_windows(bad: float) -> None:
    """Running sums carry no NaN or infinity past the windows that hold it, forward and backward."""
    row = np.random.default_rng(0).standard_normal((1, 1, 3000)).astype(np.float32)
    row[0, 0, 1500] = bad
    covering = np.abs(np.arange(3000) - 1500) <= 150
    np.testing.assert_array_equal(~np.isfinite(fastconv.avg_pool1d(row, 301, 1, 150)[0, 0]), covering)
    gradient = grad.avg_pool1d_input(row.shape, row, 301, 1, 150)
    np.testing.assert_array_equal(~np.isfinite(gradient[0, 0]), covering)
    plane = np.random.default_rng(0).standard_normal((1, 1, 70, 80))
    plane[0, 0, 30, 40] = bad
    covering = (np.abs(np.arange(70) - 30) <= 10)[:, None] & (np.abs(np.arange(80) - 40) <= 12)
    np.testing.assert_array_equal(
        ~np.isfinite(fastconv.avg_pool2d(plane, (21, 25), 1, (10, 12))[0, 0]), covering
    )


def test_sums_do_not_cancel() -> None:
    """What has left the window leaves no rounding error: 1e16 and then ones average to 1."""
    row = np.ones((1, 1, 4000))
    row[..., :1000] = 1e16
    np.testing.assert_array_equal(fastconv.avg_pool1d(row, 500, 1)[0, 0, 1000:], 1)


WIDE = np.random.default_rng(9).standard_normal((2, 19, 72, 75)).astype(np.float32)
LONG = np.random.default_rng(9).standard_normal((2, 2, 30_000)).astype(np.float32)


def operations(planes: np.ndarray, rows: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Wide poolings of planes (N, C, H, W) and of rows (N, C, W)."""
    return {
        "max": lambda: fastconv.max_pool2d(planes, 31, 1, 15),
        "indices": lambda: fastconv.max_pool2d(
            planes, 31, 2, 15, dilation=2, ceil_mode=True, return_indices=True
        )[1],
        "average": lambda: fastconv.avg_pool2d(planes, (41, 33), 1, 15),
        "gradient": lambda: grad.avg_pool2d_input(planes.shape, planes, 31, 1, 15),
        "layer": lambda: nn.MaxPool2d(25, 1, 12).vjp(planes)[1](planes),
        "max of rows": lambda: fastconv.max_pool1d(rows, 501, 1, 250, return_indices=True)[1],
        "average of rows": lambda: fastconv.avg_pool1d(rows, 501, 1, 250),
        "gradient of rows": lambda: grad.avg_pool1d_input(rows.shape, rows, 501, 1, 250),
    }


@pytest.mark.parametrize("name", operations(WIDE, LONG))
def test_same_bits_however_a_call_is_cut(name: str) -> None:
    """Threads, batch and memory order leave no trace."""
    fastconv.set_num_threads(1)
    expected = operations(WIDE, LONG)[name]()
    for threads in (2, 5):
        fastconv.set_num_threads(threads)
        assert operations(WIDE, LONG)[name]().tobytes() == expected.tobytes(), f"{threads} threads"
    assert operations(WIDE[1:], LONG[1:])[name]().tobytes() == expected[1:].tobytes()
    last = operations(lay_out(WIDE, "channels_last", 1), lay_out(LONG, "channels_last", 1))[name]()
    assert np.ascontiguousarray(last).tobytes() == expected.tobytes()


def test_layers_remember_the_winner_of_a_wide_window() -> None:
    """A max-pool layer's gradient is that of the indices, also where a byte cannot name a tap."""
    planes = np.random.default_rng(1).integers(-3, 4, (1, 3, 60, 50)).astype(np.float32)
    for kernel in (3, 5, 16, 31):
        output, backprop = nn.MaxPool2d(kernel, 1).vjp(planes)
        _, indices = fastconv.max_pool2d(planes, kernel, 1, return_indices=True)
        grad_output = np.random.default_rng(2).standard_normal(output.shape).astype(np.float32)
        expected = MAX_POOL_INPUT[2](planes.shape, indices, grad_output)
        np.testing.assert_array_equal(backprop(grad_output), expected)


# ---- norms at the edges of the numbers ----------------------------------------------------------------


@pytest.mark.parametrize("norm_type", [1, 2, 3, 2.5, 0.5, 20, -1, -2, -0.5, -3])
@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1.0, 1e155, 1e300])
def test_norms_scale_with_their_input(scale: float, norm_type: float) -> None:
    """A norm of c x is c times that of x, its gradient the same: no power overflows or vanishes."""
    row = np.array([[[3.0, 4.0, 1.0, 2.0, 5.0, 0.5]]])
    expected = LP_POOL[1](row, norm_type, 3, 1)
    norms = LP_POOL[1](row * scale, norm_type, 3, 1)
    np.testing.assert_allclose(norms / scale, expected, rtol=1e-12)
    ones = np.ones_like(norms)
    np.testing.assert_allclose(
        LP_POOL_INPUT[1](row * scale, norms, ones, norm_type, 3, 1),
        LP_POOL_INPUT[1](row, expected, ones, norm_type, 3, 1),
        rtol=1e-12,
    )


@pytest.mark.parametrize("norm_type", [2, 20, -1])
def test_norms_of_large_float32_values(norm_type: float) -> None:
    """Also in float32, whose squares overflow above 1e19."""
    row = np.array([[[3e30, 4e30, 1e30]]], np.float32)
    norm = LP_POOL[1](row, norm_type, 3)
    exact = LP_POOL[1](row.astype(np.float64) / 1e30, norm_type, 3)
    np.testing.assert_allclose(norm / 1e30, exact, rtol=1e-6)
    gradient = LP_POOL_INPUT[1](row, norm, np.ones_like(norm), norm_type, 3)
    expected = LP_POOL_INPUT[1](row.astype(np.float64) / 1e30, exact, np.ones_like(exact), norm_type, 3)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_negative_norms_have_a_gradient_at_zeros() -> None:
    """Of y = 1 / sum(1 / x) the limit at zeros: all of it to a single one, (1 / m)^2 to each of m."""
    row = np.array([[[0.0, 2.0, 0.0, -0.0, 1.0, 3.0]]])
    norms = fastconv.lp_pool1d(row, -1, 2)
    np.testing.assert_allclose(norms, [[[0, 0, 0.75]]])
    gradient = grad.lp_pool1d_input(row, norms, np.ones_like(norms), -1, 2)
    np.testing.assert_allclose(gradient, [[[1, 0, 0.25, 0.25, 0.5625, 0.0625]]])
    cancelled = np.array([[[1.0, -1.0]]])  # the sum of powers is 0: no share of the gradient
    infinite = fastconv.lp_pool1d(cancelled, -1, 2)
    assert np.isinf(infinite).all()
    np.testing.assert_array_equal(grad.lp_pool1d_input(cancelled, infinite, np.ones_like(infinite), -1, 2), 0)
