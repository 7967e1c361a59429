"""The C tiles of every instruction set against plain C loops, without Python in between.

`csrc/check_tiles.c` and its neighbours are linked with one instruction set's object and check every entry of
its table. Instruction sets of this machine run natively, NEON elsewhere under user-mode emulation.
"""

from __future__ import annotations

import os
import platform
import re
import runpy
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fastconv.runtime import runnable_isas

ROOT = Path(__file__).parent.parent
SETUP = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
INSTRUCTION_SETS = SETUP["INSTRUCTION_SETS"]


@dataclass(frozen=True)
class Target:
    """One table: how to compile it, and what a program with it runs under."""

    isa: str
    real_bytes: int
    compiler: list[str]
    flags: list[str]
    emulator: list[str]
    missing: str  # why it cannot run here; empty if it can

    def __str__(self) -> str:
        return f"{self.isa}-float{8 * self.real_bytes}"


def targets() -> Iterator[Target]:
    """This machine's instruction sets, and NEON under emulation if this machine has none."""
    native = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    for isa, flags in INSTRUCTION_SETS[SETUP["MACHINE"]].items():
        missing = "" if isa in runnable_isas() else f"this {platform.machine()} machine does not run {isa}"
        for real_bytes in (4, 8):
            yield Target(isa, real_bytes, native, flags, [], missing)
    if "neon" in INSTRUCTION_SETS[SETUP["MACHINE"]]:
        return
    needed = {"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "qemu-aarch64": "qemu-user"}
    absent = [package for program, package in needed.items() if shutil.which(program) is None]
    missing = f"NEON is emulated, which needs the Debian packages {' and '.join(absent)}" if absent else ""
    for real_bytes in (4, 8):
        yield Target("neon", real_bytes, ["aarch64-linux-gnu-gcc", "-static"], [], ["qemu-aarch64"], missing)


@pytest.fixture(scope="module", params=targets(), ids=str)
def tile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Target, Path]:
    """A target and its tile.c as assembly."""
    target = request.param
    if target.missing and target.emulator:
        pytest.skip(target.missing)
    assembly = tmp_path_factory.mktemp(str(target)) / "tile.s"
    compile_c(target, "-S", str(ROOT / "csrc/tile/tile.c"), "-o", str(assembly))
    return target, assembly


def compile_c(target: Target, *arguments: str) -> None:
    macros = [f"-DFC_ISA={target.isa}", f"-DFC_REAL_BYTES={target.real_bytes}", f"-I{ROOT / 'csrc'}"]
    command = [*target.compiler, *SETUP["C_FLAGS"], *target.flags, *macros, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


def test_every_table_entry_agrees_with_plain_loops(tile: tuple[Target, Path]) -> None:
    """Values, untouched surroundings, NaN, same bits in partial tiles: tests/csrc."""
    target, assembly = tile
    if target.missing:
        pytest.skip(target.missing)
    program = assembly.with_name("check_tiles")
    checks = map(str, sorted((ROOT / "tests/csrc").glob("*.c")))
    compile_c(target, *checks, str(assembly), "-o", str(program), "-lm")
    done = subprocess.run([*target.emulator, str(program)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    entries = done.stdout.splitlines()
    assert entries, "check_tiles checked nothing"
    assert all(re.fullmatch(rf"{target.isa} float\d\d: .*: ok", line) for line in entries), done.stdout


def function_body(assembly: str, name: str) -> list[str]:
    """Lines from a function's label to the next function's."""
    lines = assembly.splitlines()
    begin = next(number for number, line in enumerate(lines) if re.match(rf"_?{name}:", line))
    ends = (
        number for number, line in enumerate(lines) if number > begin and re.match(r"[A-Za-z_]\w*:", line)
    )
    return lines[begin : next(ends, len(lines))]


def innermost_loops(lines: list[str]) -> Iterator[list[str]]:
    """Bodies of the loops that contain no other label: from a label to a jump back to it."""
    label_line = {}
    for number, line in enumerate(lines):
        if label := re.match(r"(\.?L\w+):", line):
            label_line[label[1]] = number
        jump = re.match(r"\s+(?:j\w+|b[.\w]*|cbn?z\s+\w+,|tbn?z\s+\w+, .*,)\s+(\.?L\w+)$", line)
        if jump and jump[1] in label_line:
            body = lines[label_line[jump[1]] + 1 : number + 1]
            if not any(re.match(r"\.?L\w+:", other) for other in body):
                yield body


@pytest.mark.parametrize(("kernel", "most"), [("gemm", 12), ("dot", 10)])  # 6 x 2 and 2 x 5 at least
def test_the_micro_kernels_keep_their_sums_in_registers(
    tile: tuple[Target, Path], kernel: str, most: int
) -> None:
    """A compiler that spills accumulators to the stack in the inner loop halves the speed, silently."""
    target, assembly = tile
    version = subprocess.run(
        [*target.compiler, "--version"], capture_output=True, text=True, check=True
    ).stdout
    if "Free Software Foundation" not in version:
        pytest.skip(f"reads the assembly of GCC alone, not of {version.splitlines()[0]}")
    product = re.compile(r"\b(v?mulp[sd]|vfmadd\w+p[sd]|fml[as]|fmul)\b")
    function = function_body(assembly.read_text(), kernel)
    framed = any(re.search(r"mov\w*\s+%rsp, %rbp", line) for line in function)  # else rbp is like any other
    stack = re.compile(r"\(%[re][sb]p|\[sp\b|\[x29\b" if framed else r"\(%[re]sp|\[sp\b|\[x29\b")
    loops = list(innermost_loops(function))
    products = [sum(bool(product.search(line)) for line in body) for body in loops]
    assert max(products) >= most, "no loop over a whole tile"
    for body in (body for body, count in zip(loops, products) if count):
        assert not any(stack.search(line) for line in body), "\n".join(body)
