"""Distributions of scores: permuted orders beside the original one, for the net and for the control."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fastconv.explain.order import OrderSensitivity
from fastconv.terminal import need, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#1b4f8a", "#b5330b")


def draw_orders(path: str | os.PathLike[str], found: Mapping[str, OrderSensitivity]) -> None:
    """Draw what `order_sensitivity` found of several kinds of data, one above the other.

    Parameters
    ----------
    path : str or path
        Ends in .png, .svg or .pdf.
    found : mapping of str to OrderSensitivity
        By what each is called.

    Raises
    ------
    CommandError
        Matplotlib is not installed.
    OSError
        The file cannot be written; one that was there before is still whole.
    """
    figure: Figure = need("matplotlib.figure", "matplotlib").Figure(
        figsize=(8, 0.6 + 1.35 * len(found)), dpi=100, layout="constrained"
    )
    for axis, (name, one) in zip(figure.subplots(len(found), 1, squeeze=False)[:, 0], found.items()):
        told = _told(one)
        for height, (_, original, permuted), colour in zip((1, 0), told, COLOURS):
            # side by side where several scores are the same
            order = np.argsort(permuted, kind="stable")
            lift = np.empty(len(permuted))
            lift[order] = np.arange(len(permuted)) - np.searchsorted(permuted[order], permuted[order])
            lift *= min(0.12, 0.7 / max(1.0, lift.max()))
            axis.plot(permuted, height - 0.3 + lift, "o", color=colour, alpha=0.5, markersize=4)
            axis.plot([original] * 2, [height - 0.42, height + 0.48], "--", color="black", linewidth=1.5)
        axis.axvspan(one.original - one.margin, one.original + one.margin, 0.5, color="#808080", alpha=0.15)
        axis.set_yticks([1, 0], [row.replace(" ", "\n") for row, *_ in told], fontsize=8)
        axis.set_ylim(-0.55, 1.6)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
        axis.tick_params(labelsize=8)
        axis.set_title(
            f"{name}: {one.verdict} (drop {one.drop:+.2%}, p = {one.p:.3f})", fontsize=9, loc="left"
        )
    figure.supxlabel(
        "accuracy; dots: permuted orders, dashed: the original one, grey: the margin", fontsize=9
    )
    save_figure(figure, os.fspath(path))


def _told(found: OrderSensitivity) -> tuple[tuple[str, float, np.ndarray], ...]:
    """The net's score and the permuted ones, and the control's."""
    return (
        ("net", found.original, found.permuted),
        ("fully connected", found.control_original, found.control_permuted),
    )


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
    told = _told(found)
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
