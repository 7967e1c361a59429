"""The nodes of a model as nodes of the graph: names resolved, older forms brought to the newest."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from onnx import AttributeProto

from fastconv.graph import Graph, Node, Nodes, Value
from fastconv.graph.operators import OPERATORS
from fastconv.graph.operators.control import MAX_ITERATIONS
from fastconv.interop.onnx.expand import expansion
from fastconv.interop.onnx.tensors import array_of, sparse_array_of, value_type
from fastconv.interop.onnx.upgrade import upgraded

#: The oldest opset that is read.
OLDEST = 6

#: The same thing under two names.
DOMAINS = {"ai.onnx": ""}

#: Graphs inside graphs: more of them is a mistake, or malice.
DEEPEST = 32

#: Nodes that functions may become: a few lines of functions that call each other twice would be any number.
MOST_INLINED = 1 << 16


def read(
    model: onnx.ModelProto,
    folder: Path | None,
    fixed: Mapping[str, int],
    fallback: str | None,
    max_iterations: int = MAX_ITERATIONS,
) -> Graph:
    """The graph of a model; see `load`."""
    opsets = {DOMAINS.get(each.domain, each.domain): each.version for each in model.opset_import}
    version = opsets.setdefault("", 1 if model.ir_version < 3 else OLDEST)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST <= version <= newest:
        raise ValueError(f"model: opset {version} must be one of {OLDEST} to {newest}, which onnx knows")
    functions = {(DOMAINS.get(f.domain, f.domain), f.name): f for f in model.functions}
    reader = _Reader(opsets, folder, functions, fallback, None, 0, max_iterations)
    proto = model.graph
    reader.constants(proto)
    inputs = reader.declared(proto, fixed)
    unknown = set(fixed) - reader.symbols
    if unknown:
        known = ", ".join(sorted(reader.symbols)) or "none"
        raise ValueError(f"fixed: the model has no size {sorted(unknown)[0]!r}; its symbolic sizes: {known}")
    reader.nodes(proto.node)
    outputs = [reader.output(each) for each in proto.output]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return Graph(inputs, reader.made, outputs, proto.name, metadata)


class _Reader:
    """Reads one graph; what it does not find it asks of the graph around it."""

    def __init__(
        self,
        opsets: Mapping[str, int],
        folder: Path | None,
        functions: Mapping[tuple[str, str], onnx.FunctionProto],
        fallback: str | None,
        around: _Reader | None,
        depth: int,
        max_iterations: int,
    ) -> None:
        if depth > DEEPEST:
            raise ValueError(f"model: graphs inside graphs, more than {DEEPEST} deep")
        self.opsets, self.folder, self.functions = opsets, folder, functions
        self.fallback, self.around, self.depth = fallback, around, depth
        self.max_iterations = max_iterations
        self.values: dict[str, Value] = {}
        self.made: list[Node] = []
        self.symbols: set[str] = set()
        self.captured: dict[Value, Value] = {}  # inner value by the one around it
        self.inlined = [0]  # nodes of functions, counted together by all readers of a model

    def _reader(self, opsets: Mapping[str, int], around: _Reader | None) -> _Reader:
        """A reader of what is inside."""
        told = (self.folder, self.functions, self.fallback)
        reader = _Reader(opsets, *told, around, self.depth + 1, self.max_iterations)
        reader.inlined = self.inlined
        return reader

    # ---- names

    def constants(self, proto: onnx.GraphProto) -> None:
        for tensor in proto.initializer:
            self.values[tensor.name] = Value.of(array_of(tensor, self.folder), tensor.name)
        for sparse in proto.sparse_initializer:
            name = sparse.values.name
            self.values[name] = Value.of(sparse_array_of(sparse, self.folder), name)

    def declared(self, proto: onnx.GraphProto, fixed: Mapping[str, int]) -> list[Value]:
        """The inputs; some files declare weights as inputs, too."""
        constants = set(self.values)
        return [self.declare(each, fixed) for each in proto.input if each.name not in constants]

    def declare(self, proto: onnx.ValueInfoProto, fixed: Mapping[str, int]) -> Value:
        """An input; sizes of 0 and below are written by some exporters for those not known."""
        dtype, shape = value_type(proto)
        if shape is not None:
            self.symbols.update(size for size in shape if isinstance(size, str))
            shape = tuple(fixed.get(size, size) if isinstance(size, str) else size for size in shape)
            shape = tuple(None if isinstance(size, int) and size < 0 else size for size in shape)
        return self.define(proto.name, Value(proto.name, dtype, shape))

    def define(self, name: str, value: Value) -> Value:
        if name in self.values:
            raise ValueError(f"model: {name!r} is made twice")
        self.values[name] = value
        return value

    def find(self, name: str) -> Value | None:
        """A value by name; one of the graph around this becomes an input of this, unless it is constant."""
        if name in self.values:
            return self.values[name]
        outer = None if self.around is None else self.around.find(name)
        if outer is None or outer.constant is not None:
            return outer
        if outer not in self.captured:
            self.captured[outer] = Value(name, outer.dtype, outer.shape)
        self.values[name] = self.captured[outer]
        return self.values[name]

    def output(self, proto: onnx.ValueInfoProto) -> Value:
        value = self.find(proto.name)
        if value is None:
            raise ValueError(f"model: nothing makes the output {proto.name!r}")
        if value.dtype is None and value.constant is None:
            value.dtype, value.shape = value_type(proto)
        return value

    # ---- nodes

    def nodes(self, protos: Iterable[onnx.NodeProto]) -> None:
        """All nodes; a file may list them in an order in which they cannot run only if it is malformed."""
        for proto in protos:
            self.node(proto)

    def node(self, proto: onnx.NodeProto) -> None:
        domain = DOMAINS.get(proto.domain, proto.domain)
        title = f"node {proto.name or ', '.join(proto.output)!r} ({proto.op_type})"
        inputs = [self._read(name, title) for name in proto.input]
        function = self.functions.get((domain, proto.op_type))
        if function is not None:
            self._inline(function, proto, inputs)
            return
        if domain in self.opsets:
            version = self.opsets[domain]
        elif domain == "":
            version = OLDEST
        else:
            version = 1
        try:
            _check_node(proto, domain, version)
            attributes = {each.name: self._attribute(each) for each in proto.attribute}
            operator, attributes, inputs = upgraded(
                proto.op_type, version, attributes, inputs, len(proto.output)
            )
            if domain not in (
                "",
                "ai.onnx.ml",
                "ai.onnx.preview.training",
                "com.microsoft",
                "ai.onnx.preview",
            ):
                operator = f"{domain}.{operator}"
            if operator in OPERATORS:
                _check_attributes(operator, attributes)
                _check_inputs(operator, inputs)
                self._add(operator, inputs, proto, attributes)
                return
        except (TypeError, ValueError) as error:
            raise ValueError(f"{title}: {error}") from error
        body = expansion(proto, domain, self.opsets, inputs)
        if body is not None:
            self._inline(body, proto, inputs)
        elif self.fallback == "reference":
            self._refer(proto, inputs)
        else:
            producer = f"{domain or 'ai.onnx'} {version}"
            raise ValueError(
                f"{title}: fastconv has no operator {proto.op_type} (of {producer}); "
                "load(..., fallback='reference') runs it by onnx.reference"
            )

    def _read(self, name: str, title: str) -> Value | None:
        if not name:
            return None
        value = self.find(name)
        if value is None:
            raise ValueError(f"{title}: nothing before it makes its input {name!r}")
        return value

    def _add(
        self, operator: str, inputs: Sequence[Value | None], proto: onnx.NodeProto, attributes: dict[str, Any]
    ) -> None:
        if operator == "Constant" and len(proto.output) == 1:
            self.define(proto.output[0], Value.of(attributes["value"], proto.output[0]))
            return
        if operator == "Loop":
            attributes["max_iterations"] = self.max_iterations
        extra: list[Value] = []
        for name, value in list(attributes.items()):
            if isinstance(value, _Inner):
                attributes[name] = value
                extra += [outer for outer in value.captured if outer not in extra]
        for name, value in list(attributes.items()):
            if isinstance(value, _Inner):
                attributes[name] = value.closed(extra)
                if operator == "If" and len(value.outputs) != len(proto.output):
                    raise ValueError(
                        f"{name}: makes {len(value.outputs)} outputs, and the node {len(proto.output)}"
                    )
        outputs = [self.define(name, Value(name)) if name else None for name in proto.output]
        self.made.append(Node(operator, [*inputs, *extra], outputs, attributes, proto.name))

    # ---- attributes

    def _attribute(self, proto: AttributeProto) -> Any:
        """An attribute as what the operator's function takes."""
        kind = proto.type
        if kind == AttributeProto.GRAPH:
            return self._inner(proto.g)
        if kind == AttributeProto.TENSOR:
            return array_of(proto.t, self.folder)
        if kind == AttributeProto.SPARSE_TENSOR:
            return sparse_array_of(proto.sparse_tensor, self.folder)
        if kind == AttributeProto.STRING:
            return proto.s.decode("utf-8", "replace")
        if kind == AttributeProto.STRINGS:
            return tuple(each.decode("utf-8", "replace") for each in proto.strings)
        if kind == AttributeProto.INT:
            return proto.i
        if kind == AttributeProto.INTS:
            return tuple(proto.ints)
        if kind == AttributeProto.FLOAT:
            return proto.f
        if kind == AttributeProto.FLOATS:
            return tuple(proto.floats)
        if kind == AttributeProto.TENSORS:
            return tuple(array_of(each, self.folder) for each in proto.tensors)
        if kind == AttributeProto.TYPE_PROTO:
            return proto.tp
        raise ValueError(f"attribute {proto.name!r}: type {kind} is not served")

    def _inner(self, proto: onnx.GraphProto) -> _Inner:
        reader = self._reader(self.opsets, self)
        reader.constants(proto)
        inputs = reader.declared(proto, {})
        reader.nodes(proto.node)
        outputs = [reader.output(each) for each in proto.output]
        return _Inner(inputs, reader.made, outputs, proto.name, reader.captured)

    # ---- functions

    def _inline(
        self, function: onnx.FunctionProto, proto: onnx.NodeProto, inputs: Sequence[Value | None]
    ) -> None:
        """The nodes of a function in place of the node that calls it."""
        opsets = {
            **self.opsets,
            **{DOMAINS.get(e.domain, e.domain): e.version for e in function.opset_import},
        }
        reader = self._reader(opsets, None)
        for i, name in enumerate(function.input):
            value = inputs[i] if i < len(inputs) else None
            if value is not None:
                reader.values[name] = value
        given = {each.name: each for each in proto.attribute}
        defaults = {each.name: each for each in function.attribute_proto}
        bound = {**defaults, **given}
        absent = {name for name in function.input if name not in reader.values}
        self.inlined[0] += len(function.node) + 1
        if self.inlined[0] > MOST_INLINED:
            raise ValueError(
                f"function {function.name}: functions make more than {MOST_INLINED} nodes of the model's"
            )
        for node in function.node:
            reader.node(_with_attributes(node, bound, absent))
        self.made += reader.made
        for name, inner in zip(proto.output, function.output):
            if name:
                value = reader.values.get(inner)
                if value is None:
                    raise ValueError(f"function {function.name}: nothing makes its output {inner!r}")
                self.define(name, value)

    def _refer(self, proto: onnx.NodeProto, inputs: Sequence[Value | None]) -> None:
        """A node that onnx.reference runs."""
        if any(each.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for each in proto.attribute):
            raise ValueError(
                f"node {proto.name or ', '.join(proto.output)!r} ({proto.op_type}): has a graph inside, "
                "which fallback='reference' does not run"
            )
        attributes = {"proto": proto.SerializeToString(), "opsets": tuple(self.opsets.items())}
        self._add("Reference", inputs, proto, attributes)


