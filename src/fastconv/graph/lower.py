"""Nets as graphs: what a layer's own way into the graph is written with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastconv.graph.graph import Graph
from fastconv.graph.ir import Node, Value
from fastconv.graph.keep import Keep


class Builder:
    """A graph that is being written, node by node.

    Parameters
    ----------
    constant : function
        Gives the array of a parameter or buffer, which nobody writes to any more.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.graph.lower import Builder
    >>> builder = Builder(np.asarray)
    >>> x = builder.input("x", np.dtype(np.float32))
    >>> y = builder.add("Relu", x)
    >>> builder.graph([y])(np.array([-1, 2], np.float32))
    array([0., 2.], dtype=float32)
    """

    def __init__(self, constant: Callable[[Any], np.ndarray]) -> None:
        self._constant = constant
        self._inputs: list[Value] = []
        self._nodes: list[Node] = []
        self._where: list[str] = []

    def input(self, name: str, dtype: np.dtype | None = None) -> Value:
        """A further input."""
        self._inputs.append(Value(name, dtype))
        return self._inputs[-1]

    def constant(self, buffer: Any) -> Value | None:
        """A parameter or buffer; None stays None."""
        return None if buffer is None else Value.of(self._constant(buffer))

    def array(self, array: np.ndarray) -> Value:
        """A constant that is no parameter."""
        return Value.of(array)

    def add(self, operator: str, *inputs: Value | None, **attributes: Any) -> Value:
        """A node with one output."""
        value = Value(f"v{len(self._nodes)}")
        self._nodes.append(Node(operator, inputs, [value], attributes, ".".join(self._where)))
        return value

    def apply(
        self,
        function: Callable[..., np.ndarray],
        shape: Callable[[tuple[int, ...]], Any],
        *inputs: Value | None,
        settings: tuple[Any, ...] = (),
    ) -> Value:
        """A node that calls a function of arrays and settings, which makes a new array.

        `shape` gives the output's shape from the first input's.
        """
        return self.add("Function", *inputs, function=function, shape=shape, settings=settings)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Nodes added meanwhile are called after this place."""
        self._where.append(name)
        try:
            yield
        finally:
            self._where.pop()

    def graph(self, outputs: Sequence[Value], keep: Keep | None = None, exact: bool = False) -> Graph:
        """The graph as it has been written; see `Graph` for the options."""
        return Graph(self._inputs, self._nodes, outputs, keep=keep, exact=exact)
