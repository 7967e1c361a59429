"""fastconv.kernels from somebody else's Cython: docs/from-cython.md's module, compared with Python's API."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv.kernels import ConvPlan, PoolPlan

ROOT = Path(__file__).parent.parent
SETUP = """
from setuptools import Extension, setup
from Cython.Build import cythonize
openmp = {"extra_compile_args": ["-fopenmp", "-O1"], "extra_link_args": ["-fopenmp"]}
setup(ext_modules=cythonize([Extension("layer", ["layer.pyx"], **openmp)], include_path=[%r]))
"""


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The page's module; where fastconv is installed, its kernels.pxd is found without help."""
    folder = tmp_path_factory.mktemp("layer")
    page = (ROOT / "docs" / "from-cython.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```cython\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (folder / "layer.pyx").write_text(block, encoding="utf-8")
    package = Path(fastconv.__file__).parent.parent
    (folder / "setup.py").write_text(SETUP % str(package), encoding="utf-8")
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("layer*.so")
    spec = importlib.util.spec_from_file_location("layer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [12, 96])
def test_a_layer_without_the_gil_has_the_bits_of_pythons(
    layer: ModuleType, dtype: type[np.floating], size: int
) -> None:
    """Forward and back, of small batches and of batches whose work is shared by threads."""
    conv = ConvPlan((2, 3, size, size), (8, 3, 5, 5), padding=2, activation="relu")
    pool = PoolPlan(conv.output_shape, 2)
    x, weight, bias = random((4, 2, 3, size, size), dtype), random((8, 3, 5, 5), dtype), random((8,), dtype)
    hidden = np.empty((4, *conv.output_shape), dtype)
    out, places = np.empty((4, *pool.output_shape), dtype), np.empty((4, *pool.output_shape), np.int64)
    layer.forward(conv, pool, x, weight, bias, hidden, out, places)
    grad_out = random(out.shape, dtype)
    grad_hidden, grad_x = np.empty_like(hidden), np.empty_like(x)
    grad_weight = np.empty((4, *weight.shape), dtype)
    layer.backward(conv, pool, x, weight, grad_out, places, grad_hidden, grad_x, grad_weight)
    for i in range(4):
        expected = fastconv.conv2d(x[i], weight, bias, padding=2, activation="relu")
        np.testing.assert_array_equal(hidden[i], expected)
        pooled, indices = fastconv.max_pool2d(expected, 2, return_indices=True)
        np.testing.assert_array_equal(out[i], pooled)
        np.testing.assert_array_equal(places[i], indices)
        behind = fastconv.grad.max_pool2d_input(expected.shape, indices, grad_out[i])
        np.testing.assert_array_equal(grad_hidden[i], behind)
        np.testing.assert_array_equal(
            grad_x[i], fastconv.grad.conv2d_input(x[i].shape, weight, behind, padding=2)
        )
        np.testing.assert_array_equal(
            grad_weight[i], fastconv.grad.conv2d_weight(x[i], weight.shape, behind, padding=2)
        )


def test_averages_follow_the_plans_options(layer: ModuleType) -> None:
    options: dict[str, Any] = {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}
    x = random((2, 3, 9, 9), np.float32)
    pool = PoolPlan(x.shape, **options)
    out, grad_x = np.empty(pool.output_shape, np.float32), np.empty_like(x)
    layer.average(pool, x, out, grad_x)
    expected = fastconv.avg_pool2d(x, **options)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(grad_x, fastconv.grad.avg_pool2d_input(x.shape, expected, **options))


def run(layer: ModuleType, conv: ConvPlan | None, pool: PoolPlan | None, **changed: np.ndarray) -> None:
    """`forward` of a small layer, some of its arrays replaced."""
    arrays: dict[str, Any] = {
        "x": np.ones((1, 2, 3, 8, 8), np.float32),
        "weight": np.ones((4, 3, 3, 3), np.float32),
        "bias": np.ones(4, np.float32),
        "hidden": np.ones((1, 2, 4, 6, 6), np.float32),
        "out": np.ones((1, 2, 4, 3, 3), np.float32),
        "places": np.ones((1, 2, 4, 3, 3), np.int64),
        **changed,
    }
    layer.forward(conv, pool, *arrays.values())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": np.ones((1, 2, 3, 8, 9), np.float32)}, r"input: shape \(2, 3, 1, 8, 9\) must be"),
        ({"weight": np.ones((4, 3, 3, 2), np.float32)}, r"weight: shape \(4, 3, 1, 3, 2\) must be"),
        ({"bias": np.ones(3, np.float32)}, "bias: must have one element per output channel"),
        (
            {"hidden": np.ones((1, 2, 4, 6, 12), np.float32)[..., 11::-2]},
            "output: its elements must not share",
        ),
        ({"out": np.ones((1, 2, 4, 6, 6), np.float32)[..., ::2, ::2]}, "output: must be contiguous"),
        ({"places": np.ones((1, 2, 4, 3, 2), np.int64)}, r"indices: shape"),
    ],
)
def test_a_wrong_array_is_one_error_that_names_it(
    layer: ModuleType, changed: dict[str, np.ndarray], message: str
) -> None:
    """... out of a nogil block, and nothing crashes."""
    conv = ConvPlan((2, 3, 8, 8), (4, 3, 3, 3))
    pool = PoolPlan(conv.output_shape, 2)
    run(layer, conv, pool)
    with pytest.raises(ValueError, match=message):
        run(layer, conv, pool, **changed)


