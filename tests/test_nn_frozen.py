"""Gradients without training, and training a part: what does not learn stays as it is and costs little."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nn_cases import LAYERS, OF_TWO_ARRAYS, Chain, LayerCase, rng, unpooled

import fastconv
from fastconv import nn

BY_NAME = pytest.mark.parametrize("case", LAYERS, ids=[case.name for case in LAYERS])
F64 = {"dtype": np.float64}


def state(net: nn.Layer) -> list[Any]:
    """All that training could change: arrays, gradients, generators."""
    arrays = [buffer.value.copy() for buffer in net.named_buffers().values()]
    grads = [parameter.grad.copy() for parameter in net.parameters()]
    draws = [copy.deepcopy(layer.rng.bit_generator.state) for _, layer in net.walk() if hasattr(layer, "rng")]
    return [*arrays, *grads, *draws]


def assert_same(now: list[Any], before: list[Any]) -> None:
    for a, b in zip(now, before, strict=True):
        np.testing.assert_equal(a, b)


def moved(net: nn.Layer) -> nn.Layer:
    """With running statistics that are not those of any batch, and gradients that are not zero."""
    draw = rng()
    for buffer in net.named_buffers().values():
        buffer.value = abs(draw.standard_normal(buffer.value.shape)).astype(buffer.value.dtype) + 0.5
    for parameter in net.parameters():
        parameter.grad = draw.standard_normal(parameter.value.shape).astype(parameter.value.dtype)
    return net


# ---- vjp(training=False) -------------------------------------------------------------------------------


@BY_NAME
def test_the_gradient_of_inference(case: LayerCase) -> None:
    """Output as called, gradient as measured, and nothing has changed: of every layer there is."""
    net, x = moved(case.make()), rng().standard_normal(case.shape)
    before = state(net)
    output, backprop = net.vjp(x, training=False)
    np.testing.assert_array_equal(output, net(x))
    assert backprop(np.ones(output.shape)).shape == x.shape
    assert_same(state(net), before)
    report = nn.gradcheck(net, x, training=False, limit=40)
    assert report, str(report)
    assert report.place.startswith("input[")


def saliency_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, activation="relu", rng=0),
        nn.MaxPool2d(2),
        nn.Residual(nn.BatchNorm2d(4), nn.Dropout(0.5, rng=1), shortcut=nn.Conv2d(4, 4, 1, rng=2)),
        nn.Concat(
            nn.BatchNorm2d(4, affine=False), nn.Sequential(nn.Conv2d(4, 3, 3, padding=1, rng=3), nn.ReLU())
        ),
        nn.Flatten(),
        nn.LayerNorm(7 * 16),
        nn.Linear(7 * 16, 3, rng=4),
    )


def test_a_saliency_map_changes_nothing_and_is_right() -> None:
    """Through containers, fused activations and pools; also after a training pass, whose gradients stay."""
    net = moved(saliency_net())
    x = rng().standard_normal((3, 1, 8, 8)).astype(np.float32)
    before = state(net)
    votes, backprop = net.vjp(x, training=False)
    assert np.array_equal(votes, net(x))
    backprop(np.eye(3, dtype=np.float32))
    assert_same(state(net), before)
    report = nn.gradcheck(net, x, training=False, limit=50)
    assert report, str(report)


@pytest.mark.parametrize("name", OF_TWO_ARRAYS)
def test_max_unpool_takes_training_too(name: str) -> None:
    values, indices = unpooled(*OF_TWO_ARRAYS[name])
    layer = getattr(nn, name)(2)
    output, backprop = layer.vjp(values, indices, training=False)
    gradient, of_indices = backprop(output)
    np.testing.assert_array_equal(gradient, layer.vjp(values, indices)[1](output)[0])
    assert of_indices is None


def test_a_wrong_gradient_is_refused_without_training_too() -> None:
    x = np.ones((1, 2, 5, 5), np.float32)
    for layer in (nn.Conv2d(2, 3, 3), nn.Linear(5, 2), nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 3, 3)):
        _, backprop = layer.vjp(x, training=False)
        for wrong in (np.ones((1, 1, 1, 1), np.float32), np.ones((1, 2, 5, 5), np.int64)):
            with pytest.raises((ValueError, TypeError), match="grad_output"):
                backprop(wrong)


class Scale(nn.Layer):
    """As layers were written before `vjp` took `training`."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.weight = nn.Parameter(np.array([factor]), "weight")

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return input * self.weight.value

    def vjp(self, input: np.ndarray):
        def backprop(grad_output: np.ndarray) -> np.ndarray:
            self.weight.add_grad((grad_output * input).sum())
            return grad_output * self.weight.value

        return self(input), backprop


