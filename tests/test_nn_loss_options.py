"""Losses at infinities, with weights, ignored labels and reductions; what they take of memory."""

from __future__ import annotations

import copy
import math
import tracemalloc

import numpy as np
import pytest
from test_nn_losses import CASES, IMAGE_LABELS, IMAGE_LOGITS, LABELS, LOGITS, MIXED, VALUES, WEIGHT

from fastconv import nn

inf, nan = math.inf, math.nan
CASE = pytest.mark.parametrize(("loss", "prediction", "target"), CASES.values(), ids=CASES)
#: How much each of the five examples counts; the second does not.
SHARES = np.array([0.5, 0.0, 2.0, 1.0, 3.0])


def reduced(loss: nn.Loss, reduction: str) -> nn.Loss:
    """The same loss with another reduction."""
    twin = copy.copy(loss)
    twin.reduction = reduction
    return twin


# ---- infinities --------------------------------------------------------------------------------------

# logit, answer, what it costs with pos_weight 2, and the slope
BCE = [
    (-inf, 0.0, 0.0, 0.0),
    (inf, 1.0, 0.0, 0.0),
    (-inf, 1.0, inf, -2.0),
    (inf, 0.0, inf, 1.0),
    (inf, 0.5, inf, 0.5),
    (-100.0, 0.0, math.exp(-100), math.exp(-100)),
    (100.0, 1.0, 2 * math.exp(-100), -2 * math.exp(-100)),
    (-100.0, 1.0, 200.0, -2.0),
    (20.0, 1.0, 2 * math.log1p(math.exp(-20)), -2 / (1 + math.exp(20))),
    (-20.0, 0.0, math.log1p(math.exp(-20)), 1 / (1 + math.exp(20))),
    (nan, 1.0, nan, nan),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("logit", "answer", "cost", "slope"), BCE)
def test_bce_in_the_tails_and_at_infinity(logit, answer, cost, slope, dtype) -> None:
    """The limits, to the last digit of denormal numbers; an answer of probability 0 costs nothing."""
    value, gradient = nn.BCEWithLogitsLoss(2.0).vjp(np.array([[logit]], dtype), np.array([[answer]], dtype))
    tiny = 2e-45 if dtype == np.float32 else 0.0
    np.testing.assert_allclose(value, cost, rtol=1e-6, atol=tiny)
    np.testing.assert_allclose(gradient, [[slope]], rtol=1e-6, atol=tiny)


MASKED = np.array([[1.0, -inf, 2.0]])
FIRST, LAST = 1 / (1 + math.e), math.e / (1 + math.e)  # softmax of 1 and 2
COSTS = -math.log(FIRST), -math.log(LAST)


@pytest.mark.parametrize(
    ("loss", "target", "value", "gradient"),
    [
        (nn.CrossEntropyLoss(), [0], COSTS[0], [FIRST - 1, 0, LAST]),
        (nn.CrossEntropyLoss(np.array([1.0, 9.0, 1.0])), [0], COSTS[0], [FIRST - 1, 0, LAST]),
        (nn.CrossEntropyLoss(), [[1.0, 0.0, 0.0]], COSTS[0], [FIRST - 1, 0, LAST]),
        (nn.CrossEntropyLoss(), [[0.5, 0.0, 0.5]], sum(COSTS) / 2, [FIRST - 0.5, 0, LAST - 0.5]),
        (nn.CrossEntropyLoss(), [1], inf, [FIRST, -1, LAST]),
        (nn.CrossEntropyLoss(label_smoothing=0.3), [0], inf, [FIRST - 0.8, -0.1, LAST - 0.1]),
        (
            nn.CrossEntropyLoss(np.array([1.0, 0.0, 1.0]), label_smoothing=0.3),
            [0],
            0.8 * COSTS[0] + 0.1 * COSTS[1],
            [0.9 * FIRST - 0.8, 0, 0.9 * LAST - 0.1],
        ),
        (nn.CrossEntropyLoss(np.array([1.0, 0.0, 1.0])), [1], 0.0, [0, 0, 0]),
        (nn.NLLLoss(), [1], inf, [0, -1, 0]),
        (nn.NLLLoss(np.array([1.0, 0.0, 1.0])), [1], 0.0, [0, 0, 0]),
        (nn.HingeLoss(), [0], 2.0, [-1, 0, 1]),
        (nn.HingeLoss(), [2], 0.0, [0, 0, 0]),
    ],
)
def test_a_class_masked_by_minus_infinity(loss, target, value, gradient) -> None:
    """It counts where the target has a share of it, and 0 times infinity is 0 where not."""
    target = np.array(target) if isinstance(target[0], int) else np.array(target, np.float64)
    found, slopes = loss.vjp(MASKED, target)
    np.testing.assert_allclose(found, value, rtol=1e-12)
    np.testing.assert_allclose(loss(MASKED, target), value, rtol=1e-12)
    np.testing.assert_allclose(slopes, [gradient], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("loss", "slope"),
    [(nn.MSELoss(), inf), (nn.L1Loss(), 1.0), (nn.HuberLoss(2.0), 2.0), (nn.SmoothL1Loss(), 1.0)],
)
def test_infinite_differences_cost_infinity_without_a_warning(loss, slope, recwarn) -> None:
    for sign in (1, -1):
        value, gradient = loss.vjp(np.array([[sign * inf]]), np.array([[0.0]]))
        assert value == inf
        assert gradient.tolist() == [[sign * slope]]
    assert not recwarn.list


