"""Instruction set and threads: chosen from Python or the environment, shown, refused if without sense."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import runtime
from fastconv._kernels.engine import fastconv_native as native

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def last_line(result: subprocess.CompletedProcess[str]) -> str:
    return result.stderr.strip().splitlines()[-1]


# ---- instruction sets --------------------------------------------------------------------------------


def test_runnable_instruction_sets_are_a_part_of_those_compiled_in() -> None:
    """Best first, and at least the one every machine of this kind runs."""
    compiled, runnable = native.isa_names(), runtime.runnable_isas()
    assert runnable
    assert [isa for isa in compiled if isa in runnable] == list(runnable)
    if platform.machine() in ("x86_64", "AMD64"):
        assert compiled == ("avx512", "avx2", "baseline")
        assert "baseline" in runnable
    if platform.machine() in ("aarch64", "arm64"):
        assert compiled == runnable == ("neon",)


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="compares with /proc/cpuinfo")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 feature flags")
def test_detection_agrees_with_the_operating_system() -> None:
    """cpuid and xgetbv, read by our own code, against what the kernel says."""
    with open("/proc/cpuinfo") as file:
        flags = set(next(line for line in file if line.startswith("flags")).split())
    needed = {
        "avx512": {"avx512f", "avx512vl", "avx512bw", "avx512dq", "avx2", "fma"},
        "avx2": {"avx2", "fma"},
        "baseline": set(),
    }
    assert list(runtime.runnable_isas()) == [isa for isa, names in needed.items() if names <= flags]


def test_set_isa_switches_the_kernels(isa: str) -> None:
    assert fastconv.get_isa() == isa
    output = fastconv.conv2d(np.ones((1, 2, 5, 40)), np.ones((3, 2, 3, 3)))
    assert (output == 18).all()


@pytest.mark.parametrize("name", ["sse9", "AVX2", "", " avx2", None, 2, ["avx2"]])
def test_set_isa_refuses_what_it_does_not_know(name: Any) -> None:
    before = fastconv.get_isa()
    with pytest.raises((ValueError, TypeError), match="name=") as caught:
        fastconv.set_isa(name)
    assert repr(name) in str(caught.value)
    assert all(known in str(caught.value) for known in native.isa_names())
    assert fastconv.get_isa() == before


def test_isa_from_the_environment(run_python: Run) -> None:
    for isa in runtime.runnable_isas():
        result = run_python("import fastconv; print(fastconv.get_isa())", FASTCONV_ISA=isa)
        assert result.stdout.strip() == isa
    best = run_python("import fastconv; print(fastconv.get_isa())", FASTCONV_ISA="")
    assert best.stdout.strip() == runtime.runnable_isas()[0]


@pytest.mark.parametrize("value", ["neon9", "AVX2", "avx2,baseline", " "])
def test_unknown_isa_in_the_environment_is_an_error(run_python: Run, value: str) -> None:
    """At import, naming the variable and what this build has: never a silent replacement."""
    result = run_python("import fastconv", FASTCONV_ISA=value)
    assert result.returncode == 1
    assert last_line(result).startswith(f"ValueError: FASTCONV_ISA={value!r}")
    assert all(known in last_line(result) for known in native.isa_names())


@pytest.mark.skipif(
    set(native.isa_names()) == set(runtime.runnable_isas()),
    reason="this machine runs every instruction set compiled",
)
def test_isa_that_this_machine_cannot_run_is_an_error(run_python: Run) -> None:
    for isa in set(native.isa_names()) - set(runtime.runnable_isas()):
        result = run_python("import fastconv", FASTCONV_ISA=isa)
        assert result.returncode == 1
        assert "cannot run" in last_line(result)


# ---- threads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5, 256])
def test_set_num_threads(count: int) -> None:
    fastconv.set_num_threads(count)
    assert fastconv.get_num_threads() == count


@pytest.mark.parametrize("count", [0, -1, 257, 2**31, 2**63, 2**64 + 1, -(2**70)])
def test_thread_counts_out_of_range(count: int) -> None:
    before = fastconv.get_num_threads()
    with pytest.raises(ValueError, match=f"count={count}: must be from 1 to 256"):
        fastconv.set_num_threads(count)
    assert fastconv.get_num_threads() == before


@pytest.mark.parametrize("count", [None, "2", 2.0, True, [2], b"2"])
def test_thread_counts_that_are_no_integers(count: Any) -> None:
    before = fastconv.get_num_threads()
    with pytest.raises(TypeError, match="count=") as caught:
        fastconv.set_num_threads(count)
    assert repr(count) in str(caught.value)
    assert fastconv.get_num_threads() == before


@pytest.mark.parametrize("value", ["1", "3", "256", "007"])
def test_threads_from_the_environment(run_python: Run, value: str) -> None:
    result = run_python("import fastconv; print(fastconv.get_num_threads())", FASTCONV_NUM_THREADS=value)
    assert result.stdout.strip() == str(int(value))


@pytest.mark.parametrize("value", ["0", "-1", "257", "2.5", "two", "0x2", " ", "1e1", "9" * 30, "9" * 5000])
def test_wrong_thread_counts_in_the_environment_are_errors(run_python: Run, value: str) -> None:
    """At import, naming the variable and the rule."""
    result = run_python("import fastconv", FASTCONV_NUM_THREADS=value)
    assert result.returncode == 1
    assert last_line(result).startswith("ValueError: FASTCONV_NUM_THREADS=")
    assert "from 1 to 256" in last_line(result)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_default_is_the_number_of_cpus_this_process_may_use(run_python: Run) -> None:
    """Affinity counts, not what the machine has; and it is left as it was."""
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{one}]); import numpy, fastconv\n"
        "fastconv.conv2d(numpy.ones((8, 64, 28, 28), 'f'), numpy.ones((64, 64, 3, 3), 'f'))\n"
        "print(fastconv.get_num_threads(), sorted(os.sched_getaffinity(0)))"
    )
    assert run_python(code, FASTCONV_NUM_THREADS="").stdout.strip() == f"1 [{one}]"
    everything = run_python("import fastconv; print(fastconv.get_num_threads())", FASTCONV_NUM_THREADS="")
    assert 1 <= int(everything.stdout) <= len(os.sched_getaffinity(0))


# ---- precision ---------------------------------------------------------------------------------------


def test_precision_is_highest_unless_said_otherwise(run_python: Run) -> None:
    result = run_python("import fastconv; print(fastconv.get_precision())")
    assert result.stdout.strip() == "highest"


def test_precision_of_a_block_ends_with_it() -> None:
    """Nested, and left by an exception, too."""
    fastconv.set_precision("high")
    with fastconv.precision("medium"):
        with contextlib.suppress(KeyError), fastconv.precision("highest"):
            assert fastconv.get_precision() == "highest"
            raise KeyError
        assert fastconv.get_precision() == "medium"
    assert fastconv.get_precision() == "high"


def test_a_block_lowers_the_precision_of_its_own_thread_alone() -> None:
    """Blocks of two threads overlap, and the first to begin ends first: each sees its own."""
    begun, ended, seen = threading.Event(), threading.Event(), []

    def other() -> None:
        begun.wait()
        with fastconv.precision("medium"):
            seen.append(fastconv.get_precision())
            begun.clear()
            ended.wait()
            seen.append(fastconv.get_precision())
        seen.append(fastconv.get_precision())

    thread = threading.Thread(target=other)
    thread.start()
    with fastconv.precision("high"):
        begun.set()
        while begun.is_set():
            time.sleep(0.001)
        assert fastconv.get_precision() == "high"
    assert fastconv.get_precision() == "highest"
    ended.set()
    thread.join()
    assert seen == ["medium", "medium", "highest"]


def test_calls_beside_a_block_keep_their_bits() -> None:
    """A "highest" call is not given a faster algorithm because another thread has allowed itself one."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 32, 24, 24), np.float32), rng.standard_normal((32, 32, 3, 3), np.float32)
    expected = fastconv.conv2d(x, w)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # the thread is there before the block: it cannot inherit anything
        with fastconv.precision("high"):
            assert not np.array_equal(fastconv.conv2d(x, w), expected), "the block must change something"
            assert np.array_equal(pool.submit(fastconv.conv2d, x, w).result(), expected)
            inside = pool.submit(contextvars.copy_context().run, fastconv.conv2d, x, w).result()
            assert np.array_equal(inside, fastconv.conv2d(x, w))


