"""Several nodes as one, where one kernel does their work: fewer passes over memory, the same function.

Rules look at a node and at what stands around it, and put another in its place; they are applied until none
applies. A value that is returned, or read elsewhere, too, is never fused away.

Batch normalisation and constant factors behind a convolution go into its weights, whose rounding then differs
in the last place: results are not the same to the bit as those of the nodes one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastconv.graph.ir import Node, Value, needed
from fastconv.graph.operators.normalization import factors
from fastconv.graph.operators.windows import windows

#: The activation that a convolution applies as it stores, by operator; with the parameters it has there.
STORED = {"Relu": "relu", "LeakyRelu": "leaky_relu"}

#: Slope of "leaky_relu", as kernels have it.
LEAKY_SLOPE = 0.01


def fuse(nodes: Sequence[Node], outputs: Sequence[Value], exact: bool = False) -> list[Node]:
    """The nodes, with those that one kernel can do together made one; `exact` leaves out what rounds otherwise."""
    graph = _Rewriting(list(nodes), outputs)
    changed = True
    while changed:
        changed = False
        for node in list(graph.nodes):
            if node in graph.gone:
                continue
            for rule in RULES.get(node.operator, ()):
                if not (exact and rule in ROUNDING) and rule(graph, node):
                    changed = True
                    break
        graph.settle()
    return needed(graph.nodes, outputs)


class _Rewriting:
    """Nodes that are being rewritten."""

    def __init__(self, nodes: list[Node], outputs: Sequence[Value]) -> None:
        self.nodes, self.outputs = nodes, set(outputs)
        self.gone: set[Node] = set()
        self.instead: dict[Node, Node] = {}
        self._index()

    def _index(self) -> None:
        self.maker = {value: node for node in self.nodes for value in node.outputs if value is not None}
        self.readers: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                if value is not None:
                    self.readers.setdefault(value, []).append(node)

    def settle(self) -> None:
        """Carry out what rules have decided."""
        if self.gone:
            self.nodes = [
                self.instead.get(n, n) for n in self.nodes if n not in self.gone or n in self.instead
            ]
            self.gone, self.instead = set(), {}
            self._index()

    def alone(self, value: Value | None) -> Node | None:
        """The node that makes a value which one other node reads, and nobody else."""
        if value is None or value in self.outputs or len(self.readers.get(value, ())) != 1:
            return None
        node = self.maker.get(value)
        return None if node is None or node in self.gone else node

    def merge(self, first: Node, last: Node, made: Node) -> bool:
        """`made` does the work of both, where the last one stands."""
        self.gone |= {first, last}
        self.instead[last] = made
        made.does = (*first.does, *last.does)
        return True

    def replace(self, node: Node, made: Node) -> bool:
        self.gone.add(node)
        self.instead[node] = made
        return True


def constant(value: Value | None) -> np.ndarray | None:
    """The array of a constant."""
    return None if value is None or not isinstance(value.constant, np.ndarray) else value.constant


def _number(value: Value | None) -> float | None:
    """A constant of one element."""
    array = constant(value)
    return (
        float(array.reshape(()))
        if array is not None and array.size == 1 and array.dtype.kind in "iuf"
        else None
    )


# ---- into a convolution -------------------------------------------------------------------------------


def _weights(conv: Node) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Constant weight and bias of a convolution that has no activation yet."""
    weight = constant(conv.inputs[1])
    bias = conv.inputs[2] if len(conv.inputs) > 2 else None
    held = constant(bias)
    if weight is None or (bias is not None and held is None) or conv.attributes.get("activation"):
        return None
    return weight, held


def _scaled(conv: Node, last: Node, factor: np.ndarray, shift: np.ndarray) -> Node | None:
    """A convolution whose outputs are scaled and shifted, per channel."""
    found = _weights(conv)
    if found is None or conv.operator != "Conv":
        return None
    weight, bias = found
    channels = weight.shape[0]
    if factor.size not in (1, channels) or shift.size not in (1, channels):
        return None
    factor = np.broadcast_to(factor.reshape(-1), (channels,)).astype(np.float64)
    shift = np.broadcast_to(shift.reshape(-1), (channels,)).astype(np.float64)
    scaled = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    moved = shift if bias is None else bias * factor + shift
    inputs = (conv.inputs[0], Value.of(scaled.astype(weight.dtype)), Value.of(moved.astype(weight.dtype)))
    return Node(conv.operator, inputs, last.outputs, conv.attributes, conv.name or last.name)


def _norm_into_conv(graph: _Rewriting, node: Node) -> bool:
    """Batch normalisation by known statistics."""
    conv = graph.alone(node.inputs[0])
    statistics = [constant(value) for value in node.inputs[1:5]]
    if conv is None or node.attributes.get("training_mode") or any(each is None for each in statistics):
        return False
    pair = factors(*statistics, node.attributes.get("epsilon", 1e-5))  # type: ignore[arg-type]
    made = _scaled(conv, node, *pair)
    return made is not None and graph.merge(conv, node, made)


