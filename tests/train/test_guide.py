"""The guide: its commands, one after the other, as a reader would type them."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from fastconv import cli

GUIDE = Path(__file__).parents[2] / "docs" / "train.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_guide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each succeeds, and the pictures and pages that the text speaks of are there."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    said: dict[str, str] = {}
    for language, text in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(text, GUIDE.name, "exec"), names)
        elif language == "sh":
            program, *arguments = shlex.split(text)
            assert program == "fastconv"
            assert cli.main(arguments) == 0, text
            said[text] = capsys.readouterr().out
    assert {"letters.fcn", "page.html", "evaluation.png", "best.fcn", "search.png"} <= set(os.listdir())
    first = next(iter(said.values()))
    accuracy = re.search(r"^Test: \d+ of 400 right: ([\d.]+)%", first, re.MULTILINE)
    assert accuracy is not None
    assert float(accuracy[1]) > 90
    assert any("taken for" in text for text in said.values())
