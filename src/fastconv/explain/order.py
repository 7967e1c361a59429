"""The rule of thumb as a measurement: are the data as useful after an axis has been permuted?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import nn
from fastconv.explain.learner import Learner, fully_connected
from fastconv.geometry import axis_number, real_number, whole_number
from fastconv.tables import table
from fastconv.train.evaluation import Z95

if TYPE_CHECKING:
    import os

#: The three verdicts.
MATTERS, EQUIVALENT, OPEN = "order matters", "equivalent within the margin", "inconclusive"

#: A p of at most this speaks against chance.
LEVEL = 0.05

#: A fold of cross-validation: who is learned from, and who is judged.
Fold = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class OrderSensitivity:
    """What permuting an axis costs; `print` it.

    Attributes
    ----------
    axis : int
        Of X.
    original : float
        Accuracy with the axis as it is, over all folds.
    permuted : ndarray, shape (n_permutations,)
        Accuracy with the axis permuted, each time trained anew.
    control_original, control_permuted
        The same of the control, to which order is nothing.
    drop : float
        `original` less the mean of `permuted`.
    interval : (float, float)
        Of the drop, at 95%.
    p : float
        (1 + how many of `permuted` are at least `original`) / (n_permutations + 1).
    margin : float
    verdict : str
        "order matters", "equivalent within the margin" or "inconclusive".
    """

    axis: int
    original: float
    permuted: np.ndarray
    control_original: float
    control_permuted: np.ndarray
    drop: float
    interval: tuple[float, float]
    p: float
    margin: float
    verdict: str = field(default="")

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("", "original order", "permuted", "lowest", "highest")]
        for name, score, scores in (
            ("net", self.original, self.permuted),
            ("fully connected", self.control_original, self.control_permuted),
        ):
            figures = (score, float(scores.mean()), float(scores.min()), float(scores.max()))
            rows.append((name, *(f"{each:.2%}" for each in figures)))
        low, high = self.interval
        told = (
            f"drop {self.drop:+.2%} ({low:+.2%} to {high:+.2%}), p = {self.p:.3f}, margin {self.margin:.2%}, "
            f"{len(self.permuted)} permutations of axis {self.axis}: {self.verdict}"
        )
        return "\n".join([*table(rows, "<>>>>"), told])

    def draw(self, path: str | os.PathLike[str]) -> None:
        """Draw the two distributions of scores into a file; see `fastconv.explain.draw_order`."""
        from fastconv.explain.order_picture import draw_order

        draw_order(path, self)


def order_sensitivity(
    make_model: Callable[[int], Any],
    X: Any,
    y: Any,
    axis: int,
    n_permutations: int = 20,
    groups: Any = None,
    margin: float = 0.01,
    cv: int | Iterable[Fold] = 5,
    seed: int = 0,
    *,
    control: Callable[[int], Any] | None = None,
    carry: Callable[[Any, np.ndarray], Any] | None = None,
    on_round: Callable[[int, int], Any] | None = None,
) -> OrderSensitivity:
    """Measure whether the order along an axis matters to a kind of model.

    Each round draws one permutation of the axis, applies it alike to the examples that are learned from and
    to those that are judged, and trains anew, with another seed, on the same folds. If order is nothing to
    the model, the original order is one among many, and its score one among theirs.

    Parameters
    ----------
    make_model : function
        `make_model(seed)` gives a new model: a net of `fastconv.nn`, which a `Learner` teaches, or anything
        with `fit(X, y)` and `predict(X)`.
    X : array, shape (N, *shape)
    y : array, shape (N,)
        What the examples are: numbers or names.
    axis : int
        Of X; not 0, along which the examples lie.
    n_permutations : int, default 20
        p is at least 1 / (n_permutations + 1): below 19, no order can be found to matter.
    groups : array, shape (N,), optional
        Examples of one group stay on the same side of every fold.
    margin : float, default 0.01
        What loss of accuracy is as good as none.
    cv : int or iterable of (learned from, judged), default 5
        Folds, stratified; or the folds themselves, as indices.
    seed : int, default 0
        Everything random follows from it.
    control : function, optional
        As `make_model`: the order-blind control; without it a fully connected net.
    carry : function, optional
        `carry(model, order)` gives each new model's numbers the order that the axis is given. All rounds then
        begin with the seeds of the first, so that nothing else differs: to which order is exactly nothing has
        the same score in every round. Of a net whose features are as high as the axis, for example, `lambda
        net, order: np.copyto(net[0].weight.value, net[0].weight.value[:, order])`.
    on_round : function, optional
        Called as `on_round(done, rounds)`.

    Returns
    -------
    OrderSensitivity
        The verdict is "order matters" if p is at most 0.05, and the drop larger than the margin, its interval
        above 0; "equivalent within the margin" if the whole interval lies within the margin either way; else
        "inconclusive".

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Notes
    -----
    p is that of a permutation test (Phipson, Smyth, "Permutation p-values should never be zero", 2010).
    Equivalence is shown by an interval within a margin (Schuirmann's two one-sided tests, 1987); a p that is
    not small shows nothing. The interval's deviation is that of the permuted scores (of one training, and of
    the mean of n), or that over the examples of the difference, whichever is larger.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import explain, nn
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(120, 8)).astype(np.float32), np.arange(120) % 2
    >>> X[y == 1, 3] += 4
    >>> found = explain.order_sensitivity(lambda seed: nn.Linear(8, 2, rng=seed), X, y, axis=1,
    ...                                   n_permutations=5, cv=2, margin=0.05)
    >>> found.verdict == "order matters"
    False
    """
    X, y, groups = _examples(X, y, groups)
    axis = axis_number("axis", axis, X.ndim)
    if axis == 0 or X.shape[axis] < 2:
        rule = "must not be that of the examples, 0" if axis == 0 else f"has {X.shape[axis]} place"
        raise ValueError(f"axis={axis}: {rule}; X has shape {X.shape}")
    n_permutations = whole_number("n_permutations", n_permutations, 2)
    margin = real_number("margin", margin, at_least=0)
    names, labels = np.unique(y, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"y: has one class, {names[0]!r}; needs two or more")
    rng = np.random.default_rng(whole_number("seed", seed, 0))
    folds = _folds(labels, groups, cv, rng)
    control = fully_connected(X.shape[1:], len(names)) if control is None else control
    right = [np.empty((n_permutations + 1, len(X))) for _ in range(2)]
    seeds: list[int] = []
    for k in range(n_permutations + 1):
        order = np.arange(X.shape[axis]) if k == 0 else _another_order(X.shape[axis], rng)
        permuted = X if k == 0 else np.ascontiguousarray(np.take(X, order, axis))
        if k == 0 or carry is None:
            seeds = _seeds(folds, rng)
        right[0][k] = _judged(_carrying(make_model, carry, order), permuted, labels, folds, seeds)
        right[1][k] = _judged(control, permuted, labels, folds, _seeds(folds, rng))
        if on_round is not None:
            on_round(k + 1, n_permutations + 1)
    judged = ~np.isnan(right[0][0])
    return _summed_up(axis, [each[:, judged] for each in right], margin, groups[judged])


def _examples(X: Any, y: Any, groups: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim < 2 or not len(X):
        raise ValueError(f"X: shape {X.shape} must be (N, *shape) with at least one example")
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        raise ValueError("X: has values that are not finite")
    if X.dtype.kind not in "biuf":
        raise TypeError(f"X: dtype {X.dtype} must be numbers")
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float32)
    groups = np.arange(len(X)) if groups is None else np.asarray(groups)
    for name, array in (("y", y), ("groups", groups)):
        if array.shape != X.shape[:1]:
            raise ValueError(f"{name}: shape {array.shape} must be {X.shape[:1]}, as X has examples")
    return X, y, groups


def _another_order(size: int, rng: np.random.Generator) -> np.ndarray:
    """A permutation that is none that changes nothing."""
    while True:
        order = rng.permutation(size)
        if (order != np.arange(size)).any():
            return order


def _folds(
    labels: np.ndarray, groups: np.ndarray, cv: int | Iterable[Fold], rng: np.random.Generator
) -> list[Fold]:
    """Folds of whole groups in which the classes are spread as evenly as may be."""
    if not isinstance(cv, int) or isinstance(cv, bool):
        return _checked_folds(cv, len(labels))
    count = whole_number("cv", cv, 2)
    names, group_of = np.unique(groups, return_inverse=True)
    if len(names) < count:
        raise ValueError(f"cv={cv}: there are {len(names)} groups of examples; needs one for each fold")
    counts = np.zeros((len(names), int(labels.max()) + 1))
    np.add.at(counts, (group_of, labels), 1)
    filled = np.zeros((count, counts.shape[1]))
    fold_of = np.empty(len(names), int)
    order = rng.permutation(len(names))
    for group in order[np.argsort(-counts[order].max(1), kind="stable")]:
        own = int(counts[group].argmax())
        best = min(range(count), key=lambda fold: (filled[fold, own], filled[fold].sum()))
        fold_of[group] = best
        filled[best] += counts[group]
    where = fold_of[group_of]
    folds = [(np.flatnonzero(where != fold), np.flatnonzero(where == fold)) for fold in range(count)]
    for learned, _ in folds:
        if len(np.unique(labels[learned])) < counts.shape[1]:
            raise ValueError(f"cv={cv}: a class has too few examples, or groups, to be in every fold")
    return folds


def _checked_folds(cv: Any, size: int) -> list[Fold]:
    try:
        folds = [(np.asarray(learned, np.int64), np.asarray(judged, np.int64)) for learned, judged in cv]
    except (TypeError, ValueError):
        raise TypeError(f"cv={cv!r}: must be a number of folds, or pairs of indices") from None
    together = np.concatenate([judged for _, judged in folds]) if folds else np.empty(0, np.int64)
    if not len(together) or len(np.unique(together)) < len(together):
        raise ValueError("cv: every example may be judged once at most, and one must be")
    for learned, judged in folds:
        if min(learned.min(initial=size), judged.min(initial=size)) < 0 or not len(learned):
            raise ValueError("cv: indices must be from 0, and some learned from in every fold")
        if max(learned.max(initial=0), judged.max(initial=0)) >= size:
            raise ValueError(f"cv: indices must be below {size}, the number of examples")
        if np.isin(learned, judged).any():
            raise ValueError("cv: an example is learned from and judged in the same fold")
    return folds


def _seeds(folds: Sequence[Fold], rng: np.random.Generator) -> list[int]:
    return [int(rng.integers(2**31)) for _ in folds]


def _carrying(
    make: Callable[[int], Any], carry: Callable[[Any, np.ndarray], Any] | None, order: np.ndarray
) -> Callable[[int], Any]:
    """What makes a model whose numbers have an order already."""
    if carry is None:
        return make

    def made(seed: int) -> Any:
        model = make(seed)
        carry(model, order)
        return model

    return made


def _judged(
    make: Callable[[int], Any],
    X: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[Fold],
    seeds: Sequence[int],
) -> np.ndarray:
    """For each example whether it was judged right, by a model that has not learned from it."""
    right = np.full(len(X), np.nan)
    for (learned, judged), seed in zip(folds, seeds):
        model = make(seed)
        if isinstance(model, nn.Layer):
            model = Learner(model, seed)
        fitted = model.fit(X[learned], labels[learned])
        model = model if fitted is None else fitted
        right[judged] = np.asarray(model.predict(X[judged])) == labels[judged]
    return right


def _summed_up(axis: int, right: Sequence[np.ndarray], margin: float, groups: np.ndarray) -> OrderSensitivity:
    scores, control = (each.mean(1) for each in right)
    original, permuted = float(scores[0]), scores[1:]
    drop = original - float(permuted.mean())
    rounds = len(permuted)
    of_training = float(permuted.std(ddof=1)) * math.sqrt(1 + 1 / rounds)
    of_examples = _deviation(right[0][0] - right[0][1:].mean(0), groups)
    half = _t95(rounds - 1) * max(of_training, of_examples)
    low, high = drop - half, drop + half
    p = (1 + int((permuted >= original).sum())) / (rounds + 1)
    verdict = OPEN
    if -margin <= low and high <= margin:
        verdict = EQUIVALENT
    elif p <= LEVEL and low > 0 and drop > margin:
        verdict = MATTERS
    return OrderSensitivity(
        axis, original, permuted, float(control[0]), control[1:], drop, (low, high), p, margin, verdict
    )


def _deviation(differences: np.ndarray, groups: np.ndarray) -> float:
    """Standard error of a mean over examples that come in groups."""
    _, group_of = np.unique(groups, return_inverse=True)
    sums = np.bincount(group_of, differences - differences.mean())
    count = len(sums)
    return math.sqrt(float((sums**2).sum()) * count / max(1, count - 1)) / len(differences)


def _t95(freedom: int) -> float:
    """Student's two-sided 95% (Abramowitz, Stegun, 26.7.5)."""
    z, n = Z95, freedom
    if n < 3:
        return (12.706, 4.303)[n - 1]
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    found: float = z + sum(term / n ** (k + 1) for k, term in enumerate(terms))
    return found