def _factor_into_conv(graph: _Rewriting, node: Node) -> bool:
    """A constant per channel by which a convolution's output is multiplied, or that is added to it."""
    for value, other in (node.inputs, node.inputs[::-1]):
        conv, array = graph.alone(value), constant(other)
        if conv is None or conv.operator != "Conv" or array is None or array.dtype.kind != "f":
            continue
        weight = constant(conv.inputs[1])
        if weight is None or array.dtype != weight.dtype or not _is_per_channel(array, weight.ndim):
            continue
        one, none = np.ones(1), np.zeros(1)
        pair = (array, none) if node.operator == "Mul" else (one, array if node.operator == "Add" else -array)
        if node.operator == "Sub" and value is not node.inputs[0]:
            continue
        made = _scaled(conv, node, *pair)
        if made is not None:
            return graph.merge(conv, node, made)
    return False


def _is_per_channel(array: np.ndarray, rank: int) -> bool:
    """Whether an array has one number for each channel of (N, C, ...), or one for all."""
    if array.size == 1:
        return array.ndim <= rank
    shape = (1,) * (rank - array.ndim) + array.shape
    return len(shape) == rank and all(size == 1 for i, size in enumerate(shape) if i != 1)


def _activation_into(graph: _Rewriting, node: Node) -> bool:
    """An activation that is applied as results are stored."""
    first = graph.alone(node.inputs[0])
    name = STORED.get(node.operator)
    if node.operator == "LeakyRelu" and abs(node.attributes.get("alpha", 0.01) - LEAKY_SLOPE) > 1e-9:
        return False
    if node.operator == "Clip":
        bounds = [_number(value) for value in (*node.inputs[1:3], None, None)[:2]]
        given = sum(value is not None for value in node.inputs[1:3])
        name = "relu6" if bounds == [0.0, 6.0] else "relu" if bounds == [0.0, None] and given == 1 else None
    if first is None or name is None or first.operator not in ("Conv", "Linear"):
        return False
    if first.operator == "Conv" and _weights(first) is None:
        return False
    if first.attributes.get("activation"):
        return False
    attributes = {**first.attributes, "activation": name}
    return graph.merge(first, node, Node(first.operator, first.inputs, node.outputs, attributes, first.name))


def _pad_into(graph: _Rewriting, node: Node) -> bool:
    """Zeros in front of a convolution become its own padding."""
    pad = graph.alone(node.inputs[0])
    weight = constant(node.inputs[1])
    if pad is None or pad.operator != "Pad" or pad.attributes.get("mode", "constant") != "constant":
        return False
    pads = constant(pad.inputs[1])
    fill = pad.inputs[2] if len(pad.inputs) > 2 else None
    if pads is None or weight is None or (fill is not None and _number(fill) != 0.0) or len(pad.inputs) > 3:
        return False
    rank = weight.ndim
    before, after = pads[:rank].tolist(), pads[rank:].tolist()
    if len(pads) != 2 * rank or any(before[:2] + after[:2]) or min((*before, *after)) < 0:
        return False
    if node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", ""):
        return False
    own = windows((1,) * (rank - 2), weight.shape[2:], pads=node.attributes.get("pads", ())).padding
    if node.attributes.get("auto_pad") == "VALID":
        own = ((0, 0),) * (rank - 2)
    added = (
        *(a + b for a, (b, _) in zip(before[2:], own)),
        *(a + b for a, (_, b) in zip(after[2:], own)),
    )
    attributes = {**node.attributes, "pads": added, "auto_pad": "NOTSET"}
    inputs = (pad.inputs[0], *node.inputs[1:])
    return graph.merge(pad, node, Node(node.operator, inputs, node.outputs, attributes, node.name))


# ---- products -----------------------------------------------------------------------------------------


def _bias_into_product(graph: _Rewriting, node: Node) -> bool:
    """A product with a constant matrix, and the constant added to it: a fully connected layer."""
    for value, other in (node.inputs, node.inputs[::-1]):
        product, bias = graph.alone(value), constant(other)
        if product is None or product.operator != "MatMul" or bias is None:
            continue
        weight = constant(product.inputs[1])
        if weight is None or weight.ndim != 2 or bias.shape != weight.shape[1:] or bias.dtype != weight.dtype:
            continue
        inputs = (product.inputs[0], product.inputs[1], other)
        return graph.merge(product, node, Node("Linear", inputs, node.outputs, {}, product.name or node.name))
    return False


# ---- activations from their parts ---------------------------------------------------------------------


