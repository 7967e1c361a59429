"""What `fastconv xo` prints: pictures side by side, each with its votes and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastconv.terminal import can_print, draw, need
from fastconv.xo.handmade import two_decimals
from fastconv.xo.knobs import Knobs
from fastconv.xo.pictures import LETTERS

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

#: Wider pictures are not drawn: they would not fit most terminals.
WIDEST = 76

#: Characters of the bar that stands for a vote of 1.
BAR = 6


def cards(
    names: Sequence[str],
    pictures: np.ndarray,
    votes: np.ndarray,
    labels: np.ndarray | None = None,
) -> RenderableType:
    """Pictures side by side, as many as the terminal is wide.

    Parameters
    ----------
    names : sequence of str
    pictures : ndarray, shape (N, 1, H, W)
    votes : ndarray, shape (N, 2)
    labels : ndarray, shape (N,), optional
        What they are; with it each verdict is marked right or wrong.

    Returns
    -------
    rich renderable
    """
    made = []
    for i, (name, picture) in enumerate(zip(names, pictures)):
        card = _text()
        card.append(f"{name}\n", style="bold")
        if picture.shape[-1] <= WIDEST:
            card.append("\n".join(_framed(picture[0])) + "\n")
        winner = int(votes[i].argmax())
        for letter, vote in zip(LETTERS, votes[i]):
            won = letter == LETTERS[winner]
            card.append(
                f"{letter} {two_decimals(vote):>5} {_bar(float(vote))}\n", style="cyan" if won else "dim"
            )
        card.append_text(_verdict(winner, None if labels is None else int(labels[i])))
        card.append("\n")
        made.append(card)
    columns: RenderableType = need("rich.columns", "rich").Columns(made, equal=True, padding=(0, 1))
    return columns


def _text() -> Text:
    text: Text = need("rich.text", "rich").Text(no_wrap=True, overflow="ellipsis")
    return text


def _framed(picture: np.ndarray) -> list[str]:
    """The drawing with a line around the paper, where such lines can be shown."""
    lines = draw(picture)
    if not can_print("┌─┐│└┘"):
        return lines
    rule = "─" * len(lines[0])
    return [f"┌{rule}┐", *(f"│{line}│" for line in lines), f"└{rule}┘"]


def _bar(vote: float) -> str:
    length = round(BAR * min(max(vote, 0.0), 1.0))
    return ("█" if can_print("█") else "=") * length + " " * (BAR - length)


def _verdict(winner: int, label: int | None) -> Text:
    text = _text()
    if label is None:
        text.append(f"it is an {LETTERS[winner]}", style="bold green")
    elif winner == label:
        text.append(f"{'✓' if can_print('✓') else '+'} {LETTERS[winner]}, right", style="green")
    else:
        text.append(f"{'✗' if can_print('✗') else '-'} {LETTERS[winner]}, wrong", style="bold red")
    return text


def architecture(knobs: Knobs, parameters: int) -> str:
    """The network in one line, from pixels to votes.

    Examples
    --------
    >>> from fastconv.xo import Knobs
    >>> from fastconv.xo.report import architecture
    >>> architecture(Knobs(features=(3,), layers=("conv", "relu", "pool", "pool"), hidden=()), 56)
    '9x9 picture, 3 features 3x3, relu, pool 2/2, pool 2/2, 2 votes: 56 weights'
    """
    parts = [f"{knobs.size}x{knobs.size} picture"]
    for stage in knobs.plan()[1:]:
        if stage.kind == "conv":
            what = "feature" if stage.channels == 1 else "features"
            parts.append(f"{stage.channels} {what} {knobs.feature_size}x{knobs.feature_size}")
        elif stage.kind == "pool":
            parts.append(f"pool {knobs.pool}/{knobs.stride}")
        else:
            parts.append("relu")
    parts += [f"{neurons} hidden" for neurons in knobs.hidden]
    return f"{', '.join(parts)}, {len(LETTERS)} votes: {parameters:,} weights"
