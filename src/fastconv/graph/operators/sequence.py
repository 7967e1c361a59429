"""Operators on sequences, which are lists, and on optional values.

A value that is not there is None, whether nothing was given or an empty optional: no operator tells these
apart. What goes into a list is copied, for a value's memory is another's once nobody reads it any more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.operator import Operator, Signature
from fastconv.graph.operators.axes import along, axis_of, integer, integers


def _place(position: np.ndarray, low: int, high: int) -> int:
    place = integer("position", position)
    if not low <= place <= high:
        raise ValueError(f"position={place}: must be {low} to {high}")
    return place


def _check(sequence: Any) -> None:
    if not isinstance(sequence, list):
        raise TypeError(f"input_sequence: must be a sequence, not {type(sequence).__name__}")


def _construct(*arrays: np.ndarray) -> list[np.ndarray]:
    """A list of these arrays."""
    return [np.array(array) for array in arrays]


def _empty(*, dtype: Any = None) -> list[np.ndarray]:
    return []


def _insert(sequence: list[Any], array: np.ndarray, position: np.ndarray | None = None) -> list[Any]:
    """The list with one more array before a place, at the end by default."""
    _check(sequence)
    place = len(sequence) if position is None else _place(position, -len(sequence), len(sequence))
    made = list(sequence)
    made.insert(place, np.array(array))
    return made


def _erase(sequence: list[Any], position: np.ndarray | None = None) -> list[Any]:
    """The list without the array at a place, the last by default."""
    _check(sequence)
    if not sequence:
        raise ValueError("input_sequence: is empty, nothing can be erased")
    made = list(sequence)
    del made[-1 if position is None else _place(position, -len(sequence), len(sequence) - 1)]
    return made


def _at(sequence: list[Any], position: np.ndarray) -> Any:
    _check(sequence)
    return sequence[_place(position, -len(sequence), len(sequence) - 1)]


def _length(sequence: list[Any]) -> np.ndarray:
    _check(sequence)
    return np.array(len(sequence), np.int64)


def _concat(sequence: list[np.ndarray], *, axis: int, new_axis: int = 0) -> np.ndarray:
    """The arrays of a list one behind the other along an axis, or stacked along a new one."""
    _check(sequence)
    if not sequence:
        raise ValueError("input_sequence: is empty, and has no shape that a result could have")
    first = sequence[0]
    axis = axis_of("axis", axis, first.ndim + bool(new_axis))
    if any(each.dtype != first.dtype for each in sequence):
        raise TypeError(f"input_sequence: all arrays must have the dtype of the first, {first.dtype}")
    check_memory((sum(each.size for each in sequence),), first.dtype)
    return np.stack(sequence, axis) if new_axis else np.concatenate(sequence, axis)


def _split(
    x: np.ndarray, split: np.ndarray | None = None, *, axis: int = 0, keepdims: int = 1
) -> list[np.ndarray]:
    """Parts along an axis: of the sizes given, of one size but for the last, or one by one."""
    axis = axis_of("axis", axis, x.ndim)
    size = x.shape[axis]
    if split is not None and split.ndim == 1:
        sizes = integers("split", split)
        if any(each < 0 for each in sizes) or sum(sizes) != size:
            raise ValueError(f"split={sizes}: must be sizes that sum to the {size} of axis {axis}")
        stops = np.cumsum(sizes).tolist()
    else:
        step = 1 if split is None else integer("split", split)
        if step < 1:
            raise ValueError(f"split={step}: must be 1 or more")
        stops = [min(size, start + step) for start in range(0, size, step)]
    parts = [np.array(x[along(axis, slice(a, b))]) for a, b in zip([0, *stops], stops)]
    return parts if keepdims or split is not None else [part.squeeze(axis) for part in parts]


def _optional(value: Any = None, *, type: Any = None) -> Any:
    return value


def _has_element(value: Any = None) -> np.ndarray:
    return np.array(value is not None)


def _has_element_signature(value: Signature | None = None) -> Signature:
    return Signature.of(np.array(value is not None))  # only asked about arrays, whose shape is known


def _get_element(value: Any) -> Any:
    if value is None:
        raise ValueError("input: is an empty optional, it has no element")
    return value


OPERATORS: dict[str, Operator] = {
    "SequenceConstruct": Operator(_construct, varies=True),
    "SequenceEmpty": Operator(_empty, varies=True),
    "SequenceInsert": Operator(_insert, varies=True),
    "SequenceErase": Operator(_erase, varies=True),
    "SequenceAt": Operator(_at, varies=True, is_view=True),
    "SequenceLength": Operator(_length, varies=True),
    "ConcatFromSequence": Operator(_concat, varies=True),
    "SplitToSequence": Operator(_split, varies=True),
    "Optional": Operator(_optional, varies=True, is_view=True),
    "OptionalHasElement": Operator(_has_element, _has_element_signature),
    "OptionalGetElement": Operator(_get_element, varies=True, is_view=True),
}
