"""Two distributions of scores: permuted orders beside the original one, for the net and for the control."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from fastconv.explain.order import OrderSensitivity
from fastconv.terminal import need, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#1b4f8a", "#b5330b")


def draw_order(path: str | os.PathLike[str], found: OrderSensitivity) -> None:
    """Draw what `order_sensitivity` found.

    Parameters
    ----------
    path : str or path
        Ends in .png, .svg or .pdf.
    found : OrderSensitivity

    Raises
    ------
    CommandError
        Matplotlib is not installed.
    OSError
        The file cannot be written; one that was there before is still whole.
    """
    figure: Figure = need("matplotlib.figure", "matplotlib").Figure(
        figsize=(8, 4.6), dpi=120, layout="constrained"
    )
    axes = figure.subplots(2, 1, sharex=True)
    told = (
        ("net", found.original, found.permuted),
        ("fully connected", found.control_original, found.control_permuted),
    )
    scores = np.concatenate([found.permuted, found.control_permuted])
    low = min(float(scores.min()), found.original, found.control_original)
    high = max(float(scores.max()), found.original, found.control_original)
    bins = np.linspace(low - 1e-3, high + 1e-3, 31)
    for axis, (name, original, permuted), colour in zip(axes, told, COLOURS):
        axis.hist(permuted, bins, color=colour, alpha=0.45, label=f"{len(permuted)} permuted orders")
        axis.plot(permuted, np.full(len(permuted), -0.3), "|", color=colour, markersize=10)
        axis.axvline(original, color="black", linestyle="--", label=f"original order, {original:.2%}")
        axis.axvspan(original - found.margin, original + found.margin, color="#808080", alpha=0.15)
        axis.set_title(name, fontsize=10, loc="left")
        axis.set_yticks([])
        axis.legend(fontsize=8, loc="upper left")
    axes[1].set_xlabel("accuracy on examples that were not learned from; grey: the margin")
    ends = " to ".join(f"{end:+.2%}" for end in found.interval)
    figure.suptitle(f"{found.verdict}: drop {found.drop:+.2%} ({ends}), p = {found.p:.3f}")
    save_figure(figure, path)