@pytest.mark.parametrize(
    "around", [nn.Sequential, nn.Residual, nn.Concat, lambda x: nn.Residual(nn.ReLU(), shortcut=x)]
)
def test_a_layer_that_only_knows_training_trains_and_says_so(around: Callable[..., nn.Layer]) -> None:
    net = nn.Sequential(nn.Flatten(), around(Scale(2.0)))
    report = nn.gradcheck(net, rng().standard_normal((2, 3)))
    assert report, str(report)
    with pytest.raises(TypeError, match=r"Scale\.vjp only knows training.*vjp\(self, input, training=True\)"):
        net.vjp(np.ones((2, 3)), training=False)
    with pytest.raises(TypeError, match="Scale"):
        nn.gradcheck(net, np.ones((2, 3)), training=False)


# ---- freezing ------------------------------------------------------------------------------------------


def learn(net: nn.Layer, parameters: list[nn.Parameter], x: np.ndarray) -> None:
    """A step that moves nothing: gradients stay to be looked at."""
    target = np.zeros(net(x).shape, x.dtype)
    nn.SGD(parameters, 0.0).learn(net, nn.MSELoss(), x, target)


def body() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 5, rng=0, **F64), nn.BatchNorm1d(5, **F64), nn.ReLU(), nn.Dropout(0.5, rng=1)
    )


def head() -> nn.Linear:
    return nn.Linear(5, 2, rng=2, **F64)


def headed(make: Callable[[nn.Sequential, nn.Linear], nn.Layer]) -> Callable[[], Any]:
    def build() -> tuple[nn.Layer, list[nn.Parameter], nn.Layer]:
        front, end = body(), head()
        return make(front, end), end.parameters(), front

    return build


#: A frozen body in front of a head: nets with the parameters that learn and the part that stays.
HEADED = {
    "nested": headed(lambda front, end: nn.Sequential(front, end)),
    "deeper": headed(
        lambda front, end: nn.Sequential(nn.Sequential(nn.Flatten(), front), nn.Sequential(end))
    ),
    "residual around the head": headed(
        lambda front, end: nn.Sequential(front, nn.Residual(end, shortcut=end))
    ),
    "residual with a frozen shortcut": headed(
        lambda front, end: nn.Residual(nn.Linear(4, 2, rng=5, **F64), shortcut=nn.Sequential(front, end))
    ),
    "concat": headed(lambda front, end: nn.Concat(nn.Sequential(front, end), nn.Linear(4, 1, rng=6, **F64))),
    "own": headed(lambda front, end: Chain([front, nn.Flatten(), end])),
    "own in own": headed(lambda front, end: Chain([Chain([front]), Chain([nn.Identity(), end])])),
    "own frozen": headed(lambda front, end: nn.Sequential(Chain([Chain([front]), nn.Tanh()]), end)),
}


@pytest.mark.parametrize("name", HEADED)
def test_a_frozen_body_stays_as_it_is(name: str) -> None:
    """The head sees what the body gives in inference; the body's arrays, gradients and generators stay."""
    net, learned, front = HEADED[name]()
    moved(front)
    before = state(front)
    x = rng().standard_normal((6, 4))
    learn(net, learned, x)
    assert_same(state(front), before)
    assert all(parameter.grad.any() for parameter in learned)
    if name.startswith(("residual", "concat")):
        return
    twin, features = head(), front(x)
    output, backprop = twin.vjp(np.tanh(features) if name == "own frozen" else features)
    backprop(nn.MSELoss().vjp(output, np.zeros(output.shape))[1])
    for parameter, wanted in zip(learned, twin.parameters()):
        np.testing.assert_allclose(parameter.grad, wanted.grad, rtol=1e-12)


