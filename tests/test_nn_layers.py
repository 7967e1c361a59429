"""Layers: each is its function, its gradients are right, and it is nothing but a function with parameters."""

from __future__ import annotations

import copy
import pickle
import threading
import tracemalloc

import numpy as np
import pytest
from nn_cases import LAYERS, OF_INTEGERS, OF_TWO_ARRAYS, SEED, LayerCase, rng, small_net, unpooled

import fastconv
from fastconv import nn


def by_name(cases: list[LayerCase]) -> object:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def test_every_layer_is_in_the_list() -> None:
    """A layer that is added without a case here is not tested."""
    listed = {type(case.make()).__name__ for case in LAYERS} | set(OF_TWO_ARRAYS) | OF_INTEGERS
    assert set(nn.layers.__all__) - listed == {"Layer"}


def test_every_function_has_a_layer() -> None:
    """What can be computed can stand in a net: max_pool2d is MaxPool2d, batch_norm is BatchNorm1d to 3d."""
    layers = [name.lower() for name in nn.layers.__all__]
    names = set(fastconv.functional.__all__) - {"conv_info", "pack_weight", "PackedConv"}
    assert [
        name for name in names if not any(layer.startswith(name.replace("_", "")) for layer in layers)
    ] == []


@by_name(LAYERS)
def test_gradients(case: LayerCase) -> None:
    """Backprop equals central differences, for the input and every parameter."""
    report = nn.gradcheck(case.make(), np.random.default_rng(1).standard_normal(case.shape), limit=60)
    assert report, str(report)
    assert len(report.kinks) < report.checked / 4, str(report)


