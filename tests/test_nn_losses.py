"""Losses: the values that formulas give, the gradients that differences give, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastconv import nn


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


LOGITS = rng(1).standard_normal((5, 4))
LABELS = np.array([0, 3, 1, 1, 2])
IMAGE_LOGITS = rng(2).standard_normal((2, 3, 2, 4))
IMAGE_LABELS = rng(3).integers(0, 3, (2, 2, 4))
VALUES = rng(4).standard_normal((5, 4))
PROBABILITIES = rng(5).random((5, 4))
MIXED = PROBABILITIES / PROBABILITIES.sum(axis=1, keepdims=True)
WEIGHT = np.array([0.5, 2.0, 1.0, 3.0])

#: Every loss with a prediction and a target it takes.
CASES = {
    "total absolute error": (nn.TotalAbsoluteError(), LOGITS, VALUES),
    "total absolute error of labels": (nn.TotalAbsoluteError(), LOGITS, LABELS),
    "mse": (nn.MSELoss(), LOGITS, VALUES),
    "l1": (nn.L1Loss(), LOGITS, VALUES),
    "huber": (nn.HuberLoss(0.7), LOGITS, VALUES),
    "smooth l1": (nn.SmoothL1Loss(0.4), LOGITS, VALUES),
    "bce": (nn.BCEWithLogitsLoss(), LOGITS, PROBABILITIES),
    "bce weighted": (nn.BCEWithLogitsLoss(3.0), LOGITS, PROBABILITIES),
    "cross entropy": (nn.CrossEntropyLoss(), LOGITS, LABELS),
    "cross entropy of images": (nn.CrossEntropyLoss(), IMAGE_LOGITS, IMAGE_LABELS),
    "cross entropy weighted": (nn.CrossEntropyLoss(WEIGHT), LOGITS, LABELS),
    "cross entropy smoothed": (nn.CrossEntropyLoss(label_smoothing=0.2), LOGITS, LABELS),
    "cross entropy weighted, smoothed, of images": (
        nn.CrossEntropyLoss(WEIGHT[:3], label_smoothing=0.1),
        IMAGE_LOGITS,
        IMAGE_LABELS,
    ),
    "cross entropy of probabilities": (nn.CrossEntropyLoss(), LOGITS, MIXED),
    "cross entropy of weighted probabilities": (nn.CrossEntropyLoss(WEIGHT), LOGITS, MIXED),
    "nll": (nn.NLLLoss(), LOGITS, LABELS),
    "nll weighted": (nn.NLLLoss(WEIGHT), LOGITS, LABELS),
    "nll of images": (nn.NLLLoss(), IMAGE_LOGITS, IMAGE_LABELS),
    "hinge": (nn.HingeLoss(), LOGITS, LABELS),
    "hinge of images": (nn.HingeLoss(0.5), IMAGE_LOGITS, IMAGE_LABELS),
}

CASE = pytest.mark.parametrize(("loss", "prediction", "target"), CASES.values(), ids=CASES)


def test_every_loss_is_in_the_list() -> None:
    """But the one that adds up others, which `test_nn_several` is about."""
    listed = {type(loss).__name__ for loss, _, _ in CASES.values()}
    assert listed == set(nn.losses.__all__) - {"Loss", "LossPerOutput"}


@CASE
def test_gradients(loss: nn.Loss, prediction: np.ndarray, target: np.ndarray) -> None:
    """The gradient is that of the value, by central differences."""

    def function(x: np.ndarray):
        value, gradient = loss.vjp(x, target)
        return value, lambda grad: grad * gradient

    report = nn.gradcheck(function, prediction)
    assert report, str(report)
    assert not report.kinks


@CASE
def test_value_is_that_of_vjp_and_nothing_is_modified(loss, prediction, target) -> None:
    kept = prediction.copy(), target.copy()
    value, gradient = loss.vjp(prediction, target)
    assert isinstance(value, float)
    assert math.isclose(loss(prediction, target), value, rel_tol=1e-14)
    assert gradient.shape == prediction.shape
    np.testing.assert_array_equal(prediction, kept[0])
    np.testing.assert_array_equal(target, kept[1])


@CASE
def test_float32_gradients_are_float32(loss, prediction, target) -> None:
    if getattr(loss, "weight", None) is not None:
        loss = type(loss)(loss.weight.astype(np.float32))
    single = target.astype(np.float32) if target.dtype.kind == "f" else target
    value, gradient = loss.vjp(prediction.astype(np.float32), single)
    assert gradient.dtype == np.float32
    expected = (
        type(loss)(loss.weight.astype(np.float64)) if getattr(loss, "weight", None) is not None else loss
    )
    assert math.isclose(value, expected(prediction, target), rel_tol=1e-5)


def log_softmax(row: np.ndarray) -> list[float]:
    top = max(row)
    return [x - top - math.log(sum(math.exp(z - top) for z in row)) for x in row]


def test_total_absolute_error_is_the_decks() -> None:
    """Per class |right - actual|, summed: the deck's 0.912 and 0.5175 for an X make 0.6055."""
    votes = np.array([[0.912, 0.5175]])
    assert math.isclose(nn.TotalAbsoluteError()(votes, np.array([[1.0, 0.0]])), 0.088 + 0.5175)
    assert math.isclose(nn.TotalAbsoluteError()(votes, np.array([0])), 0.6055)
    assert math.isclose(
        nn.TotalAbsoluteError()(np.vstack([votes, votes]), np.array([0, 1])), (0.6055 + 1.3945) / 2
    )