@pytest.mark.parametrize("name", HEADED)
def test_in_front_of_all_that_learns_nothing_goes_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backward pass of a step is that of the head alone, its input's gradient left out."""
    net, learned, _ = HEADED[name]()
    x = rng().standard_normal((6, 4))
    counted: Counter[str] = Counter()

    def counting(name: str) -> Callable[..., Any]:
        plain = getattr(fastconv.grad, name)

        def count(*arguments: Any, **options: Any) -> Any:
            counted[name] += 1
            return plain(*arguments, **options)

        return count

    for gradient in ("linear_weight", "linear_input", "batch_norm", "relu_input", "tanh_input"):
        monkeypatch.setattr(fastconv.grad, gradient, counting(gradient))
    learn(net, learned, x)
    # a layer of one's own that learns all of its parameters is run as it is, with the gradient of its input
    expected = {
        "own in own": {"linear_weight": 1, "linear_input": 1},
        "residual around the head": {"linear_weight": 2},
    }
    assert counted == expected.get(name, {"linear_weight": 1})


def test_what_is_frozen_in_the_middle_passes_gradients_on() -> None:
    """Those of inference: to the first layer as measured by differences; none to its own parameters."""
    around = nn.Residual(nn.Linear(4, 4, rng=5, **F64), nn.BatchNorm1d(4, **F64), nn.Dropout(rng=0))
    for middle in (body(), Chain([body(), nn.Tanh()]), around, nn.Sequential(Scale(0.5), body())):
        first = nn.Linear(4, 4, rng=3, **F64)
        net = nn.Sequential(first, middle, nn.Linear(middle.output_shape((1, 4))[1], 2, rng=4, **F64))
        last = net[2]
        moved(middle)
        before = state(middle)
        x, loss = rng().standard_normal((6, 4)), nn.MSELoss()
        learn(net, [*first.parameters(), *last.parameters()], x)
        assert_same(state(middle), before)
        target = np.zeros(net(x).shape)
        for parameter in (*first.parameters(), *last.parameters()):
            for i in np.ndindex(parameter.value.shape):
                kept, errors = parameter.value[i], []
                for step in (1e-6, -1e-6):
                    parameter.value[i] = kept + step
                    errors.append(loss(net(x), target))
                parameter.value[i] = kept
                assert abs((errors[0] - errors[1]) / 2e-6 - parameter.grad[i]) < 1e-7


class Adapted(nn.Layer):
    """A frozen layer, and what is learned beside it added in place, or on the way in."""

    def __init__(self, base: nn.Layer, adapter: nn.Linear, head: nn.Linear, shift: float) -> None:
        self.base, self.adapter, self.head = base, adapter, head
        self.shift = nn.Parameter(np.full(1, shift))

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return self.head((self.base(input) + self.adapter(input)) * self.shift.value)

    def vjp(self, input: np.ndarray):
        features, base_back = self.base.vjp(input)
        added, adapter_back = self.adapter.vjp(input)
        features += added
        total = features.copy()
        features *= self.shift.value
        output, head_back = self.head.vjp(features)

        def backprop(grad_output: np.ndarray) -> np.ndarray:
            grad = head_back(grad_output)
            self.shift.add_grad((grad * total).sum())
            grad = grad * self.shift.value
            return base_back(grad) + adapter_back(grad)

        return output, backprop


@pytest.mark.parametrize("shift", [-1.0, 1.0, 0.5])
def test_what_is_changed_in_place_behind_a_frozen_layer_learns_as_it_would(shift: float) -> None:
    """Skipping a gradient that nobody needs must not skip one that somebody does."""
    net = Adapted(*(nn.Linear(4, 4, rng=i, **F64) for i in range(3)), shift)  # type: ignore[arg-type]
    whole = copy.deepcopy(net)
    x = rng().standard_normal((6, 4))
    learn(net, [*net.adapter.parameters(), *net.head.parameters(), net.shift], x)
    learn(whole, whole.parameters(), x)
    for name, parameter in net.named_parameters().items():
        if name.startswith("base"):
            assert not parameter.grad.any()
        else:
            np.testing.assert_array_equal(parameter.grad, whole.named_parameters()[name].grad)


def test_layers_without_parameters_train_unless_what_they_stand_in_is_frozen() -> None:
    """Dropout and a batch norm without weights, beside frozen layers: on, as in training; inside: off."""
    norm, inner = nn.BatchNorm1d(4, affine=False, **F64), nn.BatchNorm1d(4, affine=False, **F64)
    drop, quiet = nn.Dropout(0.5, rng=0), nn.Dropout(0.5, rng=0)
    frozen = nn.Sequential(nn.Linear(4, 4, rng=1, **F64), inner, quiet)
    net = nn.Sequential(frozen, norm, drop, nn.Linear(4, 2, rng=2, **F64))
    draws = quiet.rng.bit_generator.state
    learn(net, net[-1].parameters(), rng().standard_normal((6, 4)))
    assert norm.running_mean.value.any()
    assert drop.rng.bit_generator.state != draws
    assert not inner.running_mean.value.any()
    assert quiet.rng.bit_generator.state == draws


