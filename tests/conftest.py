"""What all tests share: which instruction sets are tested, and global state put back after every test."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from forked import Server
from hypothesis import HealthCheck, settings
from targets import Target, built_tiles, cross_compiled_tile, targets

import fastconv
from fastconv.runtime import config, runnable_isas

#: Every instruction set fastconv has kernels for, and the machine it is for.
ALL_ISAS = {"avx512": "x86_64", "avx2": "x86_64", "baseline": "any machine but aarch64", "neon": "aarch64"}

# One example may take long on a busy machine, and the `isa` fixture is meant to last for all of a test.
_COMMON = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("default", derandomize=True, **_COMMON)
#: `HYPOTHESIS_PROFILE=thorough pytest`: ten times the examples, new ones in every run.
settings.register_profile("thorough", max_examples=1000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_report_header() -> list[str]:
    tested = runnable_isas()
    compiled = config()["isas compiled"]
    emulated = all(map(shutil.which, ("aarch64-linux-gnu-gcc", "qemu-aarch64")))

    def reason(isa: str) -> str:
        if isa in compiled:
            return "this machine cannot run it"
        if isa == "neon":
            how = "run emulated" if emulated else "need a cross compiler and qemu-user"
            return f"its C checks {how}: test_tiles.py"
        return f"only compiled on {ALL_ISAS[isa]}"

    untested = [f"{isa} ({reason(isa)})" for isa in ALL_ISAS if isa not in tested]
    return [
        f"fastconv {fastconv.__version__} on {platform.machine()}, {fastconv.get_num_threads()} threads",
        f"instruction sets tested: {', '.join(tested)}",
        f"instruction sets NOT tested: {', '.join(untested) or 'none'}",
    ]


@pytest.fixture(autouse=True)
def _unchanged_runtime() -> Iterator[None]:
    """Instruction set, threads and the default precision are global: no test hands its choice to the next."""
    isa, threads, precision = fastconv.get_isa(), fastconv.get_num_threads(), fastconv.get_precision()
    yield
    fastconv.set_isa(isa)
    fastconv.set_num_threads(threads)
    fastconv.set_precision(precision)


@pytest.fixture(params=runnable_isas())
def isa(request: pytest.FixtureRequest) -> str:
    """Run the test once on every instruction set of this machine."""
    fastconv.set_isa(request.param)
    return request.param


@pytest.fixture(scope="session")
def asked_targets(request: pytest.FixtureRequest) -> set[Target]:
    """The targets that the tests of this run ask for, and that can be had here."""
    items = (item for item in request.session.items if isinstance(item, pytest.Function))
    asked = (item.callspec.params.get("tile") for item in items if hasattr(item, "callspec"))
    return {target for target in asked if target is not None and not target.missing}


@pytest.fixture(scope="session")
def tiles(asked_targets: set[Target]) -> Iterator[Callable[[Target], Path]]:
    """The object of a target, once it is there: what is not built yet takes a minute each, on all CPUs."""
    wanted = [target for target in asked_targets if target.emulator]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        built = pool.submit(built_tiles)
        crossed = {target: pool.submit(cross_compiled_tile, target) for target in wanted}
        yield lambda target: crossed[target].result() if target.emulator else built.result()[target]
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session", params=targets(), ids=str)
def tile(request: pytest.FixtureRequest, tiles: Callable[[Target], Path]) -> tuple[Target, Path]:
    """An instruction set and dtype, and its csrc/tile/tile.c as setup.py compiles it."""
    target = request.param
    if target.missing and target.emulator:
        pytest.skip(target.missing)
    return target, tiles(target)


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a piece of Python in a process of its own, where it may crash, run out of memory or be killed."""

    def run(code: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-X", "faulthandler", "-W", "error", "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def run_forked() -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """As `run_python`, but in a fork of a process that has imported fastconv and not used it yet."""
    server = Server()
    yield server.run
    server.close()
