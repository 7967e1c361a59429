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
from fastconv.graph.keep import Keep
from fastconv.graph.operator import Signature
from fastconv.graph.operators.convolution import adds_up
from fastconv.graph.operators.elementwise import FLOATS
from fastconv.graph.operators.normalization import factors
from fastconv.graph.operators.windows import windows

#: The activation that a convolution applies as it stores, by operator; with the parameters it has there.
STORED = {"Relu": "relu", "LeakyRelu": "leaky_relu"}

#: Slope of "leaky_relu" where it is not told.
LEAKY_SLOPE = 0.01


def fuse(
    nodes: Sequence[Node],
    outputs: Sequence[Value],
    keep: Keep,
    exact: bool = False,
    known: dict[Value, Signature] | None = None,
) -> list[Node]:
    """The nodes, with those that one kernel can do together made one.

    Parameters
    ----------
    keep : Keep
        Where weights that are made of others are kept, so that all shapes of inputs share them.
    exact : bool
        Leave out what rounds otherwise.
    known : dict of Value to Signature, optional
        Shapes, where they are known already; those of new values are added.
    """
    graph = _Rewriting(list(nodes), outputs, {} if known is None else known, keep)
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

    def __init__(
        self, nodes: list[Node], outputs: Sequence[Value], known: dict[Value, Signature], keep: Keep
    ) -> None:
        self.nodes, self.outputs, self.known, self.keep = nodes, set(outputs), known, keep
        self.gone: set[Node] = set()
        self.instead: dict[Node, list[Node]] = {}
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
            kept = [self.instead.get(node, () if node in self.gone else (node,)) for node in self.nodes]
            self.nodes = [node for nodes in kept for node in nodes]
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
        self.instead[last] = [made]
        made.does = (*first.does, *last.does)
        return True

    def replace(self, node: Node, *made: Node) -> bool:
        self.gone.add(node)
        self.instead[node] = list(made)
        return True

    def shape(self, value: Value | None) -> tuple[int, ...] | None:
        """The shape of a value, where it is known."""
        if value is None:
            return None
        held = constant(value)
        known = self.known.get(value)
        return held.shape if held is not None else None if known is None else known.shape


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


