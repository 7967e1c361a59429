"""A net as it trains when only some of its parameters are learned: the rest of it stays as it is.

What is wanted is decided once, by a copy of the net that shares all arrays: layers of which nothing is
learned are *frozen* in it, which means that they run as in inference and nobody asks for their gradients.
"""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Collection
from contextvars import ContextVar
from typing import Any

import numpy as np

from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import Backprop, ParameterBackprop, each, takes_training, together
from fastconv.nn.layers.inside import Contents
from fastconv.nn.layers.stand_in import Copies, StandIn, stand_in, take_role
from fastconv.nn.parameter import Buffer, Held, Parameter


def learner_of(net: Layer, wanted: Collection[Parameter]) -> Layer:
    """`net` if all its parameters are `wanted`, else a copy in which the others stay as they are.

    - A layer that has parameters, none of them wanted, is frozen with all that is inside it: batch norm by
      its running statistics, dropout off, no gradients added, none computed in front of all that learns.
    - A layer with some wanted parameters trains; the gradients of the others are not computed.
    - A layer without parameters trains, unless it stands inside a frozen one.
    """
    return _Freezing(wanted).kept(net)  # type: ignore[no-any-return]


class _Freezing:
    """The copies that one net needs."""

    def __init__(self, wanted: Collection[Parameter]) -> None:
        self._wanted = set(map(id, wanted))
        self._training, self._frozen = Copies(), Copies()
        self._held: dict[int, Held] = {}
        self._in_front: dict[int, Layer] = {}

    def kept(self, value: Any) -> Any:
        """What a layer, parameter or buffer is where only what is wanted learns."""
        if isinstance(value, Buffer):
            learns = id(value) in self._wanted or not isinstance(value, Parameter)
            return value if learns else self.frozen(value)
        parameters = value.parameters()
        count = sum(id(parameter) in self._wanted for parameter in parameters)
        if count == len(parameters):
            return value
        if not count:
            return self.frozen(value)
        if type(value).vjp_parameters is not Layer.vjp_parameters:
            return self._training.of(value, self.kept)
        twin = self._training.of(value, self.in_front)
        if not isinstance(twin, StandIn):
            take_role(_FromItsFront, twin)
        return twin

    def frozen(self, value: Any) -> Any:
        """What stands anywhere inside a layer that does not learn."""
        if isinstance(value, Buffer):
            return self._held.setdefault(id(value), Held(value))
        twin = self._frozen.of(value, self.frozen)
        if not isinstance(twin, StandIn):
            take_role(_Frozen, twin, _stands_for=value)
        return twin

    def in_front(self, value: Any) -> Any:
        """As `kept`, inside a layer of one's own that does not say what lies in front of all that learns."""
        kept = self.kept(value)
        if isinstance(value, Buffer):
            return kept
        if id(value) not in self._in_front:
            self._in_front[id(value)] = stand_in(_PerhapsInFront, kept, _stands_for=kept)
        return self._in_front[id(value)]


class Learner:
    """What `learner_of` makes of a net, for as long as there is the same inside the net."""

    def __init__(self, net: Layer, wanted: Collection[Parameter]) -> None:
        self._net, self.layer = net, learner_of(net, wanted)
        self._contents = Contents(net._may_grow())

    def is_of(self, net: Layer) -> bool:
        """Whether this is still how `net` learns."""
        return net is self._net and self._contents.are_the_same()


class _For(StandIn):
    """Stands for another layer and calls that."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._layer(*arguments, **options)

    @property
    def _layer(self) -> Layer:
        layer: Layer = vars(self)["_stands_for"]
        return layer


class _Frozen(_For):
    """Trains as the original infers."""

    def vjp(self, *inputs: Any, training: bool = True) -> tuple[Any, Backprop]:
        inputs = tuple(
            input for input in inputs if not isinstance(input, bool)
        )  # `training` without its name
        # a layer of one's own may only know training; its parameters are held, what is inside it is frozen
        options = {"training": False} if takes_training(self._layer) else {}
        return super().vjp(*inputs, **options)  # type: ignore[misc,no-any-return]

    def vjp_parameters(self, *inputs: Any) -> tuple[Any, ParameterBackprop]:
        return self._layer(*inputs), _nothing

    def _own(self, kind: Any) -> dict[str, Any]:
        return {}  # to those who ask what there is to learn


def _nothing(*grad_outputs: np.ndarray) -> None:
    """Backprop to parameters that do not learn."""


# ---- the front of a layer of one's own -----------------------------------------------------------------


class _Unasked:
    """Arrays whose gradient nobody asks for, while a layer of one's own runs what is inside it.

    One that it has changed in place may depend on something else by now, and is another array: the checksum
    tells.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[np.ndarray], int]] = {}

    def add(self, array: np.ndarray) -> None:
        if isinstance(array, np.ndarray):
            self._known[id(array)] = weakref.ref(array), _checksum(array)

    def __contains__(self, array: np.ndarray) -> bool:
        reference, checksum = self._known.get(id(array), (None, 0))
        return reference is not None and reference() is array and checksum == _checksum(array)


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(array.ravel(order="K").view(np.uint8).data)


_unasked: ContextVar[_Unasked | None] = ContextVar("unasked", default=None)


class _FromItsFront(StandIn):
    """Runs its own `vjp`, telling the layers inside that the gradient of the input is not asked for."""

    def vjp_parameters(self, *inputs: Any) -> tuple[Any, ParameterBackprop]:
        unasked = _Unasked()
        for input in inputs:
            unasked.add(input)
        token = _unasked.set(unasked)
        try:
            return self.vjp(*inputs)  # type: ignore[attr-defined,no-any-return]
        finally:
            _unasked.reset(token)


class _PerhapsInFront(_For):
    """Computes no gradient of an input that is known not to need one: what it returns for it is zeros."""

    def vjp(self, *inputs: Any, **options: Any) -> tuple[Any, Backprop]:
        unasked, layer = _unasked.get(), self._layer
        if options or unasked is None or not all(input in unasked for input in inputs):
            return layer.vjp(*inputs, **options)
        output, learn = layer.vjp_parameters(*inputs)
        learns, blanks = layer._learns(), [(input.shape, input.dtype) for input in inputs]
        if not learns:
            for array in each(output):
                unasked.add(array)

        def backprop(*grad_outputs: np.ndarray) -> Any:
            if learns:
                learn(*grad_outputs)
            return together([np.zeros(*blank) if blank[1].kind == "f" else None for blank in blanks])

        return output, backprop

    def vjp_parameters(self, *inputs: Any) -> tuple[Any, ParameterBackprop]:
        return self._layer.vjp_parameters(*inputs)
