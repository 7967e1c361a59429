"""A training step takes short cuts: none of them may show in what is learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import grad, nn

RNG = np.random.default_rng(7)


def array(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, activation="relu", rng=0),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, activation="leaky_relu", rng=1),
        nn.Flatten(),
        nn.Linear(24, 8, rng=2),
        nn.ReLU(),
        nn.Linear(8, 3, rng=3),
    )


# ---- learn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 3])
def test_learn_is_zero_grad_backprop_and_step(steps: int) -> None:
    """The same bits in gradients and parameters, whatever the gradients held before."""
    nets = small_net(), small_net()
    loss = nn.MSELoss()
    optimizers = [nn.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=0.01) for net in nets]
    for net in nets:
        for parameter in net.parameters():
            parameter.grad.fill(np.nan)
    for _ in range(steps):
        input, target = array(5, 1, 8, 8), array(5, 3)
        optimizers[0].learn(nets[0], loss, input, target)
        optimizers[1].zero_grad()
        prediction, backprop = nets[1].vjp(input)
        backprop(loss.vjp(prediction, target)[1])
        optimizers[1].step()
        for a, b in zip(nets[0].parameters(), nets[1].parameters()):
            assert np.array_equal(a.grad, b.grad)
            assert np.array_equal(a.value, b.value)


def test_a_layer_that_stands_twice_adds_both_gradients() -> None:
    """The first is written to where it belongs, the second must not take its place."""
    layer = nn.Linear(4, 4, rng=0)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    input, target = array(3, 4), array(3, 4)
    optimizer = nn.SGD(net.parameters(), 0.0)
    optimizer.learn(net, nn.MSELoss(), input, target)
    got = layer.weight.grad.copy()
    optimizer.zero_grad()
    prediction, backprop = net.vjp(input)
    backprop(nn.MSELoss().vjp(prediction, target)[1])
    assert np.array_equal(got, layer.weight.grad)


def test_a_parameter_the_net_does_not_use_has_no_gradient() -> None:
    """Nor does it move."""
    net, aside = nn.Linear(4, 2, rng=0), nn.Parameter(np.ones(3, np.float32), "aside")
    view = aside.grad
    view[...] = 5
    nn.SGD([*net.parameters(), aside], 0.1).learn(net, nn.MSELoss(), array(3, 4), array(3, 2))
    assert not view.any()
    assert (aside.value == 1).all()


def test_a_step_that_fails_leaves_no_stale_gradient() -> None:
    """An error on the way back: gradients not reached are zero, not those of the step before."""

    class Broken(nn.Layer):
        def __call__(self, input: np.ndarray) -> np.ndarray:
            return input

        def vjp(self, input: np.ndarray) -> Any:
            def backprop(grad_output: np.ndarray) -> np.ndarray:
                raise RuntimeError("broken")

            return input, backprop

    net = nn.Sequential(nn.Linear(4, 4, rng=0), Broken(), nn.Linear(4, 2, rng=1))
    for parameter in net.parameters():
        parameter.grad.fill(3)
    before = [parameter.value.copy() for parameter in net.parameters()]
    with pytest.raises(RuntimeError, match="broken"):
        nn.SGD(net.parameters(), 0.1).learn(net, nn.MSELoss(), array(3, 4), array(3, 2))
    first, last = net[0], net[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    assert not first.weight.grad.any()
    assert (last.weight.grad != 3).all()
    assert all(np.array_equal(parameter.value, value) for parameter, value in zip(net.parameters(), before))


def test_gradients_seen_on_the_way_back_are_those_of_this_step() -> None:
    """A layer that looks at a gradient before it has been reached sees zeros, not the step before."""
    seen = []

    class Looking(nn.Identity):
        def vjp(self, input: np.ndarray) -> Any:
            def backprop(grad_output: np.ndarray) -> np.ndarray:
                seen.append(first.weight.grad.copy())
                return grad_output

            return input, backprop

    first = nn.Linear(4, 4, rng=0)
    net = nn.Sequential(first, Looking())
    optimizer = nn.SGD(net.parameters(), 0.0)
    for _ in range(2):
        optimizer.learn(net, nn.MSELoss(), array(3, 4), array(3, 4))
        assert not seen[-1].any()
        assert first.weight.grad.any()


# ---- gradients in one pass ---------------------------------------------------------------------------

ACTIVATIONS: dict[str, Any] = {
    "relu": grad.relu_input,
    "leaky_relu": grad.leaky_relu_input,
    "relu6": grad.relu6_input,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_rectifier_gradients_do_not_depend_on_memory_order(name: str, dtype: Any, isa: str) -> None:
    """Side by side, channels-last, transposed or sliced: the same bits, also at 0, 6, NaN and infinity."""
    x, g = 8 * array(3, 5, 7, 6, dtype=dtype), array(3, 5, 7, 6, dtype=dtype)
    x[0, 0, 0] = 0, -0.0, 6, np.nan, np.inf, -np.inf
    g[:, 1, :, 0] = np.inf
    g[:, 2, :, 0] = np.nan

    def last(a: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

    def sliced(a: np.ndarray) -> np.ndarray:
        return np.repeat(a, 2, axis=-1)[..., ::2]

    expected = ACTIVATIONS[name](sliced(x), sliced(g))
    assert np.array_equal(expected[0, 0, 0, 3:4], g[0, 0, 0, 3:4] * (0.01 if name == "leaky_relu" else 1))
    for view in (np.ascontiguousarray, last, np.asfortranarray):
        np.testing.assert_array_equal(ACTIVATIONS[name](view(x), view(g)), expected)
    np.testing.assert_array_equal(ACTIVATIONS[name](last(x), g), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(4, 3, 40, 33), (1, 2, 5, 5), (300, 70), (1, 5), (0, 3, 2, 2), (6, 4, 1, 1)]
)
def test_bias_gradients_in_every_memory_order(shape: tuple[int, ...], dtype: Any, isa: str) -> None:
    """As exact as sums in double, rounded once; and the same at any number of threads."""
    g = array(*shape, dtype=dtype)
    g += 100
    axes = tuple(axis for axis in range(g.ndim) if axis != 1)
    exact = g.sum(axis=axes, dtype=np.longdouble)
    tolerance = 1e-14 + 2 * np.finfo(np.float32).eps * (dtype == np.float32)
    for view in (g, np.asfortranarray(g)):
        np.testing.assert_allclose(grad.conv_bias(view).astype(np.longdouble), exact, rtol=tolerance)
    one = grad.conv_bias(g)
    fastconv.set_num_threads(3)
    assert np.array_equal(grad.conv_bias(g), one)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "relu6", None])
@pytest.mark.parametrize("batched", [True, False])
def test_conv_layers_learn_the_same_in_every_memory_order(activation: str | None, batched: bool) -> None:
    """Bias and weight gradient of a fused activation, beside those computed step by step."""
    layer = nn.Conv2d(3, 5, 3, padding=1, activation=activation, rng=0)
    x, g = array(2, 3, 9, 8), array(2, 5, 9, 8)
    if not batched:
        x, g = x[0], g[0]
    output, backprop = layer.vjp(x)
    in_front = g if activation is None else ACTIVATIONS[activation](output, g)
    for view in (g, np.asfortranarray(g)):
        layer.zero_grad()
        grad_input = backprop(view)
        assert layer.bias is not None
        np.testing.assert_allclose(layer.bias.grad, grad.conv_bias(in_front, batched), rtol=1e-5, atol=1e-5)
        expected = grad.conv2d_weight(x, layer.weight.value.shape, in_front, 1, 1)
        np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-4, atol=1e-4)
        expected = grad.conv2d_input(x.shape, layer.weight.value, in_front, 1, 1)
        np.testing.assert_allclose(grad_input, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="grad_output: shape"):
        backprop(g[..., 1:])
    with pytest.raises(TypeError, match="grad_output: dtype"):
        backprop(g.astype(np.float64))


# ---- fully connected ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 600])
def test_linear_gives_the_same_bits_for_a_row_alone(rows: int) -> None:
    """Forward and back, whatever the number of rows makes of the product; also in arrays of more axes."""
    weight, bias = array(500, 40), array(500)
    x, g = array(rows, 40), array(rows, 500)
    output, grad_input = fastconv.linear(x, weight, bias), grad.linear_input(weight, g)
    for i in (0, rows // 2, rows - 1):
        assert np.array_equal(fastconv.linear(x[i : i + 1], weight, bias)[0], output[i])
        assert np.array_equal(fastconv.linear(x[i], weight, bias), output[i])
        assert np.array_equal(grad.linear_input(weight, g[i : i + 1])[0], grad_input[i])
    strided = np.repeat(x[None], 2, axis=2)[:, :, ::2]
    assert np.array_equal(fastconv.linear(strided, weight, bias)[0], output)
    exact = g.astype(np.float64) @ weight
    np.testing.assert_allclose(grad_input, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 7, 600])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear_weight_gradient_for_any_number_of_rows(rows: int, dtype: Any) -> None:
    """Into a new array or into `out`, whatever its strides."""
    x, g = array(rows, 40, dtype=dtype), array(rows, 500, dtype=dtype)
    exact = g.T.astype(np.float64) @ x
    room = np.zeros((500, 80), dtype)
    for out in (None, np.empty((500, 40), dtype), np.empty((40, 500), dtype).T, room[:, ::2]):
        got = grad.linear_weight(x, g, out=out)
        assert out is None or got is out
        np.testing.assert_allclose(got, exact, rtol=1e-4, atol=1e-4)
    assert not room[:, 1::2].any()
    for wrong, error in ((room, ValueError), (room[:, ::2].astype(">f4"), TypeError), (x, ValueError)):
        with pytest.raises(error, match="out"):
            grad.linear_weight(x, g, out=wrong)


# ---- the step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd_follows_its_formula_at_any_size(options: dict[str, Any], weight_decay: float) -> None:
    """From one element to more than are moved at once, both dtypes in one optimizer, any thread count."""
    shapes = [(1,), (3, 5), (40001,), (2, 33000)]
    values = [array(*shape, dtype=dtype) for shape in shapes for dtype in (np.float32, np.float64)]
    results = []
    for threads in (1, 3):
        fastconv.set_num_threads(threads)
        parameters = [nn.Parameter(value) for value in values]
        optimizer = nn.SGD(parameters, 0.1, weight_decay=weight_decay, **options)
        expected = [value.astype(np.float64) for value in values]
        speed = [np.zeros_like(value) for value in expected]
        generator = np.random.default_rng(1)
        for _ in range(3):
            for i, parameter in enumerate(parameters):
                parameter.grad = generator.standard_normal(parameter.value.shape).astype(
                    parameter.value.dtype
                )
                gradient = parameter.grad + weight_decay * expected[i]
                speed[i] = options.get("momentum", 0) * speed[i] + gradient
                expected[i] -= 0.1 * (gradient + 0.9 * speed[i] if "nesterov" in options else speed[i])
            optimizer.step()
        for parameter, wanted in zip(parameters, expected):
            np.testing.assert_allclose(parameter.value, wanted, rtol=1e-5, atol=1e-5)
        results.append([parameter.value for parameter in parameters])
    assert all(np.array_equal(a, b) for a, b in zip(*results))
