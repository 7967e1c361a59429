"""What of a graph runs for inputs of given shapes, as a table: operators, shapes, FLOPs, memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastconv.algorithm import plan
from fastconv.geometry import whole_number
from fastconv.graph.graph import Graph, Shapes
from fastconv.graph.ir import Node, Nodes, Value, subgraphs
from fastconv.graph.operator import UNKNOWN, Signature
from fastconv.graph.operators import OPERATORS
from fastconv.graph.operators.convolution import pass_of
from fastconv.graph.operators.elementwise import FLOATS
from fastconv.graph.order import is_channels_last
from fastconv.graph.program import RESHAPES, Program
from fastconv.runtime import get_precision
from fastconv.tables import table

#: Products with a constant, whose packed form is about as large as the constant.
PRODUCTS = {"Gemm", "Linear", "MatMul"}


@dataclass(frozen=True)
class Row:
    """One node that runs.

    Attributes
    ----------
    name : str
        Where the node comes from, or what it makes.
    operator : str
        What it computes.
    does : tuple of str
        The operators whose work it does: its own, and what is fused into it.
    shape, dtype : tuple of int, numpy.dtype, or None
        Of its first output; None where they depend on what the inputs hold.
    flops : int
        0 where the shape is not known.
    nbytes : int
        Of all its outputs.
    algorithm : str
        Of a convolution, as `fastconv.conv_info` tells; else "".
    packed_bytes, workspace_bytes : int
        The packed form of its weight, and the memory that each thread works in.
    """

    name: str
    operator: str
    does: tuple[str, ...]
    shape: tuple[int, ...] | None
    dtype: np.dtype | None
    flops: int
    nbytes: int
    algorithm: str
    packed_bytes: int
    workspace_bytes: int

    @property
    def title(self) -> str:
        """The operator with what is fused into it: "Conv + Relu", or "Swish (Sigmoid + Mul)"."""
        text = " + ".join(self.does)
        return text if self.does[0] == self.operator else f"{self.operator} ({text})"


@dataclass(frozen=True)
class Summary:
    """A table of the nodes that run; `print` it.

    Attributes
    ----------
    inputs : tuple of (str, tuple of int or None)
        Names and shapes of the inputs.
    rows : tuple of Row
        In the order in which they run.
    nodes : int
        Of the graph as it was read. What is missing among the rows has been computed, or fused.
    parameters : int
        Numbers of the graph's weights.
    flops : int
        Multiplications, additions, comparisons and function values of a call.
    arena_bytes : int
        The block of memory that arrays between nodes share.
    output_bytes : int
        What a call returns.
    weight_bytes : int
        Constants, those that fusion has made of others among them.
    packed_bytes : int
        Weights in the form that kernels read; about as much for each further memory order.
    workspace_bytes : int
        The most that one node asks for, on all threads together.
    """

    inputs: tuple[tuple[str, tuple[int, ...] | None], ...]
    rows: tuple[Row, ...]
    nodes: int
    parameters: int
    flops: int
    arena_bytes: int
    output_bytes: int
    weight_bytes: int
    packed_bytes: int
    workspace_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Memory of a call that is known before it: all of the above. Arrays of unknown shape come on top."""
        held = self.weight_bytes + self.packed_bytes
        return held + self.arena_bytes + self.output_bytes + self.workspace_bytes

    def __str__(self) -> str:
        head = ("node", "operator", "output shape", "dtype", "FLOPs", "bytes", "algorithm")
        lines = [head, *map(_cells, self.rows)]
        text = table(lines, "<<<<>><")
        given = ", ".join(f"{name} {'?' if shape is None else shape}" for name, shape in self.inputs)
        held = (
            ("weights", self.weight_bytes),
            ("packed", self.packed_bytes),
            ("arena", self.arena_bytes),
            ("outputs", self.output_bytes),
            ("workspace", self.workspace_bytes),
        )
        parts = ", ".join(f"{name} {size(count)}" for name, count in held if count)
        text += [
            f"for {given}: {self.parameters:,} parameters, {self.flops:,} FLOPs",
            f"{len(self.rows)} of {self.nodes} nodes left, the others computed beforehand or fused",
            f"memory {size(self.peak_bytes)}: {parts}",
        ]
        return "\n".join(text)