def _swish(graph: _Rewriting, node: Node) -> bool:
    """x * sigmoid(x), and x * hard sigmoid(x) with the slope of hardswish."""
    for value, other in (node.inputs, node.inputs[::-1]):
        gate = graph.alone(other)
        if gate is None or gate.inputs[0] is not value:
            continue
        if gate.operator == "Sigmoid":
            return graph.merge(gate, node, Node("Swish", (value,), node.outputs, {}, node.name))
        slope, offset = gate.attributes.get("alpha", 0.2), gate.attributes.get("beta", 0.5)
        if gate.operator == "HardSigmoid" and abs(slope - 1 / 6) < 1e-6 and offset == 0.5:
            return graph.merge(gate, node, Node("HardSwish", (value,), node.outputs, {}, node.name))
    return False


def _gelu(graph: _Rewriting, node: Node) -> bool:
    """0.5 * x * (1 + erf(x / sqrt(2))), in the orders in which exporters write its products."""
    taken: list[Node] = [node]
    terms: list[Value] = []
    waiting = [value for value in node.inputs if value is not None]
    while waiting:  # the factors of the whole product
        value = waiting.pop()
        maker = graph.alone(value)
        if maker is not None and maker.operator == "Mul" and len(taken) < 3:
            taken.append(maker)
            waiting += [each for each in maker.inputs if each is not None]
        else:
            terms.append(value)
    if len(terms) != 3:
        return False
    halves = [value for value in terms if _number(value) == 0.5]
    sums = [value for value in terms if (m := graph.alone(value)) is not None and m.operator == "Add"]
    plain = [value for value in terms if value not in halves and value not in sums]
    if len(halves) != 1 or len(sums) != 1 or len(plain) != 1:
        return False
    add = graph.alone(sums[0])
    assert add is not None
    erf = next((m for v in add.inputs if (m := graph.alone(v)) is not None and m.operator == "Erf"), None)
    if erf is None or not any(_number(value) == 1.0 for value in add.inputs):
        return False
    inner = graph.alone(erf.inputs[0])
    if inner is None or inner.operator not in ("Div", "Mul") or inner.inputs[0] is not plain[0]:
        return False
    factor = _number(inner.inputs[1])
    wanted = 2**0.5 if inner.operator == "Div" else 0.5**0.5
    if factor is None or abs(factor - wanted) > 1e-4:
        return False
    graph.gone |= {*taken[1:], add, erf, inner}
    return graph.replace(node, Node("Gelu", (plain[0],), node.outputs, {}, node.name))


# ---- movement -----------------------------------------------------------------------------------------


def _transposes(graph: _Rewriting, node: Node) -> bool:
    """Two transpositions in a row are one."""
    first = graph.maker.get(node.inputs[0]) if node.inputs[0] is not None else None
    if first is None or first.operator != "Transpose" or first in graph.gone:
        return False
    one, two = first.attributes.get("perm"), node.attributes.get("perm")
    if one is None or two is None:
        return False
    both = tuple(one[i] for i in two)
    operator, attributes = (
        ("Identity", {}) if both == tuple(range(len(both))) else ("Transpose", {"perm": both})
    )
    return graph.replace(node, Node(operator, first.inputs, node.outputs, attributes, node.name))


def _joined_before(graph: _Rewriting, node: Node) -> bool:
    """A Concat that begins as another does reads that one: so both lie in one place."""
    shared = graph.readers.get(node.inputs[0], []) if node.inputs[0] is not None else []
    best: Node | None = None
    for other in shared:
        if other is node or other.operator != "Concat" or other in graph.gone:
            continue
        count = len(other.inputs)
        if other.attributes["axis"] != node.attributes["axis"] or not 1 < count < len(node.inputs):
            continue
        if other.inputs == node.inputs[:count] and (best is None or count > len(best.inputs)):
            best = other
    if best is None or graph.nodes.index(best) > graph.nodes.index(node):
        return False
    inputs = (best.outputs[0], *node.inputs[len(best.inputs) :])
    return graph.replace(node, Node("Concat", inputs, node.outputs, node.attributes, node.name))


RULES: dict[str, tuple[Callable[[_Rewriting, Node], bool], ...]] = {
    "Add": (_factor_into_conv, _bias_into_product),
    "BatchNormalization": (_norm_into_conv,),
    "Clip": (_activation_into,),
    "Concat": (_joined_before,),
    "Conv": (_pad_into,),
    "LeakyRelu": (_activation_into,),
    "Mul": (_factor_into_conv, _swish, _gelu),
    "Relu": (_activation_into,),
    "Sub": (_factor_into_conv,),
    "Transpose": (_transposes,),
}


#: Rules whose results are rounded otherwise than those of the nodes one by one.
ROUNDING = (_norm_into_conv, _factor_into_conv, _bias_into_product, _swish, _gelu)
