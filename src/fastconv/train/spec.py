"""Nets in words: "conv 8 3, relu, pool 2, fc 32, relu, fc" is read into items, and items are written again.

An item is a word, what follows it in order, and options by name: "conv 8 3 stride 2 pad 1". This module knows
the words; what layers they make, and whether those fit each other, is in `build`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastconv.train.errors import SpecError

#: Longest text and most items that are read.
MOST_CHARACTERS, MOST_ITEMS = 20_000, 1000

#: Largest whole number: beyond it something was mistyped.
LARGEST = 10_000_000

#: Of a window or feature: as large as what it is laid on.
FULL = "full"


@dataclass(frozen=True)
class Item:
    """One item of a spec.

    Attributes
    ----------
    kind : str
        Its word: "conv", "relu", "pool", ...
    values : dict
        What it says, by name; what it does not say has its default.
    place : str
        Where it stands, for messages; items that are equal may stand elsewhere.
    """

    kind: str
    values: dict[str, Any] = field(default_factory=dict)
    place: str = field(default="", compare=False)

    def __str__(self) -> str:
        form = FORMS[self.kind]
        words = [self.kind]
        words += [
            _word(self.values[name]) for name, *_ in form.arguments if self.values.get(name) is not None
        ]
        for name, (_, default) in form.options.items():
            if self.values[name] is True:
                words.append(name)
            elif self.values[name] != default:
                words += [name, _word(self.values[name])]
        return " ".join(words)

    def fail(self, rule: str) -> SpecError:
        """The error that this item breaks a rule."""
        return SpecError(f"net: {self.place or repr(str(self))}: {rule}")


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


# ---- what words may be followed by ---------------------------------------------------------------------


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= LARGEST:
        raise ValueError(f"must be a whole number from 1 to {LARGEST:,}")
    return int(text)


def _sizes(text: str) -> tuple[Any, ...]:
    """`3`, or one per axis: `3x5`; `full` is as large as the axis."""
    try:
        return tuple(FULL if part == FULL else _count(part) for part in text.split("x"))
    except ValueError:
        raise ValueError("must be a size such as 3, or one per axis such as 3x5, fullx3") from None


def _steps(text: str) -> tuple[int, ...]:
    try:
        return tuple(_count(part) for part in text.split("x"))
    except ValueError:
        raise ValueError("must be a whole number of at least 1, or one per axis such as 1x2") from None


def _padding(text: str) -> Any:
    if text == "same":
        return text
    try:
        return tuple(0 if part == "0" else _count(part) for part in text.split("x"))
    except ValueError:
        raise ValueError("must be `same`, a whole number, or one per axis such as 1x2") from None


def _window(text: str) -> Any:
    return "all" if text == "all" else _sizes(text)


def _real(low: float, high: float, what: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value < high:
            raise ValueError(f"must be a number {what}")
        return value

    return read


Reader = Callable[[str], Any]


@dataclass(frozen=True)
class Form:
    """What may follow a word: arguments (name, reader, whether it must be there), and options by name.

    An option's reader is None where its name says it all.
    """

    arguments: tuple[tuple[str, Reader, bool], ...] = ()
    options: dict[str, tuple[Reader | None, Any]] = field(default_factory=dict)


ONE: tuple[int, ...] = (1,)
NONE: tuple[int, ...] = (0,)
_POOL = Form(
    (("window", _window, True),),
    {"stride": (_steps, None), "pad": (_padding, NONE), "floor": (None, False)},
)

#: Activations and how each is called.
ACTIVATIONS = ("relu", "leaky", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "softplus")

FORMS: dict[str, Form] = {
    "embed": Form((("numbers", _count, True),)),
    "conv": Form(
        (("features", _count, True), ("size", _sizes, True)),
        {"stride": (_steps, ONE), "pad": (_padding, NONE), "dilation": (_steps, ONE), "groups": (_count, 1)},
    ),
    "res": Form((("features", _count, True),), {"stride": (_steps, ONE)}),
    "pool": _POOL,
    "avg": _POOL,
    "fc": Form((("neurons", _count, False),)),
    "flatten": Form(),
    "bn": Form(),
    "lrn": Form((("size", _count, True),)),
    "drop": Form((("share", _real(0, 1, "from 0 to below 1"), True),)),
    **{word: Form() for word in ACTIVATIONS},
    "leaky": Form((("slope", _real(0, math.inf, "of at least 0"), False),)),
}


def read_items(text: str) -> tuple[Item, ...]:
    """The items of a spec, in order.

    Parameters
    ----------
    text : str
        Items with commas between.

    Raises
    ------
    SpecError
        Naming the item, its place and the rule.

    Examples
    --------
    >>> from fastconv.train.spec import read_items, write_items
    >>> items = read_items("conv 8 3  stride 1 pad same, relu,pool 2x2")
    >>> items[0].kind, items[0].values["features"]
    ('conv', 8)
    >>> write_items(items)
    'conv 8 3 pad same, relu, pool 2x2'
    >>> read_items("conv 8 3, rleu")
    Traceback (most recent call last):
      ...
    fastconv.train.errors.SpecError: net: item 2, 'rleu' (character 11): no such word; did you mean relu?
    """
    if not isinstance(text, str):
        raise TypeError(f"net={text!r}: must be a str")
    if len(text) > MOST_CHARACTERS:
        raise SpecError(f"net: has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read")
    if not text.strip():
        raise SpecError("net: is empty; it must have at least one item, such as fc")
    parts = re.split("[,;]", text)
    if len(parts) > MOST_ITEMS:
        raise SpecError(f"net: has {len(parts):,} items; at most {MOST_ITEMS:,} are read")
    items, start = [], 0
    for number, part in enumerate(parts, 1):
        column = start + 1 + len(part) - len(part.lstrip())
        items.append(_read_item(part, f"item {number}, {_short(part)!r} (character {column})"))
        start += len(part) + 1
    return tuple(items)


def reads_words(text: str) -> bool:
    """Whether a spec begins with `embed`, so that the net reads numbers of words.

    Examples
    --------
    >>> from fastconv.train.spec import reads_words
    >>> reads_words("embed 16, conv 64 3, pool all, fc"), reads_words("conv 64 3, pool all, fc")
    (True, False)
    """
    return text.lower().split(maxsplit=1)[:1] == ["embed"]


def _short(part: str) -> str:
    text = " ".join(part.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_item(part: str, place: str) -> Item:
    words = part.split()
    if not words:
        raise SpecError(f"net: {place}: is empty; a word such as relu must stand between two commas")
    kind, rest = words[0].lower(), words[1:]
    if kind not in FORMS:
        near = difflib.get_close_matches(kind, FORMS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FORMS)}"
        raise SpecError(f"net: {place}: no such word; {hint}")
    form = FORMS[kind]
    values: dict[str, Any] = {name: default for name, (_, default) in form.options.items()}
    try:
        for name, read, required in form.arguments:
            if rest and rest[0] not in form.options:
                values[name] = _read(name, read, rest.pop(0))
            elif required:
                shape = " ".join([kind, *(each.upper() for each, *_ in form.arguments)])
                raise ValueError(f"lacks its {name}: {shape}")
            else:
                values[name] = None
        given = set()
        while rest:
            option = rest.pop(0).lower()
            if option not in form.options:
                known = f"after {kind} may stand {', '.join(form.options)}"
                raise ValueError(
                    f"{option!r}: {known if form.options else 'nothing may follow here; a comma is missing?'}"
                )
            if option in given:
                raise ValueError(f"{option} is there twice")
            given.add(option)
            option_read = form.options[option][0]
            if option_read is None:
                values[option] = True
            elif rest:
                values[option] = _read(option, option_read, rest.pop(0))
            else:
                raise ValueError(f"{option} must be followed by a number")
    except ValueError as error:
        raise SpecError(f"net: {place}: {error}") from None
    return Item(kind, values, place)


def _read(name: str, read: Reader, text: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise ValueError(f"{name} {text}: {error}") from None


def write_items(items: tuple[Item, ...]) -> str:
    """The shortest spec that `read_items` reads as these items."""
    return ", ".join(map(str, items))
