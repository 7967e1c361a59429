"""Whether order matters: the statistic, its error rates on made data, and data where the answer is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import explain, nn
from fastconv.explain import order_examples as examples
from fastconv.explain.order import _folds, _t95


class Ridge:
    """Least squares on given features of X, in a millisecond; noise stands for what a seed does."""

    def __init__(self, features: Callable[[np.ndarray], np.ndarray], seed: int, noise: float = 0.05) -> None:
        self.features, self.noise = features, noise
        self.rng = np.random.default_rng(seed)

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        """Learn."""
        F = self._features(X)
        self.weights = np.linalg.solve(F.T @ F + np.eye(F.shape[1]), F.T @ np.eye(2)[y])
        self.weights += self.noise * np.abs(self.weights).mean() * self.rng.normal(size=self.weights.shape)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Judge."""
        found: np.ndarray = (self._features(X) @ self.weights).argmax(1)
        return found

    def _features(self, X: np.ndarray) -> np.ndarray:
        return np.concatenate([self.features(X), np.ones((len(X), 1))], axis=1)


def neighbours(X: np.ndarray) -> np.ndarray:
    """What order is everything to: products of neighbours, summed, as a convolution and a global pool."""
    return np.stack([(X[:, 1:] * X[:, :-1]).mean(1), (X[:, 2:] * X[:, :-2]).mean(1)], axis=1)


def waves(rng: np.random.Generator, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that differ in nothing but what neighbours have to do with each other."""
    y = np.arange(count) % 2
    X = rng.normal(size=(count, 16))
    X[y == 1, 1::2] += 1.2 * X[y == 1, ::2]
    X[y == 1] /= X[y == 1].std()
    return X, y


def columns(rng: np.random.Generator, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """A table: each column says something, its place nothing."""
    y = np.arange(count) % 2
    return rng.normal(size=(count, 16)) + 0.5 * y[:, None], y


def measured(X: np.ndarray, y: np.ndarray, features: Any, seed: int, **told: Any) -> explain.OrderSensitivity:
    """With quick models in the place of nets."""

    def make(seed: int) -> Ridge:
        return Ridge(features, seed)

    def plain(seed: int) -> Ridge:
        return Ridge(lambda X: X, seed)

    return explain.order_sensitivity(
        make, X, y, 1, **{"cv": 3, "margin": 0.05, "control": plain, "seed": seed, **told}
    )


# ---- error rates --------------------------------------------------------------------------------------


def test_error_rates_where_order_is_nothing() -> None:
    """Of 60 tables, order is said to matter in no more than chance allows at 5%; many are equivalent."""
    verdicts = []
    for k in range(60):
        X, y = columns(np.random.default_rng(k), 240)
        # neighbouring columns are averaged: the model has an order, the data have none
        verdicts.append(measured(X, y, lambda X: (X[:, 1:] + X[:, :-1]) / 2, k).verdict)
    assert verdicts.count("order matters") <= 6  # P(more) < 1% at a rate of 5%
    assert verdicts.count("equivalent within the margin") >= 30


def test_error_rates_where_order_is_everything() -> None:
    """Of 60 sets of waves, order is found to matter in nearly all; never are they said to be equivalent."""
    verdicts = []
    for k in range(60):
        X, y = waves(np.random.default_rng(1000 + k))
        verdicts.append(measured(X, y, neighbours, k).verdict)
    assert verdicts.count("order matters") >= 54
    assert verdicts.count("equivalent within the margin") == 0


# ---- the statistic ------------------------------------------------------------------------------------


def test_what_is_told() -> None:
    """p, drop and interval follow from the scores; the control is blind; it prints, and repeats."""
    X, y = waves(np.random.default_rng(0))
    rounds = []
    found = measured(X, y, neighbours, 4, on_round=lambda done, of: rounds.append((done, of)))
    assert rounds == [(k, 21) for k in range(1, 22)]
    assert found.p == (1 + (found.permuted >= found.original).sum()) / 21
    assert found.drop == pytest.approx(found.original - found.permuted.mean())
    low, high = found.interval
    assert low < found.drop < high
    spread = found.permuted.std(ddof=1) * np.sqrt(1 + 1 / 20)
    assert high - found.drop >= 2.09 * spread
    assert abs(found.control_original - found.control_permuted.mean()) < 0.1
    assert "order matters" in str(found)
    assert "p = 0.048" in str(found)
    again = measured(X, y, neighbours, 4)
    assert np.array_equal(again.permuted, found.permuted)


def test_students_t() -> None:
    """Against scipy's."""
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 3, 5, 19, 99):
        assert _t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


def test_folds_keep_groups_together() -> None:
    """Every example is judged once, groups are whole, classes even."""
    labels, groups = np.arange(60) % 2, np.arange(60) // 4
    folds = _folds(labels, groups, 4, np.random.default_rng(0))
    assert sorted(np.concatenate([judged for _, judged in folds])) == list(range(60))
    for learned, judged in folds:
        assert not set(groups[learned]) & set(groups[judged])
        assert abs(labels[judged].mean() - 0.5) < 0.2


def test_the_same_permutation_for_both_sides() -> None:
    """A model that knows a column by its place still finds it: what is learned from is permuted alike."""
    X = np.random.default_rng(0).normal(size=(90, 6))
    y = (X[:, 2] > 0).astype(int)
    found = measured(X, y, lambda X: X, 0, n_permutations=19)
    assert found.permuted.min() > 0.85


# ---- nets ---------------------------------------------------------------------------------------------


