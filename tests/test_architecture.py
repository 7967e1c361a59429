"""Four floors, one direction: an import never points up, and nothing but NumPy is needed."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from targets import Target

import fastconv
from fastconv import _kernels

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "fastconv"

#: Every part of the package and the floor it stands on; a part may import its own level and those below.
LEVELS = {
    "_kernels": 0,
    "geometry": 1,
    "limits": 1,
    "runtime": 1,
    "tables": 1,
    "algorithm": 2,
    "kernels": 3,
    "c_api": 4,
    "functional": 4,
    "grad": 5,
    "graph": 5,
    "ndimage": 5,
    "signal": 5,
    "": 6,  # fastconv itself: what `import fastconv` brings
    "nn": 6,
    "data": 7,
    "interop": 7,
    "terminal": 7,
    "train": 8,
    "xo": 8,
    "explain": 9,
    "cli": 10,
    "__main__": 11,
}

#: The rooms of the kernels, and those that each one may use beside its own: no circles.
ROOMS: dict[str, set[str]] = {
    "engine": set(),
    "pool": {"engine"},
    "pointwise": {"engine"},
    "conv": {"engine"},
    "reference": {"engine"},
    "depthwise": {"conv", "engine"},
    "weight_gradient": {"engine"},
    "winograd": {"conv", "engine", "weight_gradient"},
    "fft": {"conv", "engine", "weight_gradient"},
    "checked": {"engine", "pool"},
}

#: The doors of `interop`, and the packages that each one stands on: it is imported by name, and so are they.
DOORS: dict[str, set[str]] = {
    "onnx": {"onnx"},
    "torch": {"torch"},
    "sklearn": {"sklearn"},
    "autograd": {"autograd"},
    "jax": {"jax"},
    "keras": {"keras"},
}

#: What only applications use, and only when they need it.
EXTRAS = {"rich", "PIL", "matplotlib", "safetensors", "scipy", "onnxruntime"}.union(*DOORS.values())


def part_of(path: Path) -> str:
    """Which part of `LEVELS` a file belongs to."""
    first = path.relative_to(SOURCE).parts[0]
    return "" if first == "__init__.py" else first.split(".")[0]


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module a Python file imports, and whether that happens as soon as the file is imported."""
    tree = ast.parse(path.read_text())
    lazy = {
        child
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node not in lazy
        elif isinstance(node, ast.ImportFrom):
            package = (
                path.relative_to(SOURCE.parent).with_suffix("").parts[: -node.level] if node.level else ()
            )
            module = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:  # `from fastconv import grad` is a module, `__version__` is not
                submodule = SOURCE.parent.joinpath(*module.split("."), alias.name)
                is_module = submodule.is_dir() or submodule.with_suffix(".py").exists()
                yield (f"{module}.{alias.name}" if is_module else module), node not in lazy


def door_of(path: Path) -> str:
    """Which door of `interop` a file belongs to, if any."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[1] if parts[0] == "interop" and parts[1] in DOORS else ""


PYTHON_FILES = sorted(SOURCE.rglob("*.py"))
CYTHON_FILES = sorted([*SOURCE.rglob("*.pyx"), *SOURCE.rglob("*.pxd")])


def test_every_part_has_a_level() -> None:
    """A new module has to be given its floor here, and only kernels are written in Cython."""
    assert {part_of(path) for path in PYTHON_FILES} <= set(LEVELS)
    assert {part_of(path) for path in CYTHON_FILES} == {"_kernels", "kernels", "c_api"}


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_python_imports_point_down(path: Path) -> None:
    """Also those inside functions: an import that waits still points up."""
    level = LEVELS[part_of(path)]
    for module, _ in imports(path):
        if module.split(".")[0] != "fastconv":
            continue
        part = [*module.split("."), ""][1]
        if part == "" and part_of(path) == "runtime":
            continue  # the package's own version, shown by show_config
        assert LEVELS[part] <= level, f"{module} is above {path.relative_to(SOURCE)}"


@pytest.mark.parametrize("path", CYTHON_FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_cython_imports_point_down(path: Path) -> None:
    """Kernels know no Python above floor 2; and no NumPy headers, so that there is no NumPy ABI to pin."""
    text = path.read_text()
    modules = re.findall(r"^\s*(?:from|c?import)\s+(fastconv[\w.]*)", text, re.MULTILINE)
    for module in modules:
        assert LEVELS[module.split(".")[1]] <= LEVELS[part_of(path)], module
    assert not re.search(r"^\s*(?:cimport\s+numpy|from\s+numpy\S*\s+cimport)", text, re.MULTILINE)


def test_the_public_kernels_need_no_others_headers() -> None:
    """kernels.pxd alone is shipped: what it cimports has to be on the user's machine, too."""
    cimported = re.findall(r"from (\S+) cimport", (SOURCE / "kernels.pxd").read_text())
    assert set(cimported) == {"libc.stdint"}


@pytest.mark.parametrize(
    "path", sorted((SOURCE / "_kernels").rglob("*.p[yx][xd]")), ids=lambda path: "/".join(path.parts[-2:])
)
def test_rooms_of_kernels_are_entered_one_way(path: Path) -> None:
    """Every kernel has a room, and uses what stands in its own or in rooms below it."""
    room = path.parent.name
    used = set(re.findall(r"\bfastconv\._kernels\.(\w+)\.", path.read_text()))
    assert used <= ROOMS[room] | {room}, used - ROOMS[room] - {room}


def test_csrc_includes_only_itself() -> None:
    """C knows its own headers and those of the C library: no Python, no NumPy, no third party."""
    headers = {path.name for path in (ROOT / "csrc").rglob("*.h")}
    system = {
        "cpuid.h", "immintrin.h", "math.h", "pthread.h", "sched.h", "stdatomic.h", "stddef.h", "stdint.h",
        "stdio.h", "stdlib.h", "string.h", "time.h", "unistd.h", "arm_neon.h",
    }  # fmt: skip
    files = list((ROOT / "csrc").rglob("*.[ch]"))
    assert files
    for path in files:
        text = path.read_text()
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE):
            assert Path(name).name in headers, f"{path.name} includes {name}"
        for name in re.findall(r"^\s*#\s*include\s*<([^>]+)>", text, re.MULTILINE):
            assert name in system, f"{path.name} includes <{name}>"


