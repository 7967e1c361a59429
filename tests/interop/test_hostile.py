"""Files that are malformed, cut off or malicious: one clear exception each, without what they ask for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra [onnx] is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from fastconv.interop.onnx import load  # noqa: E402
from tests.interop.models import FILES, found  # noqa: E402
from tests.interop.small_models import (  # noqa: E402
    BOOL,
    FLOAT,
    INT64,
    info,
    model,
    small_models,
    untyped,
)

ROOT = Path(__file__).parents[2]
make = helper.make_node


@contextmanager
def refused(
    *said: str, kinds: tuple[type[Exception], ...] = (ValueError,), room: int = 1 << 24
) -> Iterator[None]:
    """One of the exceptions, with these words in it, and less than `room` bytes taken meanwhile."""
    tracemalloc.start()
    try:
        with pytest.raises(kinds) as caught:
            yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    assert all(word in text for word in said), text
    assert peak < room


def net_of(*nodes: Any, shape: Sequence[int | str] = (2,), element: int = FLOAT, **weights: Any) -> Any:
    """A model with an input x and an output y."""
    return model(nodes, [info("x", element, shape)], ["y"], weights)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


# ---- files --------------------------------------------------------------------------------------------


def test_a_file_that_is_cut_off() -> None:
    """At every byte of a small file, and some of each of the others: an error, or a net that is whole."""
    for name, proto in small_models().items():
        data = proto.SerializeToString()
        for length in range(0, len(data), 1 if name == "functions" else 97):
            try:
                load(data[:length])
            except ValueError as error:
                assert str(error)  # noqa: PT017


@pytest.mark.parametrize("data", [b"", b"\x00", b"PK\x03\x04", b"\xff" * 64, b"\x08" * 11, bytes(range(256))])
def test_what_is_no_model(data: bytes) -> None:
    with refused("model: "):
        load(data)


@pytest.mark.parametrize("thing", [None, 3, [b""], np.zeros(3)])
def test_what_is_no_file(thing: Any) -> None:
    if isinstance(thing, np.ndarray):
        thing = thing.tolist()
    with refused("model: must be", kinds=(TypeError,)):
        load(thing)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none\.onnx"):
        load(tmp_path / "none.onnx")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=tmp_path.name):
        load(tmp_path)


@pytest.mark.parametrize("version", [0, -1, 5, 1000, 2**62])
def test_opsets_that_are_not_known(version: int) -> None:
    proto = net_of(make("Relu", ["x"], ["y"]))
    proto.opset_import[0].version = version
    with refused("opset", str(version)):
        load(proto)


# ---- tensors ------------------------------------------------------------------------------------------


def with_tensor(**told: Any) -> Any:
    proto = net_of(make("Add", ["x", "w"], ["y"]))
    proto.graph.initializer.append(TensorProto(name="w", **told))
    return proto


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"data_type": 1, "dims": [3], "raw_data": bytes(8)}, "needs 12 bytes"),
        ({"data_type": 1, "dims": [1], "raw_data": bytes(8)}, "needs 4 bytes"),
        ({"data_type": 1, "dims": [2], "raw_data": bytes(7)}, "needs 8 bytes"),
        ({"data_type": 1, "dims": [4], "float_data": [1, 2]}, "needs 4 numbers"),
        ({"data_type": 7, "dims": [], "int64_data": [1, 2]}, "needs 1 numbers"),
        ({"data_type": 1, "dims": [2], "int64_data": [1, 2]}, "needs 2 numbers"),
        ({"data_type": 1, "dims": [-1], "raw_data": b""}, "negative"),
        ({"data_type": 1, "dims": [-2, -3], "raw_data": bytes(24)}, "negative"),
        ({"data_type": 1, "dims": [2**62, 4], "raw_data": b""}, "needs"),
        ({"data_type": 1, "dims": [2**32, 2**32], "raw_data": b""}, "needs"),
        ({"data_type": 1, "dims": [10**12], "float_data": [0]}, "needs"),
        ({"data_type": 0, "dims": [1], "raw_data": bytes(4)}, "element type 0"),
        ({"data_type": 99, "dims": [1], "raw_data": bytes(4)}, "element type 99"),
        ({"data_type": -1, "dims": [1], "raw_data": bytes(4)}, "element type -1"),
        ({"data_type": 8, "dims": [2], "string_data": [b"a"]}, "needs 2"),
        ({"data_type": 22, "dims": [9], "raw_data": bytes(4)}, "needs 5 bytes"),
        ({"data_type": 1, "dims": [1] * 100, "raw_data": bytes(4)}, "axes"),
    ],
)
def test_tensors_that_are_not_what_their_shape_says(told: dict[str, Any], said: str) -> None:
    with refused("tensor 'w'", said):
        load(with_tensor(**told))


@pytest.mark.parametrize(
    ("dims", "indices"),
    [([10**12], [0]), ([2**31, 2**31], [0]), ([-3], [0]), ([3], [7]), ([3], [-9])],
)
def test_sparse_tensors_that_are_large_or_point_elsewhere(dims: list[int], indices: list[int]) -> None:
    proto = net_of(make("Add", ["x", "w"], ["y"]))
    values = numpy_helper.from_array(ones(1), "w")
    places = numpy_helper.from_array(np.array(indices), "i")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, dims))
    with refused("sparse tensor 'w'", kinds=(ValueError, MemoryError)):
        load(proto)


def external(folder: Path, location: str, **told: Any) -> Path:
    """A model whose weight of 8 bytes lies elsewhere."""
    proto = with_tensor(data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    for name, value in {"location": location, **told}.items():
        proto.graph.initializer[0].external_data.add(key=name, value=str(value))
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_weights_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"past" + np.array([1, 2], np.float32).tobytes())
    net = load(external(tmp_path, "w.bin", offset=4, length=8))
    assert net(ones(2)).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("../secret.bin", {}),
        ("inner/../../secret.bin", {}),
        ("link.bin", {}),
        ("inner/secret.bin", {}),
        ("missing.bin", {}),
        ("", {}),
        (".", {}),
        ("inside.bin", {"offset": -1}),
        ("inside.bin", {"offset": 1}),
        ("inside.bin", {"offset": 2**62}),
        ("inside.bin", {"length": 4}),
        ("inside.bin", {"length": 2**62}),
        ("inside.bin", {"length": -1}),
        ("inside.bin", {"offset": "many"}),
        ("inside.bin\0", {}),
        ("x" * 5000, {}),
    ],
)
def test_weights_elsewhere(tmp_path: Path, location: str, told: dict[str, Any]) -> None:
    """`link.bin` leads out of the folder, and so does `inner`."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(8))
    (folder / "inside.bin").write_bytes(bytes(8))
    os.symlink(tmp_path / "secret.bin", folder / "link.bin")
    os.symlink(tmp_path, folder / "inner")
    with refused("tensor 'w'"):
        load(external(folder, location, **told))


