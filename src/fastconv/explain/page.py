"""The page: one file that shows everything, with nothing to fetch."""

from __future__ import annotations

import html
import json
import os
import re
from importlib import resources
from typing import Any

import numpy as np

from fastconv.explain.content import content_of
from fastconv.explain.walking import Walk
from fastconv.nn.archive import write_whole

#: The page's scripts, in the order in which they run.
SCRIPTS = (
    "numbers.js",
    "fields.js",
    "net.js",
    "mosaic.js",
    "strip.js",
    "cell.js",
    "votes.js",
    "backwards.js",
    "curve.js",
    "whatif.js",
    "widget.js",
    "main.js",
)


def page_of(
    seen: Walk, *, title: str = "a net", name: str = "an input", target: int | str | None = None
) -> str:
    """The page as text.

    Parameters
    ----------
    seen : Walk
    title, name : str
        What net and input are called; any text.
    target : int or str, optional
        The right class, if it is known.

    Returns
    -------
    str
        HTML. Nothing in it is fetched from elsewhere, and no text of the arguments is taken as markup.

    Examples
    --------
    >>> from fastconv import explain
    >>> page = explain.page_of(explain.deck_walk("X"), title="<b>", name="X")
    >>> "<title>X through &lt;b&gt;</title>" in page, len(page) < 2_000_000
    (True, True)
    """
    right = None if target is None else seen.class_number("target", target)
    with np.errstate(all="ignore"):  # a net that overflows is shown, too
        content = content_of(seen, title, name, target=right)
    parts = {
        "title": html.escape(f"{name} through {title}"),
        "style": _file("page.css"),
        "script": "\n".join(map(_file, SCRIPTS)),
        "content": _as_script(content),
    }
    # all at once: what stands in a name is not looked at again
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], _file("page.html"))


def write_page(path: str | os.PathLike[str], seen: Walk, **told: Any) -> int:
    """Write the page to a file, which appears whole or not at all; returns its bytes.

    Parameters
    ----------
    path : str or path
    seen : Walk
    **told
        As `page_of`.

    Raises
    ------
    OSError
        The file cannot be written; one that was there before is still whole.
    """
    data = page_of(seen, **told).encode("utf-8", "backslashreplace")
    write_whole(os.path.realpath(path), lambda file: file.write(data))
    return len(data)


def _file(name: str) -> str:
    return (resources.files("fastconv.explain") / "page" / name).read_text(encoding="utf-8")


def _as_script(content: dict[str, Any]) -> str:
    """JSON that stands inside a script element whatever is in it: no "<" is left that could end one."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
