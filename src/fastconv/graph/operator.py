"""What an operator is: a function of arrays, and what can be said about its results before there are any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastconv.geometry import check_memory


class Signature(NamedTuple):
    """What is known of a value before a run.

    Attributes
    ----------
    dtype : numpy.dtype or None
        None if it is not known, or the value is no array.
    shape : tuple of int or None
        None if it depends on what the inputs hold.
    value : ndarray, or any other constant, or None
        The value itself where it is known.
    """

    dtype: np.dtype | None
    shape: tuple[int, ...] | None
    value: Any = None

    @classmethod
    def of(cls, value: Any) -> Signature:
        """Of a constant."""
        if isinstance(value, np.ndarray):
            return cls(value.dtype, value.shape, value)
        return cls(None, None, value)

    @property
    def size(self) -> int:
        """Number of elements; 0 if it is not known."""
        return 0 if self.shape is None else prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the array; 0 if they are not known."""
        return 0 if self.dtype is None else self.size * self.dtype.itemsize


UNKNOWN = Signature(None, None)

#: Writes the result for some arrays, which come first, into the last one. NumPy does not warn meanwhile.
Kernel = Callable[..., Any]


@dataclass(frozen=True)
class Operator:
    """An operator of the graph.

    Attributes
    ----------
    compute : function
        `compute(*arrays, **attributes)` returns a new array, a view of an argument, or a tuple of these; None
        stands for inputs left out. This is the definition.
    infer : function, optional
        `infer(*signatures, **attributes)` returns the signature of the output, or a list of them; it is only
        asked about inputs of known shape. Without it `compute` is asked, with arrays of ones that take no
        memory: good for what is cheap, and for views.
    shaped_by : tuple of int
        Inputs on whose values, and not shapes alone, the shape of the output depends.
    bind : function, optional
        `bind(signatures, output_signature, **attributes)` returns a `Kernel`, or None where the operator
        cannot write into memory that is given.
    prepare : function, optional
        `prepare(keep, signatures, **attributes)` returns a function that computes as `compute` does, without
        attributes, but knows what follows from constants and shapes already; or None.
    overwrites : tuple of int
        Inputs over which the kernel may write its output, if dtype and shape are the same.
    is_view : bool
        The output lies, or may lie, in the memory of the first input.
    varies : bool
        The shape of the output depends on what the inputs hold.
    is_random : bool
        Two runs may differ: nothing is computed ahead.
    flops : function, optional
        `flops(signatures, output_signature, **attributes)`; without it one per element of the output, none
        for views.
    """

    compute: Callable[..., Any]
    infer: Callable[..., Any] | None = None
    shaped_by: tuple[int, ...] = ()
    bind: Callable[..., Kernel | None] | None = None
    prepare: Callable[..., Callable[..., Any] | None] | None = None
    overwrites: tuple[int, ...] = ()
    is_view: bool = False
    varies: bool = False
    is_random: bool = False
    flops: Callable[..., int] | None = None

    def signatures(
        self, inputs: Sequence[Signature | None], count: int, attributes: dict[str, Any]
    ) -> list[Signature]:
        """What is known of the outputs, of which there are `count`."""
        unknown = self.varies or any(each is not None and each.shape is None for each in inputs)
        unseen = any(
            i < len(inputs) and (given := inputs[i]) is not None and given.value is None
            for i in self.shaped_by
        )
        if unknown or unseen:
            return [UNKNOWN] * count
        if self.infer is not None:
            found = self.infer(*inputs, **attributes)
            found = list(found) if isinstance(found, list) else [found]
        else:
            found = self._from_ghosts(inputs, attributes)
        for each in found:
            if each.shape is not None and each.dtype is not None:
                check_memory(each.shape, each.dtype)
        return [*found, *[UNKNOWN] * (count - len(found))][:count]

    def _from_ghosts(self, inputs: Sequence[Signature | None], attributes: dict[str, Any]) -> list[Signature]:
        arrays = [each and ghost(each, i in self.shaped_by) for i, each in enumerate(inputs)]
        with np.errstate(all="ignore"):
            made = self.compute(*arrays, **attributes)
        made = made if isinstance(made, tuple) else (made,)
        return [Signature(a.dtype, a.shape) if isinstance(a, np.ndarray) else UNKNOWN for a in made]


def ghost(signature: Signature, real: bool = False) -> np.ndarray:
    """An array of this shape and dtype that takes one element of memory; or the value itself."""
    if real and isinstance(signature.value, np.ndarray):
        return signature.value
    assert signature.dtype is not None
    assert signature.shape is not None
    one: np.ndarray = np.zeros((), signature.dtype)
    if signature.dtype.kind in "biufc":
        one[...] = 1
    return np.broadcast_to(one, signature.shape)


def like_first(first: Signature, *others: Any, **attributes: Any) -> Signature:
    """The rule of operators whose output has shape and dtype of their first input."""
    return Signature(first.dtype, first.shape)
