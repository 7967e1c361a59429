"""Nodes of a model that are malformed: said when it is loaded, and by name."""

from __future__ import annotations

from typing import Any

import pytest

onnx = pytest.importorskip("onnx", reason="the extra [onnx] is not installed")

from onnx import TensorProto, helper  # noqa: E402

from fastconv.interop.onnx import load  # noqa: E402

EMPTY = helper.make_graph([], "body", [], [])


def model(operator: str, inputs: list[str], **attributes: Any) -> Any:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    node = helper.make_node(operator, inputs, ["y"], **attributes)
    y = helper.make_value_info("y", onnx.TypeProto())
    return helper.make_model(
        helper.make_graph([node], "net", [x], [y]), opset_imports=[helper.make_opsetid("", 18)]
    )


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "said"),
    [
        ("Concat", ["x"], {}, "'axis': must be given"),
        ("Concat", ["x", "x"], {"axis": "last"}, "'axis': is STRING, and must be INT"),
        ("Flatten", ["x"], {"axes": 1}, "'axes': is none of Flatten's"),
        ("If", ["x"], {"then_branch": EMPTY}, "'else_branch': must be given"),
        ("If", ["x"], {"then_branch": EMPTY, "else_branch": 3}, "is INT, and must be GRAPH"),
        ("Scan", ["x"], {"body": EMPTY}, "'num_scan_inputs': must be given"),
        ("Loop", ["x", "x"], {}, "'body': must be given"),
        ("Reshape", ["x"], {}, r"input 1 \(shape\): must be given"),
        ("Slice", ["x", "", "x"], {}, r"input 1 \(starts\): must be given"),
        ("Gather", ["x", "x", "x"], {}, "3 are given, and at most 2 are taken"),
    ],
)
def test_what_a_node_lacks_or_has_too_much(
    operator: str, inputs: list[str], attributes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=f"node 'y' .{operator}.: .*{said}"):
        load(model(operator, inputs, **attributes))
