"""The nodes of a graph as steps: layers of `fastconv.nn` where they can stand for one, else opaque ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.explain.steps import Add, Affine, Join, Step
from fastconv.geometry import flag
from fastconv.graph import Graph, Node, Value
from fastconv.graph.operator import Signature
from fastconv.graph.operators.windows import Windows, windows
from fastconv.graph.specialise import specialise
from fastconv.nn.layers.calling import Backprop

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_NORM = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

#: What a node may be made of: a layer, and which of its inputs that reads.
_Made = tuple[nn.Layer, tuple[Value, ...]]


class Opaque(nn.Layer):
    """A node that no layer stands for: run as it is, without gradient.

    Parameters
    ----------
    node : Node
    shape : tuple of int
        Of its output for one input; of a batch, whatever it makes.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        inputs = list(dict.fromkeys(v for v in node.inputs if v is not None and v.constant is None))
        self._graph = Graph(inputs, [node], [value for value in node.outputs[:1] if value is not None])

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._graph.run(list(inputs))[0]
        return found

    def vjp(self, *inputs: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """No gradient is known.

        Raises
        ------
        TypeError
            Naming the node.
        """
        raise TypeError(f"{self.node.title}: no gradient is known of this operator")

    def __repr__(self) -> str:
        return self.node.operator


class Reshaped(nn.Layer):
    """The same values in another shape, which is told without the batch."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return input.reshape(len(input), *self.shape)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `nn.Layer.vjp`."""
        return self(input), lambda grad_output: grad_output.reshape(input.shape)


def steps_of_graph(graph: Graph, input: np.ndarray) -> list[Step]:
    """The steps of a graph for an input with a batch of one; see `steps_of`."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ValueError(
            f"model: has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; must have one of each"
        )
    (array,) = graph.bound((input,), {})
    found = specialise(graph, [Signature(array.dtype, array.shape)])
    numbers: dict[Value, int] = {graph.inputs[0]: 0}
    steps: list[Step] = []
    for node in found.nodes:
        made, reads = _layer_of(node, found.known)
        output = node.outputs[0]
        several = any(value is not None for value in node.outputs[1:])
        if output is None or several or any(value not in numbers for value in reads):
            raise ValueError(f"model: {node.title} has several outputs, which cannot be shown")
        steps.append(Step(node.name or output.name, made, tuple(numbers[value] for value in reads)))
        numbers[output] = len(steps)
    if found.outputs[0] not in numbers or numbers[found.outputs[0]] != len(steps):
        raise ValueError("model: its output is not what its last node makes, so there is nothing to explain")
    return steps


def _layer_of(node: Node, known: dict[Value, Signature]) -> _Made:
    """The layer that stands for a node, and the values it reads."""
    reads = tuple(value for value in node.inputs if value is not None and value.constant is None)
    first = known.get(node.inputs[0]) if node.inputs and node.inputs[0] is not None else None
    output = known.get(node.outputs[0]) if node.outputs[0] is not None else None
    rule = _RULES.get(node.operator)
    if rule is not None and reads and first is not None and first.shape is not None:
        made = rule(node, first.shape, None if output is None else output.shape)
        if made is not None:
            return made, reads
    return Opaque(node), tuple(dict.fromkeys(reads))


def _constant(node: Node, place: int) -> np.ndarray | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    return None if value is None else value.constant


def _windows(node: Node, shape: tuple[int, ...], kernel: Sequence[int]) -> Windows:
    told = node.attributes
    strides, pads, dilations = (told.get(name, ()) for name in ("strides", "pads", "dilations"))
    return windows(shape[2:], kernel, strides, pads, dilations, told.get("auto_pad", "NOTSET"))


def _fill(layer: Any, **arrays: np.ndarray | None) -> Any:
    for name, array in arrays.items():
        if array is not None:
            getattr(layer, name).value[...] = array
    return layer


def _conv(node: Node, shape: tuple[int, ...], output: Any) -> nn.Layer | None:
    weight, bias, told = _constant(node, 1), _constant(node, 2), node.attributes
    rank = len(shape) - 2
    if weight is None or rank not in _CONV or (len(node.inputs) > 2 and node.inputs[2] and bias is None):
        return None
    where = _windows(node, shape, weight.shape[2:])
    layer = _CONV[rank](
        shape[1],
        len(weight),
        where.kernel,
        where.stride,
        where.padding,
        where.dilation,
        told.get("group", 1),
        bias is not None,
        activation=told.get("activation"),
        rng=0,
        dtype=weight.dtype,
    )
    return _fill(layer, weight=weight, bias=bias)  # type: ignore[no-any-return]


def _pool(node: Node, shape: tuple[int, ...], output: Any) -> nn.Layer | None:
    told, rank = node.attributes, len(shape) - 2
    where = _windows(node, shape, told["kernel_shape"])
    layer: nn.Layer
    ceil = flag("ceil_mode", bool(told.get("ceil_mode", 0)))
    try:
        if node.operator == "MaxPool":
            layer = _MAX[rank](where.kernel, where.stride, where.padding, where.dilation, ceil)
        elif set(where.dilation) == {1}:
            counted = bool(told.get("count_include_pad", 0))
            layer = _AVERAGE[rank](where.kernel, where.stride, where.padding, ceil, counted)
        else:
            return None
        return layer if layer.output_shape(shape) == output else None
    except ValueError:  # windows that the files allow and layers do not
        return None


def _full(node: Node, shape: tuple[int, ...], output: Any) -> nn.Layer | None:
    weight, bias, told = _constant(node, 1), _constant(node, 2), node.attributes
    if weight is None or weight.ndim != 2 or len(shape) != 2 or told.get("activation"):
        return None
    if told.get("transA", 0) or told.get("alpha", 1.0) != 1 or told.get("beta", 1.0) != 1:
        return None
    if len(node.inputs) > 2 and node.inputs[2] is not None and bias is None:
        return None
    transposed = told.get("transB", 0) if node.operator == "Gemm" else told.get("transposed", False)
    weight = weight if transposed else weight.T
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, rng=0, dtype=weight.dtype)
    return _fill(  # type: ignore[no-any-return]
        layer, weight=weight, bias=None if bias is None else np.broadcast_to(bias, weight.shape[:1])
    )


def _batch_norm(node: Node, shape: tuple[int, ...], output: Any) -> nn.Layer | None:
    arrays = [_constant(node, i) for i in range(1, 5)]
    if any(each is None for each in arrays) or node.attributes.get("training_mode", 0):
        return None
    epsilon = node.attributes.get("epsilon", 1e-5)
    layer = _NORM[len(shape) - 2](shape[1], epsilon, dtype=arrays[0].dtype)  # type: ignore[union-attr]
    names = ("weight", "bias", "running_mean", "running_var")
    return _fill(layer, **dict(zip(names, arrays)))  # type: ignore[no-any-return]


def _arithmetic(node: Node, shape: tuple[int, ...], output: Any) -> nn.Layer | None:
    constants = [_constant(node, i) for i in range(len(node.inputs))]
    if all(each is None for each in constants):
        return Add() if node.operator in ("Add", "Sum") else None
    first, constant = constants[0], constants[1] if len(constants) == 2 else None
    if constant is None and len(constants) == 2 and node.operator in ("Add", "Mul"):
        constant = first  # which may stand on either side
    if constant is None or output is None or constant.dtype.kind != "f":
        return None
    if constant.ndim > len(output) or (constant.ndim == len(output) and len(constant) != 1):
        return None
    one, zero = np.ones_like(constant), np.zeros_like(constant)
    return {
        "Add": lambda: Affine(one, constant),
        "Sub": lambda: Affine(one, -constant),
        "Mul": lambda: Affine(constant, zero),
        "Div": lambda: Affine(one / constant, zero),
    }[node.operator]()


def _flat(node: Node, shape: tuple[int, ...], output: Any) -> nn.Layer | None:
    if output is None or not shape or output[:1] != shape[:1]:
        return None
    return nn.Flatten() if output == (shape[0], math.prod(shape[1:])) else Reshaped(output[1:])


def _join(node: Node, shape: tuple[int, ...], output: Any) -> nn.Layer | None:
    axis = node.attributes["axis"]
    constant = any(value is not None and value.constant is not None for value in node.inputs)
    return Join() if axis in (1, 1 - len(shape)) and not constant else None


def _mean(node: Node, shape: tuple[int, ...], output: Any) -> nn.Layer | None:
    wanted = (*shape[:2], *(1,) * (len(shape) - 2))
    return nn.GlobalAvgPool() if output == wanted and 3 <= len(shape) <= 5 else None


def _clip(node: Node, shape: tuple[int, ...], output: Any) -> nn.Layer | None:
    low, high = _constant(node, 1), _constant(node, 2)
    if low is None or high is None:
        return None
    bounds = float(low), float(high)
    return nn.ReLU6() if bounds == (0.0, 6.0) else nn.Hardtanh(*bounds)


def _along(layer: Callable[[int], nn.Layer]) -> Callable[..., nn.Layer | None]:
    def made(node: Node, shape: tuple[int, ...], output: Any) -> nn.Layer | None:
        return None if node.attributes.get("flat") else layer(node.attributes.get("axis", -1))

    return made


def _plain(layer: Callable[..., nn.Layer], *settings: str) -> Callable[..., nn.Layer | None]:
    """An activation whose attributes are a layer's arguments, in order, where they are given."""

    def made(node: Node, shape: Sequence[int], output: Any) -> nn.Layer | None:
        if set(node.attributes) - set(settings):
            return None
        return layer(*(node.attributes[name] for name in settings if name in node.attributes))

    return made


def _dropout(node: Node, shape: tuple[int, ...], output: Any) -> nn.Layer | None:
    training = _constant(node, 2)
    return nn.Identity() if training is None or not training.any() else None


_RULES: dict[str, Callable[..., nn.Layer | None]] = {
    "Conv": _conv,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": lambda *told: nn.GlobalAvgPool(),
    "GlobalMaxPool": lambda *told: nn.GlobalMaxPool(),
    "ReduceMean": _mean,
    "Gemm": _full,
    "MatMul": _full,
    "Linear": _full,
    "BatchNormalization": _batch_norm,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Sum"), _arithmetic),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze", "View"), _flat),
    "Concat": _join,
    "Clip": _clip,
    "Dropout": _dropout,
    "Identity": lambda *told: nn.Identity(),
    "Relu": lambda *told: nn.ReLU(),
    "LeakyRelu": _plain(nn.LeakyReLU, "alpha"),
    "Sigmoid": _plain(nn.Sigmoid),
    "Tanh": _plain(nn.Tanh),
    "Elu": _plain(nn.ELU, "alpha"),
    "HardSwish": _plain(nn.Hardswish),
    "Mish": _plain(nn.Mish),
    "Softsign": _plain(nn.Softsign),
    "Softplus": _plain(nn.Softplus),
    "Gelu": _plain(nn.GELU, "approximate"),
    "Swish": _plain(nn.SiLU),
    "Softmax": _along(nn.Softmax),
    "LogSoftmax": _along(nn.LogSoftmax),
}
