"""From a file, or one decoded sample, to the array that a net is given."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.files import shown

Kind = TypeVar("Kind", bound="Preprocessing")

#: Values that one sample may have at most; a net of that size would not fit a machine.
LARGEST_SAMPLE = 1 << 28


@dataclass(frozen=True, kw_only=True)
class Preprocessing(ABC):
    """What is done to every sample before a net sees it; the same in training and ever after.

    A sample goes three steps: `decode` reads a file, `compact` gives it its size and `finish` makes float32
    of a batch and normalises. A data set keeps what `compact` gives. `read` and `apply` go all of them.

    Parameters
    ----------
    shape : tuple of int
        What the net gets, without the batch axis.
    mean, std : tuple of float
        Subtracted from every value, and what it is divided by then: one number, or one per channel (of a
        table: per column).

    Attributes
    ----------
    kind : str
        "images", "sound", "text", "table" or "volumes".

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.data import ImagePreprocessing, Preprocessing
    >>> made = ImagePreprocessing(shape=(1, 2, 2), mean=(0.5,), std=(0.5,))
    >>> made.apply(np.array([[0, 255], [255, 0]], np.uint8))
    array([[[-1.,  1.],
            [ 1., -1.]]], dtype=float32)
    >>> Preprocessing.from_json(made.to_json()) == made
    True
    """

    kind: ClassVar[str]
    #: The lengths that a shape may have.
    ranks: ClassVar[tuple[int, ...]]
    #: Whether more than numbers is learned from training samples, so that they are wanted as decoded.
    learns_from_raw: ClassVar[bool] = False

    shape: tuple[int, ...]
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if len(self.shape) not in self.ranks or not all(is_count(size) for size in self.shape):
            raise DataError(
                f"shape={self.shape!r}: must be {' or '.join(map(str, self.ranks))} sizes of at least 1"
            )
        if math.prod(self.shape) > LARGEST_SAMPLE:
            raise DataError(f"shape={self.shape!r}: has more than {LARGEST_SAMPLE:,} values")
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, self._statistics) or not all(is_number(n) for n in numbers):
                raise DataError(f"{name}={numbers!r}: must be 1 or {self._statistics} finite numbers")
        if not all(n > 0 for n in self.std):
            raise DataError(f"std={self.std!r}: must be above 0")

    # ---- the three steps ---------------------------------------------------------------------------------

    def read(self, path: str | os.PathLike[str]) -> np.ndarray:
        """A file as one array of `shape`.

        Parameters
        ----------
        path : str or path
            Of a file of this kind.

        Returns
        -------
        ndarray, `shape`, float32

        Raises
        ------
        DataError
            In one line: the file, and what is wrong with it.
        MissingExtraError
            A package that reads such files is not installed.
        """
        raw = self.decode(path)
        try:
            return self.apply(raw)
        except DataError as error:
            raise DataError(f"{shown(path)}: {error}") from None

    def apply(self, raw: Any) -> np.ndarray:
        """One decoded sample as an array of `shape`.

        Raises
        ------
        DataError
            It is nothing of this kind, or has values that are not finite.
        """
        whole: np.ndarray = self.finish(self.compact(raw)[None])[0]
        return whole

    @abstractmethod
    def decode(self, path: str | os.PathLike[str]) -> Any:
        """What is in a file; `DataError` names it."""

    @abstractmethod
    def compact(self, raw: Any) -> np.ndarray:
        """A decoded sample at its size, in few bytes; `DataError` does not name it."""

    def compact_all(self, raws: np.ndarray) -> np.ndarray | None:
        """Several decoded samples at once, if they need nothing done to them one by one; else None."""
        return None

    def finish(self, batch: np.ndarray) -> np.ndarray:
        """Compact samples as float32 (n, *shape), normalised."""
        scale, offset = self._affine
        made = np.empty((len(batch), *self.shape), np.float32)
        np.multiply(batch, scale, out=made, casting="unsafe")
        made -= offset
        return made

    @property
    def rows(self) -> int | None:
        """Of samples that are integers, how many there are: rows of a table of embeddings. Else None."""
        return None

    @property
    def compact_shape(self) -> tuple[int, ...]:
        """The shape of what `compact` gives."""
        return self.shape

    # ---- statistics --------------------------------------------------------------------------------------

    def fitted(self: Kind, samples: Iterable[Any], normalise: str) -> Kind:
        """The same with what is to be learned from training samples.

        Parameters
        ----------
        samples : iterable
            What `compact` gives, or `decode` if this kind `learns_from_raw`.
        normalise : str
            "standard": mean 0 and standard deviation 1 per channel. "signed": 0 to 1 becomes -1 to +1, the
            deck's paper and ink. "unit": as it is.
        """
        if normalise == "unit":
            return replace(self, mean=(0.0,), std=(1.0,))
        if normalise == "signed":
            return replace(self, mean=(0.5,), std=(0.5,))
        if normalise != "standard":
            raise ValueError(f"normalise={normalise!r}: must be 'standard', 'signed' or 'unit'")
        mean, std = statistics(samples, self._statistics_axis)
        unit = 1 / self._peak
        return replace(self, mean=tuple((mean * unit).tolist()), std=tuple((std * unit).tolist()))

    @property
    def _statistics(self) -> int:
        """How many means there may be, other than one."""
        return self.shape[self._statistics_axis]

    @property
    def _statistics_axis(self) -> int:
        """The axis of `shape` that has a mean and deviation for each place."""
        return 0

    @property
    def _peak(self) -> float:
        """The value in compact samples that stands for 1."""
        return 1.0

    @cached_property
    def _affine(self) -> tuple[np.ndarray, np.ndarray]:
        """What compact values are multiplied by, and what is subtracted then."""
        each = [1] * len(self.shape)
        each[self._statistics_axis] = -1
        mean, std = np.array(self.mean), np.array(self.std)
        scale = (1 / (std * self._peak)).astype(np.float32).reshape(each)
        return scale, (mean / std).astype(np.float32).reshape(each)

    # ---- JSON --------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """All of it as numbers, words, lists and dicts.

        Examples
        --------
        >>> from fastconv.data import TablePreprocessing
        >>> TablePreprocessing(shape=(1, 2), columns=("a", "b")).to_json()["columns"]
        ['a', 'b']
        """
        made: dict[str, Any] = {"kind": self.kind}
        for field in fields(self):
            value = getattr(self, field.name)
            made[field.name] = list(value) if isinstance(value, tuple) else value
        return made

    @classmethod
    def from_json(cls, described: dict[str, Any]) -> Preprocessing:
        """What `to_json` described.

        Raises
        ------
        DataError
            Something is missing, unknown, or of a type or value that it cannot have.
        """
        from fastconv.data.kinds import KINDS

        if not isinstance(described, dict):
            raise DataError(f"preprocessing: must be a dict, not {type(described).__name__}")
        kind = described.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise DataError(f"preprocessing: kind {kind!r}, must be one of {', '.join(KINDS)}")
        made = KINDS[kind]
        names = {field.name for field in fields(made)}
        given = set(described) - {"kind"}
        if given != names:
            wrong = ", ".join(sorted(map(str, given ^ names)))
            raise DataError(f"preprocessing: {wrong}: {'unknown' if given - names else 'missing'}")
        values = {
            name: tuple(described[name]) if isinstance(described[name], list) else described[name]
            for name in names
        }
        try:
            return made(**values)
        except DataError as error:
            raise DataError(f"preprocessing: {error}") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"preprocessing: a value of another type: {error}") from None

    def same_samples(self, other: Preprocessing) -> bool:
        """Whether what `compact` gives is the same for both; statistics are applied after it."""
        if type(self) is not type(other):
            return False
        return replace(self, mean=(0.0,), std=(1.0,)) == replace(other, mean=(0.0,), std=(1.0,))


def statistics(samples: Iterable[np.ndarray], axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of all values, for every place along one axis of a sample.

    Sums are float64, and taken about the first sample's means, so that nothing cancels. Where nothing varies
    the deviation is 1.
    """
    count, about = 0, None
    total: Any = 0.0
    squares: Any = 0.0
    for sample in samples:
        rows = np.moveaxis(sample, axis, 0).reshape(sample.shape[axis], -1).astype(np.float64)
        if about is None:
            about = rows.mean(1, keepdims=True)
        rows -= about
        count += rows.shape[1]
        total = total + rows.sum(1)
        squares = squares + np.einsum("ij,ij->i", rows, rows)
    if about is None:
        raise DataError("no sample to take statistics from")
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0.0)
    std = np.sqrt(variance)
    center = mean + about[:, 0]
    return center, np.where(std > 1e-6 * np.maximum(np.abs(center), 1e-6), std, 1.0)


def is_count(value: Any) -> bool:
    """Whether a value from a file is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_number(value: Any) -> bool:
    """Whether a value from a file is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def finite(raw: np.ndarray) -> np.ndarray:
    """The same array, if all its values are numbers."""
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(raw))[0])
        raise DataError(f"the value at {place} is {raw[place]}; all must be finite")
    if raw.dtype.kind not in "fiub":
        raise DataError(f"holds {raw.dtype}, must hold real numbers")
    return raw


def check_numbers(**numbers: Any) -> None:
    """Raise `DataError` unless all these are whole numbers of at least 1."""
    for name, value in numbers.items():
        if not is_count(value):
            raise DataError(f"{name}={value!r}: must be a whole number of at least 1")


def check_word(name: str, value: Any, words: tuple[str, ...]) -> None:
    """Raise `DataError` unless a value is one of the words."""
    if value not in words:
        raise DataError(f"{name}={value!r}: must be one of {', '.join(words)}")
