"""See what a net does: every map, every cell, backwards, and whether the order of its input matters.

`walk` takes one input through a net and keeps every step; what it returns answers questions as arrays.
`write_page` makes a page of it to look at, `draw` a picture. `order_sensitivity` measures whether data are
for ConvNets at all.

>>> from fastconv import explain
>>> seen = explain.deck_walk("X")
>>> seen.cell(1, (0, 1, 1)).sum, seen.cell(1, (0, 1, 1)).divisor
(9.0, 9)
"""

from fastconv.explain.cases import Cases, cases_of
from fastconv.explain.cells import Cell, Voters, Windows
from fastconv.explain.curve import WeightCurve
from fastconv.explain.deck import deck_net, deck_walk
from fastconv.explain.gradients import Gradients
from fastconv.explain.learner import Learner, fully_connected
from fastconv.explain.occlusion import Occlusion, occlude
from fastconv.explain.order import OrderSensitivity, order_sensitivity
from fastconv.explain.order_picture import draw_order
from fastconv.explain.page import page_of, write_page
from fastconv.explain.picture import draw
from fastconv.explain.steps import Match
from fastconv.explain.walk import Map, Walk, walk

__all__ = [
    "Cases",
    "Cell",
    "Gradients",
    "Learner",
    "Map",
    "Match",
    "Occlusion",
    "OrderSensitivity",
    "Voters",
    "Walk",
    "WeightCurve",
    "Windows",
    "cases_of",
    "deck_net",
    "deck_walk",
    "draw",
    "draw_order",
    "fully_connected",
    "occlude",
    "order_sensitivity",
    "page_of",
    "walk",
    "write_page",
]
