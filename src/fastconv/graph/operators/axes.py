"""Axes, sizes and single numbers that a node is given, checked before they are used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def along(axis: int, part: Any) -> tuple[Any, ...]:
    """An index that takes a part of one axis, and all of those before it."""
    return (*[slice(None)] * axis, part)


def axis_of(name: str, axis: int, ndim: int) -> int:
    """An axis counted from the front.

    Raises
    ------
    ValueError
        There is no such axis.
    """
    if not -ndim <= axis < ndim:
        raise ValueError(f"{name}={axis}: must be one of the axes {-ndim} to {ndim - 1} of {ndim}")
    return axis % ndim


def axes_of(name: str, axes: Iterable[int], ndim: int) -> tuple[int, ...]:
    """Axes counted from the front, each named once."""
    found = tuple(axis_of(name, int(axis), ndim) for axis in axes)
    if len(set(found)) < len(found):
        raise ValueError(f"{name}={found}: must name each axis once")
    return found


def integers(name: str, array: np.ndarray) -> list[int]:
    """The elements of a list of integers that came as an array; a single number is a list of one."""
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise ValueError(f"{name}: must be a list of integers, not {array.dtype} of shape {array.shape}")
    numbers: list[int] = array.reshape(-1).tolist()
    return numbers


def number(name: str, array: np.ndarray) -> Any:
    """The one element of an array, as a number of Python."""
    if array.size != 1:
        raise ValueError(f"{name}: must be one number, not an array of shape {array.shape}")
    return array.reshape(()).item()


def integer(name: str, array: np.ndarray) -> int:
    """The one element of an array of integers, or of floats that are cut."""
    return int(number(name, array))