def test_an_output_on_top_of_an_input_is_refused(layer: ModuleType) -> None:
    conv = ConvPlan((2, 3, 8, 8), (4, 3, 3, 3))
    memory = np.ones(2 * 4 * 8 * 8, np.float32)
    x = memory[: 2 * 3 * 64].reshape(1, 2, 3, 8, 8)
    hidden = memory[: 2 * 4 * 36].reshape(1, 2, 4, 6, 6)
    with pytest.raises(ValueError, match="output: must not share memory with an input"):
        run(layer, conv, PoolPlan(conv.output_shape, 2), x=x, hidden=hidden)


def test_what_needs_the_gil_says_so_and_is_refused_without_it(layer: ModuleType) -> None:
    conv = ConvPlan((2, 3, 8, 8), (4, 3, 3, 3), algorithm="reference")
    assert conv.needs_gil
    assert not ConvPlan((2, 3, 8, 8), (4, 3, 3, 3)).needs_gil
    with pytest.raises(RuntimeError, match="forward by ReferencePlan: needs the GIL"):
        run(layer, conv, PoolPlan(conv.output_shape, 2))


def test_no_plan_is_an_error(layer: ModuleType) -> None:
    """Cython takes None where an object of a class is declared: it must not be followed."""
    conv, pool = ConvPlan((2, 3, 8, 8), (4, 3, 3, 3)), PoolPlan((2, 4, 6, 6), 2)
    x, y = np.ones((2, 3, 8, 8), np.float32), np.ones((2, 3, 4, 4), np.float32)
    for plans in ((None, pool), (conv, None)):
        with pytest.raises(ValueError, match="plan: must not be None"):
            run(layer, *plans)
    with pytest.raises(ValueError, match="plan: must not be None"):
        layer.average(None, x, y, np.ones_like(x))


@pytest.mark.parametrize("plan", [ConvPlan, PoolPlan])
def test_a_plan_is_whole_once_there_is_one(plan: type) -> None:
    """... and never changes: no plan without shapes, none made again while threads use it."""
    with pytest.raises(TypeError):
        plan.__new__(plan)
    made = PoolPlan((1, 1, 8, 8), 2) if plan is PoolPlan else ConvPlan((1, 1, 8, 8), (1, 1, 3, 3))
    shape = made.output_shape
    made.__init__((1, 1, 4, 4), 2)  # type: ignore[misc]
    assert made.output_shape == shape


def test_a_plan_is_for_its_passes(layer: ModuleType) -> None:
    conv = ConvPlan((2, 3, 8, 8), (4, 3, 3, 3), passes=("input_gradient",))
    with pytest.raises(ValueError, match="passes: the plan is none for forward"):
        run(layer, conv, PoolPlan(conv.output_shape, 2))


def test_indices_outside_a_plane_are_refused(layer: ModuleType) -> None:
    conv, pool = ConvPlan((2, 3, 8, 8), (4, 3, 3, 3)), PoolPlan((2, 4, 6, 6), 2)
    x, weight = np.ones((1, 2, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
    grad_out, places = np.ones((1, 2, 4, 3, 3), np.float32), np.full((1, 2, 4, 3, 3), 36)
    with pytest.raises(ValueError, match="indices: must be places of a plane"):
        layer.backward(conv, pool, x, weight, grad_out, places, np.ones((1, 2, 4, 6, 6), np.float32),
                       np.ones_like(x), np.ones((1, *weight.shape), np.float32))  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (((2, 3, 8), (4, 3, 3, 3)), {}, "input_shape"),
        (((2, 3, 8, 8), (4, 3)), {}, "weight_shape"),
        (((2, 3, 8, 8), (4, 2, 3, 3)), {}, "channels"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"stride": 0}, "stride=0"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"activation": "tanh"}, "activation='tanh'"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"passes": ("backward",)}, "passes="),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"passes": "forward"}, "passes='forward'"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"passes": 3}, "passes=3"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"precision": "low"}, "precision='low'"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"activation": ["relu"]}, "activation=['relu']"),
        (((2, 3, 8, 8), (4, 3, 3, 3)), {"algorithm": "col2im"}, "algorithm='col2im'"),
    ],
)
def test_a_plan_of_nonsense_is_an_error(
    arguments: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        ConvPlan(*arguments, **options)


def test_a_pool_plan_of_nonsense_is_an_error() -> None:
    with pytest.raises(ValueError, match="kernel_size"):
        PoolPlan((2, 3, 8, 8), 0)
    with pytest.raises(ValueError, match="input_shape"):
        PoolPlan((3, 8), 2)
