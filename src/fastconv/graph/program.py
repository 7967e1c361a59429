"""A graph as it runs for inputs of given shapes: steps in order, and the memory they work in.

Everything that follows from shapes is settled when a program is made: kernels, places, views. A run leases a
block of memory, takes the steps one after the other, and gives the block back; so any number of threads may
run a program at once, each in a block of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.ir import Node, Value
from fastconv.graph.keep import Keep
from fastconv.graph.memory import ALIGNMENT, Part, Plan, place
from fastconv.graph.operator import Operator, Signature
from fastconv.graph.operators import OPERATORS
from fastconv.graph.order import empty, laid
from fastconv.graph.specialise import LOCATED, Specialised, located

#: Blocks of memory that a program keeps for runs to come.
BLOCKS = 4

#: Planes of up to so many pixels, of so many channels or more, lie channels-last where the order is free:
#: their rows do not fill vectors evenly, while channels do.
PLANE, CHANNELS = 28 * 28, 16

#: Operators whose inputs and outputs are maps, which kernels read and write in either order.
MAPS = {"AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "MaxPool"}

#: Operators whose result is their first input in another shape.
RESHAPES = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}


def _reshaped(shape: tuple[int, ...], x: np.ndarray, *others: Any) -> np.ndarray:
    return x.reshape(shape)


class Step:
    """One node's work.

    Attributes
    ----------
    node : Node
    run : function
        A `Kernel` if `is_kernel`, which writes into memory that is given; else what returns the results.
    reads, makes : tuple of int
        Numbers of values; -1 for one that is left out.
    drops : list of int
        Values that nobody reads after this.
    """

    __slots__ = ("drops", "is_kernel", "is_view", "makes", "node", "reads", "run")

    def __init__(self, node: Node, run: Callable[..., Any], is_kernel: bool, is_view: bool) -> None:
        self.node, self.run, self.is_kernel, self.is_view = node, run, is_kernel, is_view
        self.reads: tuple[int, ...] = ()
        self.makes: tuple[int, ...] = ()
        self.drops: list[int] = []


class Program:
    """Steps for inputs of given shapes.

    Attributes
    ----------
    found : Specialised
        The nodes, and what is known of their values.
    plan : Plan
        Where values lie.
    steps : list of Step
    """

    def __init__(
        self,
        inputs: Sequence[Value],
        found: Specialised,
        keep: Keep,
        channels_last: bool = False,
        chooses_order: bool = False,
    ) -> None:
        self.found, self.channels_last = found, channels_last
        self._free: set[Value | None] = set()  # to lie in either order
        for node in found.nodes if chooses_order else ():
            if node.operator in MAPS:
                self._free.update((node.inputs[0], *node.inputs[3:], node.outputs[0]))
        self._numbers: dict[Value | None, int] = {None: -1}
        self._start: list[Any] = []
        self._inputs = [self._number(value) for value in inputs]
        self.steps = [self._step(node, keep) for node in found.nodes]
        written = {value for step in self.steps if step.is_kernel for value in step.node.outputs if value}
        self.plan: Plan = place(found.nodes, found.known, written, found.outputs)
        self._settle_joins()
        for value in (*self.plan.offsets, *self.plan.parts, *self.plan.fresh):
            self._number(value)
        for step in self.steps:
            step.reads = tuple(map(self._number, step.node.inputs))
            step.makes = tuple(map(self._number, step.node.outputs))
        self._outputs = [self._number(value) for value in found.outputs]
        self._copied = self._outputs_to_copy()
        self._fresh: list[tuple[int, Any, Any]] = [
            (self._number(v), found.known[v].shape, found.known[v].dtype) for v in self.plan.fresh
        ]
        self._fresh_parts = list(self._parts_of(set(self.plan.fresh)))
        self._placed_parts = list(self._parts_of(set(self.plan.offsets)))
        self._views: list[Step] = []
        self._blocks: list[list[Any]] = []
        self._lock, self._is_settled = threading.Lock(), False

    def _number(self, value: Value | None) -> int:
        if value not in self._numbers:
            assert value is not None
            self._numbers[value] = len(self._start)
            self._start.append(value.constant)
        return self._numbers[value]

    def _is_channels_last(self, value: Value) -> bool:
        """In which order a value lies: as the input does, or, where it is free, as suits small planes."""
        shape = self.found.known[value].shape
        if self.channels_last or value not in self._free or shape is None or len(shape) != 4:
            return self.channels_last
        return shape[1] >= CHANNELS and 1 < shape[2] * shape[3] <= PLANE

    def _step(self, node: Node, keep: Keep) -> Step:
        operator = OPERATORS[node.operator]
        signatures = [self._signature(value) for value in node.inputs]
        single = len(node.outputs) == 1 or all(value is None for value in node.outputs[1:])
        output = self._signature(node.outputs[0])
        if operator.bind is not None and single and output is not None and output.shape is not None:
            complete = all(each is None or each.shape is not None for each in signatures)
            assert output.dtype is not None
            if complete and output.size:
                try:
                    check_memory(output.shape, output.dtype)
                    kernel = operator.bind(keep, signatures, output, **node.attributes)
                except LOCATED as error:
                    raise located(node, error) from error
                if kernel is not None:
                    return Step(node, kernel, True, False)
        if node.operator in RESHAPES and output is not None and output.shape is not None:
            return Step(node, partial(_reshaped, output.shape), False, True)
        compute = self._prepared(operator, node, signatures, keep)
        if compute is None:
            compute = partial(operator.compute, **node.attributes) if node.attributes else operator.compute
        return Step(node, compute, False, operator.is_view)

    def _prepared(
        self, operator: Operator, node: Node, signatures: list[Signature | None], keep: Keep
    ) -> Callable[..., Any] | None:
        if operator.prepare is None:
            return None
        try:
            return operator.prepare(keep, signatures, **node.attributes)
        except (TypeError, ValueError) as error:
            raise located(node, error) from error

    def _signature(self, value: Value | None) -> Signature | None:
        if value is None:
            return None
        return self.found.known.get(value) if value.constant is None else Signature.of(value.constant)

    def _settle_joins(self) -> None:
        """A Concat has nothing to do about parts that are written in place."""
        kept = []
        for step in self.steps:
            if step.node.operator == "Concat" and step.is_kernel:
                joined = step.node.outputs[0]
                lies = [
                    self.plan.parts.get(value, Part(value)).of is joined if value is not None else False
                    for value in step.node.inputs
                ]
                first_place = {value: i for i, value in reversed(list(enumerate(step.node.inputs)))}
                lies = [there and first_place[step.node.inputs[i]] == i for i, there in enumerate(lies)]
                if all(lies):
                    continue
                step.run = partial(step.run, skip=lies)
            kept.append(step)
        self.steps = kept

    def _drop(self) -> None:
        """After which step a value can be forgotten: what takes memory of its own goes early."""
        last: dict[int, Step] = {}
        for step in self.steps:
            for number in (*step.makes, *step.reads):
                last[number] = step
        kept = {-1, *self._outputs, *(i for i, value in enumerate(self._start) if value is not None)}
        placed = {self._numbers[v] for v in (*self.plan.offsets, *self.plan.parts) if v in self._numbers}
        placed.update(i for step in self._views for i in step.makes)
        for number, step in last.items():
            if number not in kept and number not in placed:
                step.drops.append(number)

    def _outputs_to_copy(self) -> list[bool]:
        """Outputs that lie in what is not the caller's: an input, a constant, another output."""
        views = [step.node for step in self.steps if step.is_view and not step.is_kernel]
        bases = {value: node.inputs[0] for node in views for value in node.outputs if node.inputs}
        seen: set[Value] = set()
        copied = []
        for value in self.found.outputs:
            base: Value = value
            while base in bases and bases[base] is not None:
                base = bases[base]  # type: ignore[assignment]
            made_here = any(base in step.node.outputs for step in self.steps) or base in self.plan.fresh
            copied.append(not made_here or base in seen or base in self.plan.parts)
            seen.add(base)
        return copied

    def _parts_of(self, roots: set[Value]) -> Iterator[tuple[int, int, tuple[slice, ...] | None]]:
        """Parts that lie in some values, each after what it lies in."""
        waiting = dict(self.plan.parts)
        placed = set(roots)
        while True:
            ready = [value for value, part in waiting.items() if part.of in placed]
            if not ready:
                return
            for value in ready:
                part = waiting.pop(value)
                placed.add(value)
                yield self._number(value), self._number(part.of), part.index

    def _new_block(self) -> list[Any]:
        """Values before a run: constants, and arrays in a new block of memory."""
        values = list(self._start)
        if self.plan.nbytes:
            block = np.empty(self.plan.nbytes + ALIGNMENT, np.uint8)
            block = block[-block.ctypes.data % ALIGNMENT :]
            for value, offset in self.plan.offsets.items():
                known = self.found.known[value]
                assert known.shape is not None
                place = block[offset : offset + known.nbytes]
                flat = place.view(known.dtype or np.uint8)
                values[self._number(value)] = laid(flat, known.shape, self._is_channels_last(value))
            for number, of, index in self._placed_parts:
                values[number] = values[of] if index is None else values[of][index]
        for step in self._views:
            self._view(step, values)
        return values

    def _view(self, step: Step, values: list[Any]) -> bool:
        """Make views of what has its place already; whether they are views indeed, and not copies."""
        made = step.run(*[None if i < 0 else values[i] for i in step.reads])
        made = made if isinstance(made, tuple) else (made,)
        if not all(isinstance(a, np.ndarray) and np.may_share_memory(a, values[step.reads[0]]) for a in made):
            return False
        for i, each in zip(step.makes, made):
            if i >= 0:
                values[i] = each
        return True

    def _settle(self) -> None:
        """What the first block tells: which steps are left to do in every run, and what they can forget."""
        with self._lock:
            if not self._is_settled:
                block = self._new_block()
                self._settle_views(block)
                self._drop()
                self._blocks.append(block)
                self._is_settled = True

    def _settle_views(self, values: list[Any]) -> None:
        """Views of what has its place in a block are made with the block, and not in every run."""
        constant = {-1, *(i for i, value in enumerate(self._start) if value is not None)}
        fixed = {self._number(v) for v in self.plan.offsets} | {i for i, _, _ in self._placed_parts}
        outputs, kept = set(self._outputs), []
        for step in self.steps:
            ready = step.is_view and not step.is_kernel and bool(step.reads) and step.reads[0] in fixed
            ready = ready and constant.issuperset(step.reads[1:])
            if ready and outputs.isdisjoint(step.makes) and self._view(step, values):
                self._views.append(step)
                fixed.update(step.makes)
            else:
                kept.append(step)
        self.steps = kept

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The outputs for arrays of the shapes that this was made for."""
        return self.timed(arrays, None)

    def timed(self, arrays: Sequence[Any], watch: Callable[[Step | None], None] | None) -> list[Any]:
        """As `run`; `watch` is told of every step as it is done, and before the first."""
        if not self._is_settled:
            self._settle()
        try:
            values = self._blocks.pop()
        except IndexError:
            values = self._new_block()
        for number, array in zip(self._inputs, arrays):
            values[number] = array
        for number, shape, dtype in self._fresh:
            values[number] = empty(shape, dtype, self.channels_last)
        for number, of, index in self._fresh_parts:
            values[number] = values[of] if index is None else values[of][index]
        if watch is not None:
            watch(None)
        with np.errstate(all="ignore"):  # once: entering it takes as long as a small kernel
            self._take(values, watch)
        outputs = [_own(values[i], copied) for i, copied in zip(self._outputs, self._copied)]
        self._give_back(values)
        return outputs

    def _take(self, values: list[Any], watch: Callable[[Step | None], None] | None) -> None:
        """All steps, one after the other."""
        for step in self.steps:
            read = [None if i < 0 else values[i] for i in step.reads]
            try:
                if step.is_kernel:
                    step.run(*read, values[step.makes[0]])
                else:
                    made = step.run(*read)
                    if type(made) is not tuple:
                        values[step.makes[0]] = made
                    else:
                        for i, each in zip(step.makes, made):
                            if i >= 0:
                                values[i] = each
            except Exception as error:
                raise located(step.node, error) from error
            for i in step.drops:
                values[i] = None
            if watch is not None:
                watch(step)

    def _give_back(self, values: list[Any]) -> None:
        """Keep the block of a run that ended well for another; arrays that are the caller's are let go."""
        if len(self._blocks) < BLOCKS:
            for i in (*self._inputs, *self._outputs):
                values[i] = self._start[i]
            for i, _, _ in (*self._fresh, *self._fresh_parts):
                values[i] = None
            self._blocks.append(values)


def _own(value: Any, copied: bool) -> Any:
    """An output that is the caller's to change; a copy of a view that shows an element more than once."""
    if isinstance(value, np.ndarray) and (copied or not value.flags.writeable):
        return np.array(value)
    return value