def test_of_a_layer_that_learns_in_part_the_rest_gets_no_gradient() -> None:
    """A bias alone: the weight's gradient is not computed, and what it holds stays."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, activation="relu", rng=0), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2, rng=1)
    )
    moved(net)
    whole = copy.deepcopy(net)
    x = rng().standard_normal((3, 1, 6, 6)).astype(np.float32)
    kept = [net[0].weight.grad.copy(), net[3].bias.grad.copy()]
    learn(net, [net[0].bias, net[3].weight], x)
    learn(whole, whole.parameters(), x)
    np.testing.assert_array_equal(net[0].weight.grad, kept[0])
    np.testing.assert_array_equal(net[3].bias.grad, kept[1])
    np.testing.assert_array_equal(net[0].bias.grad, whole[0].bias.grad)
    np.testing.assert_array_equal(net[3].weight.grad, whole[3].weight.grad)


def test_frozen_convolutions_behind_pools_and_activations() -> None:
    """What `Sequential` does at once, it does when frozen too: first conv learns, second does not."""
    net = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, rng=0, **F64), nn.ReLU(), nn.MaxPool2d(2)),
        *(
            nn.Conv2d(3, 2, 3, rng=1, **F64),
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8, 2, rng=2, **F64),
        ),
    )
    whole = copy.deepcopy(net)
    x = rng().standard_normal((3, 1, 14, 14))
    learn(net, [*net[0].parameters(), *net[7].parameters()], x)
    learn(whole, whole.parameters(), x)
    for i in (0, 7):
        for a, b in zip(net[i].parameters(), whole[i].parameters()):
            np.testing.assert_allclose(a.grad, b.grad, rtol=1e-12)
    assert not any(parameter.grad.any() for parameter in net[3].parameters())


def test_fit_leaves_a_frozen_part_as_it_is() -> None:
    """Over epochs, and what it gives in training is what it gives afterwards."""
    net = nn.Sequential(body(), head()).astype(np.float32)
    moved(net[0])
    before = state(net[0])
    x = rng().standard_normal((64, 4)).astype(np.float32)
    y = (net[0](x).sum(axis=1) > 2.5).astype(np.int64)
    history = nn.fit(
        net, x, y, loss=nn.CrossEntropyLoss(), optimizer=nn.Adam(net[1].parameters(), 0.05), epochs=15,
        validation=(x, y), rng=0, progress=False,
    )  # fmt: skip
    assert_same(state(net[0]), before)
    assert history.loss[-1] < history.loss[0]
    assert abs(history.loss[-1] - history.validation_loss[-1]) < 0.1


def test_a_direct_vjp_trains_everything_whatever_an_optimizer_has() -> None:
    net = nn.Sequential(body(), head())
    x = rng().standard_normal((6, 4))
    learn(net, net[1].parameters(), x)
    assert not any(parameter.grad.any() for parameter in net[0].parameters())
    output, backprop = net.vjp(x)
    backprop(np.ones(output.shape))
    assert net[0][1].running_mean.value.any()
    assert all(parameter.grad.any() for parameter in net[0][0].parameters())


def test_the_same_net_learns_by_several_optimizers_in_turn() -> None:
    """Which part learns is the optimizer's business; nothing of it stays with the net."""
    net = nn.Sequential(body(), head())
    x, target, loss = rng().standard_normal((6, 4)), np.zeros((6, 2)), nn.MSELoss()
    front, end = nn.SGD(net[0].parameters(), 0.1), nn.SGD(net[1].parameters(), 0.1)
    for optimizer, moving in ((front, 0), (end, 1), (front, 0)):
        before = [net[i].state_dict() for i in range(2)]
        optimizer.learn(net, loss, x, target)
        for i in range(2):
            changed = [(value != before[i][name]).any() for name, value in net[i].state_dict().items()]
            assert any(changed) is (i == moving)


def test_an_optimizer_of_another_net_is_refused() -> None:
    x, target = np.ones((2, 5)), np.zeros((2, 2))
    with pytest.raises(ValueError, match="optimizer: has none of the net's parameters"):
        nn.SGD(head().parameters(), 0.1).learn(head(), nn.MSELoss(), x, target)
