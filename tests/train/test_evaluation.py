"""Figures by hand, and against scikit-learn where it is there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastconv.data import DataError, open_dataset
from fastconv.train import Evaluation, Model, Trained, evaluate, wilson
from fastconv.train.model import BATCH_SIZE

from .conftest import pictures


@pytest.mark.parametrize(
    # Newcombe, "Two-sided confidence intervals for the single proportion", Stat. Med. 17 (1998), table I
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published(right: int, count: int, low: float, high: float) -> None:
    found = wilson(right, count)
    assert found == pytest.approx((low, high), abs=5e-5)
    assert wilson(count - right, count) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_of_nothing_nothing_is_known() -> None:
    found = Evaluation(("a", "b"), np.empty(0, np.int64), np.empty((0, 2)))
    assert math.isnan(found.accuracy)
    assert found.interval == (0.0, 1.0)
    assert found.to_json()["accuracy"] is None


def make() -> Evaluation:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    votes = rng.normal(size=(300, 5))
    votes[np.arange(300), labels] += 1.5
    return Evaluation(tuple("abcde"), labels, votes)


def test_figures_as_scikit_learn_has_them() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    found = make()
    y, guess = found.labels, found.predictions
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(y, guess, labels=range(5)))
    precision, recall, _, count = metrics.precision_recall_fscore_support(
        y, guess, labels=range(5), zero_division=np.nan
    )
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.recall, np.where(count > 0, recall, np.nan))
    assert found.accuracy == pytest.approx(metrics.accuracy_score(y, guess))
    assert found.loss == pytest.approx(metrics.log_loss(y, found.probabilities, labels=range(5)))


def test_calibration_by_hand() -> None:
    """Two that are 90% sure of which one is right, one that is 60% sure and right."""
    votes = np.log([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4]])
    found = Evaluation(("a", "b"), np.array([0, 0, 0]), votes)
    assert found.calibration_error() == pytest.approx((2 * 0.4 + 0.4) / 3)
    bins = [each for each in found.reliability() if each.count]
    assert [(each.count, round(each.confidence, 6), each.accuracy) for each in bins] == [
        (1, 0.6, 1.0),
        (2, 0.9, 0.5),
    ]


def test_mistakes_come_surest_first() -> None:
    found = make()
    wrong = found.mistakes()
    sure = found.probabilities.max(axis=1)[wrong]
    assert (np.diff(sure) <= 0).all()
    assert (found.predictions[wrong] != found.labels[wrong]).all()
    assert len(wrong) == 300 - found.right.sum()


def test_what_cannot_be_read_is_left_out(trained: Trained, folder: str, tmp_path: object) -> None:
    """Names and indices stay with their samples."""
    import shutil

    place = f"{tmp_path}/copy"
    shutil.copytree(folder, place)
    bad = f"{place}/left/01.png"
    with open(bad, "r+b") as file:
        file.truncate(60)
    classes = ("bottom", "left", "top")
    model = trained.model.__class__(
        trained.model.net, trained.model.spec, classes, trained.model.preprocessing
    )
    data = open_dataset(place, preprocessing=model.preprocessing, classes=classes)
    found = evaluate(model, data)
    assert len(found.labels) == 59
    assert [name for name, _ in data.skipped] == ["left/01.png"]
    for name, label in zip(found.names, found.labels):
        assert name.startswith(classes[label])
    votes = model.votes(model.preprocessing.read(f"{place}/{found.names[30]}")[None])
    np.testing.assert_array_equal(votes[0], found.votes[30])


def test_classes_that_the_model_does_not_know(trained: Trained, tmp_path: object) -> None:
    x, y = pictures(12, 0)
    np.savez(f"{tmp_path}/other.npz", x=x, y=y + 1)
    data = open_dataset(f"{tmp_path}/other.npz", preprocessing=trained.model.preprocessing)
    with pytest.raises(DataError, match=r"class '3' is none that the model knows: 0, 1, 2"):
        evaluate(trained.model, data)


def test_how_many_go_through_together_is_found_out_once(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It follows from the net alone: who judges one sample at a time must not pay for it each time."""
    found = trained.model
    model = Model(found.net, found.spec, found.classes, found.preprocessing)
    assert model.batch_size == BATCH_SIZE
    monkeypatch.setattr("fastconv.nn.summary", None)
    assert model.votes(np.zeros((3, 1, 8, 8), np.float32)).shape == (3, 3)
    assert model.batch_size == BATCH_SIZE