# ---- weights -----------------------------------------------------------------------------------------


@CASE
def test_a_weighted_mean_is_that_of_examples_taken_so_often(loss, prediction, target) -> None:
    """Weights 2 and 1 are an example twice and another once; a weight of 0 is an example left out."""
    counts = np.array([2, 0, 1, 3, 1])[: len(prediction)]
    if len(prediction) == 2:
        counts = np.array([2, 1])
    repeated = np.repeat(np.arange(len(prediction)), counts)
    value, gradient = loss.vjp(prediction, target, sample_weight=counts)
    expected, slopes = loss.vjp(prediction[repeated], target[repeated])
    assert math.isclose(value, expected, rel_tol=1e-12)
    assert math.isclose(loss(prediction, target, counts), expected, rel_tol=1e-12)
    together = np.zeros_like(gradient)
    np.add.at(together, repeated, slopes)
    np.testing.assert_allclose(gradient, together, rtol=1e-12, atol=1e-15)


@CASE
@pytest.mark.parametrize("filling", [nan, inf, -inf])
def test_what_counts_nothing_may_hold_anything(loss, prediction, target, filling) -> None:
    """Neither loss nor gradient of the others notice it; its own gradient is 0."""
    counts = np.ones(len(prediction))
    counts[0] = 0
    spoilt = prediction.copy()
    spoilt[0] = filling
    value, gradient = loss.vjp(spoilt, target, counts)
    assert math.isclose(value, loss(prediction[1:], target[1:]), rel_tol=1e-12)
    assert not gradient[0].any()
    np.testing.assert_allclose(gradient[1:], loss.vjp(prediction[1:], target[1:])[1], rtol=1e-12)


@CASE
def test_if_nothing_counts_the_loss_is_0(loss, prediction, target) -> None:
    """Documented: not NaN as in torch, so that a batch without labels stops no training."""
    value, gradient = loss.vjp(prediction, target, np.zeros(len(prediction)))
    assert value == 0
    assert not gradient.any()


def test_float64_class_weights_serve_float32_predictions() -> None:
    """NumPy's default dtype, and counts of classes."""
    single = LOGITS.astype(np.float32)
    for weight in (WEIGHT, WEIGHT.astype(np.float32), np.array([1, 2, 3, 4])):
        for make in (nn.CrossEntropyLoss, nn.NLLLoss):
            value, gradient = make(weight).vjp(single, LABELS)
            assert gradient.dtype == np.float32
            assert math.isclose(value, make(weight)(LOGITS, LABELS), rel_tol=1e-6)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(4), ValueError, r"sample_weight: shape \(4,\) must be \(5,\)"),
        (np.ones((5, 1)), ValueError, "sample_weight: must be one finite number, at least 0, per example"),
        (-np.ones(5), ValueError, "sample_weight: must be one finite number, at least 0"),
        (np.full(5, nan), ValueError, "sample_weight: must be one finite number"),
        ([1.0] * 5, TypeError, "sample_weight: must be an array"),
        (np.array(["a"] * 5), TypeError, "sample_weight: must be an array of numbers"),
    ],
)
def test_bad_weights(weights, error, message) -> None:
    for call in (nn.MSELoss(), nn.MSELoss().vjp):
        with pytest.raises(error, match=message):
            call(LOGITS, VALUES, weights)


