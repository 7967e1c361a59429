"""Losses as compiled passes: against loops, in any memory order, on any number of threads; their memory."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from test_nn_losses import CASES

import fastconv
from fastconv import nn

inf, nan = math.inf, math.nan
IGNORED = -100


def entropy_loops(loss: Any, logits: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What every point loses, and the gradient of their sum, by loops over points in float64."""
    classes = logits.shape[1]
    rows = np.moveaxis(logits, 1, -1).astype(np.float64)
    soft = target.shape == logits.shape
    answers = np.moveaxis(target, 1, -1) if soft else target
    weight = np.ones(classes) if loss.weight is None else loss.weight.astype(logits.dtype).astype(np.float64)
    losses, slopes = np.zeros(rows.shape[:-1]), np.zeros(rows.shape)
    for place in np.ndindex(losses.shape):
        if not soft and (answers[place] == loss.ignore_index or weight[answers[place]] == 0):
            continue
        row, smoothing = rows[place], loss.label_smoothing
        answer = answers[place].astype(np.float64) if soft else np.eye(classes)[answers[place]]
        wanted = weight * ((1 - smoothing) * answer + smoothing / classes)
        exps = [math.exp(x - row.max()) for x in row]
        log_sum = row.max() + math.log(math.fsum(exps))
        losses[place] = math.fsum(w * (log_sum - x) for w, x in zip(wanted, row, strict=True) if w)
        slopes[place] = np.array(exps) / math.fsum(exps) * math.fsum(wanted) - wanted
    return losses, np.moveaxis(slopes, -1, 1)


def laid_out(array: np.ndarray, order: str) -> np.ndarray:
    """The same numbers in another memory order."""
    if order == "channels last" and array.ndim > 1:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    if order == "with gaps":
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    return np.array(array, order="F" if order == "F" else "C")


ORDERS = ["C", "F", "channels last", "with gaps"]
SHAPES = [(5, 1), (70, 3), (3, 33), (2, 300), (2, 5, 7), (2, 4, 3, 23), (1, 3, 70), (3, 21, 1, 1)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
def test_cross_entropy_equals_loops(smoothing: float, dtype: Any, shape: tuple, order: str) -> None:
    """Labels with some ignored, and probabilities; class weights with some 0; a masked class of weight 0."""
    generator = np.random.default_rng(3)
    logits = (3 * generator.standard_normal(shape)).astype(dtype)
    labels = generator.integers(0, shape[1], (shape[0], *shape[2:]))
    labels[generator.random(labels.shape) < 0.2] = IGNORED
    soft = fastconv.softmax(generator.standard_normal(shape).astype(dtype), 1)
    weight = generator.random(shape[1])
    weight[shape[1] // 2] = shape[1] == 1
    masked = logits.copy()
    masked[:, shape[1] // 2] = -inf if shape[1] > 1 else 1
    close = {"rtol": 1e-5 if dtype == np.float32 else 1e-12, "atol": 2e-6 if dtype == np.float32 else 1e-14}
    for weights, x in ((None, logits), (weight, logits), (weight, masked)):
        for target in (labels, labels.astype(np.int8 if shape[1] < 128 else np.int16), soft):
            loss = nn.CrossEntropyLoss(weights, smoothing, reduction="none")
            losses, slopes = entropy_loops(loss, x, target)
            placed, answers = laid_out(x, order), laid_out(target, order) if target is soft else target
            found, gradient = loss.vjp(placed, answers)
            assert found.dtype == gradient.dtype == dtype
            np.testing.assert_allclose(found, losses, **close)
            np.testing.assert_allclose(gradient, slopes, **close)
            np.testing.assert_array_equal(loss(placed, answers), found)


def test_a_masked_class_costs_infinity_only_where_it_is_wanted() -> None:
    """Without a NaN: as the label, or by smoothing; the rows beside it do not notice. Short and long."""
    for classes in (4, 100):
        logits = np.zeros((3, classes), np.float32)
        logits[1, 2] = -inf
        for smoothing, label, expected in ((0.0, 0, math.log(classes - 1)), (0.0, 2, inf), (0.1, 0, inf)):
            loss = nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")
            found, gradient = loss.vjp(logits, np.array([1, label, 1]))
            assert math.isclose(found[1], expected, rel_tol=1e-6)
            np.testing.assert_allclose(found[[0, 2]], math.log(classes), rtol=1e-6)
            assert np.isfinite(gradient).all()


def test_what_has_no_softmax_spoils_its_own_row() -> None:
    """NaN, +inf, or nothing but -inf among the logits: NaN there, and nothing elsewhere."""
    for classes in (4, 100):
        for bad in (nan, inf):
            logits = np.zeros((3, classes))
            logits[1, 0] = bad
            every, gradient = nn.CrossEntropyLoss(reduction="none").vjp(logits, np.array([0, 1, 0]))
            assert np.isnan(every).tolist() == [False, True, False]
            assert np.isnan(gradient).any(axis=1).tolist() == [False, True, False]
        logits[1] = -inf
        assert np.isnan(nn.CrossEntropyLoss()(logits, np.array([0, 1, 0])))


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, ">i4", np.uint64]
)
@pytest.mark.parametrize("ignored", [7, 1, 10**30])
def test_labels_of_every_dtype_and_order(dtype: Any, ignored: int) -> None:
    """Read where they lie: strided and foreign ones too; a number that no label can be ignores none."""
    generator = np.random.default_rng(4)
    logits, labels = generator.standard_normal((4, 6, 5, 2)), generator.integers(0, 6, (4, 5, 2))
    labels[0, 0] = ignored if ignored < 100 else 0
    for make in (nn.CrossEntropyLoss, nn.NLLLoss):
        loss = make(ignore_index=ignored)
        value, gradient = loss.vjp(logits, labels)
        for other in (labels.astype(dtype), np.asfortranarray(labels.astype(dtype))):
            found, slopes = loss.vjp(logits, other)
            assert found == value
            np.testing.assert_array_equal(slopes, gradient)


def test_labels_that_nobody_checked_reach_no_memory() -> None:
    """`value` and `gradient` check nothing; what `prepare` would refuse costs NaN there."""
    for loss in (nn.CrossEntropyLoss(reduction="none"), nn.NLLLoss(reduction="none")):
        for label in (10**12, -(10**12), 3):
            value, _ = loss.gradient(np.zeros((3, 3)), np.array([0, label, 1]))
            assert np.isnan(value).tolist() == [False, True, False]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("loss", "prediction", "target"), CASES.values(), ids=CASES)
