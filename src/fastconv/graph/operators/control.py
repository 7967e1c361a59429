"""Operators that run graphs: If, Loop, Scan and SequenceMap.

A body is a `Graph`; what it reads from around it comes behind its own inputs. It is run as any graph is, so
each iteration has its program for the shapes that come, and what it returns lies in nobody else's memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.ir import Value
from fastconv.graph.operator import Operator
from fastconv.graph.operators.axes import axis_of, integer, number

if TYPE_CHECKING:
    from fastconv.graph.graph import Graph

#: Iterations after which a Loop is taken for one that does not end, unless a node says otherwise.
MAX_ITERATIONS = 10_000_000


def _if(condition: np.ndarray, *captured: Any, then_branch: Graph, else_branch: Graph) -> tuple[Any, ...]:
    """What one of two graphs returns."""
    branch = then_branch if number("cond", condition) else else_branch
    return tuple(branch.run(captured))


# ---- what a body returns, step by step ----------------------------------------------------------------


class _Stacks:
    """Outputs of a body that are kept of each iteration, and become one array."""

    def __init__(self, outputs: Sequence[Value]) -> None:
        self._outputs = outputs
        self._steps: list[list[np.ndarray]] = [[] for _ in outputs]
        self._nbytes, self._checked = 0, 1 << 30

    def add(self, arrays: Sequence[np.ndarray]) -> None:
        for steps, array, output in zip(self._steps, arrays, self._outputs):
            first = steps[0] if steps else array
            if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (first.shape, first.dtype):
                raise ValueError(
                    f"body: its output {output.name!r} must be an array, of one shape and dtype always"
                )
            steps.append(array)
            self._nbytes += array.nbytes
        if self._nbytes > self._checked:
            check_memory((self._nbytes,), np.dtype(np.uint8))
            self._checked *= 2

    def arrays(self, axes: Sequence[int] = (), backwards: Sequence[int] = ()) -> list[np.ndarray]:
        """All of them stacked, along the first axis or another, last iteration first or last."""
        made = []
        for i, (steps, output) in enumerate(zip(self._steps, self._outputs)):
            axis = axes[i] if axes else 0
            if not steps:
                made.append(_nothing(output, axis))
                continue
            axis = axis_of("scan_output_axes", axis, steps[0].ndim + 1)
            made.append(np.stack(steps[::-1] if backwards and backwards[i] else steps, axis))
        return made


def _nothing(output: Value, axis: int) -> np.ndarray:
    """No iterations: of the dtype and shape that the body declares, 0 for sizes it does not know."""
    shape = [size if isinstance(size, int) else 0 for size in output.shape or ()]
    shape.insert(axis_of("scan_output_axes", axis, len(shape) + 1), 0)
    return np.empty(shape, np.dtype(np.float32) if output.dtype is None else output.dtype)


def _own(value: Any) -> Any:
    """A value that no iteration made: what is returned must not lie in an input's memory."""
    return np.array(value) if isinstance(value, np.ndarray) else value


def _check_body(body: Graph, inputs: int, outputs: int) -> None:
    if len(body.inputs) != inputs or len(body.outputs) < outputs:
        raise ValueError(
            f"body: {len(body.inputs)} inputs and {len(body.outputs)} outputs must be {inputs}, "
            f"and {outputs} or more"
        )


# ---- loops --------------------------------------------------------------------------------------------


def _loop(
    trips: np.ndarray | None = None,
    condition: np.ndarray | None = None,
    *others: Any,
    body: Graph,
    carried: int,
    max_iterations: int = MAX_ITERATIONS,
) -> tuple[Any, ...]:
    """A body run until its trips are done, or its condition is false if there is one to begin with.

    It takes the iteration's number, the condition and what is carried; and returns the condition, what is
    carried on, and what is kept of each iteration.
    """
    _check_body(body, 2 + len(others), 1 + carried)
    limit = None if trips is None else integer("M", trips)
    goes_on = condition is None or bool(number("cond", condition))
    state, captured = list(others[:carried]), others[carried:]
    stacks = _Stacks(body.outputs[1 + carried :])
    done = 0
    while goes_on and (limit is None or done < limit):
        if done >= max_iterations:
            raise ValueError(
                f"goes on after max_iterations={max_iterations}; load(..., max_iterations=) allows more"
            )
        told, *made = body.run([np.array(done, np.int64), np.array(True), *state, *captured])
        state = made[:carried]
        stacks.add(made[carried:])
        goes_on = condition is None or bool(number("the body's condition", told))
        done += 1
    if not done:
        state = [_own(value) for value in state]
    return (*state, *stacks.arrays())