def test_weights_at_an_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(8))
    folder = tmp_path / "model"
    folder.mkdir()
    with refused("tensor 'w'", "outside the model's folder"):
        load(external(folder, str(tmp_path / "secret.bin")))


def test_weights_elsewhere_of_a_model_without_a_folder(tmp_path: Path) -> None:
    with refused("tensor 'w'", "load the model from its own file"):
        load(external(tmp_path, "w.bin").read_bytes())


# ---- graphs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proto", "said"),
    [
        (
            net_of(make("Relu", ["b"], ["a"]), make("Relu", ["a"], ["b"])),
            "nothing before it makes its input 'b'",
        ),
        (net_of(make("Relu", ["y"], ["y"])), "nothing before it makes its input 'y'"),
        (
            net_of(make("Relu", ["a"], ["y"]), make("Relu", ["x"], ["a"])),
            "nothing before it makes its input 'a'",
        ),
        (net_of(make("Relu", ["x"], ["y"]), make("Neg", ["x"], ["y"])), "'y' is made twice"),
        (net_of(make("Relu", ["x"], ["x"])), "'x' is made twice"),
        (net_of(make("Split", ["x"], ["y", "y"], num_outputs=2)), "'y' is made twice"),
        (net_of(), "nothing makes the output 'y'"),
        (net_of(make("Relu", ["x"], ["z"])), "nothing makes the output 'y'"),
        (net_of(make("Add", ["x"], ["y"])), "input 1 (B): must be given"),
        (net_of(make("Conv", ["x"], ["y"])), "input 1 (W): must be given"),
        (net_of(make("Relu", [], ["y"])), "input 0 (X): must be given"),
        (net_of(make("Relu", ["x", "x"], ["y"])), "2 are given, and at most 1 are taken"),
        (net_of(make("Relu", ["x"], ["y", "z"])), "2 are given, and at most 1 are taken"),
        (net_of(make("Concat", [], ["y"], axis=0)), "input 0 (inputs): must be given"),
        (net_of(make("Frobnicate", ["x"], ["y"])), "no operator Frobnicate"),
        (net_of(make("", ["x"], ["y"])), "no operator"),
        (net_of(make("Relu", ["x"], ["y"], domain="evil")), "no operator Relu (of evil 1)"),
        (net_of(make("Concat", ["x"], ["y"], **{f"a{i}": i for i in range(5000)}, axis=0)), "is none of"),
    ],
)
def test_graphs_that_are_none(proto: Any, said: str) -> None:
    with refused(said):
        load(proto)


