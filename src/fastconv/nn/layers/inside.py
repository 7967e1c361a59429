"""What stands inside a layer's attributes: found by path, and replaced in copies.

An attribute may hold a thing itself or in lists, tuples and dicts, as deep as one likes. It is looked for
whenever somebody asks, so that what was appended to a list later is there too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

Kind = TypeVar("Kind")

_CONTAINERS = (list, tuple, dict)


def things_inside(
    value: Any, kind: type[Kind], path: str = "", within: tuple[Any, ...] = ()
) -> Iterator[tuple[str, Kind]]:
    """(path, thing) of every `kind` that `value` is or holds: "blocks.0", "heads.left".

    Parameters
    ----------
    path : str
        Of `value` itself.
    within : tuple
        The containers around it: one that holds itself is not entered again.
    """
    if isinstance(value, kind):
        yield path, value
    elif isinstance(value, _CONTAINERS) and not any(value is outer for outer in within):
        for name, entry in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(entry, (kind, *_CONTAINERS)):
                yield from things_inside(
                    entry, kind, f"{path}.{name}" if path else str(name), (*within, value)
                )


def containers_inside(value: Any, within: tuple[Any, ...] = ()) -> Iterator[list[Any] | dict[Any, Any]]:
    """The lists and dicts that `value` is or holds: what may hold other things tomorrow."""
    if isinstance(value, _CONTAINERS) and not any(value is outer for outer in within):
        if not isinstance(value, tuple):
            yield value
        for entry in value.values() if isinstance(value, dict) else value:
            yield from containers_inside(entry, (*within, value))


def replaced(
    value: Any, kind: tuple[type, ...], replace: Callable[[Any], Any], within: tuple[Any, ...] = ()
) -> Any:
    """`value` with all of a kind in it replaced; containers that hold none are passed on, others copied."""
    if isinstance(value, kind):
        return replace(value)
    if not isinstance(value, _CONTAINERS) or any(value is outer for outer in within):
        return value
    before = list(value.values() if isinstance(value, dict) else value)
    after = [replaced(entry, kind, replace, (*within, value)) for entry in before]
    return _like(value, before, after)


def _like(value: Any, before: list[Any], after: list[Any]) -> Any:
    """A container as `value`, with other entries; itself if they are the same."""
    if all(new is old for new, old in zip(after, before)):
        return value
    if isinstance(value, dict):
        return dict(zip(value, after))
    if isinstance(value, tuple):
        return type(value)(*after) if hasattr(value, "_fields") else tuple(after)
    return after


def place_of(path: int | str, numbered: Sequence[Any] | None, owner: str) -> str:
    """The path of a place in a layer, given as a path or by its number among those that it numbers."""
    if isinstance(path, str):
        return path
    if isinstance(path, bool) or not hasattr(path, "__index__"):
        raise TypeError(f"path={path!r}: must be a position or a path such as 'features.3'")
    if numbered is None:
        raise ValueError(f"path={path!r}: {owner} does not number its layers; give a name")
    if not -len(numbered) <= path < len(numbered):
        raise ValueError(f"path={path!r}: {owner} has {len(numbered)} layers")
    return str(range(len(numbered))[path])


def put_at(value: Any, kind: type, place: str, new: Any, path: str, within: tuple[Any, ...] = ()) -> Any:
    """`value` with another thing where `things_inside` finds one at `place`; `path` is that of `value`.

    Only containers on the way are copied.
    """
    if isinstance(value, kind):
        return new if path == place else value
    if not isinstance(value, _CONTAINERS) or any(value is outer for outer in within):
        return value
    names = list(value if isinstance(value, dict) else range(len(value)))
    before = list(value.values() if isinstance(value, dict) else value)
    inside = (*within, value)
    after = [
        put_at(entry, kind, place, new, f"{path}.{name}" if path else str(name), inside)
        for name, entry in zip(names, before)
    ]
    return _like(value, before, after)


class Contents:
    """What lists and dicts hold now, so that one can see later whether they still do."""

    def __init__(self, containers: Iterable[list[Any] | dict[Any, Any]]) -> None:
        self._seen = [(container, _ids(container)) for container in containers]

    def are_the_same(self) -> bool:
        """Whether nothing came, went or changed places."""
        return all(_ids(container) == seen for container, seen in self._seen)


def _ids(container: list[Any] | dict[Any, Any]) -> list[int]:
    return list(map(id, container.values() if isinstance(container, dict) else container))