def _scaled(
    graph: _Rewriting,
    conv: Node,
    last: Node,
    arrays: tuple[np.ndarray, ...],
    pair: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> bool:
    """Scale and shift the outputs of a convolution per channel; factor and shift come from some arrays."""
    found = _weights(conv)
    if found is None or conv.operator != "Conv" or len(conv.inputs) > 3:
        return False
    weight, bias = found

    def make() -> tuple[Value, Value]:
        channels = weight.shape[0]
        factor, shift = (np.broadcast_to(each.reshape(-1), (channels,)).astype(np.float64) for each in pair())
        scaled = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
        moved = shift if bias is None else bias * factor + shift
        return Value.of(scaled.astype(weight.dtype)), Value.of(moved.astype(weight.dtype))

    key = (last.operator, last.attributes.get("epsilon"))
    inputs = (conv.inputs[0], *graph.keep((weight, bias, *arrays), key, make))
    made = Node(conv.operator, inputs, last.outputs, conv.attributes, conv.name or last.name)
    return graph.merge(conv, last, made)


def _norm_into_conv(graph: _Rewriting, node: Node) -> bool:
    """Batch normalisation by known statistics."""
    conv = graph.alone(node.inputs[0])
    known = tuple(array for value in node.inputs[1:5] if (array := constant(value)) is not None)
    if conv is None or node.attributes.get("training_mode") or len(known) != 4:
        return False
    return _scaled(graph, conv, node, known, lambda: factors(known, node.attributes.get("epsilon", 1e-5)))


def _factor_into_conv(graph: _Rewriting, node: Node) -> bool:
    """A constant per channel by which a convolution's output is multiplied, or that is added to it."""
    for value, other in (node.inputs, node.inputs[::-1]):
        conv, array = graph.alone(value), constant(other)
        if conv is None or conv.operator != "Conv" or array is None or array.dtype.kind != "f":
            continue
        weight = constant(conv.inputs[1])
        if weight is None or array.dtype != weight.dtype or not _is_per_channel(array, weight):
            continue
        if node.operator == "Sub" and value is not node.inputs[0]:
            continue
        pairs = {"Mul": (array, np.zeros(1)), "Add": (np.ones(1), array), "Sub": (np.ones(1), -array)}
        pair = pairs[node.operator]
        if _scaled(graph, conv, node, (array,), lambda pair=pair: pair):  # type: ignore[misc]
            return True
    return False


def _is_per_channel(array: np.ndarray, weight: np.ndarray) -> bool:
    """Whether an array has one number for each channel of a convolution's output, or one for all."""
    if array.size == 1:
        return array.ndim <= weight.ndim
    shape = (1,) * (weight.ndim - array.ndim) + array.shape
    return shape == (1, len(weight), *(1,) * (weight.ndim - 2))


def _sum_into_conv(graph: _Rewriting, node: Node) -> bool:
    """What is added to a convolution's output (a residual, mostly) is there already when that is stored."""
    for value, other in (node.inputs, node.inputs[::-1]):
        conv = graph.alone(value)
        if conv is None or conv.operator != "Conv" or len(conv.inputs) > 3 or _weights(conv) is None:
            continue
        x, weight, *bias = conv.inputs
        known = [graph.known.get(each) if each is not None else None for each in (x, value, other)]
        shapes = [each[:2] for each in known if each is not None and each.shape is not None]
        if len(shapes) < 3 or shapes[1] != shapes[2] or weight is None or known[0] is None:
            continue
        if not adds_up(known[0], Signature.of(weight.constant), conv.attributes):
            continue
        inputs = (x, weight, *(bias or [None]), other)
        return graph.merge(conv, node, Node("Conv", inputs, node.outputs, conv.attributes, conv.name))
    return False


def _activation_into(graph: _Rewriting, node: Node) -> bool:
    """An activation that is applied as results are stored."""
    first = graph.alone(node.inputs[0])
    name = STORED.get(node.operator)
    slope = node.attributes.get("alpha", LEAKY_SLOPE)
    if node.operator == "Clip":
        bounds = _bounds(node)
        given = sum(value is not None for value in node.inputs[1:3])
        name = "relu6" if bounds == [0.0, 6.0] else "relu" if bounds == [0.0, None] and given == 1 else None
    if first is None or name is None or first.operator not in ("Conv", "Linear"):
        return False
    if first.operator == "Conv" and _weights(first) is None:
        return False
    if first.attributes.get("activation"):
        return False
    attributes = {**first.attributes, "activation": name}
    if name == "leaky_relu" and slope != LEAKY_SLOPE:
        if first.operator != "Conv":
            return False
        attributes["negative_slope"] = slope
    return graph.merge(first, node, Node(first.operator, first.inputs, node.outputs, attributes, first.name))


def _held_between(graph: _Rewriting, node: Node) -> bool:
    """The larger of a value and a number, or the smaller one, is that value held above or below it."""
    if len(node.inputs) != 2:
        return False
    for value, other in (node.inputs, node.inputs[::-1]):
        bound, known = constant(other), graph.known.get(value) if value is not None else None
        if bound is None or known is None or known.shape is None or bound.size != 1:
            continue
        if bound.dtype not in FLOATS or known.dtype != bound.dtype or bound.ndim > len(known.shape):
            continue
        if np.isnan(bound).any():  # it makes all NaN, and bounds nothing
            continue
        limit = Value.of(bound.reshape(()))
        inputs = (value, limit) if node.operator == "Max" else (value, None, limit)
        return graph.replace(node, Node("Clip", inputs, node.outputs, {}, node.name))
    return False


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


def _along_rows(graph: _Rewriting, node: Node) -> bool:
    """A convolution of columns one element wide is one of rows: these lie in vectors."""
    x, weight, made = graph.shape(node.inputs[0]), constant(node.inputs[1]), node.outputs[0]
    told = node.attributes
    if x is None or weight is None or made is None or len(x) != 4 or weight.ndim != 4 or len(node.inputs) > 3:
        return False
    if x[3] != 1 or weight.shape[3] != 1 or weight.shape[2] == 1 or x[2] == 1:
        return False
    pads, output = tuple(told.get("pads", ())), graph.shape(made)
    if told.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", "") or any(pads[1::2]) or output is None:
        return False
    row, answer = Value(f"{made.name}.row"), Value(f"{made.name}.answer")
    dtype = graph.known[made].dtype
    graph.known[row] = Signature(dtype, (*x[:2], 1, x[2]))
    graph.known[answer] = Signature(dtype, (*output[:2], 1, output[2]))
    attributes = {
        **told,
        "kernel_shape": (1, weight.shape[2]),
        "strides": tuple(told.get("strides", ()))[::-1],
        "dilations": tuple(told.get("dilations", ()))[::-1],
        "pads": (pads[1], pads[0], pads[3], pads[2]) if pads else (),
    }
    turned = graph.keep((weight,), "rows", lambda: Value.of(np.swapaxes(weight, 2, 3).copy()))
    swap = {"perm": (0, 1, 3, 2)}
    return graph.replace(
        node,
        Node("Transpose", (node.inputs[0],), (row,), swap, node.name),
        Node("Conv", (row, turned, *node.inputs[2:]), (answer,), attributes, node.name),
        Node("Transpose", (answer,), (made,), swap, node.name),
    )


def _mean_of_planes(graph: _Rewriting, node: Node) -> bool:
    """The mean over all spatial axes is a global average pool, if it keeps them."""
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    shape = graph.shape(node.inputs[0])
    if axes is None or shape is None or not 3 <= len(shape) <= 5 or not node.attributes.get("keepdims", 1):
        return False
    if sorted(int(axis) % len(shape) for axis in axes.reshape(-1)) != list(range(2, len(shape))):
        return False
    return graph.replace(node, Node("GlobalAveragePool", node.inputs[:1], node.outputs, {}, node.name))


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


def _hard_swish(graph: _Rewriting, node: Node) -> bool:
    """x * clip(x + 3, 0, 6) / 6, as exporters write it."""
    if _number(node.inputs[1]) != 6.0:
        return False
    product = graph.alone(node.inputs[0])
    if product is None or product.operator != "Mul":
        return False
    for value, other in (product.inputs, product.inputs[::-1]):
        clip = graph.alone(other)
        if clip is None or clip.operator != "Clip" or _bounds(clip) != [0.0, 6.0]:
            continue
        moved = graph.alone(clip.inputs[0])
        if moved is not None and moved.operator == "Add" and moved.inputs[0] is value:
            if _number(moved.inputs[1]) != 3.0:
                continue
            graph.gone |= {product, clip, moved}
            return graph.replace(node, Node("HardSwish", (value,), node.outputs, {}, node.name))
    return False


def _bounds(clip: Node) -> list[float | None]:
    """The numbers a Clip holds values between."""
    return [_number(value) for value in (*clip.inputs[1:3], None, None)[:2]]


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
    "Add": (_factor_into_conv, _bias_into_product, _sum_into_conv),
    "BatchNormalization": (_norm_into_conv,),
    "Clip": (_activation_into,),
    "Concat": (_joined_before,),
    "Conv": (_pad_into, _along_rows),
    "Div": (_hard_swish,),
    "LeakyRelu": (_activation_into,),
    "Max": (_held_between,),
    "Min": (_held_between,),
    "Mul": (_factor_into_conv, _swish, _gelu),
    "ReduceMean": (_mean_of_planes,),
    "Relu": (_activation_into,),
    "Sub": (_factor_into_conv,),
    "Transpose": (_transposes,),
}


#: Rules whose results are rounded otherwise than those of the nodes one by one.
ROUNDING = (
    _along_rows,
    _mean_of_planes,
    _norm_into_conv,
    _factor_into_conv,
    _sum_into_conv,
    _bias_into_product,
    _swish,
    _hard_swish,
    _gelu,
)
