"""Nets made ready for inference: a copy of the net in which layers with weights have packed them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.stand_in import StandIn, take_role
from fastconv.nn.parameter import Buffer

_SAYS_HOW = ("__call__", "_packed")


class Prepared:
    """A net made ready for inference, as it was when `Layer.prepare` made this; call it as the net.

    Several threads may call it at once, with inputs of any shape that the net takes. It can be pickled; the
    packed forms are made again where it is loaded. Nothing changes it, so a copy is the object itself.

    Notes
    -----
    It holds one copy of each weight, no gradients, and the packed forms that calls have needed: mostly one
    per weight, about as large. The original net is not kept. The copy is what other forms are packed from
    (another memory order, precision or instruction set), and what a pickle holds.
    """

    def __init__(self, layer: Layer) -> None:
        self._net = _ready(layer)

    def __call__(self, *inputs: Any) -> Any:
        """What the net gives for these inputs, to the bit."""
        return self._net(*inputs)

    def __copy__(self) -> Prepared:
        return self

    def __deepcopy__(self, memo: Any) -> Prepared:
        return self

    def __repr__(self) -> str:
        return f"Prepared({self._net!r})"


class _Packed(StandIn):
    """Calling it calls the packed form."""

    def __call__(self, *arguments: Any) -> np.ndarray:
        result: np.ndarray = vars(self)["_run"](*arguments)
        return result


def _ready(net: Layer) -> Layer:
    """A copy of a net that computes what it does now; a layer in several places is packed once."""
    copies: dict[int, Any] = {id(buffer): buffer.snapshot() for buffer in net.named_buffers().values()}

    def constant(buffer: Buffer) -> np.ndarray:
        """The copy of a value, which nobody can write to any more."""
        value: np.ndarray = copies[id(buffer)].value
        value.flags.writeable = False
        return value

    for _, layer in net.walk():
        for each in (layer, *layer._variants()):
            packed = each._packed(constant) if _says_how(type(each)) else None
            if packed is not None:
                take_role(_Packed, copy.deepcopy(each, copies), _run=packed)
    return copy.deepcopy(net, copies)


def _says_how(layer_class: type) -> bool:
    """Whether a class packs what it calls for: a subclass that calls for something else has not said how."""
    family = layer_class.__mro__
    called, packed = (next(i for i, c in enumerate(family) if name in vars(c)) for name in _SAYS_HOW)
    return packed <= called
