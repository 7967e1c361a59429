"""The network made by hand: three given features, and voting weights that are listed rather than learned.

Filter, rectify, pool, pool again: 9x9 -> 7x7 -> 4x4 -> 2x2 per feature, twelve values in all. An X is what
lights up five of them, an O what lights up four others. It is right on nine of the ten pictures; the X drawn
with a thick pen is beyond it, which is why the weights had better be learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv.functional import conv2d, max_pool2d, relu
from fastconv.geometry import as_array, check_shape
from fastconv.xo.pictures import deck_features

#: Which of the twelve values (feature, row, column; flattened) vote for an X, and which for an O.
X_VOTERS = (0, 3, 4, 9, 10)
O_VOTERS = (1, 2, 8, 11)


@dataclass(frozen=True)
class HandMadeTrace:
    """Everything the hand-made network computes on the way from pictures to votes, float64.

    Attributes
    ----------
    filtered : ndarray, shape (N, 3, 7, 7)
        How well each feature matches at each position: from -1, the opposite, to 1, a perfect match.
    rectified : ndarray, shape (N, 3, 7, 7)
        The same without negative values.
    pooled : ndarray, shape (N, 3, 4, 4)
        Maxima of 2x2 windows; those at the right and bottom edge hang over and keep what they cover.
    pooled_twice : ndarray, shape (N, 3, 2, 2)
        The same once more.
    votes : ndarray, shape (N, 2)
        For X and for O, from 0 to 1.
    """

    filtered: np.ndarray
    rectified: np.ndarray
    pooled: np.ndarray
    pooled_twice: np.ndarray
    votes: np.ndarray


def match(pictures: Any, features: Any) -> np.ndarray:
    """Line a feature up with every patch of a picture: multiply pixel by pixel, add, divide by their number.

    Parameters
    ----------
    pictures : array, shape (N, C, H, W) or (C, H, W), float32 or float64
        +1 for ink and -1 for paper.
    features : array, shape (K, C, KH, KW), same dtype

    Returns
    -------
    ndarray, shape (N, K, H - KH + 1, W - KW + 1) or without N
        1 where all pixels agree, -1 where none does.

    Raises
    ------
    TypeError, ValueError
        As `fastconv.conv2d`.

    Examples
    --------
    >>> from fastconv.xo import deck_features, match
    >>> features = deck_features()
    >>> match(features[0], features).ravel().round(2)
    array([1.  , 0.56, 0.11], dtype=float32)
    """
    sums = conv2d(pictures, features)
    pixels = features.shape[-3] * features.shape[-2] * features.shape[-1]
    result: np.ndarray = sums / sums.dtype.type(pixels)
    return result


def count_votes(values: Any) -> np.ndarray:
    """Votes for X and for O from the twelve values of a flattened stack of maps.

    Parameters
    ----------
    values : array, shape (N, 12)

    Returns
    -------
    ndarray, shape (N, 2)
        Means over `X_VOTERS` and `O_VOTERS`.

    Raises
    ------
    TypeError, ValueError
        Not an array of that shape.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.xo import count_votes
    >>> count_votes(np.eye(12)[[0, 1]])
    array([[0.2 , 0.  ],
           [0.  , 0.25]])
    """
    values = as_array("values", values)
    check_shape("values", values, (*values.shape[:1], 12))
    return np.stack([values[:, list(voters)].mean(axis=1) for voters in (X_VOTERS, O_VOTERS)], axis=1)


def hand_made(pictures: Any) -> HandMadeTrace:
    """Run the hand-made network and keep every step.

    Parameters
    ----------
    pictures : array, shape (N, 1, 9, 9), float32 or float64
        +1 for ink and -1 for paper.

    Returns
    -------
    HandMadeTrace

    Raises
    ------
    TypeError, ValueError
        Not an array of that shape.

    Notes
    -----
    Computed in float64, where sums of +1 and -1 are exact and each match is the nearest double to its ninth.

    Examples
    --------
    >>> from fastconv.xo import deck_pictures, hand_made
    >>> pictures, labels = deck_pictures()
    >>> votes = hand_made(pictures).votes
    >>> votes[0].round(2), int((votes.argmax(axis=1) == labels).sum())
    (array([1.  , 0.56]), 9)
    """
    pictures = as_array("pictures", pictures)
    check_shape("pictures", pictures, (*pictures.shape[:1], 1, 9, 9))
    filtered = match(pictures.astype(np.float64), deck_features().astype(np.float64))
    rectified = relu(filtered)
    pooled = max_pool2d(rectified, 2, ceil_mode=True)
    pooled_twice = max_pool2d(pooled, 2, ceil_mode=True)
    votes = count_votes(pooled_twice.reshape(len(pooled_twice), -1))
    return HandMadeTrace(filtered, rectified, pooled, pooled_twice, votes)


def two_decimals(value: float) -> str:
    """A value cut off after two decimals, as the example prints it: 7/9 as 0.77 and -1/9 as -0.11.

    Examples
    --------
    >>> from fastconv.xo import two_decimals
    >>> two_decimals(7 / 9), two_decimals(-1 / 9), two_decimals(1.0)
    ('0.77', '-0.11', '1.00')
    """
    # sums may end a hair below the number they are, float32 further; no ninth is that close below a hundredth
    hundredths = int(abs(float(value)) * 100 + 1e-5)
    return f"{'-' if value < 0 and hundredths else ''}{hundredths // 100}.{hundredths % 100:02d}"
