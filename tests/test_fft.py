"""Convolution by FFT: where it is chosen and refused, its precision, and the promises of all algorithms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from conv_cases import rms

import fastconv
from fastconv import grad
from fastconv._kernels.fft import blocks as fft_blocks
from fastconv._kernels.fft.weight_gradient import FftWeightGradientPlan
from fastconv.algorithm import choose, plan
from fastconv.geometry import conv_geometry

#: Input and weight shape, padding, dilation, groups, stride: several blocks, remainders, axes without taps.
GEOMETRIES = {
    "2-D": ((2, 3, 90, 101), (4, 3, 31, 29), (15, 14), 1, 1),
    "depthwise": ((2, 3, 150, 140), (3, 1, 41, 41), 20, 1, 3),
    "grouped, dilated": ((2, 4, 60, 61), (6, 2, 9, 7), ((1, 20), (9, 0)), (2, 3), 2),
    "rows alone": ((2, 2, 33, 700), (3, 2, 1, 65), (0, 32), 1, 1),
    "columns alone": ((2, 2, 300, 5), (3, 2, 65, 1), ((32, 3), (2, 1)), 1, 1),
    "1-D": ((2, 3, 5000), (2, 3, 257), 100, 1, 1),
    "3-D": ((2, 2, 13, 14, 15), (3, 2, 5, 6, 7), (2, 3, 3), 1, 1),
    "strided": ((2, 4, 43, 37), (6, 2, 12, 7), ((1, 20), (9, 0)), 1, 2, (2, 3)),
    "strided and dilated": ((2, 2, 400), (3, 2, 37), ((50, 3),), 6, 1, 4),
    "stride beyond the kernel": ((2, 2, 40, 41), (3, 2, 3, 5), 2, (2, 1), 1, (7, 2)),
    "as large as the picture": ((2, 2, 33, 37), (3, 2, 33, 37), (16, 18), 1, 1),
}

each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)


def passes_of(geometry: tuple) -> tuple:
    """Forward, input gradient and weight gradient of this rank, and the parameters."""
    rank = len(geometry[1]) - 2
    names = ("padding", "dilation", "groups", "stride")
    parameters = dict(zip(names, geometry[2:], strict=False))
    gradients = getattr(grad, f"conv{rank}d_input"), getattr(grad, f"conv{rank}d_weight")
    return getattr(fastconv, f"conv{rank}d"), *gradients, parameters


@each_geometry
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_pass_agrees_with_the_loops(geometry: tuple, dtype: type) -> None:
    """And a float32 result is the exact one, rounded."""
    conv, conv_input, conv_weight, parameters = passes_of(geometry)
    generator = np.random.default_rng(1)
    input, weight = (generator.standard_normal(shape).astype(dtype) for shape in geometry[:2])
    exactly, by_fft = {**parameters, "algorithm": "reference"}, {**parameters, "algorithm": "fft"}
    wide = input.astype(float), weight.astype(float)
    output = conv(input, weight, **by_fft)
    grad_output = output.astype(float)
    bound = 1e-7 if dtype == np.float32 else 1e-14
    for result, exact in (
        (output, conv(*wide, **exactly)),
        (
            conv_input(input.shape, weight, output, **by_fft),
            conv_input(input.shape, wide[1], grad_output, **exactly),
        ),
        (
            conv_weight(input, weight.shape, output, **by_fft),
            conv_weight(wide[0], weight.shape, grad_output, **exactly),
        ),
    ):
        assert result.dtype == dtype
        assert rms(result - exact) <= bound * rms(exact)


@each_geometry
def test_whole_numbers_are_exact_in_float32(geometry: tuple) -> None:
    """Zeros among them: what a transform leaves of a sum of zeros is taken away."""
    conv, conv_input, conv_weight, parameters = passes_of(geometry)
    generator = np.random.default_rng(2)
    input, weight = (generator.integers(-1, 2, shape).astype(np.float32) for shape in geometry[:2])
    output = conv(input, weight, algorithm="reference", **parameters)
    assert (output == 0).any()
    np.testing.assert_array_equal(conv(input, weight, algorithm="fft", **parameters), output)
    grad_output = generator.integers(-1, 2, output.shape).astype(np.float32)
    for gradient, arguments in (
        (conv_input, (input.shape, weight, grad_output)),
        (conv_weight, (input, weight.shape, grad_output)),
    ):
        expected = gradient(*arguments, algorithm="reference", **parameters)
        np.testing.assert_array_equal(gradient(*arguments, algorithm="fft", **parameters), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dilation", [1, 4])
def test_in_the_padding_is_exactly_the_bias(dtype: type, dilation: int) -> None:
    """Windows beyond the picture, or with nothing but gaps on it; and taps that never meet a pixel."""
    generator = np.random.default_rng(3)
    input, weight = generator.standard_normal((2, 2, 3, 9)), generator.standard_normal((3, 2, 5, 7))
    input, weight, bias = (a.astype(dtype) for a in (input, weight, generator.standard_normal(3)))
    how = {"padding": ((40, 2 * dilation), (30, 40)), "dilation": dilation}
    covered = fastconv.conv2d(np.ones_like(input), np.ones_like(weight), algorithm="reference", **how) != 0
    output = fastconv.conv2d(input, weight, bias, algorithm="fft", **how)
    assert not covered.all()
    alone = np.broadcast_to(bias[:, None, None], output.shape)
    np.testing.assert_array_equal(output[~covered], alone[~covered])

    grad_output = generator.standard_normal((2, 3, 3, 7)).astype(dtype)
    how = {"padding": ((5, 0), (0, 0)), "algorithm": "fft"}
    gradient = grad.conv2d_weight(input, (3, 2, 6, 3), grad_output, **how)
    assert (gradient[:, :, :3] == 0).all()
    assert (gradient[:, :, 3:] != 0).all()


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "relu6"])
def test_bias_activation_and_out(activation: str | None) -> None:
    """Written through the strides of `out`, nothing beside it."""
    generator = np.random.default_rng(3)
    input = np.moveaxis(generator.standard_normal((2, 50, 60, 3)), -1, 1)
    weight, bias = generator.standard_normal((4, 3, 11, 11)), generator.standard_normal(4)
    buffer = np.full((2, 4, 80, 50), 7.0)
    expected = fastconv.conv2d(input, weight, bias, activation=activation, algorithm="reference")
    out = fastconv.conv2d(
        input, weight, bias, activation=activation, algorithm="fft", out=buffer[:, ::-1, ::2, :]
    )
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-11)
    assert (buffer[:, :, 1::2] == 7).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_stays_in_its_windows_and_its_image(value: float, dtype: type) -> None:
    generator = np.random.default_rng(4)
    input = generator.standard_normal((3, 2, 40, 50)).astype(dtype)
    weight = generator.standard_normal((3, 2, 9, 9)).astype(dtype)
    clean = fastconv.conv2d(input, weight, padding=4, algorithm="fft")
    input[1, 1, 20, 13] = value
    output = fastconv.conv2d(input, weight, padding=4, algorithm="fft")
    covered = np.zeros(output.shape, bool)
    covered[1, :, 16:25, 9:18] = True
    np.testing.assert_array_equal(~np.isfinite(output), covered)
    np.testing.assert_array_equal(output[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("where", ["source", "kernel", "both"])
@each_geometry
def test_infinities_and_nan_give_what_adding_up_gives(geometry: tuple, where: str) -> None:
    """Signs, infinity times zero, infinities that meet: in every pass what "direct" makes of them."""
    conv, conv_input, conv_weight, parameters = passes_of(geometry)
    generator = np.random.default_rng(4)

    def numbers(shape: tuple, operand: str) -> np.ndarray:
        array = generator.integers(-2, 3, shape).astype(np.float32)
        if where in (operand, "both"):
            places = generator.choice(array.size, min(4, array.size), replace=False)
            array.flat[places] = [np.nan, np.inf, np.inf, -np.inf][: len(places)]
        return array

    def agree(calculate: Callable, *arguments: object, **how: object) -> None:
        result, expected = (calculate(*arguments, algorithm=name, **how) for name in ("fft", "direct"))
        np.testing.assert_array_equal(result, expected)

    input, weight = numbers(geometry[0], "source"), numbers(geometry[1], "kernel")
    ones = np.ones(geometry[0], np.float32), np.ones(geometry[1], np.float32)
    agree(conv, input, weight, **parameters)
    grad_output = numbers(conv(*ones, **parameters).shape, "source")
    agree(conv_input, input.shape, weight, grad_output, **parameters)
    parameters["padding"] = 0  # what an infinite gradient makes of padding is not said
    grad_output = numbers(conv(*ones, **parameters).shape, "kernel")
    agree(conv_weight, input, weight.shape, grad_output, **parameters)


def test_one_nan_does_not_make_a_long_kernel_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor an infinity: the direct algorithms are not asked, in no pass."""

    def refuse(*_: object) -> None:
        raise AssertionError("computed directly")

    monkeypatch.setattr(fastconv._kernels.fft.plan, "DensePlan", refuse)
    monkeypatch.setattr(fastconv._kernels.fft.weight_gradient, "WeightGradientPlan", refuse)
    signal, kernel = np.ones((1, 1, 30_000), np.float32), np.ones((1, 1, 20_000), np.float32)
    signal[0, 0, 29_000], signal[0, 0, 500] = np.nan, -np.inf
    output = fastconv.conv1d(signal, kernel)
    windows = np.arange(10_001)
    expected = np.where(windows <= 500, -np.inf, 20_000)
    expected[windows > 29_000 - 20_000] = np.nan
    np.testing.assert_array_equal(output[0, 0], expected)
    gradient = grad.conv1d_input(signal.shape, kernel, output)
    assert np.isnan(gradient).any()
    assert not np.isnan(gradient).all()
    assert np.isnan(grad.conv1d_weight(signal, kernel.shape, output)).all()


