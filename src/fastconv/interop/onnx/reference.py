"""Operators that fastconv does not have, run by `onnx.reference`; and fastconv's operators for it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from onnx import TypeProto, ValueInfoProto, helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from fastconv.graph import Graph, Node, Value
from fastconv.graph.operator import Operator
from fastconv.graph.operators import OPERATORS
from fastconv.interop.onnx.upgrade import upgraded

#: Operators that take most of the time of most nets.
HEAVY = (
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "DeformConv",
    "GRU",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GridSample",
    "LRN",
    "LSTM",
    "LpPool",
    "MatMulInteger",
    "MaxPool",
    "QLinearConv",
    "QLinearMatMul",
    "RNN",
    "Resize",
    "RoiAlign",
)


# ---- onnx.reference inside a graph --------------------------------------------------------------------


@lru_cache(maxsize=256)
def _evaluator(
    proto: bytes, opsets: tuple[tuple[str, int], ...]
) -> tuple[ReferenceEvaluator, onnx.NodeProto]:
    """What runs one node, and the node."""
    node = onnx.NodeProto.FromString(proto)
    inputs = [ValueInfoProto(name=name, type=TypeProto()) for name in dict.fromkeys(node.input) if name]
    outputs = [ValueInfoProto(name=name, type=TypeProto()) for name in node.output if name]
    graph = helper.make_graph([node], node.name or node.op_type, inputs, outputs)
    return ReferenceEvaluator(graph, opsets=dict(opsets)), node


def _refer(*arrays: Any, proto: bytes, opsets: tuple[tuple[str, int], ...]) -> Any:
    """What onnx.reference computes for a node."""
    evaluator, node = _evaluator(proto, opsets)
    given = {name: array for name, array in zip(node.input, arrays) if name}
    made = iter(evaluator.run(None, given))
    found = tuple(_as_text(next(made)) if name else None for name in node.output)
    return found[0] if len(found) == 1 else found


def _as_text(value: Any) -> Any:
    """Text is of dtype object in a graph."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "UST":
        return value.astype(object)
    return np.asarray(value) if isinstance(value, np.generic) else value


#: Nothing is known about its results beforehand, nor whether two runs agree.
REFERENCE = Operator(_refer, varies=True, is_random=True)

# it is the only operator that needs onnx, so that the graph learns of it here
OPERATORS["Reference"] = REFERENCE


# ---- fastconv inside onnx.reference -------------------------------------------------------------------


class _Run(OpRun):
    """An operator of onnx.reference that fastconv computes."""

    def _run(self, *arrays: Any, **attributes: Any) -> tuple[Any, ...]:
        version = self.run_params["opsets"].get(self.op_domain, 1)
        told = {name: _plain(value) for name, value in attributes.items() if value is not None}
        inputs = [
            None if array is None else Value(f"input {i}", array.dtype, array.shape)
            for i, array in enumerate(arrays)
        ]
        outputs = [Value(name or f"output {i}") for i, name in enumerate(self.onnx_node.output)]
        form = upgraded(type(self).__name__, version, told, inputs, len(outputs))
        node = Node(form.operator, form.inputs, outputs, form.attributes, self.onnx_node.name)
        graph = Graph([value for value in inputs if value is not None], [node], outputs)
        return tuple(graph.run([array for array in arrays if array is not None]))


def _plain(value: Any) -> Any:
    """An attribute as a graph has it."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(each) for each in value)
    return value.item() if isinstance(value, np.generic) else value


def reference_ops(names: Iterable[str] | None = None) -> list[type[OpRun]]:
    """Classes for `onnx.reference.ReferenceEvaluator(model, new_ops=...)`, which run on fastconv.

    Parameters
    ----------
    names : iterable of str, optional
        Operators of the domain ai.onnx; by default those that take most of the time of most nets.

    Raises
    ------
    ValueError
        An operator that fastconv does not have.

    Examples
    --------
    >>> from fastconv.interop.onnx import reference_ops
    >>> [each.__name__ for each in reference_ops(["LSTM"])]
    ['LSTM']
    """
    if names is None:
        names = [name for name in HEAVY if name in OPERATORS]
    found = []
    for name in names:
        if name not in OPERATORS or not onnx.defs.has(name):
            raise ValueError(f"names: fastconv has no operator {name!r} of ONNX")
        found.append(type(name, (_Run,), {"op_domain": "", "__doc__": f"{name}, computed by fastconv."}))
    return found
