"""`fastconv.interop.torch`: what torch's own checkers ask of operators; models run as they are."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the door to torch needs torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import fastconv.interop.torch as door  # noqa: E402
from fastconv import nn as fnn  # noqa: E402
from fastconv.interop.torch import operators  # noqa: E402
from interop.resnet import ResNet18  # noqa: E402


def draw(*shape: int, dtype: Any = torch.float64) -> Any:
    """A tensor that wants its gradient."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, dtype=dtype, generator=generator).requires_grad_()


def channels_last(tensor: Any) -> Any:
    return tensor.detach().contiguous(memory_format=torch.channels_last).requires_grad_()


X, W, B = draw(2, 4, 7, 6), draw(6, 2, 3, 3), draw(6)
HOW = ([2, 1], [1, 1, 0, 1], [1, 2], 2)
WINDOW = ([2, 3], [2, 1], [1, 0, 1, 1], [1, 1], True)
GRAD = draw(*operators.convolution(X, W, B, *HOW).shape)
POOLED, INDICES = operators.max_pool_with_indices(X.detach(), *WINDOW)
OPERATORS = {
    "convolution": (X, W, B, *HOW),
    "convolution, channels-last": (channels_last(X), W, None, *HOW),
    "convolution_input": ([2, 4, 7, 6], W, GRAD, *HOW),
    "convolution_weight": (X, [6, 2, 3, 3], GRAD, *HOW),
    "transposed_convolution": (
        channels_last(X),
        draw(4, 3, 3, 3),
        B,
        [2, 1],
        [1, 1, 0, 1],
        [1, 0],
        2,
        [1, 1],
    ),
    "max_pool": (channels_last(X), *WINDOW),
    "max_pool_with_indices": (X, *WINDOW),
    "max_pool_input": ([2, 4, 7, 6], INDICES, POOLED.requires_grad_(), 2),
    "avg_pool": (channels_last(X), *WINDOW[:3], True, False, None),
    "avg_pool_input": ([2, 4, 7, 6], POOLED, *WINDOW[:3], True, False, None),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_pass_opcheck(name: str) -> None:
    """Schema, autograd, and that fake tensors have the shapes, dtypes and strides of real ones."""
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    operator = getattr(operators, name.split(",")[0])
    assert set(torch.library.opcheck(operator, OPERATORS[name], test_utils=checks).values()) == {"SUCCESS"}


def test_compiled_for_all_sizes() -> None:
    """`torch.compile` traces shapes as symbols: those of the operators follow them."""
    arguments = (draw(1, 2, 5, 6), draw(2, 2, 3, 3), None, [1, 1], [1, 1, 1, 1], [1, 1], 1)
    report = torch.library.opcheck(
        operators.convolution, arguments, test_utils=("test_aot_dispatch_dynamic",)
    )
    assert set(report.values()) == {"SUCCESS"}


CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "conv1d": (lambda x, w, b: door.conv1d(x, w, b, 2, 1), (draw(2, 2, 6), draw(2, 2, 3), draw(2))),
    "conv2d": (
        lambda x, w, b: door.conv2d(x, w, b, (2, 1), 1, 1, 2),
        (draw(1, 2, 5, 4), draw(2, 1, 3, 2), draw(2)),
    ),
    "conv3d": (lambda x, w: door.conv3d(x, w, padding="same"), (draw(1, 1, 3, 2, 3), draw(1, 1, 2, 1, 3))),
    "no batch": (lambda x, w: door.conv2d(x, w), (draw(2, 4, 4), draw(2, 2, 3, 3))),
    "conv_transpose2d": (
        lambda x, w, b: door.conv_transpose2d(x, w, b, 2, 1, 1, 2),
        (draw(1, 2, 3, 3), draw(2, 1, 3, 3), draw(2)),
    ),
    "max_pool2d": (lambda x: door.max_pool2d(x, 3, 2, 1), (draw(1, 2, 5, 5),)),
    "avg_pool2d": (lambda x: door.avg_pool2d(x, 3, 2, 1, True, False), (draw(1, 2, 5, 5),)),
}


@pytest.mark.parametrize("name", CALLS)
def test_gradients_and_their_gradients(name: str) -> None:
    """Both agree with finite differences, in float64."""
    function, inputs = CALLS[name]
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", ["conv", "conv_transpose", "max_pool", "avg_pool"])
def test_functions_agree_with_torchs(name: str, rank: int) -> None:
    """Same names, order of arguments and defaults."""
    x = draw(2, 4, *(9, 8, 7)[:rank])
    weight = draw(4, 2 if name == "conv" else 3, *[3] * rank)
    how = {
        "conv": (weight, draw(4), 2, 1, 1, 2),
        "conv_transpose": (weight, draw(6), 2, 1, 1, 2),
        "max_pool": (3, 2, 1, 1, True),
        "avg_pool": (3, 2, 1, True, False),
    }[name]
    ours = getattr(door, f"{name}{rank}d")(x, *how)
    torch.testing.assert_close(ours, getattr(F, f"{name}{rank}d")(x, *how))


