"""Instruction sets and dtypes that the C tiles are compiled for, and how to compile for one of them."""

from __future__ import annotations

import os
import platform
import runpy
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from setuptools.modified import newer_group

from fastconv.runtime import runnable_isas

ROOT = Path(__file__).parent.parent
SETUP = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
INSTRUCTION_SETS = SETUP["INSTRUCTION_SETS"]


@dataclass(frozen=True)
class Target:
    """One table: how to compile it, and what a program with it runs under."""

    isa: str
    real_bytes: int
    compiler: tuple[str, ...]
    flags: tuple[str, ...]
    emulator: tuple[str, ...]
    missing: str  # why it cannot run here; empty if it can
    objdump: str = "objdump"

    def __str__(self) -> str:
        return f"{self.isa}-float{8 * self.real_bytes}"


def targets() -> Iterator[Target]:
    """This machine's instruction sets, and NEON under emulation if this machine has none."""
    native = tuple((os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split())
    for isa, flags in INSTRUCTION_SETS[SETUP["MACHINE"]].items():
        missing = "" if isa in runnable_isas() else f"this {platform.machine()} machine does not run {isa}"
        for real_bytes in (4, 8):
            yield Target(isa, real_bytes, native, tuple(flags), (), missing)
    if "neon" in INSTRUCTION_SETS[SETUP["MACHINE"]]:
        return
    needed = {"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "qemu-aarch64": "qemu-user"}
    absent = [package for program, package in needed.items() if shutil.which(program) is None]
    missing = f"NEON is emulated, which needs the Debian packages {' and '.join(absent)}" if absent else ""
    for isa, flags in INSTRUCTION_SETS["aarch64"].items():
        cross = (("aarch64-linux-gnu-gcc", "-static"), tuple(flags), ("qemu-aarch64",), missing)
        for real_bytes in (4, 8):
            yield Target(isa, real_bytes, *cross, "aarch64-linux-gnu-objdump")


def compile_c(target: Target, *arguments: str) -> None:
    """Run the target's compiler with the flags that setup.py uses."""
    macros = [f"-DFC_ISA={target.isa}", f"-DFC_REAL_BYTES={target.real_bytes}", f"-I{ROOT / 'csrc'}"]
    command = [*target.compiler, *SETUP["C_FLAGS"], *target.flags, *macros, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


def cross_compiled_tile(target: Target) -> Path:
    """csrc/tile/tile.c for another machine; it takes a minute, so it is kept while it is up to date."""
    compiled = ROOT / "build/cross" / f"{target}.o"
    if newer_group([ROOT / "setup.py", *(ROOT / "csrc").rglob("*.[ch]")], compiled):
        compiled.parent.mkdir(parents=True, exist_ok=True)
        fresh = compiled.with_suffix(f".{os.getpid()}.o")
        compile_c(target, *SETUP["WARNING_FLAGS"], "-c", str(ROOT / "csrc/tile/tile.c"), "-o", str(fresh))
        fresh.replace(compiled)
    return compiled


def built_tiles() -> dict[Target, Path]:
    """The objects that are linked into fastconv here; setup.py makes those that are not up to date."""
    command = [sys.executable, "setup.py", "-q", "build_ext", "--tiles-only"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    objects = [ROOT / line for line in done.stdout.splitlines() if line.endswith(".o")]
    native = [target for target in targets() if not target.emulator]
    assert len(objects) == len(native), done.stdout
    return dict(zip(native, objects))
