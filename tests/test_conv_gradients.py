"""Gradients of convolution: equal to plain float64 loops, whatever geometry, layout, instruction set."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conv_cases import (
    CONV,
    CONV_INPUT,
    CONV_WEIGHT,
    INPUT_LAYOUTS,
    ConvCase,
    assert_close,
    conv_cases,
    examples,
    lay_out,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import conv as reference

import fastconv
from fastconv.runtime import runnable_isas


def with_batch(array: np.ndarray, case: ConvCase) -> np.ndarray:
    return array if case.batched else array[None]


# ---- both gradients of generated cases --------------------------------------------------------------


@given(case=conv_cases(kinds=("small", "depthwise")))
@examples(200)
def test_plain_gradients_equal_float64_loops(case: ConvCase) -> None:
    """`algorithm="reference"`, the oracle of all others, against loops that share nothing with it."""
    weight, grad_output = case.make_weight(), case.make_grad_output(case.layouts[0])
    result = CONV_INPUT[case.rank](
        case.input_shape, weight, grad_output, **case.parameters, algorithm="reference"
    )
    assert result.dtype == np.dtype(case.dtype)
    shape = case.input_shape if case.batched else (1, *case.input_shape)
    expected = reference.conv_input_gradient(
        shape, weight, with_batch(grad_output, case), **case.loop_parameters
    )
    assert_close(with_batch(result, case), expected, case.exact)

    input, grad_output = case.make_input(), case.make_grad_output(case.layouts[1])
    result = CONV_WEIGHT[case.rank](
        input, case.weight_shape, grad_output, **case.parameters, algorithm="reference"
    )
    assert result.dtype == np.dtype(case.dtype)
    expected = reference.conv_weight_gradient(
        with_batch(input, case), case.weight_shape, with_batch(grad_output, case), **case.loop_parameters
    )
    assert_close(result, expected, case.exact)


@given(case=conv_cases(), weight_algorithm=st.sampled_from(["auto", "direct", "winograd", "fft"]))
@examples(1500)
def test_gradients_on_every_isa_equal_plain_algorithm(case: ConvCase, weight_algorithm: str) -> None:
    """Any geometry, layout and algorithm, on every instruction set; no input is written."""
    input_gradient_equals_plain_algorithm(case)
    weight_gradient_equals_plain_algorithm(case, weight_algorithm)


def input_gradient_equals_plain_algorithm(case: ConvCase) -> None:
    weight, grad_output = case.make_weight(), case.make_grad_output(case.layouts[0])
    before = weight.copy(), grad_output.copy()
    gradient = CONV_INPUT[case.rank]
    arguments = (case.input_shape, weight, grad_output)
    expected = gradient(*arguments, **case.parameters, algorithm="reference")
    for isa in runnable_isas():
        fastconv.set_isa(isa)
        result = gradient(*arguments, **case.parameters, algorithm=case.gradient_algorithm)
        exact = case.is_exact(case.out_per_group)
        assert_close(result, expected, exact, f"{case.gradient_algorithm} on {isa}")
    np.testing.assert_array_equal(weight, before[0])
    np.testing.assert_array_equal(grad_output, before[1])


def weight_gradient_equals_plain_algorithm(case: ConvCase, algorithm: str) -> None:
    if algorithm == "winograd" and not case.for_winograd:
        algorithm = "auto"
    if algorithm == "fft" and not (case.for_fft and not (case.exact and case.dtype == "float64")):
        algorithm = "auto"
    positions = case.n * math.prod(case.output_shape[case.channel + 1 :])
    exact = case.exact and not (case.for_winograd and positions >= 576)  # F(3, 4) rounds
    input, grad_output = case.make_input(), case.make_grad_output(case.layouts[1])
    before = input.copy(), grad_output.copy()
    gradient = CONV_WEIGHT[case.rank]
    arguments = (input, case.weight_shape, grad_output)
    expected = gradient(*arguments, **case.parameters, algorithm="reference")
    for isa in runnable_isas():
        fastconv.set_isa(isa)
        assert_close(gradient(*arguments, **case.parameters, algorithm=algorithm), expected, exact, isa)
    np.testing.assert_array_equal(input, before[0])
    np.testing.assert_array_equal(grad_output, before[1])


# ---- input gradient --------------------------------------------------------------------------------


def test_input_gradient_worked_example(isa: str) -> None:
    """Each output hands its gradient to the inputs under its window, times the weight that lies there."""
    weight = np.array([[[1.0, 10.0, 100.0]]])
    gradient = fastconv.grad.conv1d_input((1, 1, 7), weight, np.array([[[1.0, 2.0, 3.0]]]), stride=2)
    np.testing.assert_array_equal(gradient, [[[1.0, 10.0, 102.0, 20.0, 203.0, 30.0, 300.0]]])


@pytest.mark.parametrize("layout", ["C", "channels_last"])
@pytest.mark.parametrize("stride", [2, 3, 5])
def test_inputs_that_no_window_reaches_have_gradient_zero(isa: str, stride: int, layout: str) -> None:
    """Stride beyond the kernel, a remainder behind the last window: exact zeros, no leftovers of memory."""
    shape = (2, 3, 4 * stride + 2, 3 * stride + 3)
    size = [(s - 2) // stride + 1 for s in shape[2:]]
    weight = np.ones((4, 3, 2, 2), np.float32)
    grad_output = lay_out(np.ones((2, 4, *size), np.float32), layout, 1)
    for _ in range(3):  # the allocator hands out memory that the call before has filled
        gradient = fastconv.grad.conv2d_input(shape, weight, grad_output, stride=stride)
        covered = fastconv.grad.conv2d_input(shape, weight, grad_output, stride=stride, algorithm="reference")
        np.testing.assert_array_equal(gradient, covered)
    assert (gradient[:, :, size[0] * stride :] == 0).all()
    assert stride == 2 or (gradient[:, :, 2] == 0).all()


@pytest.mark.parametrize("stride", [(2, 3), (2, 1), (1, 2)])
def test_gaps_between_many_blocks_have_gradient_zero(isa: str, stride: tuple[int, int]) -> None:
    """1x1 kernels, as in the shortcuts of residual networks, on more rows and columns than one task takes."""
    shape = (1, 40, 130, 140)
    size = [(s - 1) // step + 1 for s, step in zip(shape[2:], stride, strict=True)]
    weight, grad_output = np.ones((48, 40, 1, 1), np.float32), np.ones((1, 48, *size), np.float32)
    expected = np.zeros(shape, np.float32)
    expected[:, :, :: stride[0], :: stride[1]] = 48
    for _ in range(2):
        gradient = fastconv.grad.conv2d_input(shape, weight, grad_output, stride=stride)
        np.testing.assert_array_equal(gradient, expected)
        gradient[...] = np.nan  # what the next call may find in its memory
        del gradient


def test_input_gradient_keeps_the_memory_order_of_grad_output() -> None:
    grad_output = lay_out(np.ones((2, 5, 4, 4), np.float32), "channels_last", 1)
    gradient = fastconv.grad.conv2d_input((2, 3, 5, 5), np.ones((5, 3, 2, 2), np.float32), grad_output)
    assert gradient.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("layout", ["C", "channels_last"])
@pytest.mark.parametrize(
    ("channels", "groups", "size", "kernel", "stride", "pads"),
    [
        (3, 1, (6, 7), (3, 2), (1, 1), ((1, 1), (0, 2))),
        (3, 1, (6, 7), (3, 2), (2, 3), ((1, 0), (2, 1))),
        (16, 1, (11, 12), (3, 3), (1, 1), ((1, 1), (1, 1))),  # taken by Winograd
        (3, 3, (7, 41), (3, 3), (1, 1), ((1, 1), (1, 1))),  # depthwise
        (2, 2, (9, 75), (3, 5), (2, 2), ((1, 1), (2, 3))),
    ],
)
def test_non_finite_grad_output_reaches_exactly_the_inputs_under_its_window(
    isa: str,
    channels: int,
    groups: int,
    size: tuple,
    kernel: tuple,
    stride: tuple,
    pads: tuple,
    layout: str,
    value: float,
) -> None:
    spatial = reference.output_size(size, kernel, stride, pads, (1, 1))
    weight = np.ones((channels, channels // groups, *kernel), np.float32)
    under: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for output, _, position in reference.meetings(size, kernel, stride, pads, (1, 1)):
        under.setdefault(output, set()).add(position)
    for output in np.ndindex(*spatial):
        grad_output = np.ones((1, channels, *spatial), np.float32)
        grad_output[(0, 1, *output)] = value
        gradient = fastconv.grad.conv2d_input(
            (1, channels, *size), weight, lay_out(grad_output, layout, 1), stride, pads, groups=groups
        )
        expected = np.zeros((channels, *size), bool)
        for position in under.get(output, ()):
            expected[(slice(1, 2) if groups > 1 else slice(None), *position)] = True
        np.testing.assert_array_equal(~np.isfinite(gradient[0]), expected)


@pytest.mark.parametrize(
    ("stride", "dilation", "taps"), [(2, 3, 3), (3, 2, 4), (2, 1, 3), (4, 3, 5), (3, 3, 2)]
)
def test_depthwise_rows_of_every_parity_get_all_their_taps(
    isa: str, stride: int, dilation: int, taps: int
) -> None:
    """Parities of H differ in how many kernel rows reach them: one, or several that dilation sets apart."""
    generator = np.random.default_rng(0)
    size, kernel = (37, 21), (taps, 3)
    parameters = {"stride": (stride, 1), "padding": 1, "dilation": (dilation, 1)}
    weight = generator.integers(-3, 4, (2, 1, *kernel)).astype(np.float32)
    spatial = reference.output_size(size, kernel, (stride, 1), ((1, 1), (1, 1)), (dilation, 1))
    grad_output = generator.integers(-3, 4, (1, 2, *spatial)).astype(np.float32)
    arguments = {**parameters, "groups": 2}
    # what the workspace held before must not matter
    nothing = np.full((1, 2, 64, 64), np.nan, np.float32)
    fastconv.conv2d(nothing, weight, **arguments, algorithm="depthwise")
    gradient, expected = (
        fastconv.grad.conv2d_input((1, 2, *size), weight, grad_output, **arguments, algorithm=algorithm)
        for algorithm in ("depthwise", "reference")
    )
    np.testing.assert_array_equal(gradient, expected)


CHANNELS_LAST_DEPTHWISE = {
    # name: channels, size, kernel, stride, padding, dilation
    "padded 3x3": (40, (31, 29), (3, 3), (1, 1), 1, (1, 1)),
    "strided": (32, (57, 44), (3, 3), (2, 2), 1, (1, 1)),
    "dilated": (16, (40, 33), (3, 2), (1, 1), 3, (2, 3)),
    "dilated and strided": (16, (90, 61), (3, 3), (3, 2), 2, (2, 1)),
    "no padding": (16, (25, 25), (2, 3), (1, 1), 0, (1, 1)),
    "rows alone": (24, (1200,), (5,), (1,), 2, (1,)),
    "volume": (16, (6, 24, 25), (3, 3, 3), (1, 1, 1), 1, (1, 1, 1)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("case", CHANNELS_LAST_DEPTHWISE.values(), ids=CHANNELS_LAST_DEPTHWISE)
def test_depthwise_channels_are_right_where_they_are_read_in_place(
    isa: str, case: tuple, reverse: bool, dtype: type
) -> None:
    """Planes large enough that only windows at their edges are copied with padding; in both directions."""
    channels, size, kernel, stride, padding, dilation = case
    generator, rank = np.random.default_rng(0), len(size)

    def draw(*shape: int) -> np.ndarray:
        array = generator.integers(-3, 4, shape).astype(dtype)
        array = np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
        return array[..., ::-1] if reverse else array

    parameters = {"stride": stride, "padding": padding, "dilation": dilation, "groups": channels}
    input, weight = draw(2, channels, *size), generator.integers(-3, 4, (channels, 1, *kernel)).astype(dtype)
    output, expected = (
        CONV[rank](input, weight, **parameters, algorithm=name) for name in ("depthwise", "reference")
    )
    np.testing.assert_array_equal(output, expected)
    grad_output = draw(*output.shape)
    gradient, expected = (
        CONV_INPUT[rank](input.shape, weight, grad_output, **parameters, algorithm=name)
        for name in ("depthwise", "reference")
    )
    np.testing.assert_array_equal(gradient, expected)


# ---- weight gradient -------------------------------------------------------------------------------


def test_weight_gradient_worked_example(isa: str) -> None:
    """Each weight collects what it was multiplied with, times the gradient there; the batch is summed."""
    input = np.array([[[1.0, 10.0, 100.0, 1000.0]], [[5.0, 0.0, 0.0, 0.0]]])
    gradient = fastconv.grad.conv1d_weight(input, (1, 1, 2), np.array([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]]))
    np.testing.assert_array_equal(gradient, [[[321.0 + 20.0, 3210.0]]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
@pytest.mark.parametrize("shape", [(7, 5, 3, 3), (63, 3, 3, 3), (31, 2, 5, 11)])
def test_weight_gradient_over_many_pixels(
    isa: str, shape: tuple[int, int, int, int], layout: str, dtype: type
) -> None:
    """Enough pixels to be split into parts, and a last chunk that is not full; exact in small integers."""
    generator = np.random.default_rng(6)
    padding = (1, shape[3] // 2)
    input = lay_out(generator.integers(-2, 3, (3, shape[1], 41, 43)).astype(dtype), layout, 1)
    size = (3, shape[0], 44 - shape[2], 43)
    grad_output = lay_out(generator.integers(-2, 3, size).astype(dtype), layout, 1)
    gradient, expected = (
        fastconv.grad.conv2d_weight(input, shape, grad_output, padding=padding, algorithm=algorithm)
        for algorithm in ("direct", "reference")
    )
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("shape", [(300, 290, 1, 1), (270, 35, 3, 3)])
def test_weight_gradient_of_many_channels(isa: str, shape: tuple[int, ...]) -> None:
    """More rows, and more columns, than one task takes; exact in small integers."""
    generator = np.random.default_rng(7)
    input = generator.integers(-2, 3, (1, shape[1], 6, 5)).astype(np.float32)
    size = (7 - shape[2], 6 - shape[3])
    grad_output = generator.integers(-2, 3, (1, shape[0], *size)).astype(np.float32)
    gradient = fastconv.grad.conv2d_weight(input, shape, grad_output)
    expected = fastconv.grad.conv2d_weight(input, shape, grad_output, algorithm="reference")
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_col2im_reaches_exactly_the_elements_under_a_window(isa: str, value: float) -> None:
    """What is not finite in grad_output spreads to its own window and nowhere else."""
    weight = np.zeros((3, 2, 3, 5), np.float32)
    for position in np.ndindex(6, 7):
        grad_output = np.ones((1, 3, 6, 7), np.float32)
        grad_output[(0, 1, *position)] = value
        gradient = fastconv.grad.conv2d_input((1, 2, 8, 11), weight, grad_output, algorithm="col2im")
        expected = np.zeros((8, 11), bool)
        expected[position[0] : position[0] + 3, position[1] : position[1] + 5] = True
        np.testing.assert_array_equal(~np.isfinite(gradient[0]), np.broadcast_to(expected, (2, 8, 11)))


def test_auto_takes_col2im_where_padding_is_most_of_a_gradient() -> None:
    """LeNet's second layer: half of the products would be with zeros. Algorithms are told by their bits."""
    generator = np.random.default_rng(12)
    weight = generator.standard_normal((16, 6, 5, 5)).astype(np.float32)
    grad_output = generator.standard_normal((2, 16, 10, 10)).astype(np.float32)
    auto, col2im, sliding = (
        fastconv.grad.conv2d_input((2, 6, 14, 14), weight, grad_output, algorithm=algorithm)
        for algorithm in ("auto", "col2im", "sliding")
    )
    np.testing.assert_array_equal(auto, col2im)
    assert (auto != sliding).any()


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_weight_gradient_of_a_broadcast_input(isa: str, axis: int) -> None:
    """Elements that are repeated with stride 0 are as far apart as any: windows with strides skip some."""
    generator = np.random.default_rng(10)
    shape = [2, 3, 10, 13]
    shape[axis] = 1
    input = np.broadcast_to(generator.integers(-3, 4, shape).astype(np.float32), (2, 3, 10, 13))
    weight_shape, parameters = (3, 1, 5, 3), {"stride": 2, "padding": ((0, 1), (1, 0)), "groups": 3}
    grad_output = generator.integers(-3, 4, (2, 3, 4, 6)).astype(np.float32)
    gradient, expected = (
        fastconv.grad.conv2d_weight(x, weight_shape, grad_output, **parameters) for x in (input, input.copy())
    )
    np.testing.assert_array_equal(gradient, expected)


