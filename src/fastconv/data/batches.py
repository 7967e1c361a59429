"""Batches of a data set, epoch after epoch, made in a thread while the net learns."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fastconv.data.augmentation import Augmentation
from fastconv.geometry import flag, whole_number
from fastconv.nn.arguments import Rng, generator

if TYPE_CHECKING:
    from fastconv.data.dataset import Dataset

#: Batches that wait for the net, where nobody asked for a number.
AHEAD = 3

#: Bytes of float32 that are prepared in one piece: fewer calls, and still in cache.
PIECE_BYTES = 1 << 19

Pair = tuple[np.ndarray, np.ndarray]


class Batches:
    """All batches of an epoch, each time it is iterated over.

    Parameters
    ----------
    dataset : Dataset
    indices : array of int
        The samples.
    batch_size : int, default 32
        The last batch takes what is left. What cannot be read is missing from its batch.
    rng : numpy.random.Generator, int seed or None
        Every epoch draws one number from it, which decides order and augmentation. The generator that
        `nn.fit` is given, too, is kept in its checkpoints, so that a resumed training goes on to the same
        bits.
    shuffle : bool, default True
        Another order in every epoch.
    augmentation : Augmentation, optional
        What is done to every batch.
    drop_last : bool, default False
        Leave out what does not fill a batch.
    prefetch : int, optional
        Batches that a thread makes ahead; 0 for none. Without it 3 where samples have to be decoded or are
        augmented, else 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> from fastconv.data import open_dataset
    >>> x = np.zeros((64, 8, 8), np.uint8)
    >>> x[::2, :4], x[1::2, 4:] = 255, 255
    >>> np.savez("halves.npz", x=x, y=np.arange(64) % 2)
    >>> dataset = open_dataset("halves.npz").fitted()
    >>> rng = np.random.default_rng(0)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2, rng=0))
    >>> history = nn.fit(net, dataset.batches(batch_size=16, rng=rng), epochs=3, rng=rng, progress=False,
    ...                  loss=nn.CrossEntropyLoss(), optimizer=nn.Adam(net.parameters(), 0.01))
    >>> history.accuracy[-1]
    1.0
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: np.ndarray,
        batch_size: int = 32,
        *,
        rng: Rng = None,
        shuffle: bool = True,
        augmentation: Augmentation | None = None,
        drop_last: bool = False,
        prefetch: int | None = None,
    ) -> None:
        self.dataset, self.indices = dataset, np.asarray(indices)
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.shuffle, self.augmentation = flag("shuffle", shuffle), augmentation
        self.drop_last = flag("drop_last", drop_last)
        self._prefetch = None if prefetch is None else whole_number("prefetch", prefetch, 0)
        self._rng = generator("rng", rng)
        if augmentation is not None:
            augmentation.check(dataset.preprocessing.shape)
        if not len(self):
            raise ValueError(f"indices: {len(self.indices)} samples fill no batch of {batch_size}")

    def __len__(self) -> int:
        count = len(self.indices) / self.batch_size
        return math.floor(count) if self.drop_last else math.ceil(count)

    def __iter__(self) -> Iterator[Pair]:
        rng = np.random.default_rng(self._rng.integers(2**63))
        ahead = self._prefetch
        if ahead is None:
            works = self.dataset.is_slow or self.augmentation is not None
            ahead = AHEAD if works else 0
        made = self._made(rng)
        return _made_ahead(made, ahead) if ahead else made

    def _made(self, rng: np.random.Generator) -> Iterator[Pair]:
        order = rng.permutation(self.indices) if self.shuffle else self.indices
        order = order[: len(self) * self.batch_size]
        one = 4 * math.prod(self.dataset.preprocessing.shape) * self.batch_size
        piece = self.batch_size * max(1, PIECE_BYTES // one)
        for start in range(0, len(order), piece):
            yield from self._piece(order[start : start + piece], rng)

    def _piece(self, indices: np.ndarray, rng: np.random.Generator) -> Iterator[Pair]:
        """Several batches that are prepared together; what cannot be read does not move their borders."""
        x, y, kept = self.dataset.take(indices)
        if self.augmentation is not None and len(x):
            x = self.augmentation(x, rng)
        borders = np.searchsorted(kept, np.arange(0, len(indices) + self.batch_size, self.batch_size))
        for start, stop in pairwise(borders):
            if stop > start:
                yield x[start:stop], y[start:stop]


class _Failed:
    """An exception on its way from the thread."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _made_ahead(source: Iterator[Pair], ahead: int) -> Iterator[Pair]:
    """What an iterator gives, made by a thread that is so many things ahead, and ends with its reader."""
    waiting: queue.Queue[Pair | _Failed | None] = queue.Queue(ahead)
    over = threading.Event()

    def put(thing: Pair | _Failed | None) -> None:
        while not over.is_set():
            try:
                waiting.put(thing, timeout=0.1)
                return
            except queue.Full:
                continue

    thread = threading.Thread(target=_produce, args=(source, put, over), daemon=True, name="fastconv-batches")
    thread.start()
    try:
        while (thing := waiting.get()) is not None:
            if isinstance(thing, _Failed):
                raise thing.error
            yield thing
    finally:
        over.set()
        thread.join()


def _produce(
    source: Iterator[Pair], put: Callable[[Pair | _Failed | None], None], over: threading.Event
) -> None:
    try:
        for thing in source:
            put(thing)
            if over.is_set():
                return
        put(None)
    except BaseException as error:  # whatever it is belongs to the reader
        put(_Failed(error))
