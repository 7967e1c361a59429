"""Rows of a table: numbers in named columns, in an order that means nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastconv.data.errors import DataError
from fastconv.data.preprocessing import Preprocessing, finite


@dataclass(frozen=True, kw_only=True)
class TablePreprocessing(Preprocessing):
    """What is done to rows of a table: each column is normalised by itself.

    Parameters
    ----------
    shape : (1, columns)
    mean, std : tuple of float
        Per column.
    columns : tuple of str, optional
        Their names.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.data import TablePreprocessing
    >>> TablePreprocessing(shape=(1, 2), mean=(1, 2), std=(1, 2)).apply(np.array([3.0, 2.0]))
    array([[2., 0.]], dtype=float32)
    """

    kind: ClassVar[str] = "table"
    ranks: ClassVar[tuple[int, ...]] = (2,)

    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape[0] != 1:
            raise DataError(f"shape={self.shape!r}: of a table it is (1, columns)")
        named = all(isinstance(name, str) for name in self.columns)
        if not named or len(self.columns) not in (0, self.shape[1]):
            raise DataError(f"columns={self.columns!r}: must be {self.shape[1]} names")

    @property
    def _statistics_axis(self) -> int:
        return 1

    def decode(self, path: str | os.PathLike[str]) -> np.ndarray:
        """A CSV file with one row of numbers, without its label; or with a head over them."""
        from fastconv.data.csv_file import read_row

        return read_row(path, self.shape[1])

    def compact(self, raw: Any) -> np.ndarray:
        """The row as (1, columns), float32."""
        row = finite(np.asarray(raw)).reshape(1, -1)
        if row.shape != self.shape:
            raise DataError(f"{row.size} numbers, the table has {self.shape[1]} columns")
        return row.astype(np.float32)
