"""Tables as text: a label and pixels, or a label and numbers of any other meaning, in every line."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO

import numpy as np

from fastconv.data.arrays import Wanted, array_source
from fastconv.data.errors import DataError
from fastconv.data.files import IN_MEMORY, shown, unpacked
from fastconv.data.labels import listed, spelled
from fastconv.data.sources import ArraySource
from fastconv.terminal import printable

#: Names of columns that are labels.
LABELS = ("label", "labels", "class", "target", "y", "category", "species")

#: What stands between cells.
DELIMITERS = ",;\t"

#: Lines that are looked at to see what is what, and that are parsed together.
LOOKED_AT = 100
CHUNK = 1024

#: Different labels that are counted.
MOST_CLASSES = 10_000

#: Bytes of one line.
LONGEST_LINE = 1 << 24


@dataclass(frozen=True)
class Layout:
    """How a table is written."""

    delimiter: str
    head: tuple[str, ...]  # empty if there is none
    label: int | None  # None if nothing but its values can tell
    width: int  # cells in a line
    quoted: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns other than the label's."""
        names = self.head or tuple(f"column {i + 1}" for i in range(self.width))
        return tuple(name for i, name in enumerate(names) if i != self.label)


def csv_source(path: str, wanted: Wanted) -> tuple[ArraySource, tuple[str, ...]]:
    """The lines of a CSV file, gzipped or not, and the names of their columns.

    What is no row of numbers with a label is left out, and noted in `skipped`.

    Raises
    ------
    DataError
        No lines of numbers, no column that could be the label, or several columns of words.
    """
    with unpacked(path) as file:
        layout = _layout(path, list(islice(_lines(path, file), LOOKED_AT)), wanted.label)
    if layout.label is None:
        layout = replace(layout, label=_end_of_classes(path, layout))
    labels: list[str] = []
    numbers: list[int] = []
    skipped: list[tuple[str, str]] = []
    with closing(_Rows(layout.width - 1)) as rows, unpacked(path) as file:
        lines = _lines(path, file)
        number = 1
        if layout.head:
            next(lines)
            number = 2
        while chunk := list(islice(lines, CHUNK)):
            parsed, own, bad = _parse(chunk, layout)
            good = [i for i in range(len(chunk)) if i not in bad]
            rows.add(parsed[good])
            labels += [own[i] for i in good]
            numbers += [number + i for i in good]
            name = os.path.basename(path)
            skipped += [(f"{name}:{number + i}", why) for i, why in sorted(bad.items()) if why]
            number += len(chunk)
        table = rows.array()
    if not labels:
        why = f"; the first, {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise DataError(f"{shown(path)}: holds no row of numbers{why}")
    words, unlabelled = spelled(shown(path), _as_numbers(labels))
    source = array_source(path, table, words, unlabelled, wanted, numbers=np.array(numbers))
    source.skipped = [*skipped, *source.skipped]
    return source, layout.columns


def read_row(path: str | os.PathLike[str], width: int) -> np.ndarray:
    """The only row of a CSV file, without a label; there may be a head over it.

    Raises
    ------
    DataError
        It has another number of rows or cells, or words.
    """
    name = shown(path)
    with unpacked(path) as file:
        lines = [line for line in islice(_lines(path, file), 3) if line.strip()]
    rows = [_cells(line, _delimiter(line)) for line in lines]
    if len(rows) == 2 and any(_number(cell) is None for cell in rows[0]):
        rows = rows[1:]
    if len(rows) != 1:
        raise DataError(f"{name}: {'several' if rows else 'no'} rows, must be one row of {width} numbers")
    numbers = [_number(cell) for cell in rows[0]]
    if len(numbers) != width or None in numbers:
        raise DataError(f"{name}: must be one row of {width} numbers, without the label")
    return np.array(numbers, np.float64)


# ---- the layout ------------------------------------------------------------------------------------------


def _lines(path: str | os.PathLike[str], file: IO[bytes]) -> Iterator[str]:
    """Lines of text; `DataError` where the file is something else."""
    first = True
    while data := file.readline(LONGEST_LINE + 1):
        if len(data) > LONGEST_LINE:
            raise DataError(f"{shown(path)}: a line of more than {LONGEST_LINE:,} bytes")
        if first and b"\0" in data:
            raise DataError(f"{shown(path)}: no text: holds null characters")
        yield data.decode("utf-8-sig" if first else "utf-8", "replace").rstrip("\r\n")
        first = False


def _delimiter(line: str) -> str:
    found = max(DELIMITERS, key=line.count)
    return found if line.count(found) else " "


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    if '"' in line:
        line = next(csv.reader([line], delimiter=delimiter), [])  # type: ignore[assignment]
        return [cell.strip() for cell in line]
    return [cell.strip() for cell in line.split(delimiter)]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _layout(path: str, lines: Sequence[str], label: str | int | None) -> Layout:
    name = shown(path)
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise DataError(f"{name}: holds no line of text")
    delimiter = _delimiter(filled[0])
    rows = [_cells(line, delimiter) for line in filled]
    width = max((len(row) for row in rows), key=[len(row) for row in rows].count)
    if width < 2:
        raise DataError(f"{name}: one cell in a line; must be a label and numbers, with commas between")
    body = [row for row in rows[1:] if len(row) == width] or rows[:1]
    words = [
        sum(_number(row[i]) is None and row[i] != "" for row in body) > len(body) / 2 for i in range(width)
    ]
    heads = [_number(cell) is None and not words[i] for i, cell in enumerate(rows[0])]
    head = tuple(rows[0]) if len(rows) > 1 and len(rows[0]) == width and any(heads) else ()
    if head:
        head = tuple(printable(cell) or f"column {i + 1}" for i, cell in enumerate(head))
    place = _label(name, label, head, words)
    others = [(head[i] if head else f"column {i + 1}") for i in range(width) if words[i] and i != place]
    if others:
        raise DataError(f"{name}: {listed(others)} hold{'s' * (len(others) == 1)} words; only the label may")
    return Layout(delimiter, head, place, width, any('"' in line for line in filled))


