"""Numbers as arguments: whole, per axis, as padding; and products that must not overflow."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

Triple = tuple[int, int, int]

#: Largest number of elements, and largest size, stride or padding, that shape arithmetic may meet. A quarter
#: of the int64 range, so that sums of two products that passed cannot wrap in the kernels.
LIMIT = 2**61


def integer(name: str, value: Any) -> int:
    """`value` as an int; not a bool, nor a float."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: must be an integer")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r}: must be an integer") from None


def whole_number(name: str, value: Any, minimum: int) -> int:
    """`value` as an int of at least `minimum`."""
    number = integer(name, value)
    if number < minimum:
        raise ValueError(f"{name}={value!r}: must be at least {minimum}")
    if number > LIMIT:
        raise ValueError(f"{name}={value!r}: must be at most {LIMIT}")
    return number


def flag(name: str, value: Any) -> bool:
    """`value`, which must be True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: must be True or False")
    return bool(value)


def hashable(name: str, value: Any) -> Any:
    """A parameter (number, word, nested sequence of numbers) as a key: whole numbers ints, lists tuples."""
    if isinstance(value, (tuple, list)):
        return tuple(hashable(name, entry) for entry in value)
    return value if isinstance(value, str) else integer(name, value)


def per_axis(name: str, value: Any, spatial_rank: int, minimum: int) -> tuple[int, ...]:
    """One int for all axes, alone or in a tuple of its own, or one per axis, as one per axis."""
    return tuple(whole_number(name, entry, minimum) for entry in _entries(name, value, spatial_rank))


def _entries(name: str, value: Any, spatial_rank: int) -> tuple[Any, ...]:
    """One entry per axis: those of a tuple or list, or one for all axes."""
    entries = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(entries) == 1:
        return entries * spatial_rank
    if len(entries) != spatial_rank:
        raise ValueError(f"{name}={value!r}: must have {spatial_rank} entries, one per spatial axis")
    return entries


def padding_pairs(
    value: Any, spatial_rank: int, dilated_kernel: tuple[int, ...], stride: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """`padding` in any of its forms as one (before, after) pair per axis.

    Parameters
    ----------
    value : int, one int per axis, one (before, after) pair per axis, "valid" or "same"
        A tuple of one entry counts for all axes. "same" keeps the size (stride 1 only); where the total is
        odd, the extra element goes after.
    dilated_kernel : tuple of int
        dilation * (kernel - 1) + 1 per axis.
    """
    if isinstance(value, str):
        if value == "valid":
            return ((0, 0),) * spatial_rank
        if value != "same":
            raise ValueError(f"padding={value!r}: the words allowed are 'valid' and 'same'")
        if any(s != 1 for s in stride):
            raise ValueError(f"padding='same' needs stride 1, not {stride}")
        return tuple(((k - 1) // 2, (k - 1) - (k - 1) // 2) for k in dilated_kernel)
    pairs = []
    for entry in _entries("padding", value, spatial_rank):
        if isinstance(entry, (tuple, list)):
            if len(entry) != 2:
                raise ValueError(f"padding={value!r}: each pair must be (before, after)")
            pairs.append((whole_number("padding", entry[0], 0), whole_number("padding", entry[1], 0)))
        else:
            pairs.append((whole_number("padding", entry, 0),) * 2)
    return tuple(pairs)


def axis_number(name: str, value: Any, rank: int) -> int:
    """An axis of an array with `rank` axes, counted from 0; negative ones count from the end.

    As in torch, an array without axes is taken for one with a single axis.
    """
    axis, axes = integer(name, value), max(rank, 1)
    if not -axes <= axis < axes:
        raise ValueError(f"{name}={value!r}: must be from {-axes} to {axes - 1}, an axis of {rank}")
    return axis % axes


def real_number(
    name: str, value: Any, *, at_least: float | None = None, nonzero: bool = False, finite: bool = True
) -> float:
    """`value` as a float: not NaN, finite unless told otherwise, at least `at_least`.

    Raises
    ------
    TypeError
        Not a real number (a bool, an array and a string are none).
    ValueError
        A number that breaks a rule.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}={value!r}: must be a number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name}={value!r}: must fit a float") from None
    if finite and not math.isfinite(number):
        raise ValueError(f"{name}={value!r}: must be finite")
    if math.isnan(number):
        raise ValueError(f"{name}={value!r}: must not be NaN")
    if at_least is not None and number < at_least:
        raise ValueError(f"{name}={value!r}: must be at least {at_least:g}")
    if nonzero and number == 0:
        raise ValueError(f"{name}={value!r}: must not be zero")
    return number


def triple(values: tuple[int, ...], fill: int) -> Triple:
    """One number per spatial axis as (D, H, W), `fill` for the axes in front that the call does not have."""
    return (fill,) * (3 - len(values)) + tuple(values)  # type: ignore[return-value]


def checked_product(name: str, *factors: int) -> int:
    """The product, refused in the name of `name` if shape arithmetic could not hold it."""
    product = 1
    for factor in factors:
        product *= factor
    if product > LIMIT:
        raise ValueError(f"{name}: {' * '.join(map(str, factors))} is beyond what shape arithmetic can hold")
    return product


def dilated_kernel(kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """What a kernel spans per axis: dilation * (kernel - 1) + 1."""
    return tuple(checked_product("dilation", d, k - 1) + 1 for k, d in zip(kernel, dilation))