def test_nets_on_pictures() -> None:
    """Bars that lie or stand: to a small ConvNet the order of the columns matters."""
    rng = np.random.default_rng(0)
    X = 0.4 * rng.normal(size=(160, 1, 8, 8)).astype(np.float32)
    y = np.arange(160) % 2
    for picture, label in zip(X, y):
        row, column = rng.integers(6, size=2)
        picture[0, row : row + 3, column] += 1.5
        if label:
            picture[0, row, column : column + 3] += 1.5
            picture[0, row + 1 : row + 3, column] -= 1.5

    def make(seed: int) -> explain.Learner:
        net = nn.Sequential(
            nn.Conv2d(1, 6, 3, rng=seed),
            nn.ReLU(),
            nn.GlobalMaxPool(),
            nn.Flatten(),
            nn.Linear(6, 2, rng=seed),
        )
        return explain.Learner(net, seed, epochs=30, lr=0.02)

    quick = explain.fully_connected((1, 8, 8), 2, epochs=3)
    found = explain.order_sensitivity(make, X, y, 3, 19, cv=2, control=quick)
    assert found.verdict == "order matters", str(found)
    assert found.original > 0.9


# ---- data where the answer is known -------------------------------------------------------------------


def test_of_a_text_positions_matter_and_the_dictionary_exactly_does_not() -> None:
    """Sentences as they are, or backwards; features as high as the dictionary take its order along."""
    halves = {
        "cv": [(np.arange(400), np.arange(400, 600))],
        "control": lambda seed: Ridge(lambda X: X[:, 0], seed),
    }
    found = examples.positions(600, n_permutations=4, **halves)
    assert found.original > 0.7 > 0.65 > found.permuted.max()
    found = examples.dictionary(600, n_permutations=2, **halves)
    assert (found.permuted == found.original).all()
    assert (found.drop, found.interval, found.p) == (0, (0, 0), 1)
    assert found.verdict == "equivalent within the margin"


def test_the_numbers_of_words_are_names() -> None:
    """A table of embeddings whose rows are numbered otherwise learns the same, to the bit."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 30, (80, 9))
    y = (X == 7).any(1).astype(int)
    order = rng.permutation(30)
    votes = []
    for renamed in (np.arange(30), order):
        net = nn.Sequential(
            nn.Embedding(30, 8, rng=0),
            nn.Conv1d(8, 6, 3, rng=0),
            nn.ReLU(),
            nn.GlobalMaxPool(),
            nn.Flatten(),
            nn.Linear(6, 2, rng=0),
        )
        table = net.parameters()[0]
        table.value = table.value[np.argsort(renamed)]
        learner = explain.Learner(net, 0, epochs=3).fit(renamed[X], y)
        votes.append((nn.predict(net, (renamed[X],)), learner.predict(renamed[X])))
    np.testing.assert_array_equal(votes[0][0], votes[1][0])
    np.testing.assert_array_equal(votes[0][1], votes[1][1])


def test_of_tables_order_is_nothing() -> None:
    """Customers, within a margin that is as wide as so few of them allow."""
    found = examples.customers(400, n_permutations=6, cv=3)
    assert found.verdict != "order matters"
    assert found.original > 0.65
    assert abs(found.drop) < 0.05


def test_pictures_of_several(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    X, y = waves(np.random.default_rng(0), 60)
    one = measured(X, y, neighbours, 4, n_permutations=5)
    explain.draw_orders(tmp_path / "orders.png", {"waves": one, "the same": one})
    with image.open(tmp_path / "orders.png") as drawn:
        assert drawn.width == 800
        assert len(drawn.convert("RGB").getcolors(1 << 20)) > 50


def test_picture(tmp_path: Path) -> None:
    """Both distributions, in a file."""
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    X, y = waves(np.random.default_rng(0), 60)
    measured(X, y, neighbours, 4, n_permutations=5).draw(tmp_path / "order.png")
    with image.open(tmp_path / "order.png") as drawn:
        assert drawn.width > 600
        assert len(drawn.convert("L").getcolors()) > 20


# ---- bad input ----------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"X": np.zeros((20, 4)), "y": np.arange(20) % 2, "axis": 1}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"axis": 0}, "axis=0: must not be that of the examples"),
        ({"axis": 2}, "axis=2"),
        ({"X": np.zeros((20, 1))}, "axis=1: has 1 place"),
        ({"X": np.zeros(20)}, r"X: shape \(20,\)"),
        ({"X": np.full((20, 4), np.nan)}, "X: has values that are not finite"),
        ({"X": np.full((20, 4), "a")}, "X: dtype"),
        ({"y": np.zeros(20)}, "y: has one class"),
        ({"y": np.arange(3)}, r"y: shape \(3,\) must be \(20,\)"),
        ({"groups": np.arange(3)}, r"groups: shape \(3,\)"),
        ({"groups": np.arange(20) // 10}, "cv=5: there are 2 groups"),
        ({"n_permutations": 1}, "n_permutations=1"),
        ({"margin": -1}, "margin=-1"),
        ({"cv": 1}, "cv=1"),
        ({"cv": "abc"}, "cv='abc'"),
        ({"cv": [([0, 1], [1])]}, "cv: an example is learned from and judged"),
        ({"cv": [([0, 1], [99])]}, "cv: indices must be below 20"),
        ({"cv": [([0], [1]), ([0], [1])]}, "cv: every example may be judged once"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_bad_requests(told: dict[str, Any], message: str) -> None:
    """Each names the argument and the rule; no model has been made."""

    def make(seed: int) -> Any:
        raise AssertionError("nothing is to be trained")

    with pytest.raises((TypeError, ValueError), match=message):
        explain.order_sensitivity(make, **{**GOOD, **told})
