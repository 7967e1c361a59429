"""What a model is worth, as pictures: what is taken for what, how far it may be believed, its mistakes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from fastconv.data import Dataset
from fastconv.terminal import need, printable, save_figure
from fastconv.train.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Mistakes that are drawn, and how many stand side by side.
MOST_MISTAKES, PER_ROW = 40, 8

#: Inches above the mistakes.
HEADING = 0.5

#: Classes whose names and numbers can be read in a matrix.
READABLE = 25

#: On an axis of a search, more values than this are measurements, not choices.
CHOICES = 6

INK, GREY = "#1b4f8a", "#808080"

#: Under numbers that lines run across.
PAPER = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}


def draw_evaluation(path: str, found: Evaluation) -> None:
    """Draw the confusion matrix, and how often the model is right beside how sure it is.

    Parameters
    ----------
    path : str
        Ends in .png, .svg or .pdf.
    found : Evaluation

    Raises
    ------
    OSError
        The file cannot be written; one that was there before is still whole.
    """
    side = min(14.0, max(5.0, 0.42 * len(found.classes) + 2.5))
    figure: Figure = need("matplotlib.figure", "matplotlib").Figure(
        figsize=(side + 5.5, max(side, 5.0)), dpi=120, layout="constrained"
    )
    axes = figure.subplots(1, 2, width_ratios=(side, 5.0))
    _confusion(axes[0], found)
    _reliability(axes[1], found)
    figure.suptitle(found.line)
    save_figure(figure, path)


def _name(text: str, longest: int = 18) -> str:
    """A class or file in a picture: one line, no mathematics."""
    text = printable(text)
    text = text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
    return text.replace("$", r"\$")


def _confusion(axes: Axes, found: Evaluation) -> None:
    counts = found.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if len(counts) <= READABLE:
        ticks, names = range(len(counts)), [_name(name) for name in found.classes]
        axes.set_xticks(ticks, names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(ticks, names)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.6 else "#202020"
                axes.text(column, row, f"{count}", ha="center", va="center", fontsize=8, color=color)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    axes.set_title("Which class is taken for which", fontsize=11)


def _reliability(axes: Axes, found: Evaluation) -> None:
    bins = [each for each in found.reliability() if each.count]
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="as sure as right")
    sizes = [20 + 300 * each.count / max(len(found.labels), 1) for each in bins]
    axes.plot([each.confidence for each in bins], [each.accuracy for each in bins], color=INK, linewidth=1)
    axes.scatter(
        [each.confidence for each in bins],
        [each.accuracy for each in bins],
        s=sizes,
        color=INK,
        label="the model",
    )
    axes.set_xlim(0, 1.03)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("how sure it is")
    axes.set_ylabel("how often it is right")
    axes.set_title(f"Calibration: {found.calibration_error():.2%} apart on average", fontsize=11)
    axes.legend(loc="upper left", frameon=False)
    axes.set_aspect("equal")


def draw_mistakes(path: str, found: Evaluation, dataset: Dataset) -> None:
    """Draw what was judged wrong, the surest first: what it is, what it was taken for, how surely.

    Parameters
    ----------
    path : str
        Ends in .png, .svg or .pdf.
    found : Evaluation
        Of all of `dataset`.
    dataset : fastconv.data.Dataset

    Raises
    ------
    OSError
        The file cannot be written; one that was there before is still whole.
    """
    wrong = found.mistakes()
    chosen = wrong[:MOST_MISTAKES]
    rows, columns = max(1, math.ceil(len(chosen) / PER_ROW)), min(PER_ROW, max(3, len(chosen)))
    figure: Figure = need("matplotlib.figure", "matplotlib").Figure(
        figsize=(1.7 * columns, 2.1 * rows + HEADING), dpi=120
    )
    # places that are known need no layout to be solved, which took longer than all the rest
    top = 1 - (HEADING + 0.4) / figure.get_figheight()
    figure.subplots_adjust(left=0.02, right=0.98, bottom=0.01, top=top, wspace=0.12, hspace=0.35)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).reshape(-1)
    for each in axes:
        each.set_axis_off()
    samples = dataset.batch(found.indices[chosen])[0]
    for each, index, sample in zip(axes, chosen, samples):
        _draw_sample(each, sample)
        is_, taken = found.classes[found.labels[index]], found.classes[found.predictions[index]]
        sure = found.probabilities[index].max()
        file = _name(os.path.basename(found.names[index]), 16)
        each.set_title(f"{_name(is_, 12)} taken for {_name(taken, 12)}\n{sure:.0%}  {file}", fontsize=7)
    shown = "" if len(chosen) == len(wrong) else f", the {len(chosen)} surest"
    figure.suptitle(
        f"{len(wrong):,} of {len(found.labels):,} judged wrong{shown}",
        fontsize=11,
        va="center",
        y=1 - HEADING / 2 / figure.get_figheight(),
    )
    save_figure(figure, path)


# ---- a search ------------------------------------------------------------------------------------------


def draw_search(
    path: str, columns: dict[str, list[float]], rungs: list[int], logarithmic: Iterable[str]
) -> None:
    """Draw trials as lines across parallel axes, one axis per knob; the last, a share, gives the colour.

    Parameters
    ----------
    path : str
        Ends in .png, .svg or .pdf.
    columns : dict of list of float
        By the name of an axis the values, one per trial; in the last NaN is that of a trial that failed.
    rungs : list of int
        How far each trial got: lines are wider the further.
    logarithmic : iterable of str
        Names of axes along which factors are equally long.

    Raises
    ------
    OSError
        The file cannot be written; one that was there before is still whole.
    """
    matplotlib = need("matplotlib", "matplotlib")
    figure: Figure = need("matplotlib.figure", "matplotlib").Figure(
        figsize=(1.6 * len(columns) + 1, 5), dpi=120, layout="constrained"
    )
    axes = figure.subplots()
    names, logs = list(columns), set(logarithmic)
    places = {name: _places(values, name in logs) for name, values in columns.items()}
    colors = matplotlib.colormaps["viridis_r"]  # what is best is darkest: yellow is hardly seen on white
    for trial in np.argsort([-1.0 if np.isnan(v) else v for v in columns[names[-1]]], kind="stable"):
        heights = [places[name][trial] for name in names]
        color = "#b0b0b0" if np.isnan(heights[-1]) else colors(0.1 + 0.9 * heights[-1])
        heights = [0.0 if np.isnan(height) else height for height in heights]
        jitter = 0.012 * ((trial * 7919) % 11 - 5)  # choices that are equal lie beside each other
        few = [len(set(columns[name])) <= CHOICES for name in names[:-1]]
        heights[:-1] = [height + jitter * each for height, each in zip(heights, few)]
        axes.plot(range(len(names)), heights, color=color, linewidth=0.8 + 1.1 * rungs[trial], alpha=0.85)
    for i, name in enumerate(names):
        axes.axvline(i, color=GREY, linewidth=0.8)
        shown = sorted({value for value in columns[name] if not np.isnan(value)})
        if len(shown) > CHOICES:
            shown = [shown[0], shown[-1]]
        for value in shown:
            height = places[name][columns[name].index(value)]
            text = f"{value:.1%}" if name == names[-1] else f"{value:.3g}"
            axes.text(i + 0.04, height, text, fontsize=8, va="center", color="#202020", bbox=PAPER, zorder=4)
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_yticks([])
    axes.set_ylim(-0.1, 1.1)
    axes.set_xlim(-0.1, len(names) - 0.6)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title("Trials; the darker the better, the wider the longer it was trained", fontsize=11)
    save_figure(figure, path)


def _places(values: list[float], logarithmic: bool) -> np.ndarray:
    """Values as heights from 0 to 1."""
    made = np.array(values, float)
    made = np.log(made) if logarithmic else made
    low, high = np.nanmin(made), np.nanmax(made)
    found: np.ndarray = (made - low) / (high - low) if high > low else np.where(np.isnan(made), made, 0.5)
    return found


def _draw_sample(axes: Axes, sample: np.ndarray) -> None:
    """What the net was given, as a picture: colours, else the first map; of volumes the middle slice."""
    sample = np.atleast_2d(np.asarray(sample, np.float32))
    if sample.ndim == 4:
        sample = sample[:, sample.shape[1] // 2]
    low, high = float(sample.min()), float(sample.max())
    scaled = (sample - low) / (high - low if high > low else 1)
    if sample.ndim == 2:
        axes.imshow(scaled, cmap="gray", aspect="auto", interpolation="nearest")
    elif len(sample) == 3:
        axes.imshow(scaled.transpose(1, 2, 0), interpolation="nearest")
    else:
        axes.imshow(
            scaled[0], cmap="gray", aspect="auto" if len(scaled) > 1 else "equal", interpolation="nearest"
        )
