"""Tables of text, as summaries and profiles print them."""

from __future__ import annotations

from collections.abc import Sequence


def table(lines: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Lines of a table: the first is its head; a rule stands under it, and under the last.

    `sides` says for each column where its cells stand: "<" or ">".
    """
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths)).rstrip()
        for line in lines
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return [text[0], rule, *text[1:], rule]
