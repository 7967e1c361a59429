"""A graph that can be called."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.geometry import as_ndarray
from fastconv.graph.fuse import fuse
from fastconv.graph.ir import Node, Nodes, Value
from fastconv.graph.keep import Keep
from fastconv.graph.operator import UNKNOWN, Signature
from fastconv.graph.order import is_channels_last
from fastconv.graph.program import Program
from fastconv.graph.specialise import specialise
from fastconv.runtime import get_isa, get_precision

if TYPE_CHECKING:
    from os import PathLike

    from fastconv.graph.profile import Profile
    from fastconv.graph.summary import Summary

#: Shapes of inputs that a graph has programs for.
PROGRAMS = 8

#: The shapes and dtypes of all inputs.
Shapes = tuple[tuple[tuple[int, ...], np.dtype] | None, ...]


class Graph(Nodes):
    """A net as a function of NumPy arrays.

    Made by `fastconv.interop.onnx.load` from a file, or by `lower` from a net of `fastconv.nn`. Nothing
    changes it, and any number of threads may call it at once. What follows from the shapes of the inputs is
    settled when they first come, and kept for the last few.

    Parameters
    ----------
    inputs, nodes, outputs, name
        As `Nodes`.
    metadata : mapping of str to str, optional
        What the file says about itself.
    keep : Keep, optional
        Where packed weights are kept: graphs that share weights may share them packed.
    exact : bool, default False
        Only fuse what leaves every result the same to the bit: batch normalisation stays behind its
        convolution.

    Attributes
    ----------
    metadata : dict

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.graph import Graph, Node, Value
    >>> x, y = Value("x", np.dtype(np.float32), ("n",)), Value("y")
    >>> graph = Graph([x], [Node("Relu", [x], [y])], [y])
    >>> graph(np.array([-1, 2], np.float32))
    array([0., 2.], dtype=float32)
    >>> print(graph)
    graph(x: float32[n])
      y = Relu(x)
      return y
    """

    def __init__(
        self,
        inputs: Iterable[Value],
        nodes: Iterable[Node],
        outputs: Iterable[Value],
        name: str = "",
        metadata: Mapping[str, str] | None = None,
        *,
        keep: Keep | None = None,
        exact: bool = False,
    ) -> None:
        super().__init__(inputs, nodes, outputs, name)
        self.metadata = dict(metadata or {})
        self._exact = exact
        self._keep = Keep() if keep is None else keep
        self._fused: Nodes | None = None
        self._programs: OrderedDict[Hashable, Program] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        """The outputs: one array, or a tuple of several.

        Parameters
        ----------
        *arrays : array
            The inputs in order; or one dict of them by name, since names need not be identifiers.
        **named : array
            Inputs by name.

        Raises
        ------
        TypeError, ValueError
            Naming the input, what came and what is wanted; or the node that does not take what reaches it.
        """
        outputs = self.run(self.bound(arrays, named))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The outputs for inputs in order, which nobody has checked."""
        return self.program_of(arrays).run(arrays)

    def program_of(self, arrays: Sequence[Any]) -> Program:
        """How the graph runs for these inputs."""
        channels_last = bool(arrays) and is_channels_last(arrays[0])
        return self.program(_shapes_of(arrays), channels_last)

    def program(self, shapes: Shapes, channels_last: bool = False) -> Program:
        """How the graph runs for inputs of these shapes and dtypes, and in which memory order."""
        key = (shapes, channels_last, get_precision(), get_isa())
        with self._lock:
            program = self._programs.get(key)
            if program is not None:
                self._programs.move_to_end(key)
                return program
        signatures = [UNKNOWN if each is None else Signature(each[1], each[0]) for each in shapes]
        found = specialise(self._ready(), signatures)
        found = found._replace(nodes=fuse(found.nodes, found.outputs, self._keep, self._exact, found.known))
        program = Program(self.inputs, found, self._keep, channels_last, not self._exact)
        with self._lock:
            self._programs[key] = program
            while len(self._programs) > PROGRAMS:
                self._programs.popitem(last=False)
        return program

    def summary(self, *inputs: Any) -> Summary:
        """What runs for inputs of these shapes, node by node; see `fastconv.graph.summary`."""
        from fastconv.graph.summary import summary

        return summary(self, *inputs)

    def profile(self, x: Any, repeats: int = 10) -> Profile:
        """Where the time of a call goes, node by node; see `fastconv.graph.profile`."""
        from fastconv.graph.profile import profile

        return profile(self, x, repeats)

    def picture(self, path: str | PathLike[str] | None = None, *inputs: Any) -> str:
        """The nodes that run as a drawing, in SVG; see `fastconv.graph.picture`."""
        from fastconv.graph.picture import picture

        return picture(self, path, *inputs)

    def _ready(self) -> Nodes:
        """The nodes that are left when all that no input decides has been computed, and fused."""
        with self._lock:
            if self._fused is None:
                found = specialise(self, [UNKNOWN] * len(self.inputs))
                nodes = fuse(found.nodes, found.outputs, self._keep, self._exact)
                self._fused = Nodes(self.inputs, nodes, found.outputs, self.name)
            return self._fused

    def __reduce__(self) -> tuple[Any, ...]:
        told = (self.inputs, self.nodes, self.outputs, self.name, self.metadata)
        return _made_again, (*told, self._keep, self._exact)

    def bound(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        """The arrays in the order of the inputs, each checked."""
        first = arrays[0] if len(arrays) == 1 else None
        if isinstance(first, Mapping):
            arrays, named = (), {**first, **named}
        in_order = self._in_order(arrays, named) if named or len(arrays) != len(self.inputs) else arrays
        sizes: dict[str, tuple[int, str]] = {}
        return [_checked(value, array, sizes) for value, array in zip(self.inputs, in_order)]

    def _in_order(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        """Arrays by position and by name in the order of the inputs, of which none may be missing."""
        names = [value.name for value in self.inputs]
        if not arrays and named.keys() == set(names):
            return [named[name] for name in names]
        if len(arrays) > len(names):
            raise TypeError(
                f"{len(arrays)} arrays given; the graph has {len(names)} inputs: {', '.join(names)}"
            )
        given = dict(zip(names, arrays))
        for name, array in named.items():
            if name not in names:
                raise TypeError(f"{name!r}: the graph has no such input, but {', '.join(map(repr, names))}")
            if name in given:
                raise TypeError(f"{name!r}: given twice, by position and by name")
            given[name] = array
        missing = [name for name in names if name not in given]
        if missing:
            raise TypeError(f"input {', '.join(map(repr, missing))}: not given")
        return [given[name] for name in names]


def _made_again(*told: Any) -> Graph:
    """A graph from a pickle."""
    *first, keep, exact = told
    return Graph(*first, keep=keep, exact=exact)


def _shapes_of(arrays: Sequence[Any]) -> Shapes:
    return tuple((a.shape, a.dtype) if isinstance(a, np.ndarray) else None for a in arrays)


def _checked(value: Value, array: Any, sizes: dict[str, tuple[int, str]]) -> Any:
    """An input as an ndarray of the dtype and shape that are declared; `sizes` are those named so far."""
    if value.dtype is None:
        return array
    if type(array) is np.ndarray and array.dtype == value.dtype and array.shape == value.shape:
        return array
    name = f"input {value.name!r}"
    array = as_ndarray(name, array)
    if array.dtype != value.dtype and not (array.dtype.kind in "OUST" and value.dtype.kind in "OUST"):
        raise TypeError(
            f"{name}: dtype {array.dtype} must be {value.dtype}; .astype(np.{value.dtype}) converts it"
        )
    if value.shape is None:
        return array
    wanted = f"({', '.join('?' if size is None else str(size) for size in value.shape)})"
    if array.ndim != len(value.shape):
        raise ValueError(f"{name}: shape {array.shape} must have {len(value.shape)} axes {wanted}")
    for given, size in zip(array.shape, value.shape):
        if isinstance(size, int) and given != size:
            raise ValueError(f"{name}: shape {array.shape} must be {wanted}")
        if isinstance(size, str):
            known, where = sizes.setdefault(size, (given, value.name))
            if known != given:
                raise ValueError(
                    f"{name}: shape {array.shape} must be {wanted} with {size}={known}, as of input {where!r}"
                )
    return array
