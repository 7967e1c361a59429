"""What a net consists of, as a table: layers, shapes, parameters, FLOPs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastconv.geometry import whole_number
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import ValueShape, each_shape, together
from fastconv.nn.parameter import Buffer, Parameter
from fastconv.tables import table


@dataclass(frozen=True)
class Row:
    """One layer of a net.

    Attributes
    ----------
    path : str
        Where it stands: "", "0", "2.1".
    text : str
        Its repr; of a layer that holds others only the name.
    output_shape : tuple of int
        Of several outputs, a tuple of shapes.
    parameters : int
        Numbers learned, its own and those of layers inside.
    flops : int
        For one input of the shape asked about.
    shared : bool
        The layer has stood further up already: its parameters are not counted again.
    """

    path: str
    text: str
    output_shape: ValueShape
    parameters: int
    flops: int
    shared: bool


@dataclass(frozen=True)
class Summary:
    """A table of a net's layers; `print` it. The first row is the net itself, with the totals.

    Attributes
    ----------
    input_shape : tuple of int
        Of several inputs, a tuple of shapes.
    rows : tuple of Row
        The net, then the layers inside in the order they run, each before the layers inside it.
    parameters, buffers : int
        Numbers learned, and numbers kept beside them, each counted once.
    flops : int
        Multiplications, additions, comparisons and function values for one input of this shape.
    """

    input_shape: ValueShape
    rows: tuple[Row, ...]
    parameters: int
    buffers: int
    flops: int

    def __str__(self) -> str:
        lines = [("layer", "output shape", "parameters", "FLOPs")]
        around: list[str] = []  # what the layer stands in, ends of paths of the rows above
        for row in self.rows:
            while around and not f"{row.path}.".startswith(around[-1]):
                around.pop()
            name = row.path[len(around[-1]) :] if around else row.path
            label = "  " * len(around) + (f"{name} {row.text}" if name else row.text)
            around.append(f"{row.path}." if row.path else "")
            count = "shared" if row.shared and row.parameters else f"{row.parameters:,}"
            lines.append((label, str(row.output_shape), count, f"{row.flops:,}"))
        kept = f" and {self.buffers:,} kept" if self.buffers else ""
        told = f"input {self.input_shape}: {self.parameters:,} parameters{kept}, {self.flops:,} FLOPs"
        return "\n".join([*table(lines, "<<>>"), told])


def summary(net: Layer, input_shape: Any) -> Summary:
    """Shapes, parameters and FLOPs of a net for inputs of one shape.

    Works on shapes and computes nothing, but for layers of one's own: those that do not say what shape they
    make (`output_shape`) or what they call (`trace`) are run with zeros.

    Parameters
    ----------
    net : Layer
    input_shape : tuple of int
        Batch included: (1, 1, 9, 9). Of a net with several inputs a tuple of shapes.

    Returns
    -------
    Summary
        With a table as its `str`.

    Raises
    ------
    TypeError, ValueError
        No layer, no shape, or a shape that the net does not take.

    Examples
    --------
    >>> from fastconv import nn
    >>> print(nn.summary(nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(147, 2)), (1, 1, 9, 9)))
    layer                                                     output shape  parameters  FLOPs
    -----------------------------------------------------------------------------------------
    Sequential                                                (1, 2)               326  3,234
      0 Conv2d(in_channels=1, out_channels=3, kernel_size=3)  (1, 3, 7, 7)          30  2,646
      1 Flatten()                                             (1, 147)               0      0
      2 Linear(in_features=147, out_features=2)               (1, 2)               296    588
    -----------------------------------------------------------------------------------------
    input (1, 1, 9, 9): 326 parameters, 3,234 FLOPs
    """
    if not isinstance(net, Layer):
        raise TypeError(f"net: must be a layer, not {type(net).__name__}")
    if not isinstance(input_shape, (tuple, list)):
        raise TypeError(f"input_shape={input_shape!r}: must be a shape, batch included")
    shape = together(
        [tuple(whole_number("input_shape", size, 1) for size in one) for one in each_shape(input_shape)]
    )
    rows: list[Row] = []
    _add_rows(rows, set(), "", net, shape)
    buffers = net.named_buffers().values()
    return Summary(
        shape,
        tuple(rows),
        _count(net),
        sum(buffer.value.size for buffer in buffers if not isinstance(buffer, Parameter)),
        net.flops(shape),
    )


def _add_rows(rows: list[Row], seen: set[int], path: str, layer: Layer, input_shape: Any) -> None:
    inner = layer.trace(input_shape)
    text = type(layer).__name__ if inner else repr(layer)
    shape, flops = layer.output_shape(input_shape), layer.flops(input_shape)
    rows.append(Row(path, text, tuple(shape), _count(layer), flops, id(layer) in seen))
    seen.add(id(layer))
    for name, child, child_shape in inner:
        _add_rows(rows, seen, f"{path}.{name}" if path else name, child, child_shape)


def _count(layer: Layer) -> int:
    buffers: list[Buffer] = list(layer.parameters())
    return sum(buffer.value.size for buffer in buffers)
