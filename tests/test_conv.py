"""Forward convolution: equal to plain float64 loops, whatever geometry, layout, dtype, instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import CONV, ConvCase, assert_close, buffer_and_view, conv_cases, examples, lay_out
from hypothesis import given
from reference import conv as reference

import fastconv
from fastconv.functional.case import Case
from fastconv.runtime import runnable_isas


def loops(case: ConvCase, input: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """The float64 loops on a case, with or without a batch, and its activation."""
    batched = input if case.batched else input[None]
    output = reference.conv(batched, weight, bias, **case.loop_parameters)
    output = output if case.batched else output[0]
    if case.activation == "leaky_relu":
        return np.where(output < 0, 0.01 * output, output)
    if case.activation is not None:
        return np.clip(output, 0, 6 if case.activation == "relu6" else None)
    return output


@given(case=conv_cases(kinds=("small", "depthwise")))
@examples(200)
def test_plain_algorithm_equals_float64_loops(case: ConvCase) -> None:
    """`algorithm="reference"`, the oracle of all others, against loops that share nothing with it."""
    input, weight, bias = case.make_input(), case.make_weight(), case.make_bias()
    output = CONV[case.rank](
        input, weight, bias, **case.parameters, activation=case.activation, algorithm="reference"
    )
    assert output.dtype == np.dtype(case.dtype)
    expected = loops(case, input, weight, bias)
    assert_close(output, expected, exact=case.exact and case.activation != "leaky_relu")


@given(case=conv_cases())
@examples(1500)
def test_every_isa_equals_plain_algorithm(case: ConvCase) -> None:
    """Any geometry, layout of every array and algorithm, on every instruction set; only `out` is written."""
    input, weight, bias = case.make_input(), case.make_weight(), case.make_bias()
    before = input.copy(), weight.copy()
    conv = CONV[case.rank]
    arguments = {**case.parameters, "activation": case.activation}
    expected = conv(input, weight, bias, **arguments, algorithm="reference")
    exact = case.is_exact(case.in_per_group) and case.activation != "leaky_relu"
    for isa in runnable_isas():
        fastconv.set_isa(isa)
        buffer, out = case.make_out()
        assert conv(input, weight, bias, **arguments, algorithm=case.algorithm, out=out) is out
        assert_close(out, expected, exact, f"{case.algorithm} on {isa}")
        out[...] = np.nan
        assert np.isnan(buffer).all(), f"{isa}: wrote outside of out"
    np.testing.assert_array_equal(input, before[0])
    np.testing.assert_array_equal(weight, before[1])


def test_kernel_is_not_flipped(isa: str) -> None:
    """Cross-correlation: an asymmetric kernel lies on the picture as it is printed."""
    picture = np.arange(20.0).reshape(1, 1, 4, 5)
    kernel = np.array([[[[1.0, 10.0, 100.0], [1000.0, 0.0, 0.0]]]])
    expected = [
        [
            r * 5 + c + 10 * (r * 5 + c + 1) + 100 * (r * 5 + c + 2) + 1000 * ((r + 1) * 5 + c)
            for c in range(3)
        ]
        for r in range(3)
    ]
    np.testing.assert_array_equal(fastconv.conv2d(picture, kernel)[0, 0], expected)


def test_channel_order_and_groups(isa: str) -> None:
    """weight[k, c] meets input channel c of k's group; every (k, c) has its own power of ten."""
    input = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1)
    weight = 10.0 ** np.arange(8).reshape(4, 2, 1)
    grouped = fastconv.conv1d(input, weight, groups=2)
    np.testing.assert_array_equal(grouped[0, :, 0], [21.0, 2100.0, 430000.0, 43000000.0])


