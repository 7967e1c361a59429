"""Nets and graphs written as ONNX models."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from fastconv import __version__
from fastconv.geometry import whole_number
from fastconv.graph import Graph, Value
from fastconv.graph.lower import Builder
from fastconv.graph.operator import UNKNOWN, Signature
from fastconv.graph.operators import OPERATORS
from fastconv.graph.specialise import located
from fastconv.interop.onnx.translate import OPSET, CannotSayError, Writer
from fastconv.nn import Layer
from fastconv.nn.archive import write_whole
from fastconv.nn.layers.calling import each, each_shape
from fastconv.nn.layers.container import says
from fastconv.nn.parameter import Buffer

#: What the axis is called that may have any size.
BATCH = "batch"

#: The version of the file format that came with the opset.
IR_VERSION = 10


def export(
    net: Layer | Graph,
    path: str | os.PathLike[str] | None,
    input_shape: Any = None,
    *,
    name: str = "",
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """A net as an ONNX model, for onnxruntime and whatever else reads these.

    Parameters
    ----------
    net : Layer or Graph
        A net of `fastconv.nn` as it computes now, in inference; or a graph, such as `load` gives.
    path : path, or None
        The file, written whole or not at all; None writes none.
    input_shape : tuple of int
        The shape of an input of a net, batch included; of several inputs a tuple of shapes. The first axis
        becomes one of any size. A graph declares its own.
    name : str, optional
        What the model calls its graph.
    metadata : mapping of str to str, optional
        What the file says about itself; that of a graph without it.

    Returns
    -------
    onnx.ModelProto
        What has been written; `load` takes it, too.

    Raises
    ------
    ValueError
        Naming the layer or node that ONNX has no words for; a shape that the net does not take; a model
        larger than a file of ONNX can be, 2 GB.
    TypeError
        Neither a net nor a graph.
    OSError
        The file cannot be written; one that was there before is still whole.

    Notes
    -----
    Written in opset 21. onnxruntime 1.32 has no convolutions of float64, and local response normalisation of
    pictures alone.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.interop.onnx import export, load
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2, rng=1))
    >>> model = export(net, None, (1, 1, 4, 4))
    >>> [node.op_type for node in model.graph.node]
    ['Conv', 'Relu', 'Flatten', 'Gemm']
    >>> x = np.ones((3, 1, 4, 4), np.float32)
    >>> bool(np.allclose(load(model)(x), net(x)))
    True
    """
    if isinstance(net, Layer):
        graph, named = _lowered(net, input_shape, name)
        model = _model(graph, named, _paths(net), dict(metadata or {}))
    elif isinstance(net, Graph):
        if input_shape is not None:
            raise TypeError(f"input_shape={input_shape!r}: a graph declares its own")
        told = net.metadata if metadata is None else dict(metadata)
        model = _model(net, {}, {}, told, name)
    else:
        raise TypeError(f"net: must be a Layer or a Graph, not {type(net).__name__}")
    if path is not None:
        _write(model, os.fspath(path))
    return model


def _write(model: onnx.ModelProto, path: str) -> None:
    target = os.path.realpath(path)
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    data = model.SerializeToString()
    write_whole(target, lambda file: file.write(data))


# ---- nets ---------------------------------------------------------------------------------------------


def _lowered(net: Layer, input_shape: Any, name: str) -> tuple[Graph, dict[int, str]]:
    """A net as a graph whose inputs have a first axis of any size; and the names of its parameters."""
    if not isinstance(input_shape, (tuple, list)) or not input_shape:
        raise TypeError(f"input_shape={input_shape!r}: must be a shape, batch included")
    shapes = [tuple(whole_number("input_shape", size, 1) for size in one) for one in each_shape(input_shape)]
    net.output_shape(shapes[0] if len(shapes) == 1 else tuple(shapes))  # refuses what the net does not take
    arrays: dict[int, np.ndarray] = {}
    paths = {id(buffer): path for path, buffer in net.named_buffers().items()}
    named: dict[int, str] = {}

    def constant(buffer: Buffer) -> np.ndarray:
        if id(buffer) not in arrays:
            arrays[id(buffer)] = np.array(buffer.value)
            named[id(arrays[id(buffer)])] = paths[id(buffer)]
        return arrays[id(buffer)]

    for path, layer in net.walk():
        if not says(type(layer), "_lower"):
            where = f"layer {path.rstrip('.')!r} ({type(layer).__name__})"
            raise ValueError(f"{where}: does not say how it is written as a graph, so it cannot be exported")
    builder = Builder(constant)
    buffer = next(iter(net.named_buffers().values()), None)
    dtype = np.dtype(np.float32) if buffer is None else buffer.value.dtype
    if net._rows_read() is not None:
        dtype = np.dtype(np.int64)
    inputs = [builder.input("input" if len(shapes) == 1 else f"input_{i}", dtype) for i in range(len(shapes))]
    outputs = net._lower(builder, *inputs)
    if outputs is None:
        raise ValueError(f"{type(net).__name__}: cannot be written as a graph, so it cannot be exported")
    made = [value for value in each(outputs) if value not in inputs]
    for i, value in enumerate(made):
        value.name = "output" if len(made) == 1 else f"output_{i}"
    for value, shape in zip(inputs, shapes):
        value.shape = (BATCH, *shape[1:])
    graph = Graph(inputs, builder.graph([]).nodes, each(outputs), name or type(net).__name__)
    _declare(graph, shapes)
    return graph, named


def _declare(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> None:
    """Say of the outputs what shape they have, and which axis follows the batch: two batches tell."""
    found = []
    for more in (0, 1):
        given = [
            Signature(value.dtype, (shape[0] + more, *shape[1:]))
            for value, shape in zip(graph.inputs, shapes)
        ]
        found.append(signatures(graph, given))
    for value in graph.outputs:
        one, other = (known.get(value, UNKNOWN) for known in found)
        if one.shape is not None and other.shape is not None and value not in graph.inputs:
            batch, next_batch = shapes[0][0], shapes[0][0] + 1
            value.dtype, value.shape = (
                one.dtype,
                tuple(
                    a if a == b else BATCH if (a, b) == (batch, next_batch) else None
                    for a, b in zip(one.shape, other.shape)
                ),
            )


def _paths(net: Layer) -> dict[str, str]:
    """How a message calls the layer that a node comes from."""
    return {
        path.rstrip("."): f"layer {path.rstrip('.')!r} ({type(layer).__name__})" for path, layer in net.walk()
    }


# ---- graphs -------------------------------------------------------------------------------------------


def signatures(graph: Graph, inputs: Sequence[Signature]) -> dict[Value, Signature]:
    """What is known of all values, without computing any."""
    known: dict[Value, Signature] = dict(zip(graph.inputs, inputs))

    def of(value: Value | None) -> Signature | None:
        if value is None:
            return None
        return known.get(value, UNKNOWN) if value.constant is None else Signature.of(value.constant)

    for node in graph.nodes:
        read = [of(value) for value in node.inputs]
        try:
            made = OPERATORS[node.operator].signatures(read, len(node.outputs), node.attributes)
        except (TypeError, ValueError) as error:
            raise located(node, error) from error
        known.update((value, each) for value, each in zip(node.outputs, made) if value is not None)
    return known


def _model(
    graph: Graph,
    named: Mapping[int, str],
    paths: Mapping[str, str],
    metadata: Mapping[str, str],
    name: str = "",
) -> onnx.ModelProto:
    """The model of a graph, checked."""
    writer = Writer(signatures(graph, [_declared(value) for value in graph.inputs]), named)
    inputs = [_info(value, writer.name(value)) for value in graph.inputs]
    for value in graph.outputs:  # these keep their names, whatever comes before them
        if value.constant is None and value not in _aliases(graph):
            writer.name(value)
    for node in graph.nodes:
        try:
            writer.add(node)
        except CannotSayError as error:
            raise ValueError(f"{paths.get(node.name, node.title)}: {error}") from None
    outputs, seen = [], {each.name for each in inputs}
    for value in graph.outputs:
        made = writer.name(value)
        if value.constant is not None or made in seen:
            again = writer.fresh(value.name or "output")
            writer.put("Identity", [made], [again])
            made = again
        seen.add(made)
        outputs.append(_info(value, made, writer.signature(value)))
    proto = helper.make_graph(writer.nodes, name or graph.name or "graph", inputs, outputs, writer.constants)
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastconv",
        producer_version=__version__,
    )
    helper.set_model_props(model, dict(metadata))
    _check(model)
    return model


def _aliases(graph: Graph) -> set[Value]:
    """Values that are others by another name."""
    return {value for node in graph.nodes if node.operator == "Identity" for value in node.outputs if value}


def _check(model: onnx.ModelProto) -> None:
    """Refuse what is no valid model, or too large for one."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        text = " ".join(str(error).split())
        raise ValueError(f"cannot be exported: {text}") from None
    except ValueError as error:
        raise ValueError(f"cannot be exported: a model must be smaller than 2 GB: {error}") from None


def _declared(value: Value) -> Signature:
    """What an input says; a size that is not told counts as 1."""
    if value.shape is None:
        return Signature(value.dtype, None)
    return Signature(value.dtype, tuple(size if isinstance(size, int) else 1 for size in value.shape))


def _info(value: Value, name: str, known: Signature = UNKNOWN) -> onnx.ValueInfoProto:
    dtype = value.dtype or known.dtype
    if dtype is None:
        raise ValueError(f"{name!r}: its dtype is not known, so it cannot be exported")
    shape = value.shape
    if shape is None and known.shape is not None:
        shape = (None,) * len(known.shape)  # sizes may depend on those that the inputs leave open
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)