@by_name(LAYERS)
def test_training_and_inference_agree_where_they_must(case: LayerCase) -> None:
    """`vjp` computes what a call computes, but for dropout and batch norm, and leaves the input alone."""
    layer, x = case.make(), rng().standard_normal(case.shape)
    before = x.copy()
    x.flags.writeable = False
    plain, (trained, backprop) = layer(x), layer.vjp(x)
    if not isinstance(layer, (nn.Dropout, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
        np.testing.assert_array_equal(plain, trained)
    grad_output = np.ones(trained.shape)
    grad_output.flags.writeable = False
    gradient = backprop(grad_output)
    assert gradient.shape == x.shape
    assert plain.dtype == trained.dtype == gradient.dtype == np.float64
    np.testing.assert_array_equal(x, before)


@by_name(LAYERS)
def test_float32_stays_float32(case: LayerCase) -> None:
    layer = case.make().astype(np.float32)
    x = rng().standard_normal(case.shape).astype(np.float32)
    output, backprop = layer.vjp(x)
    assert layer(x).dtype == output.dtype == backprop(np.ones_like(output)).dtype == np.float32
    assert all(parameter.grad.dtype == np.float32 for parameter in layer.parameters())


@by_name(LAYERS)
def test_output_shape_is_told_without_computing(case: LayerCase) -> None:
    layer = case.make()
    assert layer.output_shape(case.shape) == layer(np.zeros(case.shape)).shape
    assert layer.flops(case.shape) >= 0


@by_name(LAYERS)
def test_backprop_adds_and_may_be_called_again(case: LayerCase) -> None:
    """Gradients are added to what is there; the closure keeps all it needs."""
    layer, x = case.make(), rng().standard_normal(case.shape)
    output, backprop = layer.vjp(x)
    first = backprop(np.ones(output.shape))
    once = [parameter.grad.copy() for parameter in layer.parameters()]
    np.testing.assert_array_equal(backprop(np.ones(output.shape)), first)
    for parameter, grad in zip(layer.parameters(), once):
        np.testing.assert_allclose(parameter.grad, 2 * grad, rtol=1e-14)
    layer.zero_grad()
    assert not any(parameter.grad.any() for parameter in layer.parameters())


@by_name(LAYERS)
def test_vjp_parameters_gives_the_same_parameter_gradients(case: LayerCase) -> None:
    """Leaving out the gradient of the data changes nothing else."""
    full, short = case.make(), case.make()
    x = rng().standard_normal(case.shape)
    output, backprop = full.vjp(x)
    weights = rng().standard_normal(output.shape)
    backprop(weights)
    output_short, backprop_short = short.vjp_parameters(x)
    backprop_short(weights)
    np.testing.assert_array_equal(output, output_short)
    for a, b in zip(full.parameters(), short.parameters()):
        np.testing.assert_array_equal(a.grad, b.grad)


@by_name(LAYERS)
def test_repr_shows_the_arguments(case: LayerCase) -> None:
    """What repr prints makes the same layer again."""
    layer = case.make()
    names = {**vars(nn), "float32": np.float32, "float64": np.float64}
    assert repr(eval(repr(layer), names)) == repr(layer)


@by_name(LAYERS)
def test_layers_do_not_change(case: LayerCase) -> None:
    layer = case.make()
    for name in vars(layer):
        with pytest.raises(AttributeError, match="does not change"):
            setattr(layer, name, None)
        with pytest.raises(AttributeError, match="does not change"):
            delattr(layer, name)


@by_name(LAYERS)
def test_copies_are_independent(case: LayerCase) -> None:
    """Copied and pickled layers compute the same, and do not share parameters."""
    layer, x = case.make(), rng().standard_normal(case.shape)
    expected = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(x), expected)
        for parameter in twin.parameters():
            parameter.value += 1
    np.testing.assert_array_equal(layer(x), expected)


def test_repr_in_words() -> None:
    assert repr(nn.Conv2d(1, 3, [3, 5], padding=((1, 0), 2), activation="relu", rng=0)) == (
        "Conv2d(in_channels=1, out_channels=3, kernel_size=(3, 5), padding=((1, 0), 2), activation='relu')"
    )
    assert repr(nn.Sequential(nn.ReLU(), nn.Dropout(0.25))) == "Sequential(ReLU(), Dropout(p=0.25))"
    assert repr(nn.Linear(2, 3, bias=False, dtype="float64")) == (
        "Linear(in_features=2, out_features=3, bias=False, dtype=float64)"
    )
    assert repr(nn.Concat(nn.Identity(), dim=2)) == "Concat(Identity(), dim=2)"


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (
            nn.Conv2d(2, 4, 3, 2, 1, 1, 2, rng=0, dtype=np.float64),
            lambda x, w, b: fastconv.conv2d(x, w, b, 2, 1, 1, 2),
        ),
        (
            nn.ConvTranspose2d(2, 4, 3, 2, 1, 1, 2, rng=0, dtype=np.float64),
            lambda x, w, b: fastconv.conv_transpose2d(x, w, b, 2, 1, 1, 2),
        ),
    ],
    ids=["conv", "conv_transpose"],
)
def test_arguments_reach_the_function_in_torch_order(layer, function) -> None:
    """Positional arguments of a layer mean what they mean in torch."""
    x = rng().standard_normal((2, 2, 5, 5))
    layer.bias.value = rng().standard_normal(4)
    np.testing.assert_array_equal(layer(x), function(x, layer.weight.value, layer.bias.value))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "relu6"])
def test_fused_activation_is_the_layer_behind(activation: str) -> None:
    plain = nn.Conv2d(2, 3, 3, rng=0, dtype=np.float64)
    fused = nn.Conv2d(2, 3, 3, rng=0, dtype=np.float64, activation=activation)
    behind = nn.Sequential(
        plain, {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "relu6": nn.ReLU6}[activation]()
    )
    x = 4 * rng().standard_normal((2, 2, 6, 6))
    (y, back), (expected, expected_back) = fused.vjp(x), behind.vjp(x)
    np.testing.assert_allclose(y, expected, rtol=1e-14)
    weights = rng().standard_normal(y.shape)
    np.testing.assert_allclose(back(weights), expected_back(weights), rtol=1e-12, atol=1e-12)
    for a, b in zip(fused.parameters(), behind.parameters()):
        np.testing.assert_allclose(a.grad, b.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OF_TWO_ARRAYS)
def test_max_unpool(name: str) -> None:
    """Unpooling is its function, and only the places that were taken pass gradients back."""
    rank, shape = OF_TWO_ARRAYS[name]
    values, indices = unpooled(rank, shape)
    layer = getattr(nn, name)(2)
    assert layer(values, indices).shape == layer.output_shape(values.shape) == shape
    report = nn.gradcheck(layer, (values, indices))
    assert report, str(report)
    assert not report.kinks