@each_geometry
def test_the_bits_depend_neither_on_threads_nor_on_the_batch(geometry: tuple) -> None:
    conv, conv_input, conv_weight, parameters = passes_of(geometry)
    generator = np.random.default_rng(5)
    input, weight = (generator.standard_normal(shape).astype(np.float32) for shape in geometry[:2])
    fastconv.set_num_threads(1)
    output = conv(input, weight, algorithm="fft", **parameters)
    gradient = conv_input(input.shape, weight, output, algorithm="fft", **parameters)
    fastconv.set_num_threads(3)
    np.testing.assert_array_equal(conv(input, weight, algorithm="fft", **parameters), output)
    alone = conv(input[1], weight, algorithm="fft", **parameters)
    np.testing.assert_array_equal(alone, output[1])
    again = conv_input(input.shape, weight, output, algorithm="fft", **parameters)
    np.testing.assert_array_equal(again, gradient)
    alone = conv_input(input[1].shape, weight, output[1], algorithm="fft", **parameters)
    np.testing.assert_array_equal(alone, gradient[1])
    of_weight = conv_weight(input, weight.shape, output, algorithm="fft", **parameters)
    fastconv.set_num_threads(1)
    again = conv_weight(input, weight.shape, output, algorithm="fft", **parameters)
    np.testing.assert_array_equal(again, of_weight)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that filters, images, blocks and pieces of kernels go round in several parts."""
    monkeypatch.setattr(fft_blocks, "MEMORY_BYTES", 50_000)
    for remembered in (fft_blocks.cut, fft_blocks.cut_of):
        remembered.cache_clear()
    yield
    for remembered in (fft_blocks.cut, fft_blocks.cut_of):
        remembered.cache_clear()


@pytest.mark.usefixtures("little_memory")
@each_geometry
def test_sums_do_not_depend_on_how_they_are_cut(geometry: tuple) -> None:
    """Values, and the bits of an image in any batch."""
    conv, conv_input, conv_weight, parameters = passes_of(geometry)
    generator = np.random.default_rng(6)
    shape = (5, *geometry[0][1:])  # that no other test has a plan for
    input, weight = (generator.standard_normal(size).astype(np.float32) for size in (shape, geometry[1]))
    exactly, by_fft = {**parameters, "algorithm": "direct"}, {**parameters, "algorithm": "fft"}
    output = conv(input, weight, **by_fft)
    wide = [array.astype(float) for array in (input, weight, output)]
    assert rms(output - conv(*wide[:2], **exactly)) <= 1e-7 * rms(output)
    np.testing.assert_array_equal(conv(input[3:], weight, **by_fft)[0], output[3])
    of_input = conv_input(shape, weight, output, **by_fft)
    assert rms(of_input - conv_input(shape, *wide[1:], **exactly)) <= 1e-7 * rms(of_input)
    of_weight = conv_weight(input, weight.shape, output, **by_fft)
    assert rms(of_weight - conv_weight(wide[0], weight.shape, wide[2], **exactly)) <= 1e-7 * rms(of_weight)


def correlate(signal: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Every position of a kernel that lies in a signal: by NumPy, whole."""
    size = len(signal)
    product = np.fft.rfft(signal) * np.conj(np.fft.rfft(kernel, size))
    return np.fft.irfft(product, size)[: size - len(kernel) + 1]


