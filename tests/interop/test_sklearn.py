"""`fastconv.interop.sklearn`: scikit-learn's own checks of an estimator, and pictures of digits."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6", reason="the door to scikit-learn needs scikit-learn")

from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastconv import nn
from fastconv.interop.sklearn import (
    ConvNetClassifier,
    ConvNetRegressor,
    ConvNetTransformer,
)

#: Shuffling and dropout see the examples that there are: a weight of 2 is not the same as an example twice.
UNLIKE = "examples are shuffled into batches, so that a repeated one is drawn apart"
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": UNLIKE,
    "check_sample_weight_equivalence_on_sparse_data": UNLIKE,
}


@parametrize_with_checks(
    [
        ConvNetClassifier(channels=8, epochs=40),
        ConvNetRegressor(channels=8, epochs=40),
        ConvNetTransformer(channels=4, epochs=2),
    ],
    expected_failed_checks=lambda _: EXPECTED,
)
@pytest.mark.filterwarnings("default")  # scikit-learn's own, of data it makes on purpose
def test_keeps_the_rules_of_estimators(estimator: Any, check: Any) -> None:
    check(estimator)


X, Y = load_digits(return_X_y=True)


def small(**parameters: Any) -> ConvNetClassifier:
    return ConvNetClassifier((8, 8), **{"channels": 8, "epochs": 5, "random_state": 0, **parameters})


def test_reads_digits() -> None:
    """Cross-validated, on a third of the digits: far above what a linear model of so few gets (0.93)."""
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    scores = cross_val_score(small(channels=16, epochs=12), X[:600], Y[:600], cv=folds)
    assert scores.mean() > 0.955


def test_same_seed_same_bits_and_clones_are_alike() -> None:
    model = small(epochs=2).fit(X[:200], Y[:200])
    twin = clone(model).fit(X[:200], Y[:200])
    np.testing.assert_array_equal(model.predict_proba(X), twin.predict_proba(X))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))
    np.testing.assert_array_equal(  # and goes on to the same bits
        model.partial_fit(X[:64], Y[:64]).predict_proba(X), again.partial_fit(X[:64], Y[:64]).predict_proba(X)
    )


def test_searches_a_grid_through_a_pipeline() -> None:
    """Names of labels are kept, and the best model is refitted."""
    names = np.array([f"digit {i}" for i in range(10)])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), small()), {"convnetclassifier__learning_rate": [1e-6, 3e-3]}, cv=2
    ).fit(X[:300], names[Y[:300]])
    assert search.best_params_ == {"convnetclassifier__learning_rate": 3e-3}
    assert search.predict(X[:1])[0] == "digit 0"


def test_partial_fit_and_warm_start_go_on() -> None:
    """`partial_fit` is an epoch more; `fit` starts anew unless `warm_start`."""
    model = small(warm_start=True).partial_fit(X[:50], Y[:50], classes=range(10))
    assert len(model.history_) == 1
    assert model.predict_proba(X).shape == (len(X), 10)
    net = model.net_
    model.fit(X[:300], Y[:300])
    assert (model.net_ is net, len(model.history_)) == (True, 6)
    assert model.history_[-1] < model.history_[0]
    assert model.set_params(warm_start=False).fit(X[:50], Y[:50]).net_ is not net
    with pytest.raises(ValueError, match="y: label 77 is none of the classes"):
        model.partial_fit(X[:2], [1, 77])


def test_several_numbers_of_one_picture() -> None:
    """Where the ink lies: two outputs, in their own units."""
    pixels = X.reshape(-1, 8, 8)
    rows = (pixels.sum(axis=2) * np.arange(8)).sum(axis=1) / X.sum(axis=1)
    targets = np.c_[rows * 1000, X.sum(axis=1)]
    model = ConvNetRegressor((8, 8), channels=16, epochs=20, random_state=0).fit(X[:800], targets[:800])
    assert model.score(X[800:], targets[800:]) > 0.85
    assert model.predict(X[:3]).shape == (3, 2)


def test_features_serve_a_linear_model() -> None:
    features = ConvNetTransformer((8, 8), channels=8, epochs=8, random_state=0)
    model = make_pipeline(features, LogisticRegression(max_iter=1000)).fit(X[:700], Y[:700])
    assert model.score(X[700:], Y[700:]) > 0.9


def test_a_net_of_ones_own() -> None:
    def build(shape: tuple[int, ...], outputs: int, rng: np.random.Generator) -> nn.Layer:
        assert shape == (4, 4, 4)
        return nn.Sequential(nn.Conv2d(4, 8, 3, rng=rng), nn.Flatten(), nn.Linear(32, outputs, rng=rng))

    model = ConvNetClassifier((4, 4, 4), net=build, epochs=1, random_state=0).fit(X[:100], Y[:100])
    assert isinstance(model.net_[0], nn.Conv2d)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"image_shape": (8, 9)}, r"image_shape=\(8, 9\): has 72 values, but X has 64 features"),
        ({"image_shape": 8}, "image_shape=8: must be a tuple of positive integers"),
        ({"image_shape": (2, 2, 2, 2, 4)}, r"must be \(W,\), \(H, W\)"),
        ({"epochs": 0}, "epochs=0: must be"),
        ({"batch_size": 0}, "batch_size=0: must be"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small().set_params(**parameters).fit(X[:20], Y[:20])
