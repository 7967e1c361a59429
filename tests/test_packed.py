"""Packed weights and prepared nets: the same bits as without, and a copy that later changes do not reach."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.functional.case import Case
from fastconv.functional.packed import PackedLinear

RNG = np.random.default_rng(11)


def array(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def channels_last(a: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


#: Few and many pixels, every algorithm, every rank.
CASES = (
    "conv2d c1 9x9 k1 3x3",  # toy
    "conv2d n2 c200 5x5 k70 3x3 p1",  # many channels, few pixels
    "conv2d n2 c96 30x31 k130 1x1",  # 1x1
    "conv2d n2 c32 30x30 k48 3x3 psame",  # winograd
    "conv2d c64 8x8 k80 3x3 p1",  # winograd, few tiles
    "conv2d c5 12x9 k7 3x3 algorithm=winograd",  # winograd by name
    "conv2d n2 c32 20x31 k48 4x2 p2x1",  # winograd, even kernel
    "conv2d n2 c3 50x51 k32 11x11 s4 p2",  # winograd, strides
    "conv2d n2 c3 40x41 k4 11x11 p5 algorithm=fft",  # fft by name
    "conv2d n2 c12 17x18 k18 3x3 s2 p1:0x0:1 g3",  # groups
    "conv2d n2 c20 21x22 k20 3x3 p1 g20",  # depthwise
    "conv2d c3 40x41 k20 11x11 s4x3",  # large kernel
    "conv2d c8 20x20 k9 3x3 p2x3 d2x3",  # dilated
    "conv1d n3 c10 300 k20 5 p2",  # 1-D
    "conv3d c4 6x9x10 k5 3x3x3 p1",  # 3-D
    "conv2d c2 6x6 k3 3x3 algorithm=reference",  # reference
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("line", CASES)
def test_a_packed_convolution_gives_the_same_bits(line: str, dtype: Any, isa: str) -> None:
    """The first time and later, in every memory order, on any threads, with other batches between."""
    case = Case.parse(line)
    parameters = {**case.parameters, **case.call_parameters}
    input, weight = array(*case.input_shape, dtype=dtype), array(*case.weight_shape, dtype=dtype)
    bias = array(case.out_channels, dtype=dtype)
    conv = getattr(fastconv, case.function)
    packed = fastconv.pack_weight(weight, bias, **parameters, activation="leaky_relu")
    inputs = [input, channels_last(input), input[:1], input[0], input[..., ::-1], np.repeat(input, 3, axis=0)]
    for _ in range(2):
        for threads in (1, 3):
            fastconv.set_num_threads(threads)
            for x in inputs:
                expected = conv(x, weight, bias, **parameters, activation="leaky_relu")
                assert np.array_equal(packed(x), expected)
                out = np.empty_like(expected)
                assert packed(x, out=out) is out
                assert np.array_equal(out, expected)


@pytest.mark.parametrize("line", CASES)
def test_a_slope_of_ones_own_reaches_every_algorithm(line: str) -> None:
    """Of plain arrays and of others, and through a pickle."""
    case = Case.parse(line)
    parameters = {**case.parameters, **case.call_parameters}
    input, weight = array(*case.input_shape), array(*case.weight_shape)
    packed = fastconv.pack_weight(weight, **parameters, activation="leaky_relu", negative_slope=0.3)
    packed = pickle.loads(pickle.dumps(packed))
    for x in (input, channels_last(input), input[..., ::-1]):
        plain = getattr(fastconv, case.function)(x, weight, **parameters)
        np.testing.assert_allclose(packed(x), fastconv.leaky_relu(plain, 0.3), rtol=1e-6)


def test_a_packed_convolution_follows_precision_and_instruction_set() -> None:
    """Both may change between calls, and back."""
    input, weight = array(1, 32, 40, 40), array(32, 32, 3, 3)
    packed = fastconv.pack_weight(weight, padding=1)
    for _ in range(2):
        for isa in fastconv.runtime.runnable_isas():
            fastconv.set_isa(isa)
            for precision in ("highest", "high"):
                with fastconv.precision(precision):
                    assert np.array_equal(packed(input), fastconv.conv2d(input, weight, padding=1))


def test_non_finite_numbers_reach_the_same_outputs() -> None:
    """Of the input and of the weight, whatever the algorithm makes of them."""
    for bad in (np.nan, np.inf):
        input, weight = array(2, 32, 20, 20), array(32, 32, 3, 3)
        input[1, 3, 5, 5] = bad
        for _ in range(2):
            packed = fastconv.pack_weight(weight, padding=1)
            for _ in range(2):
                expected = fastconv.conv2d(input, weight, padding=1)
                np.testing.assert_array_equal(packed(input), expected)
            weight[2, 3, 1, 1] = bad


def test_what_is_packed_is_a_copy() -> None:
    """Weight and bias may be changed and thrown away; the copies cannot be written to."""
    input, weight, bias = array(2, 3, 8, 8), array(4, 3, 3, 3), array(4)
    expected = fastconv.conv2d(input, weight, bias)
    packed = fastconv.pack_weight(weight, bias)
    weight[...] = 0
    bias[...] = 0
    assert np.array_equal(packed(input), expected)
    assert packed.bias is not None
    for kept in (packed.weight, packed.bias):
        with pytest.raises(ValueError, match="read-only"):
            kept[...] = 1


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "list": ({"weight": [[[[1.0]]]]}, TypeError, "weight: must be an array"),
    "dtype": ({"weight": np.ones((1, 1, 3, 3), int)}, TypeError, "weight: dtype"),
    "axes": ({"weight": np.ones((1, 3))}, ValueError, "weight: shape (1, 3)"),
    "empty": ({"weight": np.ones((0, 1, 3, 3))}, ValueError, "weight: shape (0, 1, 3, 3)"),
    "bias": ({"bias": np.ones(3)}, ValueError, "bias: shape (3,)"),
    "stride": ({"stride": 0}, ValueError, "stride=0"),
    "padding": ({"padding": "full"}, ValueError, "padding='full'"),
    "dilation": ({"dilation": 1.5}, TypeError, "dilation=1.5"),
    "groups": ({"groups": 3}, ValueError, "groups=3"),
    "activation": ({"activation": "tanh"}, ValueError, "activation='tanh'"),
    "algorithm": ({"algorithm": "fast"}, ValueError, "algorithm='fast'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_packed_is_refused_at_once(name: str) -> None:
    """Naming the argument, before any input is seen."""
    change, error, message = WRONG[name]
    arguments: dict[str, Any] = {"weight": np.ones((2, 2, 3, 3)), **change}
    with pytest.raises(error) as caught:
        fastconv.pack_weight(**arguments)
    assert message in str(caught.value)


def test_a_packed_convolution_refuses_what_conv2d_refuses() -> None:
    """With the same words, and goes on working."""
    weight = array(4, 3, 3, 3)
    packed = fastconv.pack_weight(weight)
    good = array(2, 3, 8, 8)
    expected = packed(good)
    bad: list[dict[str, Any]] = [
        {"input": good.astype(np.float64)},
        {"input": good[:, :2]},
        {"input": good[0, 0]},
        {"input": good[..., :2]},
        {"input": good.tolist()},
        {"input": good, "out": expected[:1]},
        {"input": good, "out": expected.astype(np.float64)},
        {"input": good, "out": "there"},
    ]
    for arguments in bad:
        with pytest.raises((TypeError, ValueError)) as wanted:
            fastconv.conv2d(arguments["input"], weight, out=arguments.get("out"))
        with pytest.raises(type(wanted.value)) as got:
            packed(**arguments)
        assert str(got.value) == str(wanted.value)
        assert np.array_equal(packed(good), expected)
    assert np.array_equal(packed(memoryview(good)), expected)


def test_threads_that_pack_at_the_same_time() -> None:
    """The first calls of several threads meet; all get the right result."""
    inputs = [array(n, 64, 9, 9) for n in (1, 2, 3, 5)]
    weight = array(64, 64, 3, 3)
    expected = [fastconv.conv2d(x, weight) for x in inputs]
    for _ in range(5):
        packed = fastconv.pack_weight(weight)
        wrong = []

        def work(i: int, packed: Any = packed, wrong: list[int] = wrong) -> None:
            for _ in range(3):
                if not np.array_equal(packed(inputs[i]), expected[i]):
                    wrong.append(i)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_threads_that_meet_in_more_shapes_than_are_remembered() -> None:
    """What one thread has forgotten for another's sake is found again, never mistaken for something else."""
    weight = array(2, 1, 3)
    inputs = [array(1, 1, size) for size in range(3, 90)]
    expected = [fastconv.conv1d(x, weight) for x in inputs]
    packed = fastconv.pack_weight(weight)

    def work(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(len(inputs) * 4) % len(inputs)
        return all(np.array_equal(packed(inputs[i]), expected[i]) for i in order)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_more_shapes_than_a_packed_convolution_remembers() -> None:
    """What is forgotten is found again."""
    weight = array(2, 1, 3)
    packed = fastconv.pack_weight(weight)
    for _ in range(2):
        for size in range(3, 90):
            x = array(1, 1, size)
            assert np.array_equal(packed(x), fastconv.conv1d(x, weight))


# ---- pickles and copies --------------------------------------------------------------------------------


@pytest.mark.parametrize("line", CASES)
def test_a_pickled_convolution_gives_the_same_bits(line: str) -> None:
    """Before its first call and after; arrays still read-only, parameters as they were, in every protocol."""
    case = Case.parse(line)
    parameters = {**case.parameters, **case.call_parameters}
    input, weight, bias = array(*case.input_shape), array(*case.weight_shape), array(case.out_channels)
    packed = fastconv.pack_weight(weight, bias, **parameters, activation="relu6")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(packed, protocol))
        assert np.array_equal(again(input), packed(input))
        assert repr(again) == repr(packed)
        assert again.bias is not None
        for kept in (again.weight, again.bias):
            with pytest.raises(ValueError, match="read-only"):
                kept[...] = 1


