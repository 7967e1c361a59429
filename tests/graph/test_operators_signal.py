"""Recurrent, quantised, resampling and signal operators: rules that onnx's own cases do not show."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.graph import Graph, Node, Value
from fastconv.graph.operators import OPERATORS

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def run(operator, *arrays, outputs=1, constant=(), **attributes):
    """The outputs of one node; inputs whose places are in `constant` are known beforehand."""
    values, given = [], []
    for i, array in enumerate(arrays):
        if array is None or i in constant:
            values.append(None if array is None else Value.of(array))
        else:
            values.append(Value(f"in{i}", array.dtype, array.shape))
            given.append(array)
    made = [Value(f"out{i}") for i in range(outputs)]
    graph = Graph(
        [value for value in values if value and value.constant is None],
        [Node(operator, values, made, attributes)],
        made,
    )
    found = graph.run(given)
    return found[0] if outputs == 1 else found


# ---- recurrent


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_constant_weights_give_what_weights_of_the_moment_give(kind, gates):
    x, w, r, b = floats(5, 3, 4), floats(2, gates * 6, 4), floats(2, gates * 6, 6), floats(2, 2 * gates * 6)
    told = {"direction": "bidirectional", "outputs": 2}
    for now, kept in zip(run(kind, x, w, r, b, **told), run(kind, x, w, r, b, constant=(1, 2, 3), **told)):
        np.testing.assert_array_equal(now, kept)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_a_shorter_sequence_is_as_it_is_alone(kind, direction):
    gates = {"LSTM": 4, "GRU": 3}[kind]
    x, w, r = floats(5, 2, 4), floats(1, gates * 3, 4), floats(1, gates * 3, 3)
    lengths = np.array([5, 3], np.int32)
    y, last = run(kind, x, w, r, None, lengths, outputs=2, direction=direction)
    alone, last_alone = run(kind, x[:3, 1:], w, r, outputs=2, direction=direction)
    np.testing.assert_allclose(y[:3, :, 1:], alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last[:, 1:], last_alone, rtol=1e-5, atol=1e-6)
    assert not y[3:, :, 1].any()


def test_parameters_of_activations_go_to_those_that_have_one():
    x, w, r = floats(2, 1, 2), floats(2, 3, 2), floats(2, 3, 3)
    told = {"direction": "bidirectional", "activations": ("Tanh", "leakyrelu")}
    given = run("RNN", x, w, r, outputs=1, activation_alpha=(0.5,), **told)
    forward = run("RNN", x, w[:1], r[:1])
    backward = run(
        "RNN", x, w[1:], r[1:], direction="reverse", activations=("LeakyRelu",), activation_alpha=(0.5,)
    )
    np.testing.assert_allclose(given, np.concatenate([forward, backward], 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("Relu", lambda x: np.maximum(x, 0)),
        ("Tanh", np.tanh),
        ("Sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("Affine", lambda x: 0.3 * x + 0.6),
        ("LeakyRelu", lambda x: np.where(x < 0, 0.3 * x, x)),
        ("ThresholdedRelu", lambda x: np.where(x >= 0.3, x, 0)),
        ("ScaledTanh", lambda x: 0.3 * np.tanh(0.6 * x)),
        ("HardSigmoid", lambda x: np.clip(0.3 * x + 0.6, 0, 1)),
        ("Elu", lambda x: np.where(x < 0, 0.3 * np.expm1(x), x)),
        ("Softsign", lambda x: x / (1 + np.abs(x))),
        ("Softplus", lambda x: np.log1p(np.exp(x))),
    ],
)
def test_activations_of_cells(name, function):
    x, w, r = 3 * floats(1, 4, 2), floats(1, 3, 2), floats(1, 3, 3)
    y = run("RNN", x, w, r, activations=(name,), activation_alpha=(0.3,), activation_beta=(0.6,))
    np.testing.assert_allclose(y[0, 0], function(x[0] @ w[0].T), rtol=1e-4, atol=1e-6)


def test_half_precision_is_computed_in_single():
    x, w, r = floats(4, 1, 3), floats(1, 8, 3), floats(1, 8, 2)
    half = [each.astype(np.float16) for each in (x, w, r)]
    y = run("LSTM", *half)
    assert y.dtype == np.float16
    np.testing.assert_array_equal(
        y, run("LSTM", *[each.astype(np.float32) for each in half]).astype(np.float16)
    )


@pytest.mark.parametrize(
    ("attributes", "match"),
    [
        ({"direction": "up"}, "direction='up'"),
        ({"hidden_size": 5}, "hidden_size=5"),
        ({"activations": ("Tan",)}, "Tan"),
    ],
)
def test_wrong_options_are_named(attributes, match):
    with pytest.raises(ValueError, match=match):
        run("RNN", floats(2, 1, 2), floats(1, 3, 2), floats(1, 3, 3), **attributes)


# ---- quantised


@pytest.mark.parametrize("depth", [8, 1000])
def test_sums_of_integers_are_exact_on_both_sides_of_float32(depth):
    a = np.full((3, depth), 255, np.uint8)
    b = RNG.integers(-128, 128, (depth, 4)).astype(np.int8)
    b[:, 0] = 127
    wanted = a.astype(np.int64) @ (b.astype(np.int64) - 3)
    zero = np.array(3, np.int8)
    for constant in ((), (1, 2, 3)):
        got = run("MatMulInteger", a, b, np.array(0, np.uint8), zero, constant=constant)
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, wanted)


def test_around_a_quantised_image_lies_its_zero_point():
    x = np.full((1, 1, 3, 3), 7, np.uint8)
    w = np.ones((1, 1, 3, 3), np.uint8)
    got = run("ConvInteger", x, w, np.array(7, np.uint8), constant=(1,), pads=(1, 1, 1, 1))
    assert not got.any()


def test_per_channel_zero_points_of_a_weight():
    x, w = (
        RNG.integers(0, 256, (2, 3, 5, 5)).astype(np.uint8),
        RNG.integers(0, 256, (4, 3, 2, 2)).astype(np.uint8),
    )
    zeros = RNG.integers(0, 256, 4).astype(np.uint8)
    got = run("ConvInteger", x, w, np.array(9, np.uint8), zeros)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64) - 9, (2, 2), (2, 3))
    wanted = np.einsum("nchwij,kcij->nkhw", windows, w.astype(np.int64) - zeros.reshape(-1, 1, 1, 1))
    np.testing.assert_array_equal(got, wanted)


def test_halves_go_to_the_even_neighbour_and_ends_hold():
    x = np.array([0.5, 1.5, 2.5, -0.5, 1e9, -1e9, np.inf], np.float32)
    got = run("QuantizeLinear", x, np.array(1, np.float32), np.array(0, np.int8))
    assert got.tolist() == [0, 2, 2, 0, 127, -128, 127]


def test_nothing_but_zeros_has_a_scale():
    y, scale, zero = run("DynamicQuantizeLinear", np.zeros(3, np.float32), outputs=3)
    assert not y.any()
    assert scale > 0
    assert zero == 0


@pytest.mark.parametrize("scale", [np.ones(3, np.float32), np.ones((2, 3), np.float32)])
def test_scales_that_do_not_fit_are_named(scale):
    with pytest.raises(ValueError, match="scale"):
        run("DequantizeLinear", np.zeros((2, 4), np.int8), scale, axis=1)


# ---- resampling


@pytest.mark.parametrize("scale", [(1, 1, 2, 3), (1, 1, 3, 1), (1, 1, 1.5, 0.5)])
def test_the_kernel_of_nearest_neighbours_agrees_with_the_definition(scale):
    x, scales = floats(2, 3, 4, 5), np.array(scale, np.float32)
    told = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    wanted = OPERATORS["Resize"].compute(x, None, scales, **told)
    np.testing.assert_array_equal(run("Resize", x, None, scales, constant=(2,), **told), wanted)
    np.testing.assert_array_equal(run("Resize", x, None, scales, **told), wanted)


def test_a_scale_that_float32_rounds_still_finds_its_neighbour():
    x = np.arange(3, dtype=np.float32)
    got = run(
        "Resize",
        x,
        None,
        np.array([4 / 3], np.float32),
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    assert got.tolist() == [0, 0, 1, 2]


def test_integers_are_rounded_and_held():
    x = np.array([[0, 255]], np.uint8)
    got = run("Resize", x, None, None, np.array([1, 7]), mode="cubic")
    assert got.dtype == np.uint8
    assert got[0, 0] == 0
    assert got[0, -1] == 255


@pytest.mark.parametrize("dtype", [object, bool, np.int64])
def test_nearest_neighbours_of_anything(dtype):
    x = np.array([["a", "b", "c"]], object) if dtype is object else np.array([[0, 1, 1]], dtype)
    got = run("Resize", x, None, np.array([1, 2], np.float32), coordinate_transformation_mode="asymmetric")
    np.testing.assert_array_equal(got, x[:, [0, 0, 1, 1, 2, 2]])


@pytest.mark.parametrize(
    ("scales", "sizes"),
    [
        (np.array([-1, 1], np.float32), None),
        (np.array([np.nan, 1], np.float32), None),
        (None, np.array([1])),
        (None, None),
    ],
)
def test_sizes_that_are_none(scales, sizes):
    with pytest.raises(ValueError, match=r"scales|sizes"):
        run("Resize", floats(2, 2), None, scales, sizes)


def test_a_result_that_cannot_exist_is_refused():
    with pytest.raises((MemoryError, ValueError)):
        run("Resize", floats(2, 2), None, None, np.array([2**40, 2**40]))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_points_that_are_no_numbers_or_far_away_are_outside(mode, padding):
    grid = np.array([np.nan, np.inf, -np.inf, 3e38], np.float32).repeat(2).reshape(1, 1, 4, 2)
    assert run("GridSample", floats(1, 2, 3, 3), grid, mode=mode, padding_mode=padding).shape == (1, 2, 1, 4)


@pytest.mark.parametrize("batch", [-1, 2])
def test_a_region_of_no_image(batch):
    with pytest.raises(ValueError, match="batch_indices"):
        run("RoiAlign", floats(2, 1, 4, 4), np.zeros((1, 4), np.float32), np.array([batch]))


def test_offsets_of_zero_make_a_plain_convolution():
    x, w = floats(1, 4, 6, 6), floats(2, 2, 3, 3)
    got = run("DeformConv", x, w, np.zeros((1, 18, 4, 4), np.float32), group=2)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3)).reshape(1, 2, 2, 4, 4, 3, 3)
    wanted = np.einsum("ngchwij,gkcij->ngkhw", windows, w.reshape(2, 1, 2, 3, 3)).reshape(1, 2, 4, 4)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


# ---- signals


@pytest.mark.parametrize("length", [7, 8])
def test_a_spectrum_of_one_side_comes_back(length):
    x = floats(2, length, 1)
    spectrum = run("DFT", x, onesided=1)
    assert spectrum.shape == (2, length // 2 + 1, 2)
    back = run("DFT", spectrum, np.array(length), constant=(1,), onesided=1, inverse=1)
    np.testing.assert_allclose(back, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [2, -1, 5])
def test_the_axis_of_the_parts_is_no_axis_of_a_transform(axis):
    with pytest.raises(ValueError, match=f"axis={axis}"):
        run("DFT", floats(2, 4, 2), None, np.array(axis))


def test_frames_are_those_of_the_signal():
    x, window = floats(1, 20, 1), RNG.random(6).astype(np.float32)
    got = run("STFT", x, np.array(4), window, constant=(1,))
    frames = np.stack([x[0, i : i + 6, 0] * window for i in (0, 4, 8, 12)])
    np.testing.assert_allclose(
        got[0, :, :, 0] + 1j * got[0, :, :, 1], np.fft.rfft(frames), rtol=1e-4, atol=1e-5
    )


def test_bytes_that_are_no_picture_give_an_empty_one():
    pytest.importorskip("PIL")
    assert run("ImageDecoder", np.arange(20, dtype=np.uint8)).shape == (0, 0, 3)
