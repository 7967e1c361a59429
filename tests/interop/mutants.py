"""Models changed at random, each loaded and run: what comes out must be a result, or one of a few exceptions.

`python -m tests.interop.mutants --seed 1 --count 10000` prints what is none of these, and from which model
and number it comes; `--cases` takes onnx's own cases as models, and paths any others. A crash ends the
process, and the last line says where.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from onnx import TensorProto, helper, numpy_helper

from fastconv.graph import Graph
from fastconv.graph.operators import OPERATORS
from fastconv.interop.onnx import load
from tests.interop.small_models import small_models

#: What a malformed file may give, instead of a result.
ALLOWED = (ValueError, TypeError, MemoryError)

#: Memory that loading and running one mutant may take, beyond what the process has.
MEMORY = 1 << 30

#: Seconds after which a mutant is taken for one that does not end.
SECONDS = 5

NUMBERS = (0, 1, -1, 2, 3, 4, 5, 7, 8, 16, 100, 1000, 10**6, 10**9, 10**12, 2**31 - 1, 2**31, -(2**31), 2**62,
           2**63 - 1, -(2**63))  # fmt: skip
REALS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-30, 1e30, -1e30, 1e9, float("inf"), float("-inf"), float("nan"))
WORDS = (b"", b"x", b"\xff\xfe", b"reflect", b"linear", b"SAME_UPPER", b"ij,jk->ik", b"Relu", b"reverse")
TYPES = (1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 21, 22, 25, 99)

TEXT = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
REAL = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)


class Mutator:
    """Changes to a model, drawn by one generator."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def __call__(self, model: onnx.ModelProto) -> bytes:
        """A changed copy, as a file holds it."""
        rng = self.rng
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            kind = rng.choice(self.CHANGES)
            kind(self, changed)
        data = changed.SerializeToString()
        if rng.random() < 0.05:
            data = self._bytes(data)
        return data

    def _bytes(self, data: bytes) -> bytes:
        rng, made = self.rng, bytearray(data)
        if rng.random() < 0.3:
            return bytes(made[: rng.randrange(len(made) + 1)])
        for _ in range(rng.randint(1, 4)):
            if made:
                made[rng.randrange(len(made))] = rng.randrange(256)
        return bytes(made)

    # ---- what may be changed

    def _graphs(self, graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
        yield graph
        for node in graph.node:
            for each in node.attribute:
                if each.HasField("g"):
                    yield from self._graphs(each.g)

    def _graph(self, model: onnx.ModelProto) -> onnx.GraphProto:
        return self.rng.choice(list(self._graphs(model.graph)))

    def _node(self, model: onnx.ModelProto) -> onnx.NodeProto:
        nodes = self._graph(model).node or model.graph.node
        return self.rng.choice(nodes) if nodes else onnx.NodeProto()

    def _name(self, model: onnx.ModelProto) -> str:
        """The name of a value of any graph."""
        graph = self._graph(model)
        names = [each.name for each in (*graph.input, *graph.initializer)]
        names += [name for node in graph.node for name in node.output]
        return self.rng.choice(names) if names else ""

    # ---- changes

    def field(self, model: onnx.ModelProto) -> None:
        """Any field at all, found by going down from the model."""
        rng, message = self.rng, self._node(model) if self.rng.random() < 0.5 else model
        while True:
            fields = [(f, v) for f, v in message.ListFields() if f.name != "metadata_props"]
            if not fields:
                return
            field, value = rng.choice(fields)
            if field.message_type is None or rng.random() < 0.1:
                break
            deeper = rng.choice(value) if _several(field) else value
            if field.message_type.name == "TensorProto" and rng.random() < 0.8:
                self._tensor(deeper)
                return
            message = deeper
        if _several(field):
            self._items(field, value)
        elif field.message_type is not None or rng.random() < 0.1:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, self._other(field, value))

    def _items(self, field: FieldDescriptor, items: Any) -> None:
        rng, i = self.rng, self.rng.randrange(len(items))
        what = rng.choice(("drop", "drop", "double", "change", "change", "swap", "clear"))
        if what == "drop":
            del items[i]
        elif what == "double":
            items.append(items[i])
        elif what == "clear":
            del items[:]
        elif field.message_type is not None:
            kept = [type(each).FromString(each.SerializeToString()) for each in items]
            rng.shuffle(kept)
            del items[:]
            items.extend(kept)
        elif what == "change":
            items[i] = self._other(field, items[i])
        else:
            items[:] = rng.sample(list(items), len(items))

    def _other(self, field: FieldDescriptor, value: Any) -> Any:
        rng = self.rng
        if field.type == FieldDescriptor.TYPE_BYTES:
            return rng.choice((*WORDS, value[:-1], value + value[:4]))
        if field.type == FieldDescriptor.TYPE_STRING:
            return rng.choice(("", "x", "y", value + "!", "\u00e9"))
        if field.type in REAL:
            return rng.choice((*REALS, -value, 2 * value)) if abs(value) < 1e37 else 1.0
        if field.enum_type is not None:
            return rng.choice(field.enum_type.values).number
        if field.name in ("data_type", "elem_type"):
            return rng.choice(TYPES)
        low, high = (-(2**63), 2**63 - 1) if "64" in str(field.cpp_type) or field.cpp_type in (2, 4) else (
            -(2**31), 2**31 - 1)  # fmt: skip
        return min(max(rng.choice((*NUMBERS, value + 1, value - 1, -value)), low), high)

    def _tensor(self, tensor: TensorProto) -> None:
        """Other numbers, another shape or type, all fitting: what is malformed is found elsewhere."""
        rng = self.rng
        try:
            array = np.array(numpy_helper.to_array(tensor))
        except Exception:  # changed already
            return
        what = rng.choice(("numbers", "numbers", "shape", "dtype", "empty"))
        if what == "numbers" and array.size and array.dtype.kind in "iuf":
            with np.errstate(all="ignore"):
                place = rng.randrange(array.size)
                number = rng.choice(NUMBERS if array.dtype.kind != "f" else REALS)
                array.reshape(-1)[place] = np.array(number).astype(array.dtype)
        elif what == "shape":
            shape = list(array.shape)
            if shape and rng.random() < 0.7:
                shape[rng.randrange(len(shape))] = rng.randint(0, 5)
            else:
                shape.insert(0, rng.randint(0, 3))
            array = np.resize(array, shape)
        elif what == "dtype" and array.dtype.kind in "biuf":
            wanted = rng.choice(
                (np.float32, np.float64, np.int64, np.int32, np.uint8, np.int8, np.bool_, np.float16)
            )
            with np.errstate(all="ignore"):
                array = array.astype(wanted)
        elif what == "empty":
            array = array.reshape(-1)[:0]
        tensor.CopyFrom(
            numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), tensor.name)
        )

    def tensor(self, model: onnx.ModelProto) -> None:
        graph = self._graph(model)
        tensors = list(graph.initializer)
        tensors += [each.t for node in graph.node for each in node.attribute if each.HasField("t")]
        if tensors:
            self._tensor(self.rng.choice(tensors))

    def attribute(self, model: onnx.ModelProto) -> None:
        """A number among a node's attributes, or an attribute that some operator of the kind has."""
        rng, node = self.rng, self._node(model)
        if node.attribute and rng.random() < 0.7:
            each = rng.choice(node.attribute)
            if each.ints:
                each.ints[rng.randrange(len(each.ints))] = rng.choice(NUMBERS)
            elif each.type == onnx.AttributeProto.INT:
                each.i = rng.choice(NUMBERS)
            elif each.type == onnx.AttributeProto.FLOAT:
                each.f = rng.choice(REALS)
            elif each.type == onnx.AttributeProto.STRING:
                each.s = rng.choice(WORDS)
            return
        try:
            known = onnx.defs.get_schema(node.op_type, 22).attributes
        except Exception:  # no operator any more
            return
        told = {each.name for each in node.attribute}
        names = sorted(name for name in known if name not in told)
        if not names:
            return
        name = rng.choice(names)
        kinds = onnx.defs.OpSchema.AttrType
        values: dict[Any, Any] = {
            kinds.INT: rng.choice(NUMBERS),
            kinds.FLOAT: rng.choice(REALS),
            kinds.STRING: rng.choice(WORDS),
            kinds.INTS: [rng.choice(NUMBERS) for _ in range(rng.randint(1, 4))],
            kinds.FLOATS: [rng.choice(REALS) for _ in range(rng.randint(1, 4))],
        }
        if known[name].type in values:
            node.attribute.append(helper.make_attribute(name, values[known[name].type]))

    def names(self, model: onnx.ModelProto) -> None:
        """A node reads, or makes, another value."""
        rng, node = self.rng, self._node(model)
        places = node.input if rng.random() < 0.7 else node.output
        what = rng.random()
        if places and what < 0.7:
            places[rng.randrange(len(places))] = rng.choice((self._name(model), self._name(model), ""))
        elif places and what < 0.85:
            del places[rng.randrange(len(places))]
        else:
            places.append(self._name(model))

    def operator(self, model: onnx.ModelProto) -> None:
        self._node(model).op_type = self.rng.choice(NAMES)

    def order(self, model: onnx.ModelProto) -> None:
        """Nodes that are gone, twice there, or in another place."""
        rng, nodes = self.rng, self._graph(model).node
        if not nodes:
            return
        kept = [onnx.NodeProto.FromString(each.SerializeToString()) for each in nodes]
        i = rng.randrange(len(kept))
        what = rng.choice(("drop", "double", "move"))
        node = kept[i] if what == "double" else kept.pop(i)
        if what != "drop":
            kept.insert(rng.randrange(len(kept) + 1), node)
        del nodes[:]
        nodes.extend(kept)

    def opset(self, model: onnx.ModelProto) -> None:
        for each in model.opset_import:
            each.version = self.rng.randint(7, onnx.defs.onnx_opset_version())

    def dimension(self, model: onnx.ModelProto) -> None:
        """A size of an input."""
        rng = self.rng
        inputs = [each for each in model.graph.input if each.type.tensor_type.shape.dim]
        if inputs:
            dims = rng.choice(inputs).type.tensor_type.shape.dim
            rng.choice(dims).dim_value = rng.choice(NUMBERS)

    CHANGES: tuple[Callable[[Any, onnx.ModelProto], None], ...] = (
        field, field, field, tensor, tensor, attribute, attribute, attribute, names, names, operator, order,
        opset, dimension,
    )  # fmt: skip