def _end_of_classes(path: str, layout: Layout) -> int:
    """The first column or the last, whichever has whole numbers, several of each; the first if both."""
    ends: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    with unpacked(path) as file:
        for line in islice(_lines(path, file), 1 if layout.head else 0, None):
            if layout.delimiter == " " or layout.quoted:
                cells = _cells(line, layout.delimiter) or [""]
                first, last = cells[0], cells[-1]
            else:
                first = line.partition(layout.delimiter)[0].strip()
                last = line.rpartition(layout.delimiter)[2].strip()
            for end, cell in zip(ends, (first, last)):
                if len(end) < MOST_CLASSES:
                    end[cell] += 1
    for place, end in zip((0, layout.width - 1), ends):
        whole = [
            n for cell, n in end.items() if (number := _number(cell)) is not None and number.is_integer()
        ]
        lines = sum(end.values())
        if len(whole) >= 2 and sum(whole) >= 0.9 * lines and len(whole) <= max(2, lines // 2):
            return place
    raise DataError(
        f"{shown(path)}: neither the first nor the last column looks like a label; label= says which is"
    )


def _label(name: str, label: str | int | None, head: tuple[str, ...], words: list[bool]) -> int | None:
    """Which column is the label; None if no name says."""
    width = len(words)
    if isinstance(label, int) and not isinstance(label, bool):
        if not -width <= label < width:
            raise DataError(f"{name}: label={label}: must be {-width} to {width - 1}, one of its columns")
        return label % width
    if label in ("first", "last"):
        return 0 if label == "first" else width - 1
    if label is not None:
        if label not in head:
            raise DataError(
                f"{name}: label={label!r}: must be one of its columns, {listed(head) or 'unnamed'}"
            )
        return head.index(label)
    named = [i for i, cell in enumerate(head) if cell.lower() in LABELS]
    if named:
        return named[0]
    if any(words):
        return words.index(True)
    return None


# ---- the rows --------------------------------------------------------------------------------------------


def _parse(lines: list[str], layout: Layout) -> tuple[np.ndarray, list[str], dict[int, str]]:
    """Numbers of so many lines, their labels, and of bad lines what is wrong ('' for empty ones)."""
    last = layout.width - 1
    if not layout.quoted and layout.delimiter != " " and layout.label in (0, last):
        if layout.label == 0:
            split = [line.partition(layout.delimiter)[::2] for line in lines]
        else:
            split = [line.rpartition(layout.delimiter)[::-2] for line in lines]
        try:
            table = np.loadtxt(
                io.StringIO("\n".join(rest for _, rest in split)),
                delimiter=layout.delimiter, comments=None, ndmin=2,
            )  # fmt: skip
            if table.shape == (len(lines), last) and np.isfinite(table).all():
                return table, [label.strip() for label, _ in split], {}
        except ValueError:  # some line is bad: one by one
            pass
    table = np.zeros((len(lines), last))
    labels, bad = [""] * len(lines), {}
    for i, line in enumerate(lines):
        cells = _cells(line, layout.delimiter)
        if not line.strip():
            bad[i] = ""
        elif len(cells) != layout.width:
            bad[i] = f"has {len(cells)} cells, must have {layout.width}"
        else:
            labels[i] = cells.pop(layout.label or 0)
            numbers = [_number(cell) for cell in cells]
            wrong = [j for j, n in enumerate(numbers) if n is None or not np.isfinite(n)]
            if wrong:
                cell = printable(cells[wrong[0]]) or "nothing"
                bad[i] = f"{layout.columns[wrong[0]]} is {cell}, must be a finite number"
            else:
                table[i] = numbers
    return table, labels, bad


def _as_numbers(labels: list[str]) -> np.ndarray:
    """Labels as numbers, if all are, so that 3 and 3.0 are one class; else the words."""
    numbers = [_number(label) for label in labels]
    if None in numbers:
        return np.array(labels)
    return np.array(numbers, np.float64)


class _Rows:
    """A table that grows: bytes if its numbers are pixels, else float32; on disk if it becomes large."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._dtype: np.dtype = np.dtype("u1")
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115

    def add(self, table: np.ndarray) -> None:
        """More rows."""
        if self._dtype.kind == "u" and not _are_bytes(table):
            self._dtype = np.dtype("f4")
            with self._file as before:
                self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
                before.seek(0)
                while data := before.read(1 << 24):
                    self._file.write(np.frombuffer(data, np.uint8).astype(np.float32).tobytes())
        self._file.write(table.astype(self._dtype).tobytes())

    def array(self) -> np.ndarray:
        """All rows."""
        size = self._file.tell()
        shape = (size // (self._width * self._dtype.itemsize), self._width)
        if size > IN_MEMORY:
            self._file.flush()
            return np.asarray(np.memmap(self._file, self._dtype, "r", shape=shape))
        self._file.seek(0)
        return np.frombuffer(self._file.read(), self._dtype).reshape(shape)

    def close(self) -> None:
        """Give the file back; what is mapped stays."""
        self._file.close()


def _are_bytes(table: np.ndarray) -> bool:
    if not table.size:
        return True
    return bool(table.min() >= 0 and table.max() <= 255 and (table == np.rint(table)).all())
