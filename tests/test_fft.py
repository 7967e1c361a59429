"""Convolution by FFT: where it is chosen and refused, its precision, and the promises of all algorithms."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import rms

import fastconv
from fastconv import grad

#: Input shape, weight shape, padding, dilation, groups: several blocks, remainders, axes without taps.
GEOMETRIES = {
    "2-D": ((2, 3, 90, 101), (4, 3, 31, 29), (15, 14), 1, 1),
    "depthwise": ((2, 3, 150, 140), (3, 1, 41, 41), 20, 1, 3),
    "grouped, dilated": ((2, 4, 60, 61), (6, 2, 9, 7), ((1, 20), (9, 0)), (2, 3), 2),
    "rows alone": ((2, 2, 33, 700), (3, 2, 1, 65), (0, 32), 1, 1),
    "columns alone": ((2, 2, 300, 5), (3, 2, 65, 1), ((32, 3), (2, 1)), 1, 1),
    "1-D": ((2, 3, 5000), (2, 3, 257), 100, 1, 1),
    "3-D": ((2, 2, 13, 14, 15), (3, 2, 5, 6, 7), (2, 3, 3), 1, 1),
}

each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)


def passes_of(geometry: tuple) -> tuple:
    """Forward, input gradient and weight gradient of this rank, and the parameters."""
    rank = len(geometry[1]) - 2
    parameters = dict(zip(("padding", "dilation", "groups"), geometry[2:], strict=True))
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
    weight[1, 0, 2, 3] = value
    np.testing.assert_array_equal(
        fastconv.conv2d(input, weight, padding=4, algorithm="fft"),
        fastconv.conv2d(input, weight, padding=4, algorithm="direct"),
    )


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


def test_auto_takes_it_for_large_kernels_alone() -> None:
    """Whatever the batch."""

    def chosen(channels: int, size: int, kernel: int, n: int = 1) -> str:
        shapes = (n, channels, size, size), (channels, channels, kernel, kernel)
        return fastconv.conv_info(*shapes, padding=kernel // 2).algorithm

    assert chosen(3, 256, 63) == chosen(3, 256, 63, n=50) == chosen(3, 512, 63) == "fft"
    assert "fft" not in {chosen(4, 56, kernel) for kernel in (1, 3, 5, 7, 11, 15)}


def test_an_empty_batch() -> None:
    """Gives an empty result, and no gradient."""
    input, weight, output = np.ones((0, 2, 9, 9)), np.ones((1, 2, 5, 5)), np.ones((0, 1, 5, 5))
    assert fastconv.conv2d(input, weight, algorithm="fft").shape == output.shape
    assert grad.conv2d_input(input.shape, weight, output, algorithm="fft").shape == input.shape
    gradient = grad.conv2d_weight(input, weight.shape, output, algorithm="fft")
    np.testing.assert_array_equal(gradient, np.zeros_like(weight))


@pytest.mark.parametrize(
    ("input_shape", "kernel", "stride", "rule"),
    [
        ((1, 1, 20, 20), (2, 2), 1, "at least 9 taps"),
        ((1, 1, 20, 20), (5, 5), 2, "stride 1"),
        ((1, 900, 200, 200), (100, 100), 1, "more than 6 MiB"),
    ],
)
def test_what_it_cannot_serve_is_refused(
    input_shape: tuple[int, ...], kernel: tuple[int, int], stride: int, rule: str
) -> None:
    """In every pass, with the rule that is broken."""
    input = np.broadcast_to(np.float32(0), input_shape)
    weight = np.broadcast_to(np.float32(0), (1, input_shape[1], *kernel))
    size = [(axis - k) // stride + 1 for axis, k in zip(input_shape[2:], kernel, strict=True)]
    output = np.broadcast_to(np.float32(0), (1, 1, *size))
    with pytest.raises(ValueError, match=rf"algorithm='fft'.*{rule}"):
        fastconv.conv2d(input, weight, stride=stride, algorithm="fft")
    with pytest.raises(ValueError, match=rf"algorithm='fft'.*{rule}"):
        grad.conv2d_weight(input, weight.shape, output, stride, algorithm="fft")
    weight = weight.swapaxes(0, 1)
    size = [(axis - 1) * stride + k for axis, k in zip(input_shape[2:], kernel, strict=True)]
    with pytest.raises(ValueError, match=rf"algorithm='fft'.*{rule}"):
        grad.conv2d_input((1, 1, *size), weight, input, stride, algorithm="fft")


def test_memory_is_bounded_whatever_the_size() -> None:
    for size, channels, kernel in ((64, 64, 31), (20_000, 1, 31), (3000, 8, 101), (56, 512, 9)):
        shapes = (1, channels, size, size), (channels, channels, kernel, kernel)
        info = fastconv.conv_info(*shapes, algorithm="fft")
        assert info.workspace_bytes <= 8 * 2**20
        assert info.packed_weight_bytes <= 6 * 2**20
