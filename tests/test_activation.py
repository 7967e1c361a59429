"""Activations, forward and gradient: closed forms, kinks, tails, NaN, layouts, bits, memory, bad input."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conv_cases import INPUT_LAYOUTS, lay_out
from reference.activation import CLOSED_FORM, SELU_ALPHA, SELU_SCALE

import fastconv
from fastconv import grad

NAN, INF = math.nan, math.inf

#: name, parameters, and the places where the slope jumps or bends
CASES: list[tuple[str, tuple, tuple[float, ...]]] = [
    ("celu", (), (0,)),
    ("celu", (0.5,), (0,)),
    ("celu", (-2.0,), (0,)),
    ("elu", (), (0,)),
    ("elu", (1.7,), (0,)),
    ("elu", (-1.5,), (0,)),
    ("gelu", (), ()),
    ("gelu", ("tanh",), ()),
    ("hardshrink", (), (-0.5, 0.5)),
    ("hardshrink", (0.0,), (0,)),
    ("hardshrink", (-1.0,), ()),
    ("hardsigmoid", (), (-3, 3)),
    ("hardswish", (), (-3, 3)),
    ("hardtanh", (), (-1, 1)),
    ("hardtanh", (-0.25, INF), (-0.25,)),
    ("hardtanh", (2.0, 2.0), (2,)),
    ("leaky_relu", (), (0,)),
    ("leaky_relu", (-0.5,), (0,)),
    ("leaky_relu", (0.0,), (0,)),
    ("leaky_relu", (1.5,), (0,)),
    ("logsigmoid", (), ()),
    ("mish", (), ()),
    ("relu", (), (0,)),
    ("relu6", (), (0, 6)),
    ("selu", (), (0,)),
    ("sigmoid", (), ()),
    ("silu", (), ()),
    ("softplus", (), ()),
    ("softplus", (1.0, 20.0), (20,)),
    ("softplus", (2.0, 3.0), (1.5,)),
    ("softplus", (-1.0,), ()),
    ("softplus", (0.5, -1.0), (-2,)),
    ("softplus", (1.0, INF), ()),
    ("softshrink", (), (-0.5, 0.5)),
    ("softshrink", (0.0,), (0,)),
    ("softsign", (), (0,)),
    ("tanh", (), ()),
    ("tanhshrink", (), ()),
    ("threshold", (0.5, -7.0), (0.5,)),
    ("threshold", (-1.0, INF), (-1,)),
]
NAMED = [pytest.param(*case, id=f"{case[0]}{case[1] or ''}") for case in CASES]
NAMES = sorted(CLOSED_FORM)


def defaults(name: str) -> tuple:
    """Parameters with which a function can be called at all."""
    return (0.5, -7.0) if name == "threshold" else ()


def forward(name: str) -> Callable[..., np.ndarray]:
    return getattr(fastconv, name)


def gradient(name: str) -> Callable[..., np.ndarray]:
    return getattr(grad, f"{name}_input")


def samples(dtype: Any, count: int = 3000) -> np.ndarray:
    """Values of all sizes: near zero, around the kinks, and far out."""
    generator = np.random.default_rng(7)
    parts = [generator.standard_normal(count) * scale for scale in (1e-3, 1.0, 4.0, 25.0)]
    return np.concatenate([*parts, np.arange(-12, 13) / 2]).astype(dtype)


def test_all_activations_are_covered_and_have_gradients() -> None:
    """Every name in the tables is exported at the top and has `<name>_input` in fastconv.grad."""
    assert {name for name, _, _ in CASES} == set(CLOSED_FORM)
    for name in [*CLOSED_FORM, "prelu"]:
        assert name in fastconv.__all__
        assert f"{name}_input" in grad.__all__


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "parameters", "kinks"), NAMED)
def test_equals_closed_form(name: str, parameters: tuple, kinks: tuple, dtype: Any) -> None:
    """A few units in the last place of the larger of input and output, everywhere."""
    x = samples(dtype)
    result = forward(name)(x, *parameters)
    expected = np.array([CLOSED_FORM[name](v, *parameters) for v in x.tolist()])
    assert result.dtype == dtype
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(result[~finite], expected[~finite])
    size = np.maximum(np.abs(expected), np.abs(x.astype(np.float64)))[finite]
    assert (np.abs(result[finite] - expected[finite]) <= 6 * np.finfo(dtype).eps * size).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "x"),
    [
        ("gelu", -9.0), ("logsigmoid", 60.0), ("mish", -60.0), ("sigmoid", -60.0), ("silu", -60.0),
        ("softplus", -60.0), ("elu", -1e-6), ("celu", -1e-6), ("selu", -1e-6), ("tanh", 1e-6),
    ],
)  # fmt: skip
def test_small_results_keep_their_digits(name: str, x: float, dtype: Any) -> None:
    """Where the exact result is tiny it must not be the rounding error of something large."""
    x = float(dtype(x))
    np.testing.assert_allclose(forward(name)(np.array([x], dtype)), CLOSED_FORM[name](x), rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_far_out_values_give_limits_without_warnings(name: str, dtype: Any) -> None:
    """Nothing overflows on the way: at +-1000, +-1e10 and +-1e30 value and slope are the limits."""
    large = np.array([1e3, 1e10, 1e30], dtype)
    x = np.concatenate([large, -large])
    positive = {
        "hardsigmoid": 1,
        "hardtanh": 1,
        "logsigmoid": 0,
        "relu6": 6,
        "sigmoid": 1,
        "softsign": 1,
        "tanh": 1,
    }
    keep_sign = {"hardshrink", "softshrink", "tanhshrink"}
    negative = {"celu": -1, "elu": -1, "hardtanh": -1, "selu": -SELU_ALPHA * SELU_SCALE, "softsign": -1,
                "tanh": -1, "threshold": -7}  # fmt: skip
    above = np.full(3, positive[name]) if name in positive else large * (SELU_SCALE if name == "selu" else 1)
    below = np.full(3, negative.get(name, 0.0))
    if name in keep_sign or name == "logsigmoid":
        below = -large
    if name == "leaky_relu":
        below = -large * 0.01
    result = forward(name)(x, *defaults(name))
    np.testing.assert_allclose(result, np.concatenate([above, below]), rtol=2e-3, atol=1e-30)
    slope = gradient(name)(x, np.ones_like(x), *defaults(name))
    flat_above = 0 if name in positive else SELU_SCALE if name == "selu" else 1
    flat_below = {"leaky_relu": 0.01}.get(name, float(name in keep_sign or name == "logsigmoid"))
    expected = np.repeat([flat_above, flat_below], 3)
    np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-5)


def test_far_out_slope_of_the_tanh_form_of_gelu() -> None:
    """Its exponent is of third degree and overflows first (torch gives NaN there)."""
    for dtype, large in ((np.float32, 1e30), (np.float64, 1e200)):
        x = np.array([30.0, 1e3, large, -30.0, -1e3, -large], dtype)
        np.testing.assert_array_equal(grad.gelu_input(x, np.ones_like(x), "tanh"), [1, 1, 1, 0, 0, 0])
        np.testing.assert_array_equal(fastconv.gelu(x, "tanh"), np.maximum(x, 0))


def test_no_warning_whatever_the_bit_pattern(recwarn: pytest.WarningsRecorder) -> None:
    """Random bits as floats: every function and gradient stays silent (warnings are errors here)."""
    bits = np.random.default_rng(3).integers(0, 2**32, 20_000, dtype=np.uint32)
    x = bits.view(np.float32)
    for name in NAMES:
        forward(name)(x, *defaults(name))
        gradient(name)(x, x[::-1], *defaults(name))
    assert not recwarn.list


#: outputs at NaN, +inf, -inf: the limits, also where torch multiplies 0 by infinity
AT_LIMITS = {
    "celu": (NAN, INF, -1),
    "elu": (NAN, INF, -1),
    "gelu": (NAN, INF, 0),
    "hardshrink": (NAN, INF, -INF),
    "hardsigmoid": (NAN, 1, 0),
    "hardswish": (NAN, INF, 0),
    "hardtanh": (NAN, 1, -1),
    "leaky_relu": (NAN, INF, -INF),
    "logsigmoid": (NAN, 0, -INF),
    "mish": (NAN, INF, 0),
    "relu": (NAN, INF, 0),
    "relu6": (NAN, 6, 0),
    "selu": (NAN, INF, -SELU_ALPHA * SELU_SCALE),
    "sigmoid": (NAN, 1, 0),
    "silu": (NAN, INF, 0),
    "softplus": (NAN, INF, 0),
    "softshrink": (NAN, INF, -INF),
    "softsign": (NAN, 1, -1),
    "tanh": (NAN, 1, -1),
    "tanhshrink": (NAN, INF, -INF),
    "threshold": (NAN, INF, -7),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_and_infinity_gives_the_limit(name: str, dtype: Any) -> None:
    """NaN is never lost, and a NaN does not touch its neighbours; at an infinity nothing is 0 * infinity."""
    x = np.array([1.0, NAN, INF, -INF, 1.0], dtype)
    result = forward(name)(x, *defaults(name))
    np.testing.assert_allclose(result[1:4], np.array(AT_LIMITS[name], dtype), rtol=1e-6)
    assert result[0] == result[4] == forward(name)(x[:1], *defaults(name))[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinity_gives_the_limit_with_parameters_too(dtype: Any) -> None:
    """The tanh form of gelu, a leaky_relu without a slope, a softplus with one."""
    x = np.array([INF, -INF], dtype)
    np.testing.assert_array_equal(fastconv.gelu(x, "tanh"), [INF, 0])
    np.testing.assert_array_equal(fastconv.leaky_relu(x, 0.0), [INF, 0])
    np.testing.assert_array_equal(fastconv.softplus(x, -2.0), [0, -INF])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_slope_at_infinity_is_its_limit(name: str, dtype: Any) -> None:
    """The slopes at +-1000 already are; smooth functions of torch give NaN at the infinities."""
    parameters = [defaults(name), ("tanh",)] if name == "gelu" else [defaults(name)]
    for settings in parameters:
        far, g = np.array([1000.0, -1000.0], dtype), np.array([2.0, 2.0], dtype)
        at_infinity = gradient(name)(far * dtype(INF), g, *settings)
        np.testing.assert_allclose(at_infinity, gradient(name)(far, g, *settings), rtol=1e-6, atol=1e-5)


def test_softplus_has_a_threshold_only_if_asked() -> None:
    """Above 20 the exponential still counts in float64: 1.9e-9 at 20.1; torch's threshold drops it."""
    x = np.array([20.1, 30.0])
    exact = x + np.log1p(np.exp(-x))
    np.testing.assert_array_equal(fastconv.softplus(x), exact)
    np.testing.assert_array_equal(fastconv.nn.Softplus()(x), exact)
    np.testing.assert_array_equal(fastconv.softplus(x, 1.0, 20.0), x)
    slope = grad.softplus_input(x, np.ones(2))
    np.testing.assert_allclose(1 - slope, np.exp(-x), rtol=0, atol=np.finfo(float).eps)
    np.testing.assert_array_equal(grad.softplus_input(x, np.ones(2), 1.0, 20.0), 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanhshrink_keeps_its_digits_near_zero(dtype: Any) -> None:
    """x - tanh(x) is x^3 / 3 there, not the rounding error of tanh."""
    x = np.array([1e-6, -1e-4, 1e-3], dtype)
    wide = x.astype(np.float64)
    expected = wide**3 * (1 / 3 - wide**2 * (2 / 15 - wide**2 * 17 / 315))
    np.testing.assert_allclose(fastconv.tanhshrink(x), expected, rtol=4 * np.finfo(dtype).eps)


#: where a result is below the normal range of float32, and its float64 value
TINY = [("sigmoid", -100.0), ("silu", -100.0), ("mish", -100.0), ("softplus", -100.0), ("gelu", -13.8),
        ("logsigmoid", 100.0)]  # fmt: skip


@pytest.mark.parametrize(("name", "x"), TINY)
def test_results_below_the_normal_range_are_rounded_not_flushed(name: str, x: float) -> None:
    """Multiples of 1.4e-45, correct to one of them, and so are the slopes."""
    step, x32 = 2.0**-149, float(np.float32(x))
    result = float(forward(name)(np.array([x], np.float32))[0])
    assert abs(result - CLOSED_FORM[name](x32)) <= step
    assert result != 0
    slope = float(gradient(name)(np.array([x], np.float32), np.ones(1, np.float32))[0])
    assert abs(slope - float(gradient(name)(np.array([x32]), np.ones(1))[0])) <= 8 * step


# ---- gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameters", "kinks"), NAMED)
def test_gradient_is_the_central_difference(name: str, parameters: tuple, kinks: tuple) -> None:
    """In float64, at points apart from the kinks; grad_output multiplies it."""
    x = samples(np.float64, 200)
    x = x[np.abs(x) < 30]
    for kink in kinks:
        x = x[np.abs(x - kink) > 1e-3]
    h = 1e-5
    grad_output = np.random.default_rng(1).standard_normal(x.shape)
    function = forward(name)
    upper, lower = function(x + h, *parameters), function(x - h, *parameters)
    with np.errstate(invalid="ignore"):  # threshold's value may be infinite
        difference = np.where(upper == lower, 0.0, (upper - lower) / (2 * h))
    result = gradient(name)(x, grad_output, *parameters)
    np.testing.assert_allclose(result, grad_output * difference, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("name", "parameters", "kinks"), NAMED)
def test_float32_gradient_equals_float64(name: str, parameters: tuple, kinks: tuple) -> None:
    """Same subgradient decisions, and a few units in the last place."""
    x, grad_output = samples(np.float32), samples(np.float32)[::-1]
    result = gradient(name)(x, grad_output, *parameters)
    wide = gradient(name)(x.astype(np.float64), grad_output.astype(np.float64), *parameters)
    assert result.dtype == np.float32
    assert (np.abs(result - wide) <= 2e-6 * (np.abs(grad_output) + np.abs(wide))).all()


@pytest.mark.parametrize(
    ("name", "parameters", "x", "slope"),
    [
        ("relu", (), 0.0, 0),
        ("relu", (), -0.0, 0),
        ("relu6", (), 0.0, 0),
        ("relu6", (), 6.0, 0),
        ("hardtanh", (), -1.0, 0),
        ("hardtanh", (), 1.0, 0),
        ("leaky_relu", (0.25,), 0.0, 0.25),
        ("elu", (1.75,), 0.0, 1.75),
        ("celu", (2.0,), 0.0, 1),
        ("selu", (), 0.0, SELU_ALPHA * SELU_SCALE),
        ("hardsigmoid", (), -3.0, 0),
        ("hardsigmoid", (), 3.0, 0),
        ("hardswish", (), -3.0, 0),
        ("hardswish", (), 3.0, 1),
        ("softshrink", (), 0.5, 0),
        ("softshrink", (), -0.5, 0),
        ("hardshrink", (), 0.5, 0),
        ("hardshrink", (), -0.5, 0),
        ("threshold", (0.5, 9.0), 0.5, 0),
        ("softplus", (1.0, 0.0), 0.0, 0.5),
    ],
)
def test_slope_at_kinks_as_torch(name: str, parameters: tuple, x: float, slope: float) -> None:
    """Checked against torch 2.13 by hand; a trained network depends on them (relu units sit at 0)."""
    for dtype in (np.float32, np.float64):
        result = gradient(name)(np.array([x], dtype), np.array([2.0], dtype), *parameters)
        np.testing.assert_allclose(result, 2 * slope, rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["hardshrink", "hardsigmoid", "hardtanh", "relu", "relu6", "softshrink", "threshold"]
)
def test_flat_parts_swallow_any_grad_output(name: str) -> None:
    """A unit that is off passes nothing back: not 0 * inf = NaN."""
    flat = {"hardshrink": 0.25, "softshrink": 0.25, "hardsigmoid": -4.0, "hardtanh": 2.0}.get(name, -1.0)
    x = np.full(3, flat, np.float32)
    result = gradient(name)(x, np.array([INF, -INF, NAN], np.float32), *defaults(name))
    np.testing.assert_array_equal(result, np.zeros(3))


#: slopes at NaN, where it is not NaN: that of the branch which the comparisons lead to
AT_NAN = {
    "celu": 1.0,
    "elu": 1.0,
    "hardshrink": 1.0,
    "hardsigmoid": 0.0,
    "hardswish": 1.0,
    "hardtanh": 1.0,
    "leaky_relu": 0.01,
    "relu": 1.0,
    "relu6": 1.0,
    "selu": SELU_SCALE,
    "softshrink": 1.0,
    "threshold": 1.0,
}


@pytest.mark.parametrize("name", NAMES)
def test_gradient_at_nan_as_torch(name: str) -> None:
    """NaN is not <= 0, so relu passes the gradient on; smooth functions give NaN."""
    result = gradient(name)(np.array([NAN]), np.array([3.0]), *defaults(name))
    np.testing.assert_allclose(result, 3 * AT_NAN.get(name, NAN))


# ---- arrays ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_any_layout_gives_the_same_bits(name: str, layout: str) -> None:
    """Sliced, reversed, broadcast, read-only ... input and grad_output; neither is changed."""
    generator = np.random.default_rng(5)
    x = lay_out(generator.standard_normal((3, 5, 6, 7)).astype(np.float32), layout, 1)
    other = "F" if layout == "C" else "C"
    g = lay_out(generator.standard_normal(x.shape).astype(np.float32), other, 1)
    before = x.copy(), g.copy()
    plain = np.ascontiguousarray(x)
    np.testing.assert_array_equal(forward(name)(x, *defaults(name)), forward(name)(plain, *defaults(name)))
    expected = gradient(name)(plain, np.ascontiguousarray(g), *defaults(name))
    np.testing.assert_array_equal(gradient(name)(x, g, *defaults(name)), expected)
    np.testing.assert_array_equal(gradient(name)(g, x, *defaults(name)), gradient(name)(
        np.ascontiguousarray(g), plain, *defaults(name)))  # fmt: skip
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(g, before[1])


@pytest.mark.parametrize("name", NAMES)
def test_result_is_a_new_array_in_the_memory_order_of_the_input(name: str) -> None:
    """Channels-last stays channels-last, an array without axes an array; nothing is a view of the input."""
    x = lay_out(np.ones((2, 3, 4, 5), np.float32), "channels_last", 1)
    for result in (forward(name)(x, *defaults(name)), gradient(name)(x, x, *defaults(name))):
        assert result.strides == x.strides
        assert not np.shares_memory(result, x)
    for shape in ((), (0,), (0, 3), (3, 0, 2), (1,)):
        x = np.ones(shape)
        for result in (forward(name)(x, *defaults(name)), gradient(name)(x, x, *defaults(name))):
            assert type(result) is np.ndarray
            assert result.shape == shape


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_bits_of_an_image_do_not_depend_on_its_batch(name: str, dtype: Any) -> None:
    """Alone, in a batch, or at another place of a chunk, for lengths that divide no vector."""
    generator = np.random.default_rng(6)
    batch = (generator.standard_normal((37, 1237)) * 3).astype(dtype)
    g = generator.standard_normal(batch.shape).astype(dtype)
    whole, whole_gradient = forward(name)(batch, *defaults(name)), gradient(name)(batch, g, *defaults(name))
    for image in (0, 13, 36):
        np.testing.assert_array_equal(forward(name)(batch[image], *defaults(name)), whole[image])
        alone = gradient(name)(batch[image], g[image], *defaults(name))
        np.testing.assert_array_equal(alone, whole_gradient[image])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_bits_of_an_element_do_not_depend_on_its_place(name: str, dtype: Any) -> None:
    """At any address and length, in the body of a vector or at a row's end, alone, and strided."""
    generator = np.random.default_rng(16)
    x, g = ((generator.standard_normal(150) * 4).astype(dtype) for _ in range(2))
    whole, slopes = forward(name)(x, *defaults(name)), gradient(name)(x, g, *defaults(name))
    places = [slice(i, i + n) for i, n in ((0, 1), (1, 3), (2, 8), (3, 17), (5, 33), (149, 1))]
    for place in [*places, slice(None, None, 3), slice(None, None, -1), slice(140, 2, -7)]:
        np.testing.assert_array_equal(forward(name)(x[place], *defaults(name)), whole[place])
        np.testing.assert_array_equal(gradient(name)(x[place], g[place], *defaults(name)), slopes[place])


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "relu6"])
def test_agrees_with_the_activation_fused_into_a_convolution(name: str) -> None:
    """Bit for bit, NaN, infinities and signed zeros too."""
    x = np.concatenate([samples(np.float32, 300), np.array([NAN, INF, -INF, 0.0, -0.0, 6.0], np.float32)])
    fused = fastconv.conv1d(x.reshape(1, 1, -1), np.ones((1, 1, 1), np.float32), activation=name)
    plain = fastconv.conv1d(x.reshape(1, 1, -1), np.ones((1, 1, 1), np.float32))
    np.testing.assert_array_equal(fused, forward(name)(plain))