def test_inputs_of_one_name() -> None:
    proto = net_of(make("Relu", ["x"], ["y"]))
    proto.graph.input.append(info("x", FLOAT, [3]))
    with refused("'x' is made twice"):
        load(proto)


def test_names_that_are_no_text() -> None:
    """Protobuf takes them for a broken file, and so they are."""
    data = net_of(make("Relu", ["x"], ["y"])).SerializeToString().replace(b"Relu", b"\xff\xfe\xfd\xfc")
    with refused():
        load(data)


def test_attributes_of_another_type() -> None:
    node = make("Concat", ["x", "x"], ["y"])
    node.attribute.append(helper.make_attribute("axis", 0))
    node.attribute[0].type = onnx.AttributeProto.FLOATS
    with refused("attribute 'axis': is FLOATS, and must be INT"):
        load(net_of(node))


def test_functions_that_call_themselves() -> None:
    one = helper.make_function("own", "F", ["a"], ["b"], [make("F", ["a"], ["b"], domain="own")], [])
    with refused("graphs inside graphs"):
        load(model([make("F", ["x"], ["y"], domain="own")], [info("x", FLOAT, [2])], ["y"], functions=[one]))


def test_functions_that_call_the_next_twice() -> None:
    """Nodes multiply by two with every function: what is written in a line each would be 2**30 nodes."""
    functions = [
        helper.make_function(
            "own",
            f"F{i}",
            ["a"],
            ["c"],
            [make(f"F{i + 1}", ["a"], ["b"], domain="own"), make(f"F{i + 1}", ["b"], ["c"], domain="own")],
            [],
        )
        for i in range(30)
    ]
    last = helper.make_function(
        "own", "F30", ["a"], ["c"], [make("Relu", ["a"], ["c"])], [helper.make_opsetid("", 18)]
    )
    with pytest.raises(ValueError, match="functions make more than"):
        load(
            model(
                [make("F0", ["x"], ["y"], domain="own")],
                [info("x", FLOAT, [2])],
                ["y"],
                functions=[*functions, last],
            )
        )


def nested(depth: int) -> bytes:
    """A file with graphs in graphs, written by hand: protobuf itself writes none that it would not read."""

    def number(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value % 128 | 128]) + number(value // 128)

    def field(tag: int, data: bytes) -> bytes:
        return number(tag << 3 | 2) + number(len(data)) + data

    plain = helper.make_graph([make("Relu", ["x"], ["i"])], "plain", [], untyped("i")).SerializeToString()
    other, inner = make("If", ["c"], ["i"], else_branch=onnx.GraphProto.FromString(plain)), plain
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, inner) + number(20 << 3) + number(5)
        node = other.SerializeToString() + field(5, attribute)
        inner = field(1, node) + field(12, untyped("i")[0].SerializeToString())
    around = model([], [info("x", FLOAT, [2])], [], {"c": np.array(True)})
    return around.SerializeToString() + field(7, inner)