def test_tiles_include_only_tiles_and_the_contract() -> None:
    """What is compiled once per instruction set does not know threads, dispatch or allocation."""
    csrc = ROOT / "csrc"
    library = {"stddef.h", "stdint.h", "string.h", "math.h", "immintrin.h", "arm_neon.h"}
    contract = {csrc / "fc_api.h", *(csrc / "api").glob("*.h")}
    own = contract | {path for folder in ("tile", "isa") for path in (csrc / folder).glob("*.h")}
    for path in own | {csrc / "tile" / "tile.c"}:
        for name in re.findall(r'#\s*include\s*["<]([^">]+)[">]', path.read_text()):
            included = (path.parent / name).resolve()
            assert included in (contract if path in contract else own) or name in library, (path.name, name)


def test_instruction_sets_differ_in_their_own_headers_alone() -> None:
    """A tile is written once: width, masks and shapes come from csrc/isa."""
    for path in [*(ROOT / "csrc" / "tile").glob("*"), *(ROOT / "csrc" / "api").glob("*")]:
        asked = re.findall(r"__(?:AVX|SSE|FMA|ARM|aarch64|x86_64)\w*", path.read_text())
        assert not asked, f"{path.name} asks for {asked}"


# ---- what is needed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_importing_needs_numpy_alone(path: Path) -> None:
    """Extras are imported where they are used, inside a function, from `nn` upwards; a door has its own."""
    own = DOORS[door_of(path)] if door_of(path) else set()
    for module, at_once in imports(path):
        top = module.split(".")[0]
        if top in {"fastconv", "numpy"} or top in sys.stdlib_module_names:
            continue
        assert top in EXTRAS, f"{path.name} imports {module}"
        assert not at_once or top in own, f"{path.name} imports {module} when it is imported itself"
        assert LEVELS[part_of(path)] >= LEVELS["graph"], f"{path.name} imports {module}"


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_doors_are_opened_by_name_alone(path: Path) -> None:
    """Nothing of fastconv imports a door, nor one door another: `import fastconv` stays as quick as it is."""
    for module, at_once in imports(path):
        package, part, door = [*module.split("."), "", ""][:3]
        if (package, part) == ("fastconv", "interop"):
            # the commands are applications of the doors, which they open when they are called
            assert part_of(path) in ("interop", "cli", "explain"), f"{path.name} imports {module}"
            called = part_of(path) == "interop" and path.name == "command.py" and not at_once
            assert door not in DOORS or called or door == door_of(path), f"{path.name} imports {module}"


