"""A graph as a drawing: the nodes that run from top to bottom, in SVG."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastconv.graph.graph import Graph
from fastconv.graph.ir import Value
from fastconv.graph.layout import Layout, lay_out
from fastconv.graph.operators import (
    activation,
    convolution,
    elementwise,
    indexing,
    matrix,
    movement,
    normalization,
    pooling,
)
from fastconv.graph.summary import Row, Summary, shapes_of, size, summary

#: Of a box, in pixels; between boxes across and down; of an arrow that passes a box; around everything.
WIDTH, HEIGHT, ACROSS, DOWN, POINT, MARGIN = 248, 50, 22, 30, 14, 28

#: Room for the words on top.
HEAD = 112

#: Characters that fit into a box, in its first line and in its second beside a share.
LONG, SHORT = 27, 28

#: What is long, and is known by a shorter name.
SHORTER = {"Normalization": "Norm", "Average": "Avg"}

#: What operators are about: a name, and whose they are. The name is in the legend; colours only repeat it.
FAMILIES: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("product", "convolution, product", (convolution, matrix)),
    ("pool", "pooling", (pooling,)),
    ("norm", "normalisation", (normalization,)),
    ("point", "element by element", (activation, elementwise)),
    ("move", "movement", (movement, indexing)),
    ("other", "other", ()),
)

STYLE = """
svg { background: #ffffff; font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
.paper { fill: #ffffff; }
text { fill: #1b2330; font-size: 13px; }
.big { font-size: 19px; font-weight: 600; }
.op { font-weight: 600; }
.dim { fill: #566173; font-size: 12px; }
.box { fill: #f6f8fa; stroke: #c4ccd8; }
.end { fill: #ffffff; stroke: #566173; stroke-dasharray: 5 3; }
.way { fill: none; stroke: #8b96a8; stroke-width: 1.5; }
.tip { fill: #8b96a8; }
.room { fill: #e3e8ee; }
.product { fill: #2a6fdb; } .pool { fill: #158a62; } .norm { fill: #8250df; }
.point { fill: #bf7a00; } .move { fill: #6e7a8a; } .other { fill: #cf3f5a; }
@media (prefers-color-scheme: dark) {
svg { background: #11151c; }
.paper { fill: #11151c; }
text { fill: #e8ecf3; }
.dim { fill: #a3aebf; }
.box { fill: #1b212b; stroke: #3b4555; }
.end { fill: #11151c; stroke: #a3aebf; }
.way { stroke: #6f7b8e; }
.tip { fill: #6f7b8e; }
.room { fill: #2c3542; }
.product { fill: #5c9bff; } .pool { fill: #35c08d; } .norm { fill: #b18cff; }
.point { fill: #f0a930; } .move { fill: #98a5b6; } .other { fill: #ff7d93; }
}
"""


class _Box(NamedTuple):
    """What stands in a box: `share` is None for inputs and outputs."""

    family: str
    title: str
    below: str
    share: float | None
    hint: str


def picture(graph: Graph, path: str | os.PathLike[str] | None = None, *inputs: Any) -> str:
    """The nodes that run for inputs of given shapes, as a drawing.

    Parameters
    ----------
    graph : Graph
    path : path of a file to write, optional
    *inputs : array or tuple of int
        As `fastconv.graph.summary.summary`.

    Returns
    -------
    str
        An SVG document, for light and dark screens. A box has the operator with what is fused into it, the
        shape that it makes, the algorithm of a convolution or a dtype that is not float32, its share of the
        FLOPs in figures and as a bar (the longest is the node that has most); pointing at it shows its name,
        FLOPs and bytes.

    Raises
    ------
    TypeError, ValueError
        As `summary`.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.graph import Graph, Node, Value
    >>> x, y = Value("x", np.dtype(np.float32), ("n",)), Value("y")
    >>> Graph([x], [Node("Relu", [x], [y])], [y]).picture(None, (8,))[:4]
    '<svg'
    """
    found = summary(graph, *inputs)
    shapes, channels_last = shapes_of(graph, inputs)
    program = graph.program(shapes, channels_last).found
    boxes, arrows = _drawn(graph, found, program.nodes, program.outputs)
    layout = lay_out(len(boxes), arrows, WIDTH, POINT, ACROSS)
    text = _svg(graph.name or "graph", found, boxes, layout)
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def _drawn(
    graph: Graph, found: Summary, nodes: Sequence[Any], outputs: Sequence[Value]
) -> tuple[list[_Box], list[tuple[int, int]]]:
    """Boxes of inputs, nodes and outputs, and the arrows between them."""
    boxes: list[_Box] = []
    arrows: list[tuple[int, int]] = []
    maker: dict[Value, int] = {}
    for value, (name, shape) in zip(graph.inputs, found.inputs):
        maker[value] = len(boxes)
        boxes.append(_Box("", name or "input", f"input {_shape(shape)}", None, "an input of the graph"))
    total = found.flops or 1
    for node, row in zip(nodes, found.rows):
        read = dict.fromkeys(maker[value] for value in node.inputs if value in maker)
        arrows += [(start, len(boxes)) for start in read]
        for value in node.outputs:
            if value is not None:
                maker[value] = len(boxes)
        boxes.append(_node(row, total))
    for value in outputs:
        if value in maker:
            arrows.append((maker[value], len(boxes)))
        boxes.append(_Box("", value.name or "output", "output", None, "an output of the graph"))
    return boxes, arrows


def _node(row: Row, total: int) -> _Box:
    share = row.flops / total
    told = [f"{row.title}: {row.name}", f"{_shape(row.shape)} {row.dtype or ''}, {size(row.nbytes)}"]
    told.append(f"{row.flops:,} FLOPs, {share:.2%} of all")
    if row.algorithm:
        told.append(f"algorithm: {row.algorithm}")
    title, below = row.title, _shape(row.shape)
    for long, short in SHORTER.items():
        title = title.replace(long, short)
    if row.algorithm:
        below += f" · {row.algorithm}"
    elif row.dtype is not None and row.dtype != np.float32:
        below += f" · {row.dtype}"
    return _Box(_family(row.operator), title, below, share, "\n".join(told))


def _family(operator: str) -> str:
    if operator in ("Identity", "Cast"):
        return "move"
    return next(
        (name for name, _, parts in FAMILIES if any(operator in part.OPERATORS for part in parts)), "other"
    )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "shape ?" if shape is None else "×".join(map(str, shape)) or "scalar"  # noqa: RUF001


# ---- SVG ----------------------------------------------------------------------------------------------


def _svg(name: str, found: Summary, boxes: Sequence[_Box], layout: Layout) -> str:
    legend = _legend({box.family for box in boxes})
    width = round(max(layout.width, 620) + 2 * MARGIN)
    height = HEAD + layout.layers * (HEIGHT + DOWN) - DOWN + 2 * MARGIN
    shift = (width - layout.width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(name)}">',
        f"<title>{escape(name)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        *_head(name, found),
        *legend,
    ]
    parts += _ways(layout, shift)
    largest = max((box.share or 0.0 for box in boxes), default=0.0)
    for spot, box in zip(layout.spots, boxes):
        parts.append(_box(spot.x + shift - WIDTH / 2, _top(spot.layer), box, largest))
    return "\n".join([*parts, "</svg>", ""])


def _head(name: str, found: Summary) -> list[str]:
    """What the whole graph is."""
    counted = f"{len(found.rows)} of {found.nodes} nodes run"
    figures = f"{found.parameters:,} parameters · {found.flops:,} FLOPs · {size(found.peak_bytes)} of memory"
    return [
        f'<text class="big" x="{MARGIN}" y="{MARGIN + 16}">{escape(_cut(name, 48))}</text>',
        f'<text class="dim" x="{MARGIN}" y="{MARGIN + 38}">{counted} · {figures}</text>',
    ]


def _legend(present: set[str]) -> list[str]:
    x, y, parts = float(MARGIN), MARGIN + 62, []
    for family, text, _ in FAMILIES:
        if family in present:
            parts.append(f'<rect class="{family}" x="{x:g}" y="{y - 10}" width="12" height="12" rx="3"/>')
            parts.append(f'<text class="dim" x="{x + 18:g}" y="{y}">{text}</text>')
            x += 34 + 6.6 * len(text)
    return parts


def _top(layer: int) -> float:
    return HEAD + MARGIN + layer * (HEIGHT + DOWN)


def _ways(layout: Layout, shift: float) -> list[str]:
    """Arrows, each from its own place below a box to its own place above one."""
    leaving: dict[int, list[tuple[float, int]]] = {}
    coming: dict[int, list[tuple[float, int]]] = {}
    for number, way in enumerate(layout.ways):
        leaving.setdefault(way[0], []).append((layout.spots[way[1]].x, number))
        coming.setdefault(way[-1], []).append((layout.spots[way[-2]].x, number))
    starts = {number: offset for ends in leaving.values() for number, offset in _spread(ends)}
    stops = {number: offset for ends in coming.values() for number, offset in _spread(ends)}
    parts = []
    for number, way in enumerate(layout.ways):
        first, last = layout.spots[way[0]], layout.spots[way[-1]]
        x, y = first.x + shift + starts[number], _top(first.layer) + HEIGHT
        path = [f"M{x:.1f} {y:g}"]
        for i in way[1:-1]:
            spot = layout.spots[i]
            path.append(_bend(x, y, spot.x + shift, _top(spot.layer)))
            x, y = spot.x + shift, _top(spot.layer) + HEIGHT
            path.append(f"V{y:g}")
        end, top = last.x + shift + stops[number], _top(last.layer)
        path.append(_bend(x, y, end, top - 6))
        parts.append(f'<path class="way" d="{"".join(path)}"/>')
        tip = f"M{end:.1f} {top - 1:g}l-4 -7h8z"
        parts.append(f'<path class="tip" d="{tip}"/>')
    return parts


def _spread(ends: list[tuple[float, int]]) -> list[tuple[int, float]]:
    """Places along the edge of a box, in the order in which arrows come."""
    step = min(22.0, (WIDTH - 40) / len(ends))
    return [(number, (k - (len(ends) - 1) / 2) * step) for k, (_, number) in enumerate(sorted(ends))]


def _bend(x: float, y: float, to_x: float, to_y: float) -> str:
    if abs(x - to_x) < 0.5:
        return f"L{to_x:.1f} {to_y:g}"
    half = (y + to_y) / 2
    return f"C{x:.1f} {half:g} {to_x:.1f} {half:g} {to_x:.1f} {to_y:g}"


def _box(x: float, y: float, box: _Box, largest: float) -> str:
    hint = f"<title>{escape(box.hint)}</title>"
    if box.share is None:
        middle = x + WIDTH / 2
        return (
            f'<g>{hint}<rect class="end" x="{x:.1f}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="25"/>'
            f'<text class="op" text-anchor="middle" x="{middle:.1f}" y="{y + 21:g}">'
            f"{escape(_cut(box.title, LONG))}</text>"
            f'<text class="dim" text-anchor="middle" x="{middle:.1f}" y="{y + 38:g}">'
            f"{escape(box.below)}</text></g>"
        )
    right, long = x + WIDTH - 10, WIDTH - 26
    bar = long * box.share / largest if largest else 0.0
    share = "<0.1%" if 0 < box.share < 0.001 else f"{box.share:.1%}" if box.share else ""
    parts = [
        f'<g>{hint}<rect class="box" x="{x:.1f}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        f'<rect class="{box.family}" x="{x:.1f}" y="{y:g}" width="6" height="{HEIGHT}" rx="3"/>',
        f'<text class="op" x="{x + 16:.1f}" y="{y + 18:g}">{escape(_cut(box.title, LONG))}</text>',
        f'<text class="dim" x="{x + 16:.1f}" y="{y + 35:g}">{escape(_cut(box.below, SHORT))}</text>',
        f'<text class="dim" text-anchor="end" x="{right:.1f}" y="{y + 35:g}">{escape(share)}</text>',
    ]
    if box.share:
        at = f'x="{x + 16:.1f}" y="{y + 42:g}" height="3"'
        parts.append(f'<rect class="room" {at} width="{long}"/>')
        parts.append(f'<rect class="{box.family}" {at} width="{max(bar, 1):.1f}"/>')
    return "".join([*parts, "</g>"])


def _cut(text: str, length: int) -> str:
    """Text that fits, its end told by dots."""
    return text if len(text) <= length else text[: length - 1] + "…"