def test_weights_for_a_loss_of_ones_own_that_takes_none() -> None:
    class Mine(nn.Loss):
        def prepare(self, shape, dtype, target):
            return target

        def value(self, prediction, target):
            return 1.0

    with pytest.raises(TypeError, match=r"sample_weight: Mine.value has no such argument"):
        Mine()(LOGITS, LABELS, np.ones(5))


# ---- ignored labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ignored", [-100, 0, 255])
@pytest.mark.parametrize(
    "make",
    [
        lambda **options: nn.CrossEntropyLoss(WEIGHT[:3], **options),
        lambda **options: nn.CrossEntropyLoss(label_smoothing=0.1, **options),
        nn.NLLLoss,
        nn.HingeLoss,
    ],
)
def test_an_ignored_label_is_as_if_the_pixel_were_not_there(make, ignored) -> None:
    """In loss, gradient and accuracy; whatever the prediction is there."""
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((2, 3, 4, 5)), rng.integers(1, 3, (2, 4, 5))
    hidden = rng.random(labels.shape) < 0.4
    labels[hidden] = ignored
    loss = make(ignore_index=ignored)
    value, gradient = loss.vjp(logits, labels)
    rows = np.moveaxis(logits, 1, -1)
    expected, slopes = make().vjp(rows[~hidden], labels[~hidden])
    assert math.isclose(value, expected, rel_tol=1e-12)
    np.testing.assert_allclose(np.moveaxis(gradient, 1, -1)[~hidden], slopes, rtol=1e-12, atol=1e-15)
    assert not np.moveaxis(gradient, 1, -1)[hidden].any()
    spoilt = np.moveaxis(logits.copy(), 1, -1)
    spoilt[hidden] = nan
    assert loss(np.moveaxis(spoilt, -1, 1), labels) == value
    prepared = loss.prepare(logits.shape, logits.dtype, labels)
    right = (rows[~hidden].argmax(axis=1) == labels[~hidden]).mean()
    assert math.isclose(loss.correct(logits, prepared) / loss.judged(prepared), right)


def test_labels_out_of_range_are_not_ignored() -> None:
    labels = np.array([0, -1, 1, -100, 2])
    with pytest.raises(ValueError, match="labels from -1 to 2 must be from 0 to 3, or ignore_index=-100"):
        nn.CrossEntropyLoss()(LOGITS, labels)
    assert nn.CrossEntropyLoss()(LOGITS, np.full(5, -100)) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_labels_of_any_integer_dtype(dtype) -> None:
    for make in (nn.CrossEntropyLoss, nn.NLLLoss, nn.HingeLoss, nn.TotalAbsoluteError):
        assert make()(LOGITS, LABELS.astype(dtype)) == make()(LOGITS, LABELS)


# ---- reductions --------------------------------------------------------------------------------------


@CASE
def test_sum_is_the_mean_times_what_it_is_divided_by(loss, prediction, target) -> None:
    for weights in ((), (SHARES[: len(prediction)],)):
        prepared = loss.prepare(prediction.shape, prediction.dtype, target)
        divisor = loss.divisor(prepared, *weights)
        value, gradient = loss.vjp(prediction, target, *weights)
        total, slopes = reduced(loss, "sum").vjp(prediction, target, *weights)
        assert math.isclose(total, value * divisor, rel_tol=1e-12)
        np.testing.assert_allclose(slopes, gradient * divisor, rtol=1e-12, atol=1e-15)


@CASE
def test_none_gives_the_losses_that_add_up_to_the_sum(loss, prediction, target) -> None:
    every, gradient = reduced(loss, "none").vjp(prediction, target)
    assert every.shape[0] == len(prediction)
    assert every.dtype == prediction.dtype
    total, slopes = reduced(loss, "sum").vjp(prediction, target)
    assert math.isclose(every.sum(), total, rel_tol=1e-12)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-12)


def test_shapes_of_unreduced_losses_are_those_of_torch() -> None:
    assert nn.MSELoss(reduction="none")(LOGITS, VALUES).shape == (5, 4)
    assert nn.CrossEntropyLoss(reduction="none")(LOGITS, LABELS).shape == (5,)
    assert nn.CrossEntropyLoss(reduction="none")(LOGITS, MIXED).shape == (5,)
    assert nn.CrossEntropyLoss(reduction="none")(IMAGE_LOGITS, IMAGE_LABELS).shape == (2, 2, 4)
    assert nn.TotalAbsoluteError(reduction="none")(LOGITS, LABELS).shape == (5,)


