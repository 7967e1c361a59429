"""How far from the exact result: every algorithm within its bound, in all three passes."""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from conv_cases import assert_close, lay_out, rms
from reference import conv as reference

import fastconv


class Problem(NamedTuple):
    """Two operands, what is exactly right, and the rms error allowed: found once for all algorithms."""

    operands: tuple[np.ndarray, np.ndarray]
    exact: np.ndarray
    bound: float

    def check(self, result: np.ndarray) -> None:
        assert rms(result - self.exact) <= self.bound


def problem(left: np.ndarray, right: np.ndarray, exact: np.ndarray, plain: np.ndarray) -> Problem:
    """The promise of "highest": rms error at most twice that of adding up one by one in the same dtype."""
    return Problem((left, right), exact, 2 * rms(plain - exact))


def long_double_conv(input: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """3x3 without padding in the widest floats NumPy has here."""
    height, width = input.shape[2] - 2, input.shape[3] - 2
    output = np.zeros((input.shape[0], weight.shape[0], height, width), np.longdouble)
    for c, y, x in itertools.product(range(input.shape[1]), range(3), range(3)):
        window = input[:, c, None, y : y + height, x : x + width].astype(np.longdouble)
        output += weight[:, c, y, x][:, None, None] * window
    return output


# ---- output ----------------------------------------------------------------------------------------


@cache
def convolution(channels: int, data: str, dtype: type) -> Problem:
    generator = np.random.default_rng(3)
    input = generator.standard_normal((1, channels, 15, 17)).astype(dtype)
    weight = generator.standard_normal((16, channels, 3, 3)).astype(dtype)
    half = channels // 2
    if data == "rectified":  # as a ReLU leaves it: half of the products add no error
        input = np.maximum(input, 0)
    elif data == "uniform":
        input = generator.random(input.shape).astype(dtype)
    elif data == "badly scaled":
        input *= (10 ** generator.uniform(-3, 3, (channels, 1, 1))).astype(dtype)
    elif data == "one outweighs all":
        input[:, half] *= 1000
    elif data == "cancelling":
        input[:, half:] = -1.001 * input[:, :half]
        weight[:, half:] = weight[:, :half]
    exact = long_double_conv(input, weight)
    plain = np.zeros(exact.shape, dtype)
    for c, y, x in itertools.product(range(channels), range(3), range(3)):
        plain += weight[:, c, y, x][:, None, None] * input[:, c, None, y : y + 13, x : x + 15]
    return problem(input, weight, exact, plain)


def check_forward(case: Problem, algorithm: str) -> None:
    """In both memory orders."""
    input, weight = case.operands
    for layout in ("C", "channels_last"):
        case.check(fastconv.conv2d(lay_out(input, layout, 1), weight, algorithm=algorithm))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data", ["normal", "rectified", "uniform"])
@pytest.mark.parametrize("channels", [16, 64, 128, 256])
@pytest.mark.parametrize("algorithm", ["auto", "direct", "sliding", "winograd", "fft"])
def test_precision_is_that_of_plain_accumulation(
    isa: str, algorithm: str, channels: int, data: str, dtype: type
) -> None:
    """The promise of "highest": rms error at most twice that of adding up one by one in the same dtype."""
    check_forward(convolution(channels, data, dtype), algorithm)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data", ["badly scaled", "one outweighs all", "cancelling"])
@pytest.mark.parametrize("channels", [48, 64, 128])
@pytest.mark.parametrize("algorithm", ["auto", "winograd"])
def test_precision_holds_for_data_that_rounds_badly(
    isa: str, algorithm: str, channels: int, data: str, dtype: type
) -> None:
    """Likewise, where tiles of other sizes are taken for more channels."""
    check_forward(convolution(channels, data, dtype), algorithm)


@pytest.mark.parametrize("data", ["normal", "rectified", "badly scaled", "one outweighs all", "cancelling"])
@pytest.mark.parametrize("channels", [48, 64, 128])
@pytest.mark.parametrize("algorithm", ["auto", "winograd"])
def test_input_gradients_are_as_precise_as_plain_accumulation(
    isa: str, algorithm: str, channels: int, data: str
) -> None:
    """A convolution is the input gradient of one with the channels changed over and the kernel turned."""
    case = convolution(channels, data, np.float32)
    source, weight = case.operands
    turned = np.ascontiguousarray(weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
    for layout in ("C", "channels_last"):
        grad_output = lay_out(source, layout, 1)
        case.check(
            fastconv.grad.conv2d_input(case.exact.shape, turned, grad_output, padding=2, algorithm=algorithm)
        )


@cache
def grouped_convolution(group: int, dtype: type) -> Problem:
    generator = np.random.default_rng(5)
    input = generator.standard_normal((1, 16, 40, 44)).astype(dtype)
    weight = generator.standard_normal((16, group, 9, 9)).astype(dtype)
    exact = np.zeros((1, 16, 32, 36), np.longdouble)
    plain = np.zeros(exact.shape, dtype)
    for c, y, x in itertools.product(range(group), range(9), range(9)):
        window = input[:, np.arange(16) // group * group + c, y : y + 32, x : x + 36]
        exact += weight[:, c, y, x][:, None, None].astype(np.longdouble) * window
        plain += weight[:, c, y, x][:, None, None] * window
    return problem(input, weight, exact, plain)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("group", [1, 2, 4])
def test_precision_of_depthwise_and_small_groups(isa: str, group: int, dtype: type) -> None:
    """Likewise, where each output has few channels and many taps to add up."""
    case = grouped_convolution(group, dtype)
    input, weight = case.operands
    for layout in ("C", "channels_last"):
        case.check(
            fastconv.conv2d(lay_out(input, layout, 1), weight, groups=16 // group, algorithm="depthwise")
        )


@cache
def strided_convolution(channels: int, kernel: int, stride: int, dtype: type) -> Problem:
    generator = np.random.default_rng(6)
    input = generator.standard_normal((1, channels, 60, 64)).astype(dtype)
    weight = generator.standard_normal((16, channels, kernel, kernel)).astype(dtype)
    windows = np.lib.stride_tricks.sliding_window_view(input, (kernel, kernel), (2, 3))
    windows = windows[:, :, ::stride, ::stride]
    exact = np.einsum("ncyxij,kcij->nkyx", windows, weight, dtype=np.longdouble)
    plain = np.zeros(exact.shape, dtype)
    for c, y, x in np.ndindex(weight.shape[1:]):
        plain += weight[:, c, y, x][:, None, None] * windows[:, c, None, :, :, y, x]
    return problem(input, weight, exact, plain)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride"),
    [(3, 11, 4), (40, 5, 2), (40, 4, 2), (40, 4, 1), (64, 5, 2), (64, 5, 1), (64, 4, 1)],
)
@pytest.mark.parametrize("algorithm", ["auto", "direct", "sliding", "winograd"])
def test_precision_with_strides(
    isa: str, algorithm: str, channels: int, kernel: int, stride: int, dtype: type
) -> None:
    """Likewise, where Winograd's tiles lie in the phases of the input."""
    case = strided_convolution(channels, kernel, stride, dtype)
    input, weight = case.operands
    for layout in ("C", "channels_last"):
        case.check(fastconv.conv2d(lay_out(input, layout, 1), weight, stride=stride, algorithm=algorithm))


@cache
def deep_layer() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Input and weight in float32, and in float64 the output and the input gradient of the transposed weight.

    The instruction set that asks first computes them: in float64 none errs by more than 1e-12.
    """
    generator = np.random.default_rng(3)
    input = generator.standard_normal((2, 256, 30, 33)).astype(np.float32)
    weight = generator.standard_normal((32, 256, 3, 3)).astype(np.float32)
    exact_input, exact_weight = input.astype(np.float64), weight.astype(np.float64)
    with fastconv.precision("highest"):
        output = fastconv.conv2d(exact_input, exact_weight, padding=1, algorithm="direct")
        gradient = fastconv.grad.conv2d_input(
            (2, 32, 30, 33), exact_weight.transpose(1, 0, 2, 3), exact_input, padding=1, algorithm="direct"
        )
    return input, weight, output, gradient


@pytest.mark.parametrize("algorithm", ["auto", "direct", "sliding", "winograd", "fft"])
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_lower_precisions_keep_their_bounds(isa: str, precision: str, algorithm: str) -> None:
    """rms error relative to the output's rms: 1e-5 for "high", 5e-3 for "medium", in both directions."""
    input, weight, exact, exact_gradient = deep_layer()
    bound = {"high": 1e-5, "medium": 5e-3}[precision]
    with fastconv.precision(precision):
        output = fastconv.conv2d(input, weight, padding=1, algorithm=algorithm)
        gradient = fastconv.grad.conv2d_input(
            (2, 32, 30, 33), weight.transpose(1, 0, 2, 3), input, padding=1, algorithm=algorithm
        )
    assert rms(output - exact) <= bound * rms(exact)
    assert rms(gradient - exact_gradient) <= bound * rms(exact_gradient)


def test_long_sums_in_float64(isa: str) -> None:
    """1e-12 of the output's maximum also where 4,608 products with random signs meet in one output."""
    generator = np.random.default_rng(4)
    input, weight = generator.standard_normal((1, 512, 5, 5)), generator.standard_normal((8, 512, 3, 3))
    exact = reference.conv(input, weight, None, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    assert_close(fastconv.conv2d(input, weight, padding=1), exact)


# ---- gradients -------------------------------------------------------------------------------------


@cache
def weight_gradient(size: tuple[int, int, int], rectified: bool, dtype: type) -> Problem:
    generator = np.random.default_rng(9)
    input = generator.standard_normal((size[0], 16, *size[1:])).astype(dtype)
    input = np.maximum(input, 0) if rectified else input  # as a ReLU leaves it
    grad_output = generator.standard_normal((size[0], 17, *size[1:])).astype(dtype)
    padded = np.pad(input, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    exact = np.einsum("nkyx,ncyxij->kcij", grad_output, windows, dtype=np.longdouble)
    plain = np.zeros(exact.shape, dtype)
    for n, y, x in np.ndindex(size):
        plain += grad_output[n, :, y, x][:, None, None, None] * windows[n, :, y, x]
    return problem(input, grad_output, exact, plain)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("size", [(2, 7, 7), (4, 14, 14), (2, 56, 52)])
@pytest.mark.parametrize("algorithm", ["auto", "direct", "winograd", "fft"])
def test_weight_gradient_is_as_precise_as_plain_accumulation(
    isa: str, algorithm: str, size: tuple[int, int, int], rectified: bool, dtype: type
) -> None:
    """The promise of "highest": rms error at most twice that of adding up pixel by pixel in that dtype."""
    case = weight_gradient(size, rectified, dtype)
    input, grad_output = case.operands
    case.check(
        fastconv.grad.conv2d_weight(input, case.exact.shape, grad_output, padding=1, algorithm=algorithm)
    )


@cache
def strided_weight_gradient(channels: int, kernel: int, stride: int, size: int, dtype: type) -> Problem:
    generator = np.random.default_rng(9)
    input = generator.standard_normal((1, channels, size, size)).astype(dtype)
    windows = np.lib.stride_tricks.sliding_window_view(input, (kernel, kernel), (2, 3))
    windows = windows[:, :, ::stride, ::stride]
    grad_output = generator.standard_normal((1, 17, *windows.shape[2:4])).astype(dtype)
    exact = np.einsum("nkyx,ncyxij->kcij", grad_output, windows, dtype=np.longdouble)
    plain = np.zeros(exact.shape, dtype)
    for y, x in np.ndindex(windows.shape[2:4]):
        plain += grad_output[0, :, y, x][:, None, None, None] * windows[0, :, y, x]
    return problem(input, grad_output, exact, plain)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "size"), [(3, 11, 4, 107), (40, 5, 2, 59), (20, 4, 1, 27)]
)
@pytest.mark.parametrize("algorithm", ["auto", "direct", "winograd"])
def test_weight_gradient_with_strides_is_as_precise(
    isa: str, algorithm: str, channels: int, kernel: int, stride: int, size: int, dtype: type
) -> None:
    """Likewise, where the gradient is found phase by phase."""
    case = strided_weight_gradient(channels, kernel, stride, size, dtype)
    input, grad_output = case.operands
    case.check(fastconv.grad.conv2d_weight(input, case.exact.shape, grad_output, stride, algorithm=algorithm))


@cache
def input_gradient(filters: int, dtype: type) -> Problem:
    generator = np.random.default_rng(10)
    grad_output = generator.standard_normal((2, filters, 10, 9)).astype(dtype)
    weight = generator.standard_normal((filters, 6, 5, 5)).astype(dtype)
    exact, plain = np.zeros((2, 6, 14, 13), np.longdouble), np.zeros((2, 6, 14, 13), dtype)
    for k, y, x in np.ndindex(filters, 5, 5):
        taps, gradient = weight[k, :, y, x, None, None], grad_output[:, k, None]
        exact[..., y : y + 10, x : x + 9] += taps.astype(np.longdouble) * gradient
        plain[..., y : y + 10, x : x + 9] += taps * gradient
    return problem(grad_output, weight, exact, plain)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("filters", [3, 16, 600])
@pytest.mark.parametrize("algorithm", ["auto", "direct", "sliding", "winograd", "col2im"])
def test_input_gradient_of_small_planes_is_as_precise_as_plain_accumulation(
    isa: str, algorithm: str, filters: int, dtype: type
) -> None:
    """Likewise, where most of a window lies in the padding, and sums are formed in two steps."""
    case = input_gradient(filters, dtype)
    grad_output, weight = case.operands
    for layout in ("C", "channels_last"):
        source = lay_out(grad_output, layout, 1)
        case.check(fastconv.grad.conv2d_input(case.exact.shape, weight, source, algorithm=algorithm))