def summary(graph: Graph, *inputs: Any) -> Summary:
    """What of a graph runs for inputs of given shapes.

    Works on shapes and computes nothing, but what depends on them and on constants alone.

    Parameters
    ----------
    graph : Graph
    *inputs : array or tuple of int
        Inputs or their shapes, in order, or one dict of them by name. None at all: the shapes that the graph
        declares, where a first axis of any size counts as 1.

    Returns
    -------
    Summary
        With a table as its `str`.

    Raises
    ------
    TypeError, ValueError
        A shape that is not known, that an input cannot have, or that a node does not take.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.graph import Graph, Node, Value
    >>> x, y, z = Value("x", np.dtype(np.float32), ("n", 3, 8, 8)), Value("y"), Value("z")
    >>> weight = Value.of(np.ones((4, 3, 3, 3), np.float32))
    >>> graph = Graph([x], [Node("Conv", [x, weight], [y]), Node("Relu", [y], [z])], [z])
    >>> found = graph.summary((2, 3, 8, 8))
    >>> found.rows[0].title, found.rows[0].shape, found.flops
    ('Conv + Relu', (2, 4, 6, 6), 15552)
    """
    shapes, channels_last = shapes_of(graph, inputs)
    program = graph.program(shapes, channels_last)
    rows = [_row(program, node) for node in program.found.nodes]
    known = program.found.known
    return Summary(
        tuple((value.name, told and told[0]) for value, told in zip(graph.inputs, shapes)),
        tuple(rows),
        _count(graph),
        sum(each.size for each in constants(graph.nodes) if _is_weight(each)),
        sum(row.flops for row in rows),
        program.plan.nbytes,
        sum(known[value].nbytes for value in dict.fromkeys(program.found.outputs) if value in known),
        _bytes(constants([*graph.nodes, *program.found.nodes])),
        sum(row.packed_bytes for row in _once(program.found.nodes, rows)),
        max((row.workspace_bytes for row in rows), default=0),
    )


def shapes_of(graph: Graph, inputs: Sequence[Any]) -> tuple[Shapes, bool]:
    """Shapes and dtypes for `Graph.program`, and whether the first input is channels-last in memory."""
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        given = dict(inputs[0])
    else:
        if len(inputs) > len(graph.inputs):
            raise TypeError(f"{len(inputs)} shapes given; the graph has {len(graph.inputs)} inputs")
        given = {value.name: each for value, each in zip(graph.inputs, inputs)}
    for name in given:
        if name not in [value.name for value in graph.inputs]:
            raise TypeError(f"{name!r}: the graph has no such input")
    found = tuple(_told(value, given.get(value.name)) for value in graph.inputs)
    first = given.get(graph.inputs[0].name) if graph.inputs else None
    return found, is_channels_last(first)


def _told(value: Value, given: Any) -> tuple[tuple[int, ...], np.dtype] | None:
    """Shape and dtype of an input; None for what is no array."""
    dtype = value.dtype or np.dtype(np.float32)
    name = f"input {value.name!r}"
    if given is None:
        if value.dtype is None:
            return None
        declared = value.shape
        sizes = None if declared is None else (*(_first(size) for size in declared[:1]), *declared[1:])
        if sizes is None or any(not isinstance(size, int) for size in sizes):
            shown = "" if declared is None else f" ({', '.join(str(size or '?') for size in declared)})"
            raise ValueError(f"{name}: its shape{shown} is not known before a run; give one")
        return tuple(size for size in sizes if isinstance(size, int)), dtype
    if isinstance(given, np.ndarray):
        shape, dtype = given.shape, given.dtype
    elif isinstance(given, (tuple, list)):
        shape = tuple(whole_number(name, size, 0) for size in given)
    else:
        raise TypeError(f"{name}: must be an array or a shape, not {type(given).__name__}")
    wanted = value.shape
    if wanted is not None and (
        len(shape) != len(wanted)
        or any(isinstance(size, int) and size != given for size, given in zip(wanted, shape))
    ):
        text = ", ".join("?" if size is None else str(size) for size in wanted)
        raise ValueError(f"{name}: shape {shape} must be ({text})")
    return shape, dtype


def _first(size: Any) -> int:
    return size if isinstance(size, int) else 1


# ---- rows ---------------------------------------------------------------------------------------------


def signature(program: Program, value: Value | None) -> Signature | None:
    """What is known of a value before a run."""
    if value is None:
        return None
    if value.constant is not None:
        return Signature.of(value.constant)
    found: Signature = program.found.known.get(value, UNKNOWN)
    return found


def flops_of(program: Program, node: Node) -> int:
    """Operations of a node; 0 where its shape is not known."""
    operator = OPERATORS[node.operator]
    reads = [signature(program, value) for value in node.inputs]
    made = signature(program, node.outputs[0])
    if made is None or made.shape is None or operator.is_view or node.operator in RESHAPES:
        return 0
    if operator.flops is None or any(each is not None and each.shape is None for each in reads):
        return made.size
    return int(operator.flops(reads, made, **node.attributes))


