"""Nets made ready for inference: a copy of the net that runs as a graph wherever it can be said as one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from fastconv.geometry import new_output
from fastconv.graph import Graph
from fastconv.graph.keep import Keep
from fastconv.graph.lower import Builder
from fastconv.graph.operator import UNKNOWN
from fastconv.graph.order import is_dense
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import each, each_shape, together
from fastconv.nn.layers.container import says
from fastconv.nn.layers.stand_in import StandIn, take_role
from fastconv.nn.parameter import Buffer

#: A larger batch goes through a few images at a time, in memory that stays in cache or nearly so.
BLOCK_BYTES = 8 << 20


class Prepared:
    """A net made ready for inference, as it was when `Layer.prepare` made this; call it as the net.

    Several threads may call it at once, with inputs of any shape that the net takes. It can be pickled; the
    packed forms are made again where it is loaded. Nothing changes it, so a copy is the object itself.

    Notes
    -----
    The net runs as a graph (`fastconv.graph`): activations are applied as results are stored, arrays between
    layers share one block of memory, and large batches pass in blocks. Layers of one's own that do not say
    how they are written as a graph run as they are, with graphs inside them.

    It holds one copy of each weight, no gradients, and the packed forms that calls have needed: mostly one
    per weight, about as large. The original net is not kept. The copy is what other forms are packed from
    (another memory order, precision or instruction set), and what a pickle holds.
    """

    def __init__(self, layer: Layer) -> None:
        self._net = _ready(layer)

    def __call__(self, *inputs: Any) -> Any:
        """What the net gives for these inputs, to the bit."""
        return self._net(*inputs)

    def _rows_read(self) -> int | None:
        return self._net._rows_read()

    def __copy__(self) -> Prepared:
        return self

    def __deepcopy__(self, memo: Any) -> Prepared:
        return self

    def __repr__(self) -> str:
        return f"Prepared({self._net!r})"


class _Lowered(StandIn):
    """Calling it runs its graph; what that does not take goes the layer's own way, which says why."""

    def __call__(self, *inputs: Any) -> Any:
        graph: Graph = vars(self)["_graph"]
        dtype, rows = vars(self)["_dtype"], vars(self)["_rows"]
        if (
            len(inputs) != len(graph.inputs)
            or not all(_plain(x, dtype) for x in inputs)
            or (rows is not None and not (inputs[0].min() >= 0 and inputs[0].max() < rows))
            or not self._fits(inputs)
        ):
            return super().__call__(*inputs)  # type: ignore[misc]
        return _in_blocks(graph, inputs)

    def _fits(self, inputs: tuple[np.ndarray, ...]) -> bool:
        """Whether the layer takes inputs of these shapes; it is asked once about each."""
        known: dict[Any, bool] = vars(self)["_known"]
        shapes = tuple(x.shape for x in inputs)
        if shapes not in known:
            if len(known) >= 64:
                known.clear()
            try:
                told = self.output_shape(together(shapes))  # type: ignore[attr-defined]
                known[shapes] = _shapes_made(vars(self)["_graph"], inputs) == each_shape(told)
            except (TypeError, ValueError):
                known[shapes] = False
        return known[shapes]


def _shapes_made(graph: Graph, inputs: tuple[np.ndarray, ...]) -> tuple[tuple[int, ...] | None, ...]:
    """What the graph makes of these inputs: without a batch axis it may be something else, or nothing."""
    found = graph.program_of(inputs).found
    made = [found.known.get(value, UNKNOWN).shape for value in found.outputs]
    return tuple(made)


def _plain(x: Any, dtype: np.dtype) -> bool:
    """Whether an array goes through a graph: a batch of something, dense in one of the usual orders."""
    if type(x) is not np.ndarray or x.dtype != dtype or x.ndim < 2 or not x.size:
        return False
    return x.flags.aligned and is_dense(x)


def _in_blocks(graph: Graph, inputs: tuple[np.ndarray, ...]) -> Any:
    """The outputs; of a batch that takes much memory in blocks, since no image depends on its neighbours."""
    count = len(inputs[0])
    program = graph.program_of(inputs)
    if count == 1 or program.plan.nbytes <= BLOCK_BYTES or any(len(x) != count for x in inputs):
        return together(program.run(inputs))
    step = -(-count // -(-program.plan.nbytes // BLOCK_BYTES))
    outputs: list[np.ndarray] = []
    for start in range(0, count, step):
        first = min(start, count - step)  # the last block computes some again, rather than be of another size
        block = graph.run([x[first : first + step] for x in inputs])
        if not outputs:
            outputs = [new_output((count, *one.shape[1:]), one.dtype, one) for one in block]
        for whole, one in zip(outputs, block):
            whole[first : first + step] = one
    return together(outputs)


def _ready(net: Layer) -> Layer:
    """A copy of a net that computes what it does now; a layer in several places is packed once."""
    copies: dict[int, Any] = {id(buffer): buffer.snapshot() for buffer in net.named_buffers().values()}
    keep, done = Keep(), set()

    def constant(buffer: Buffer) -> np.ndarray:
        """The copy of a value, which nobody can write to any more."""
        value: np.ndarray = copies[id(buffer)].value
        value.flags.writeable = False
        return value

    def visit(layer: Layer) -> None:
        if id(layer) in done:
            return
        done.add(id(layer))
        graph = _graph_of(layer, constant, keep)
        if graph is None:
            for child in (*layer.children().values(), *layer._variants()):
                visit(child)
        if graph is not None:
            held, rows = next(iter(layer.named_buffers().values())), layer._rows_read()
            dtype = held.value.dtype if rows is None else np.dtype(np.int64)
            twin = copy.deepcopy(layer, copies)
            take_role(_Lowered, twin, _graph=graph, _dtype=dtype, _rows=rows, _known={})
            copies[id(layer)] = twin

    visit(net)
    return copy.deepcopy(net, copies)


def _graph_of(layer: Layer, constant: Any, keep: Keep) -> Graph | None:
    """The layer as a graph, if it can be said as one."""
    if not says(type(layer), "_lower"):
        return None
    builder = Builder(constant)
    outputs = layer._lower(builder, builder.input("input"))
    if outputs is None or not layer.named_buffers():
        return None
    return builder.graph(list(each(outputs)), keep, exact=True)
