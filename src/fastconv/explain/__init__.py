"""See what a net does: every map, every cell, backwards, and whether the order of its input matters.

`walk` takes one input through a net and keeps every step; what it returns answers questions as arrays.
`write_page` makes a page of it to look at, `draw` a picture. `order_sensitivity` measures whether data are
for ConvNets at all.

>>> from fastconv import explain
>>> seen = explain.deck_walk("X")
>>> seen.cell(1, (0, 1, 1)).sum, seen.cell(1, (0, 1, 1)).divisor
(9.0, 9)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastconv.explain.cases import Cases, cases_of
    from fastconv.explain.cells import Cell, Voters, Windows
    from fastconv.explain.curve import WeightCurve
    from fastconv.explain.deck import deck_net, deck_walk
    from fastconv.explain.gradients import Gradients
    from fastconv.explain.learner import Learner, fully_connected
    from fastconv.explain.occlusion import Occlusion, occlude
    from fastconv.explain.order import OrderSensitivity, order_sensitivity
    from fastconv.explain.order_picture import draw_order, draw_orders
    from fastconv.explain.page import page_of, write_page
    from fastconv.explain.picture import draw
    from fastconv.explain.steps import Match
    from fastconv.explain.walking import Map, Walk, walk

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
    "draw_orders",
    "fully_connected",
    "occlude",
    "order_sensitivity",
    "page_of",
    "walk",
    "write_page",
]

#: Where each of them is; a module is imported when something of it is asked for.
_MODULES = {
    "Cases": "cases",
    "cases_of": "cases",
    "Cell": "cells",
    "Voters": "cells",
    "Windows": "cells",
    "WeightCurve": "curve",
    "deck_net": "deck",
    "deck_walk": "deck",
    "Gradients": "gradients",
    "Learner": "learner",
    "fully_connected": "learner",
    "Occlusion": "occlusion",
    "occlude": "occlusion",
    "OrderSensitivity": "order",
    "order_sensitivity": "order",
    "draw_order": "order_picture",
    "draw_orders": "order_picture",
    "page_of": "page",
    "write_page": "page",
    "draw": "picture",
    "Match": "steps",
    "Map": "walking",
    "Walk": "walking",
    "walk": "walking",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
