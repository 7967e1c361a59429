"""A picture's way through the networks as a figure: features, filtered, rectified, pooled maps, votes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastconv import nn
from fastconv.terminal import need, save_figure
from fastconv.xo.handmade import O_VOTERS, X_VOTERS, hand_made, two_decimals
from fastconv.xo.knobs import Knobs
from fastconv.xo.network import maps_of
from fastconv.xo.pictures import LETTERS, deck_features

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

#: Inches and dots per inch.
WIDTH, DPI = 13.0, 150

#: Panels side by side in the lower part, and inches each row of them is high.
FEWEST_PER_ROW, MOST_PER_ROW, ROW_HEIGHT = 6, 7, 2.42

#: Height of the upper part, and of the heading of either, in inches.
HAND_MADE_HEIGHT, HEADING = 6.1, 0.85

#: Of a layer with more maps than this, the first are shown.
MOST_MAPS = 64

#: Between the maps of a layer.
GAP_COLOR = "#d9d9d9"
VOTE_COLORS = ("#b2182b", "#c8c8c8")


def draw_figure(path: str, name: str, picture: np.ndarray, network: nn.Sequential, knobs: Knobs) -> None:
    """Write the figure; it appears whole or not at all.

    Parameters
    ----------
    path : str
        The file; its ending says the format.
    name : str
        What the picture is called.
    picture : ndarray, shape (1, size, size), float32
        A picture of 9x9 pixels is also shown on its way through the hand-made network.
    network : nn.Sequential
        From `build_network(knobs)`.
    knobs : Knobs

    Raises
    ------
    CommandError
        Matplotlib is not installed.
    OSError
        The file cannot be written; one that was there before is still whole.
    """
    figure_module = need("matplotlib.figure", "matplotlib")
    panels = _panels(picture, network, knobs)
    heights = [ROW_HEIGHT * math.ceil(len(panels) / MOST_PER_ROW) + HEADING]
    if picture.shape[-1] == 9:
        heights.insert(0, HAND_MADE_HEIGHT)
    figure: Figure = figure_module.Figure(figsize=(WIDTH, sum(heights)), dpi=DPI)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if len(parts) == 2:
        _draw_hand_made(parts[0], name, picture)
    _draw_learned(parts[-1], name, picture, network, panels)
    save_figure(figure, path)


# ---- the hand-made network ---------------------------------------------------------------------------


def _draw_hand_made(part: SubFigure, name: str, picture: np.ndarray) -> None:
    trace = hand_made(picture[None])
    steps = {
        "filtered": trace.filtered[0],
        "rectified": trace.rectified[0],
        "pooled": trace.pooled[0],
        "pooled again": trace.pooled_twice[0],
    }
    _heading(part, "The network made by hand", name, HAND_MADE_HEIGHT)
    grid = part.add_gridspec(
        3, 7, width_ratios=[1.25, 0.62, 1, 1, 1, 1, 1.0],
        left=0.02, right=0.98, bottom=0.03, top=1 - HEADING / HAND_MADE_HEIGHT, wspace=0.16, hspace=0.1,
    )  # fmt: skip
    axes = part.add_subplot(grid[1, 0])
    _show_picture(axes, picture[0], "picture")
    for row, feature in enumerate(deck_features()[:, 0]):
        axes = part.add_subplot(grid[row, 1])
        _show_picture(axes, feature, "feature" if row == 0 else "")
        for column, (title, maps) in enumerate(steps.items()):
            axes = part.add_subplot(grid[row, 2 + column])
            _show_values(axes, maps[row], title if row == 0 else "")
        _name_voters(axes, row, trace.pooled_twice[0, row])
    _show_votes(part.add_subplot(grid[1, 6]), trace.votes[0])


def _show_values(axes: Axes, values: np.ndarray, title: str) -> None:
    """One map with its values in its pixels, cut off after two decimals."""
    _show(axes, values, 1.0, title)
    size = {7: 4.8, 4: 8.0, 2: 12.0}[len(values)]
    for (row, column), value in np.ndenumerate(values):
        color = _text_color(value)
        axes.text(column, row, two_decimals(value), ha="center", va="center", fontsize=size, color=color)


def _text_color(value: float) -> str:
    """A colour that can be read on a pixel of this value, from -1 to 1."""
    return "white" if abs(value) > 0.6 else "#303030"


def _name_voters(axes: Axes, feature: int, values: np.ndarray) -> None:
    """Write into the corners of a map of 2x2 which letter each value votes for, if any."""
    for letter, voters in zip(LETTERS, (X_VOTERS, O_VOTERS)):
        for voter in voters:
            if voter // 4 == feature:
                row, column = divmod(voter % 4, 2)
                axes.annotate(
                    f"votes for {letter}", (column, row + 0.36), ha="center", va="center", fontsize=6.5,
                    color=_text_color(values[row, column]),
                )  # fmt: skip


# ---- the learned network -----------------------------------------------------------------------------


def _panels(picture: np.ndarray, network: nn.Sequential, knobs: Knobs) -> list[tuple[str, np.ndarray | None]]:
    """(title, maps) in the order they are drawn; the picture first, and None, for the votes, last."""
    panels: list[tuple[str, np.ndarray | None]] = [("picture", picture)]
    convolutions = 0
    for stage, layer, maps in zip(knobs.plan()[1:], network, maps_of(network, picture)):
        if stage.kind == "conv":
            convolutions += 1
            if isinstance(layer, nn.Conv2d) and convolutions == 1:
                panels.append(
                    (f"{stage.channels} feature{'s' * (stage.channels > 1)}", layer.weight.value[:, 0])
                )
        title = {"conv": "filtered", "relu": "rectified", "pool": "pooled"}[stage.kind]
        panels.append((f"{title}: {len(maps)} of {stage.side}x{stage.side}", maps))
    values = picture[None]
    for layer in network[: len(network) - 1]:
        values = layer(values)
        if values.ndim == 2 and isinstance(layer, nn.ReLU):
            panels.append((f"{values.shape[1]} hidden", values[0][:, None, None]))
    panels.append(("votes", None))
    return panels


def _draw_learned(
    part: SubFigure,
    name: str,
    picture: np.ndarray,
    network: nn.Sequential,
    panels: list[tuple[str, np.ndarray | None]],
) -> None:
    rows = math.ceil(len(panels) / MOST_PER_ROW)
    per_row = max(FEWEST_PER_ROW, math.ceil(len(panels) / rows))
    height = rows * ROW_HEIGHT + HEADING
    _heading(part, "The network that has learned", name, height)
    grid = part.add_gridspec(
        rows, per_row, left=0.02, right=0.98, bottom=0.3 / height, top=1 - HEADING / height, wspace=0.12,
        hspace=0.2
    )  # fmt: skip
    for i, (title, maps) in enumerate(panels):
        axes = part.add_subplot(grid[i // per_row, i % per_row])
        if maps is None:
            _show_votes(axes, network(picture[None])[0])
        elif i == 0:
            _show_picture(axes, maps[0], title)
        else:
            shown = maps[:MOST_MAPS]
            if len(shown) < len(maps):
                title += f" (first {len(shown)})"
            _show(axes, _mosaic(shown), float(np.abs(shown).max()) or 1.0, title)


def _mosaic(maps: np.ndarray) -> np.ndarray:
    """Maps side by side in about a square, with NaN between and around them."""
    count, height, width = maps.shape
    # a gap of one pixel beside maps of one pixel would be as large as they are: draw those larger
    zoom = max(1, 6 // max(height, width))
    maps = maps.repeat(zoom, axis=1).repeat(zoom, axis=2)
    height, width = maps.shape[1:]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    mosaic = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), np.nan)
    for i, values in enumerate(maps):
        top, left = i // columns * (height + 1) + 1, i % columns * (width + 1) + 1
        mosaic[top : top + height, left : left + width] = values
    return mosaic


# ---- panels ------------------------------------------------------------------------------------------


def _heading(part: SubFigure, text: str, name: str, height: float) -> None:
    short = name if len(name) <= 40 else f"{name[:37]}..."
    top = 1 - 0.12 / height
    part.text(0.02, top, f"{text}, looking at {short}", ha="left", va="top", fontsize=15, parse_math=False)
    part.text(
        0.98, top, "red: above 0, blue: below 0, white: 0", ha="right", va="top", fontsize=10, color="#606060"
    )


def _show_picture(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(-picture, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    _frame(axes, title)


def _show(axes: Axes, values: np.ndarray, most: float, title: str) -> None:
    """Values in colours: red above zero, blue below, white for zero."""
    color_map = need("matplotlib", "matplotlib").colormaps["RdBu_r"].with_extremes(bad=GAP_COLOR)
    axes.imshow(values, cmap=color_map, vmin=-most, vmax=most, interpolation="nearest")
    _frame(axes, title)


def _show_votes(axes: Axes, votes: np.ndarray) -> None:
    winner = int(votes.argmax())
    colors = [VOTE_COLORS[0] if i == winner else VOTE_COLORS[1] for i in range(len(votes))]
    heights = np.clip(votes, 0.0, None)
    axes.bar(range(len(votes)), heights, 0.62, color=colors)
    for i, vote in enumerate(votes):
        axes.text(i, float(heights[i]) + 0.03, two_decimals(vote), ha="center", va="bottom", fontsize=11)
    axes.set_xticks(range(len(votes)), LETTERS, fontsize=13, fontweight="bold")
    axes.set_yticks([])
    axes.set_ylim(0, max(1.2, float(heights.max()) + 0.2))
    axes.set_xlim(-0.6, len(votes) - 0.4)
    axes.set_box_aspect(1)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title("votes", fontsize=10)


def _frame(axes: Axes, title: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#808080")
    axes.set_title(title, fontsize=10)
