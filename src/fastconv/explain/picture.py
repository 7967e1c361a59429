"""The same as a picture: maps, votes, gradient, hidden parts, tricky cases and one weight's curve."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fastconv.explain.cases import cases_of
from fastconv.explain.gradients import LEARNED
from fastconv.explain.steps import Match
from fastconv.explain.walking import Map, Walk
from fastconv.terminal import need, save_figure
from fastconv.xo import two_decimals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches: the figure's width, a layer's height, and that of each row below the layers.
WIDTH, LAYER, LOWER = 13.0, 1.5, 3.2

#: Maps that are drawn of a layer, layers that are drawn, and classes with a line.
MOST_MAPS, MOST_LAYERS, MOST_CLASSES = 16, 40, 5

#: Cells up to which a map's numbers are written into it: in smaller ones they would run into each other.
READABLE = 25

COLOURS, GAP = "RdBu_r", "#d9d9d9"
DASHES = ("-", "--", ":", "-.", (0, (8, 2, 2, 2)))


def draw(
    path: str | os.PathLike[str],
    seen: Walk,
    *,
    title: str = "a net",
    name: str = "an input",
    target: int | str | None = None,
) -> None:
    """Draw what a net makes of an input.

    Parameters
    ----------
    path : str or path
        Ends in .png, .svg or .pdf.
    seen : Walk
    title, name : str
        What net and input are called.
    target : int or str, optional
        The right class; without it the one with the largest vote.

    Raises
    ------
    CommandError
        Matplotlib is not installed.
    OSError
        The file cannot be written; one that was there before is still whole.
    """
    winner = int(seen.votes.argmax())
    right = winner if target is None else seen.class_number("target", target)
    layers = seen.maps[:MOST_LAYERS]
    height = LAYER * len(layers) + 2 * LOWER + 0.8
    figure: Figure = need("matplotlib.figure", "matplotlib").Figure(
        figsize=(WIDTH, height), dpi=100, layout="constrained"
    )
    figure.suptitle(f"{_short(name)} through {_short(title)}", parse_math=False)
    ninths = any(isinstance(step.layer, Match) for step in seen.steps)
    most = max(float(np.nanmax(np.abs(each.values), initial=0)) for each in seen.maps) or 1.0
    parts = figure.subfigures(
        len(layers) + 2, 1, height_ratios=[*[LAYER] * len(layers), LOWER, LOWER], squeeze=False
    )[:, 0]
    for part, shown in zip(parts, layers):
        axes = part.subplots(1, 2, width_ratios=(3, 1))
        _maps(axes[0], shown, most, two_decimals if ninths else _rounded)
        _histogram(axes[1], shown)
    axes = parts[-2].subplots(1, 3)
    _votes(axes[0], seen)
    _plane(axes[1], _gradient(seen, winner), f"gradient of the vote for {seen.classes[winner]}")
    hidden = seen.occlusion(winner).drop if len(seen.shapes[0]) == 3 else None
    _plane(axes[2], hidden, "how much the vote falls with that part hidden")
    axes = parts[-1].subplots(1, 3)
    _curve(axes[0], seen, right)
    _tricky(axes[1:], seen)
    save_figure(figure, path)


def _rounded(value: float) -> str:
    return f"{value:.2g}"


def _short(text: str) -> str:
    return text if len(text) <= 48 else f"{text[:45]}..."


def mosaic(values: np.ndarray) -> np.ndarray:
    """Maps side by side, with gaps that are no numbers; slices of volumes too.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.explain.picture import mosaic
    >>> mosaic(np.zeros((2, 3, 4))).shape
    (3, 9)
    """
    if values.ndim == 1:
        return values[None, : 8 * MOST_MAPS]
    if values.ndim == 2:
        return values[:64]
    planes = values[:MOST_MAPS].reshape(-1, *values.shape[-2:])[: 4 * MOST_MAPS]
    gap = max(1, planes.shape[-1] // 12)
    padded = np.pad(planes, ((0, 0), (0, 0), (0, gap)), constant_values=np.nan)
    joined: np.ndarray = np.concatenate(list(padded), axis=1)[:, :-gap]
    return joined


def _maps(axes: Axes, shown: Map, most: float, told: Callable[[float], str]) -> None:
    values = mosaic(shown.values.astype(np.float64))
    colours = need("matplotlib", "matplotlib").colormaps[COLOURS].with_extremes(bad=GAP)
    axes.imshow(values, cmap=colours, vmin=-most, vmax=most, interpolation="nearest", aspect="equal")
    axes.set_anchor("W")
    axes.set_xticks([])
    axes.set_yticks([])
    drawn = "" if len(shown.values) <= MOST_MAPS or shown.values.ndim < 3 else f", {MOST_MAPS} drawn"
    dead = f", {len(shown.dead)} dead" if len(shown.dead) and shown.number else ""
    text = f"{shown.number} {shown.title}: {' x '.join(map(str, shown.shape))}{drawn}{dead}"
    axes.set_title(f"{text}; one scale for all: -{most:.3g} to {most:.3g}", fontsize=8, loc="left")
    if shown.values.ndim == 3 and values.shape[1] <= 42 and math.prod(shown.shape[1:]) <= READABLE:
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                ink = "white" if abs(value) > 0.6 * most else "#303030"
                axes.text(column, row, told(value), ha="center", va="center", fontsize=5.4, color=ink)


def _histogram(axes: Axes, shown: Map) -> None:
    counts, edges = shown.histogram()
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color="#606060")
    axes.set_yticks([])
    axes.tick_params(labelsize=6)
    told = f"{shown.parameters:,} parameters, {shown.flops:,} FLOPs, {shown.nbytes:,} bytes"
    sees = f"sees {' x '.join(map(str, shown.field))}" if shown.field else ""
    axes.set_title(f"{told}\n{sees}, mean {shown.mean:.3g}", fontsize=7, loc="left")


def _votes(axes: Axes, seen: Walk) -> None:
    order = np.argsort(-seen.votes, kind="stable")[:12][::-1]
    axes.barh(range(len(order)), seen.votes[order], color="#1b4f8a")
    names = [f"{_short(seen.classes[k])}  {seen.votes[k]:.3g} ({seen.probabilities[k]:.1%})" for k in order]
    axes.set_yticks(range(len(order)), names, fontsize=8, parse_math=False)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_title("votes (softmax)", fontsize=9)


def _gradient(seen: Walk, vote: int) -> np.ndarray | None:
    try:
        found = seen.gradients(vote).pixels
    except TypeError:
        return None
    return None if found is None or found.ndim < 2 else mosaic(found)


def _plane(axes: Axes, values: np.ndarray | None, title: str) -> None:
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    if values is None:
        axes.text(0.5, 0.5, "not known", ha="center", transform=axes.transAxes)
        return
    most = float(np.nanmax(np.abs(values))) or 1.0
    image = axes.imshow(values, cmap=COLOURS, vmin=-most, vmax=most, interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, shrink=0.8)


def _curve(axes: Axes, seen: Walk, target: int) -> None:
    """The error against the weight with the steepest curve in the last layer that learns."""
    numbers = [each.number for each in seen.maps if each.kind in LEARNED and each.number <= seen.vote_number]
    try:
        if not numbers:
            raise TypeError("no layer learns")
        steepest = seen.gradients(target).weights[numbers[-1]]
        index = np.unravel_index(int(np.abs(steepest).argmax()), steepest.shape)
        found = seen.curve(numbers[-1], [int(i) for i in index], target)
    except TypeError:
        axes.set_axis_off()
        return
    axes.plot(found.weights, found.errors, color="black")
    axes.plot([found.weight], [found.error], "o", color="#b5330b", markersize=9, label="as it is")
    axes.plot(
        [found.new_weight], [found.new_error], "o", mfc="none", mec="#1b57a6", label=f"a step of {found.lr:g}"
    )
    axes.legend(fontsize=7)
    axes.set_xlabel("weight", fontsize=8)
    axes.set_title(f"error against weight {tuple(map(int, index))} of layer {numbers[-1]}", fontsize=9)


def _tricky(axes: np.ndarray, seen: Walk) -> None:
    """The votes as the picture is turned and scaled."""
    wanted = {each.name: each for each in cases_of(seen)}
    order = np.argsort(-seen.votes, kind="stable")[:MOST_CLASSES]
    for axis, name in zip(axes, ("rotation", "scale")):
        if name not in wanted:
            axis.set_axis_off()
            continue
        for dash, k in zip(DASHES, order):
            axis.plot(
                wanted[name].amounts, wanted[name].votes[:, k], linestyle=dash, color="black",
                label=_short(seen.classes[k]).replace("$", r"\$"),
            )  # fmt: skip
        axis.set_title(f"votes over {name}", fontsize=9)
        axis.legend(fontsize=7)
