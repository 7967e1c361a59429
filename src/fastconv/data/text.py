"""Text: a grid of words by positions, or the numbers of the words."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.files import one_line, read_bounded, shown
from fastconv.data.preprocessing import Preprocessing, check_numbers, check_word

#: Bytes that a text file may have.
LARGEST_TEXT = 1 << 26

#: What is a word: letters, digits, and apostrophes between them.
WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")

#: What a sample is: a file, each line of it, or each sentence.
CUTS = ("file", "line", "sentence")

#: Where a sentence ends: at a mark before white space, or at an empty line.
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")

#: What the net gets: words as channels, as the rows of a picture, or as numbers.
LAYOUTS = ("channels", "grid", "indices")

#: Row 0 of the grid, and what number a word has that the vocabulary lacks; numbers count from 1, 0 is
#: nothing.
OTHER = 1


@dataclass(frozen=True, kw_only=True)
class TextPreprocessing(Preprocessing):
    """What is done to texts: which word of the vocabulary stands at which position.

    Parameters
    ----------
    shape : tuple of int
        (words, positions) as "channels": the kernels of a 1-D convolution are then as high as the dictionary.
        (1, words, positions) as "grid", the same as a picture. (positions,) as "indices". The first row is
        any word that is not in the vocabulary; a text that is shorter ends in columns of zeros.
    length : int
        Positions; what is longer is cut.
    vocabulary : tuple of str
        Words in lower case, the most frequent first; learned by `fitted`.
    words : int, default 1000
        How many to learn.
    layout : str, default "channels"
        Or "grid" or "indices": int64, for a table of embeddings that is learned. There 0 is no word, 1 any
        word that is not in the vocabulary, and the vocabulary follows.
    cut : str, default "file"
        What a sample is: a "file", each "line" of it, or each "sentence".
    encoding : str, default "utf-8"
        Of files that do not begin with a mark that says.

    Examples
    --------
    >>> from fastconv.data import TextPreprocessing
    >>> made = TextPreprocessing(shape=(3, 4), length=4, vocabulary=("be", "to"))
    >>> made.apply("To be, or ...")
    array([[0., 0., 1., 0.],
           [0., 1., 0., 0.],
           [1., 0., 0., 0.]], dtype=float32)
    """

    kind: ClassVar[str] = "text"
    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)
    learns_from_raw: ClassVar[bool] = True

    length: int
    vocabulary: tuple[str, ...] = ()
    words: int = 1000
    layout: str = "channels"
    cut: str = "file"
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        check_numbers(length=self.length, words=self.words)
        check_word("layout", self.layout, LAYOUTS)
        check_word("cut", self.cut, CUTS)
        super().__post_init__()
        try:
            "".encode(self.encoding)
        except (LookupError, TypeError):
            raise DataError(f"encoding={self.encoding!r}: unknown") from None
        if not all(isinstance(word, str) for word in self.vocabulary):
            raise DataError("vocabulary: must be words")
        if len(set(self.vocabulary)) != len(self.vocabulary):
            raise DataError("vocabulary: a word is there twice")
        if self.shape != text_shape(self.layout, len(self.vocabulary), self.length):
            raise DataError(
                f"shape={self.shape!r}: {len(self.vocabulary)} words and {self.length} positions as "
                f"{self.layout!r} have {text_shape(self.layout, len(self.vocabulary), self.length)}"
            )

    def decode(self, path: str | os.PathLike[str]) -> list[str]:
        """The words of a whole file, in lower case."""
        return split_words(read_text(path, self.encoding))

    def compact(self, raw: Any) -> np.ndarray:
        """The numbers of the words, (length,), int32; 0 where there is none."""
        found = split_words(raw) if isinstance(raw, str) else raw
        if not isinstance(found, Sequence) or not all(isinstance(word, str) for word in found):
            raise DataError(f"{type(raw).__name__}, must be text or a list of words")
        if not found:
            raise DataError("holds no word")
        numbers = self._numbers
        made = np.zeros(self.length, np.int32)
        found = found[: self.length]
        made[: len(found)] = [numbers.get(word, OTHER) for word in found]
        return made

    @property
    def rows(self) -> int | None:
        """As "indices": nothing, any other word, and the vocabulary."""
        return len(self.vocabulary) + 2 if self.layout == "indices" else None

    @property
    def compact_shape(self) -> tuple[int, ...]:
        """(length,)."""
        return (self.length,)

    def laid_out(self, layout: str) -> TextPreprocessing:
        """The same in another layout."""
        check_word("layout", layout, LAYOUTS)
        return replace(self, layout=layout, shape=text_shape(layout, len(self.vocabulary), self.length))

    def finish(self, batch: np.ndarray) -> np.ndarray:
        """One at the row of each word; or as "indices" the numbers themselves, int64."""
        if self.layout == "indices":
            return batch.astype(np.int64)
        made = np.zeros((len(batch), len(self.vocabulary) + 1, self.length), np.float32)
        sample, position = np.nonzero(batch)
        made[sample, batch[sample, position] - 1, position] = 1
        return made.reshape(len(batch), *self.shape)

    def fitted(self, samples: Iterable[Any], normalise: str) -> TextPreprocessing:
        """With the words that most training samples hold; ties in the order of the alphabet."""
        counts: Counter[str] = Counter()
        for sample in samples:
            counts.update(set(sample))
        if not counts:
            raise DataError("no word to learn from")
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        vocabulary = tuple(ranked[: self.words])
        return replace(
            self, vocabulary=vocabulary, shape=text_shape(self.layout, len(vocabulary), self.length)
        )

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.vocabulary, OTHER + 1)}


def text_shape(layout: str, words: int, length: int) -> tuple[int, ...]:
    """The shape of one text."""
    return {"channels": (words + 1, length), "grid": (1, words + 1, length), "indices": (length,)}[layout]


def split_words(text: str) -> list[str]:
    """Words in lower case, without what stands between them."""
    return WORD.findall(text.lower().replace("\u2019", "'"))


def pieces(text: str, cut: str) -> list[list[str]]:
    """The samples of a text, each as words; those without a word left out."""
    parts = [text]
    if cut == "line":
        parts = text.splitlines()
    elif cut == "sentence":
        parts = SENTENCE.split(text)
    return [words for part in parts if (words := split_words(part))]


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """A text file, gzipped or not.

    Raises
    ------
    DataError
        It holds bytes that no text has, or is in another encoding.
    """
    data = read_bounded(path, LARGEST_TEXT)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif data.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)}: no {encoding} text: {one_line(error)}") from None
    if "\0" in text:
        raise DataError(f"{shown(path)}: no text: holds null characters")
    return text
