"""The graph: values, and the nodes that make some of them from others.

A graph says what is computed, never how. Values are named; a node has an operator, inputs, outputs and
attributes, all in the terms of ONNX's newest operators, which is what most people's models are written in.
What a node runs inside itself (the branches of an If, the body of a Loop) is a graph of its own among its
attributes, and closed: what it reads from around it is passed to it as inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

#: A size that is known, one that has a name, or one that is not known at all.
Size = int | str | None


class Value:
    """An array that a node makes or reads.

    Attributes
    ----------
    name : str
        Any text; names need not be unique across graphs.
    dtype : numpy.dtype or None
    shape : tuple or None
        As declared, for inputs of a graph: sizes, names of sizes that vary, None. Of other values nothing is
        said before shapes are inferred.
    constant : ndarray or None
        The array itself, read-only, if it never changes.
    """

    __slots__ = ("constant", "dtype", "name", "shape")

    def __init__(
        self,
        name: str,
        dtype: np.dtype | None = None,
        shape: tuple[Size, ...] | None = None,
        constant: Any = None,
    ) -> None:
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.constant = constant

    @classmethod
    def of(cls, array: Any, name: str = "") -> Value:
        """A constant; an array is taken as it is and must not change any more."""
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
            return cls(name, array.dtype, array.shape, array)
        return cls(name, constant=array)

    def __reduce__(self) -> tuple[Any, ...]:
        return _value, (self.name, self.dtype, self.shape, self.constant)

    def __repr__(self) -> str:
        text = "?" if self.dtype is None else str(self.dtype)
        if self.shape is not None:
            text += f"[{', '.join('?' if size is None else str(size) for size in self.shape)}]"
        return f"{self.name}: {text}"


def _value(name: str, dtype: np.dtype | None, shape: Any, constant: Any) -> Value:
    """A value from a pickle, whose constant nobody may write to."""
    if isinstance(constant, np.ndarray):
        constant = np.require(constant, requirements=["C_CONTIGUOUS", "ALIGNED"])
        constant.flags.writeable = False
    return Value(name, dtype, shape, constant)


class Node:
    """An operator with the values it reads and makes.

    Attributes
    ----------
    operator : str
        A name of `fastconv.graph.operators.OPERATORS`.
    inputs : tuple of Value or None
        None for an optional input that is left out.
    outputs : tuple of Value or None
        None for one that nobody reads.
    attributes : dict
        What the operator's function takes by keyword.
    name : str
        Where the node comes from, for messages and tables.
    does : tuple of str
        The operators whose work it does: its own, or those that fusion has put into it.
    """

    __slots__ = ("attributes", "does", "inputs", "name", "operator", "outputs")

    def __init__(
        self,
        operator: str,
        inputs: Iterable[Value | None],
        outputs: Iterable[Value | None],
        attributes: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> None:
        self.operator = operator
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.attributes = dict(attributes or {})
        self.name = name
        self.does: tuple[str, ...] = (operator,)

    def reading(self, inputs: Iterable[Value | None]) -> Node:
        """The same node with other inputs."""
        made = Node(self.operator, inputs, self.outputs, self.attributes, self.name)
        made.does = self.does
        return made

    def __str__(self) -> str:
        made = ", ".join("_" if value is None else value.name for value in self.outputs)
        read = [_shown(value) for value in self.inputs]
        told = [f"{name}={_short(value)}" for name, value in self.attributes.items()]
        return f"{made} = {self.operator}({', '.join(read + told)})"

    @property
    def title(self) -> str:
        """How a message calls this node."""
        made = next((value.name for value in self.outputs if value is not None), "")
        return f"node {self.name or made!r} ({self.operator})"


def _shown(value: Value | None) -> str:
    if value is None:
        return "_"
    array = value.constant
    if array is None:
        return value.name
    if not isinstance(array, np.ndarray):
        return _short(array)
    if array.size <= 4:
        return str(array.tolist())
    return f"{array.dtype}[{', '.join(map(str, array.shape))}]"


def _short(value: Any) -> str:
    if isinstance(value, Nodes):
        return f"<{len(value.nodes)} nodes>"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return repr(value)


class Nodes:
    """Nodes in an order in which they can run, with what goes in and what comes out.

    Attributes
    ----------
    inputs, outputs : tuple of Value
    nodes : tuple of Node
    name : str
    """

    def __init__(
        self, inputs: Iterable[Value], nodes: Iterable[Node], outputs: Iterable[Value], name: str = ""
    ) -> None:
        self.inputs = tuple(inputs)
        self.nodes = tuple(nodes)
        self.outputs = tuple(outputs)
        self.name = name

    def __str__(self) -> str:
        lines = [f"{self.name or 'graph'}({', '.join(map(repr, self.inputs))})"]
        lines += [f"  {node}" for node in self.nodes]
        lines.append(f"  return {', '.join(_shown(value) for value in self.outputs)}")
        return "\n".join(lines)


def subgraphs(node: Node) -> Iterator[tuple[str, Nodes]]:
    """The graphs among a node's attributes."""
    for name, value in node.attributes.items():
        if isinstance(value, Nodes):
            yield name, value


def bound_to(graph: Nodes, given: Mapping[Value, Value]) -> Nodes:
    """The same graph with other values for some of its inputs, which it then has no more."""

    def found(value: Value | None) -> Value | None:
        return None if value is None else given.get(value, value)

    inputs = [value for value in graph.inputs if value not in given]
    nodes = [node.reading(map(found, node.inputs)) for node in graph.nodes]
    return type(graph)(inputs, nodes, [given.get(value, value) for value in graph.outputs], graph.name)


def needed(nodes: Sequence[Node], outputs: Iterable[Value]) -> list[Node]:
    """Those nodes that something depends on, in their order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if any(value in wanted for value in node.outputs):
            kept.append(node)
            wanted.update(value for value in node.inputs if value is not None)
    return kept[::-1]
