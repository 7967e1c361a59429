"""Malformed and hostile model files: one clear exception each, before anything they ask for is allocated."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra [onnx] is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from fastconv.interop.onnx import load  # noqa: E402

ROOT = Path(__file__).parent.parent.parent


def model(nodes: list[Any], outputs: str = "y", **tensors: Any) -> Any:
    """A model of one input x, (2, 3), and constants."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info(outputs, TensorProto.FLOAT, None)
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()]
    graph = helper.make_graph(nodes, "net", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def node(operator: str, *inputs: str, **attributes: Any) -> Any:
    return helper.make_node(operator, list(inputs), ["y"], **attributes)


X = np.ones((2, 3), np.float32)
PLAIN = model([node("Relu", "x")])


def run(made: Any, *arrays: np.ndarray) -> Any:
    return load(made)(*(arrays or (X,)))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_is_cut_off_is_no_model(share: float) -> None:
    data = PLAIN.SerializeToString()
    with pytest.raises(ValueError, match=r"model|node|input|output|graph"):
        load(data[: int(share * len(data))])(X)


def test_what_is_no_protobuf_is_no_model(tmp_path: Path) -> None:
    for data in (b"", b"\x00" * 100, b"not a model at all", bytes(range(256))):
        path = tmp_path / "net.onnx"
        path.write_bytes(data)
        with pytest.raises(ValueError, match="model"):
            load(path)


def shortened() -> Any:
    made = model([node("Add", "x", "w")], w=np.ones((2, 3), np.float32))
    made.graph.initializer[0].raw_data = made.graph.initializer[0].raw_data[:-4]
    return made


def overflowing() -> Any:
    made = model([node("Add", "x", "w")], w=np.ones((2, 3), np.float32))
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend([2**40, 2**40])
    return made


def negative() -> Any:
    made = model([node("Add", "x", "w")], w=np.ones((2, 3), np.float32))
    made.graph.initializer[0].dims[0] = -2
    return made


def recursive() -> Any:
    """A function that calls itself."""
    body = [helper.make_node("f", ["a"], ["b"], domain="own")]
    function = helper.make_function("own", "f", ["a"], ["b"], body, [helper.make_opsetid("own", 1)])
    made = model([helper.make_node("f", ["x"], ["y"], domain="own")])
    made.functions.append(function)
    made.opset_import.append(helper.make_opsetid("own", 1))
    return made


MALFORMED: dict[str, tuple[Callable[[], Any], str]] = {
    "a tensor shorter than its shape": (shortened, "tensor 'w': shape .* needs 24 bytes, the model has 20"),
    "a shape beyond all memory": (overflowing, "tensor 'w'"),
    "a negative size": (negative, "tensor 'w': shape .* has a negative size"),
    "a function that calls itself": (recursive, "deep"),
    "a cycle": (
        lambda: model([helper.make_node("Add", ["x", "z"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]),
        r"nothing before it makes its input 'z'",
    ),
    "an input that is not there": (lambda: model([node("Add", "x", "nowhere")]), "its input 'nowhere'"),
    "an output that is not there": (lambda: model([node("Relu", "x")], outputs="z"), "the output 'z'"),
    "a name that is made twice": (lambda: model([node("Relu", "x"), node("Exp", "x")]), "'y' is made twice"),
    "an operator that does not exist": (lambda: model([node("Frobnicate", "x")]), "no operator Frobnicate"),
    "an attribute of another type": (lambda: model([node("Elu", "x", alpha="much")]), r"alpha"),
    "an attribute that does not exist": (lambda: model([node("Relu", "x", colour=1)]), "colour"),
    "too many inputs": (lambda: model([node("Relu", "x", "x")]), "inputs: 2 are given, and at most 1"),
    "too few inputs": (lambda: model([node("Add", "x")]), r"node 'y' \(Add\)"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_model_is_refused_when_it_is_loaded(name: str) -> None:
    make, words = MALFORMED[name]
    with pytest.raises((ValueError, TypeError), match=words):
        load(make())


HUGE = np.array([2**20, 2**20, 2**10], np.int64)

ABSURD: dict[str, Callable[[], Any]] = {
    "ConstantOfShape": lambda: model([node("ConstantOfShape", "s")], s=HUGE),
    "Tile": lambda: model([node("Tile", "x", "s")], s=HUGE[:2]),
    "Range": lambda: model(
        [node("Range", "a", "b", "c")], a=np.float32(0), b=np.float32(1e30), c=np.float32(1e-3)
    ),
    "Pad": lambda: model([node("Pad", "x", "s")], s=np.array([0, 0, 2**40, 2**40])),
    "Resize": lambda: model([node("Resize", "x", "", "f")], f=np.array([1e9, 1e9], np.float32)),
    "OneHot": lambda: model(
        [node("OneHot", "i", "d", "v")],
        i=np.zeros(2**10, np.int64),
        d=np.int64(2**50),
        v=np.ones(2, np.float32),
    ),
    "Expand, and a sum of it": lambda: model(
        [helper.make_node("Expand", ["x", "s"], ["z"]), node("Exp", "z")],
        s=np.array([2**20, 2**20, 2, 3], np.int64),
    ),
}


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_size_is_refused_before_it_is_allocated(name: str) -> None:
    with pytest.raises((MemoryError, ValueError), match=r"allocat|must|limit"):
        run(ABSURD[name]())


def test_an_endless_loop_ends_where_the_user_says() -> None:
    more = helper.make_tensor_value_info("more", TensorProto.BOOL, [])
    step = helper.make_tensor_value_info("step", TensorProto.INT64, [])
    again = helper.make_tensor_value_info("again", TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["more"], ["again"])], "body", [step, more], [again]
    )
    endless = model([helper.make_node("Loop", ["", "t"], [], body=body), node("Relu", "x")], t=np.array(True))
    endless.graph.node[0].output.append("nothing")
    body.node.append(helper.make_node("Identity", ["x"], ["seen"]))
    body.output.append(helper.make_tensor_value_info("seen", TensorProto.FLOAT, None))
    endless.graph.node[0].attribute[0].g.CopyFrom(body)
    endless.graph.output.append(helper.make_tensor_value_info("nothing", TensorProto.FLOAT, None))
    with pytest.raises(ValueError, match=r"\(Loop\): .*max_iterations=50"):
        load(endless, max_iterations=50)(X)


# ---- data outside the file ----------------------------------------------------------------------------


def outside(folder: Path, location: str, offset: int = 0, length: int = 24) -> Path:
    """A model whose weight lies in another file."""
    made = model([node("Add", "x", "w")], w=np.ones((2, 3), np.float32))
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        weight.external_data.add(key=key, value=value)
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_weights_lie_in_the_models_folder_and_nowhere_else(tmp_path: Path) -> None:
    """Not above it, not at a path of their own, not behind a link."""
    folder = tmp_path / "models"
    folder.mkdir()
    data = np.full(6, 2, np.float32).tobytes()
    (folder / "w.bin").write_bytes(data)
    (tmp_path / "secret.bin").write_bytes(data)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    np.testing.assert_array_equal(load(outside(folder, "w.bin"))(X), X + 2)
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "link.bin", "missing.bin", "", "."):
        with pytest.raises(ValueError, match="tensor 'w': lies in"):
            load(outside(folder, location))
    for offset, length in ((4, 24), (-1, 24), (0, 20), (0, 2**62)):
        with pytest.raises(ValueError, match="tensor 'w': needs 24 bytes"):
            load(outside(folder, "w.bin", offset, length))


# ---- at random ----------------------------------------------------------------------------------------


def test_models_changed_at_random_give_a_result_or_a_clear_exception() -> None:
    """No crash, no hang, no unbounded memory, in 2,000 mutants; mutants.py runs as many more as one likes."""
    command = [sys.executable, "-m", "tests.interop.mutants", "--seed", "11", "--count", "2000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["faults"] == []
    assert told["outcomes"]["run"] > 100
