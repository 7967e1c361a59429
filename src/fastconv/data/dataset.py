"""Samples of several classes, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

import numpy as np

from fastconv.data.augmentation import Augmentation
from fastconv.data.batches import Batches
from fastconv.data.errors import DataError
from fastconv.data.files import shown
from fastconv.data.preprocessing import Preprocessing
from fastconv.data.sources import Source
from fastconv.data.splits import stratified_split
from fastconv.data.text import TextPreprocessing
from fastconv.tables import table

#: Samples that statistics are taken from, at most.
STATISTICS = 10_000

#: What samples are called, where it is not their kind.
WHAT = {"sound": "sounds", "text": "texts", "table": "rows of a table"}

#: Samples that are prepared together where nobody asked for a number.
CHUNK = 256


class Dataset:
    """Samples that belong to classes, each read and prepared when it is asked for.

    `open_dataset` makes them. What was prepared is kept, up to `cache_bytes`, so that data of any size can be
    learned from.

    Attributes
    ----------
    path, kind : str
    classes : tuple of str
        Their names, in the order of a net's votes.
    labels : ndarray, shape (N,), int64
        For each sample the number of its class.
    names : sequence of str
        A file within the folder, or "digits.csv:17".
    groups : ndarray, shape (N,), int64, or None
        Samples of one number belong together, such as the sentences of a document: `split` keeps them so.
    preprocessing : Preprocessing
        Without statistics and vocabulary until it is `fitted`.
    skipped : list of (name, reason)
        What could not be read so far: when it was opened, or when a sample was asked for.
    test : Dataset or None
        The part of the data that its maker set aside for tests.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.data import open_dataset
    >>> rng = np.random.default_rng(0)
    >>> np.savez("noise.npz", x=rng.integers(0, 256, (60, 8, 8), np.uint8), y=np.arange(60) % 3)
    >>> dataset = open_dataset("noise.npz")
    >>> train, held_out = dataset.split(0.2, seed=0)
    >>> dataset = dataset.fitted(train)
    >>> x, y = dataset.batch(held_out)
    >>> x.shape, x.dtype, len(dataset), dataset.classes
    ((12, 1, 8, 8), dtype('float32'), 60, ('0', '1', '2'))
    """

    def __init__(
        self,
        source: Source,
        preprocessing: Preprocessing,
        *,
        normalise: str = "standard",
        cache_bytes: int = 1 << 29,
        store: Store | None = None,
        test: Dataset | None = None,
    ) -> None:
        self._source, self.preprocessing, self.test = source, preprocessing, test
        self._normalise, self._cache_bytes = normalise, cache_bytes
        self._store = Store(len(source.labels), cache_bytes) if store is None else store
        self.path, self.kind, self.classes = source.path, source.kind, source.classes
        self.labels, self.names, self.groups = source.labels, source.names, source.groups

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<Dataset {shown(self.path)}: {len(self)} {self.kind}, {len(self.classes)} classes>"

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """What could not be read so far, and why."""
        return [*self._source.skipped, *((self.names[i], why) for i, why in sorted(self._store.bad.items()))]

    @property
    def counts(self) -> np.ndarray:
        """Samples of each class, (K,), int64."""
        return np.bincount(self.labels, minlength=len(self.classes))

    # ---- samples -----------------------------------------------------------------------------------------

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """Some samples, ready for a net, and the numbers of their classes.

        Parameters
        ----------
        indices : array of int, or slice
            Which; in this order.

        Returns
        -------
        x : ndarray, shape (n, *preprocessing.shape), float32
            Of text as "indices" int64.
        y : ndarray, shape (n,), int64
            What cannot be read is left out of both, and noted in `skipped`: n may be less than asked for.

        Raises
        ------
        DataError
            No sample of the whole data set can be read.
        IndexError
            An index is out of range.
        """
        x, y, _ = self.take(indices)
        return x, y

    def take(self, indices: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `batch`, and the positions in `indices` of the n samples that could be read, ascending."""
        numbers = self._numbers(indices)
        compact, kept = self._compact(numbers)
        return self.preprocessing.finish(compact), self.labels[numbers[kept]], kept

    def batches(
        self,
        indices: Any = None,
        batch_size: int = 32,
        *,
        rng: np.random.Generator | int | None = None,
        shuffle: bool = True,
        augmentation: Augmentation | None = None,
        drop_last: bool = False,
        prefetch: int | None = None,
    ) -> Batches:
        """Batches of (x, y) for `nn.fit`, `nn.evaluate` and the like: see `Batches`."""
        return Batches(
            self,
            self._numbers(slice(None) if indices is None else indices),
            batch_size,
            rng=rng,
            shuffle=shuffle,
            augmentation=augmentation,
            drop_last=drop_last,
            prefetch=prefetch,
        )

    def _numbers(self, indices: Any) -> np.ndarray:
        if isinstance(indices, slice):
            return np.arange(len(self))[indices]
        numbers = np.asarray(indices)
        if numbers.dtype == bool and numbers.shape == self.labels.shape:
            return np.flatnonzero(numbers)
        if numbers.size == 0:
            return np.empty(0, np.int64)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise TypeError(f"indices: {numbers.dtype} {numbers.shape}, must be whole numbers (n,)")
        low, high = int(numbers.min()), int(numbers.max())
        if low < -len(self) or high >= len(self):
            raise IndexError(f"indices: {low} to {high}, the data set has {len(self)} samples")
        return np.where(numbers < 0, numbers + len(self), numbers).astype(np.int64)

    def _compact(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Samples as `compact` gives them, and the positions of those that could be read."""
        if len(numbers):
            at_once = self._source.load_all(numbers, self.preprocessing)
            if at_once is None:
                at_once = self._store.get(numbers)
            if at_once is not None:
                return at_once, np.arange(len(numbers))
        found, good = [], []
        for position, number in enumerate(numbers.tolist()):
            try:
                found.append(self._one(number))
                good.append(position)
            except DataError as error:
                self._store.note(number, self._reason(number, error))
        if not found:
            if len(numbers) and len(self._store.bad) == len(self):
                name, why = self.skipped[0]
                raise DataError(
                    f"{shown(self.path)}: none of its {len(self)} samples can be read; "
                    f"the first, {name}: {why}"
                )
            return np.empty((0, *self.preprocessing.compact_shape), np.float32), np.empty(0, np.intp)
        return np.stack(found), np.array(good)

    def _reason(self, number: int, error: DataError) -> str:
        """What is wrong, without the file in front, whose name stands beside it already."""
        return str(error).removeprefix(f"{self._source.file_of(number)}: ")

    def _one(self, number: int) -> np.ndarray:
        kept = self._store.get_one(number)
        if kept is None:
            if number in self._store.bad:
                raise DataError(self._store.bad[number])
            kept = self.preprocessing.compact(self._source.load(number, self.preprocessing))
            self._store.put(number, kept)
        return kept

    @property
    def is_slow(self) -> bool:
        """Whether samples still have to be decoded, which a thread can do beside the training."""
        return self._source.decodes and not self._store.is_full

    # ---- learning from training samples ------------------------------------------------------------------

    def split(self, fraction: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Indices to learn from and indices held out: `stratified_split` of `labels` and `groups`.

        Raises
        ------
        DataError
            A class has too few samples; it is named.
        """
        lonely = np.flatnonzero(self.counts == 1)
        if len(lonely):
            raise DataError(
                f"{shown(self.path)}: class {self.classes[lonely[0]]!r} has 1 sample; it must have 2 or "
                "more, to hold one out"
            )
        try:
            return stratified_split(self.labels, fraction, seed, self.groups)
        except DataError as error:
            raise DataError(f"{shown(self.path)}: {error}") from None

    def fitted(self, indices: Any = None) -> Dataset:
        """The same data, normalised by statistics (of text, with a vocabulary) of some samples.

        Parameters
        ----------
        indices : array of int, optional
            Those that will be learned from, so that nothing is known of the others. Without it all.
            Statistics are taken from 10,000 of them at most, evenly spread.

        Returns
        -------
        Dataset
            `test` of it is prepared in the same way.
        """
        numbers = self._numbers(slice(None) if indices is None else indices)
        if not len(numbers):
            raise DataError(f"{shown(self.path)}: no sample to learn from")
        learns_from_raw = self.preprocessing.learns_from_raw
        if not learns_from_raw:
            step = len(numbers) / min(len(numbers), STATISTICS)
            numbers = numbers[(np.arange(min(len(numbers), STATISTICS)) * step).astype(np.int64)]
        samples = self._raws(numbers) if learns_from_raw else self._compacts(numbers)
        try:
            preprocessing = self.preprocessing.fitted(samples, self._normalise)
        except DataError as error:  # it knows samples alone, not whose they are
            path = shown(self.path)
            raise DataError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
        test = self.test and self.test._with(preprocessing)
        return self._with(preprocessing, test)

    def laid_out(self, layout: str) -> Dataset:
        """The same texts in another layout, as `TextPreprocessing` has them.

        Raises
        ------
        TypeError
            These are no texts.
        DataError
            There is no such layout.
        """
        made = self.preprocessing
        if not isinstance(made, TextPreprocessing):
            raise TypeError(f"layout={layout!r}: {shown(self.path)} holds {self.kind}, no text")
        return self._with(made.laid_out(layout), self.test and self.test.laid_out(layout))

    def _with(self, preprocessing: Preprocessing, test: Dataset | None = None) -> Dataset:
        store = self._store if preprocessing.same_samples(self.preprocessing) else None
        return Dataset(
            self._source,
            preprocessing,
            normalise=self._normalise,
            cache_bytes=self._cache_bytes,
            store=store,
            test=test,
        )

    def _compacts(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        for part in _chunks(numbers):
            yield from self._compact(part)[0]

    def _raws(self, numbers: np.ndarray) -> Iterator[Any]:
        for number in numbers.tolist():
            try:
                yield self._source.load(number, self.preprocessing)
            except DataError as error:
                self._store.note(number, self._reason(number, error))

    # ---- what there is -----------------------------------------------------------------------------------

    def summary(self) -> str:
        """Sizes, classes and their balance, and what was skipped, as text.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv.data import open_dataset
        >>> np.savez("two.npz", x=np.zeros((4, 8, 8), np.uint8), y=[0, 1, 1, 1])
        >>> print(open_dataset("two.npz").summary())
        two.npz: 4 images in 2 classes, each (1, 8, 8)
        class  samples  share
        ---------------------
        0            1  25.0%
        1            3  75.0%
        ---------------------
        """
        shape = tuple(self.preprocessing.shape)
        what, classes = WHAT.get(self.kind, self.kind), len(self.classes)
        head = f"{shown(self.path)}: {len(self):,} {what} in {classes} classes, each {shape}"
        counts = self.counts
        lines = [("class", "samples", "share")]
        lines += [
            (name, f"{count:,}", f"{count / len(self):.1%}") for name, count in zip(self.classes, counts)
        ]
        parts = [head, *table(lines, "<>>")]
        if self.test is not None:
            parts.append(f"set aside for tests: {len(self.test):,}")
        skipped = self.skipped
        if skipped:
            name, why = skipped[0]
            more = f"; the first, {name}: {why}" if len(skipped) > 1 else f": {name}: {why}"
            parts.append(f"skipped: {len(skipped):,}{more}")
        return "\n".join(parts)


def _chunks(numbers: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(numbers), CHUNK):
        yield numbers[start : start + CHUNK]


class Store:
    """Compact samples that were made once, up to so many bytes; and what could not be made."""

    def __init__(self, count: int, limit: int) -> None:
        self._limit, self._count = limit, count
        self._slots = np.full(count, -1, np.int64)
        self._rows: np.ndarray | None = None
        self._used = 0
        self._lock = Lock()
        self.bad: dict[int, str] = {}

    @property
    def is_full(self) -> bool:
        """Whether every sample that can be made is here."""
        return self._used + len(self.bad) >= self._count

    def get(self, numbers: np.ndarray) -> np.ndarray | None:
        """All of these, if all are here."""
        slots = self._slots[numbers]
        if self._rows is None or not len(slots) or slots.min() < 0:
            return None
        found: np.ndarray = self._rows[slots]
        return found

    def get_one(self, number: int) -> np.ndarray | None:
        """One of them, if it is here."""
        slot = self._slots[number]
        if self._rows is None or slot < 0:
            return None
        found: np.ndarray = self._rows[slot]
        return found

    def put(self, number: int, sample: np.ndarray) -> None:
        """Keep a sample, if there is room. Who comes first stays: in random order none is worth more."""
        with self._lock:
            if self._rows is None:
                capacity = min(self._count, self._limit // max(sample.nbytes, 1))
                self._rows = np.empty((capacity, *sample.shape), sample.dtype)
            rows = self._rows
            if self._used < len(rows) and rows.dtype == sample.dtype and rows.shape[1:] == sample.shape:
                if self._slots[number] >= 0:
                    return
                rows[self._used] = sample
                self._slots[number] = self._used
                self._used += 1

    def note(self, number: int, reason: str) -> None:
        """Remember that a sample cannot be made."""
        with self._lock:
            self.bad.setdefault(number, reason)
