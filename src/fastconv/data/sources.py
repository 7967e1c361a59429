"""Where samples come from: a file each, or the rows of arrays; with their labels and names."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, overload

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.files import shown
from fastconv.data.preprocessing import Preprocessing
from fastconv.data.text import TextPreprocessing, pieces, read_text


class Source(ABC):
    """Samples that are read when they are asked for.

    Attributes
    ----------
    path : str
        What was opened.
    kind : str
    classes : tuple of str
    labels : ndarray, shape (N,), int64
    names : sequence of str
    groups : ndarray, shape (N,), int64, or None
        Which samples belong together.
    skipped : list of (name, reason)
        What was left out when it was opened.
    test : Source or None
        The part of the data that its maker set aside for tests.
    """

    def __init__(
        self,
        path: str,
        kind: str,
        classes: tuple[str, ...],
        labels: np.ndarray,
        names: Sequence[str],
        *,
        groups: np.ndarray | None = None,
        skipped: Sequence[tuple[str, str]] = (),
        test: Source | None = None,
    ) -> None:
        self.path, self.kind, self.classes = path, kind, classes
        self.labels = np.asarray(labels, np.int64)
        self.labels.flags.writeable = False
        self.names, self.groups = names, groups
        self.skipped, self.test = list(skipped), test

    #: Whether decoding a sample is work that a thread can do beside the training.
    decodes = True

    @abstractmethod
    def load(self, index: int, preprocessing: Preprocessing) -> Any:
        """One sample as `preprocessing.decode` gives it; `DataError` if it cannot be read."""

    def file_of(self, index: int) -> str:
        """What messages call the file that a sample is read from."""
        return shown(self.path)

    def cut(self, preprocessing: Preprocessing) -> Source:
        """The same, each file cut into the samples that a preprocessing makes of it."""
        return self

    def load_all(self, indices: np.ndarray, preprocessing: Preprocessing) -> np.ndarray | None:
        """Several as `compact` gives them, if that is one step; else None."""
        return None


class FileSource(Source):
    """A file per sample."""

    def __init__(self, *arguments: Any, files: Sequence[str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.files = files

    def load(self, index: int, preprocessing: Preprocessing) -> Any:
        return preprocessing.decode(self.files[index])

    def file_of(self, index: int) -> str:
        return shown(self.files[index])

    def without(self, bad: Mapping[int, str]) -> FileSource:
        """The same without some files, which are noted as skipped.

        Raises
        ------
        DataError
            All files of a class are gone.
        """
        if not bad:
            return self
        good = [i for i in range(len(self.files)) if i not in bad]
        for number in np.setdiff1d(self.labels, self.labels[good]).tolist():
            place = next(i for i in bad if self.labels[i] == number)
            raise DataError(
                f"{shown(self.path)}: class {self.classes[number]!r} has no file that can be read; "
                f"the first, {self.names[place]}: {bad[place]}"
            )
        return FileSource(
            self.path,
            self.kind,
            self.classes,
            self.labels[good],
            [self.names[i] for i in good],
            files=[self.files[i] for i in good],
            groups=None if self.groups is None else self.groups[good],
            skipped=[*self.skipped, *((self.names[i], why) for i, why in bad.items())],
            test=self.test,
        )

    def cut(self, preprocessing: Preprocessing) -> Source:
        if not isinstance(preprocessing, TextPreprocessing) or preprocessing.cut == "file":
            return self
        return _pieces(self, preprocessing)


def _pieces(source: FileSource, preprocessing: TextPreprocessing) -> FileSource:
    """Every file read once, to see how many samples it holds."""
    counts, bad = np.zeros(len(source.files), int), {}
    for place, path in enumerate(source.files):
        try:
            counts[place] = len(_cut_file(path, preprocessing.cut, preprocessing.encoding))
            if not counts[place]:
                bad[place] = "holds no word"
        except DataError as error:
            bad[place] = str(error).removeprefix(f"{source.file_of(place)}: ")
    kept = source.without(bad)
    counts = np.delete(counts, list(bad))
    of_file = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    numbers = np.arange(len(of_file)) - first[of_file]
    files = of_file.tolist()
    return PieceSource(
        kept.path,
        kept.kind,
        kept.classes,
        kept.labels[of_file],
        [f"{kept.names[file]}:{number + 1}" for file, number in zip(files, numbers)],
        files=[kept.files[file] for file in files],
        groups=of_file if kept.groups is None else kept.groups[of_file],
        skipped=kept.skipped,
        test=kept.test,
        pieces=numbers,
    )


class PieceSource(FileSource):
    """Several samples per file: the lines or sentences of a text."""

    def __init__(self, *arguments: Any, pieces: np.ndarray, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._pieces = pieces

    def load(self, index: int, preprocessing: Preprocessing) -> Any:
        assert isinstance(preprocessing, TextPreprocessing)
        found = _cut_file(self.files[index], preprocessing.cut, preprocessing.encoding)
        if self._pieces[index] >= len(found):
            raise DataError(f"{self.file_of(index)}: has changed since it was opened")
        return found[self._pieces[index]]


@lru_cache(maxsize=32)
def _cut_file(path: str, cut: str, encoding: str) -> list[list[str]]:
    return pieces(read_text(path, encoding), cut)


class ArraySource(Source):
    """The rows of an array, which may be mapped from a file."""

    decodes = False

    def __init__(self, *arguments: Any, rows: np.ndarray, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.rows = rows

    def load(self, index: int, preprocessing: Preprocessing) -> Any:
        return self.rows[index]

    def load_all(self, indices: np.ndarray, preprocessing: Preprocessing) -> np.ndarray | None:
        # shapes and dtype decide, so that one row tells whether the others are worth gathering
        if preprocessing.compact_all(self.rows[:1]) is None:
            return None
        return preprocessing.compact_all(self.rows[indices])


class Numbered(Sequence[str]):
    """Names "file:17", made when they are asked for."""

    def __init__(self, path: str, numbers: np.ndarray, part: str = "") -> None:
        self._head = f"{os.path.basename(path)}:{part}"
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [f"{self._head}{number}" for number in self.numbers[index]]
        return f"{self._head}{self.numbers[index]}"
