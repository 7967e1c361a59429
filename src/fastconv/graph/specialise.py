"""A graph for inputs of known shape: what is known beforehand is computed, what is left has shapes.

Shapes go in, and through every node in order. What depends on shapes and constants alone is computed here and
now; an If whose condition is known becomes the branch that it takes; nodes that change nothing vanish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv.graph.ir import Node, Nodes, Value, bound_to, needed, subgraphs
from fastconv.graph.operator import UNKNOWN, Operator, Signature
from fastconv.graph.operators import OPERATORS

#: Larger results are not computed ahead, unless they are at most four times what they come from, as weights
#: that were quantised are.
FOLDED_BYTES = 1 << 16


class Specialised(NamedTuple):
    """What is left of a graph.

    Attributes
    ----------
    nodes : list of Node
    known : dict of Value to Signature
        Of all values that are not constant.
    outputs : tuple of Value
        What the graph returns: one that is made, an input, or a constant.
    """

    nodes: list[Node]
    known: dict[Value, Signature]
    outputs: tuple[Value, ...]


#: Errors that name the node they are raised in.
LOCATED = (
    ValueError, TypeError, IndexError, MemoryError, NotImplementedError, ZeroDivisionError, OverflowError,
    AttributeError,
)  # fmt: skip

#: How many inputs of a node are its own; those behind them are read by the graphs inside it.
OWN_INPUTS: dict[str, Callable[[dict[str, Any]], int]] = {
    "If": lambda told: 1,
    "Loop": lambda told: 2 + int(told["carried"]),
    "Scan": lambda told: int(told["states"]) + int(told["num_scan_inputs"]),
    "SequenceMap": lambda told: int(told["mapped"]),
}


def specialise(graph: Nodes, inputs: Sequence[Signature]) -> Specialised:
    """The graph for inputs of these signatures, which need not be complete.

    Raises
    ------
    ValueError, TypeError
        Naming the node that does not take what reaches it.
    """
    walk = _Walk()
    renamed: dict[Value, Value] = {}
    for value, signature in zip(graph.inputs, inputs):
        if signature.value is not None:
            renamed[value] = Value.of(signature.value, value.name)
        else:
            walk.known[value] = signature
    walk.through(graph.nodes, renamed)
    outputs = tuple(renamed.get(value, value) for value in graph.outputs)
    return Specialised(needed(walk.nodes, outputs), walk.known, outputs)


def located(node: Node, error: Exception) -> Exception:
    """The same error, naming the node."""
    kind = next((kind for kind in LOCATED if isinstance(error, kind)), None)
    if kind is None:
        return error
    if kind in (IndexError, ZeroDivisionError, OverflowError):
        kind = ValueError
    if kind is AttributeError:
        kind = TypeError  # a list, or nothing, where an array is to be
    text = str(error)
    return kind(text if text.startswith("node ") else f"{node.title}: {text}")


class _Walk:
    """Nodes taken so far, and what is known of their outputs."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.known: dict[Value, Signature] = {}

    def signature(self, value: Value | None) -> Signature | None:
        if value is None:
            return None
        return self.known.get(value, UNKNOWN) if value.constant is None else Signature.of(value.constant)

    def through(self, nodes: Iterable[Node], renamed: dict[Value, Value]) -> None:
        for node in nodes:
            read = [value if value is None else renamed.get(value, value) for value in node.inputs]
            try:
                self._take(node.reading(read), renamed)
            except LOCATED as error:
                raise located(node, error) from error

    def _take(self, node: Node, renamed: dict[Value, Value]) -> None:
        node = _with_constants(node)
        inputs = [self.signature(value) for value in node.inputs]
        operator = OPERATORS[node.operator]
        if node.operator == "If" and inputs[0] is not None and inputs[0].value is not None:
            self._take_branch(node, bool(np.asarray(inputs[0].value).reshape(-1)[0]), renamed)
            return
        if node.operator == "Constant" and node.outputs[0] is not None:
            renamed[node.outputs[0]] = Value.of(node.attributes["value"], node.outputs[0].name)
            return
        if _changes_nothing(node, inputs):
            (made,), read = node.outputs[:1], node.inputs[0]
            if made is not None and read is not None:
                renamed[made] = read
            return
        results = self._results(node, operator, inputs)
        values = [value for value in node.outputs if value is not None]
        if all(results[i].value is not None for i, value in enumerate(node.outputs) if value is not None):
            for value, result in zip(node.outputs, results):
                if value is not None:
                    renamed[value] = Value.of(result.value, value.name)
            return
        for value, result in zip(node.outputs, results):
            if value is not None:
                self.known[value] = result
        if values:
            self.nodes.append(node)

    def _results(self, node: Node, operator: Operator, inputs: list[Signature | None]) -> list[Signature]:
        """Signatures of the outputs: with values, if these can be had now."""
        count = len(node.outputs)
        constant = all(each is None or each.value is not None for each in inputs)
        signatures = None
        if not (constant and operator.is_random is False and _is_small(inputs) and not operator.shaped_by):
            signatures = operator.signatures(inputs, count, node.attributes)
            given = sum(each.nbytes for each in inputs if each is not None)
            known = all(each.shape is not None for each in signatures)
            total = sum(each.nbytes for each in signatures)
            if not constant or operator.is_random or not known or total > max(4 * given, FOLDED_BYTES):
                return signatures
        with np.errstate(all="ignore"):
            made = operator.compute(*[each and each.value for each in inputs], **node.attributes)
        made = made if isinstance(made, tuple) else (made,)
        if sum(each.nbytes for each in made if isinstance(each, np.ndarray)) > 4 * FOLDED_BYTES and (
            signatures is None
        ):
            return [Signature(each.dtype, each.shape) for each in made[:count]]
        found = [Signature.of(each) for each in made[:count]]
        return [*found, *[UNKNOWN] * (count - len(found))]

    def _take_branch(self, node: Node, condition: bool, renamed: dict[Value, Value]) -> None:
        branch: Nodes = node.attributes["then_branch" if condition else "else_branch"]
        inside = {inner: outer for inner, outer in zip(branch.inputs, node.inputs[1:]) if outer is not None}
        self.through(branch.nodes, inside)
        for made, value in zip(node.outputs, branch.outputs):
            if made is not None:
                renamed[made] = inside.get(value, value)


