"""Recurrent layers: LSTM, GRU and RNN.

What does not depend on the state, the product of all inputs with their weights, is computed ahead of the loop
over time; a step of the loop is one product of the state, and writes into arrays made before the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.keep import Keep
from fastconv.graph.operator import Operator, Signature
from fastconv.graph.operators.cells import Attributes, Cell, GruCell, LstmCell, RnnCell, activations_of
from fastconv.graph.operators.elementwise import FLOATS


def _cells(
    kind: type[Cell], default: tuple[str, ...], weights: Sequence[np.ndarray | None], told: Attributes
) -> list[Cell]:
    """The cells of a node, one per direction; weights are W, R, B and P, in float32 or float64."""
    count = len(default) * len(told.backward)
    functions = activations_of(
        told.activations or default * len(told.backward), told.activation_alpha, told.activation_beta, count
    )
    made = []
    for d in range(len(told.backward)):
        w, r, b, p = (each if each is None else each[d] for each in weights)
        assert w is not None
        assert r is not None
        made.append(kind(w, r, b, p, functions[d * len(default) : (d + 1) * len(default)], told))
    return made


def _run(
    cells: list[Cell],
    x: np.ndarray,
    lengths: np.ndarray | None,
    state: np.ndarray | None,
    memory: np.ndarray | None,
    told: Attributes,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All states (T, D, B, H), the last ones and the last memories (D, B, H)."""
    (steps, batch, _), size = x.shape, cells[0].size
    ends = (len(cells), batch, size)
    check_memory((steps, *ends), x.dtype)
    y: np.ndarray = np.empty((steps, *ends), x.dtype)
    states: np.ndarray = np.zeros(ends, x.dtype) if state is None else np.array(state, order="C")
    memories: np.ndarray = np.zeros(ends, x.dtype) if memory is None else np.array(memory, order="C")
    idle = None
    if lengths is not None and steps and lengths.min(initial=steps) < steps:
        idle = (np.arange(steps)[:, None] >= lengths)[:, :, None]
    for d, backward in enumerate(told.backward):
        inputs = cells[d].inputs(x)
        step = cells[d].stepper(batch, x.dtype)
        order = range(steps - 1, -1, -1) if backward else range(steps)
        if idle is not None:
            _run_masked(step, order, inputs, idle, states[d], memories[d], y[:, d])
            continue
        now, kept = states[d], memories[d]
        for t in order:
            out = y[t, d]
            step(inputs[t], now, kept, out)
            now = out
        states[d] = now
    return y, states, memories


def _run_masked(
    step: Callable[..., None],
    order: Sequence[int],
    inputs: np.ndarray,
    idle: np.ndarray,
    state: np.ndarray,
    memory: np.ndarray,
    y: np.ndarray,
) -> None:
    """Steps over sequences of several lengths: where one has ended, or not begun yet, its state stays."""
    before = np.empty_like(memory)
    for t in order:
        before[...] = memory
        step(inputs[t], state, memory, y[t])
        np.copyto(memory, before, where=idle[t])
        np.copyto(y[t], state, where=idle[t])
        state[...] = y[t]
        np.copyto(y[t], 0, where=idle[t])


def _layer(kind: type[Cell], *activations: str) -> Operator:
    """The operator for a kind of cell, with its default activations."""

    def compute(x: np.ndarray, *others: np.ndarray | None, **attributes: Any) -> tuple[np.ndarray, ...]:
        infer(
            *[each if each is None else Signature(each.dtype, each.shape) for each in (x, *others)],
            **attributes,
        )
        w, r, b, lengths, state, memory, peephole = _padded(others, 7)
        told = Attributes(**attributes)
        cells = _cells(kind, activations, _wide(w, r, b, peephole), told)
        return _outputs(cells, told, x, lengths, state, memory)

    def prepare(
        keep: Keep, signatures: Sequence[Signature | None], **attributes: Any
    ) -> Callable[..., Any] | None:
        w, r, b, p = (signatures[i] if i < len(signatures) else None for i in (1, 2, 3, 7))
        if any(each is not None and each.value is None for each in (w, r, b, p)):
            return None
        weights = tuple(each and each.value for each in (w, r, b, p))
        told = Attributes(**attributes)
        cells = keep(weights, (kind, told), lambda: _cells(kind, activations, _wide(*weights), told))

        def run(x: np.ndarray, *others: np.ndarray | None) -> tuple[np.ndarray, ...]:
            lengths, state, memory = (others[i] if i < len(others) else None for i in (3, 4, 5))
            return _outputs(cells, told, x, lengths, state, memory)

        return run

    def infer(*signatures: Signature | None, **attributes: Any) -> list[Signature]:
        return _signatures(kind.gates, signatures, Attributes(**attributes))[: 3 if kind is LstmCell else 2]

    return Operator(compute, infer, prepare=prepare, flops=_flops)