def test_memory_is_shared_and_order_kept() -> None:
    """A tensor's memory is read and written in place; channels-last in, channels-last out."""
    x = channels_last(draw(2, 4, 9, 9, dtype=torch.float32)).detach()
    output = door.conv2d(x, draw(8, 4, 3, 3, dtype=torch.float32).detach())
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert np.shares_memory(output.numpy(), np.from_dlpack(output))
    assert door.max_pool2d(x, 2).is_contiguous(memory_format=torch.channels_last)


def test_vmap_runs_entry_by_entry() -> None:
    x, weight = draw(3, 2, 5, 5).detach(), draw(4, 2, 3, 3).detach()
    batched = torch.vmap(lambda one: door.conv2d(one[None], weight)[0])(x)
    torch.testing.assert_close(batched, door.conv2d(x, weight))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.ones((1, 1, 3, 3)), W), r"input: must be a torch\.Tensor, not ndarray"),
        ((X.half(), W.half()), r"input: dtype must be .* not torch\.float16"),
        ((X, W.float()), r"weight: dtype torch\.float32 does not match .* torch\.float64"),
        ((X, W), "input: 4 channels, but weight"),
        ((X, W, B, 0), "stride=0: must be at least 1"),
        ((X.to("meta"), W), "input: must be strided and on the CPU"),
        ((X, W, draw(5), 1, 0, 1, 2), r"bias: shape \(5,\) must be \(6,\)"),
    ],
)
def test_bad_calls_name_the_argument(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        door.conv2d(*arguments)


# ---- models as they are ------------------------------------------------------------------------------


def counted(run: Callable[[], Any]) -> tuple[Any, int]:
    """What `run` returns, and how many operators of fastconv it called."""
    with torch.profiler.profile() as profile:
        result = run()
    return result, sum(e.count for e in profile.key_averages() if e.key.startswith("fastconv::"))


def training_step(net: Any, x: Any) -> list[Any]:
    net.zero_grad()
    F.cross_entropy(net(x), torch.arange(len(x)) % 10).backward()
    return [parameter.grad.clone() for parameter in net.parameters()]


def assert_near(ours: list[Any], theirs: list[Any]) -> None:
    """Within 1e-4 of the largest."""
    largest = max(float(abs(gradient).max()) for gradient in theirs)
    for mine, other in zip(ours, theirs):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-4 * largest)


@pytest.fixture(scope="module")
def resnet() -> tuple[Any, Any, Any, list[Any]]:
    """ResNet-18, pictures, and torch's votes and gradients."""
    torch.manual_seed(1)  # no value lies so near a kink of ReLU that rounding decides its side
    net, x = ResNet18(width=16), torch.randn(4, 3, 64, 64)
    twin = copy.deepcopy(net)
    return net, x, net(x).detach(), training_step(twin, x)


def test_resnet_in_the_block(resnet: Any) -> None:
    """Votes and gradients are torch's, and fastconv has computed every convolution and pool."""
    net, x, _, gradients = resnet
    net = copy.deepcopy(net)
    with door.active():
        ours, calls = counted(lambda: training_step(net, x))
    assert_near(ours, gradients)
    assert calls == 20 + 1 + 2 * 20 - 1 + 1  # convolutions, the pool; backward: two each, but for the pixels
    assert counted(lambda: net(x))[1] == 0  # the block is over


def test_resnet_in_double_precision(resnet: Any) -> None:
    """With rounding out of the way gradients agree to many more digits."""
    net, x = copy.deepcopy(resnet[0]).double(), resnet[1].double()
    theirs = training_step(net, x)
    with door.active():
        ours = training_step(net, x)
    largest = max(float(abs(gradient).max()) for gradient in theirs)
    assert max(float(abs(a - b).max()) for a, b in zip(ours, theirs)) < 1e-11 * largest


def test_resnet_accelerated(resnet: Any) -> None:
    """Same object, same parameters, same names; and it can be copied and pickled."""
    net, x, _, gradients = resnet
    fast = copy.deepcopy(net)
    parameters, names = list(fast.parameters()), list(fast.state_dict())
    assert door.accelerate(fast) is fast
    assert all(a is b for a, b in zip(fast.parameters(), parameters))
    assert list(fast.state_dict()) == names
    twin = pickle.loads(pickle.dumps(copy.deepcopy(fast)))
    ours, calls = counted(lambda: training_step(twin, x))
    assert calls == 61
    assert_near(ours, gradients)


