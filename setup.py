"""How csrc is compiled: each tile once per instruction set and dtype. Everything else is in pyproject.toml.

Environment: FASTCONV_DEBUG=1 compiles without optimisation and with bounds checks,
FASTCONV_SANITIZE=address,undefined (or thread) adds sanitizers, FASTCONV_WERROR=1 turns warnings into errors,
FASTCONV_ISAS=avx2 (or several, with commas) leaves out the other instruction sets, for checks alone,
FASTCONV_SERIAL=1 leaves out the threads, for systems that have none.
"""

import os
import platform
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

DEBUG = os.environ.get("FASTCONV_DEBUG") == "1"
SANITIZE = os.environ.get("FASTCONV_SANITIZE", "")
WERROR = os.environ.get("FASTCONV_WERROR") == "1"
SERIAL = os.environ.get("FASTCONV_SERIAL") == "1"

# gnu11, not c11: the strict mode would forbid contracting a * b + c into one fused multiply-add
OPTIMIZATION = "-O0" if DEBUG else "-O1" if SANITIZE else "-O3"  # sanitized tiles take minutes at -O3
C_FLAGS = ["-std=gnu11", OPTIMIZATION, "-g" if DEBUG else "-g1" if SANITIZE else "-g0"]
SANITIZE_FLAGS = [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer"] if SANITIZE else []
#: Of what slows their compiling most, ASan and the tests' guard pages see the consequences.
TILE_SANITIZE_FLAGS = [
    *SANITIZE_FLAGS,
    *(["-fno-sanitize=null,object-size,alignment,bounds,pointer-overflow"] if SANITIZE else []),
]
VARIANT = ("-debug" if DEBUG else "") + (
    f"-{SANITIZE}" if SANITIZE else ""
)  # of what is kept from the last build
LINK_FLAGS = [
    *([] if SERIAL else ["-pthread"]),
    *([] if DEBUG or SANITIZE else ["-Wl,-s"]),
    # a module of Cython's is small: padding between its sections to whole pages would be a tenth of it
    *(
        ["-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-z,noseparate-code"]
        if sys.platform == "linux"
        else []
    ),
    *SANITIZE_FLAGS,
]
WARNING_FLAGS = ["-Wall", "-Wextra", *(["-Werror"] if WERROR else [])]

# Instruction sets per architecture; csrc/fc_dispatch.c lists the same names, best first.
INSTRUCTION_SETS = {
    "x86_64": {
        "baseline": [],
        "avx2": ["-mavx2", "-mfma"],
        "avx512": [
            "-mavx512f",
            "-mavx512vl",
            "-mavx512bw",
            "-mavx512dq",
            "-mfma",
            "-mprefer-vector-width=512",
        ],
    },
    "aarch64": {"neon": ["-fno-schedule-insns"]},  # before registers are given out it asks for too many
    "wasm32": {"baseline": ["-msimd128"]},
}
#: What is compiled for: a Python of WebAssembly's is cross-compiled for on something else.
MACHINE = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
if sysconfig.get_platform().endswith("wasm32"):
    MACHINE = "wasm32"


def left_out(wanted: str) -> list[str]:
    """This machine's instruction sets that a list of names does not have; an empty list has all."""
    names = wanted.split(",") if wanted else []
    compiled = INSTRUCTION_SETS.get(MACHINE, {"baseline": []})
    if not set(names) <= set(compiled):
        raise SystemExit(f"FASTCONV_ISAS={wanted!r}: must be some of {','.join(compiled)}")
    return [isa for isa in compiled if names and isa not in names]


LEFT_OUT = left_out(os.environ.get("FASTCONV_ISAS", ""))
for isa in LEFT_OUT:
    del INSTRUCTION_SETS[MACHINE][isa]

#: What Cython's modules have in common (memoryviews above all): a module that cythonize writes. Python
#: knows it by its last name alone, too, which so must be ours.
SHARED = Path("src/fastconv/_kernels/engine/fastconv_cython.c")

#: Of other people's C.
INCLUDE = "src/fastconv/include"


class BuildTiles(build_ext):
    """build_ext that first compiles the tiles, several at a time, and links them into `fastconv_native`.

    `python setup.py build_ext --tiles-only` does no more than that, and prints where the objects are.
    """

    user_options: ClassVar = [*build_ext.user_options, ("tiles-only", None, "compile only the tiles")]
    boolean_options: ClassVar = [*build_ext.boolean_options, "tiles-only"]

    def initialize_options(self) -> None:
        super().initialize_options()
        self.tiles_only = False

    def finalize_options(self) -> None:
        if self.tiles_only:
            super().finalize_options()
            return
        self.distribution.ext_modules = cythonize(
            self.distribution.ext_modules,
            compiler_directives={
                "language_level": 3,
                "boundscheck": DEBUG,
                "wraparound": False,
                "cdivision": True,
                "initializedcheck": False,
                "freethreading_compatible": True,
            },
            shared_utility_qualified_name=module_of(SHARED),
            include_path=["src"],
            build_dir="build/cython-debug" if DEBUG else "build/cython",  # they differ in bounds checks
            nthreads=os.cpu_count(),
        )
        super().finalize_options()

    def build_extensions(self) -> None:
        self.parallel = self.parallel or os.cpu_count()
        jobs = [
            (isa, flags, real_bytes)
            for isa, flags in INSTRUCTION_SETS.get(MACHINE, {"baseline": []}).items()
            for real_bytes in (4, 8)
        ]
        with ThreadPoolExecutor(self.parallel) as pool:
            tiles = [name for names in pool.map(self._compile_tile, jobs) for name in names]
        if self.tiles_only:
            print(*tiles, sep="\n")
            return
        native = next(e for e in self.extensions if e.name.endswith(".fastconv_native"))
        native.extra_objects = tiles
        native.depends = [*native.depends, *tiles]
        super().build_extensions()

    def _compile_tile(self, job: tuple[str, list[str], int]) -> list[str]:
        isa, flags, real_bytes = job
        source, folder = "csrc/tile/tile.c", f"{self.build_temp}/{isa}_{real_bytes}{VARIANT}"
        objects = self.compiler.object_filenames([source], output_dir=folder)
        made_from = ["setup.py", source, *map(str, Path("csrc").rglob("*.h"))]
        if not self.force and not any(newer_group(made_from, name) for name in objects):
            return objects  # setuptools itself looks at times for whole extensions only
        return self.compiler.compile(
            [source],
            output_dir=folder,
            macros=[("FC_ISA", isa), ("FC_REAL_BYTES", str(real_bytes))],
            extra_postargs=[*C_FLAGS, *flags, *TILE_SANITIZE_FLAGS, *WARNING_FLAGS, "-fvisibility=hidden"],
        )


#: They plan, or run once for a whole image: here size counts.
SMALL = (
    *("fastconv.kernels", "c_api", "checked.calls", "fastconv_cython"),
    *("dense", "outer", "fft.plan", "strided", "weight_gradient"),
)


def module_of(source: Path) -> str:
    return ".".join(source.relative_to("src").with_suffix("").parts)


def extension(source: Path) -> Extension:
    """The module of one Cython file, or the one that Cython makes of its own."""
    links_csrc = source.stem == "fastconv_native"
    contract = [path for folder in ("csrc", "csrc/api", INCLUDE) for path in Path(folder).glob("*.h")]
    headers = Path("csrc").rglob("*.[ch]") if links_csrc else contract
    return Extension(
        module_of(source),
        [
            str(source),
            *(["csrc/fc_cpu.c", "csrc/fc_dispatch.c", "csrc/fc_workers.c"] if links_csrc else []),
        ],
        include_dirs=["csrc", INCLUDE],
        define_macros=[
            *((f"FC_WITHOUT_{isa.upper()}", None) for isa in LEFT_OUT),
            *([("FC_SERIAL", None)] if SERIAL else []),
        ],
        depends=[*map(str, headers)],  # of .pxd files Cython knows, and makes the C anew
        extra_compile_args=[
            *C_FLAGS[:1],
            "-O0" if DEBUG or SANITIZE else "-Os" if module_of(source).endswith(SMALL) else "-O2",
            *C_FLAGS[2:],
            *SANITIZE_FLAGS,
            *WARNING_FLAGS[2:],  # Cython's code has parameters that nobody uses: no -Wextra
            "-fvisibility=hidden",
            *([] if DEBUG or SANITIZE else ["-fno-asynchronous-unwind-tables"]),  # nothing here unwinds
        ],
        extra_link_args=LINK_FLAGS,
    )


if __name__ == "__main__":  # not when the tests read the instruction sets and flags from here
    setup(
        ext_modules=list(map(extension, [*sorted(Path("src/fastconv").rglob("*.pyx")), SHARED])),
        cmdclass={"build_ext": BuildTiles},
    )
