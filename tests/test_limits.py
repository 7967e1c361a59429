"""Others who set the number of threads: threadpoolctl, OpenMP's variables."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import numpy as np
import pytest

import fastconv
from fastconv._kernels.engine import fastconv_native as native

Run = Callable[..., "subprocess.CompletedProcess[str]"]

LIMITED = """
import fastconv
fastconv.set_num_threads(3)
seen = []
with threadpoolctl.threadpool_limits(1):
    seen.append(fastconv.get_num_threads())
    with threadpoolctl.threadpool_limits({"fastconv": 2}):
        seen.append(fastconv.get_num_threads())
seen.append(fastconv.get_num_threads())
with threadpoolctl.threadpool_limits(1, user_api="blas"):
    seen.append(fastconv.get_num_threads())
with threadpoolctl.threadpool_limits(100000):
    seen.append(fastconv.get_num_threads())
(info,) = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "fastconv"]
assert info["num_threads"] == 3 and info["version"] == fastconv.__version__, info
assert info["prefix"] == info["filepath"].split("/")[-1].split(".")[0] == "fastconv_native", info
assert not any(type(finder).__name__ == "_Waiting" for finder in sys.meta_path)
print(*seen)
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import fastconv, threadpoolctl",
        "import threadpoolctl, fastconv",
        "import fastconv, importlib.util; importlib.util.find_spec('threadpoolctl'); import threadpoolctl",
        "import threadpoolctl; threadpoolctl.threadpool_info(); import fastconv",
    ],
)
def test_threadpoolctl_limits_hold(run_python: Run, imports: str) -> None:
    """Whichever is imported first, and whatever was asked before."""
    pytest.importorskip("threadpoolctl")
    result = run_python(f"import sys\n{imports}\n{LIMITED}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["1", "2", "3", "3", "256"]


def test_fastconv_without_threadpoolctl(run_python: Run) -> None:
    """It is not imported by fastconv, and its absence is still an ImportError."""
    result = run_python(
        "import sys\n"
        "import fastconv\n"
        "assert 'threadpoolctl' not in sys.modules\n"
        "sys.path.clear()\n"
        "try:\n"
        "    import threadpoolctl\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    assert result.stdout.strip() == "No module named 'threadpoolctl'", result.stderr


def test_limits_change_no_bit() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((4, 32, 40, 40)), rng.standard_normal((32, 32, 3, 3))
    fastconv.set_num_threads(4)
    expected = fastconv.conv2d(x, weight)
    with threadpoolctl.threadpool_limits(1):
        assert fastconv.get_num_threads() == 1
        np.testing.assert_array_equal(fastconv.conv2d(x, weight), expected)
    assert fastconv.get_num_threads() == 4


SHOW = "import fastconv; print(fastconv.get_num_threads())"
CPUS = native.cpu_count()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": " 1,4"}, 1),
        ({"OMP_THREAD_LIMIT": "1"}, 1),
        ({"OMP_NUM_THREADS": "1", "FASTCONV_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "1000"}, CPUS),
        ({"OMP_NUM_THREADS": ""}, CPUS),
        ({"OMP_NUM_THREADS": "0"}, CPUS),
        ({"OMP_NUM_THREADS": "many"}, CPUS),
        ({"OMP_NUM_THREADS": "9" * 5000}, CPUS),
    ],
)
def test_openmps_variables_may_lower_the_default(
    run_python: Run, variables: dict[str, str], expected: int
) -> None:
    """What OpenMP would not understand counts for nothing; our own variable is stronger."""
    result = run_python(SHOW, **{"FASTCONV_NUM_THREADS": "", "OMP_THREAD_LIMIT": "", **variables})
    assert result.stdout.strip() == str(expected), result.stderr