def test_values_by_hand() -> None:
    """Each loss written out once more, with plain loops over numbers."""
    n = len(LABELS)
    differences = (LOGITS - VALUES).ravel().tolist()
    assert math.isclose(nn.MSELoss()(LOGITS, VALUES), sum(d * d for d in differences) / 20)
    assert math.isclose(nn.L1Loss()(LOGITS, VALUES), sum(abs(d) for d in differences) / 20)
    huber = [0.5 * d * d if abs(d) <= 0.7 else 0.7 * (abs(d) - 0.35) for d in differences]
    assert math.isclose(nn.HuberLoss(0.7)(LOGITS, VALUES), sum(huber) / 20)
    smooth = [0.5 * d * d / 0.4 if abs(d) < 0.4 else abs(d) - 0.2 for d in differences]
    assert math.isclose(nn.SmoothL1Loss(0.4)(LOGITS, VALUES), sum(smooth) / 20)
    logs = [log_softmax(row) for row in LOGITS]
    entropy = [-logs[i][k] for i, k in enumerate(LABELS)]
    assert math.isclose(nn.CrossEntropyLoss()(LOGITS, LABELS), sum(entropy) / n)
    weighted = sum(WEIGHT[k] * e for k, e in zip(LABELS, entropy)) / sum(WEIGHT[k] for k in LABELS)
    assert math.isclose(nn.CrossEntropyLoss(WEIGHT)(LOGITS, LABELS), weighted)
    assert math.isclose(nn.NLLLoss(WEIGHT)(np.array(logs), LABELS), weighted)
    smoothed = sum(0.8 * e - 0.2 * sum(row) / 4 for e, row in zip(entropy, logs)) / n
    assert math.isclose(nn.CrossEntropyLoss(label_smoothing=0.2)(LOGITS, LABELS), smoothed)
    mixed = -sum(p * v for probs, row in zip(MIXED, logs) for p, v in zip(probs, row)) / n
    assert math.isclose(nn.CrossEntropyLoss()(LOGITS, MIXED), mixed)
    hinge = sum(
        max(0.0, 1 + x - LOGITS[i][k])
        for i, k in enumerate(LABELS)
        for j, x in enumerate(LOGITS[i])
        if j != k
    )
    assert math.isclose(nn.HingeLoss()(LOGITS, LABELS), hinge / n)
    bce = 0.0
    for x, t in zip(LOGITS.ravel().tolist(), PROBABILITIES.ravel().tolist()):
        p = 1 / (1 + math.exp(-x))
        bce -= 3 * t * math.log(p) + (1 - t) * math.log(1 - p)
    assert math.isclose(nn.BCEWithLogitsLoss(3.0)(LOGITS, PROBABILITIES), bce / 20)


