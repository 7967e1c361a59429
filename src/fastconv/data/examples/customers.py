"""A table of customers: what each column says does not depend on where it stands."""

from __future__ import annotations

import csv
import errno
import io
import os

import numpy as np

from fastconv.geometry import whole_number
from fastconv.nn.archive import write_whole

#: What is known of a customer: name, age, address, mail, browsing and purchases, as numbers.
COLUMNS = (
    "letters in the name",
    "initial of the name",
    "age",
    "house number",
    "street",
    "postal code",
    "years at this address",
    "digits in the mail address",
    "years as a customer",
    "days since the last visit",
    "visits a month",
    "minutes a visit",
    "purchases last year",
    "spent last year",
    "returned last year",
    "complaints",
)

#: Whether a customer has come back.
CLASSES = ("gone", "back")


def draw_customers(count: int, rng: np.random.Generator | int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Customers, and whether they have come back.

    Columns have to do with each other (who visits often buys more), and some of them, together, with the
    answer; names and addresses say nothing. Nothing has to do with which columns are neighbours.

    Parameters
    ----------
    count : int
    rng : numpy.random.Generator or int, optional

    Returns
    -------
    x : ndarray, shape (count, 16), float32
        The `COLUMNS`.
    y : ndarray, shape (count,), int64
        1 if the customer has come back, which somewhat fewer than half have.

    Examples
    --------
    >>> from fastconv.data.examples import draw_customers
    >>> x, y = draw_customers(200, rng=0)
    >>> x.shape, bool(60 < y.sum() < 140)
    ((200, 16), True)
    """
    count = whole_number("count", count, 1)
    rng = np.random.default_rng(rng)
    eager = rng.standard_normal(count)  # what nobody sees
    age = rng.uniform(18, 85, count)
    years = np.minimum(rng.exponential(4, count), age - 17)
    visits = np.exp(0.7 * eager + 0.4 * rng.standard_normal(count) + 0.5)
    minutes = np.exp(0.5 * rng.standard_normal(count) + 1.5)
    bought = rng.poisson(1 + visits)
    returned = rng.binomial(bought, 0.15)
    complaints = rng.poisson(0.2 + 0.5 * returned)
    since = rng.exponential(30 / visits)
    spent = bought * np.exp(0.5 * rng.standard_normal(count) + 3)
    x = np.column_stack(
        [
            rng.poisson(6, count) + 3,
            rng.integers(0, 26, count),
            age,
            rng.integers(1, 200, count),
            rng.integers(0, 500, count),
            rng.integers(10_000, 99_999, count),
            rng.exponential(8, count),
            rng.poisson(1, count),
            years,
            since,
            visits,
            minutes,
            bought,
            spent,
            returned,
            complaints,
        ]
    )
    wish = 1.3 * eager + 0.25 * years - 0.9 * complaints + 0.02 * (age - 50) - 0.02 * since
    return x.astype(np.float32), (wish + 0.7 * rng.logistic(size=count) > 0.4).astype(np.int64)


def write_customers(path: str | os.PathLike[str], count: int = 2000, seed: int = 0) -> None:
    """A CSV file of customers; its last column says who has come back.

    Parameters
    ----------
    path : str or path
        Must not be there yet.
    count : int, default 2000
    seed : int

    Raises
    ------
    FileExistsError
        The file is there.
    """
    x, y = draw_customers(count, np.random.default_rng(seed))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*COLUMNS, "label"])
    rows.writerows([*(f"{value:.6g}" for value in line), CLASSES[label]] for line, label in zip(x, y))
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(path))
    write_whole(os.path.realpath(path), lambda file: file.write(text.getvalue().encode()))