# ---- many numbers ------------------------------------------------------------------------------------


def many(loss: nn.Loss) -> tuple[np.ndarray, np.ndarray]:
    """More numbers than a loss looks at together, all alike."""
    if isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss, nn.HingeLoss, nn.TotalAbsoluteError)):
        return np.full((2**19, 2), -0.1, np.float32), np.zeros(2**19, np.uint8)
    return np.full((1, 2**20), 0.1, np.float32), np.zeros((1, 2**20), np.float32)


@pytest.mark.parametrize("name", sorted(set(nn.losses.__all__) - {"Loss", "LossPerOutput"}))
def test_long_sums_do_not_lose_digits(name: str) -> None:
    """The mean of equal numbers is each of them, in float32 too."""
    loss = getattr(nn, name)()
    prediction, target = many(loss)
    one = loss(prediction[:1, :2], target[:1, :2] if target.ndim > 1 else target[:1])
    assert math.isclose(loss(prediction, target), one, rel_tol=1e-6)


@pytest.mark.parametrize("make", [nn.HingeLoss, nn.CrossEntropyLoss, nn.TotalAbsoluteError])
def test_long_sums_over_classes_do_not_depend_on_memory_order(make) -> None:
    """Not one by one where the classes are not side by side in memory."""
    prediction = np.full((2, 2**17), 0.1, np.float32)
    labels = np.array([0, 1])
    value = make()(prediction, labels)
    assert make()(np.asfortranarray(prediction), labels) == value
    assert math.isclose(value, make()(prediction.astype(np.float64), labels), rel_tol=1e-6)


@pytest.mark.parametrize("order", ["C", "channels last"])
@pytest.mark.parametrize("shape", [(3, 3, 160, 200), (300, 700), (2, 70_000), (70_000, 2)])
def test_pieces_are_seamless(shape, order) -> None:
    """However a batch is cut, losses and gradients are those of each example by itself."""
    rng = np.random.default_rng(1)
    prediction = rng.standard_normal(shape)
    if order != "C":
        prediction = np.moveaxis(np.ascontiguousarray(np.moveaxis(prediction, 1, -1)), -1, 1)
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    for loss, target in (
        (nn.CrossEntropyLoss(rng.random(shape[1]), label_smoothing=0.1, reduction="sum"), labels),
        (nn.TotalAbsoluteError(reduction="sum"), labels),
        (nn.MSELoss(reduction="sum"), np.zeros(shape)),
    ):
        value, gradient = loss.vjp(prediction, target)
        total = 0.0
        for i in sorted({0, shape[0] // 2, shape[0] - 1}):
            one = slice(i, i + 1)
            _, slopes = loss.vjp(prediction[one], target[one])
            np.testing.assert_allclose(gradient[one], slopes, rtol=1e-12, atol=1e-15)
        step = max(1, shape[0] // 3)
        total = sum(loss(prediction[i : i + step], target[i : i + step]) for i in range(0, shape[0], step))
        assert math.isclose(value, total, rel_tol=1e-12)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"weight": 1}, {"ignore_index": 3}])
def test_labels_of_many_classes_take_no_table(options) -> None:
    """50,257 classes: neither (classes, classes) nor a row of classes per label, beside the gradient."""
    classes, count = 50_257, 8
    rng = np.random.default_rng(0)
    prediction = rng.standard_normal((count, classes)).astype(np.float32)
    labels = rng.integers(0, classes, count)
    if "weight" in options:
        options = {"weight": rng.random(classes)}
    loss = nn.CrossEntropyLoss(**options)
    tracemalloc.start()
    try:
        loss(prediction, labels)
        value_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        loss.vjp(prediction, labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert value_peak < 2 << 20
    assert peak < prediction.nbytes + (2 << 20)


def test_labels_of_the_decks_error_take_no_table() -> None:
    """Labels stay labels: not one number per class for every example of a data set."""
    prepared = nn.TotalAbsoluteError().prepare((4, 1000), np.dtype(np.float32), np.arange(4))
    assert prepared.shape == (4,)