class _Inner(Nodes):
    """A graph among a node's attributes, not told yet in which order it gets what is around it."""

    def __init__(
        self,
        inputs: Iterable[Value],
        nodes: Iterable[Node],
        outputs: Iterable[Value],
        name: str,
        captured: dict[Value, Value],
    ) -> None:
        super().__init__(inputs, nodes, outputs, name)
        self.captured = captured

    def closed(self, extra: Sequence[Value]) -> Graph:
        """The graph with inputs for all of `extra`, behind its own."""
        more = [self.captured.get(outer) or Value(outer.name, outer.dtype, outer.shape) for outer in extra]
        return Graph([*self.inputs, *more], self.nodes, self.outputs, self.name)


def _with_attributes(
    node: onnx.NodeProto, given: Mapping[str, AttributeProto], absent: set[str]
) -> onnx.NodeProto:
    """A node of a function's body with the attributes that its caller gave; inputs left out are left out."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    del made.attribute[:]
    for each in node.attribute:
        if each.ref_attr_name:
            if each.ref_attr_name in given:
                bound = made.attribute.add()
                bound.CopyFrom(given[each.ref_attr_name])
                bound.name = each.name
        else:
            own = made.attribute.add()
            own.CopyFrom(each)
            if each.type == AttributeProto.GRAPH:
                inner = [_with_attributes(n, given, absent) for n in each.g.node]
                del own.g.node[:]
                own.g.node.extend(inner)
    for i, name in enumerate(made.input):
        if name in absent:
            made.input[i] = ""
    return made


@cache
def _keywords(operator: str) -> tuple[frozenset[str] | None, frozenset[str]]:
    """The attributes an operator's function takes, None if any; and those it cannot do without."""
    parameters = inspect.signature(inspect.unwrap(OPERATORS[operator].compute)).parameters.values()
    named = [each for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    required = frozenset(each.name for each in named if each.default is inspect.Parameter.empty)
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return None, required
    return frozenset(each.name for each in named), required


def _check_inputs(operator: str, inputs: Sequence[Value | None]) -> None:
    """Inputs for all that the operator's function must be given, and no more than it takes."""
    parameters = inspect.signature(inspect.unwrap(OPERATORS[operator].compute)).parameters.values()
    taken = [each for each in parameters if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    for i, each in enumerate(taken):
        if each.default is inspect.Parameter.empty and (i >= len(inputs) or inputs[i] is None):
            raise ValueError(f"input {i} ({each.name}): must be given")
    several = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters)
    if len(inputs) > len(taken) and not several:
        raise ValueError(f"inputs: {len(inputs)} are given, and at most {len(taken)} are taken")


def _check_node(proto: onnx.NodeProto, domain: str, version: int) -> None:
    """As many inputs and outputs, and attributes of the types, as ONNX says, where it knows the operator."""
    try:
        schema = onnx.defs.get_schema(proto.op_type, version, domain)
    except Exception:  # onnx raises a class of its own for an operator it does not know
        return
    for i, each in enumerate(schema.inputs):
        optional = each.option == onnx.defs.OpSchema.FormalParameterOption.Optional
        least = each.min_arity if each.option == onnx.defs.OpSchema.FormalParameterOption.Variadic else 1
        if not optional and (len(proto.input) < i + least or (least and not proto.input[i])):
            raise ValueError(f"input {i} ({each.name}): must be given")
    for what, found, most in (
        ("inputs", len(proto.input), schema.max_input),
        ("outputs", len(proto.output), schema.max_output),
    ):
        if found > most:
            raise ValueError(f"{what}: {found} are given, and at most {most} are taken")
    declared = schema.attributes
    for each in proto.attribute:
        wanted = int(declared[each.name].type) if each.name in declared else each.type  # type: ignore[call-overload]
        if wanted != each.type:
            kinds = [AttributeProto.AttributeType.Name(kind) for kind in (each.type, wanted)]
            raise ValueError(f"attribute {each.name!r}: is {kinds[0]}, and must be {kinds[1]}")


def _check_attributes(operator: str, attributes: Mapping[str, Any]) -> None:
    known, required = _keywords(operator)
    missing = required - set(attributes)
    if missing:
        raise ValueError(f"attribute {', '.join(map(repr, sorted(missing)))}: must be given")
    for name in attributes:
        if known is not None and name not in known:
            raise ValueError(
                f"attribute {name!r}: is none of {operator}'s: {', '.join(sorted(known)) or 'none'}"
            )
