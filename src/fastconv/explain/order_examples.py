"""The rule of thumb on five kinds of data where the answer is known beforehand.

```sh
python -m fastconv.explain.order_examples order-examples.png     # needs scikit-learn and Matplotlib
```

Of a table and of wines the order of columns is nothing, of pictures something; of a text the order of its
positions is, that of the dictionary is exactly nothing. What each score may differ by and still be as good is
chosen before anything is measured: 2 points, and 3 of the wines, of which there are 178, so that the
standard error of an accuracy of 97% is 1.3 points.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.data import TextPreprocessing, open_dataset
from fastconv.data.examples import draw_customers, write_sentences
from fastconv.explain.learner import Learner, fully_connected
from fastconv.explain.order import OrderSensitivity, order_sensitivity
from fastconv.explain.order_picture import draw_orders
from fastconv.terminal import need

#: Accuracy that is as good as none, chosen beforehand.
MARGIN, MARGIN_OF_WINES = 0.02, 0.03

#: Of sentences: words told apart, positions, and the fewest words that show an order.
WORDS, POSITIONS, SHORTEST = 300, 16, 8


def digits(count: int = 1000, **options: Any) -> OrderSensitivity:
    """Pictures of digits: their columns."""
    X, y = need("sklearn.datasets", "scikit-learn").load_digits(return_X_y=True)
    X = X[:count].reshape(-1, 1, 8, 8).astype(np.float32) / 16

    def make(seed: int) -> Learner:
        rng = np.random.default_rng(seed)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 3, rng=rng),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(144, 10, rng=rng),
        )
        return Learner(net, seed, epochs=15)

    return order_sensitivity(make, X, y[:count], 3, margin=MARGIN, **{"cv": 2, **options})


def wines(**options: Any) -> OrderSensitivity:
    """Chemical analyses of 178 wines of three growers: the columns of the table."""
    X, y = need("sklearn.datasets", "scikit-learn").load_wine(return_X_y=True)
    return _of_table(X, y, 30, MARGIN_OF_WINES, **{"cv": 10, **options})


def customers(count: int = 2000, **options: Any) -> OrderSensitivity:
    """A customer table such as the deck's: its columns."""
    X, y = draw_customers(count, 0)
    return _of_table(X, y, 10, MARGIN, **{"cv": 5, **options})


def _of_table(X: np.ndarray, y: np.ndarray, epochs: int, margin: float, **options: Any) -> OrderSensitivity:
    """Windows of three columns, each place with weights of its own behind them."""
    X = X[:, None].astype(np.float32)
    columns, classes = X.shape[2], int(y.max()) + 1

    def make(seed: int) -> Learner:
        rng = np.random.default_rng(seed)
        net = nn.Sequential(
            nn.Conv1d(1, 8, 3, padding=1, rng=rng),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * columns, classes, rng=rng),
        )
        return Learner(net, seed, epochs, standardise=True)

    control = fully_connected(X.shape[1:], classes, epochs=epochs)
    return order_sensitivity(make, X, y, 2, margin=margin, control=control, **options)


# ---- text ---------------------------------------------------------------------------------------------


def sentences_either_way(count: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sentences as they are, or backwards: words on a grid, whose order is all that tells.

    Parameters
    ----------
    count : int
        Sentences at most, each of them one way.

    Returns
    -------
    x : ndarray, shape (N, words, positions), float32
    y : ndarray, shape (N,)
        1: backwards.
    groups : ndarray, shape (N,)
        The document.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_sentences(os.path.join(folder, "text"))
        dataset = open_dataset(
            os.path.join(folder, "text"), cut="line", length=POSITIONS, words=WORDS, layout="indices"
        ).fitted()
        numbers, _ = dataset.batch(slice(None))
    assert dataset.groups is not None
    lengths = (numbers > 0).sum(1)
    chosen = np.flatnonzero(lengths >= SHORTEST)
    chosen = np.sort(np.random.default_rng(0).permutation(chosen)[:count])
    numbers, y = numbers[chosen], np.arange(len(chosen)) % 2
    for i in np.flatnonzero(y):
        length = lengths[chosen[i]]
        numbers[i, :length] = numbers[i, :length][::-1].copy()
    made = dataset.preprocessing
    assert isinstance(made, TextPreprocessing)
    return made.laid_out("channels").finish(numbers), y, dataset.groups[chosen]


def _words_net(seed: int, height: int, dtype: Any = np.float32) -> Learner:
    """Features as high as the dictionary, three words wide, and where each fits best."""
    rng = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.Conv1d(height, 24, 3, rng=rng, dtype=dtype),
        nn.ReLU(),
        nn.GlobalMaxPool(),
        nn.Flatten(),
        nn.Linear(24, 2, rng=rng, dtype=dtype),
    )
    return Learner(net, seed, epochs=8, lr=0.01)


def positions(count: int = 2000, **options: Any) -> OrderSensitivity:
    """Sentences on a grid: the order of their positions."""
    X, y, groups = sentences_either_way(count)
    make = partial(_words_net, height=X.shape[1])
    return order_sensitivity(make, X, y, 2, groups=groups, margin=MARGIN, **_options(X, options))


def dictionary(count: int = 2000, **options: Any) -> OrderSensitivity:
    """Sentences on a grid: the order of the dictionary, which the features take along."""
    X, y, groups = sentences_either_way(count)
    make = partial(_words_net, height=X.shape[1], dtype=np.float64)

    def carry(learner: Learner, order: np.ndarray) -> None:
        weight = learner.net.parameters()[0].value
        weight[...] = weight[:, order]

    return order_sensitivity(make, X, y, 1, groups=groups, margin=MARGIN, carry=carry, **_options(X, options))


def _options(X: np.ndarray, options: dict[str, Any]) -> dict[str, Any]:
    return {"cv": 2, "control": fully_connected(X.shape[1:], 2, epochs=3), **options}


#: What is measured, by what it is called.
EXAMPLES: dict[str, Callable[..., OrderSensitivity]] = {
    "digits, columns": digits,
    "wines, columns of the table": wines,
    "customers, columns of the table": customers,
    "text, positions": positions,
    "text, dictionary": dictionary,
}


def main(path: str) -> None:
    """Measure all, print what was found, and draw it."""
    found = {}
    for name, measure in EXAMPLES.items():
        found[name] = measure()
        print(f"{name}\n{found[name]}\n", flush=True)
    draw_orders(path, found)


if __name__ == "__main__":
    main(sys.argv[1])