def test_graphs_in_graphs() -> None:
    """As many as protobuf reads; more of them are refused."""
    assert load(nested(25))(ones(2)).tolist() == [1, 1]
    for depth in (40, 1000):
        with refused("model: "):
            load(nested(depth))


def test_a_chain_of_many_nodes() -> None:
    """No walk through the graph takes a stack frame per node."""
    count = 3000
    for operator in ("Relu", "Identity", "Mul", "Transpose"):
        nodes = [
            make(operator, [f"v{i}", "x"][: 2 if operator == "Mul" else 1], [f"v{i + 1}"])
            for i in range(count)
        ]
        proto = model(nodes, [info("v0", FLOAT, [2, 2]), info("x", FLOAT, [2, 2])], [f"v{count}"])
        assert load(proto)(ones(2, 2), ones(2, 2)).shape == (2, 2)


# ---- sizes --------------------------------------------------------------------------------------------

LARGE = (10**12, 2**40, 2**61, 2**62, 2**63 - 1)


@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize(
    ("operator", "told"),
    [
        ("ConstantOfShape", lambda n: ([], {"s": [n]})),
        ("ConstantOfShape", lambda n: ([], {"s": [n, n, n]})),
        ("Expand", lambda n: (["x"], {"s": [n, 2]})),
        ("Tile", lambda n: (["x"], {"s": [n]})),
        ("Pad", lambda n: (["x"], {"s": [n, 0]})),
        ("Pad", lambda n: (["x"], {"s": [0, n]})),
        ("Range", lambda n: (["zero"], {"s": np.array(n), "one": np.array(1)})),
        ("OneHot", lambda n: (["zero"], {"s": np.array(n), "values": np.zeros(2, np.float32)})),
        ("Resize", lambda n: (["x", "", ""], {"s": [n]})),
        ("Resize", lambda n: (["x", ""], {"s": np.array([n], np.float32)})),
        ("HannWindow", lambda n: ([], {"s": np.array(n)})),
        ("EyeLike", lambda n: (["e"], {"s": [n, n]})),
    ],
)
def test_what_would_be_huge(operator: str, told: Callable[[int], Any], size: int) -> None:
    """Said before anything of the size is made: constants are computed at the first run, inputs in each."""
    first, weights = told(size)
    given = {"zero": np.array(0), **weights}
    nodes = [make(operator, [*first, *(name for name in weights)], ["y"])]
    if operator == "EyeLike":
        nodes = [make("ConstantOfShape", ["s"], ["e"]), make("EyeLike", ["e"], ["y"])]
    said = ("node",) if operator in ("EyeLike", "HannWindow") else ("node", operator)  # made of other nodes
    with refused(*said, kinds=(ValueError, MemoryError)):
        load(net_of(*nodes, **given))(ones(2))
    if operator == "EyeLike":
        return
    # the same size as an input, which nobody knows before
    inputs = [info("x", FLOAT, [2]), helper.make_tensor_value_info(
        "s", FLOAT if np.array(weights["s"]).dtype.kind == "f" else INT64, np.array(weights["s"]).shape
    )]  # fmt: skip
    rest = {name: value for name, value in given.items() if name != "s"}
    with refused(*said, kinds=(ValueError, MemoryError)):
        load(model(nodes, inputs, ["y"], rest))(ones(2), np.asarray(weights["s"]))