@pytest.mark.parametrize("name", ["gelu", "leaky_relu", "mish", "relu"])
def test_bits_do_not_depend_on_threads(name: str) -> None:
    """Large enough for the compiled passes to be spread over threads."""
    x = np.random.default_rng(8).standard_normal(300_001).astype(np.float32)
    results = []
    for threads in (1, 2, 5):
        fastconv.set_num_threads(threads)
        results.append((forward(name)(x), gradient(name)(x, x)))
    for result in results[1:]:
        np.testing.assert_array_equal(result[0], results[0][0])
        np.testing.assert_array_equal(result[1], results[0][1])


@pytest.mark.parametrize("name", NAMES)
def test_extra_memory_is_bounded(name: str) -> None:
    """Besides the result a call keeps a few chunks, not copies of the batch (16 MiB here)."""
    x = np.ones((64, 65536), np.float32)
    y = forward(name)(x, *defaults(name))
    for call in (
        lambda: forward(name)(x, *defaults(name)),
        lambda: gradient(name)(y, x, *defaults(name)),
    ):
        tracemalloc.start()
        call()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak <= x.nbytes + 2**20


# ---- bad input ---------------------------------------------------------------------------------------

F32, F64 = np.ones((2, 3), np.float32), np.ones((2, 3))
BAD_ARRAYS = [
    [1.0, 2.0],
    3.0,
    None,
    "x",
    np.ma.masked_array(np.ones(3)),
    *(np.ones(3, dtype) for dtype in (int, complex, np.float16, ">f4")),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "bad", BAD_ARRAYS, ids=lambda bad: f"{type(bad).__name__} {getattr(bad, 'dtype', '')}"
)
def test_refuses_what_is_no_float_array(name: str, bad: Any) -> None:
    """TypeError naming the argument, in every place that takes an array."""
    with pytest.raises(TypeError, match=r"^input: "):
        forward(name)(bad, *defaults(name))
    with pytest.raises(TypeError, match=r"^input: "):
        gradient(name)(bad, F32, *defaults(name))
    with pytest.raises(TypeError, match=r"^grad_output: "):
        gradient(name)(F32, bad, *defaults(name))


