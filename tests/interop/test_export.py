"""Nets written as ONNX models: onnxruntime comes to the same results, and what is read again is the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nn_cases import F64, LAYERS, LayerCase, small_net

from fastconv import nn
from fastconv.graph import Graph, Node, Value

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
from fastconv.interop.onnx import export, load  # noqa: E402

#: Layers whose case of `LAYERS` ONNX has no words for, and what the refusal says.
UNSAID = {
    "conv2d unbatched": "axes",
    "lp_pool2d": "ceil_mode",
    **{f"adaptive_{kind}_pool{rank}d": "windows differ" for kind in ("avg", "max") for rank in (1, 2, 3)},
}

#: What onnxruntime does not run, though it is ONNX.
NOT_RUN = {"local_response_norm"}


@pytest.fixture(autouse=True)
def _in_float32() -> Iterator[None]:
    """The cases in float32, for onnxruntime has no convolution of float64."""
    F64["dtype"] = np.float32
    yield
    F64["dtype"] = np.float64


def made(case: LayerCase) -> nn.Layer:
    return small_net(np.float32) if case.name == "sequential" else case.make()


def ran(model: onnx.ModelProto, *inputs: np.ndarray) -> list[np.ndarray]:
    """What onnxruntime makes of them."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {each.name: x for each, x in zip(session.get_inputs(), inputs)})


def drawn(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


SAID = [case for case in LAYERS if case.name not in UNSAID]


@pytest.mark.parametrize("case", SAID, ids=lambda case: case.name)
def test_every_layer_gives_the_same_in_onnxruntime(case: LayerCase) -> None:
    """To 1e-5 of the largest value, for a batch of another size than the one exported with."""
    net, x = made(case), drawn((case.shape[0] + 1, *case.shape[1:]))
    model = export(net, None, case.shape)
    expected = net(x)
    bound = 1e-5 * np.abs(expected).max()
    assert np.abs(load(model)(x) - expected).max() <= bound
    if case.name not in NOT_RUN:
        (got,) = ran(model, x)
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= bound


@pytest.mark.parametrize("case", SAID, ids=lambda case: case.name)
def test_what_is_read_is_written_the_same(case: LayerCase) -> None:
    """Nodes, weights, inputs and outputs of a second export are those of the first."""
    first = export(made(case), None, case.shape).graph
    second = export(load(onnx.helper.make_model(first, opset_imports=OPSETS)), None).graph
    for part in ("node", "initializer", "input", "output"):
        assert list(getattr(first, part)) == list(getattr(second, part))


OPSETS = [onnx.helper.make_opsetid("", 21)]


@pytest.mark.parametrize("name", UNSAID)
def test_what_onnx_cannot_say_is_refused(name: str, tmp_path: Path) -> None:
    """In one error, and no file is left."""
    case = next(case for case in LAYERS if case.name == name)
    path = tmp_path / "net.onnx"
    with pytest.raises(ValueError, match=UNSAID[name]):
        export(made(case), path, case.shape)
    assert os.listdir(tmp_path) == []


def test_the_error_names_the_layer() -> None:
    """By the path that `summary` and `state_dict` have for it."""

    class Own(nn.Layer):
        def __call__(self, x: np.ndarray) -> np.ndarray:
            return x

    with pytest.raises(ValueError, match=r"layer '1\.0' \(Own\)"):
        export(nn.Sequential(nn.ReLU(), nn.Sequential(Own())), None, (1, 2))
    with pytest.raises(ValueError, match=r"layer '1' \(LocalResponseNorm\): size=4"):
        export(nn.Sequential(nn.ReLU(), nn.LocalResponseNorm(4)), None, (1, 8, 3, 3))


def net_of_many() -> nn.Sequential:
    """Branches, a residual block, activations inside convolutions, a learned norm."""
    block = nn.Residual(
        nn.Conv2d(8, 8, 3, padding=1, bias=False, rng=1), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 8, 3, padding=1, activation="leaky_relu", rng=2),
    )  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, activation="relu", rng=0),
        block,
        nn.Concat(nn.Conv2d(8, 4, 1, rng=3), nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Dropout())),
        nn.ConvTranspose2d(12, 6, 3, stride=2, padding=1, output_padding=1, rng=4),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.LayerNorm(24),
        nn.Linear(24, 5, rng=5),
        nn.Softmax(),
    )


