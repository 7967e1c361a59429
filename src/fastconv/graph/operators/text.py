"""Operators on text: arrays of dtype object that hold `str`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.operator import Operator, Signature
from fastconv.graph.operators.elementwise import broadcast

TEXT = np.dtype(object)


def _texts(x: np.ndarray) -> list[str]:
    """All elements in order, as `str`."""
    return [
        each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in x.reshape(-1)
    ]


def _array(texts: Sequence[str], shape: tuple[int, ...]) -> np.ndarray:
    made = np.empty(len(texts), TEXT)
    made[:] = texts
    return made.reshape(shape)


def _concat(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Each text of a with the one of b behind it; with broadcasting."""
    first, second = np.broadcast_arrays(a, b)
    return _array([x + y for x, y in zip(_texts(first), _texts(second))], first.shape)


def _concat_signature(a: Signature, b: Signature) -> Signature:
    return Signature(TEXT, broadcast(a, b))


def _split(
    x: np.ndarray, *, delimiter: str = "", maxsplit: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The parts of each text along a new last axis, empty text behind the last; and how many there are."""
    most = -1 if maxsplit is None else maxsplit
    parts = [each.split(delimiter or None, most) for each in _texts(x)]
    counts = np.array([len(each) for each in parts], np.int64)
    width = int(counts.max(initial=0))
    check_memory((len(parts), width), TEXT)
    out = np.full((len(parts), width), "", TEXT)
    for row, each in zip(out, parts):
        row[: len(each)] = each
    return out.reshape(*x.shape, width), counts.reshape(x.shape)


def _normalize(
    x: np.ndarray,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    stopwords: Sequence[str] = (),
    locale: str = "",
) -> np.ndarray:
    """The texts without stop words, in upper or lower case; of nothing, one empty text. Of no locale."""
    if case_change_action not in ("NONE", "LOWER", "UPPER"):
        raise ValueError(f"case_change_action={case_change_action!r}: must be one of NONE, LOWER, UPPER")
    if x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[0] != 1):
        raise ValueError(f"input: shape {x.shape} must be (n,) or (1, n)")
    stops = set(stopwords) if is_case_sensitive else {each.lower() for each in stopwords}
    kept = [each for each in _texts(x) if (each if is_case_sensitive else each.lower()) not in stops]
    if case_change_action != "NONE":
        kept = [each.lower() if case_change_action == "LOWER" else each.upper() for each in kept]
    kept = kept or [""]
    return _array(kept, (len(kept),) if x.ndim == 1 else (1, len(kept)))


OPERATORS: dict[str, Operator] = {
    "StringConcat": Operator(_concat, _concat_signature),
    "StringSplit": Operator(_split, varies=True),
    "StringNormalizer": Operator(_normalize, varies=True),
}
