"""Sessions of .ci/run that need other interpreters or compilers: `nox -l` lists them."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.stop_on_first_error = True

OLDEST = (3, 10)
WARNINGS = ("-Wall", "-Wextra", "-Werror")
#: Compiler and the architecture it compiles for.
COMPILERS = {
    "gcc": "native",
    "clang": "native",
    "aarch64-linux-gnu-gcc": "aarch64",
}


def pyenv_interpreters() -> dict[str, Path]:
    """Where pyenv keeps the CPython versions that fastconv supports, without the one running."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = {}
    for folder in root.glob("versions/*/bin"):
        version = re.fullmatch(r"3\.(\d+)\.\d+", folder.parent.name)
        if version and OLDEST <= (3, int(version[1])) != sys.version_info[:2]:
            found[f"3.{version[1]}"] = folder
    return dict(sorted(found.items(), key=lambda item: int(item[0][2:])))


OTHERS = pyenv_interpreters()
# nox looks interpreters up in PATH; pyenv's shims, which may come first, only know the versions made global
os.environ["PATH"] = os.pathsep.join([*map(str, OTHERS.values()), os.environ["PATH"]])


@nox.session(python=list(OTHERS) or False)
def wheel(session: nox.Session) -> None:
    """Build the wheel on every other CPython of pyenv and use it without the source tree."""
    if not OTHERS:
        session.skip(f"no other CPython from {'.'.join(map(str, OLDEST))} on in pyenv")
    folder = Path(session.create_tmp())
    shutil.rmtree(folder / "wheel", ignore_errors=True)
    session.run("python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder / "wheel"), ".",
                env={"FASTCONV_WERROR": "1"})  # fmt: skip
    (built,) = (folder / "wheel").glob("*.whl")
    session.install(str(built))
    smoke_test = Path("tests/smoke.py").resolve()
    with session.chdir(folder):
        session.run("python", "-I", "-W", "error", str(smoke_test))


def compilations(session: nox.Session) -> Iterator[tuple[str, ...]]:
    """Commands that compile csrc for every instruction set, with every compiler that is here."""
    setup = runpy.run_path("setup.py", run_name="setup")
    for compiler, architecture in COMPILERS.items():
        if shutil.which(compiler) is None:
            session.log(f"{compiler} is not here")
            continue
        if architecture == "native":
            architecture = setup["MACHINE"]
        command = (compiler, *setup["C_FLAGS"], *WARNINGS, "-Icsrc", "-c", "-o", os.devnull)
        # GCC's tiles are those of the wheels and of the tests, whose builds refuse warnings themselves
        tiles = setup["INSTRUCTION_SETS"][architecture] if compiler == "clang" else {}
        for isa, flags in tiles.items():
            for real_bytes in (4, 8):
                macros = (f"-DFC_ISA={isa}", f"-DFC_REAL_BYTES={real_bytes}")
                yield (*command, *flags, *macros, "csrc/tile/tile.c")
        for source in sorted(Path("csrc").glob("*.c")):
            yield (*command, str(source))
        for source in sorted(Path("tests/csrc").glob("*.c")):
            yield (*command, "-DFC_ISA=any", "-DFC_REAL_BYTES=4", str(source))


@nox.session(python=False)
def warnings(session: nox.Session) -> None:
    """Compile csrc for every instruction set with warnings as errors, with every compiler that is here."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda command: session.run(*command, external=True), compilations(session)))
