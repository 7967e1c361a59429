"""What a page holds: everything that is shown, as JSON with arrays packed into text."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import __version__, nn
from fastconv.explain.cases import cases_of
from fastconv.explain.occlusion import occlude
from fastconv.explain.steps import Match, Step
from fastconv.explain.walking import Map, Walk
from fastconv.nn.layers.conv import Conv
from fastconv.nn.layers.norm import BatchNorm
from fastconv.nn.layers.pool import AvgPool

#: Numbers of maps and weights up to which they are kept in float32; beyond it in float16.
EXACT = 300_000

#: Bytes that the gradients of all votes together may take; the winner's are there in any case.
GRADIENT_BYTES = 1_200_000

#: Of so many votes, the largest first, there are gradients and occlusion maps.
VOTES = 10

#: Weights of layers beyond this many numbers in all are left out, the largest layers first.
MOST_NUMBERS = 2_000_000

#: What takes so many operations more than this is looked at for the winning vote alone.
SLOW_FLOPS = 5_000_000

#: Of larger inputs, what is shifted, turned and so on is told by its votes alone.
MOST_PIXELS = 20_000

#: Losses that the page can compute.
LOSSES = {nn.TotalAbsoluteError: "absolute", nn.CrossEntropyLoss: "cross entropy"}


def packed(array: np.ndarray, half: bool = False) -> dict[str, Any]:
    """An array as JSON: shape, type and base64 of little-endian numbers, float32 or float16.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.explain.content import packed
    >>> packed(np.array([1.0, 2.0]))
    {'s': [2], 't': 'f', 'b': 'AACAPwAAAEA='}
    """
    kind = "<f2" if half else "<f4"
    with np.errstate(over="ignore"):
        data = np.ascontiguousarray(array, kind).tobytes()
    return {
        "s": list(array.shape),
        "t": "h" if half else "f",
        "b": base64.b64encode(data).decode("ascii"),
    }


def content_of(seen: Walk, title: str, name: str, *, target: int | None = None) -> dict[str, Any]:
    """Everything that the page shows.

    Parameters
    ----------
    seen : Walk
    title, name : str
        Of the net and of the input.
    target : int, optional
        The right class; without it the one with the largest vote.
    """
    winner = int(np.argmax(seen.votes))
    half = _numbers(seen) > EXACT
    kept = _kept_weights(seen)
    votes = _votes_shown(seen)
    return {
        "title": title,
        "name": name,
        "version": __version__,
        "classes": list(seen.classes),
        "target": winner if target is None else target,
        "known": target is not None,
        "voteMap": seen.vote_number,
        "ninths": any(isinstance(step.layer, Match) for step in seen.steps),
        "loss": next((text for kind, text in LOSSES.items() if type(seen.loss) is kind), None),
        "probabilities": packed(seen.probabilities),
        "maps": [_map(seen, each, half, each.number in kept) for each in seen.maps],
        "gradients": _gradients(seen, votes),
        "occlusion": _occlusions(seen, votes),
        "cases": _cases(seen),
    }


def _numbers(seen: Walk) -> int:
    weights = sum(parameter.value.size for step in seen.steps for parameter in step.layer.parameters())
    return weights + sum(map(math.prod, seen.shapes))


def _flops(seen: Walk) -> int:
    return sum(each.flops for each in seen.maps)


def _kept_weights(seen: Walk) -> set[int]:
    """Numbers of the maps whose layer's weights are in the page."""
    left = MOST_NUMBERS - sum(map(math.prod, seen.shapes))
    kept = set()
    for each in sorted(seen.maps, key=lambda each: each.parameters):
        left -= each.parameters
        if left >= 0 or each.parameters == 0:
            kept.add(each.number)
    return kept


def _votes_shown(seen: Walk) -> list[int]:
    order = [int(vote) for vote in np.argsort(-seen.votes, kind="stable")]
    return order[: 1 if _flops(seen) > 20 * SLOW_FLOPS else VOTES]


# ---- maps ---------------------------------------------------------------------------------------------