def name_of(node: Node) -> str:
    """Where a node comes from, or what it makes."""
    return node.name or next((value.name for value in node.outputs if value is not None), "")


def _row(program: Program, node: Node) -> Row:
    made = [signature(program, value) for value in node.outputs if value is not None]
    first = signature(program, node.outputs[0]) or UNKNOWN
    how = _pass(program, node)
    return Row(
        name_of(node),
        node.operator,
        _does(node),
        first.shape,
        first.dtype,
        flops_of(program, node),
        sum(each.nbytes for each in made if each is not None),
        *how,
    )


def _does(node: Node) -> tuple[str, ...]:
    """The operators whose work a node does, with an activation that it was made with."""
    activation = node.attributes.get("activation")
    return (*node.does, str(activation)) if activation and len(node.does) == 1 else node.does


class _Pass(NamedTuple):
    """How a node's product is computed."""

    algorithm: str
    packed_bytes: int
    workspace_bytes: int


def _pass(program: Program, node: Node) -> _Pass:
    """What `conv_info` tells of a convolution; of products with a constant how much is packed."""
    if len(node.inputs) < 2:
        return _Pass("", 0, 0)
    x, weight = (signature(program, value) for value in node.inputs[:2])
    if x is None or weight is None or x.shape is None or weight.shape is None:
        return _Pass("", 0, 0)
    is_constant = weight.value is not None and weight.dtype in FLOATS
    if node.operator in PRODUCTS:
        return _Pass("", weight.nbytes if is_constant and len(weight.shape) == 2 else 0, 0)
    if x.dtype not in FLOATS or not prod(x.shape):
        return _Pass("", 0, 0)
    found = pass_of(node.operator, x, weight, node.attributes)
    if found is None:
        return _Pass("", 0, 0)
    told = plan(*found, "auto", get_precision()).info(x.dtype, program.channels_last)
    packed = told["packed_weight_bytes"] if is_constant and node.operator == "Conv" else 0
    return _Pass(told["algorithm"], packed, told["workspace_bytes"] * told["threads"])


# ---- totals -------------------------------------------------------------------------------------------


def _count(nodes: Nodes) -> int:
    """Nodes, with those of graphs inside."""
    return sum(1 + sum(_count(inner) for _, inner in subgraphs(node)) for node in nodes.nodes)


def constants(nodes: Iterable[Node]) -> list[np.ndarray]:
    """Arrays that nodes read and that never change, each once; those of graphs inside, too."""
    found: dict[int, np.ndarray] = {}

    def visit(nodes: Iterable[Node]) -> Iterator[np.ndarray]:
        for node in nodes:
            for value in node.inputs:
                if value is not None and isinstance(value.constant, np.ndarray):
                    yield value.constant
            for _, inner in subgraphs(node):
                yield from visit(inner.nodes)

    for array in visit(nodes):
        found.setdefault(id(array), array)
    return list(found.values())


def _is_weight(array: np.ndarray) -> bool:
    """Whether a constant is a weight, rather than a shape, an axis or a bound."""
    return array.ndim > 0 and (array.dtype.kind == "f" or array.dtype.itemsize == 1)


def _bytes(arrays: Iterable[np.ndarray]) -> int:
    """Memory of arrays, of those that share it the largest."""
    held: dict[int, int] = {}
    for array in arrays:
        base: Any = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        held[id(base)] = base.nbytes
    return sum(held.values())


def _once(nodes: Sequence[Node], rows: Sequence[Row]) -> Iterator[Row]:
    """Rows without those whose weight another has, too: it is packed once."""
    seen: set[int] = set()
    for node, row in zip(nodes, rows):
        key = id(node.inputs[1].constant) if row.packed_bytes and node.inputs[1] is not None else None
        if key is None or key not in seen:
            yield row
        if key is not None:
            seen.add(key)


# ---- text ---------------------------------------------------------------------------------------------


def _cells(row: Row) -> tuple[str, ...]:
    shape = "?" if row.shape is None else str(row.shape)
    dtype = "?" if row.dtype is None else str(row.dtype)
    figures = (f"{row.flops:,}", f"{row.nbytes:,}") if row.shape is not None else ("?", "?")
    return (row.name, row.title, shape, dtype, *figures, row.algorithm)


def size(nbytes: int) -> str:
    """Bytes as people read them: "1.5 MB"."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if nbytes >= scale:
            return f"{nbytes / scale:.1f} {unit}"
    return f"{nbytes} B"
