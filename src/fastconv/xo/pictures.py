"""The ten pictures and three features of the X-or-O example, as arrays of +1 (ink) and -1 (paper).

One clean X and one clean O, and of each the four cases that make the task hard for a literal comparison of
pixels: moved, shrunk, turned and drawn with a thick pen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastconv.geometry import whole_number

#: The classes in the order of a network's votes: label 0 is an X, label 1 an O.
LETTERS = ("X", "O")

#: A pixel of a scaled drawing is ink where it is covered at least this part as much as the most covered one.
COVERAGE = 0.4


@dataclass(frozen=True)
class DeckPicture:
    """One of the ten pictures.

    Attributes
    ----------
    name : str
        The letter and what was done to it, such as "X rotated".
    label : int
        Index into `LETTERS`.
    rows : tuple of str
        "#" for ink and "." for paper.
    """

    name: str
    label: int
    rows: tuple[str, ...]

    @property
    def pixels(self) -> np.ndarray:
        """The picture as a float32 array of shape (9, 9), +1 for ink and -1 for paper."""
        return picture_from_rows(self.rows)


def picture_from_rows(rows: tuple[str, ...] | list[str]) -> np.ndarray:
    """A picture drawn in text, as numbers.

    Parameters
    ----------
    rows : sequence of str
        Rows of equal length, "#" for ink and "." for paper.

    Returns
    -------
    ndarray, shape (rows, columns), float32
        +1 for ink, -1 for paper.

    Raises
    ------
    ValueError
        No rows, rows of unequal length, or another character.

    Examples
    --------
    >>> from fastconv.xo import picture_from_rows
    >>> picture_from_rows(["#.", ".#"])
    array([[ 1., -1.],
           [-1.,  1.]], dtype=float32)
    """
    if (
        not rows
        or not rows[0]
        or any(len(row) != len(rows[0]) for row in rows)
        or set("".join(rows)) - set("#.")
    ):
        raise ValueError(f"rows={list(rows)!r}: must be rows of equal length made of '#' and '.'")
    return np.array([[1.0 if pixel == "#" else -1.0 for pixel in row] for row in rows], np.float32)


def _picture(name: str, text: str) -> DeckPicture:
    return DeckPicture(name, LETTERS.index(name[0]), tuple(text.split()))


DECK = (
    _picture(
        "X",
        ".........  .#.....#.  ..#...#..  ...#.#...  ....#....  ...#.#...  ..#...#..  .#.....#.  .........",
    ),
    _picture(
        "X translated",
        "#.....#..  .#...#...  ..#.#....  ...#.....  ..#.#....  .#...#...  #.....#..  .........  .........",
    ),
    _picture(
        "X scaled",
        ".........  .........  ..#...#..  ...#.#...  ....#....  ...#.#...  ..#...#..  .........  .........",
    ),
    _picture(
        "X rotated",
        ".........  ......#..  .#...#...  ..##.#...  ....#....  ...#.##..  ...#...#.  ..#......  .........",
    ),
    _picture(
        "X weight",
        ".........  ##....##.  .##..##..  ..####...  ...##....  ..####...  .##..##..  ##....##.  .........",
    ),
    _picture(
        "O",
        ".........  ...###...  ..#...#..  .#.....#.  .#.....#.  .#.....#.  ..#...#..  ...###...  .........",
    ),
    _picture(
        "O translated",
        ".........  .........  ..###....  .#...#...  #.....#..  #.....#..  #.....#..  .#...#...  ..###....",
    ),
    _picture(
        "O scaled",
        ".........  .........  ...###...  ..#...#..  ..#...#..  ..#...#..  ...###...  .........  .........",
    ),
    _picture(
        "O rotated",
        ".........  ...##....  ..#..##..  ..#....#.  .#.....#.  .#....#..  ..##..#..  ....##...  .........",
    ),
    _picture(
        "O weight",
        ".........  ...###...  ..#####..  .##...##.  .##...##.  .##...##.  ..#####..  ...###...  .........",
    ),
)


def deck_pictures(size: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """The ten pictures as a batch, in the order of `DECK`.

    Parameters
    ----------
    size : int, default 9
        Height and width in pixels; other than 9, the originals are scaled with `scale_ink`.

    Returns
    -------
    pictures : ndarray, shape (10, 1, size, size), float32
        +1 for ink and -1 for paper.
    labels : ndarray, shape (10,), int64
        Indices into `LETTERS`.

    Raises
    ------
    TypeError, ValueError
        `size` is not an integer of at least 1.

    Examples
    --------
    >>> from fastconv.xo import deck_pictures
    >>> pictures, labels = deck_pictures()
    >>> pictures.shape, labels.tolist()
    ((10, 1, 9, 9), [0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    """
    size = whole_number("size", size, 1)
    pictures = np.stack([picture.pixels for picture in DECK])
    if size != pictures.shape[-1]:
        ink = np.stack([scale_ink(picture > 0, size, size) for picture in pictures])
        pictures = np.where(ink, np.float32(1), np.float32(-1))
    return pictures[:, None], np.array([picture.label for picture in DECK])


def deck_features() -> np.ndarray:
    """The three 3x3 features: a falling diagonal, a small X, a rising diagonal.

    Returns
    -------
    ndarray, shape (3, 1, 3, 3), float32

    Examples
    --------
    >>> from fastconv.xo import deck_features
    >>> deck_features()[1, 0]
    array([[ 1., -1.,  1.],
           [-1.,  1., -1.],
           [ 1., -1.,  1.]], dtype=float32)
    """
    drawings = (("#..", ".#.", "..#"), ("#.#", ".#.", "#.#"), ("..#", ".#.", "#.."))
    return np.stack([picture_from_rows(rows) for rows in drawings])[:, None]


def scale_ink(ink: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A drawing in ink at another size, whose thinnest lines neither vanish nor grow without need.

    Parameters
    ----------
    ink : ndarray of bool, shape (H, W)
    rows, columns : int
        The new size.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
        Each pixel stands for an equal box of the original. It is ink if at least `COVERAGE` times as much of
        it is covered as of the pixel that is covered most.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.xo import scale_ink
    >>> scale_ink(np.eye(40, dtype=bool), 2, 2)
    array([[ True, False],
           [False,  True]])
    """
    coverage = resample(np.asarray(ink, np.float64), rows, columns)
    return coverage >= max(COVERAGE * float(coverage.max()), 1e-12)


def resample(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means of a (H, W) array over rows x columns equal boxes, whose borders may cut pixels."""
    for count in (rows, columns):
        sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
        cuts = np.linspace(0, len(values), count + 1)
        whole = np.minimum(cuts.astype(int), len(values) - 1)
        at_cuts = sums[whole] + (cuts - whole)[:, None] * values[whole]
        values = np.diff(at_cuts, axis=0).T * (count / len(values))
    return values