def test_memory_order_does_not_matter(loss: Any, prediction: Any, target: Any, order: str) -> None:
    """Prediction and target in one order or in two; with and without weights of the examples."""
    weights = np.arange(len(prediction)) % 3 * 0.5
    for extra in ((), (weights,)):
        value, gradient = loss.vjp(prediction, target, *extra)
        placed = laid_out(prediction, order)
        for answers in {id(t): t for t in (target, laid_out(target, order))}.values():
            found, slopes = loss.vjp(placed, answers, *extra)
            assert math.isclose(found, value, rel_tol=1e-12)
            np.testing.assert_allclose(slopes, gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape", [(64, 5000), (40_000, 10), (2, 21, 100, 90)])
def test_bits_of_cross_entropy_do_not_depend_on_threads_or_batch(shape: tuple) -> None:
    """Threads share whole rows, and a row of logits knows nothing of its neighbours."""
    generator = np.random.default_rng(5)
    x, labels = (
        generator.standard_normal(shape, np.float32),
        generator.integers(0, shape[1], (shape[0], *shape[2:])),
    )
    loss = nn.CrossEntropyLoss(generator.random(shape[1]), 0.1, reduction="sum")
    fastconv.set_num_threads(1)
    value, gradient = loss.vjp(x, labels)
    for threads in (2, 5):
        fastconv.set_num_threads(threads)
        found, slopes = loss.vjp(x, labels)
        assert found == value
        np.testing.assert_array_equal(slopes, gradient)
    np.testing.assert_array_equal(loss.vjp(x[1:2], labels[1:2])[1], gradient[1:2])


@pytest.mark.parametrize("make", [nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.SmoothL1Loss, nn.BCEWithLogitsLoss])
def test_bits_of_elementwise_losses_do_not_depend_on_threads(make: Any) -> None:
    generator = np.random.default_rng(6)
    x, target = generator.standard_normal((7, 50_001), np.float32), generator.random((7, 50_001), np.float32)
    weights = generator.random(7)
    results = []
    for threads in (1, 2, 5):
        fastconv.set_num_threads(threads)
        results.append((*make().vjp(x, target), *make().vjp(x, target, weights)))
    for result in results[1:]:
        for found, expected in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(found, expected)


LOSSES = {
    "cross entropy": (nn.CrossEntropyLoss(), (1 << 16, 16)),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.1), (16, 1 << 16)),
    "of images": (nn.CrossEntropyLoss(), (1, 16, 256, 256)),
    "nll": (nn.NLLLoss(), (16, 1 << 16)),
    "mse": (nn.MSELoss(), (16, 1 << 16)),
    "bce": (nn.BCEWithLogitsLoss(), (16, 1 << 16)),
}


@pytest.mark.parametrize(("loss", "shape"), LOSSES.values(), ids=LOSSES)
def test_nothing_as_large_as_the_prediction_is_made_but_the_gradient(loss: Any, shape: tuple) -> None:
    """4 MiB of predictions: the value takes 0.4 MiB at most, the gradient that beside itself."""
    x = np.full(shape, 0.25, np.float32)
    labels = isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss))
    target = np.zeros((shape[0], *shape[2:]), np.int32) if labels else np.zeros_like(x)
    for call, result in ((loss, 0), (loss.vjp, x.nbytes)):
        tracemalloc.start()
        call(x, target)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak <= result + 0.4 * 2**20
