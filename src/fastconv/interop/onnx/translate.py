"""Nodes of the graph as nodes of ONNX: most are the same, others have to be said in its words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fastconv import functional
from fastconv.geometry import padding_pairs, per_axis, pool_strides
from fastconv.graph import Node, Nodes, Value
from fastconv.graph.operator import Signature
from fastconv.nn.layers.norm import normalised_last

#: The opset that models are written in.
OPSET = 21

#: Attributes by which the graph only remembers what ONNX says by the number of outputs.
UNSAID = {"MaxPool": {"indices"}, "Split": {"num_outputs"}}

#: The slope of "leaky_relu" as convolutions apply it.
SLOPE = 0.01


class CannotSayError(ValueError):
    """ONNX has no words for a node."""


class Writer:
    """Nodes and constants of a model that is being written.

    Parameters
    ----------
    known : mapping of Value to Signature
        What is known of values.
    named : mapping of int to str
        Names of arrays, by their id.
    """

    def __init__(self, known: Mapping[Value, Signature], named: Mapping[int, str]) -> None:
        self.known, self.named = known, named
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self._names: dict[Value, str] = {}
        self._arrays: dict[int, str] = {}
        self._kept: list[np.ndarray] = []  # an id is an array's as long as that lives
        self._taken: set[str] = set()
        self._called: set[str] = set()
        self._where = ""

    # ---- names

    def fresh(self, wanted: str) -> str:
        """A name that nothing has yet: the one that is wanted, if it can be."""
        name, k = wanted, 0
        while not name or name in self._taken:
            k += 1
            name = f"{wanted}_{k}" if wanted else f"value_{k}"
        self._taken.add(name)
        return name

    def name(self, value: Value | None) -> str:
        """What a value is called; a constant becomes part of the model."""
        if value is None:
            return ""
        if value not in self._names:
            constant = value.constant
            if constant is not None and not isinstance(constant, np.ndarray):
                raise CannotSayError(f"a constant of type {type(constant).__name__} cannot be exported")
            self._names[value] = (
                self.fresh(value.name) if constant is None else self.array(constant, value.name)
            )
        return self._names[value]

    def alias(self, value: Value, other: Value) -> None:
        """The first is called as the second."""
        self._names[value] = self.name(other)

    def array(self, array: np.ndarray, name: str = "") -> str:
        """A constant."""
        if id(array) not in self._arrays:
            wanted = self.named.get(id(array), name) or f"constant_{len(self.constants)}"
            self._arrays[id(array)] = self.fresh(wanted)
            self._kept.append(array)
            self.constants.append(numpy_helper.from_array(np.asarray(array), self._arrays[id(array)]))
        return self._arrays[id(array)]

    def number(self, value: float, dtype: np.dtype) -> str:
        """A constant of no axes."""
        return self.array(np.array(value, dtype))

    # ---- nodes

    def signature(self, value: Value | None) -> Signature:
        """What is known of a value."""
        if value is None:
            return Signature(None, None)
        if value.constant is not None:
            return Signature.of(value.constant)
        return self.known.get(value, Signature(None, None))

    def shape(self, value: Value | None) -> tuple[int, ...]:
        """The shape of a value, which has to be known."""
        shape = self.signature(value).shape
        if shape is None:
            raise CannotSayError("the shape of its input is not known")
        return shape

    def dtype(self, node: Node) -> np.dtype:
        """The dtype of a node's first input."""
        return self.signature(node.inputs[0]).dtype or np.dtype(np.float32)

    def put(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """A node of ONNX."""
        told = {name: value for name, value in attributes.items() if value is not None}
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        name, k = self._where, 1
        while name in self._called:
            k += 1
            name = f"{self._where}_{k}"
        if name:
            self._called.add(name)
        made = helper.make_node(operator, list(inputs), list(outputs), name, **told)
        made.attribute.sort(key=lambda attribute: attribute.name)
        self.nodes.append(made)

    def step(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node of ONNX in the middle of several; returns the name of what it makes."""
        made = self.fresh(f"{self._where or 'value'}.{operator}")
        self.put(operator, inputs, [made], **attributes)
        return made

    def add(self, node: Node) -> None:
        """A node of the graph, in ONNX's words."""
        self._where = node.name
        say = SAID.get(node.operator)
        if say is not None:
            say(self, node)
            return
        if not onnx.defs.has(node.operator, OPSET, ""):
            raise CannotSayError(f"ONNX has no operator {node.operator} in opset {OPSET}")
        unsaid = UNSAID.get(node.operator, set())
        attributes = {
            name: _attribute(name, value) for name, value in node.attributes.items() if name not in unsaid
        }
        known = onnx.defs.get_schema(node.operator, OPSET, "").attributes
        for name in attributes:
            if name not in known:
                raise CannotSayError(f"ONNX's {node.operator} has no {name} in opset {OPSET}")
        if node.operator == "Split" and len(node.inputs) < 2:
            attributes["num_outputs"] = len(node.outputs)
        inputs = [self.name(value) for value in node.inputs]
        self.put(node.operator, inputs, [self.name(value) for value in node.outputs], **attributes)


def _attribute(name: str, value: Any) -> Any:
    """An attribute as ONNX has it."""
    if isinstance(value, np.dtype):
        return helper.np_dtype_to_tensor_dtype(value)
    if isinstance(value, np.ndarray):
        return numpy_helper.from_array(value)
    if isinstance(value, Nodes) or callable(value):
        raise CannotSayError(f"attribute {name!r} cannot be exported")
    return value


# ---- operators that only the graph has --------------------------------------------------------------------


def _ends(writer: Writer, node: Node) -> tuple[str, str]:
    """Names of the first input and the output."""
    return writer.name(node.inputs[0]), writer.name(node.outputs[0])


def _identity(writer: Writer, node: Node) -> None:
    value, read = node.outputs[0], node.inputs[0]
    assert value is not None
    assert read is not None
    writer.alias(value, read)


def _activated(
    writer: Writer,
    node: Node,
    operator: str,
    inputs: Sequence[str],
    activation: str | None,
    **attributes: Any,
) -> None:
    """A node, and behind it the activation that it applies in the graph."""
    output = writer.name(node.outputs[0])
    if activation is None:
        writer.put(operator, inputs, [output], **attributes)
        return
    made = writer.step(operator, *inputs, **attributes)
    if activation == "relu":
        writer.put("Relu", [made], [output])
    elif activation == "leaky_relu":
        writer.put("LeakyRelu", [made], [output], alpha=SLOPE)
    elif activation == "relu6":
        _clip(writer, made, output, 0.0, 6.0, writer.dtype(node))
    else:
        raise CannotSayError(f"activation {activation!r} cannot be exported")


def _conv(writer: Writer, node: Node) -> None:
    told = dict(node.attributes)
    activation = told.pop("activation", None)
    if "kernel_shape" not in told:
        told["kernel_shape"] = writer.shape(node.inputs[1])[2:]
    inputs = [writer.name(value) for value in node.inputs]
    _activated(writer, node, "Conv", inputs, activation, **told)


def _conv_transpose(writer: Writer, node: Node) -> None:
    told = dict(node.attributes)
    if "kernel_shape" not in told:
        told["kernel_shape"] = writer.shape(node.inputs[1])[2:]
    inputs = [writer.name(value) for value in node.inputs]
    writer.put("ConvTranspose", inputs, [writer.name(node.outputs[0])], **told)


def _linear(writer: Writer, node: Node) -> None:
    """Rows times a weight: Gemm of matrices, else MatMul."""
    x, weight = node.inputs[:2]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    transposed, activation = node.attributes.get("transposed", False), node.attributes.get("activation")
    if len(writer.shape(x)) == 2:
        inputs = [writer.name(x), writer.name(weight), writer.name(bias)]
        _activated(writer, node, "Gemm", inputs, activation, transB=int(transposed) or None)
        return
    assert weight is not None
    array = weight.constant
    if not isinstance(array, np.ndarray):
        raise CannotSayError("its weight is no constant")
    turned = np.ascontiguousarray(array.T) if transposed else array
    name = writer.array(turned, f"{writer.named.get(id(array), 'weight')}.T" if transposed else "")
    if bias is None:
        _activated(writer, node, "MatMul", [writer.name(x), name], activation)
    else:
        product = writer.step("MatMul", writer.name(x), name)
        _activated(writer, node, "Add", [product, writer.name(bias)], activation)


def _swish(writer: Writer, node: Node) -> None:
    x, output = _ends(writer, node)
    alpha = node.attributes.get("alpha", 1.0)
    inner = x if alpha == 1.0 else writer.step("Mul", x, writer.number(alpha, writer.dtype(node)))
    writer.put("Mul", [x, writer.step("Sigmoid", inner)], [output])


def _view(writer: Writer, node: Node) -> None:
    """Axes joined: Flatten where all but the first are, else Reshape to the sizes there are."""
    x, output = _ends(writer, node)
    before, after = writer.shape(node.inputs[0]), writer.shape(node.outputs[0])
    if len(after) == 2 and len(before) > 1 and after[0] == before[0]:
        writer.put("Flatten", [x], [output], axis=1)
        return
    sizes = [0 if k == 0 and before[:1] == after[:1] else size for k, size in enumerate(after)]
    if sizes and sizes[0] != 0:
        sizes[0] = -1  # the batch is in there
    writer.put("Reshape", [x, writer.array(np.array(sizes, np.int64))], [output])


# ---- functions --------------------------------------------------------------------------------------------


def _function(writer: Writer, node: Node) -> None:
    function = node.attributes["function"]
    say = FUNCTIONS.get(function)
    if say is None:
        raise CannotSayError(f"ONNX has no words for {getattr(function, '__name__', function)}")
    say(writer, node, *node.attributes.get("settings", ()))


def _clip(writer: Writer, x: str, output: str, low: float, high: float, dtype: np.dtype) -> None:
    writer.put("Clip", [x, writer.number(low, dtype), writer.number(high, dtype)], [output])


def _relu6(writer: Writer, node: Node) -> None:
    _clip(writer, *_ends(writer, node), 0.0, 6.0, writer.dtype(node))


def _hardtanh(writer: Writer, node: Node, low: float, high: float) -> None:
    _clip(writer, *_ends(writer, node), low, high, writer.dtype(node))


def _selu(writer: Writer, node: Node) -> None:
    x, output = _ends(writer, node)
    writer.put("Selu", [x], [output])


def _hardsigmoid(writer: Writer, node: Node) -> None:
    x, output = _ends(writer, node)
    writer.put("HardSigmoid", [x], [output], alpha=1 / 6, beta=0.5)


def _logsigmoid(writer: Writer, node: Node) -> None:
    x, output = _ends(writer, node)
    x, output = _ends(writer, node)
    writer.put("Neg", [writer.step("Softplus", writer.step("Neg", x))], [output])


def _tanhshrink(writer: Writer, node: Node) -> None:
    x, output = _ends(writer, node)
    writer.put("Sub", [x, writer.step("Tanh", x)], [output])


def _softplus(writer: Writer, node: Node, beta: float, threshold: float) -> None:
    x, output = _ends(writer, node)
    if beta == 1.0 and threshold == math.inf:
        writer.put("Softplus", [x], [output])
        return
    factor = writer.number(beta, writer.dtype(node))
    inner = writer.step("Mul", x, factor)
    bent = writer.step("Div", writer.step("Softplus", inner), factor)
    above = writer.step("Greater", inner, writer.number(threshold, writer.dtype(node)))
    writer.put("Where", [above, x, bent], [output])


def _softshrink(writer: Writer, node: Node, lambd: float) -> None:
    x, output = _ends(writer, node)
    writer.put("Shrink", [x], [output], bias=float(lambd), lambd=float(lambd))


def _hardshrink(writer: Writer, node: Node, lambd: float) -> None:
    x, output = _ends(writer, node)
    writer.put("Shrink", [x], [output], bias=0.0, lambd=float(lambd))


def _threshold(writer: Writer, node: Node, threshold: float, value: float) -> None:
    x, output = _ends(writer, node)
    dtype = writer.dtype(node)
    above = writer.step("Greater", x, writer.number(threshold, dtype))
    writer.put("Where", [above, x, writer.number(value, dtype)], [output])


def _prelu(writer: Writer, node: Node) -> None:
    """Slopes lie along axis 1, where broadcasting finds them only behind as many axes."""
    x, output = _ends(writer, node)
    weight = node.inputs[1]
    assert weight is not None
    slopes = np.asarray(weight.constant)
    rank = len(writer.shape(node.inputs[0]))
    shaped = slopes if slopes.size == 1 else slopes.reshape(-1, *(1,) * (rank - 2))
    writer.put("PRelu", [x, writer.array(shaped, writer.named.get(id(weight.constant), ""))], [output])


def _response_norm(writer: Writer, node: Node, size: int, alpha: float, beta: float, k: float) -> None:
    x, output = _ends(writer, node)
    if size % 2 == 0:
        raise CannotSayError(
            f"size={size}: ONNX's LRN has its channel in the middle, so the size must be odd"
        )
    writer.put("LRN", [x], [output], size=size, alpha=float(alpha), beta=float(beta), bias=float(k))


def _layer_norm(writer: Writer, node: Node, shape: tuple[int, ...], eps: float) -> None:
    x, output = _ends(writer, node)
    scale = writer.array(np.ones(shape, writer.dtype(node)))
    writer.put("LayerNormalization", [x, scale], [output], axis=-len(shape), epsilon=eps)


def _divided(operator: str) -> Callable[..., None]:
    """Pooling to a given size, as windows of a fixed one: where all are equal."""

    def say(writer: Writer, node: Node, output_size: Any) -> None:
        x, output = _ends(writer, node)
        before, after = writer.shape(node.inputs[0])[2:], writer.shape(node.outputs[0])[2:]
        if any(b % a for b, a in zip(before, after)):
            raise CannotSayError(f"sizes {before} are no multiples of output_size {after}: windows differ")
        window = [b // a for b, a in zip(before, after)]
        writer.put(operator, [x], [output], kernel_shape=window, strides=window)

    return say


def _average(
    writer: Writer,
    node: Node,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    counted: bool,
    divisor: int,
) -> None:
    """Means by a divisor of one's own: means of whole windows, times a factor."""
    if ceil_mode:
        raise CannotSayError("ceil_mode with divisor_override cannot be exported")
    x, output = _ends(writer, node)
    rank = len(writer.shape(node.inputs[0])) - 2
    window = per_axis("kernel_size", kernel, rank, 1)
    strides = pool_strides(stride, window)
    pads = padding_pairs(padding, rank, window, strides)
    mean = writer.step(
        "AveragePool",
        x,
        kernel_shape=window,
        strides=strides,
        pads=[*(before for before, _ in pads), *(after for _, after in pads)],
        count_include_pad=1,
    )
    factor = writer.number(math.prod(window) / divisor, writer.dtype(node))
    writer.put("Mul", [mean, factor], [output])


def _lp_pool(writer: Writer, node: Node, p: float, kernel: Any, stride: Any, ceil_mode: bool) -> None:
    if ceil_mode:
        raise CannotSayError("ceil_mode: windows that hang over the end are scaled in another way")
    if p != int(p) or int(p) % 2 or p < 0:
        raise CannotSayError(f"norm_type={p:g}: ONNX adds up powers of |x|, so it must be an even number")
    x, output = _ends(writer, node)
    window = per_axis("kernel_size", kernel, len(writer.shape(node.inputs[0])) - 2, 1)
    strides = pool_strides(stride, window)
    writer.put("LpPool", [x], [output], p=int(p), kernel_shape=window, strides=strides)


SAID: dict[str, Callable[[Writer, Node], None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Function": _function,
    "Identity": _identity,
    "Linear": _linear,
    "Swish": _swish,
    "View": _view,
}

#: What layers compute that have no operator of the graph.
FUNCTIONS: dict[Any, Callable[..., None]] = {
    functional.relu6: _relu6,
    functional.hardtanh: _hardtanh,
    functional.selu: _selu,
    functional.hardsigmoid: _hardsigmoid,
    functional.logsigmoid: _logsigmoid,
    functional.tanhshrink: _tanhshrink,
    functional.softplus: _softplus,
    functional.softshrink: _softshrink,
    functional.hardshrink: _hardshrink,
    functional.threshold: _threshold,
    functional.prelu: _prelu,
    functional.local_response_norm: _response_norm,
    normalised_last: _layer_norm,
    **dict.fromkeys(
        (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d),
        _divided("AveragePool"),
    ),
    **dict.fromkeys(
        (functional.adaptive_max_pool1d, functional.adaptive_max_pool2d, functional.adaptive_max_pool3d),
        _divided("MaxPool"),
    ),
    **dict.fromkeys((functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d), _average),
    **dict.fromkeys((functional.lp_pool1d, functional.lp_pool2d, functional.lp_pool3d), _lp_pool),
}