@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("Conv", lambda n: {"pads": [n, n]}),
        ("Conv", lambda n: {"dilations": [n]}),
        ("Conv", lambda n: {"group": n}),
        ("ConvTranspose", lambda n: {"strides": [n]}),
        ("ConvTranspose", lambda n: {"output_padding": [n]}),
        ("ConvTranspose", lambda n: {"output_shape": [n]}),
        ("MaxPool", lambda n: {"kernel_shape": [n]}),
        ("MaxPool", lambda n: {"kernel_shape": [2], "pads": [n, n]}),
        ("MaxPool", lambda n: {"kernel_shape": [2], "dilations": [n]}),
        ("AveragePool", lambda n: {"kernel_shape": [n], "pads": [n, n]}),
        ("AveragePool", lambda n: {"kernel_shape": [2], "pads": [n, n], "count_include_pad": 1}),
        ("LpPool", lambda n: {"kernel_shape": [n], "pads": [n, n]}),
        ("MaxUnpool", lambda n: {"kernel_shape": [n]}),
    ],
)
def test_windows_that_would_be_huge(operator: str, attributes: Callable[[int], Any], size: int) -> None:
    inputs = {"Conv": ["x", "w"], "ConvTranspose": ["x", "w"], "MaxUnpool": ["x", "i"]}.get(operator, ["x"])
    weights = {"w": ones(2, 2, 2), "i": np.zeros((1, 2, 5), np.int64)}
    node = make(operator, inputs, ["y"], **attributes(size))
    with refused("node", operator, kinds=(ValueError, MemoryError)):
        load(net_of(node, shape=(1, 2, 5), **weights))(ones(1, 2, 5))


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("Conv", {"strides": [0]}),
        ("Conv", {"dilations": [0]}),
        ("Conv", {"group": 0}),
        ("Conv", {"group": -1}),
        ("Conv", {"pads": [-1, 0]}),
        ("Conv", {"pads": [1]}),
        ("Conv", {"kernel_shape": [3]}),
        ("Conv", {"kernel_shape": [2, 2]}),
        ("Conv", {"auto_pad": "MAYBE"}),
        ("ConvTranspose", {"strides": [0]}),
        ("ConvTranspose", {"group": 0}),
        ("ConvTranspose", {"group": 3}),
        ("ConvTranspose", {"pads": [9, 9]}),
        ("ConvTranspose", {"output_padding": [-1]}),
        ("MaxPool", {"kernel_shape": [0]}),
        ("MaxPool", {"kernel_shape": [-3]}),
        ("MaxPool", {"kernel_shape": [2], "strides": [-1]}),
        ("MaxPool", {"kernel_shape": [2], "strides": [0]}),
        ("MaxPool", {"kernel_shape": [2], "pads": [-1, -1]}),
        ("MaxPool", {"kernel_shape": [9]}),
        ("AveragePool", {"kernel_shape": []}),
        ("LRN", {"size": 0}),
        ("LpPool", {"kernel_shape": [2], "p": 0}),
    ],
)
def test_windows_that_are_none(operator: str, attributes: dict[str, Any]) -> None:
    inputs = ["x", "w"] if operator.startswith("Conv") else ["x"]
    node = make(operator, inputs, ["y"])
    for name, value in attributes.items():
        node.attribute.append(
            helper.make_attribute(name, value, attr_type=onnx.AttributeProto.INTS)
            if value == []
            else helper.make_attribute(name, value)
        )
    with refused("node", operator):
        load(net_of(node, shape=(1, 2, 5), w=ones(2, 2, 2)))(ones(1, 2, 5))


# ---- what nodes say to each other ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "node",
    [
        make("Conv", ["x", "ids"], ["y"]),
        make("Add", ["x", "text"], ["y"]),
        make("MatMul", ["x", "text"], ["y"]),
        make("Reshape", ["x", "x"], ["y"]),
        make("Gather", ["ids", "x"], ["y"]),
        make("Gather", ["x", "far"], ["y"]),
        make("Gather", ["x", "ids"], ["y"], axis=7),
        make("Where", ["x", "x", "text"], ["y"]),
        make("Concat", ["x", "ids"], ["y"], axis=0),
        make("Transpose", ["x"], ["y"], perm=[0, 0, 1]),
        make("Transpose", ["x"], ["y"], perm=[0, 1, 5]),
        make("Reshape", ["x", "far"], ["y"]),
        make("Slice", ["x", "ids", "far", "far"], ["y"]),
        make("Squeeze", ["x", "ids"], ["y"]),
        make("Einsum", ["x", "x"], ["y"], equation="ij,jk->iz"),
        make("Einsum", ["x"], ["y"], equation="((("),
        make("LSTM", ["x", "x", "x"], ["y"], hidden_size=3),
        make("LSTM", ["x", "w", "w"], ["y"], hidden_size=2**40),
        make("ConcatFromSequence", ["x"], ["y"], axis=0),
        make("Sigmoid", ["text"], ["y"]),
        make("TopK", ["x", "far"], ["y", "z"]),
        make("ScatterND", ["x", "ids", "x"], ["y"]),
        make("Cast", ["text"], ["y"], to=FLOAT),
    ],
    ids=lambda node: node.op_type,
)
def test_values_of_other_types_and_shapes(node: Any) -> None:
    weights = {
        "ids": [0, 1],
        "far": [99],
        "text": np.array(["a", "b"], object),
        "w": ones(1, 4, 5),
    }
    with refused("node", node.op_type, kinds=(ValueError, TypeError, MemoryError)):
        load(net_of(node, shape=(1, 2, 5), **weights))(ones(1, 2, 5))