# ---- scans --------------------------------------------------------------------------------------------


def _told(name: str, values: Sequence[int] | None, count: int) -> Sequence[int]:
    """An attribute with a number for each input or output; 0 without it."""
    if values is None:
        return (0,) * count
    if len(values) != count:
        raise ValueError(f"{name}={tuple(values)}: must be {count} numbers")
    return values


def _scan(
    *inputs: Any,
    body: Graph,
    states: int,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
    batched: bool = False,
) -> tuple[Any, ...]:
    """A body run on the slices of some inputs, one after the other, with states that it hands on.

    `batched` is how it was before opset 9: an axis in front of all, and each part of it scanned for itself.
    """
    _check_body(body, len(inputs), states)
    if states < 0 or num_scan_inputs < 1:
        raise ValueError(
            f"num_scan_inputs={num_scan_inputs}: must be 1 to {states + num_scan_inputs}, the inputs"
        )
    end = states + num_scan_inputs
    kept = len(body.outputs) - states
    axes = _told("scan_input_axes", scan_input_axes, num_scan_inputs)
    backwards = _told("scan_input_directions", scan_input_directions, num_scan_inputs)
    out_axes = _told("scan_output_axes", scan_output_axes, kept)
    out_backwards = _told("scan_output_directions", scan_output_directions, kept)

    def scan(state: list[Any], scanned: Sequence[np.ndarray]) -> list[Any]:
        rows = [
            np.flip(each, axis) if back else each
            for each, axis, back in zip(
                (np.moveaxis(x, a, 0) for x, a in zip(scanned, axes)), (0,) * end, backwards
            )
        ]
        lengths = {len(each) for each in rows}
        if len(lengths) != 1:
            raise ValueError(f"inputs: the lengths that are scanned must be the same, not {sorted(lengths)}")
        stacks = _Stacks(body.outputs[states:])
        for step in range(lengths.pop()):
            made = body.run([*state, *(each[step, ...] for each in rows), *inputs[end:]])
            state = made[:states]
            stacks.add(made[states:])
        return [*map(_own, state), *stacks.arrays(out_axes, out_backwards)]

    if not batched:
        for x, axis in zip(inputs[states:end], axes):
            axis_of("scan_input_axes", axis, x.ndim)
        return tuple(scan(list(inputs[:states]), inputs[states:end]))
    sizes = {len(x) if x.ndim > 1 or i < states else -1 for i, x in enumerate(inputs[:end])}
    if len(sizes) != 1 or sizes == {-1} or 0 in sizes:
        raise ValueError(
            f"inputs: the sizes of their first axes, the batch, must be the same, not {sorted(sizes)}"
        )
    parts = [
        scan([np.array(x[i]) for x in inputs[:states]], [x[i] for x in inputs[states:end]])
        for i in range(sizes.pop())
    ]
    return tuple(np.stack(each) for each in zip(*parts))


# ---- lists --------------------------------------------------------------------------------------------


def _sequence_map(sequence: list[Any], *others: Any, body: Graph, mapped: int) -> tuple[list[Any], ...]:
    """A body run on the elements of lists, one by one; of its inputs `mapped` are its own, in part arrays."""
    _check_body(body, 1 + len(others), 1)
    own = (sequence, *others[: mapped - 1])
    lists = [each for each in own if isinstance(each, list)]
    if not isinstance(sequence, list) or any(len(each) != len(sequence) for each in lists):
        raise ValueError(
            f"additional_inputs: lists of lengths {[len(each) for each in lists]} must be of one length"
        )
    made: list[list[Any]] = [[] for _ in body.outputs]
    for i in range(len(sequence)):
        given = [each[i] if isinstance(each, list) else each for each in own]
        for kept, value in zip(made, body.run([*given, *others[mapped - 1 :]])):
            kept.append(value)
    return tuple(made)


OPERATORS: dict[str, Operator] = {
    "If": Operator(_if, varies=True),
    "Loop": Operator(_loop, varies=True),
    "Scan": Operator(_scan, varies=True),
    "SequenceMap": Operator(_sequence_map, varies=True),
}