@pytest.mark.parametrize("offset", [0, 1])
def test_arrays_beside_a_pickle_are_read_where_they_lie(offset: int) -> None:
    """Joblib maps them from a file; at an odd address they are copied."""
    weight, x = array(5, 3, 3, 3), array(1, 3, 9, 9)
    buffers: list[Any] = []
    data = pickle.dumps(fastconv.pack_weight(weight), 5, buffer_callback=buffers.append)
    mapped = [memoryview(bytes(offset) + bytes(buffer))[offset:] for buffer in buffers]
    again = pickle.loads(data, buffers=mapped)
    assert np.array_equal(again(x), fastconv.conv2d(x, weight))
    assert np.may_share_memory(again.weight, np.frombuffer(mapped[0], np.uint8)) is (offset == 0)


def test_a_pickled_linear_layer_gives_the_same_bits() -> None:
    x, weight, bias = array(5, 30), array(20, 30), array(20)
    packed = PackedLinear(weight, bias, "relu")
    for again in (pickle.loads(pickle.dumps(packed)), copy.copy(packed), copy.deepcopy(packed)):
        assert np.array_equal(again(x), packed(x))
        with pytest.raises(ValueError, match="read-only"):
            again.weight[...] = 1


def test_a_copy_of_what_never_changes_costs_nothing() -> None:
    """Weights are not doubled by copying what holds them."""
    packed = fastconv.pack_weight(array(4, 3, 3, 3))
    prepared = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).prepare()
    for one in (packed, prepared):
        assert copy.copy(one) is one
        assert copy.deepcopy({"a": [one]})["a"][0] is one