@pytest.mark.parametrize("door", DOORS)
def test_a_door_without_its_package_names_the_extra(door: str, run_python: Callable) -> None:
    """What to install, in one line; and each door is an extra of its name."""
    result = run_python(
        "import sys\n"
        f"for name in {sorted(DOORS[door])!r}: sys.modules[name] = None\n"
        f"import fastconv.interop.{door}\n"
    )
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: fastconv.interop.{door}: ")
    assert f"pip install 'fastconv[{door}]'" in last
    assert re.search(rf"^{door} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_import_fastconv_pulls_in_nothing_but_numpy(run_python: Callable) -> None:
    """As seen by the interpreter: every module that `import fastconv` loads."""
    result = run_python(
        "import sys, numpy\n"
        "before = set(sys.modules)\n"
        "import fastconv, fastconv.grad, fastconv.nn\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})\n"
    )
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    strangers = {
        name
        for name in loaded - set(sys.stdlib_module_names) - {"fastconv", "numpy"}
        if not name.startswith(("_cython", "cython_runtime", "fastconv_cython"))  # of the compiled modules
    }
    assert strangers == set()
    assert "fastconv" in loaded


def test_import_fastconv_without_the_extras(run_python: Callable) -> None:
    """With rich, Pillow and matplotlib absent, the library imports and computes."""
    result = run_python(
        "import sys\n"
        f"for name in {sorted(EXTRAS)!r}: sys.modules[name] = None\n"
        "import numpy, fastconv\n"
        "assert fastconv.conv2d(numpy.ones((1, 1, 3, 3)), numpy.ones((1, 1, 3, 3))).item() == 9\n"
    )
    assert result.returncode == 0, result.stderr


def test_the_oracle_shares_nothing_with_what_it_judges() -> None:
    """tests/reference imports NumPy and the standard library alone."""
    for path in (ROOT / "tests" / "reference").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top in {"numpy", "reference"} or top in sys.stdlib_module_names, (path.name, name)


def test_public_names_exist() -> None:
    """`__all__` of the package and its parts: sorted out, no name twice, each one there."""
    for module in (fastconv, fastconv.functional, fastconv.grad):
        names = list(module.__all__)
        assert len(names) == len(set(names))
        assert all(hasattr(module, name) for name in names)


# ---- what is compiled --------------------------------------------------------------------------------


def defined_names(path: Path, *options: str, nm: str = "nm") -> set[str]:
    """Symbols an object file or library defines and shows to others."""
    if shutil.which(nm) is None:
        pytest.skip(f"needs {nm} of the binutils")
    done = subprocess.run(
        [nm, "--defined-only", *options, str(path)], capture_output=True, text=True, check=True
    )
    return {line.split()[-1].split("@")[0] for line in done.stdout.splitlines() if line.strip()}


def test_each_tile_object_exports_exactly_one_table(tile: tuple[Target, Path]) -> None:
    """Anything else would clash, or be taken from the wrong instruction set by the linker: SIGILL."""
    target, compiled = tile
    nm = target.objdump.replace("objdump", "nm")
    assert defined_names(compiled, "-g", nm=nm) == {f"fc_kernels_{target.isa}_{target.real_bytes}"}


def test_extensions_export_only_their_module() -> None:
    """Two copies of fastconv, or another library with a function of the same name, never meet."""
    extensions = sorted(Path(path) for folder in _kernels.__path__ for path in Path(folder).rglob("*.so"))
    if not extensions:
        pytest.skip("extension modules are not ELF files here")
    for path in extensions:
        names = defined_names(path, "-D", "-g") - {"_init", "_fini"}
        module = path.name.split(".")[0]
        if module == "fastconv_native":  # which threadpoolctl knows by these
            names -= {"fastconv_get_num_threads", "fastconv_set_num_threads"}
        assert names == {f"PyInit_{module}"}, path.name


def test_nothing_is_compiled_for_the_machine_it_is_built_on() -> None:
    """A wheel runs on every machine of its architecture: instruction sets are chosen when it runs."""
    for name in ("setup.py", "pyproject.toml"):
        text = (ROOT / name).read_text()
        assert "-march=native" not in text
        assert "-ffast-math" not in text
