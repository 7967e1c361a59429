"""fastconv as a backend of onnx: the interface that onnx's own test suite, and others, run models by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from fastconv.graph import Graph
from fastconv.interop.onnx.load import load


class FastconvRep(BackendRep):
    """A model that is ready to run.

    Attributes
    ----------
    graph : Graph
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def run(self, inputs: Any, **options: Any) -> tuple[Any, ...]:
        """The outputs, as a tuple that also knows their names.

        Parameters
        ----------
        inputs : sequence, mapping or array
            Arrays in order or by name; or the only one.
        """
        names = [value.name for value in self.graph.outputs]
        if isinstance(inputs, Mapping):
            made = self.graph(dict(inputs))
        elif isinstance(inputs, np.ndarray):
            made = self.graph(inputs)
        else:
            made = self.graph(*inputs)
        outputs = (made,) if len(names) == 1 else made
        return namedtupledict("Outputs", names)(*outputs)


class FastconvBackend(Backend):
    """`onnx.backend.base.Backend` by fastconv; `prepare` takes the options of `fastconv.interop.onnx.load`.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx import helper
    >>> from fastconv.interop.onnx import FastconvBackend
    >>> node = helper.make_node("Relu", ["x"], ["y"])
    >>> FastconvBackend.run_node(node, [np.array([-1, 2], np.float32)])[0]
    array([0., 2.], dtype=float32)
    """

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> bool:
        """Whether fastconv has all that a model needs, and runs on the device."""
        if not cls.supports_device(device):
            return False
        try:
            load(model, **options)
        except (ValueError, TypeError):
            return False
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> FastconvRep:
        """A model to run any number of times."""
        if not cls.supports_device(device):
            raise ValueError(f"device={device!r}: fastconv computes on the CPU")
        return FastconvRep(load(model, **options))

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Sequence[Any],
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **options: Any,
    ) -> tuple[Any, ...]:
        """The outputs of one node; `opset_version` says of which opset it is, the newest by default."""
        version = options.pop("opset_version", onnx.defs.onnx_opset_version())
        opsets = [helper.make_opsetid("", version)]
        if node.domain not in ("", "ai.onnx"):
            opsets.append(helper.make_opsetid(node.domain, options.pop("domain_version", 1)))
        names = [name for name in node.input if name]
        given = [_declared(name, array) for name, array in dict(zip(names, inputs)).items()]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], node.name or node.op_type, given, outputs)
        arrays = dict(zip(names, inputs))
        return cls.prepare(helper.make_model(graph, opset_imports=opsets), device, **options).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether models run on a device, such as "CPU" or "CPU:0"."""
        return str(device).split(":")[0].upper() == "CPU"


def _declared(name: str, array: Any) -> onnx.ValueInfoProto:
    if not isinstance(array, (np.ndarray, np.generic)):
        return onnx.ValueInfoProto(name=name)
    array = np.asarray(array)
    kind = (
        onnx.TensorProto.STRING
        if array.dtype.kind in "OUST"
        else helper.np_dtype_to_tensor_dtype(array.dtype)
    )
    return helper.make_tensor_value_info(name, kind, array.shape)
