"""A page of line charts: one file, no scripts, nothing fetched; light and dark, on paper and on phones."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Line = list[float]

#: Of a chart: its size, and the room around it for numbers.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 320, 170, 52, 8, 8, 22

#: How lines differ, other than by colour.
DASHES = ("", "6 3", "2 3")

STYLE = """
:root { color-scheme: light dark;
  --ink: #1c1c1c; --paper: #ffffff; --faint: #8a8a8a; --a: #1b4f8a; --b: #b2432b }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181c; --faint: #8f959e; --a: #8bb8f0; --b: #f0a58b }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 1.5rem auto;
  max-width: 72rem; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
p { overflow-wrap: anywhere }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: 1rem }
figure { margin: 0; break-inside: avoid } figcaption { font-size: .85rem; overflow-wrap: anywhere }
svg { width: 100%; height: auto } svg text { fill: var(--faint); font-size: 10px }
.frame { fill: none; stroke: var(--faint); stroke-width: .5 }
.line { fill: none; stroke-width: 1.5 } .l0 { stroke: var(--a) } .l1 { stroke: var(--b) }
.band { fill: var(--a); opacity: .25 } .dot0 { fill: var(--a) } .dot1 { fill: var(--b) }
"""


@dataclass(frozen=True)
class Band:
    """Lowest, mean and highest, one of each per epoch."""

    low: Line
    mean: Line
    high: Line


@dataclass(frozen=True)
class Chart:
    """Lines over the epochs from `first` on, and maybe a band between lowest and highest."""

    title: str
    lines: Mapping[str, Line]
    band: Band | None = None
    logarithmic: bool = False
    first: int = 1


def page(title: str, intro: Sequence[str], charts: Mapping[str, Sequence[Chart]]) -> str:
    """The page as HTML; whatever is named in it is escaped.

    Examples
    --------
    >>> from fastconv.train.report_page import Chart, page
    >>> text = page("a < b", ["one"], {"Over time": [Chart("loss", {"held out": [2.0, 1.0]})]})
    >>> "a &lt; b" in text, "<script" in text, text.count("<svg")
    (True, False, 1)
    """
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body><h1>{_text(title)}</h1>",
        *(f"<p>{_text(line)}</p>" for line in intro),
    ]
    for heading, group in charts.items():
        drawn = [each for each in group if each.band or any(each.lines.values())]
        if drawn:
            parts.append(f'<h2>{_text(heading)}</h2><div class="charts">')
            parts += map(_figure, drawn)
            parts.append("</div>")
    parts.append("</body></html>\n")
    return "\n".join(parts)


def _text(text: str) -> str:
    return html.escape(text.encode("utf-8", "backslashreplace").decode())


def _figure(chart: Chart) -> str:
    lines = {name: line for name, line in chart.lines.items() if line}
    columns = list(lines.values()) + ([chart.band.low, chart.band.high] if chart.band else [])
    values = [value for column in columns for value in column if _drawable(value, chart.logarithmic)]
    scale = _Scale(values, max(map(len, columns)), chart.logarithmic, chart.first)
    told = "; ".join(f"{name} {line[-1]:.4g}" for name, line in lines.items())
    if chart.band:
        told = f"{chart.band.low[-1]:.3g} to {chart.band.high[-1]:.3g}, mean {chart.band.mean[-1]:.3g}"
    label = _text(f"{chart.title}: at the end {told}")
    parts = [
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
        scale.frame(),
    ]
    if chart.band:
        there = [*scale.points(chart.band.high), *reversed(scale.points(chart.band.low))]
        parts.append(f'<polygon class="band" points="{_joined(there)}"/>')
        lines = {"mean": chart.band.mean}
    for number, (name, line) in enumerate(lines.items()):
        points, color = scale.points(line), number % 2
        dashes = f' stroke-dasharray="{DASHES[number % 3]}"' if DASHES[number % 3] else ""
        if len(points) == 1:
            x, y = points[0]
            parts.append(f'<circle class="dot{color}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>')
        drawn = f'<polyline class="line l{color}"{dashes} points="{_joined(points)}">'
        parts.append(f"{drawn}<title>{_text(name)}</title></polyline>")
    key = ""
    if len(lines) > 1:
        key = (
            " ("
            + ", ".join(f"{('solid', 'dashed', 'dotted')[i % 3]}: {_text(n)}" for i, n in enumerate(lines))
            + ")"
        )
    parts.append(f"</svg><figcaption><b>{_text(chart.title)}</b>{key}<br>{told}</figcaption></figure>")
    return "".join(parts)


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _drawable(value: float, logarithmic: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not logarithmic)


class _Scale:
    """From epochs and values to places in a chart."""

    def __init__(self, values: Sequence[float], epochs: int, logarithmic: bool, first: int) -> None:
        self.logarithmic, self.epochs, self.first = logarithmic, epochs, first
        made = [self._on_axis(value) for value in values] or [0.0]
        self.low, self.high = min(made), max(made)
        if self.high - self.low < 1e-12 * max(1.0, abs(self.high)):
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def _on_axis(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def points(self, line: Line) -> list[tuple[float, float]]:
        """Where the values of a line are; those that are not finite are left out."""
        across = (WIDTH - LEFT - RIGHT) / max(1, self.epochs - 1)
        down = (HEIGHT - TOP - BOTTOM) / (self.high - self.low)
        return [
            (LEFT + i * across, TOP + (self.high - self._on_axis(value)) * down)
            for i, value in enumerate(line)
            if _drawable(value, self.logarithmic)
        ]

    def frame(self) -> str:
        """The frame, and the numbers at its ends."""
        ends = [10**end if self.logarithmic else end for end in (self.low, self.high)]
        bottom, width = HEIGHT - BOTTOM, WIDTH - LEFT - RIGHT
        last = self.first + self.epochs - 1
        return (
            f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{width}" height="{bottom - TOP}"/>'
            f'<text x="{LEFT - 4}" y="{TOP + 9}" text-anchor="end">{ends[1]:.3g}</text>'
            f'<text x="{LEFT - 4}" y="{bottom}" text-anchor="end">{ends[0]:.3g}</text>'
            f'<text x="{LEFT}" y="{HEIGHT - 8}">{self.first}</text>'
            f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">epoch {last}</text>'
        )
