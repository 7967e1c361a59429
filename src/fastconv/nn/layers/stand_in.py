"""Copies of layers that stand in their place and do something else when they are called.

A layer of one's own may do anything with the layers inside it: call them, index them, read their weights. So
what stands in for one is a copy, of a subclass of its class, and only calling it means something else.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache
from typing import Any


class StandIn:
    """Base of what is put in front of a layer's class; it says what calling means."""

    _role: type[StandIn]
    _original: type

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _again, (self._role, self._original), vars(self)


@lru_cache(maxsize=256)
def _cast_as(role: Any, original: Any) -> Any:
    members = {
        "_role": role,
        "_original": original,
        "__module__": original.__module__,
        "__doc__": original.__doc__,
    }
    return type(original.__name__, (role, original), members)


def _again(role: Any, original: Any) -> Any:
    made = _cast_as(role, original)
    return made.__new__(made)


def take_role(role: Any, layer: Any, **attributes: Any) -> None:
    """Give a layer, a copy that nobody else has, a role and what that needs."""
    original: Any = type(layer)
    object.__setattr__(layer, "__class__", _cast_as(role, original))
    vars(layer).update(attributes)


def stand_in(role: Any, layer: Any, **attributes: Any) -> Any:
    """A copy of `layer`, sharing all it holds, in a role."""
    twin = copy.copy(layer)
    take_role(role, twin, **attributes)
    return twin


class Copies:
    """Copies of layers that share what they hold, but for what stands inside them; one per layer."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def of(self, layer: Any, replace: Callable[[Any], Any]) -> Any:
        """A copy in which `replace` has been asked about every layer, parameter and buffer."""
        made = self._made.get(id(layer))
        if made is None:
            made = self._made[id(layer)] = copy.copy(layer)
            made._replace_inside(replace)
        return made