def test_worked_example_with_everything(isa: str) -> None:
    """Stride, asymmetric padding, dilation, bias and activation, worked out by hand."""
    input = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]], np.float32)
    weight = np.array([[[1.0, -2.0]], [[-1.0, 0.5]]], np.float32)
    bias = np.array([1.0, 4.0], np.float32)
    # padded: 0 1 2 3 4 5 0 0 and windows {0, 2}, {2, 4}, {4, 0}: starts 0, 2, 4 and second taps 2 further
    output = fastconv.conv1d(input, weight, bias, stride=2, padding=((1, 2),), dilation=2, activation="relu6")
    np.testing.assert_array_equal(output, [[0.0, 0.0, 5.0], [5.0, 4.0, 0.0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "channels_last"])
def test_every_number_of_channels_and_pixels(isa: str, layout: str, dtype: type) -> None:
    """Tile edges: each count of output channels with each of a few pixel counts, exact in small integers."""
    generator = np.random.default_rng(1)
    input = lay_out(generator.integers(-3, 4, (2, 3, 3, 70)).astype(dtype), layout, 1)
    weight = generator.integers(-3, 4, (70, 3, 2, 2)).astype(dtype)
    expected = fastconv.conv2d(input, weight, algorithm="reference")
    for channels in range(1, 71):
        width = 70 - channels + 2
        output = fastconv.conv2d(input[..., :width], weight[:channels])
        np.testing.assert_array_equal(output, expected[:, :channels, :, : width - 1])


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "relu6"])
@pytest.mark.parametrize("layout", ["C", "channels_last", "sliced"])
def test_activation_is_applied_after_the_bias(isa: str, activation: str | None, layout: str) -> None:
    """Fused bias and activation equal the two steps one after the other, over several chunks of the depth."""
    generator = np.random.default_rng(2)
    input = lay_out(generator.standard_normal((2, 90, 5, 9)), layout, 1)
    weight, bias = generator.standard_normal((9, 90, 3, 3)) / 8, generator.standard_normal(9) * 4
    plain = fastconv.conv2d(input, weight) + bias[:, None, None]
    steps = {
        None: plain,
        "relu": np.maximum(plain, 0),
        "leaky_relu": np.where(plain < 0, 0.01 * plain, plain),
        "relu6": np.clip(plain, 0, 6),
    }
    assert plain.min() < 0
    assert plain.max() > 6
    np.testing.assert_array_equal(
        fastconv.conv2d(input, weight, bias, activation=activation), steps[activation]
    )


def test_output_keeps_the_memory_order_of_the_input() -> None:
    """Channels-last in, channels-last out, so that a network never converts between layers."""
    weight = np.ones((5, 3, 2, 2), np.float32)
    last = lay_out(np.ones((2, 3, 6, 7), np.float32), "channels_last", 1)
    assert fastconv.conv2d(last, weight).transpose(0, 2, 3, 1).flags.c_contiguous
    assert fastconv.conv2d(last[0], weight).transpose(1, 2, 0).flags.c_contiguous
    assert fastconv.conv2d(np.ascontiguousarray(last), weight).flags.c_contiguous


def test_padding_may_be_larger_than_the_window(isa: str) -> None:
    """Windows that see nothing but padding give the bias."""
    output = fastconv.conv1d(np.ones((1, 1, 2)), np.ones((1, 1, 2)), np.array([7.0]), padding=5)
    np.testing.assert_array_equal(output[0, 0], [7, 7, 7, 7, 8, 9, 8, 7, 7, 7, 7])


