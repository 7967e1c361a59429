"""What is shipped: an sdist that builds anywhere, and a wheel with nothing but what a user needs.

The sdist is made from a copy of the tree, the wheel from the sdist, and the wheel is installed into a fresh
virtual environment that has NumPy and nothing else. Everything works offline, with this environment's pip,
setuptools and Cython.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

import fastconv

ROOT = Path(__file__).parent.parent
SOURCE_FOLDERS = ("csrc", "src", "tests", "benchmarks", "docs")
SOURCE_SUFFIXES = (".c", ".h", ".py", ".pyx", ".pxd", ".pyi", ".json", ".md", ".html", ".css", ".js")
NOT_SOURCES = ("build", "dist", "*.egg-info", "*.so", "__pycache__", ".[!c]*")  # hidden sources: .ci alone


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command, far from PYTHONPATH and the repository's own packages; its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_built(build: Path, source: Path) -> None:
    """What is built of sources that are there: setup.py takes what is newer than they are."""
    for path in build.rglob("*"):
        within = path.relative_to(build)
        made_from = source / "src" / Path(*within.parts[1:-1]) / f"{path.name.split('.')[0]}.pyx"
        if path.suffix == ".so" and not made_from.exists():
            continue  # of a module that is gone
        if path.suffix in (".so", ".o", ".c"):
            to = source / "build" / within
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, to)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, folder / "tree", ignore=shutil.ignore_patterns(*NOT_SOURCES))
    copy_built(ROOT / "build", folder / "tree")
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, folder, cwd=folder / "tree")
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """The wheel built from the sdist alone; what of it is built here already is not compiled again."""
    with tarfile.open(sdist) as archive:
        archive.extractall(sdist.parent / "unpacked", filter="data")
    (source,) = (sdist.parent / "unpacked").iterdir()
    copy_built(ROOT / "build", source)
    pip_wheel = (sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index")
    run(*pip_wheel, "--wheel-dir", sdist.parent / "wheel", source, cwd=sdist.parent)
    (archive,) = (sdist.parent / "wheel").glob("*.whl")
    return archive


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The interpreter of a fresh virtual environment that holds the wheel, and this environment's NumPy."""
    folder = wheel.parent / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    only_numpy = wheel.parent / "numpy"
    only_numpy.mkdir()
    package = Path(np.__file__).parent
    for part in (package, package.with_name("numpy.libs")):
        if part.exists():
            (only_numpy / part.name).symlink_to(part)
    site_packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))").strip()
    (Path(site_packages) / "numpy.pth").write_text(f"{only_numpy}\n")
    return python


def wheel_files(wheel: Path) -> dict[str, int]:
    """Names and packed sizes."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.compress_size for entry in archive.infolist()}


def wheel_metadata(wheel: Path) -> importlib.metadata.PackageMetadata:
    (distribution,) = importlib.metadata.distributions(path=[str(wheel)])
    return distribution.metadata


def test_sdist_has_every_source(sdist: Path) -> None:
    """Whoever has the sdist alone can build, test and benchmark."""
    with tarfile.open(sdist) as archive:
        shipped = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
    needed = {
        "setup.py",
        "pyproject.toml",
        "noxfile.py",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
    }
    needed |= {
        path.relative_to(ROOT).as_posix()
        for folder in SOURCE_FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SOURCE_SUFFIXES or path.name == "py.typed"
    }
    assert len(needed) > 50, "the tree has no sources"
    assert needed <= shipped, sorted(needed - shipped)


def test_sdist_has_nothing_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    built = [name for name in names if name.endswith((".so", ".o", ".pyc")) or "/build/" in name]
    assert not built, built


def test_wheel_has_modules_stubs_and_no_sources(wheel: Path) -> None:
    """Every compiled module comes with its stub; what only a compiler reads stays out."""
    files = wheel_files(wheel)
    compiled = {name.split(".")[0] for name in files if name.endswith(".so")}
    stubs = {name.removesuffix(".pyi") for name in files if name.endswith(".pyi")}
    assert compiled, "no compiled module"
    assert compiled - {"fastconv/_kernels/engine/fastconv_cython"} == stubs  # which is Cython's own
    assert "fastconv/py.typed" in files
    pages = (ROOT / "src" / "fastconv" / "explain" / "page").iterdir()
    assert {f"fastconv/explain/page/{path.name}" for path in pages} <= set(files)
    sources = [name for name in files if name.endswith((".pyx", ".pxd", ".c", ".h", ".o"))]
    assert set(sources) == {"fastconv/kernels.pxd", "fastconv/include/fastconv.h"}  # for others' Cython and C
    foreign = {name.split("/")[0] for name in files} - {
        "fastconv",
        f"fastconv-{fastconv.__version__}.dist-info",
    }
    assert not foreign, foreign


def test_wheel_is_small(wheel: Path) -> None:
    """A few megabytes: the promise of design and README."""
    assert sum(wheel_files(wheel).values()) < 5 * 2**20


def test_metadata(wheel: Path) -> None:
    """SPDX licence with its text, NumPy as the only runtime dependency, the version of the package."""
    metadata = wheel_metadata(wheel)
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert any(name.endswith("licenses/LICENSE") for name in wheel_files(wheel))
    assert metadata["Version"] == fastconv.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    always = [needed for needed in metadata.get_all("Requires-Dist") or [] if "extra ==" not in needed]
    assert len(always) == 1
    assert always[0].startswith("numpy")
    assert {"cli", "test"} <= set(metadata.get_all("Provides-Extra") or [])


def test_changelog_names_the_version() -> None:
    assert f"## [{fastconv.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_installs_and_computes_with_numpy_alone(installed: Path, tmp_path: Path) -> None:
    ok, version, where = run(installed, "-I", "-W", "error", ROOT / "tests/smoke.py", cwd=tmp_path).split()
    assert (ok, version) == ("ok", fastconv.__version__)
    assert Path(where).is_relative_to(installed.parent.parent)


def test_command_without_its_extras_says_what_to_install(installed: Path, tmp_path: Path) -> None:
    """One line that names the extra, instead of a traceback."""
    command = installed.with_name("fastconv")
    done = subprocess.run(
        [command, "xo"], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode != 0
    assert "pip install 'fastconv[cli]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list(tmp_path.iterdir()), "wrote files before it failed"