def test_resnet_to_layers_and_back(resnet: Any) -> None:
    """The net of fastconv.nn votes and learns as torch's; what it has learned can be copied back."""
    module, x, votes, gradients = resnet
    net = door.from_torch(module)
    ours, backprop = net.vjp(x.numpy())
    np.testing.assert_allclose(ours, votes, rtol=0, atol=1e-4 * float(votes.abs().max()))
    backprop(fnn.CrossEntropyLoss().vjp(ours, np.arange(4) % 10)[1])
    twin = copy.deepcopy(module)
    for parameter, gradient in zip(twin.parameters(), gradients):
        parameter.data -= 0.1 * gradient
    fnn.SGD(net.parameters(), lr=0.1).step()
    back = door.to_torch(net, copy.deepcopy(module))
    assert_near([p.detach() for p in back.parameters()], [p.detach() for p in twin.parameters()])
    np.testing.assert_allclose(back.eval()(x).detach(), net(x.numpy()), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [torch.int64, torch.bfloat16])
def test_what_does_not_fit_is_torchs(kind: Any) -> None:
    """Other dtypes and calls that are wrong: torch's results, torch's errors."""
    x, weight = torch.ones(1, 1, 4, 4, dtype=kind), torch.ones(1, 1, 2, 2, dtype=kind)
    with door.active():
        output, calls = counted(lambda: F.conv2d(x, weight))
        with pytest.raises(RuntimeError, match="expected input"):
            F.conv2d(torch.ones(1, 3, 4, 4), torch.ones(1, 2, 2, 2))
    assert (output.dtype, calls) == (kind, 0)


def test_autocast_is_torchs() -> None:
    """A block of autocast asks for half precision: it gets it."""
    layer, x = nn.Conv2d(1, 1, 2), torch.ones(1, 1, 4, 4)
    with door.active(), torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


def test_compiled_without_a_break() -> None:
    """`torch.compile` keeps the operators in one graph with the rest."""
    net, x = (
        door.accelerate(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2))),
        torch.ones(1, 2, 6, 6),
    )
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), net(x))
    assert counted(lambda: compiled(x))[1] == 2


def test_modules_of_all_kinds_accelerated() -> None:
    """Padding modes, output sizes, indices: the module's own way leads to the same numbers."""
    x = draw(1, 2, 8, 8, dtype=torch.float32)
    for layer in (
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(2, 4, 3, padding="same"),
        nn.ConvTranspose2d(2, 3, 3, stride=2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(3, 2, 1),
    ):
        expected = layer(x)
        torch.testing.assert_close(door.accelerate(layer)(x), expected)
    values, indices = door.accelerate(nn.MaxPool2d(2, return_indices=True))(x)
    assert torch.equal(nn.MaxUnpool2d(2)(values, indices).max(), x.max())
    wide = door.accelerate(nn.ConvTranspose2d(2, 3, 3, stride=2))(x, output_size=[18, 18])
    assert wide.shape == (1, 3, 18, 18)


# ---- nets and weights --------------------------------------------------------------------------------


class Branches(nn.Module):
    """Functions instead of modules, a sum, a concatenation, a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.last = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 3, padding=1), nn.Linear(5, 2)

    def forward(self, x: Any) -> Any:
        y = F.relu(self.left(x) + self.right(x))
        y = F.max_pool2d(torch.cat([y, F.avg_pool2d(x, 3, 1, 1)], 1), 2)
        return self.last(y.mean((2, 3)))


def test_branches_written_as_functions() -> None:
    module, x = Branches(), draw(2, 2, 6, 6, dtype=torch.float32).detach()
    np.testing.assert_allclose(door.from_torch(module)(x.numpy()), module(x).detach(), atol=1e-6)


class Dense(nn.Module):
    """A first output that is read twice, by ways that cross."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        y = self.a(x)
        return torch.cat([x, y, self.b(torch.cat([x, y], 1))], 1)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Sequential(nn.Identity(), nn.GRU(3, 2)), r"submodule '1' \(GRU\)"),
        (
            nn.Sequential(nn.Conv2d(1, 1, 3, padding_mode="reflect")),
            r"submodule '0' .*padding_mode='reflect'",
        ),
        (nn.Sequential(nn.Linear(2, 2).half()), r"submodule '0' \(Linear\): dtype torch.float16"),
        (nn.Sequential(nn.BatchNorm2d(2, momentum=None)), r"submodule '0' .*momentum"),
        (Dense(), r"'a' .*more ways"),
    ],
)
def test_what_has_no_counterpart_is_named(module: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        door.from_torch(module)


def test_an_in_place_layer_that_others_read_is_refused() -> None:
    """fastconv's layers never write over their input: the sum would be another one."""

    class Early(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.conv = nn.ReLU(inplace=True), nn.Conv2d(1, 1, 1)

        def forward(self, x: Any) -> Any:
            return x + self.conv(self.relu(x))

    with pytest.raises(ValueError, match=r"'relu' \(ReLU\): works in place"):
        door.from_torch(Early())


def test_weights_go_back_to_the_same_kind_alone() -> None:
    net = door.from_torch(nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(ValueError, match="net: its arrays"):
        door.to_torch(net, nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(TypeError, match="module: must be"):
        door.from_torch(np.ones(3))