def test_parameters_of_a_packed_convolution_cannot_be_changed_from_outside() -> None:
    stride = [1, 1]
    packed = fastconv.pack_weight(array(2, 1, 3, 3), stride=stride, groups=np.int64(1))
    expected = packed(array(1, 1, 8, 8)).shape
    stride[:] = [2, 2]
    for size in (8, 9):
        assert packed(array(1, 1, size, size)).shape[2] == size - 2
    assert expected == (1, 2, 6, 6)
    assert packed.stride == (1, 1)


def call(job: tuple[Any, np.ndarray]) -> np.ndarray:
    packed, input = job
    return packed(input)


def learn(pair: tuple[nn.Layer, nn.Optimizer]) -> tuple[nn.Layer, nn.Optimizer]:
    pair[1].learn(pair[0], nn.MSELoss(), np.ones((2, 3), np.float32), np.ones((2, 2), np.float32))
    return pair


def test_other_processes_get_the_same_bits() -> None:
    """Spawned, as joblib and multiprocessing do; convolutions, layers, nets, and nets that learn."""
    net, shape = nets()["residual"]
    jobs = [
        (fastconv.pack_weight(array(4, 3, 3, 3), padding=1), array(2, 3, 9, 9)),
        (PackedLinear(array(4, 6)), array(2, 6)),
        (net.prepare(), array(2, *shape)),
    ]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        results = pool.map(call, jobs)
        linear = nn.Linear(3, 2, rng=0)
        pair = (linear, nn.Adam(linear.parameters(), 0.1))
        (away,) = pool.map(learn, [learn(pair)])
    for (packed, input), result in zip(jobs, results):
        assert np.array_equal(result, packed(input))
    learn(learn(pair))
    assert np.array_equal(learn(away)[0].state_dict()["weight"], linear.weight.value)


