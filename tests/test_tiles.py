"""The C tiles of every instruction set against plain C loops, without Python in between.

`csrc/check_tiles.c` and its neighbours are linked with one instruction set's object and check every entry of
its table. Instruction sets of this machine run natively, NEON elsewhere under user-mode emulation.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from targets import ROOT, Target, compile_c


def test_every_table_entry_agrees_with_plain_loops(tile: tuple[Target, Path], tmp_path: Path) -> None:
    """Values, untouched surroundings, NaN, same bits in partial tiles: tests/csrc."""
    target, compiled = tile
    if target.missing:
        pytest.skip(target.missing)
    program = tmp_path / "check_tiles"
    checks = map(str, sorted((ROOT / "tests/csrc").glob("*.c")))
    compile_c(target, "-O1", *checks, str(compiled), "-o", str(program), "-lm")  # plain loops
    done = subprocess.run([*target.emulator, str(program)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    entries = done.stdout.splitlines()
    assert entries, "check_tiles checked nothing"
    assert all(re.fullmatch(rf"{target.isa} float\d\d: .*: ok", line) for line in entries), done.stdout
