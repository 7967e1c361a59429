"""fastconv.h from somebody else's C: docs/from-c.md's module beside Python's API, and what is refused."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import subprocess
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import c_api

ROOT = Path(__file__).parent.parent
OK, INVALID, FAILED = 0, -1, -4


# ---- the page's module -------------------------------------------------------------------------------


def compiled(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    includes = (f"-I{fastconv.get_include()}", f"-I{sysconfig.get_path('include')}")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    arguments = [
        *compiler,
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
        "-Werror",
        *includes,
        *map(str, command),
    ]
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True)


def built(folder: Path, name: str, source: str, *flags: str) -> ModuleType:
    """A module of C, compiled with nothing but the headers that are installed, and without warnings."""
    (folder / f"{name}.c").write_text(source, encoding="utf-8")
    target = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    done = compiled("-std=c99", "-shared", "-fPIC", "-O1", f"{name}.c", "-o", target, *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    spec = importlib.util.spec_from_file_location(name, target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    page = (ROOT / "docs" / "from-c.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```c\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return built(tmp_path_factory.mktemp("layer"), "layer", block)


def test_threads_that_python_has_not_made(tmp_path: Path) -> None:
    """They plan, run, err and free as others do."""
    source = (ROOT / "tests" / "elsewhere.c").read_text(encoding="utf-8")
    module = built(tmp_path, "elsewhere", source, "-pthread")
    assert [module.run() for _ in range(3)] == ["ok"] * 3


def test_the_header_is_cpp_too(tmp_path: Path) -> None:
    (tmp_path / "header.cc").write_text(
        "#include <fastconv.h>\nint imported() { return fastconv_import(); }\n"
    )
    done = compiled("-x", "c++", "-fsyntax-only", "header.cc", cwd=tmp_path)
    if "cc1plus" in done.stderr:
        pytest.skip("no compiler for C++")
    assert done.returncode == 0, done.stderr


def random(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape).astype(dtype)


def step(layer: ModuleType, size: int, dtype: Any, weight_shape: tuple[int, ...] = (8, 3, 5, 5)) -> None:
    """The page's step, to the bit as Python's."""
    x, weight, bias = random((2, 3, size, size), dtype), random(weight_shape, dtype), random((8,), dtype)
    hidden = fastconv.conv2d(x, weight, bias, padding=2)
    expected, places = fastconv.max_pool2d(hidden, 2, return_indices=True)
    weights = random(expected.shape, dtype)
    behind = fastconv.grad.max_pool2d_input(hidden.shape, places, weights)
    out, grad_x, grad_weight = np.empty_like(expected), np.empty_like(x), np.empty_like(weight)
    layer.step(x, weight, bias, weights, out, grad_x, grad_weight, 2)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(grad_x, fastconv.grad.conv2d_input(x.shape, weight, behind, padding=2))
    np.testing.assert_array_equal(
        grad_weight, fastconv.grad.conv2d_weight(x, weight.shape, behind, padding=2)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [12, 96])
def test_c_has_the_bits_of_python(layer: ModuleType, dtype: Any, size: int) -> None:
    step(layer, size, dtype)


def test_c_on_several_threads(layer: ModuleType) -> None:
    failed: list[BaseException] = []

    def many() -> None:
        try:
            for _ in range(5):
                step(layer, 40, np.float32)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_an_error_of_c_has_the_words_of_pythons(layer: ModuleType) -> None:
    shapes = ((1, 3, 8, 8), (8, 2, 5, 5), (8,), (1, 8, 4, 4), (1,), (1,), (1,))
    with pytest.raises(ValueError, match="channels"):
        layer.step(*(np.ones(shape, np.float32) for shape in shapes), 2)


# ---- function by function, through the table that C finds ----------------------------------------------


class Array(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("dtype", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("shape", ctypes.c_int64 * 5),
        ("strides", ctypes.c_int64 * 5),
    )


class ConvOptions(ctypes.Structure):
    _fields_ = (
        ("stride", ctypes.c_int64 * 3),
        ("dilation", ctypes.c_int64 * 3),
        ("padding", ctypes.c_int64 * 6),
        ("groups", ctypes.c_int64),
        ("activation", ctypes.c_char_p),
        ("algorithm", ctypes.c_char_p),
        ("precision", ctypes.c_char_p),
        ("passes", ctypes.c_int),
    )


class PoolOptions(ctypes.Structure):
    _fields_ = (
        ("stride", ctypes.c_int64 * 3),
        ("dilation", ctypes.c_int64 * 3),
        ("padding", ctypes.c_int64 * 6),
        ("ceil_mode", ctypes.c_int),
        ("exclude_pad", ctypes.c_int),
        ("divisor", ctypes.c_int64),
    )


P, INT = ctypes.c_void_p, ctypes.c_int
PLAN = (INT, INT, P, P, P, P)


class Functions(ctypes.Structure):
    """fastconv_functions; each is called without the GIL."""

    _fields_ = (
        ("version", INT),
        ("error", ctypes.CFUNCTYPE(ctypes.c_char_p)),
        ("get_num_threads", ctypes.CFUNCTYPE(INT)),
        ("set_num_threads", ctypes.CFUNCTYPE(INT, INT)),
        ("conv_plan", ctypes.CFUNCTYPE(*PLAN)),
        ("pool_plan", ctypes.CFUNCTYPE(*PLAN)),
        ("conv_free", ctypes.CFUNCTYPE(None, P)),
        ("pool_free", ctypes.CFUNCTYPE(None, P)),
        ("conv_output_shape", ctypes.CFUNCTYPE(INT, P, P)),
        ("pool_output_shape", ctypes.CFUNCTYPE(INT, P, P)),
        ("conv_forward", ctypes.CFUNCTYPE(INT, P, P, P, P, P)),
        ("conv_input_gradient", ctypes.CFUNCTYPE(INT, P, P, P, P)),
        ("conv_weight_gradient", ctypes.CFUNCTYPE(INT, P, P, P, P)),
        ("max_pool", ctypes.CFUNCTYPE(INT, P, P, P, P)),
        ("max_pool_gradient", ctypes.CFUNCTYPE(INT, P, P, P, P)),
        ("avg_pool", ctypes.CFUNCTYPE(INT, P, P, P)),
        ("avg_pool_gradient", ctypes.CFUNCTYPE(INT, P, P, P)),
    )


def table() -> Functions:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = P, (ctypes.py_object, ctypes.c_char_p)
    return Functions.from_address(pointer(c_api.functions, b"fastconv.c_api.functions"))


C = table()
DTYPES = {np.dtype(np.float32): 1, np.dtype(np.float64): 2, np.dtype(np.int64): 3}


def handed(array: np.ndarray, **changed: Any) -> Any:
    """An array as C would hand it in, its fields changed at will."""
    fields = {
        "data": array.ctypes.data,
        "dtype": DTYPES[array.dtype],
        "ndim": array.ndim,
        "shape": (ctypes.c_int64 * 5)(*array.shape),
        "strides": (ctypes.c_int64 * 5)(*(step // array.itemsize for step in array.strides)),
        **changed,
    }
    struct = Array(**fields)
    struct.owner = array  # kept as long as the reference is
    return ctypes.byref(struct)


def sizes(*values: int) -> Any:
    return (ctypes.c_int64 * len(values))(*values)


def conv_plan(input_shape: tuple[int, ...], weight_shape: tuple[int, ...], **options: Any) -> P:
    plan = P()
    given = ConvOptions(**options)
    code = C.conv_plan(
        len(input_shape),
        sizes(*input_shape),
        sizes(*weight_shape),
        ctypes.byref(given) if options else None,
        ctypes.byref(plan),
    )
    assert code == OK, C.error()
    return plan


def pool_plan(input_shape: tuple[int, ...], kernel_size: tuple[int, ...], **options: Any) -> P:
    plan = P()
    given = PoolOptions(**options)
    code = C.pool_plan(
        len(input_shape),
        sizes(*input_shape),
        sizes(*kernel_size),
        ctypes.byref(given) if options else None,
        ctypes.byref(plan),
    )
    assert code == OK, C.error()
    return plan


@pytest.mark.parametrize("algorithm", [None, b"reference", b"fft"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_all_options_of_a_convolution(rank: int, algorithm: bytes | None) -> None:
    """Strided views, channels-last memory, algorithms that need the GIL: the bits of Python's calls."""
    spatial, taps = (16, 9, 8)[:rank], ((9,), (5, 3), (4, 3, 2))[rank - 1]
    x = random((2, *spatial, 8), np.float64)[..., ::2]
    x = np.moveaxis(x, -1, 1)
    weight, bias = random((6, 2, *taps), np.float64)[::1], random((6,), np.float64)
    pads = ((1, 0), (0, 2), (1, 1))[:rank]
    how: dict[str, Any] = {"padding": pads, "dilation": (1, 2, 1)[:rank], "groups": 2}
    flat = [edge for pair in pads for edge in pair]
    plan = conv_plan(
        x.shape, weight.shape, padding=(ctypes.c_int64 * 6)(*flat), algorithm=algorithm, groups=2,
        dilation=(ctypes.c_int64 * 3)(*how["dilation"]), activation=b"relu",
    )  # fmt: skip
    shape = (ctypes.c_int64 * 5)()
    assert C.conv_output_shape(plan, shape) == OK
    named = {"algorithm": algorithm.decode()} if algorithm else {}
    conv = getattr(fastconv, f"conv{rank}d")
    expected = conv(x, weight, bias, activation="relu", **how, **named)
    assert tuple(shape)[: rank + 2] == expected.shape
    out = np.empty_like(expected)
    assert C.conv_forward(plan, handed(x), handed(weight), bias.ctypes.data, handed(out)) == OK, C.error()
    np.testing.assert_array_equal(out, expected)
    grad_x, grad_weight = np.empty(x.shape), np.empty_like(weight)
    assert C.conv_input_gradient(plan, handed(weight), handed(out), handed(grad_x)) == OK, C.error()
    np.testing.assert_array_equal(
        grad_x, getattr(fastconv.grad, f"conv{rank}d_input")(x.shape, weight, out, **how, **named)
    )
    assert C.conv_weight_gradient(plan, handed(x), handed(out), handed(grad_weight)) == OK, C.error()
    np.testing.assert_array_equal(
        grad_weight, getattr(fastconv.grad, f"conv{rank}d_weight")(x, weight.shape, out, **how, **named)
    )
    C.conv_free(plan)