def test_a_large_batch_with_strides() -> None:
    """More images than are taken apart at a time, in every pass; exact in small integers."""
    generator = np.random.default_rng(12)
    input = generator.integers(-2, 3, (5, 3, 900, 900)).astype(np.float32)
    weight = generator.integers(-2, 3, (48, 3, 12, 12)).astype(np.float32)
    parameters = {"stride": 6, "padding": 1}
    output = fastconv.conv2d(input, weight, **parameters, algorithm="winograd")
    np.testing.assert_array_equal(output, fastconv.conv2d(input, weight, **parameters, algorithm="sliding"))
    grad_output = generator.integers(-2, 3, output.shape).astype(np.float32)
    gradient, expected = (
        fastconv.grad.conv2d_input(input.shape, weight, grad_output, **parameters, algorithm=algorithm)
        for algorithm in ("winograd", "sliding")
    )
    np.testing.assert_array_equal(gradient, expected)
    gradient, expected = (
        fastconv.grad.conv2d_weight(input, weight.shape, grad_output, **parameters, algorithm=algorithm)
        for algorithm in ("winograd", "direct")
    )
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_weight_gradient_of_an_empty_batch_is_zero(isa: str) -> None:
    for _ in range(3):  # zeros, not leftovers of memory
        gradient = fastconv.grad.conv2d_weight(np.ones((0, 3, 6, 6)), (4, 3, 3, 3), np.ones((0, 4, 4, 4)))
        np.testing.assert_array_equal(gradient, np.zeros((4, 3, 3, 3)))


