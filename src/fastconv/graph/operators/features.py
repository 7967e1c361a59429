"""Operators that make features of what is not yet numbers of a net: words counted, labels, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.operator import Operator, Signature

# ---- counted n-grams ----------------------------------------------------------------------------------


class _Grams:
    """The n-grams of a pool, found in rows of tokens by numbers for their beginnings."""

    def __init__(self, pool: np.ndarray, length: int) -> None:
        self.words = np.unique(pool)
        self.steps: list[np.ndarray] = []
        tokens = self._numbers(pool.reshape(-1, length))
        codes = tokens[:, 0]
        for i in range(1, length):
            keys, codes = np.unique(codes * len(self.words) + tokens[:, i], return_inverse=True)
            self.steps.append(keys)
        self.gram = np.full(len(self.steps[-1]) if self.steps else len(self.words), -1, np.int64)
        self.gram[codes.reshape(-1)] = np.arange(len(codes))

    def _numbers(self, tokens: np.ndarray) -> np.ndarray:
        return _find(self.words, tokens)

    def find(self, windows: np.ndarray) -> np.ndarray:
        """Which n-gram each window (along the last axis) is, -1 for none."""
        tokens = self._numbers(windows)
        codes = tokens[..., 0]
        for i, keys in enumerate(self.steps, 1):
            known = (codes >= 0) & (tokens[..., i] >= 0)
            codes = np.where(known, _find(keys, codes * len(self.words) + tokens[..., i]), -1)
        return np.where(codes >= 0, self.gram[codes], -1)


def _find(ordered: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places in a list that is in order; -1 for what is not there."""
    places = np.minimum(np.searchsorted(ordered, wanted.reshape(-1)), len(ordered) - 1).reshape(wanted.shape)
    return np.where(ordered[places] == wanted, places, -1)


def _pool(
    ngram_counts: Sequence[int], pool_int64s: Sequence[int] | None, pool_strings: Sequence[str] | None
) -> tuple[np.ndarray, list[int]]:
    """All tokens, and where the n-grams of each length begin and end among them."""
    if (pool_int64s is None) == (pool_strings is None):
        raise ValueError("pool_int64s, pool_strings: exactly one of them must be given")
    pool = np.array(pool_strings, object) if pool_int64s is None else np.array(pool_int64s, np.int64)
    stops = [*ngram_counts, len(pool)]
    if (
        sorted(stops) != stops
        or stops[0] < 0
        or any((b - a) % n for n, (a, b) in enumerate(pairwise(stops), 1))
    ):
        raise ValueError(
            f"ngram_counts={tuple(ngram_counts)}: must begin the 1-grams, 2-grams, ... of the pool"
        )
    return pool, stops


def _tf_idf(
    x: np.ndarray,
    *,
    mode: str,
    ngram_indexes: Sequence[int],
    ngram_counts: Sequence[int],
    max_skip_count: int,
    min_gram_length: int,
    max_gram_length: int,
    weights: Sequence[float] | None = None,
    pool_int64s: Sequence[int] | None = None,
    pool_strings: Sequence[str] | None = None,
) -> np.ndarray:
    """How often each n-gram of a pool is in a row of tokens, in steps of 1 up to `max_skip_count` + 1."""
    if mode not in ("TF", "IDF", "TFIDF"):
        raise ValueError(f"mode={mode!r}: must be one of TF, IDF, TFIDF")
    pool, stops = _pool(ngram_counts, pool_int64s, pool_strings)
    rows = np.atleast_2d(x)
    counts = np.zeros((len(rows), len(ngram_indexes)), np.int64)
    first = 0
    for length, (start, stop) in enumerate(pairwise(stops), 1):
        count = (stop - start) // length
        if first + count > len(ngram_indexes):
            raise ValueError(
                f"ngram_indexes: {len(ngram_indexes)} numbers must be one for each n-gram of the pool"
            )
        if count and min_gram_length <= length <= max_gram_length:
            grams = _Grams(pool[start:stop], length)
            farthest = (rows.shape[1] - 1) // (length - 1) if length > 1 else 1
            for step in range(1, min(max_skip_count + 1, farthest) + 1):
                _count(grams, rows, length, step, counts[:, first : first + count])
        first += count
    found = (counts > 0) if mode == "IDF" else counts
    scaled = found.astype(np.float32)
    if mode != "TF" and weights is not None:
        if len(weights) != len(ngram_indexes):
            raise ValueError(
                f"weights: {len(weights)} numbers must be as many as the {len(ngram_indexes)} n-grams"
            )
        scaled *= np.array(weights, np.float32)
    out = np.zeros((len(rows), _width(ngram_indexes)), np.float32)
    np.add.at(out.T, np.array(ngram_indexes, np.int64), scaled.T)
    return out.reshape(*x.shape[:-1], out.shape[1])


