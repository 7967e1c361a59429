"""Checks that need other interpreters, compilers or sanitizers: `nox -l` lists them, .ci/run takes some."""

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
#: Tests in which threads meet: in a plan, a packed weight, the door's table, a setting that changes.
WHERE_THREADS_MEET = (
    "tests/test_kernels.py",
    "tests/test_door.py",
    "tests/test_packed.py",
    "tests/test_processes.py",
    "tests/test_runtime.py",
    "tests/test_nn_layers.py",
    "tests/test_nn_memory.py",
    "tests/test_nn_own_layers.py",
)
#: Tests that reach every kernel, and the ends of every array.
NEAR_THE_EDGE = (
    "tests/test_kernels.py",
    "tests/test_guard_pages.py",
    "tests/test_conv.py",
    "tests/test_determinism.py",
    "tests/test_packed.py",
    "tests/test_outer.py",
    "tests/test_norm.py",
)
#: The instruction set that is checked by sanitizers: compiling one takes a minute.
SANITIZED_ISA = {"x86_64": "avx2", "aarch64": "neon"}


def pyenv_interpreters(kind: str = "") -> dict[str, Path]:
    """Where pyenv keeps the CPythons that fastconv supports ("t": free-threaded), without the one running."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = {}
    for folder in root.glob("versions/*/bin"):
        match = re.fullmatch(rf"3\.(\d+)\.\d+{kind}", folder.parent.name)
        version = (3, int(match[1])) if match else (0, 0)
        if version >= OLDEST and (kind or version != sys.version_info[:2]):
            found[f"3.{version[1]}{kind}"] = folder
    return dict(sorted(found.items(), key=lambda item: int(item[0].rstrip("t")[2:])))


OTHERS, FREE_THREADED = pyenv_interpreters(), pyenv_interpreters("t")
# nox looks interpreters up in PATH; pyenv's shims, which may come first, only know the versions made global
os.environ["PATH"] = os.pathsep.join(
    map(str, [*OTHERS.values(), *FREE_THREADED.values(), os.environ["PATH"]])
)


def install_wheel(session: nox.Session) -> Path:
    """Build the wheel with the session's CPython and install it; returns a folder outside the source tree."""
    folder = Path(session.create_tmp())
    shutil.rmtree(folder / "wheel", ignore_errors=True)
    session.run("python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder / "wheel"), ".",
                env={"FASTCONV_WERROR": "1"})  # fmt: skip
    (built,) = (folder / "wheel").glob("*.whl")
    session.install("--prefer-binary", str(built))
    return folder


def install_test_tools(session: nox.Session) -> None:
    """What the tests need, of releases that have wheels for this CPython."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    session.install("--prefer-binary", *project["dependencies"], *project["optional-dependencies"]["test"])


@nox.session(python=list(OTHERS) or False)
def wheel(session: nox.Session) -> None:
    """Build the wheel on every other CPython of pyenv and use it without the source tree."""
    if not OTHERS:
        session.skip(f"no other CPython from {'.'.join(map(str, OLDEST))} on in pyenv")
    folder = install_wheel(session)
    smoke_test = Path("tests/smoke.py").resolve()
    with session.chdir(folder):
        session.run("python", "-I", "-W", "error", str(smoke_test))


@nox.session(python=list(FREE_THREADED) or False)
def freethreaded(session: nox.Session) -> None:
    """Threads without the GIL: the wheel on free-threaded CPython, and the tests in which threads meet."""
    if not FREE_THREADED:
        session.skip("no free-threaded CPython in pyenv; .ci/free-threaded-cpython makes one")
    install_test_tools(session)
    folder = install_wheel(session)
    # not one module asks for the GIL: that would be a warning, and the interpreter would have it from then on
    stays_off = "import sys, fastconv.kernels, fastconv.nn; sys.exit(sys._is_gil_enabled())"
    tests = [str(Path(path).resolve()) for path in ("tests/smoke.py", *WHERE_THREADS_MEET)]
    with session.chdir(folder):
        session.run("python", "-I", "-W", "error", "-c", stays_off)
        session.run("python", "-I", "-W", "error", tests[0])
        # of the many tests of layers, those of threads
        chosen = ("-k", "not test_nn or thread")
        session.run("python", "-m", "pytest", "-q", *chosen, *tests[1:], env={"PYTHON_GIL": "0"})


@nox.session
def sanitizers(session: nox.Session) -> None:
    """Tests that reach every kernel, in a build with the address and undefined-behaviour sanitizers."""
    machine = runpy.run_path("setup.py", run_name="setup")["MACHINE"]
    install_test_tools(session)
    folder = Path("build/sanitized").resolve()
    compiled_with = {
        "FASTCONV_SANITIZE": "address,undefined",
        "FASTCONV_ISAS": SANITIZED_ISA.get(machine, "baseline"),
        "FASTCONV_WERROR": "0",  # GCC has other advice at -O1
    }
    build = ("setup.py", "-q", "build", "--build-base", str(folder), "--build-lib", str(folder / "lib"))
    session.run("python", *build, env=compiled_with)
    library = session.run("gcc", "-print-file-name=libasan.so", external=True, silent=True)
    environment = {
        "PYTHONPATH": str(folder / "lib"),
        "LD_PRELOAD": str(library).strip(),  # the interpreter has no sanitizer of its own
        # leaks are CPython's; what cannot be allocated is NULL and a fault a signal, as tests expect
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_segv=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    session.run("python", "tests/smoke.py", env=environment)
    session.run("python", "-m", "pytest", "-q", *NEAR_THE_EDGE, env=environment)


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


@nox.session
def models(session: nox.Session) -> None:
    """Models that people have, downloaded in their packages; FASTCONV_MODELS says where to keep them."""
    told = os.environ.get("FASTCONV_MODELS")
    folder = (Path(told) if told else Path(session.create_tmp(), "models")).resolve()
    install_test_tools(session)
    session.install("onnxruntime>=1.17", "pillow>=10.1")
    session.install("--prefer-binary", ".")
    session.run("python", "tests/interop/models.py", str(folder))
    tests = ("tests/interop/test_models.py", "tests/interop/test_hostile.py")
    session.run("python", "-m", "pytest", "-q", *tests, env={"FASTCONV_MODELS": str(folder)})


@nox.session(python=False)
def warnings(session: nox.Session) -> None:
    """Compile csrc for every instruction set with warnings as errors, with every compiler that is here."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda command: session.run(*command, external=True), compilations(session)))
