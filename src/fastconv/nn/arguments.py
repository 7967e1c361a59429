"""Checks of arguments that many parts of `fastconv.nn` take: numbers in a range, generators, dtypes."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fastconv.geometry import float_dtype as float_dtype
from fastconv.geometry import real_number

#: What a caller may give where random numbers are drawn: a Generator is used as it is, an int seeds one.
Rng = np.random.Generator | int | None


def real(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> float:
    """`value` as a finite float within the bounds given.

    Raises
    ------
    TypeError
        Not a real number.
    ValueError
        Not finite, or out of bounds.
    """
    number = real_number(name, value)
    rules = []
    if at_least is not None and not number >= at_least:
        rules.append(f"at least {at_least:g}")
    if above is not None and not number > above:
        rules.append(f"above {above:g}")
    if at_most is not None and not number <= at_most:
        rules.append(f"at most {at_most:g}")
    if below is not None and not number < below:
        rules.append(f"below {below:g}")
    if rules:
        raise ValueError(f"{name}={value!r}: must be {' and '.join(rules)}")
    return number


def generator(name: str, rng: Any) -> np.random.Generator:
    """`rng` as a Generator: itself, one seeded by an int, or for None one seeded by the operating system.

    Raises
    ------
    TypeError, ValueError
        Neither a Generator nor a non-negative int nor None.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is not None and (isinstance(rng, bool) or not isinstance(rng, (int, np.integer))):
        raise TypeError(f"{name}={rng!r}: must be a numpy.random.Generator, an int seed or None")
    if rng is not None and rng < 0:
        raise ValueError(f"{name}={rng!r}: a seed must be at least 0")
    return np.random.default_rng(rng)


def frozen(value: Any) -> Any:
    """`value` as plain Python: lists (of lists) as tuples, so that nobody can change a layer from outside.

    What NumPy and others have for numbers and words becomes numbers and words, which any file can hold.
    """
    if isinstance(value, (list, tuple)):
        return tuple(frozen(entry) for entry in value)
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else value