def test_empty_batch_gives_empty_result(isa: str) -> None:
    output = fastconv.conv2d(np.ones((0, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32), stride=2)
    assert output.shape == (0, 4, 3, 3)
    assert output.dtype == np.float32


# ---- other kinds of array --------------------------------------------------------------------------


def test_buffer_protocol_and_dlpack_objects_are_read_in_place() -> None:
    """Anything that speaks DLPack or the buffer protocol is an input, and gives an ndarray's result."""

    class OnlyDLPack:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __dlpack__(self, **options: object) -> object:
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.array.__dlpack_device__()

    input, weight = np.arange(12.0).reshape(1, 1, 3, 4), np.arange(4.0).reshape(1, 1, 2, 2)
    expected = fastconv.conv2d(input, weight)
    np.testing.assert_array_equal(fastconv.conv2d(memoryview(input), memoryview(weight)), expected)
    np.testing.assert_array_equal(fastconv.conv2d(OnlyDLPack(input), OnlyDLPack(weight)), expected)


def test_integer_like_parameters_are_accepted() -> None:
    """NumPy integers, lists and tuples mean the same as ints."""
    input, weight = np.arange(50.0).reshape(1, 2, 5, 5), np.arange(16.0).reshape(2, 2, 2, 2)
    expected = fastconv.conv2d(input, weight, stride=2, padding=1, dilation=2)
    for number in (np.int64(2), np.uint8(2), (2, 2), [2, 2], [np.int32(2), 2]):
        output = fastconv.conv2d(input, weight, stride=number, padding=[[1, 1], 1], dilation=number)
        np.testing.assert_array_equal(output, expected)


# ---- what is hardly a number -----------------------------------------------------------------------

NON_FINITE_LINES = (
    "conv2d c3 6x7 k5 3x3 p1",  # padded 3x3
    "conv2d c2 5x6 k3 2x4 p2:0x0:3",  # asymmetric padding
    "conv2d c2 9x9 k3 2x2 s3x4 p1:0x0",  # stride beyond the kernel
    "conv2d c2 8x9 k2 3x2 s2x1 p2x1 d2x3",  # dilated
    "conv2d c1 2x75 k17 1x3 p0x1",  # past one panel
    "conv2d c60 4x4 k2 3x3 p1",  # two chunks of depth
    "conv1d c2 40 k3 5 s2 p2",  # 1-D
    "conv3d c2 3x4x5 k3 2x3x2 s1x2x1 p1x1:0x0:1",  # 3-D
    "conv2d c6 5x6 k9 2x3 p0:1x1 g3",  # grouped
    "conv2d c17 11x12 k16 3x3 p1",  # taken by Winograd
    "conv2d c16 7x8 k16 4x5 p1:2x2:1 d1x2",  # in pieces by Winograd
    "conv2d c3 5x39 k3 3x3 p1 g3",  # depthwise
    "conv2d c2 9x75 k2 3x5 s2 p2:1x3:4 d2 g2",  # depthwise, strided and dilated
)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", ["C", "channels_last", "reversed"])
@pytest.mark.parametrize("line", NON_FINITE_LINES)
def test_non_finite_input_reaches_exactly_the_windows_that_cover_it(
    isa: str, line: str, layout: str, value: float
) -> None:
    """Neither more outputs nor fewer: beside padding, at tile edges, anywhere, also times a zero weight."""
    case = Case.parse(line)
    _, channels, *size = case.input_shape
    weight = np.ones(case.weight_shape, np.float32)
    weight[::2] = 0  # 0 * inf and 0 * NaN are NaN: a covered output is never saved by its weight
    window = (case.size, case.kernel, case.stride, case.padding_pairs, case.dilation)
    spatial = reference.output_size(*window)
    covering: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for output, _, position in reference.meetings(*window):
        covering.setdefault(position, set()).add(output)
    for index, position in enumerate(np.ndindex(*size)):
        channel = index % channels
        values = np.ones(case.input_shape, np.float32)
        values[(0, channel, *position)] = value
        output = CONV[case.rank](lay_out(values, layout, 1), weight, **case.parameters)
        expected = np.zeros((case.groups, case.out_channels // case.groups, *spatial), bool)
        for o in covering.get(position, ()):
            expected[(channel // case.weight_shape[1], slice(None), *o)] = True
        affected = ~np.isfinite(output).reshape(expected.shape)
        np.testing.assert_array_equal(affected, expected, err_msg=f"{position} of channel {channel}")


@pytest.mark.parametrize("precision", ["highest", "high"])
@pytest.mark.parametrize("algorithm", ["auto", "direct", "sliding", "winograd", "fft"])
def test_large_values_do_not_overflow_on_the_way(isa: str, algorithm: str, precision: str) -> None:
    """Sums of neighbours, as transforms form them, may pass the largest float where no product does."""
    sign = (-1.0) ** np.add.outer(np.arange(24), np.arange(26))
    input = np.broadcast_to(3e38 * sign, (1, 16, 24, 26)).astype(np.float32)
    weight = np.full((16, 16, 3, 3), 1e-30, np.float32)
    with fastconv.precision(precision):
        output = fastconv.conv2d(input, weight, padding=1, algorithm=algorithm)
        gradient = fastconv.grad.conv2d_input(input.shape, weight, input, padding=1, algorithm=algorithm)
    assert np.isfinite(output).all()
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "relu6"])
@pytest.mark.parametrize("layout", ["C", "channels_last"])
def test_activations_let_nan_through(isa: str, activation: str | None, layout: str) -> None:
    """max(NaN, 0) is NaN: an activation never hides that something went wrong."""
    input = lay_out(np.full((1, 2, 1, 37), np.nan, np.float32), layout, 1)
    output = fastconv.conv2d(input, np.ones((19, 2, 1, 1), np.float32), activation=activation)
    assert np.isnan(output).all()


def test_denormals_are_not_flushed(isa: str) -> None:
    """The smallest numbers pass a kernel of ones unharmed."""
    for dtype in (np.float32, np.float64):
        tiny = np.full((1, 1, 4, 40), np.finfo(dtype).smallest_subnormal, dtype)
        np.testing.assert_array_equal(fastconv.conv2d(tiny, np.ones((1, 1, 1, 1), dtype)), tiny)


# ---- algorithms ------------------------------------------------------------------------------------


def test_an_algorithm_that_cannot_serve_is_refused() -> None:
    """Never replaced silently, in any direction; the error names it and says what it needs."""
    input, output = np.ones((1, 4, 9, 9), np.float32), np.ones((1, 4, 7, 7), np.float32)
    weight, depthwise = np.ones((4, 4, 3, 3), np.float32), np.ones((4, 1, 3, 3), np.float32)
    with pytest.raises(ValueError, match=r"algorithm='winograd'.*stride"):
        fastconv.conv2d(input, weight, stride=3, algorithm="winograd")
    with pytest.raises(ValueError, match=r"algorithm='winograd'.*kernel"):
        fastconv.conv2d(input, weight[..., :1], algorithm="winograd")
    with pytest.raises(ValueError, match=r"algorithm='depthwise'.*group"):
        fastconv.conv2d(input, weight, algorithm="depthwise")
    with pytest.raises(ValueError, match=r"algorithm='depthwise'.*group"):
        fastconv.grad.conv2d_input(input.shape, weight, output, algorithm="depthwise")
    with pytest.raises(ValueError, match=r"algorithm='sliding'.*stride"):
        fastconv.conv2d(input, weight, stride=9, algorithm="sliding")
    with pytest.raises(ValueError, match=r"algorithm='fft'.*kernel"):
        fastconv.conv2d(input, weight[..., :2], algorithm="fft")
    with pytest.raises(ValueError, match=r"algorithm='col2im'.*forward"):
        fastconv.conv2d(input, weight, algorithm="col2im")
    with pytest.raises(ValueError, match=r"algorithm='col2im'.*stride"):
        fastconv.grad.conv2d_input(input.shape, weight, output[..., :4, :4], 2, algorithm="col2im")
    with pytest.raises(ValueError, match=r"algorithm='col2im'.*64 wide"):
        fastconv.grad.conv1d_input((1, 1, 70), np.ones((1, 1, 65)), np.ones((1, 1, 6)), algorithm="col2im")
    for algorithm in ("sliding", "depthwise", "col2im"):
        with pytest.raises(ValueError, match=rf"algorithm='{algorithm}'.*weight gradient"):
            fastconv.grad.conv2d_weight(input, depthwise.shape, output, groups=4, algorithm=algorithm)
    with pytest.raises(ValueError, match=r"algorithm='winograd'.*dilation"):
        fastconv.conv2d(input, np.ones((4, 4, 5, 5), np.float32), stride=2, dilation=2, algorithm="winograd")
    with pytest.raises(ValueError, match=r"algorithm='winograd'.*stride"):
        fastconv.grad.conv2d_weight(input, weight.shape, output[..., :3, :3], 3, algorithm="winograd")


# ---- out -------------------------------------------------------------------------------------------


def test_out_in_the_gaps_of_the_input(isa: str) -> None:
    """`out` may interleave with an input as long as they share no element."""
    memory = np.zeros((1, 1, 6, 12))
    memory[..., ::2] = np.arange(36.0).reshape(1, 1, 6, 6)
    input, out = memory[..., ::2], memory[..., 1::2][:, :, :4, :4]
    weight = np.arange(9.0).reshape(1, 1, 3, 3)
    expected = fastconv.conv2d(input.copy(), weight)
    fastconv.conv2d(input, weight, out=out)
    np.testing.assert_array_equal(out, expected)


def test_out_of_one_group_of_a_larger_array(isa: str) -> None:
    """Two branches write side by side into one array, as a Concat without a copy."""
    generator = np.random.default_rng(5)
    input = generator.integers(-3, 4, (2, 3, 5, 6)).astype(np.float32)
    weights = generator.integers(-3, 4, (2, 4, 3, 3, 3)).astype(np.float32)
    buffer, whole = buffer_and_view((2, 8, 5, 6), np.float32, "C", 1)
    for branch in range(2):
        fastconv.conv2d(input, weights[branch], padding=1, out=whole[:, 4 * branch : 4 * branch + 4])
    expected = fastconv.conv2d(input, weights.reshape(8, 3, 3, 3), padding=1)
    np.testing.assert_array_equal(buffer, expected)
