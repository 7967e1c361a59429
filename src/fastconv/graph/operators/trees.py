"""TreeEnsemble: decision trees, all of them and all rows walked down together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.operator import Operator, Signature
from fastconv.graph.operators.elementwise import OPERATORS as ELEMENTWISE

#: How a node compares a feature with its threshold, by ONNX's number; the last one looks it up in a set.
COMPARISONS: tuple[np.ufunc, ...] = (
    np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal,
)  # fmt: skip
MEMBER = len(COMPARISONS)

#: How the leaves of one target become one number, by ONNX's number.
AVERAGE, SUM, MIN, MAX = range(4)


class _Trees:
    """The nodes of all trees. Nodes behind the inner ones are leaves."""

    def __init__(
        self,
        roots: Sequence[int],
        modes: np.ndarray,
        features: Sequence[int],
        splits: np.ndarray,
        branches: tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]],
        leaves: int,
        missing: Sequence[int] | None,
        members: np.ndarray | None,
    ) -> None:
        count = len(features)
        self.roots = np.array(roots, np.int64)
        self.modes, self.splits = modes.reshape(-1), splits.reshape(-1)
        self.features = np.array(features, np.int64)
        self.missing = np.zeros(count, bool) if missing is None else np.array(missing, np.int64) != 0
        lengths = {len(each) for each in (self.modes, self.splits, self.missing, *branches[0], *branches[1])}
        if lengths != {count}:
            raise ValueError(f"nodes_*: must be as many as the {count} nodes_featureids")
        # 2 x nodes: where a node leads that is false, and one that is true
        self.next = np.stack([self._branch(where, leaf, count, leaves) for where, leaf in branches])
        self.count = count
        if np.any((self.roots < 0) | (self.roots >= count)) or np.any(self.modes > MEMBER):
            raise ValueError(f"tree_roots, nodes_modes: must be below {count} and {MEMBER + 1}")
        self.sets = self._sets(members)

    @staticmethod
    def _branch(where: Sequence[int], leaf: Sequence[int], nodes: int, leaves: int) -> np.ndarray:
        target, is_leaf = np.array(where, np.int64), np.array(leaf, np.int64) != 0
        if np.any((target < 0) | (target >= np.where(is_leaf, leaves, nodes))):
            raise ValueError(f"nodes_*nodeids: must be below the {nodes} nodes, or {leaves} leaves")
        return np.where(is_leaf, target + nodes, target)

    def _sets(self, members: np.ndarray | None) -> dict[int, np.ndarray]:
        """The members of each node that has some, told one list behind the other with NaN between."""
        nodes = np.flatnonzero(self.modes == MEMBER)
        values = np.zeros(0) if members is None else members.reshape(-1)
        stops = np.flatnonzero(np.isnan(values))
        lists = [each[~np.isnan(each)] for each in np.split(values, stops)]
        if len(lists) < len(nodes):
            raise ValueError(
                f"membership_values: {len(lists)} sets must be at least {len(nodes)}, one for each node"
            )
        return {int(node): each for node, each in zip(nodes, lists)}

    def leaves(self, x: np.ndarray) -> np.ndarray:
        """The leaf that each row reaches in each tree."""
        check_memory((len(x), len(self.roots)), np.dtype(np.int64))
        if self.features.size and (self.features.min() < 0 or self.features.max() >= x.shape[1]):
            raise ValueError(f"nodes_featureids: must be 0 to {x.shape[1] - 1}, the features of the input")
        here = np.broadcast_to(self.roots, (len(x), len(self.roots))).copy()
        for _ in range(self.count + 1):
            row, tree = np.nonzero(here < self.count)
            if not row.size:
                return np.asarray(here - self.count)
            node = here[row, tree]
            here[row, tree] = self.next[self._holds(node, x[row, self.features[node]]).astype(np.intp), node]
        raise ValueError("nodes_*nodeids: lead in a circle")

    def _holds(self, node: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Whether what a node asks is true of a value."""
        held = np.zeros(len(node), bool)
        modes = self.modes[node]
        for mode, compare in enumerate(COMPARISONS):
            asked = modes == mode
            if asked.any():
                held[asked] = compare(value[asked], self.splits[node[asked]])
        for member, values in self.sets.items():
            asked = node == member
            if asked.any():
                held[asked] = np.isin(value[asked], values)
        return np.where(np.isnan(value), self.missing[node], held) if self.missing.any() else held