def loop(outputs: Sequence[str], inputs: int = 3, trips: int | None = 3, **told: Any) -> Any:
    """A Loop whose body adds one to what it carries."""
    names = [("i", INT64, []), ("c", BOOL, []), ("s", FLOAT, [2])][:inputs]
    body = helper.make_graph(
        [make("Identity", ["true"], ["go"]), make("Add", ["one", "one"], ["t"])],
        "body",
        [info(*each) for each in names],
        untyped(*outputs),
    )
    weights = {"one": ones(2), "true": np.array(True)}
    if trips is not None:
        weights["trips"] = np.array(trips)
    return net_of(make("Loop", ["" if trips is None else "trips", "true", "x"], ["y"], body=body), **weights)


@pytest.mark.parametrize(
    "proto",
    [loop(["go"]), loop([]), loop(["go", "t"], inputs=2), loop(["t", "go"]), loop(["go", "missing"])],
)
def test_bodies_that_do_not_fit_their_loop(proto: Any) -> None:
    with refused(kinds=(ValueError, TypeError)):
        load(proto)(ones(2))


@pytest.mark.parametrize("trips", [None, 10**12, 2**63 - 1])
def test_loops_without_end(trips: int | None) -> None:
    with refused("node", "Loop", "max_iterations=50"):
        load(loop(["go", "t"], trips=trips), max_iterations=50)(ones(2))


def test_what_a_loop_keeps_is_counted() -> None:
    """Each iteration is small; all of them are not."""
    body = helper.make_graph(
        [make("Identity", ["c"], ["go"]), make("ConstantOfShape", ["n"], ["t"])],
        "body",
        [info("i", INT64, []), info("c", BOOL, [])],
        untyped("go", "t"),
    )
    proto = net_of(make("Loop", ["trips", ""], ["y"], body=body), n=[1 << 20], trips=np.array(10**9))
    with refused("node", "Loop", kinds=(ValueError, MemoryError), room=1 << 30):
        load(proto, max_iterations=100)(ones(2))


@pytest.mark.parametrize("outputs", [["a"], ["a", "b", "a"]])
def test_branches_with_other_numbers_of_outputs(outputs: list[str]) -> None:
    nodes = [make("Relu", ["x"], ["a"]), make("Neg", ["x"], ["b"])]
    branches = [
        helper.make_graph(nodes, "branch", [], untyped(*names)) for names in (["a", "b"], outputs[:1])
    ]
    for condition in (True, False):
        node = make("If", ["c"], ["y", "z"], then_branch=branches[0], else_branch=branches[1])
        with refused("node", "If"):
            load(net_of(node, c=np.array(condition)))(ones(2))


# ---- mutants ------------------------------------------------------------------------------------------


def mutants(*arguments: str) -> dict[str, Any]:
    """What became of them: in a process of their own, with a limit to its memory."""
    command = [sys.executable, "-m", "tests.interop.mutants", *arguments]
    path = os.pathsep.join(filter(None, [*sys.path, str(ROOT)]))
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout)
    assert not told["faults"]
    return told["outcomes"]


def test_mutants_of_small_models() -> None:
    """No crash, no hang, no memory without bounds; nothing comes out but results and a few exceptions."""
    outcomes = mutants("--seed", "13", "--count", "2000")
    assert sum(outcomes.values()) == 2000
    assert outcomes["run"] > 200  # some go deep, and are not turned away at the door


def test_mutants_of_real_models() -> None:
    small = [str(path) for name in FILES if name not in ("rec", "det") for path in [found(name)[0]] if path]
    if not small:
        pytest.skip(found("cls")[1])
    assert sum(mutants("--seed", "14", "--count", "400", *small).values()) == 400