def test_global_max_pool_gives_a_tie_to_the_first() -> None:
    _, backprop = nn.GlobalMaxPool().vjp(np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(backprop(np.ones((1, 1, 1, 1))), [[[[1, 0], [0, 0]]]])


def test_dropout_keeps_the_mean_and_drops_the_same_backward() -> None:
    """p of the values are 0, the rest grows so that the mean stays; the gradient has the same holes."""
    layer, x = nn.Dropout(0.25, rng=SEED), np.ones((200, 200), np.float32)
    np.testing.assert_array_equal(layer(x), x)
    y, backprop = layer.vjp(x)
    assert set(np.unique(y)) == {0, np.float32(4 / 3)}
    assert abs((y == 0).mean() - 0.25) < 0.01
    np.testing.assert_array_equal(backprop(x), y)
    again, _ = layer.vjp(x)
    assert (again != y).any()
    np.testing.assert_array_equal(nn.Dropout(0.25, rng=SEED).vjp(x)[0], y)


def test_dropout_of_nothing() -> None:
    x = rng().standard_normal((4, 4))
    np.testing.assert_array_equal(nn.Dropout(0.0).vjp(x)[0], x)


def test_batch_norm_learns_running_statistics() -> None:
    """Training uses the batch and moves the running statistics; inference uses those and moves nothing."""
    layer = nn.BatchNorm2d(2, momentum=0.5, dtype=np.float64)
    x = 3 + 2 * rng().standard_normal((8, 2, 5, 5))
    y, _ = layer.vjp(x)
    assert abs(y.mean()) < 1e-12
    np.testing.assert_allclose(layer.running_mean.value, 0.5 * x.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(layer.running_var.value, 0.5 + 0.5 * x.var(axis=(0, 2, 3), ddof=1))
    kept = layer.state_dict()
    expected = (x[:1] - kept["running_mean"].reshape(1, 2, 1, 1)) / np.sqrt(
        kept["running_var"].reshape(1, 2, 1, 1) + 1e-5
    )
    np.testing.assert_allclose(layer(x[:1]), expected, rtol=1e-12)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, kept[name])


def test_a_layer_used_twice_shares_its_parameters() -> None:
    """Both places compute with one weight, and both add to its gradient."""
    shared = nn.Linear(3, 3, rng=0, dtype=np.float64)
    net = nn.Sequential(shared, nn.Tanh(), shared)
    assert len(net.parameters()) == 2
    assert list(net.state_dict()) == ["0.weight", "0.bias"]
    x = rng().standard_normal((4, 3))
    first = shared(x)
    np.testing.assert_allclose(net(x), shared(np.tanh(first)))
    report = nn.gradcheck(net, x)
    assert report, str(report)


def test_a_sequential_is_a_sequence() -> None:
    """Indexing gives layers, slicing a net of the same layers."""
    net = small_net()
    assert len(net) == 6
    assert list(net) == list(net.layers)
    assert net[-1] is net.layers[5]
    assert isinstance(net[:2], nn.Sequential)
    assert net[:2][0] is net[0]
    x = rng().standard_normal((2, 1, 9, 9))
    np.testing.assert_array_equal(net[2:](net[:2](x)), net(x))
    np.testing.assert_array_equal(nn.Sequential()(x), x)


def test_a_base_class_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="Layer must define __call__"):
        nn.Layer()(np.ones(1))
    with pytest.raises(NotImplementedError, match="Loss must define prepare"):
        nn.Loss()(np.ones(1), np.ones(1))


def test_two_passes_may_be_open_at_once() -> None:
    """What a gradient needs is in its closure: passes do not disturb each other, whatever the order."""
    net = small_net()
    x1, x2 = rng().standard_normal((2, 3, 1, 9, 9))
    weights = rng().standard_normal((3, 2))
    expected1, expected2 = (net.vjp(x)[1](weights) for x in (x1, x2))
    _, back1 = net.vjp(x1)
    _, back2 = net.vjp(x2)
    np.testing.assert_array_equal(back1(weights), expected1)
    np.testing.assert_array_equal(back2(weights), expected2)