def test_input_gradient_of_an_empty_batch_is_empty(isa: str) -> None:
    gradient = fastconv.grad.conv2d_input((0, 3, 6, 6), np.ones((4, 3, 3, 3)), np.ones((0, 4, 4, 4)))
    assert gradient.shape == (0, 3, 6, 6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("algorithm", "channels", "size", "stride"),
    [
        ("auto", (2, 4), (5, 6), (2, 2)),
        ("winograd", (17, 16), (8, 9), (1, 1)),
        ("fft", (3, 2), (8, 9), (1, 1)),
    ],
)
def test_non_finite_input_reaches_exactly_the_weights_that_touch_it(
    isa: str,
    algorithm: str,
    channels: tuple[int, int],
    size: tuple[int, int],
    stride: tuple[int, int],
    value: float,
) -> None:
    """In the corner of a padded picture only some of the taps ever see a pixel."""
    kernel, pads = (3, 3), ((1, 1), (1, 1))
    spatial = reference.output_size(size, kernel, stride, pads, (1, 1))
    grad_output = np.ones((1, channels[1], *spatial), np.float32)
    touching: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for _, tap, position in reference.meetings(size, kernel, stride, pads, (1, 1)):
        touching.setdefault(position, set()).add(tap)
    for position in np.ndindex(*size):
        input = np.ones((1, channels[0], *size), np.float32)
        input[(0, 1, *position)] = value
        gradient = fastconv.grad.conv2d_weight(
            input,
            (channels[1], channels[0], *kernel),
            grad_output,
            stride=stride,
            padding=pads,
            algorithm=algorithm,
        )
        expected = np.zeros((channels[0], *kernel), bool)
        for tap in touching.get(position, ()):
            expected[(1, *tap)] = True
        np.testing.assert_array_equal(~np.isfinite(gradient), np.broadcast_to(expected, gradient.shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize("layout", ["C", "channels_last"])
@pytest.mark.parametrize(
    ("channels", "groups", "size", "kernel", "stride"),
    [
        (3, 3, (9, 21), (3, 3), (1, 1)),  # depthwise: rows of taps
        (4, 1, (7, 19), (2, 3), (2, 1)),  # few channels: zeros between rows meet the value
        (40, 1, (6, 7), (3, 3), (1, 1)),  # many channels
    ],
)
def test_one_wild_input_changes_only_the_weights_that_touch_it(
    isa: str, channels: int, groups: int, size: tuple, kernel: tuple, stride: tuple, layout: str, value: float
) -> None:
    """Infinite, NaN, or finite and overflowing: as the plain loops have it, whatever the way to the sums."""
    shape = (channels, channels // groups, *kernel)
    spatial = [(s + 2 - k) // t + 1 for s, k, t in zip(size, kernel, stride)]
    generator = np.random.default_rng(15)
    grad_output = generator.integers(1, 4, (2, channels, *spatial)).astype(np.float32)
    for position in [(0, 0), (2, size[1] - 1), (size[0] - 1, 4)]:
        input = generator.integers(-3, 4, (2, channels, *size)).astype(np.float32)
        input[(1, 1, *position)] = value
        arguments = (lay_out(input, layout, 1), shape, lay_out(grad_output, layout, 1), stride, 1, 1, groups)
        gradient = fastconv.grad.conv2d_weight(*arguments)
        expected = fastconv.grad.conv2d_weight(*arguments, algorithm="reference")
        np.testing.assert_array_equal(np.isfinite(gradient), np.isfinite(expected))
        tame = abs(expected) < 1e30
        np.testing.assert_array_equal(gradient[tame], expected[tame])


# ---- all three together ----------------------------------------------------------------------------


@given(case=conv_cases())
@examples(200)
def test_gradients_are_adjoint_to_the_forward_pass(case: ConvCase) -> None:
    """<conv(x, w), g> = <x, conv_input(w, g)> = <w, conv_weight(x, g)>: needs no reference."""
    input = case.values(case.input_shape, 0).astype(np.float64)
    weight = case.values(case.weight_shape, 1, 0).astype(np.float64)
    grad_output = case.values(case.output_shape, 2, case.channel).astype(np.float64)
    output = CONV[case.rank](input, weight, **case.parameters)
    grad_input = CONV_INPUT[case.rank](case.input_shape, weight, grad_output, **case.parameters)
    grad_weight = CONV_WEIGHT[case.rank](input, case.weight_shape, grad_output, **case.parameters)
    product = np.vdot(output, grad_output)
    scale = np.vdot(abs(output), abs(grad_output)) + 1
    assert abs(np.vdot(input, grad_input) - product) <= 1e-12 * scale
    assert abs(np.vdot(weight, grad_weight) - product) <= 1e-12 * scale


# ---- bias gradient ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 4, 7), (2, 5, 6, 7), (2, 3, 4, 5, 6), (3, 2, 200, 210)])
def test_bias_gradient_is_the_sum_over_everything_but_channels(
    shape: tuple[int, ...], layout: str, dtype: type
) -> None:
    """In every layout, and as precise over 100,000 elements as the rest."""
    generator = np.random.default_rng(8)
    grad_output = lay_out(generator.uniform(0.5, 1.5, shape).astype(dtype), layout, 1)
    expected = np.moveaxis(grad_output, 1, 0).reshape(shape[1], -1).astype(np.longdouble).sum(axis=1)
    result = fastconv.grad.conv_bias(grad_output)
    assert result.dtype == dtype
    assert_close(result, expected)
    assert_close(
        fastconv.grad.conv_bias(grad_output[0], batched=False), fastconv.grad.conv_bias(grad_output[:1])
    )