def test_images_of_labels_are_the_mean_over_pixels() -> None:
    """(N, classes, H, W) is N * H * W examples."""
    flat = np.moveaxis(IMAGE_LOGITS, 1, -1).reshape(-1, 3)
    for loss in (nn.CrossEntropyLoss(), nn.HingeLoss(), nn.NLLLoss()):
        assert math.isclose(loss(IMAGE_LOGITS, IMAGE_LABELS), loss(flat, IMAGE_LABELS.ravel()))


def test_huge_logits_neither_overflow_nor_vanish() -> None:
    """Losses of logits are computed without exponentials of large numbers."""
    huge = np.array([[1e4, -1e4]])
    assert nn.CrossEntropyLoss()(huge, np.array([0])) == 0
    assert nn.CrossEntropyLoss()(huge, np.array([1])) == 2e4
    assert nn.BCEWithLogitsLoss()(huge, np.array([[1.0, 0.0]])) == 0
    assert nn.BCEWithLogitsLoss()(huge, np.array([[0.0, 1.0]])) == 1e4
    np.testing.assert_array_equal(nn.BCEWithLogitsLoss().vjp(huge, np.array([[0.0, 1.0]]))[1], [[0.5, -0.5]])


def test_what_counts_as_right() -> None:
    logits = np.array([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    labels = np.array([0, 1, 1])
    for loss in (nn.CrossEntropyLoss(), nn.NLLLoss(), nn.HingeLoss()):
        assert loss.correct(logits, loss.prepare(logits.shape, logits.dtype, labels)) == 2
    error = nn.TotalAbsoluteError()
    assert error.correct(logits, error.prepare(logits.shape, logits.dtype, labels)) == 2
    assert nn.BCEWithLogitsLoss().correct(np.array([[1.0, -1.0]]), np.array([[1.0, 1.0]])) == 0.5
    assert nn.MSELoss().correct(logits, logits) is None


CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.HingeLoss)
BAD = [
    *[
        (
            make,
            LOGITS,
            np.array([0, 4, 1, 1, 2]),
            ValueError,
            "target: labels from 0 to 4 must be from 0 to 3",
        )
        for make in CLASSES
    ],
    *[(make, LOGITS, np.array([0, -1, 1, 1, 2]), ValueError, "target: labels from -1") for make in CLASSES],
    *[(make, LOGITS, LABELS[:4], ValueError, r"target: shape \(4,\) must be \(5,\)") for make in CLASSES],
    *[(make, LOGITS, [0, 3, 1, 1, 2], TypeError, "target") for make in CLASSES],
    *[
        (make, LOGITS[0], np.array(0), ValueError, r"prediction: shape \(4,\) must be \(N, classes")
        for make in CLASSES
    ],
    *[(make, LOGITS[:0], LABELS[:0], ValueError, "empty") for make in CLASSES],
    (nn.NLLLoss, LOGITS, VALUES, TypeError, "target: labels must be integers, not float64"),
    *[
        (make, LOGITS, LABELS.astype(dtype), TypeError, "target: labels must be integers, not ")
        for make in (*CLASSES, nn.TotalAbsoluteError)
        for dtype in (np.float32, np.float64, bool)
    ],
    (nn.CrossEntropyLoss, LOGITS, VALUES, ValueError, "target: must be integer labels or probabilities"),
    (nn.CrossEntropyLoss, LOGITS, MIXED.astype(np.float32), TypeError, "target: dtype float32"),
    (
        lambda: nn.CrossEntropyLoss(WEIGHT[:3]),
        LOGITS,
        LABELS,
        ValueError,
        r"weight: shape \(3,\) must be \(4,\)",
    ),
    (nn.NLLLoss, LOGITS, np.ma.masked_equal(LABELS, 3), TypeError, "target: is a masked array"),
    (nn.MSELoss, LOGITS, VALUES[:4], ValueError, r"target: shape \(4, 4\) must be \(5, 4\)"),
    (nn.MSELoss, LOGITS, VALUES.astype(np.float32), TypeError, "target: dtype float32"),
    (nn.MSELoss, LOGITS.tolist(), VALUES, TypeError, "prediction: must be an array"),
    (nn.L1Loss, LOGITS[:0], VALUES[:0], ValueError, "empty"),
    (nn.TotalAbsoluteError, LOGITS, VALUES[:, :3], ValueError, r"target: shape \(5, 3\) must be \(5, 4\)"),
    (nn.TotalAbsoluteError, LOGITS, LABELS + 1, ValueError, "target: labels from 1 to 4"),
    (nn.BCEWithLogitsLoss, LOGITS, VALUES, ValueError, "target: must be probabilities from 0 to 1"),
    (nn.BCEWithLogitsLoss, LOGITS, np.full((5, 4), np.nan), ValueError, "target: must be probabilities"),
]


@pytest.mark.parametrize(("make", "prediction", "target", "error", "message"), BAD)
def test_bad_input(make, prediction, target, error, message) -> None:
    loss = make()
    for call in (loss, loss.vjp):
        with pytest.raises(error, match=message):
            call(prediction, target)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.HuberLoss(0), ValueError, "delta=0: must be above 0"),
        (lambda: nn.SmoothL1Loss(-1.0), ValueError, "beta=-1.0: must be above 0"),
        (lambda: nn.HingeLoss(math.inf), ValueError, "margin=inf: must be finite"),
        (lambda: nn.HingeLoss("1"), TypeError, "margin='1': must be a number"),
        (lambda: nn.BCEWithLogitsLoss(-1.0), ValueError, "pos_weight=-1.0: must be at least 0"),
        (lambda: nn.MSELoss(reduction="total"), ValueError, "reduction='total': must be one of mean, sum"),
        (lambda: nn.NLLLoss(ignore_index=1.5), TypeError, "ignore_index=1.5: must be an integer"),
        (
            lambda: nn.CrossEntropyLoss(label_smoothing=1.5),
            ValueError,
            "label_smoothing=1.5: must be at most 1",
        ),
        (
            lambda: nn.CrossEntropyLoss(np.array([1.0, -1.0])),
            ValueError,
            "weight: must be one finite number, at least 0, per class",
        ),
        (lambda: nn.NLLLoss(np.ones((2, 2))), ValueError, "weight"),
        (lambda: nn.NLLLoss([1.0, 2.0]), TypeError, "weight: must be an array"),
        (lambda: nn.NLLLoss(np.array(["a", "b"])), TypeError, "weight: must be an array of numbers"),
    ],
)
def test_bad_arguments(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("make", [nn.CrossEntropyLoss, nn.NLLLoss])
def test_class_weights_may_be_of_the_other_dtype(make) -> None:
    """NumPy's default is float64, that of layers float32; value and gradient are of the prediction's."""
    for dtype, other in ((np.float32, np.float64), (np.float64, np.float32)):
        logits, weight = LOGITS.astype(dtype), WEIGHT.astype(np.float32)
        value, gradient = make(weight.astype(other)).vjp(logits, LABELS)
        same_value, same_gradient = make(weight.astype(dtype)).vjp(logits, LABELS)
        assert value == same_value
        assert gradient.dtype == dtype
        np.testing.assert_array_equal(gradient, same_gradient)


def test_targets_may_be_any_object_that_hands_out_an_array() -> None:
    """Labels and values of pandas and the like; a masked array is none of them."""

    class Column:
        def __init__(self, values):
            self.values = values

        def __array__(self, dtype=None, copy=None):
            return self.values

    for loss, target in (
        (nn.CrossEntropyLoss(), LABELS),
        (nn.TotalAbsoluteError(), LABELS),
        (nn.MSELoss(), VALUES),
    ):
        assert loss(LOGITS, Column(target)) == loss(LOGITS, target)
        for masked in (np.ma.masked_array(target), Column(np.ma.masked_array(target))):
            with pytest.raises(TypeError, match="target: is a masked array"):
                loss(LOGITS, masked)


def test_repr_shows_the_arguments() -> None:
    assert repr(nn.HuberLoss(0.5)) == "HuberLoss(delta=0.5)"
    assert repr(nn.CrossEntropyLoss(np.array([1.0, 2.0]))) == "CrossEntropyLoss(weight=[1.0, 2.0])"
    assert repr(nn.MSELoss()) == "MSELoss()"