def test_all_options_of_a_pooling() -> None:
    x = random((2, 3, 9, 9), np.float32)
    how: dict[str, Any] = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}
    options = {"stride": sizes(2, 2, 0), "padding": sizes(1, 1, 1, 1, 0, 0), "ceil_mode": 1}
    plan = pool_plan(x.shape, (3, 3), **options, exclude_pad=1)
    expected = fastconv.avg_pool2d(x, **how, count_include_pad=False)
    shape = (ctypes.c_int64 * 5)()
    assert C.pool_output_shape(plan, shape) == OK
    assert tuple(shape)[:4] == expected.shape
    out, grad_x = np.empty_like(expected), np.empty_like(x)
    assert C.avg_pool(plan, handed(x), handed(out)) == OK
    np.testing.assert_array_equal(out, expected)
    assert C.avg_pool_gradient(plan, handed(out), handed(grad_x)) == OK
    wanted = fastconv.grad.avg_pool2d_input(x.shape, out, **how, count_include_pad=False)
    np.testing.assert_array_equal(grad_x, wanted)
    C.pool_free(plan)
    plan = pool_plan(x.shape, (3, 3), **options, dilation=sizes(1, 2, 0))
    expected, places = fastconv.max_pool2d(x, **how, dilation=(1, 2), return_indices=True)
    out, indices = np.empty_like(expected), np.empty_like(places)
    assert C.max_pool(plan, handed(x), handed(out), None) == OK
    np.testing.assert_array_equal(out, expected)
    assert C.max_pool(plan, handed(x), handed(out), handed(indices)) == OK
    np.testing.assert_array_equal(indices, places)
    assert C.max_pool_gradient(plan, handed(out), handed(indices), handed(grad_x)) == OK
    np.testing.assert_array_equal(grad_x, fastconv.grad.max_pool2d_input(x.shape, places, out))
    C.pool_free(plan)


