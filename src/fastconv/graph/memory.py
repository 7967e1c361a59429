"""Where values lie: which storage each one takes, when it dies, and how much there is at once.

A value whose size is known beforehand is written into one block of memory, at a place that was another's as
soon as that is dead. Some take no place of their own:

- What an elementwise operator reads for the last time is where it writes its result.
- The parts of a Concat are written straight into their part of it.
- A view lies where its source lies.

What the graph returns is new in each run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fastconv.graph.ir import Node, Value
from fastconv.graph.operator import Signature
from fastconv.graph.operators import OPERATORS

#: Places begin at multiples of this: a cache line, and as long as any vector.
ALIGNMENT = 64


@dataclass
class Part:
    """Where a value lies inside another: all of it, or a slice."""

    of: Value
    index: tuple[slice, ...] | None = None


@dataclass
class Plan:
    """What `place` found.

    Attributes
    ----------
    offsets : dict
        Place in the block, in bytes, of values that have one of their own.
    parts : dict
        Values that lie inside others.
    fresh : list
        Values that are new arrays in each run, since the graph returns them, or what lies in them.
    nbytes : int
        Of the block.
    """

    offsets: dict[Value, int] = field(default_factory=dict)
    parts: dict[Value, Part] = field(default_factory=dict)
    fresh: list[Value] = field(default_factory=list)
    nbytes: int = 0


def place(
    nodes: Sequence[Node],
    known: dict[Value, Signature],
    written: set[Value],
    outputs: Sequence[Value],
) -> Plan:
    """Find a place for every value of `written`: those that kernels write into memory they are given."""
    found = _Placing(nodes, known, written, outputs)
    for node in nodes:
        if node.operator == "Concat" and node.outputs[0] in written:
            found.join(node)
    for i, node in enumerate(nodes):
        if node.outputs[0] in written:
            found.overwrite(i, node)
    return found.plan()


class _Placing:
    def __init__(
        self,
        nodes: Sequence[Node],
        known: dict[Value, Signature],
        written: set[Value],
        outputs: Sequence[Value],
    ) -> None:
        self.known, self.written = known, written
        self.parts: dict[Value, Part] = {}
        self.inside: dict[Value, list[Value]] = {}
        self.view_of: dict[Value, Value] = {}
        self.born: dict[Value, int] = {}
        self.dies: dict[Value, int] = {}
        self.end = len(nodes)
        for i, node in enumerate(nodes):
            views = OPERATORS[node.operator].is_view
            for value in node.outputs:
                if value is not None:
                    self.born[value] = self.dies[value] = i
                    if views and value not in written and node.inputs and node.inputs[0] is not None:
                        self.view_of[value] = node.inputs[0]
            for read in node.inputs:
                if read is not None:
                    self._live(read, i)
        self.returned = {self.base(value) for value in outputs}
        for value in outputs:
            self._live(value, self.end)

    def base(self, value: Value) -> Value:
        """What a view is a view of."""
        while value in self.view_of:
            value = self.view_of[value]
        return value

    def _live(self, value: Value, until: int) -> None:
        base = self.base(value)
        self.dies[base] = max(self.dies.get(base, 0), until)

    def last_use(self, value: Value) -> int:
        """When nothing that lies in a value is read any more."""
        return max(self.dies[each] for each in self._with_parts(value))

    def first_use(self, value: Value) -> int:
        """When something that lies in a value is first written."""
        return min(self.born[each] for each in self._with_parts(value))

    def _with_parts(self, value: Value) -> list[Value]:
        """A value and all that lies in it: parts in parts may be as deep as the graph."""
        found = [value]
        for each in found:  # grows as it goes
            found += self.inside.get(each, ())
        return found

    def is_free(self, value: Value | None) -> bool:
        """Whether a value can lie inside another."""
        return value in self.written and value not in self.parts and value not in self.returned

    def put(self, value: Value, part: Part) -> None:
        self.parts[value] = part
        self.inside.setdefault(part.of, []).append(value)

    def root(self, value: Value) -> Value:
        """What a value lies in that lies in nothing else."""
        value = self.base(value)
        while value in self.parts:
            value = self.base(self.parts[value].of)
        return value

    def join(self, node: Node) -> None:
        """Parts of a Concat: each is written where it will be read."""
        (joined,) = node.outputs
        assert joined is not None
        shape = self.known[joined].shape
        assert shape is not None
        axis = node.attributes["axis"] % len(shape)
        start = 0
        for value in node.inputs:
            assert value is not None
            signature = Signature.of(value.constant) if value.constant is not None else self.known[value]
            assert signature.shape is not None
            stop = start + signature.shape[axis]
            if self.is_free(value) and self.root(joined) is not value:
                self.put(value, Part(joined, (*[slice(None)] * axis, slice(start, stop))))
            start = stop

    def overwrite(self, i: int, node: Node) -> None:
        """What dies here may be where the result goes."""
        made = node.outputs[0]
        assert made is not None
        for k in OPERATORS[node.operator].overwrites:
            value = node.inputs[k] if k < len(node.inputs) else None
            if value is None or not self.is_free(value) or self.last_use(value) > i:
                continue
            if self.known[value][:2] != self.known[made][:2] or self.root(made) is value:
                continue
            others = [read for j, read in enumerate(node.inputs) if j != k and read not in (None, value)]
            if any(self.root(read) is self.root(value) for read in others if read is not None):
                continue  # another view of the same memory: it would change while it is read
            self.put(value, Part(made))
            return

    def plan(self) -> Plan:
        """Places for what lies in nothing else: the largest first, each as low as it can be."""
        plan = Plan(parts=self.parts)
        roots = [value for value in self.born if value in self.written and value not in self.parts]
        taken: list[tuple[int, int, int, int]] = []  # first, last, start, stop
        for value in sorted(roots, key=lambda value: -self.known[value].nbytes):
            if self._is_returned(value):
                plan.fresh.append(value)
                continue
            first, last = self.first_use(value), self.last_use(value)
            size = max(1, -(-self.known[value].nbytes // ALIGNMENT)) * ALIGNMENT
            start = 0
            for _, _, low, high in sorted(
                (t for t in taken if t[0] <= last and first <= t[1]), key=lambda t: t[2]
            ):
                if start + size <= low:
                    break
                start = max(start, high)
            taken.append((first, last, start, start + size))
            plan.offsets[value] = start
            plan.nbytes = max(plan.nbytes, start + size)
        return plan

    def _is_returned(self, value: Value) -> bool:
        return not self.returned.isdisjoint(self._with_parts(value))