def test_a_pickle_is_loaded_on_any_instruction_set(tmp_path: Path) -> None:
    """Made on one machine, called on another: the bits are those of the machine that calls."""
    isas = fastconv.runtime.runnable_isas()
    net, shape = nets()["lenet"]
    weight, x, image = array(32, 16, 3, 3), array(1, 16, 20, 20), array(1, *shape)
    packed, prepared = fastconv.pack_weight(weight, padding=1), net.prepare()
    for isa in isas:
        fastconv.set_isa(isa)
        packed(x)
        prepared(image)
        data = pickle.dumps((packed, prepared))
        for other in isas:
            fastconv.set_isa(other)
            loaded, loaded_net = pickle.loads(data)
            assert np.array_equal(loaded(x), fastconv.conv2d(x, weight, padding=1))
            assert np.array_equal(loaded_net(image), net(image))
    (tmp_path / "packed").write_bytes(data)
    code = "import pickle, sys; p, n = pickle.load(open(sys.argv[1], 'rb')); print(p, n)"
    environment = {**os.environ, "FASTCONV_ISA": "baseline" if "baseline" in isas else isas[0]}
    command = [sys.executable, "-c", code, str(tmp_path / "packed")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.stdout == f"{packed} {prepared}\n", run.stderr


# ---- nets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lenet", "residual", "one layer", "rows", "nothing"])
def test_a_pickled_prepared_net_gives_the_same_bits(name: str) -> None:
    """Containers, fused activations, pools and all; with the same words where it refuses."""
    net, shape = nets()[name]
    prepared = net.prepare()
    again = pickle.loads(pickle.dumps(prepared))
    for n in (1, 5):
        x = array(n, *shape)
        assert np.array_equal(again(x), net(x))
    assert repr(again) == repr(prepared) == f"Prepared({net!r})"
    if name == "lenet":
        with pytest.raises(ValueError, match=r"layer 0, Conv2d\(in_channels=1"):
            again(array(1, 3, 20, 20))


def nets() -> dict[str, tuple[nn.Layer, tuple[int, ...]]]:
    return {
        "lenet": (
            nn.Sequential(
                nn.Conv2d(1, 6, 5, padding=2, rng=0),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(6, 16, 5, activation="relu", rng=1),
                nn.AvgPool2d(2),
                nn.Flatten(),
                nn.Linear(144, 20, rng=2),
                nn.LeakyReLU(),
                nn.Linear(20, 10, bias=False, rng=3),
                nn.ReLU6(),
                nn.Softmax(),
            ),
            (1, 20, 20),
        ),
        "residual": (
            nn.Sequential(
                nn.Residual(
                    nn.Conv2d(4, 8, 3, padding=1, rng=0),
                    nn.BatchNorm2d(8),
                    nn.ReLU(),
                    shortcut=nn.Conv2d(4, 8, 1, rng=1),
                ),
                nn.Concat(nn.Conv2d(8, 3, 1, rng=2), nn.Identity(), nn.Sequential(nn.ReLU(), nn.Dropout())),
                nn.ConvTranspose2d(19, 2, 2, stride=2, rng=3),
                nn.LeakyReLU(0.2),
            ),
            (4, 9, 9),
        ),
        "one layer": (nn.Conv1d(3, 4, 3, rng=0), (3, 20)),
        "rows": (nn.Linear(6, 3, rng=0), (5, 6)),
        "nothing": (nn.Sequential(), (3,)),
    }


@pytest.mark.parametrize("name", nets())
def test_a_prepared_net_gives_the_same_bits(name: str) -> None:
    """For any batch, prepared with an example, with a shape or without either; in both dtypes."""
    net, shape = nets()[name]
    for dtype in (np.float32, np.float64):
        typed = net.astype(dtype)
        examples = (None, (2, *shape), array(3, *shape, dtype=dtype))
        for example in examples:
            prepared = typed.prepare(example)
            for n in (1, 4, 1, 40):
                x = array(n, *shape, dtype=dtype)
                assert np.array_equal(prepared(x), typed(x))


@pytest.mark.parametrize("name", ["lenet", "residual", "one layer", "rows"])
def test_a_prepared_net_is_a_snapshot(name: str) -> None:
    """Training goes on without it, also for layers that are only called, running statistics and all."""
    net, shape = nets()[name]
    x = array(2, *shape)
    expected = net(x)
    prepared = net.prepare()
    optimizer = nn.SGD(net.parameters(), 0.5)
    prediction, backprop = net.vjp(x)
    backprop(np.ones_like(prediction))
    optimizer.step()
    for buffer in net.named_buffers().values():
        buffer.value += 1
    assert not np.array_equal(net(x), expected)
    assert np.array_equal(prepared(x), expected)
    assert np.array_equal(net.prepare()(x), net(x))


def test_a_prepared_net_refuses_what_the_net_refuses() -> None:
    """With the same words, layer and all; also while it is being prepared."""
    net, shape = nets()["lenet"]
    prepared = net.prepare()
    for wrong in (array(2, 3, 20, 20), array(2, 1, 20, 20, dtype=np.float64), array(2, 1, 9, 9)):
        with pytest.raises((TypeError, ValueError)) as wanted:
            net(wrong)
        with pytest.raises(type(wanted.value)) as got:
            prepared(wrong)
        assert str(got.value) == str(wanted.value)
        with pytest.raises(type(wanted.value)):
            net.prepare(wrong)
    with pytest.raises(ValueError, match="example"):
        net.prepare((1, -1, 20, 20))
    assert np.array_equal(prepared(array(1, *shape)[:0]), net(array(1, *shape)[:0]))


def test_layers_of_ones_own_are_called_as_they_are() -> None:
    """A subclass that computes something else is not taken for what it inherits from."""

    class Doubled(nn.Sequential):
        def __call__(self, input: np.ndarray) -> np.ndarray:
            return 2 * super().__call__(input)

    class Shifted(nn.Conv2d):
        def __call__(self, input: np.ndarray) -> np.ndarray:
            return super().__call__(input) + 1

    class Half(nn.ReLU):
        def __call__(self, input: np.ndarray) -> np.ndarray:
            return super().__call__(input) / 2

    conv = Shifted(1, 2, 3, rng=0)
    net = nn.Sequential(Doubled(conv, nn.ReLU()), nn.Conv2d(2, 2, 1, rng=1), Half())
    x = array(2, 1, 6, 6)
    plain = fastconv.conv2d(x, conv.weight.value) + 1
    inner = 2 * np.maximum(plain, 0)
    last = net[1]
    assert isinstance(last, nn.Conv2d)
    assert np.array_equal(net(x), np.maximum(fastconv.conv2d(inner, last.weight.value), 0) / 2)
    assert np.array_equal(net.prepare()(x), net(x))
    assert np.array_equal(net.vjp(x)[0], nn.Sequential(*net)(x))


def test_an_activation_left_to_the_layer_in_front_learns_as_its_own_layer_would() -> None:
    """Sequential lets convolutions and fully connected layers apply the activation behind them."""
    layers: list[nn.Layer] = [
        nn.Conv2d(2, 3, 3, rng=0), nn.ReLU6(), nn.Conv2d(3, 4, 3, rng=1), nn.LeakyReLU(), nn.Flatten(),
        nn.Linear(64, 5, rng=2), nn.ReLU(), nn.ReLU(), nn.Linear(5, 2, rng=3),
    ]  # fmt: skip
    net = nn.Sequential(*layers)
    x, g = 3 * array(3, 2, 8, 8), array(3, 2)
    backprops = []
    y = x
    for layer in layers:
        y, backprop = layer.vjp(y)
        backprops.append(backprop)
    expected = g
    for backprop in reversed(backprops):
        expected = backprop(expected)
    gradients = [parameter.grad.copy() for parameter in net.parameters()]
    net.zero_grad()
    output, backprop = net.vjp(x)
    assert np.array_equal(output, y)
    assert np.array_equal(net(x), y)
    np.testing.assert_allclose(backprop(g), expected, rtol=1e-5, atol=1e-6)
    for parameter, gradient in zip(net.parameters(), gradients):
        np.testing.assert_allclose(parameter.grad, gradient, rtol=1e-5, atol=1e-5)


def test_a_prepared_net_without_parameters_keeps_to_its_buffers_dtype() -> None:
    """It refuses what the net refuses, and in the same words."""
    net = nn.Sequential(nn.BatchNorm2d(3, affine=False), nn.ReLU())
    said = []
    for run in (net, net.prepare()):
        with pytest.raises(TypeError) as refused:
            run(np.ones((2, 3, 4, 4)))
        said.append(str(refused.value))
    assert said[0] == said[1]