def test_tasks_have_a_precision_each() -> None:
    async def task(word: str) -> list[str]:
        seen = []
        with fastconv.precision(word):
            for _ in range(3):
                await asyncio.sleep(0)
                seen.append(fastconv.get_precision())
        return seen

    async def both() -> list[list[str]]:
        return await asyncio.gather(task("high"), task("medium"))

    assert asyncio.run(both()) == [["high"] * 3, ["medium"] * 3]


def test_the_default_is_the_processs_and_a_block_is_stronger() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # as above
        with fastconv.precision("high"):
            fastconv.set_precision("medium")
            assert fastconv.get_precision() == "high"
            assert pool.submit(fastconv.get_precision).result() == "medium"
    assert fastconv.get_precision() == "medium"


@pytest.mark.parametrize("word", ["low", "HIGH", "", None, 1, ["high"]])
def test_unknown_precisions(word: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="precision=") as caught:
        fastconv.set_precision(word)
    assert "highest, high, medium" in str(caught.value)
    with pytest.raises((ValueError, TypeError), match="precision="), fastconv.precision(word):
        pytest.fail("the block must not be entered")
    assert fastconv.get_precision() == "highest"


# ---- what is shown -----------------------------------------------------------------------------------


def test_show_config_prints_what_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """One `key: value` a line, with the choice in force now."""
    fastconv.set_num_threads(3)
    for isa in runtime.runnable_isas():
        fastconv.set_isa(isa)
        fastconv.show_config()
        lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
        shown = {key: value.strip() for key, value in lines.items()}
        assert shown["fastconv"] == fastconv.__version__
        assert shown["isa"] == isa
        assert shown["isas runnable"] == ", ".join(runtime.runnable_isas())
        assert shown["isas compiled"] == ", ".join(native.isa_names())
        assert shown["threads"] == "3"
        assert shown["numpy"] == np.__version__
        assert shown["python"] == platform.python_version()
        assert shown["machine"] == platform.machine()


