"""Where the boxes of a drawing stand: in layers, so that every arrow points down.

Sugiyama, Tagawa & Toda, "Methods for visual understanding of hierarchical system structures", IEEE Trans. SMC
11 (1981): a layer for each box, points where an arrow passes a layer, an order within each layer that has few
crossings, places that make arrows straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

#: How often all layers are put in order, and in place.
SWEEPS, PLACINGS = 12, 60

#: How much an arrow wants to be straight: between boxes, from a box to a point on its way, between points.
STRAIGHTNESS = (1.0, 2.0, 8.0)


@dataclass
class Spot:
    """A box, or a point where an arrow passes a layer.

    Attributes
    ----------
    width : float
    is_box : bool
    layer : int
    x : float
        Of its middle.
    above, below : list of int
        Its neighbours.
    """

    width: float
    is_box: bool
    layer: int
    x: float = 0.0
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)


@dataclass
class Layout:
    """What `lay_out` found: boxes come first among the spots; a way is an arrow's spots with both ends."""

    spots: list[Spot]
    ways: list[list[int]]
    layers: int
    width: float


def lay_out(count: int, arrows: Sequence[tuple[int, int]], width: float, point: float, gap: float) -> Layout:
    """Places for boxes of one width.

    Parameters
    ----------
    count : int
        Boxes, numbered such that each arrow leads from a lower number to a higher one.
    arrows : sequence of (int, int)
    width, point, gap : float
        Of a box, of an arrow that passes, and between two of them.
    """
    spots = [Spot(width, True, layer) for layer in _layers(count, arrows)]
    ways = []
    for start, end in arrows:
        way = [start]
        for layer in range(spots[start].layer + 1, spots[end].layer):
            way.append(len(spots))
            spots.append(Spot(point, False, layer))
        way.append(end)
        for a, b in pairwise(way):
            spots[a].below.append(b)
            spots[b].above.append(a)
        ways.append(way)
    rows: list[list[int]] = [[] for _ in range(max((spot.layer for spot in spots), default=-1) + 1)]
    for i, spot in enumerate(spots):
        rows[spot.layer].append(i)
    _order(spots, rows)
    _place(spots, rows, gap)
    left = min((spot.x - spot.width / 2 for spot in spots), default=0.0)
    for spot in spots:
        spot.x -= left
    return Layout(spots, ways, len(rows), max((spot.x + spot.width / 2 for spot in spots), default=0.0))


def _layers(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    """A layer below all that a box reads; what nothing leads to stands above its first reader."""
    layers = [0] * count
    readers: list[list[int]] = [[] for _ in range(count)]
    has_source = [False] * count
    for start, end in sorted(arrows):
        layers[end] = max(layers[end], layers[start] + 1)
        readers[start].append(end)
        has_source[end] = True
    for i in range(count):
        if not has_source[i] and readers[i]:
            layers[i] = min(layers[reader] for reader in readers[i]) - 1
    return layers


def _order(spots: list[Spot], rows: list[list[int]]) -> None:
    """An order in each layer with few crossings: each spot where its neighbours are, again and again."""
    place = {i: k for row in rows for k, i in enumerate(row)}
    best, fewest = [list(row) for row in rows], _crossings(spots, rows, place)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            wanted = {}
            for i in row:
                near = spots[i].above if down else spots[i].below
                wanted[i] = sum(place[k] for k in near) / len(near) if near else place[i]
            row.sort(key=lambda i: wanted[i])
            place.update((i, k) for k, i in enumerate(row))
        found = _crossings(spots, rows, place)
        if found < fewest:
            best, fewest = [list(row) for row in rows], found
    for row, kept in zip(rows, best):
        row[:] = kept


def _crossings(spots: list[Spot], rows: list[list[int]], place: dict[int, int]) -> int:
    """Pairs of arrows between neighbouring layers that cross."""
    total = 0
    for row in rows:
        ends = [k for i in row for k in sorted(place[below] for below in spots[i].below)]
        total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def _place(spots: list[Spot], rows: list[list[int]], gap: float) -> None:
    """Places in each layer: as near as can be to where the neighbours stand."""
    for row in rows:
        x = 0.0
        for i in row:
            spots[i].x = x + spots[i].width / 2
            x += spots[i].width + gap
        for i in row:
            spots[i].x -= x / 2
    for sweep in range(PLACINGS):
        last = sweep >= PLACINGS - 6
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wanted, weights = [], []
            for i in row:
                near = spots[i].above if sweep % 2 == 0 else spots[i].below
                if last:
                    near = [*spots[i].above, *spots[i].below]
                pulls = [
                    (spots[k].x, STRAIGHTNESS[(not spots[i].is_box) + (not spots[k].is_box)]) for k in near
                ]
                weight = sum(pull for _, pull in pulls)
                wanted.append(sum(x * pull for x, pull in pulls) / weight if pulls else spots[i].x)
                weights.append(weight or 0.1)
            _settle([spots[i] for i in row], wanted, weights, gap)
    for i in (i for row in rows for i in row):  # what is nearly below the one above it stands below it
        if len(spots[i].above) == 1 and abs(spots[i].x - spots[spots[i].above[0]].x) < gap / 4:
            spots[i].x = spots[spots[i].above[0]].x


def _settle(row: list[Spot], wanted: list[float], weights: list[float], gap: float) -> None:
    """Least squares under the condition that nothing overlaps: neighbours that would are moved as one.

    Best, Chakravarti & Ubhaya, "Minimizing separable convex functions subject to simple chain constraints",
    SIAM J. Optim. 10 (2000): pool adjacent violators.
    """
    offsets, total = [], 0.0
    for k, spot in enumerate(row):
        if k:
            total += (row[k - 1].width + spot.width) / 2 + gap
        offsets.append(total)
    groups: list[tuple[float, float, int]] = []  # mean, weight, count
    for want, weight, offset in zip(wanted, weights, offsets):
        mean, count = want - offset, 1
        while groups and groups[-1][0] > mean:
            other, more, others = groups.pop()
            mean = (mean * weight + other * more) / (weight + more)
            weight, count = weight + more, count + others
        groups.append((mean, weight, count))
    k = 0
    for mean, _, count in groups:
        for _ in range(count):
            row[k].x = mean + offsets[k]
            k += 1
