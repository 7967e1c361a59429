"""Small models of every kind that there is: seeds for mutants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, INT8, UINT8, BOOL = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.BOOL,
)


def info(name: str, element: int, shape: Sequence[int | str | None] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def untyped(*names: str) -> list[onnx.ValueInfoProto]:
    """Outputs about which nothing is said."""
    return [helper.make_value_info(name, onnx.TypeProto()) for name in names]


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str],
    weights: Mapping[str, Any] | None = None,
    opset: int = 18,
    **told: Any,
) -> onnx.ModelProto:
    """A model whose weights are arrays, or lists of int64."""
    held = [
        numpy_helper.from_array(array if isinstance(array, np.ndarray) else np.array(array, np.int64), name)
        for name, array in (weights or {}).items()
    ]
    graph = helper.make_graph(list(nodes), "net", list(inputs), untyped(*outputs), held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **told)


def _draw(seed: int, *shape: int, dtype: Any = np.float32) -> np.ndarray:
    return (2 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def _convolutions() -> onnx.ModelProto:
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w1", "b1"], ["c1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        make("BatchNormalization", ["c1", "b1", "b1", "b1", "var"], ["n1"]),
        make("Relu", ["n1"], ["r1"]),
        make("MaxPool", ["r1"], ["p1"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        make("Conv", ["p1", "w2"], ["c2"], group=4, dilations=[2, 1], auto_pad="SAME_UPPER"),
        make("Add", ["c2", "p1"], ["s"]),
        make("Concat", ["s", "p1"], ["j"], axis=1),
        make("AveragePool", ["j"], ["a"], kernel_shape=[2, 2], count_include_pad=1),
        make("GlobalAveragePool", ["a"], ["g"]),
        make("Flatten", ["g"], ["f"]),
        make("Gemm", ["f", "w3", "b3"], ["h"], transB=1, alpha=0.5),
        make("Softmax", ["h"], ["y"], axis=-1),
    ]
    weights = {
        "w1": _draw(0, 4, 3, 3, 3),
        "b1": _draw(1, 4),
        "var": np.abs(_draw(2, 4)),
        "w2": _draw(3, 4, 1, 3, 3),
        "w3": _draw(4, 5, 8),
        "b3": _draw(5, 5),
    }
    return model(nodes, [info("x", FLOAT, ["n", 3, 12, 12])], ["y"], weights)


def _other_windows() -> onnx.ModelProto:
    make = helper.make_node
    nodes = [
        make("ConvTranspose", ["x", "w"], ["t"], strides=[2], output_padding=[1], pads=[1, 0]),
        make("Pad", ["t", "pads"], ["p"], mode="reflect"),
        make("LpPool", ["p"], ["l"], kernel_shape=[3], strides=[1], p=2),
        make("MaxPool", ["p"], ["m", "i"], kernel_shape=[2], strides=[2]),
        make("MaxUnpool", ["m", "i"], ["u"], kernel_shape=[2], strides=[2]),
        make("Conv", ["l", "v"], ["y"], dilations=[2]),
        make("AveragePool", ["u"], ["z"], kernel_shape=[3], dilations=[2], ceil_mode=1),
        make("LRN", ["x"], ["q"], size=3),
    ]
    weights = {"w": _draw(0, 2, 3, 3), "v": _draw(1, 2, 3, 3), "pads": [0, 0, 1, 0, 0, 2]}
    return model(nodes, [info("x", FLOAT, [2, 2, 9])], ["y", "z", "q"], weights, 19)


def _deep_windows() -> onnx.ModelProto:
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1, 1, 1]),
        make("LeakyRelu", ["c"], ["r"], alpha=0.1),
        make("MaxPool", ["r"], ["p"], kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
        make("InstanceNormalization", ["p", "s", "s"], ["i"]),
        make("GlobalMaxPool", ["i"], ["y"]),
    ]
    weights = {"w": _draw(0, 3, 2, 3, 3, 3), "s": _draw(1, 3)}
    return model(nodes, [info("x", FLOAT, [1, 2, 4, 4, 4])], ["y"], weights)


def _pooled_integers() -> onnx.ModelProto:
    make = helper.make_node
    nodes = [
        make("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1]),
        make("MaxPool", ["x"], ["z", "i"], kernel_shape=[3, 2], strides=[1, 2], storage_order=1),
    ]
    return model(nodes, [info("x", UINT8, [1, 2, 6, 6])], ["y", "z", "i"])


def _shapes() -> onnx.ModelProto:
    """The arithmetic of shapes, as exporters write it."""
    make = helper.make_node
    nodes = [
        make("Shape", ["x"], ["s"]),
        make("Gather", ["s", "zero"], ["n"], axis=0),
        make("Gather", ["s", "one"], ["c"], axis=0),
        make("Mul", ["n", "c"], ["nc"]),
        make("Unsqueeze", ["nc", "axes"], ["u"]),
        make("Concat", ["u", "minus"], ["t"], axis=0),
        make("Reshape", ["x", "t"], ["r"]),
        make("Transpose", ["r"], ["tr"], perm=[1, 0]),
        make("Slice", ["tr", "axes", "two", "axes", "one1"], ["sl"]),
        make("ConstantOfShape", ["t2"], ["k"], value=helper.make_tensor("v", FLOAT, [1], [2.0])),
        make("Expand", ["sl", "t2"], ["e"]),
        make("Add", ["e", "k"], ["y"]),
        make("Range", ["zero", "nc", "one"], ["g"]),
        make("Tile", ["g", "two"], ["z"]),
        make("Split", ["x"], ["q1", "q2"], axis=2, num_outputs=2),
        make("Where", ["cond", "q1", "q2"], ["w"]),
        make("Squeeze", ["w"], ["sq"]),
        make("CumSum", ["sq", "zero"], ["cs"]),
        make("TopK", ["x", "two"], ["tk", "ti"], axis=1, largest=0),
        make("OneHot", ["ti", "five", "vals"], ["oh"], axis=1),
    ]
    weights = {
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "five": np.array(5, np.int64),
        "axes": [0],
        "one1": [1],
        "two": [2],
        "minus": [-1],
        "t2": [2, 6],
        "cond": np.array([[True], [False], [True]]),
        "vals": _draw(0, 2),
    }
    return model(nodes, [info("x", FLOAT, ["n", 3, 4])], ["y", "z", "cs", "oh", "tk"], weights)


def _indices() -> onnx.ModelProto:
    make = helper.make_node
    nodes = [
        make("GatherElements", ["x", "i"], ["a"], axis=1),
        make("GatherND", ["x", "nd"], ["b"]),
        make("ScatterElements", ["x", "i", "a"], ["c"], axis=1, reduction="add"),
        make("ScatterND", ["c", "nd", "b"], ["d"]),
        make("ArgMax", ["d"], ["e"], axis=1, keepdims=0),
        make("ReduceMean", ["d", "axes"], ["f"], keepdims=0),
        make("ReduceSum", ["d"], ["g"]),
        make("NonZero", ["d"], ["h"]),
        make("Compress", ["d", "cond"], ["k"], axis=0),
        make("Unique", ["d"], ["u", "ui"], sorted=1),
        make("Trilu", ["d", "diag"], ["t"], upper=0),
        make("NonMaxSuppression", ["boxes", "scores", "most"], ["nms"]),
        make("Einsum", ["x", "d"], ["ein"], equation="ij,kj->ik"),
    ]
    weights = {
        "i": np.array([[0, 2], [1, 1], [3, -1]], np.int64),
        "nd": np.array([[0, 1], [2, 3]], np.int64),
        "axes": [1],
        "cond": np.array([True, False, True]),
        "diag": np.array(1, np.int64),
        "boxes": np.abs(_draw(0, 1, 4, 4)),
        "scores": _draw(1, 1, 2, 4),
        "most": [3],
    }
    outputs = ["e", "f", "g", "h", "k", "u", "t", "nms", "ein"]
    return model(nodes, [info("x", FLOAT, [3, 4])], outputs, weights, 18)


def _branches() -> onnx.ModelProto:
    """An If in an If, each of whose branches reads what is around it."""
    make = helper.make_node
    inner = [
        helper.make_graph([make(name, ["x"], ["i"])], name, [], untyped("i")) for name in ("Relu", "Neg")
    ]
    first = helper.make_graph(
        [make("If", ["d"], ["t"], then_branch=inner[0], else_branch=inner[1])], "then", [], untyped("t")
    )
    second = helper.make_graph([make("Add", ["x", "w"], ["e"])], "else", [], untyped("e"))
    nodes = [
        make("ReduceSum", ["x"], ["s"], keepdims=0),
        make("Greater", ["s", "zero"], ["c"]),
        make("Not", ["c"], ["d"]),
        make("If", ["c"], ["y"], then_branch=first, else_branch=second),
        make("Sigmoid", ["y"], ["z"]),
    ]
    weights = {"zero": np.array(0, np.float32), "w": _draw(0, 3)}
    return model(nodes, [info("x", FLOAT, [3])], ["z"], weights)


def _loops() -> onnx.ModelProto:
    make = helper.make_node
    body = helper.make_graph(
        [
            make("Add", ["state", "w"], ["next"]),
            make("ReduceMax", ["next"], ["m"], keepdims=0),
            make("Less", ["m", "limit"], ["go"]),
            make("Cast", ["iteration"], ["kept"], to=FLOAT),
        ],
        "body",
        [info("iteration", INT64, []), info("condition", BOOL, []), info("state", FLOAT, [3])],
        untyped("go", "next", "kept"),
    )
    step = helper.make_graph(
        [make("Add", ["h", "e"], ["h2"]), make("Mul", ["h2", "w"], ["o"])],
        "step",
        [info("h", FLOAT, [3]), info("e", FLOAT, [3])],
        untyped("h2", "o"),
    )
    nodes = [
        make("Loop", ["trips", "true", "x"], ["y", "k"], body=body),
        make("Scan", ["y", "rows"], ["h", "z"], body=step, num_scan_inputs=1, scan_input_directions=[1]),
    ]
    weights = {
        "trips": np.array(5, np.int64),
        "true": np.array(True),
        "w": np.abs(_draw(0, 3)),
        "limit": np.array(20, np.float32),
        "rows": _draw(1, 4, 3),
    }
    return model(nodes, [info("x", FLOAT, [3])], ["k", "h", "z"], weights, 17)


def _recurrences() -> onnx.ModelProto:
    make = helper.make_node
    nodes = [
        make("LSTM", ["x", "w", "r", "b", "lens"], ["y", "h", "c"], hidden_size=3, direction="bidirectional"),
        make("Squeeze", ["h"], ["q"]),
        make("GRU", ["x", "w2", "r2"], ["g"], hidden_size=2, linear_before_reset=1),
        make("RNN", ["x", "w3", "r3"], ["", "n"], hidden_size=2, activations=["Relu"], clip=3.0),
    ]
    weights = {
        "w": _draw(0, 2, 12, 4),
        "r": _draw(1, 2, 12, 3),
        "b": _draw(2, 2, 24),
        "lens": np.array([5, 3], np.int32),
        "w2": _draw(3, 1, 6, 4),
        "r2": _draw(4, 1, 6, 2),
        "w3": _draw(5, 1, 2, 4),
        "r3": _draw(6, 1, 2, 2),
    }
    return model(nodes, [info("x", FLOAT, [5, 2, 4])], ["y", "q", "g", "n"], weights, 14)


def _resized() -> onnx.ModelProto:
    make = helper.make_node
    nodes = [
        make("Resize", ["x", "", "scales"], ["a"], mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric"),
        make("Resize", ["x", "", "", "sizes"], ["b"], mode="linear"),
        make("Resize", ["x", "", "scales"], ["c"], mode="cubic", cubic_coeff_a=-0.5),
        make("GridSample", ["x", "grid"], ["d"], padding_mode="reflection"),
        make("RoiAlign", ["x", "rois", "which"], ["e"], output_height=2, output_width=2, sampling_ratio=2),
        make("DepthToSpace", ["x"], ["f"], blocksize=2),
        make("SpaceToDepth", ["x"], ["g"], blocksize=2),
    ]  # fmt: skip
    weights = {
        "scales": np.array([1, 1, 1.5, 2], np.float32),
        "sizes": [1, 4, 3, 7],
        "grid": _draw(0, 1, 3, 3, 2),
        "rois": np.array([[0, 0, 2, 3]], np.float32),
        "which": [0],
    }
    return model(nodes, [info("x", FLOAT, [1, 4, 4, 6])], list("abcdefg"), weights, 18)


def _quantised() -> onnx.ModelProto:
    make, both = helper.make_node, ("scale", "zero")
    nodes = [
        make("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        make("QLinearConv", ["q", *both, "w", "ws", "wz", *both], ["c"], pads=[1, 1, 1, 1]),
        make("ConvInteger", ["q", "w", "zero"], ["i"]),
        make("DequantizeLinear", ["c", "scale", "zero"], ["d"]),
        make("Reshape", ["d", "flat"], ["f"]),
        make("DynamicQuantizeLinear", ["f"], ["dq", "ds", "dz"]),
        make("MatMulInteger", ["dq", "m", "dz"], ["mi"]),
        make("QLinearMatMul", ["dq", "ds", "dz", "m", "scale", "mz", "scale", "zero"], ["y"]),
    ]  # fmt: skip
    weights = {
        "scale": np.array(0.1, np.float32),
        "zero": np.array(128, np.uint8),
        "w": _draw(0, 2, 2, 3, 3, dtype=np.int8),
        "ws": np.array([0.1, 0.2], np.float32),
        "wz": np.array([0, 0], np.int8),
        "flat": [1, -1],
        "m": _draw(1, 50, 3, dtype=np.int8),
        "mz": np.array(0, np.int8),
    }
    return model(nodes, [info("x", FLOAT, [1, 2, 5, 5])], ["i", "mi", "y"], weights, 13)


def _attention() -> onnx.ModelProto:
    """One layer of a transformer: products, norm, gelu from its parts."""
    make = helper.make_node
    nodes = [
        make("LayerNormalization", ["x", "g", "g"], ["n"], axis=-1),
        make("MatMul", ["n", "w"], ["m"]),
        make("Add", ["m", "b"], ["q"]),
        make("Reshape", ["q", "heads"], ["h"]),
        make("Transpose", ["h"], ["t"], perm=[0, 2, 1, 3]),
        make("Transpose", ["h"], ["k"], perm=[0, 2, 3, 1]),
        make("MatMul", ["t", "k"], ["s"]),
        make("Softmax", ["s"], ["p"], axis=-1),
        make("MatMul", ["p", "t"], ["o"]),
        make("Div", ["o", "root"], ["d"]),
        make("Erf", ["d"], ["e"]),
        make("Add", ["e", "one"], ["e1"]),
        make("Mul", ["o", "e1"], ["oe"]),
        make("Mul", ["oe", "half"], ["y"]),
        make("HardSigmoid", ["y"], ["hs"]),
        make("Mul", ["y", "hs"], ["z"]),
        make("Clip", ["z", "", "one"], ["v"]),
        make("Pow", ["v", "half"], ["u"]),
    ]
    weights = {
        "g": _draw(0, 8),
        "w": _draw(1, 8, 8),
        "b": _draw(2, 8),
        "heads": [0, -1, 2, 4],
        "root": np.array(2**0.5, np.float32),
        "one": np.array(1, np.float32),
        "half": np.array(0.5, np.float32),
    }
    return model(nodes, [info("x", FLOAT, ["n", 3, 8])], ["u"], weights, 17)


def _functions() -> onnx.ModelProto:
    make = helper.make_node
    inner = helper.make_function(
        "own", "Twice", ["a"], ["b"], [make("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    outer = helper.make_function(
        "own",
        "Scaled",
        ["a", "k"],
        ["b"],
        [make("Twice", ["a"], ["t"], domain="own"), make("Mul", ["t", "k"], ["b"])],
        [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)],
    )
    nodes = [make("Scaled", ["x", "k"], ["y"], domain="own"), make("Celu", ["y"], ["z"], alpha=0.5)]
    made = model(nodes, [info("x", FLOAT, [2, 3])], ["z"], {"k": _draw(0, 3)}, functions=[inner, outer])
    made.opset_import.append(helper.make_opsetid("own", 1))
    return made


def _signals() -> onnx.ModelProto:
    make = helper.make_node
    nodes = [
        make("STFT", ["x", "step", "window"], ["s"], onesided=1),
        make("MelWeightMatrix", ["bins", "length", "rate", "low", "high"], ["m"]),
        make("DFT", ["s3", "length"], ["d"], axis=1),
        make("HannWindow", ["length"], ["w"]),
    ]
    weights = {
        "step": np.array(4, np.int64),
        "window": np.hanning(8).astype(np.float32),
        "bins": np.array(4, np.int64),
        "length": np.array(16, np.int64),
        "rate": np.array(8000, np.int64),
        "low": np.array(0, np.float32),
        "high": np.array(4000, np.float32),
        "s3": _draw(0, 1, 10, 1),
    }
    return model(nodes, [info("x", FLOAT, [1, 32, 1])], ["s", "m", "d", "w"], weights, 17)


def small_models() -> dict[str, onnx.ModelProto]:
    """The models by name."""
    makers = (_convolutions, _other_windows, _deep_windows, _pooled_integers, _shapes, _indices, _branches,
              _loops, _recurrences, _resized, _quantised, _attention, _functions, _signals)  # fmt: skip
    return {maker.__name__[1:]: maker() for maker in makers}
