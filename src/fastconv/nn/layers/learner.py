"""A net as it trains when only some of its parameters are learned: the rest of it stays as it is.

What is wanted is decided once, by a copy of the net that shares all arrays: layers of which nothing is
learned are *frozen* in it, which means that they run as in inference and nobody asks for their gradients.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from fastconv.nn.layers.base import (
    Backprop,
    Layer,
    ParameterBackprop,
    takes_training,
    vjp_of,
)
from fastconv.nn.layers.stand_in import Copies, StandIn, take_role
from fastconv.nn.parameter import Buffer, Held, Parameter


def learner_of(net: Layer, wanted: Collection[Parameter]) -> Layer:
    """`net` if all its parameters are `wanted`, else a copy in which the others stay as they are.

    - A layer that has parameters, none of them wanted, is frozen with all that is inside it: batch norm by
      its running statistics, dropout off, no gradients added, none computed in front of all that learns.
    - A layer with some wanted parameters trains; the gradients of the others are not computed.
    - A layer without parameters trains, unless it stands inside a frozen one.
    """
    learned = set(map(id, wanted))
    training, frozen = Copies(), Copies()
    held: dict[int, Held] = {}

    def hold(value: Any) -> Any:
        if isinstance(value, Buffer):
            return held.setdefault(id(value), Held(value))
        twin = frozen.of(value, hold)
        if not isinstance(twin, StandIn):
            take_role(_Frozen, twin, _origin=value)
        return twin

    def keep(value: Any) -> Any:
        if isinstance(value, Buffer):
            return hold(value) if isinstance(value, Parameter) and id(value) not in learned else value
        parameters = value.parameters()
        count = sum(id(parameter) in learned for parameter in parameters)
        if count == len(parameters):
            return value
        return training.of(value, keep) if count else hold(value)

    result: Layer = keep(net)
    return result


class Learner:
    """What `learner_of` makes of a net, for as long as there is the same inside the net.

    Raises
    ------
    ValueError
        The net has none of the parameters wanted.
    """

    def __init__(self, net: Layer, wanted: Collection[Parameter]) -> None:
        learned = set(map(id, wanted))
        if not any(id(parameter) in learned for parameter in net.parameters()):
            raise ValueError(
                "optimizer: has none of the net's parameters; make it with net.parameters(), and copy or "
                "pickle net and optimizer together"
            )
        self._net, self.layer = net, learner_of(net, wanted)
        self._growing = [(container, _contents(container)) for container in net._may_grow()]

    def is_of(self, net: Layer) -> bool:
        """Whether this is still how `net` learns."""
        return net is self._net and all(_contents(container) == seen for container, seen in self._growing)


def _contents(container: list[Any] | dict[Any, Any]) -> list[int]:
    return list(map(id, container.values() if isinstance(container, dict) else container))


class _Frozen(StandIn):
    """Trains as the original infers."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._layer(*arguments, **options)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        if takes_training(self._layer):
            return vjp_of(self._layer, input, False)
        # a layer of one's own that only knows training: its parameters are held, what is inside it is frozen
        return super().vjp(input)  # type: ignore[misc,no-any-return]

    def vjp_parameters(self, input: np.ndarray) -> tuple[np.ndarray, ParameterBackprop]:
        return self._layer(input), _nothing

    def _own(self, kind: Any) -> dict[str, Any]:
        return {}  # to those who ask what there is to learn

    @property
    def _layer(self) -> Layer:
        layer: Layer = vars(self)["_origin"]
        return layer


def _nothing(grad_output: np.ndarray) -> None:
    """Backprop to parameters that do not learn."""