def test_l2_may_be_told(run_python: Callable) -> None:
    """... in bytes, where the machine does not say."""
    shown = run_python("import fastconv; fastconv.show_config()", FASTCONV_L2_BYTES="786432").stdout
    assert "L2 of a core:  768 KiB" in shown
    for value in ("none", "0", "-1", "1e6"):
        result = run_python("import fastconv", FASTCONV_L2_BYTES=value)
        assert f"ValueError: FASTCONV_L2_BYTES='{value}'" in result.stderr


def test_config_agrees_with_the_getters() -> None:
    config = runtime.config()
    assert config["isa"] == fastconv.get_isa()
    assert config["threads"] == fastconv.get_num_threads()


# ---- conv_info ---------------------------------------------------------------------------------------


def test_conv_info_tells_what_a_call_would_use(isa: str) -> None:
    """Instruction set, threads that follow the setting, FLOPs counted as two per product."""
    fastconv.set_num_threads(2)
    info = fastconv.conv_info((8, 64, 28, 28), (64, 64, 3, 3), padding=1, algorithm="direct")
    assert (info.algorithm, info.isa, info.threads) == ("direct", isa, 2)
    assert info.flops == 2 * 8 * 64 * 64 * 9 * 28 * 28
    assert info.bytes == 4 * (2 * 8 * 64 * 28 * 28 + 64 * 64 * 9)
    assert info.packed_weight_bytes >= 4 * 64 * 64 * 9
    assert fastconv.conv_info((1, 1, 9, 9), (1, 1, 3, 3)).threads == 1


@pytest.mark.parametrize(
    "algorithm", ["auto", "reference", "direct", "sliding", "winograd", "depthwise", "fft"]
)
def test_conv_info_names_the_algorithm(algorithm: str) -> None:
    """The one asked for, or what "auto" stands for; never "auto"."""
    info = fastconv.conv_info((1, 8, 30, 30), (8, 1, 3, 3), groups=8, algorithm=algorithm)
    assert info.algorithm == ("depthwise" if algorithm == "auto" else algorithm)


def test_workspace_stays_within_its_bound(isa: str) -> None:
    """8 MiB per thread, for every algorithm, dtype, layout and precision, on any shape."""
    lines = (
        "conv2d c1024 7x7 k1024 3x3 p1",
        "conv2d c3 2000x2000 k64 7x7 p1",
        "conv2d n64 c512 28x28 k512 3x3 p1",
        "conv2d c2 4096x4096 k2 31x31 p1 g2",
        "conv2d c64 3x100000 k64 3x3 p1",
        "conv2d c1 4x2000000 k1 3x3 p1",
        "conv2d c4096 1x1 k4096 1x1 p1",
    )
    ways = itertools.product(("highest", "high"), ("float32", "float64"), ("", "channels_last"))
    for line, (precision, dtype, order) in itertools.product(lines, ways):
        info = fastconv.conv_info(f"{line} {dtype} {order} precision={precision}")
        assert info.workspace_bytes <= 8 * 2**20, info


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"stride": 0}, ValueError, "stride=0"),
        ({"input_shape": None}, TypeError, "input_shape=None"),
        ({"input_shape": (1, 1, 9.5, 9)}, TypeError, "input_shape"),
        ({"input_shape": (1, 1, -9, 9)}, ValueError, "input_shape"),
        ({"input_shape": (1, 1, "9", 9)}, TypeError, "input_shape"),
        ({"input_shape": (1, 2, 9, 9)}, ValueError, "channels"),
        ({"input_shape": (9, 9)}, ValueError, "input_shape"),
        ({"weight_shape": None}, TypeError, "weight_shape=None"),
        ({"weight_shape": (1, 1, True, 3)}, TypeError, "weight_shape"),
        ({"weight_shape": (1, 1)}, ValueError, "weight_shape"),
        ({"weight_shape": (1, 1, 10, 3)}, ValueError, "weight"),
        ({"dtype": "float16"}, TypeError, "dtype"),
        ({"dtype": "no dtype"}, TypeError, "dtype"),
        ({"algorithm": "fast"}, ValueError, "algorithm='fast'"),
        ({"algorithm": "winograd", "stride": 3}, ValueError, "algorithm='winograd'"),
    ],
)
def test_conv_info_checks_like_the_call(changes: dict[str, Any], error: type, text: str) -> None:
    arguments = {"input_shape": (1, 1, 9, 9), "weight_shape": (1, 1, 3, 3), **changes}
    with pytest.raises(error) as caught:
        fastconv.conv_info(**arguments)
    assert text in str(caught.value)