def test_nets_run_on_several_threads_at_once() -> None:
    """Threads share one net: results are those of one thread, and no gradient is lost."""
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, rng=0, activation="relu", dtype=np.float64),
        nn.BatchNorm2d(8, affine=False, dtype=np.float64),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 49, 64, rng=1, dtype=np.float64),
    )
    inputs = rng().standard_normal((4, 6, 1, 16, 16))
    expected = []
    for x in inputs:
        y, backprop = net.vjp(x)
        expected.append((y, backprop(np.ones(y.shape))))
    grads = [parameter.grad.copy() for parameter in net.parameters()]
    net.zero_grad()
    rounds, failures = 10, []

    def work(x: np.ndarray, wanted: tuple[np.ndarray, np.ndarray]) -> None:
        for _ in range(rounds):
            y, backprop = net.vjp(x)
            if not (np.array_equal(y, wanted[0]) and np.array_equal(backprop(np.ones(y.shape)), wanted[1])):
                failures.append(x)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(inputs, expected)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for parameter, grad in zip(net.parameters(), grads):
        np.testing.assert_allclose(parameter.grad, rounds * grad, rtol=1e-9, atol=1e-9)


def test_no_gradient_is_lost_between_threads() -> None:
    """NumPy lets other threads run while it adds; without a lock one of two additions gets lost."""
    parameter, ones = nn.Parameter(np.zeros((64, 400)), "weight"), np.ones((64, 400))

    def add() -> None:
        for _ in range(500):
            parameter.add_grad(ones)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (parameter.grad == 2000).all()


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(3, 2, padding=1)], ids=repr)
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels-last"])
def test_what_lies_between_a_convolution_and_its_pool_stays_small(
    pool: nn.layers.Layer, channels_last: bool
) -> None:
    """The features of a large batch are never there as a whole; the result is as if they were."""
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1, rng=0), nn.ReLU(), pool)
    x = rng().standard_normal((301, 3, 32, 32)).astype(np.float32)
    if channels_last:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    features = net[:2](x)
    expected = pool(features)
    for run in (net, net.prepare()):
        tracemalloc.start()
        try:
            output = run(x)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 0.6 * features.nbytes
        assert np.array_equal(output, expected)
        assert output.strides == expected.strides
    with pytest.raises(ValueError, match=r"layer 0, Conv2d\(.*channels"):
        net(x[:, :2])


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 1, padding=1)], ids=["apart", "overlapping"]
)
@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky_relu"])
def test_gradients_through_a_pool_are_those_of_layer_after_layer(
    activation: str, pool: nn.layers.Layer
) -> None:
    """Where the activation's gradient is applied behind the pool, nobody can tell; NaN and all."""
    net = nn.Sequential(
        *(nn.Conv2d(3, 5, 3, padding=1, activation=activation, rng=0, dtype=np.float64), pool),
        *(nn.Conv2d(5, 4, 3, activation=activation, rng=1, dtype=np.float64), pool),
    )
    x = 3 * rng().standard_normal((2, 3, 14, 15))
    for holes in (False, True):
        if holes:
            x[1, 2, 5, 6] = np.nan
        net.zero_grad()
        output, backprop = net.vjp(x)
        grad_output = rng().standard_normal(output.shape)
        result = [backprop(grad_output), *(parameter.grad.copy() for parameter in net.parameters())]
        net.zero_grad()
        prediction, learn = net.vjp_parameters(x)
        learn(grad_output)
        learned = [parameter.grad.copy() for parameter in net.parameters()]
        net.zero_grad()
        between, backprops = x, []
        for layer in net:
            between, back = layer.vjp(between)
            backprops.insert(0, back)
        gradient = grad_output
        for back in backprops:
            gradient = back(gradient)
        np.testing.assert_array_equal(output, between)
        np.testing.assert_array_equal(prediction, between)
        expected = [gradient, *(parameter.grad for parameter in net.parameters())]
        for mine, theirs in zip(result, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)
        for mine, theirs in zip(learned, result[1:], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_convolution_with_a_backward_of_its_own_keeps_it_in_front_of_a_pool() -> None:
    class Frozen(nn.Conv2d):
        def _learn(self, input: np.ndarray, output: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
            return grad_output * (output > 0)

    net = nn.Sequential(Frozen(1, 2, 3, activation="relu", rng=0), nn.MaxPool2d(2))
    _, backprop = net.vjp(np.ones((1, 1, 6, 6), np.float32))
    backprop(np.ones((1, 2, 2, 2), np.float32))
    assert not any(parameter.grad.any() for parameter in net.parameters())


def test_state_dict_is_a_snapshot() -> None:
    net = small_net()
    state = net.state_dict()
    assert list(state) == ["0.weight", "0.bias", "5.weight", "5.bias"]
    net.parameters()[0].value += 1
    assert (net.state_dict()["0.weight"] != state["0.weight"]).all()
    net.load_state_dict(state)
    np.testing.assert_array_equal(net.state_dict()["0.weight"], state["0.weight"])


def test_parameters_keep_their_arrays() -> None:
    """Optimizers hold views: assigning a value copies into the same array."""
    layer = nn.Linear(2, 2, rng=0)
    array = layer.weight.value
    layer.weight.value = np.full((2, 2), 3, np.float32)
    assert layer.weight.value is array
    assert (array == 3).all()
    with pytest.raises(ValueError, match=r"weight: shape \(2,\) must be \(2, 2\)"):
        layer.weight.value = np.zeros(2, np.float32)
    with pytest.raises(TypeError, match="float64"):
        layer.weight.grad = np.zeros((2, 2))


def test_parameter_copies_what_it_is_given() -> None:
    mine = np.ones(3)
    nn.Parameter(mine).value += 1
    np.testing.assert_array_equal(mine, np.ones(3))


def test_a_layer_of_ones_own() -> None:
    """Deriving from Layer and defining two methods is enough for nets, shapes, parameters and gradcheck."""

    class Scale(nn.Layer):
        def __init__(self, start: float) -> None:
            self.start = start
            self.factor = nn.Parameter(np.array([start]), "factor")

        def __call__(self, input: np.ndarray) -> np.ndarray:
            return input * self.factor.value

        def vjp(self, input: np.ndarray):
            def backprop(grad_output: np.ndarray) -> np.ndarray:
                self.factor.add_grad((grad_output * input).sum())
                return grad_output * self.factor.value

            return self(input), backprop

    net = nn.Sequential(nn.Flatten(), Scale(3.0), nn.Linear(4, 2, rng=0, dtype=np.float64))
    assert list(net.state_dict()) == ["1.factor", "2.weight", "2.bias"]
    assert net.output_shape((5, 2, 2)) == (5, 2)
    assert "Scale(start=3.0)" in repr(net)
    report = nn.gradcheck(net, rng().standard_normal((5, 2, 2)))
    assert report, str(report)


def test_initialisers_are_seeded_and_scaled() -> None:
    """Same seed, same weights, in both dtypes; the deviation is the published one."""
    a, b = nn.Conv2d(16, 64, 3, rng=5), nn.Conv2d(16, 64, 3, rng=5, dtype=np.float64)
    np.testing.assert_array_equal(a.weight.value, b.weight.value.astype(np.float32))
    assert not a.bias.value.any()
    assert (nn.Conv2d(16, 64, 3, rng=6).weight.value != a.weight.value).any()
    shape, fan_in, fan_out = (200, 30, 3, 3), 270, 1800
    for fill, deviation in [
        (nn.init.he_normal, np.sqrt(2 / fan_in)),
        (nn.init.he_uniform, np.sqrt(2 / fan_in)),
        (nn.init.glorot_normal, np.sqrt(2 / (fan_in + fan_out))),
        (nn.init.glorot_uniform, np.sqrt(2 / (fan_in + fan_out))),
    ]:
        weight = fill(np.empty(shape), rng=1)
        np.testing.assert_allclose(weight.std(), deviation, rtol=0.02)
        assert abs(weight.mean()) < deviation / 50
        if fill in (nn.init.he_uniform, nn.init.glorot_uniform):
            assert abs(weight).max() <= deviation * np.sqrt(3)


def test_transposed_convolution_starts_with_its_own_fan_in() -> None:
    """The first axis of its weight is the input: swapped, the signals of a wide layer would explode."""
    layer = nn.ConvTranspose2d(200, 4, 3, rng=0, dtype=np.float64)
    np.testing.assert_allclose(layer.weight.value.std(), np.sqrt(2 / (200 * 9)), rtol=0.05)