def _outputs(
    cells: list[Cell],
    told: Attributes,
    x: np.ndarray,
    lengths: np.ndarray | None,
    state: np.ndarray | None,
    memory: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    """What a node returns, in the order of axes and the dtype of its inputs."""
    dtype = x.dtype
    x, state, memory = _wide(x, state, memory)  # type: ignore[assignment]
    if told.layout:
        x = np.ascontiguousarray(x.transpose(1, 0, 2))
        state, memory = (each if each is None else each.transpose(1, 0, 2) for each in (state, memory))
    with np.errstate(all="ignore"):
        made: Sequence[np.ndarray] = _run(cells, x, lengths, state, memory, told)
    if told.layout:
        orders = ((2, 0, 1, 3), (1, 0, 2), (1, 0, 2))
        made = [np.ascontiguousarray(each.transpose(order)) for each, order in zip(made, orders)]
    return tuple(
        each.astype(dtype, copy=False) for each in made[: 3 if isinstance(cells[0], LstmCell) else 2]
    )


def _padded(inputs: Sequence[Any], count: int) -> list[Any]:
    """All inputs, None for those that are not given."""
    return [*inputs, *[None] * (count - len(inputs))]


def _wide(*arrays: np.ndarray | None) -> list[np.ndarray | None]:
    """Floats that nothing computes in, as float32."""
    return [each if each is None or each.dtype in FLOATS else each.astype(np.float32) for each in arrays]


def _signatures(gates: int, inputs: Sequence[Signature | None], told: Attributes) -> list[Signature]:
    """Signatures of Y, Y_h and Y_c; every input must have the shape that the others say."""
    x, w, r, b, lengths, state, memory, peephole = _padded(inputs, 8)
    if x is None or w is None or r is None or x.shape is None or r.shape is None:
        raise ValueError("X, W and R must be given")
    if len(x.shape) != 3:
        raise ValueError(f"X: shape {x.shape} must have 3 axes")
    size = r.shape[-1] if r.shape else 0
    if told.hidden_size not in (None, size):
        raise ValueError(f"hidden_size={told.hidden_size}: R of shape {r.shape} says {size}")
    steps, batch = (x.shape[1], x.shape[0]) if told.layout else (x.shape[0], x.shape[1])
    count, rows = len(told.backward), gates * size
    ends = (batch, count, size) if told.layout else (count, batch, size)
    wanted = {
        "W": (w, (count, rows, x.shape[2])),
        "R": (r, (count, rows, size)),
        "B": (b, (count, 2 * rows)),
        "sequence_lens": (lengths, (batch,)),
        "initial_h": (state, ends),
        "initial_c": (memory, ends),
        "P": (peephole, (count, 3 * size)),
    }
    for name, (given, shape) in wanted.items():
        if given is not None and given.shape != shape:
            raise ValueError(f"{name}: shape {given.shape} must be {shape}")
        if given is not None and name != "sequence_lens" and given.dtype != x.dtype:
            raise TypeError(f"{name}: dtype {given.dtype} must be X's, {x.dtype}")
    whole = (batch, steps, count, size) if told.layout else (steps, count, batch, size)
    return [Signature(x.dtype, whole), Signature(x.dtype, ends), Signature(x.dtype, ends)]


def _flops(signatures: Sequence[Signature | None], output: Signature, **attributes: Any) -> int:
    """Two for each weight, element of the batch and step."""
    x, w, r = signatures[:3]
    assert x is not None
    assert w is not None
    assert r is not None
    assert x.shape is not None
    return 2 * x.shape[0] * x.shape[1] * (w.size + r.size)


OPERATORS: dict[str, Operator] = {
    "LSTM": _layer(LstmCell, "Sigmoid", "Tanh", "Tanh"),
    "GRU": _layer(GruCell, "Sigmoid", "Tanh"),
    "RNN": _layer(RnnCell, "Tanh"),
}