def _count(grams: _Grams, rows: np.ndarray, length: int, step: int, counts: np.ndarray) -> None:
    """Add how often each n-gram is in each row, its tokens `step` apart."""
    span = (length - 1) * step + 1
    if span > rows.shape[1] or not len(rows):
        return
    windows = np.lib.stride_tricks.sliding_window_view(rows, span, 1)[..., ::step]
    found = grams.find(windows)
    row, place = np.nonzero(found >= 0)
    np.add.at(counts, (row, found[row, place]), 1)


def _width(ngram_indexes: Sequence[int]) -> int:
    if not ngram_indexes or min(ngram_indexes) < 0:
        raise ValueError(f"ngram_indexes={tuple(ngram_indexes)}: must be numbers of 0 or more")
    width = max(ngram_indexes) + 1
    check_memory((width,), np.dtype(np.float32))
    return width


def _tf_idf_signature(x: Signature, *, ngram_indexes: Sequence[int], **attributes: Any) -> Signature:
    if x.shape is None or len(x.shape) not in (1, 2):
        raise ValueError(f"input: shape {x.shape} must have 1 or 2 axes")
    return Signature(np.dtype(np.float32), (*x.shape[:-1], _width(ngram_indexes)))


# ---- labels and thresholds ----------------------------------------------------------------------------

#: Which dtype keys and values of an attribute have.
KINDS: dict[str, Any] = {"strings": object, "int64s": np.int64, "floats": np.float32}

#: What stands for a label that is not known.
DEFAULTS: dict[str, tuple[str, Any]] = {
    "strings": ("default_string", "_Unused"),
    "int64s": ("default_int64", -1),
    "floats": ("default_float", -0.0),
}


def _table(side: str, attributes: dict[str, Any]) -> tuple[str, np.ndarray]:
    """The keys or the values, and of which kind they are."""
    given = [
        (kind, attributes[f"{side}_{kind}"])
        for kind in (*KINDS, "tensor")
        if attributes.get(f"{side}_{kind}") is not None
    ]
    if len(given) != 1:
        raise ValueError(f"{side}_*: exactly one of them must be given")
    kind, values = given[0]
    return kind, values.reshape(-1) if kind == "tensor" else np.array(values, KINDS[kind])


def _default(kind: str, values: np.ndarray, attributes: dict[str, Any]) -> Any:
    if kind == "tensor":
        given = attributes.get("default_tensor")
        if given is not None and given.size == 1:
            return given.reshape(())[()]
        return "_Unused" if values.dtype == object else (-1 if values.dtype.kind in "iu" else -0.0)
    name, usual = DEFAULTS[kind]
    return usual if attributes.get(name) is None else attributes[name]


def _label_encoder(x: np.ndarray, **attributes: Any) -> np.ndarray:
    """Each element replaced by the value behind the last key that equals it; NaN equals NaN."""
    if attributes.get("classes_strings"):
        attributes = _classes(attributes, x.dtype)
    _, keys = _table("keys", attributes)
    kind, values = _table("values", attributes)
    if len(keys) != len(values):
        raise ValueError(f"keys_*, values_*: {len(keys)} and {len(values)} must be as many")
    known = {_key(key): i for i, key in enumerate(keys.tolist())}
    labels, which = np.unique(x.reshape(-1), return_inverse=True)
    table = np.append(values, np.array([_default(kind, values, attributes)], values.dtype))
    place = np.array([known.get(_key(label), len(values)) for label in labels.tolist()], np.int64)
    return table[place][which.reshape(-1)].reshape(x.shape)


def _classes(attributes: dict[str, Any], dtype: np.dtype | None) -> dict[str, Any]:
    """The oldest form, one list of labels, as tables: from labels to places, or from places to labels."""
    told = {name: value for name, value in attributes.items() if name.startswith("default_")}
    labels = attributes["classes_strings"]
    places = tuple(range(len(labels)))
    if dtype is not None and dtype.kind == "O":
        return {**told, "keys_strings": labels, "values_int64s": places}
    return {**told, "keys_int64s": places, "values_strings": labels}


def _key(value: Any) -> Any:
    return value if value == value else "NaN"  # no number is text


def _label_signature(x: Signature, **attributes: Any) -> Signature:
    if attributes.get("classes_strings"):
        attributes = _classes(attributes, x.dtype)
    return Signature(_table("values", attributes)[1].dtype, x.shape)


def _binarizer(x: np.ndarray, *, threshold: float = 0.0) -> np.ndarray:
    """1 above the threshold, else 0."""
    return (x > threshold).astype(x.dtype)


def _binarizer_signature(x: Signature, *, threshold: float = 0.0) -> Signature:
    return Signature(x.dtype, x.shape)


OPERATORS: dict[str, Operator] = {
    "TfIdfVectorizer": Operator(_tf_idf, _tf_idf_signature),
    "LabelEncoder": Operator(_label_encoder, _label_signature),
    "Binarizer": Operator(_binarizer, _binarizer_signature),
}