X, W, Y = (np.ones(shape, np.float32) for shape in ((2, 3, 8, 8), (4, 3, 3, 3), (2, 4, 6, 6)))
POOLED = np.ones((2, 3, 4, 4), np.float32)
PLACES = np.zeros((2, 3, 4, 4), np.int64)
FAR = (ctypes.c_int64 * 5)(2**62, 64, 8, 1)
BACKWARDS = (ctypes.c_int64 * 5)(144, 36, 6, -1)

#: By the words of its error: a call of a plan for `X` and `W`, or for windows of 2 by 2 of `X`.
REFUSED: dict[str, Callable[[P, P], int]] = {
    "plan: must not be NULL": lambda conv, pool: C.conv_forward(None, handed(X), handed(W), None, handed(Y)),
    "plan: must not be NULL ": lambda conv, pool: C.avg_pool(None, handed(X), handed(POOLED)),
    "plan: must not be NULL  ": lambda conv, pool: C.conv_output_shape(None, sizes(0, 0, 0, 0, 0)),
    "shape: must not be NULL": lambda conv, pool: C.pool_output_shape(pool, None),
    "input: must not be NULL": lambda conv, pool: C.conv_forward(conv, None, handed(W), None, handed(Y)),
    "weight: must not be NULL": lambda conv, pool: C.conv_forward(conv, handed(X), None, None, handed(Y)),
    "output: must not be NULL": lambda conv, pool: C.conv_forward(conv, handed(X), handed(W), None, None),
    "input: data must not be NULL": lambda conv, pool: C.conv_forward(
        conv, handed(X, data=None), handed(W), None, handed(Y)
    ),
    "input: ndim must be 3, 4 or 5": lambda conv, pool: C.conv_forward(
        conv, handed(X, ndim=6), handed(W), None, handed(Y)
    ),
    "input: dtype must be one of fastconv_dtype": lambda conv, pool: C.conv_forward(
        conv, handed(X, dtype=0), handed(W), None, handed(Y)
    ),
    "input: dtype must be FASTCONV_FLOAT32 or": lambda conv, pool: C.conv_forward(
        conv, handed(X, dtype=3), handed(W), None, handed(Y)
    ),
    "weight: dtype must be that of the other": lambda conv, pool: C.conv_forward(
        conv, handed(X), handed(W.astype(np.float64)), None, handed(Y)
    ),
    "input: strides reach further": lambda conv, pool: C.conv_forward(
        conv, handed(X, strides=FAR), handed(W), None, handed(Y)
    ),
    "input: its elements must be aligned": lambda conv, pool: C.conv_forward(
        conv, handed(X, data=X.ctypes.data + 1), handed(W), None, handed(Y)
    ),
    "bias: its elements must be aligned": lambda conv, pool: C.conv_forward(
        conv, handed(X), handed(W), Y.ctypes.data + 2, handed(Y)
    ),
    "input: shape (2, 3, 1, 8, 7) must be (2, 3, 1, 8, 8)": lambda conv, pool: C.conv_forward(
        conv, handed(X[..., 1:]), handed(W), None, handed(Y)
    ),
    "output: its elements must not share memory, nor": lambda conv, pool: C.conv_forward(
        conv, handed(X), handed(W), None, handed(Y, strides=BACKWARDS)
    ),
    "output: must not share memory with an input": lambda conv, pool: C.conv_forward(
        conv, handed(X), handed(W), None, handed(Y, data=X.ctypes.data)
    ),
    "grad_input: shape": lambda conv, pool: C.conv_input_gradient(conv, handed(W), handed(Y), handed(Y)),
    "grad_weight: must not be NULL": lambda conv, pool: C.conv_weight_gradient(
        conv, handed(X), handed(Y), None
    ),
    "indices: dtype must be FASTCONV_INT64": lambda conv, pool: C.max_pool(
        pool, handed(X), handed(POOLED), handed(POOLED)
    ),
    "indices: must not be NULL": lambda conv, pool: C.max_pool_gradient(
        pool, handed(POOLED), None, handed(X.copy())
    ),
    "indices: must be places of a plane": lambda conv, pool: C.max_pool_gradient(
        pool, handed(POOLED), handed(PLACES + 64), handed(X.copy())
    ),
    "output: must be contiguous": lambda conv, pool: C.max_pool(
        pool, handed(X), handed(np.ones((2, 3, 4, 8), np.float32)[..., ::2]), None
    ),
    "count=0: must be from 1 to 256": lambda conv, pool: C.set_num_threads(0),
    "ndim=2: must be 3, 4 or 5": lambda conv, pool: C.conv_plan(
        2, sizes(1, 1), sizes(1, 1), None, ctypes.byref(P(1))
    ),
    "input_shape: must not be NULL": lambda conv, pool: C.pool_plan(
        4, None, sizes(2, 2), None, ctypes.byref(P(1))
    ),
    "kernel_size: must not be NULL": lambda conv, pool: C.pool_plan(
        4, sizes(*X.shape), None, None, ctypes.byref(P(1))
    ),
    "plan: must not be NULL   ": lambda conv, pool: C.conv_plan(
        4, sizes(*X.shape), sizes(*W.shape), None, None
    ),
    "channels": lambda conv, pool: C.conv_plan(
        4, sizes(*X.shape), sizes(4, 2, 3, 3), None, ctypes.byref(P(1))
    ),
    "algorithm='col2im'": lambda conv, pool: C.conv_plan(
        4, sizes(*X.shape), sizes(*W.shape), ctypes.byref(ConvOptions(algorithm=b"col2im")),
        ctypes.byref(P(1)),
    ),
    "activation='\ufffd'": lambda conv, pool: C.conv_plan(
        4, sizes(*X.shape), sizes(*W.shape), ctypes.byref(ConvOptions(activation=b"\xff")),
        ctypes.byref(P(1)),
    ),
    "groups=-1": lambda conv, pool: C.conv_plan(
        4, sizes(*X.shape), sizes(*W.shape), ctypes.byref(ConvOptions(groups=-1)), ctypes.byref(P(1))
    ),
    "input_shape": lambda conv, pool: C.pool_plan(
        4, sizes(2**62, 2**62, 8, 8), sizes(2, 2), None, ctypes.byref(P(1))
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_refused_is_a_code_and_words(words: str) -> None:
    """NULL, wrong shapes, strides and dtypes, plans of nonsense: nothing crashes, nothing is written."""
    conv, pool = conv_plan(X.shape, W.shape), pool_plan(X.shape, (2, 2))
    before = [array.copy() for array in (X, W, Y, POOLED, PLACES)]
    assert REFUSED[words](conv, pool) == INVALID
    assert words.rstrip() in C.error().decode()
    for array, kept in zip((X, W, Y, POOLED, PLACES), before):
        np.testing.assert_array_equal(array, kept)
    C.conv_free(conv)
    C.pool_free(pool)


def test_a_plan_is_for_its_passes() -> None:
    plan = conv_plan(X.shape, W.shape, passes=2)
    assert C.conv_forward(plan, handed(X), handed(W), None, handed(Y)) == INVALID
    assert C.error() == b"passes: the plan is none for forward"
    grad_input = np.empty_like(X)
    assert C.conv_input_gradient(plan, handed(W), handed(Y), handed(grad_input)) == OK
    C.conv_free(plan)


def test_no_plan_may_be_freed() -> None:
    C.conv_free(None)
    C.pool_free(None)


def test_a_plan_is_freed() -> None:
    """A plan that is made and freed leaves nothing behind."""
    import gc

    def plans() -> int:
        return sum(type(one).__name__ in ("DirectPlan", "ConvPlan") for one in gc.get_objects())

    conv_plan((1, 1, 5, 5), (1, 1, 3, 3))
    before = plans()
    for _ in range(20):
        C.conv_free(conv_plan((1, 1, 5, 5), (1, 1, 3, 3)))
    assert plans() <= before


def test_words_belong_to_their_thread() -> None:
    said: list[bytes] = []

    def other() -> None:
        C.set_num_threads(1000)
        said.append(C.error())

    C.set_num_threads(-1)
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert b"count=1000" in said[0]
    assert b"count=-1" in C.error()


def test_threads_are_pythons() -> None:
    """One and the same number; of a build without threads it is 1."""
    fastconv.set_num_threads(3)
    expected = fastconv.get_num_threads()
    fastconv.set_num_threads(2)
    assert C.set_num_threads(3) == OK
    assert fastconv.get_num_threads() == C.get_num_threads() == expected


def test_an_empty_batch_is_nothing_to_do() -> None:
    plan = conv_plan((0, 3, 8, 8), W.shape)
    x, y = np.empty((0, 3, 8, 8), np.float32), np.empty((0, 4, 6, 6), np.float32)
    assert C.conv_forward(plan, handed(x, data=None), handed(W), None, handed(y, data=None)) == OK
    C.conv_free(plan)
