"""What a layer of one's own does with the layers inside it, seen by running it once."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import call, together
from fastconv.nn.layers.stand_in import Copies, StandIn, take_role


class _Watched(StandIn):
    """Notes what it is called with, and lets the original answer: what that calls is not noted again."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        path, layer, notes = vars(self)["_watch"]
        shapes = [tuple(value.shape) for value in arguments if hasattr(value, "shape")]
        if shapes:
            notes.append((path, layer, together(shapes)))
        return layer(*arguments, **options)


def observe(layer: Layer, inputs: tuple[np.ndarray, ...]) -> list[tuple[str, Layer, Any]]:
    """(path, layer, shape of its input) of the layers that calling `layer` calls, in that order.

    A copy is run, in which the layers inside are watched, so others may use the layer meanwhile.
    """
    notes: list[tuple[str, Layer, Any]] = []
    paths = {id(inner): path.rstrip(".") for path, inner in layer.walk()}
    copies = Copies()

    def watched(value: Any) -> Any:
        if not isinstance(value, Layer):
            return value
        twin = copies.of(value, watched)
        if value is not layer and not isinstance(twin, StandIn):
            take_role(_Watched, twin, _watch=(paths.get(id(value), ""), value, notes))
        return twin

    twin = copies.of(layer, watched)
    with np.errstate(all="ignore"):
        call(twin, inputs)
    return notes