def _gathered(
    leaves: np.ndarray, weights: np.ndarray, targets: np.ndarray, count: int, how: int
) -> np.ndarray:
    """One number for each row and target, of the leaves that the row reached."""
    if how not in (AVERAGE, SUM, MIN, MAX):
        raise ValueError(f"aggregate_function={how}: must be 0 to 3")
    rows, trees = leaves.shape
    check_memory((rows, count), np.dtype(np.float64))
    places = (np.arange(rows)[:, None], targets[leaves])
    values = weights.astype(np.float64)[leaves]
    if how in (MIN, MAX):
        out = np.full((rows, count), np.inf if how == MIN else -np.inf)
        (np.minimum if how == MIN else np.maximum).at(out, places, values)
        return np.where(np.isinf(out), 0.0, out)
    out = np.zeros((rows, count))
    np.add.at(out, places, values)
    return out / trees if how == AVERAGE else out


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _softmax_zero(x: np.ndarray) -> np.ndarray:
    """Softmax of what is not 0, which stays."""
    powers = np.where(x == 0, 0, np.exp(x - x.max(1, keepdims=True, initial=-np.inf)))
    return np.asarray(powers / np.maximum(powers.sum(1, keepdims=True), np.finfo(float).tiny))


def _logistic(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _probit(x: np.ndarray) -> np.ndarray:
    """What has this share of a normal distribution below it: Winitzki's approximation, and Newton's steps."""
    y = 2 * x - 1
    log = np.log(1 - y * y)
    half = 2 / (math.pi * 0.147) + log / 2
    root = np.copysign(np.sqrt(np.sqrt(half * half - log / 0.147) - half), y)
    for _ in range(3):
        error = ELEMENTWISE["Erf"].compute(root) - y
        root = root - error * math.sqrt(math.pi) / 2 * np.exp(root * root)
    return np.asarray(math.sqrt(2) * root)


#: What is done to the numbers at the end, by ONNX's number.
TRANSFORMS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    np.asarray, _softmax, _logistic, _softmax_zero, _probit,
)  # fmt: skip


def _tree_ensemble(
    x: np.ndarray,
    *,
    tree_roots: Sequence[int],
    nodes_modes: np.ndarray,
    nodes_featureids: Sequence[int],
    nodes_splits: np.ndarray,
    nodes_truenodeids: Sequence[int],
    nodes_falsenodeids: Sequence[int],
    nodes_trueleafs: Sequence[int],
    nodes_falseleafs: Sequence[int],
    leaf_targetids: Sequence[int],
    leaf_weights: np.ndarray,
    n_targets: int = 1,
    nodes_missing_value_tracks_true: Sequence[int] | None = None,
    nodes_hitrates: np.ndarray | None = None,
    membership_values: np.ndarray | None = None,
    aggregate_function: int = SUM,
    post_transform: int = 0,
) -> np.ndarray:
    """What the leaves say that each row reaches, for each target; computed in float64 and rounded once."""
    weights, targets = leaf_weights.reshape(-1), np.array(leaf_targetids, np.int64)
    if len(targets) != len(weights) or np.any((targets < 0) | (targets >= n_targets)):
        raise ValueError(
            f"leaf_targetids: must be {len(weights)} numbers of 0 to {n_targets - 1}, n_targets - 1"
        )
    if x.ndim != 2:
        raise ValueError(f"input: shape {x.shape} must have 2 axes")
    if not 0 <= post_transform < len(TRANSFORMS):
        raise ValueError(f"post_transform={post_transform}: must be 0 to {len(TRANSFORMS) - 1}")
    branches = ((nodes_falsenodeids, nodes_falseleafs), (nodes_truenodeids, nodes_trueleafs))
    trees = _Trees(
        tree_roots, nodes_modes, nodes_featureids, nodes_splits, branches, len(weights),
        nodes_missing_value_tracks_true, membership_values,
    )  # fmt: skip
    found = _gathered(trees.leaves(x), weights, targets, n_targets, aggregate_function)
    with np.errstate(all="ignore"):
        return TRANSFORMS[post_transform](found).astype(x.dtype)


def _tree_signature(x: Signature, *, n_targets: int = 1, **attributes: Any) -> Signature:
    if x.shape is None or len(x.shape) != 2:
        raise ValueError(f"input: shape {x.shape} must have 2 axes")
    return Signature(x.dtype, (x.shape[0], n_targets))


OPERATORS: dict[str, Operator] = {"TreeEnsemble": Operator(_tree_ensemble, _tree_signature)}
