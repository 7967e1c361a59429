"""No micro-kernel goes to the stack in its inner loop: each compiled tile is disassembled and read.

A compiler that runs out of registers spills sums and reloads them in every round; only the speed would tell.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from disassembly import ARITHMETIC, Loop, disassemble, innermost_loops
from targets import SETUP, Target, compile_c

#: Kernels that must be found, and the products in their loop over a whole tile where it is smallest.
MICRO_KERNELS = {
    "gemm": 12,
    "gemm_pack": 12,
    r"gemm_at_\d+": 12,
    r"gemm_rows_\d+": 12,
    r"gemm_windows_\d+": 12,
    "dot": 10,
    r"depthwise_\w+": 4,
}

#: Target and function that are not held to it, and why. No kernel gets here by being slow.
EXEMPT = {
    r".* winograd_((grad_)?weight|(input|output|grad_output)_channels)_\w+": "4 x 4 or 6 x 6 points are more "
    "vectors than there are registers",
    r".* average_planes": "sixteen strands of planes side by side are more sums than there are registers",
    r".* (softmax(_gradient)?|entropy_sums|loss_row|activate_values)": "an exponential has more constants "
    "than there are registers",
    r".* entropy_slopes": "factors of the slices side by side are more than there are registers",
    r".* norm_(map|column_sums|column_map|cross_sums)": "two sums in double precision for each vector, and "
    "what is taken off and multiplied, are more than there are registers",
    r".* running_sum(_rows)?": "sums in double precision of four vectors, and the ends of their windows, are "
    "more than there are registers",
    r"(baseline|avx2)-float64 transform_(there|back)(\.\w+)*": "five complex numbers and their factors are "
    "more than sixteen registers",
    r"neon-\w+ (scatter|descend)": "part of a vector goes through memory: there are no masked loads",
    r"(baseline|neon)-\w+ col2im": "part of a vector goes through memory where there are no masked loads",
    r"avx512-float32 scatter": "a block to be transposed is half the registers; it is moved once a tile",
    r"(baseline|avx2|neon)-\w+ (max_pool|avg_pool|pool_gradient)": "parts of vectors go through memory where "
    "there are no masks, and elements that do not lie side by side everywhere",
    r"(avx2|neon)-\w+ depthwise_gradient_\w+": "masks at the edge are vectors, or taken apart, and "
    "addresses take vector registers, too",
    r"baseline-\w+ depthwise_\w+": "a product in two instructions takes one register more than there are",
}


def skip_without_tools(target: Target) -> None:
    """Not every compiler's output is read, and a debug or sanitized build spills everything."""
    if shutil.which(target.objdump) is None:
        pytest.skip(f"needs {target.objdump} of the binutils")
    if SETUP["DEBUG"] or SETUP["SANITIZE"]:
        pytest.skip("a debug or sanitized build keeps everything on the stack")
    command = [*target.compiler, "--version"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Free Software Foundation" not in version:
        pytest.skip(f"reads what GCC compiled, not {version.splitlines()[0]}")


def loops_of(target: Target, compiled: Path) -> dict[str, list[Loop]]:
    """The innermost loops that compute with vectors, by function."""
    functions = disassemble(target.objdump, compiled)
    computing = {
        name: body
        for name, body in functions.items()
        if any(ARITHMETIC.match(text) for _, text in body)  # in the rest is nothing to keep in registers
    }
    found = {name: innermost_loops(name, body) for name, body in computing.items()}
    return {name: [loop for loop in loops if loop.arithmetic] for name, loops in found.items()}


def test_the_micro_kernels_keep_their_sums_in_registers(tile: tuple[Target, Path]) -> None:
    target, compiled = tile
    skip_without_tools(target)
    loops = loops_of(target, compiled)
    for name, products in MICRO_KERNELS.items():
        most = max(loop.arithmetic for found in loops if re.fullmatch(name, found) for loop in loops[found])
        assert most >= products, f"{name}: no loop over a whole tile"
    exempt = re.compile("|".join(EXEMPT))
    spilled = [
        loop
        for name, found in loops.items()
        if not exempt.fullmatch(f"{target} {name}")
        for loop in found
        if loop.spills
    ]
    assert not spilled, "\n".join(map(told, spilled))


def told(loop: Loop) -> str:
    """The loop, with its stack traffic marked."""
    lines = (f"{'*' if text in loop.spills else ' '} {text}" for text in loop.instructions)
    return f"{loop.function}, {len(loop.spills)} marked:\n" + "\n".join(lines)


SUMS = """
typedef float vec __attribute__((vector_size(16)));
void {name}(long depth, const float *a, const vec *b, vec *out)
{{
    vec sum[{count}];
    for (int i = 0; i < {count}; i++) sum[i] = out[i];
    for (long k = 0; k < depth; k++) {{
#pragma GCC unroll 64
        for (int i = 0; i < {count}; i++) sum[i] += a[k * {count} + i] * b[k];
    }}
    for (int i = 0; i < {count}; i++) out[i] = sum[i];
}}
"""


def test_a_kernel_with_more_sums_than_registers_would_be_noticed(
    tile: tuple[Target, Path], tmp_path: Path
) -> None:
    """Eight sums fit any register file, sixty none."""
    target, _ = tile
    skip_without_tools(target)
    source, compiled = tmp_path / "sums.c", tmp_path / "sums.o"
    source.write_text(SUMS.format(name="few", count=8) + SUMS.format(name="many", count=60))
    compile_c(target, "-c", str(source), "-o", str(compiled))
    loops = loops_of(target, compiled)
    (few,) = (loop for loop in loops["few"] if loop.arithmetic >= 8)
    (many,) = (loop for loop in loops["many"] if loop.arithmetic >= 60)
    assert not few.spills
    assert len(many.spills) >= 2 * (60 - 32)
