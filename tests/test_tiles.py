"""The C tiles of every instruction set against plain C loops, without Python in between.

`csrc/check_tiles.c` and its neighbours are linked with one instruction set's object and check every entry of
its table. Instruction sets of this machine run natively, NEON elsewhere under user-mode emulation.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from targets import ROOT, Target, compile_c

Checked = Callable[[Target], "subprocess.CompletedProcess[str]"]


def check(target: Target, compiled: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Compile the checks (at -O1: their loops are to stay plain) and run them."""
    program = folder / str(target)
    checks = map(str, sorted((ROOT / "tests/csrc").glob("*.c")))
    compile_c(target, "-O1", *checks, str(compiled), "-o", str(program), "-lm")
    return subprocess.run([*target.emulator, str(program)], capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def checked(
    asked_targets: set[Target], tiles: Callable[[Target], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Checked]:
    """What the checks of a target said: they run on all CPUs."""
    folder = tmp_path_factory.mktemp("tiles")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = {
            target: pool.submit(check, target, tiles(target), folder)
            for target in sorted(asked_targets, key=str, reverse=True)  # NEON, which takes longest, first
        }
        yield lambda target: done[target].result()


def test_every_table_entry_agrees_with_plain_loops(tile: tuple[Target, Path], checked: Checked) -> None:
    """Values, untouched surroundings, NaN, same bits in partial tiles: tests/csrc."""
    target, _ = tile
    if target.missing:
        pytest.skip(target.missing)
    done = checked(target)
    assert done.returncode == 0, done.stdout + done.stderr
    entries = done.stdout.splitlines()
    assert entries, "check_tiles checked nothing"
    assert all(re.fullmatch(rf"{target.isa} float\d\d: .*: ok", line) for line in entries), done.stdout