def _several(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


NAMES = sorted(name for name in OPERATORS if "." not in name)


# ---- running them -------------------------------------------------------------------------------------


def arrays(net: Graph, rng: np.random.Generator) -> list[Any] | None:
    """Something for every input; None where it would be too large."""
    made = []
    for value in net.inputs:
        if value.dtype is None:
            made.append([np.ones(2, np.float32)])
            continue
        shape = tuple(size if isinstance(size, int) else 2 for size in value.shape or (2,))
        if np.prod([float(size) for size in shape]) > 1e6:
            return None
        if value.dtype.kind == "O":
            made.append(np.full(shape, "text", object))
            continue
        with np.errstate(all="ignore"):
            made.append((4 * rng.standard_normal(shape)).astype(value.dtype))
    return made


class Late(BaseException):
    """A mutant that does not end."""


def _late(*told: Any) -> None:
    raise Late


def attempt(data: bytes, given: list[Any] | None, rng: np.random.Generator) -> str:
    """What comes of a file: "run", "loaded", or the exception."""
    stage = "load"
    try:
        net = load(data, max_iterations=100)
        stage = "loaded"
        inputs = given if given is not None and len(given) == len(net.inputs) else arrays(net, rng)
        if inputs is None:
            return stage
        stage = "run"
        net(*inputs)
        return "run"
    except ALLOWED as error:
        return f"{stage}: {type(error).__name__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--start", type=int, default=0, help="the first number: to see one again")
    parser.add_argument("--cases", action="store_true", help="onnx's own cases as models")
    parser.add_argument("--trace", action="store_true", help="print where what is not allowed comes from")
    parser.add_argument("files", nargs="*", help="models")
    told = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    bases: list[tuple[str, onnx.ModelProto, list[Any] | None]]
    if told.cases:
        from tests.interop.conformance import cases

        bases = [(each.name, each.model, list(each.data_sets[0][0])) for each in cases() if each.data_sets]
    else:
        bases = [(name, model, None) for name, model in small_models().items()]
        bases += 10 * [(name, onnx.load(name), None) for name in told.files]
    signal.signal(signal.SIGALRM, _late)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    outcomes: Counter[str] = Counter()
    faults, slowest = [], (0.0, "")
    for number in range(told.start, told.start + told.count):
        mutator = Mutator(told.seed * 1_000_003 + number)
        name, model, given = mutator.rng.choice(bases)
        print(f"\r{number} {name}", end="  ", file=sys.stderr, flush=True)
        data = mutator(model)
        begun = time.monotonic()
        signal.alarm(SECONDS)
        faulthandler.dump_traceback_later(
            2 * SECONDS, exit=True
        )  # where no Python runs that could be stopped
        try:
            outcome = attempt(data, given, np.random.default_rng(number))
        except BaseException as error:  # nothing else is allowed, and every one is reported
            if isinstance(error, KeyboardInterrupt):
                raise
            if told.trace:
                traceback.print_exc()
            outcome = f"fault: {type(error).__name__}"
            frame = traceback.extract_tb(error.__traceback__)[-1]
            faults.append(f"{number} {name}: {type(error).__name__}: {str(error)[:150]} "
                          f"[{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}]")  # fmt: skip
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
        slowest = max(slowest, (time.monotonic() - begun, f"{number} {name}"))
        outcomes[outcome] += 1
    print(file=sys.stderr)
    print(json.dumps({"outcomes": outcomes, "faults": faults, "slowest": slowest}, indent=1))


if __name__ == "__main__":
    main()