def test_a_net_from_end_to_end(tmp_path: Path) -> None:
    """Written, checked, run by onnxruntime and read again; weights keep their names."""
    net, x = net_of_many(), drawn((3, 3, 16, 16))
    path = tmp_path / "net.onnx"
    model = export(net, path, (1, 3, 16, 16), name="many", metadata={"trained on": "noise"})
    onnx.checker.check_model(str(path), full_check=True)
    assert os.listdir(tmp_path) == ["net.onnx"]
    assert [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", "", "", ""]
    assert [dim.dim_param for dim in model.graph.output[0].type.tensor_type.shape.dim] == ["batch", ""]
    assert {each.name for each in model.graph.initializer} >= set(net.state_dict())
    expected, graph = net(x), load(path)
    assert np.abs(graph(x) - expected).max() <= 1e-5 * expected.max()
    assert np.abs(ran(model, x)[0] - expected).max() <= 1e-5 * expected.max()
    assert graph.metadata == {"trained on": "noise"}
    assert export(graph, None).graph == model.graph


def test_a_weight_that_stands_twice_is_written_once() -> None:
    """One initializer, read by two nodes."""
    layer = nn.Conv2d(2, 2, 3, padding=1, rng=0)
    graph = export(nn.Sequential(layer, nn.Tanh(), layer), None, (1, 2, 5, 5)).graph
    assert [each.name for each in graph.initializer] == ["0.weight", "0.bias"]
    assert graph.node[0].input[1] == graph.node[2].input[1]


def test_training_goes_on_beside_the_file() -> None:
    """What has been written is the net as it was."""
    net = nn.Sequential(nn.Linear(3, 2, rng=0))
    model = export(net, None, (1, 3))
    before, x = net(drawn((4, 3))), drawn((4, 3))
    net.parameters()[0].value[...] = 0
    assert np.allclose(load(model)(x), before, atol=1e-6)


def test_an_output_that_is_an_input_or_stands_twice() -> None:
    """ONNX wants a node for each output: so there is one."""
    x, y = Value("x", np.dtype(np.float32), (2,)), Value("y")
    graph = Graph([x], [Node("Relu", [x], [y])], [y, x, y])
    model = export(graph, None)
    given = np.array([-1, 2], np.float32)
    for got in (load(model)(given), ran(model, given)):
        assert [each.tolist() for each in got] == [[0, 2], [-1, 2], [0, 2]]


def test_a_file_that_cannot_be_written_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails on the way, the old file is whole, and nothing lies beside it."""
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")

    def fails(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="No space"):
        export(nn.Sequential(nn.ReLU()), path, (1, 2))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["net.onnx"]


@pytest.mark.parametrize(
    ("net", "shape", "words"),
    [
        ("net", (1, 2), "net: must be a Layer"),
        (nn.ReLU(), None, "input_shape=None"),
        (nn.ReLU(), (1, 0), "input_shape=0"),
        (nn.Linear(3, 2), (1, 4), "in_features=3"),
    ],
)
def test_bad_arguments_are_refused(net: object, shape: object, words: str) -> None:
    """By name."""
    with pytest.raises((TypeError, ValueError), match=words):
        export(net, None, shape)


def test_words_are_looked_up_in_a_table() -> None:
    """Written as a Gather, with integers as the input."""
    words = np.random.default_rng(0).integers(0, 12, (5, 7))
    table = nn.Embedding(12, 4, 0, rng=0)
    net = nn.Sequential(table, nn.Conv1d(4, 3, 3, rng=0), nn.ReLU(), nn.GlobalMaxPool())
    model = export(net, None, words.shape)
    assert [node.op_type for node in model.graph.node][:2] == ["Gather", "Transpose"]
    np.testing.assert_allclose(load(model)(words), net(words), rtol=1e-6)
    np.testing.assert_allclose(ran(model, words)[0], net(words), rtol=1e-5, atol=1e-6)
