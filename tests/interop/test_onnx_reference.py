"""Nodes that onnx.reference runs inside a graph, fastconv inside onnx.reference, and the backend."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from fastconv.graph.operators import OPERATORS  # noqa: E402
from fastconv.interop.onnx import FastconvBackend, load, reference_ops  # noqa: E402


def model_of(node, inputs, outputs=("y",), opset=21):
    given = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    made = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "net", given, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


@pytest.fixture
def without_hardmax(monkeypatch):
    monkeypatch.delitem(OPERATORS, "Hardmax")
    return model_of(helper.make_node("Hardmax", ["x"], ["y"]), [("x", TensorProto.FLOAT, ("n", 3))])


def test_an_operator_that_is_missing_is_named_with_the_way_out(without_hardmax):
    with pytest.raises(ValueError, match=r"Hardmax.*fallback='reference'"):
        load(without_hardmax)


def test_the_reference_runs_what_is_missing(without_hardmax):
    net = load(without_hardmax, fallback="reference")
    got = net(np.array([[1, 3, 2], [5, 4, 6]], np.float32))
    assert got.tolist() == [[0, 1, 0], [0, 0, 1]]


def test_reference_evaluator_runs_on_fastconv():
    rng = np.random.default_rng(0)
    x, w, r = (rng.standard_normal(s).astype(np.float32) for s in ((3, 2, 4), (1, 9, 4), (1, 9, 3)))
    node = helper.make_node("GRU", ["x", "w", "r"], ["", "h"], hidden_size=3, linear_before_reset=1)
    shapes = [
        ("x", TensorProto.FLOAT, x.shape),
        ("w", TensorProto.FLOAT, w.shape),
        ("r", TensorProto.FLOAT, r.shape),
    ]
    model = model_of(node, shapes, ["h"])
    given = {"x": x, "w": w, "r": r}
    (ours,) = ReferenceEvaluator(model, new_ops=reference_ops(["GRU"])).run(None, given)
    (theirs,) = ReferenceEvaluator(model).run(None, given)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_reference_ops_are_those_that_exist():
    assert all(each.__name__ in OPERATORS for each in reference_ops())
    with pytest.raises(ValueError, match="'Nothing'"):
        reference_ops(["Nothing"])


def test_backend():
    model = model_of(helper.make_node("Relu", ["x"], ["y"]), [("x", TensorProto.FLOAT, ("n",))])
    x = np.array([-1, 2], np.float32)
    assert FastconvBackend.supports_device("CPU")
    assert not FastconvBackend.supports_device("CUDA")
    assert FastconvBackend.is_compatible(model)
    assert FastconvBackend.run_model(model, [x])[0].tolist() == [0, 2]
    assert FastconvBackend.prepare(model).run({"x": x})["y"].tolist() == [0, 2]
    with pytest.raises(ValueError, match="CPU"):
        FastconvBackend.prepare(model, "CUDA")


def test_backend_runs_a_node_of_an_older_opset():
    node = helper.make_node("Clip", ["x"], ["y"], min=0.0, max=1.0)
    (got,) = FastconvBackend.run_node(node, [np.array([-1, 2], np.float32)], opset_version=7)
    assert got.tolist() == [0, 1]


def test_backend_says_no_to_what_it_lacks():
    model = model_of(helper.make_node("Nothing", ["x"], ["y"]), [("x", TensorProto.FLOAT, (1,))])
    assert not FastconvBackend.is_compatible(model)