def _with_constants(node: Node) -> Node:
    """What the graphs inside a node read from around them, and is constant, as constants of theirs."""
    inside = dict(subgraphs(node))
    own = OWN_INPUTS.get(node.operator)
    if own is None or not inside:
        return node
    first = own(node.attributes)
    read = {i: value for i, value in enumerate(node.inputs) if i >= first and value is not None}
    bound = {i: value for i, value in read.items() if value.constant is not None}
    if not bound:
        return node
    made = {}
    for name, graph in inside.items():
        before = len(node.inputs) - len(graph.inputs)
        made[name] = bound_to(graph, {graph.inputs[i - before]: value for i, value in bound.items()})
    inputs = [value for i, value in enumerate(node.inputs) if i not in bound]
    return Node(node.operator, inputs, node.outputs, {**node.attributes, **made}, node.name)


def _is_small(inputs: Iterable[Signature | None]) -> bool:
    """Whether a result cannot be large, but by an operator that is told its shape."""
    return all(each is None or each.nbytes <= FOLDED_BYTES for each in inputs)


def _changes_nothing(node: Node, inputs: list[Signature | None]) -> bool:
    """Whether the first output is the first input, and the others are not read."""
    if any(value is not None for value in node.outputs[1:]) or not inputs or inputs[0] is None:
        return False
    first = inputs[0]
    if node.operator == "Identity":
        return True
    if node.operator == "Dropout":
        training = inputs[2] if len(inputs) > 2 else None
        return training is None or (training.value is not None and not np.any(training.value))
    if node.operator == "Cast":
        wanted: Any = node.attributes.get("to")
        return first.dtype is not None and first.dtype == wanted
    if node.operator == "Concat":
        return len(inputs) == 1
    return False