def _map(seen: Walk, shown: Map, half: bool, with_weights: bool) -> dict[str, Any]:
    counts, edges = shown.histogram()
    told: dict[str, Any] = {
        "name": shown.name,
        "title": shown.title,
        "text": shown.text,
        "kind": shown.kind,
        "reads": list(shown.reads),
        "parameters": shown.parameters,
        "flops": shown.flops,
        "bytes": shown.nbytes,
        "field": list(shown.field),
        "range": [_finite(value) for value in (shown.minimum, shown.mean, shown.maximum)],
        "histogram": {"counts": counts.tolist(), "edges": [float(edges[0]), float(edges[-1])]},
        "dead": shown.dead.tolist(),
        "values": packed(shown.values, half),
    }
    axes = seen.axes(shown.number)
    if axes is not None:
        told["axes"] = [
            [a.size, a.count, a.kernel, a.stride, a.before, a.dilation, int(a.adaptive)] for a in axes
        ]
    if shown.number:
        told.update(_layer(seen.steps[shown.number - 1], half, with_weights))
    return told


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _layer(step: Step, half: bool, with_weights: bool) -> dict[str, Any]:
    """What the page needs to compute what a layer does."""
    layer = step.layer
    told: dict[str, Any] = {}
    if isinstance(layer, (Conv, nn.Linear)):
        told["activation"] = layer.activation
        if with_weights:
            told["weight"] = packed(layer.weight.value, half)
            if layer.bias is not None:
                told["bias"] = packed(layer.bias.value)
    if isinstance(layer, Conv):
        told["groups"] = layer.groups
    if isinstance(layer, Match):
        told["divisor"] = layer.divisor
    if isinstance(layer, BatchNorm):
        deviation = np.sqrt(layer.running_var.value.astype(np.float64) + layer.eps)
        factor = (1.0 if layer.weight is None else layer.weight.value) / deviation
        shift = (0.0 if layer.bias is None else layer.bias.value) - layer.running_mean.value * factor
        told["factor"], told["shift"] = packed(factor), packed(shift)
    if isinstance(layer, AvgPool):
        told["counted"] = int(layer.count_include_pad)
        told["divisor"] = layer.divisor_override or 0
    if step.kind == "activation":
        told["function"] = type(layer).__name__
        told["settings"] = [each for each in layer.arguments().values() if isinstance(each, (int, float))]
    if isinstance(layer, nn.LogSoftmax):
        told["function"] = "LogSoftmax"
    return told


# ---- backwards, and what if ---------------------------------------------------------------------------


def _gradients(seen: Walk, votes: Sequence[int]) -> dict[str, Any]:
    """Of as many votes as there is room for, by number; none where a layer knows no gradient."""
    found: dict[str, Any] = {}
    left = GRADIENT_BYTES
    for vote in votes:
        try:
            gradients = seen.gradients(vote)
        except TypeError as error:
            return {"reason": str(error)}
        size = sum(each.nbytes for each in gradients.maps if each is not None)
        weights = {str(k): each for k, each in gradients.weights.items() if each.size < EXACT}
        size += sum(each.nbytes for each in weights.values())
        if found and size > 2 * left:
            break
        left -= size // 2
        half = size > 50_000
        found[str(vote)] = {
            "maps": [None if each is None else packed(each, half) for each in gradients.maps],
            "weights": {k: packed(each, half) for k, each in weights.items()},
        }
    return found


def _occlusions(seen: Walk, votes: Sequence[int]) -> dict[str, Any] | None:
    """Of a picture: what becomes of the votes where a part is hidden."""
    if len(seen.shapes[0]) != 3:
        return None
    found: dict[str, Any] = {}
    for vote in votes[: 1 if _flops(seen) > SLOW_FLOPS else 3]:
        hidden = occlude(seen, vote)
        found[str(vote)] = packed(hidden.votes)
    return {
        "votes": found,
        "starts": [each.tolist() for each in hidden.starts],
        "size": list(hidden.size),
        "fill": packed(hidden.fill),
    }


def _cases(seen: Walk) -> list[dict[str, Any]]:
    half = seen.input.size > 4000
    with_pictures = seen.input.size <= MOST_PIXELS
    return [
        {
            "name": each.name,
            "amounts": list(each.amounts),
            "pictures": packed(each.pictures, half) if with_pictures else None,
            "votes": packed(each.votes),
        }
        for each in cases_of(seen)
    ]