@pytest.mark.parametrize("name", NAMES)
def test_refuses_a_grad_output_that_does_not_fit(name: str) -> None:
    """Same shape (no broadcasting) and same dtype."""
    with pytest.raises(ValueError, match=r"^grad_output: shape \(3,\) must be \(2, 3\)"):
        gradient(name)(F32, F32[0], *defaults(name))
    with pytest.raises(TypeError, match=r"^grad_output: dtype float64 does not match"):
        gradient(name)(F32, F64, *defaults(name))


#: name, bad parameters, error, start of its message
BAD_PARAMETERS = [
    ("leaky_relu", (NAN,), ValueError, r"negative_slope=nan: must be finite"),
    ("leaky_relu", (INF,), ValueError, r"negative_slope=inf: must be finite"),
    ("leaky_relu", ("a",), TypeError, r"negative_slope='a': must be a number"),
    ("leaky_relu", (True,), TypeError, r"negative_slope=True: must be a number"),
    ("leaky_relu", (10**400,), ValueError, r"negative_slope=10+: must fit a float"),
    ("elu", (None,), TypeError, r"alpha=None: must be a number"),
    ("celu", (0.0,), ValueError, r"alpha=0\.0: must not be zero"),
    ("celu", (NAN,), ValueError, r"alpha=nan: must be finite"),
    ("gelu", ("erf",), ValueError, r"approximate='erf': must be 'none' or 'tanh'"),
    ("gelu", (None,), ValueError, r"approximate=None: must be"),
    ("hardtanh", (1.0, -1.0), ValueError, r"min_val=1\.0: must be at most max_val=-1\.0"),
    ("hardtanh", (NAN, 1.0), ValueError, r"min_val=nan: must not be NaN"),
    ("hardtanh", (0.0, NAN), ValueError, r"max_val=nan: must not be NaN"),
    ("hardtanh", (0.0, [1.0]), TypeError, r"max_val=\[1\.0\]: must be a number"),
    ("softplus", (0.0,), ValueError, r"beta=0\.0: must not be zero"),
    ("softplus", (1.0, NAN), ValueError, r"threshold=nan: must not be NaN"),
    ("softshrink", (-1.0,), ValueError, r"lambd=-1\.0: must be at least 0"),
    ("softshrink", (INF,), ValueError, r"lambd=inf: must be finite"),
    ("hardshrink", (NAN,), ValueError, r"lambd=nan: must be finite"),
    ("threshold", (NAN, 0.0), ValueError, r"threshold=nan: must not be NaN"),
    ("threshold", (0.0, None), TypeError, r"value=None: must be a number"),
]


@pytest.mark.parametrize(("name", "parameters", "error", "message"), BAD_PARAMETERS)
def test_refuses_bad_parameters(name: str, parameters: tuple, error: type, message: str) -> None:
    """The message starts with argument and value and says the rule; forward and gradient agree."""
    with pytest.raises(error, match=f"^{message}"):
        forward(name)(F32, *parameters)
    with pytest.raises(error, match=f"^{message}"):
        gradient(name)(F32, F32, *parameters)