@pytest.mark.parametrize("stride", [1, 4])
def test_a_kernel_as_long_as_a_long_signal(stride: int) -> None:
    """In milliseconds, in all passes: against a transform of the whole, by NumPy."""
    length = 192_000
    generator = np.random.default_rng(7)
    signal, kernel = (generator.standard_normal(length).astype(np.float32) for _ in range(2))
    how = {"padding": length // 2, "stride": stride}
    shape = (1, 1, length)
    info = fastconv.conv_info(shape, shape, **how)
    assert info.algorithm == "fft"
    assert info.packed_weight_bytes + info.workspace_bytes <= 64 * length * 4
    padded = np.pad(signal.astype(float), length // 2)
    output = fastconv.conv1d(signal[None, None], kernel[None, None], **how)
    expected = correlate(padded, kernel)[::stride]
    assert rms(output[0, 0] - expected) <= 1e-7 * rms(expected)

    spread = np.zeros(length + 1)
    spread[::stride] = output[0, 0]
    of_input = grad.conv1d_input(shape, kernel[None, None], output, **how)
    expected = correlate(np.pad(spread, length - 1), kernel[::-1])[length // 2 :][:length]
    assert rms(of_input[0, 0] - expected) <= 1e-7 * rms(expected)

    of_weight = grad.conv1d_weight(signal[None, None], shape, output, **how)
    expected = correlate(padded, spread)
    assert rms(of_weight[0, 0] - expected) <= 1e-7 * rms(expected)


@pytest.mark.parametrize(
    ("input_shape", "weight_shape", "stride"),
    [
        ((1, 1, 4604), (1, 1, 3431), 1),
        ((1, 1, 20_000), (1, 1, 2048), 2),
        ((1, 2, 200, 200), (2, 2, 200, 200), 1),
        ((1, 1, 512, 512), (1, 1, 63, 63), 1),
        ((4, 8, 40, 40, 40), (8, 1, 20, 20, 20), 1),
    ],
)
def test_auto_takes_it_off_the_beaten_track(
    input_shape: tuple[int, ...], weight_shape: tuple[int, ...], stride: int
) -> None:
    """Where it is several times as fast as any other: in every pass."""
    rank = len(input_shape) - 2
    padding = tuple(kernel // 2 for kernel in weight_shape[2:])
    groups = input_shape[1] // weight_shape[1]
    geometry = conv_geometry(input_shape, weight_shape, stride, padding, 1, groups, rank)
    assert {choose(geometry, direction, "highest") for direction in ("forward", "input_gradient")} == {"fft"}
    assert isinstance(plan(geometry, "weight_gradient", "auto", "highest"), FftWeightGradientPlan)


def test_auto_takes_it_for_large_kernels_alone() -> None:
    """Whatever the batch."""

    def chosen(channels: int, size: int, kernel: int, n: int = 1) -> str:
        shapes = (n, channels, size, size), (channels, channels, kernel, kernel)
        return fastconv.conv_info(*shapes, padding=kernel // 2).algorithm

    assert chosen(3, 256, 63) == chosen(3, 256, 63, n=50) == chosen(3, 512, 63) == "fft"
    assert "fft" not in {chosen(4, 56, kernel) for kernel in (1, 3, 5, 7, 11)}


def test_an_empty_batch() -> None:
    """Gives an empty result, and no gradient."""
    input, weight, output = np.ones((0, 2, 9, 9)), np.ones((1, 2, 5, 5)), np.ones((0, 1, 5, 5))
    assert fastconv.conv2d(input, weight, algorithm="fft").shape == output.shape
    assert grad.conv2d_input(input.shape, weight, output, algorithm="fft").shape == input.shape
    gradient = grad.conv2d_weight(input, weight.shape, output, algorithm="fft")
    np.testing.assert_array_equal(gradient, np.zeros_like(weight))


def test_what_it_cannot_serve_is_refused() -> None:
    """In every pass, with the rule that is broken."""
    input, weight, output = np.ones((1, 1, 20, 20)), np.ones((1, 1, 2, 4)), np.ones((1, 1, 19, 17))
    with pytest.raises(ValueError, match=r"algorithm='fft'.*at least 9 taps"):
        fastconv.conv2d(input, weight, algorithm="fft")
    with pytest.raises(ValueError, match=r"algorithm='fft'.*at least 9 taps"):
        grad.conv2d_weight(input, weight.shape, output, algorithm="fft")
    with pytest.raises(ValueError, match=r"algorithm='fft'.*at least 9 taps"):
        grad.conv2d_input(input.shape, weight, output, algorithm="fft")


def test_memory_is_bounded_whatever_the_size() -> None:
    for size, channels, kernel in ((64, 64, 31), (20_000, 1, 31), (3000, 8, 101), (56, 512, 9)):
        shapes = (1, channels, size, size), (channels, channels, kernel, kernel)
        info = fastconv.conv_info(*shapes, algorithm="fft")
        assert info.workspace_bytes <= 8 * 2**20
        assert info.packed_weight_bytes <= 6 * 2**20
