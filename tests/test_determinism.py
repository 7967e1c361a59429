"""The same bits for the same call: at any number of threads, alone or in a batch, every time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conv_cases import CONV, CONV_INPUT, CONV_TRANSPOSE, CONV_WEIGHT, lay_out

import fastconv
from fastconv import algorithm as algorithms
from fastconv import grad

#: Above this many FLOPs a call is spread over threads.
THREADED_FLOPS = 2.5e6

#: name: (input shape, weight shape, stride, padding, dilation, groups)
GEOMETRIES: dict[str, tuple[tuple[int, ...], tuple[int, ...], Any, Any, Any, int]] = {
    "3x3": ((3, 33, 21, 23), (37, 33, 3, 3), 1, 1, 1, 1),
    "one large image": ((1, 3, 90, 91), (19, 3, 5, 5), 2, ((2, 1), (0, 3)), 1, 1),
    "few channels, many filters": ((3, 3, 60, 61), (63, 3, 7, 7), 2, 3, 1, 1),
    "deep": ((2, 500, 7, 6), (33, 500, 3, 3), 1, 1, 1, 1),
    "1x1": ((2, 130, 14, 14), (131, 130, 1, 1), 1, 0, 1, 1),
    "grouped, dilated": ((2, 40, 28, 29), (60, 10, 3, 3), 1, 2, 2, 4),
    "depthwise": ((2, 96, 40, 41), (96, 1, 3, 3), 1, 1, 1, 96),
    "depthwise, stride 2, dilated": ((2, 96, 60, 61), (96, 1, 5, 3), 2, (3, 2), (1, 2), 96),
    "few channels, many pixels": ((4, 2, 120, 121), (3, 2, 3, 3), 1, 1, 1, 1),
    "stride beyond the kernel": ((2, 64, 50, 51), (70, 64, 2, 2), 3, 0, 1, 1),
    "4x4": ((2, 48, 61, 60), (64, 48, 4, 4), 1, 1, 1, 1),
    "large strides": ((3, 3, 99, 101), (96, 3, 11, 11), 4, 2, 1, 1),
    "groups of four": ((2, 40, 35, 36), (40, 4, 3, 3), 1, 1, 1, 10),
    "groups of two, stride 2": ((2, 72, 50, 51), (72, 2, 5, 3), 2, (2, 1), 1, 36),
    "small planes": ((9, 12, 14, 15), (18, 12, 5, 5), 1, 0, 1, 1),
    "1-D": ((3, 20, 900), (24, 20, 9), 2, 4, 1, 1),
    "3-D": ((2, 9, 9, 11, 12), (17, 9, 3, 3, 3), (1, 2, 1), 1, 1, 1),
}

#: Every algorithm by name, and geometries that it serves.
ALGORITHMS = {
    "reference": ("grouped, dilated",),
    "direct": ("3x3", "one large image", "1x1", "stride beyond the kernel"),
    "sliding": ("3x3", "few channels, many filters", "groups of four", "1-D", "3-D"),
    "winograd": ("3x3", "deep", "grouped, dilated", "large strides", "4x4"),
    "depthwise": ("depthwise", "depthwise, stride 2, dilated", "groups of four", "groups of two, stride 2"),
    "col2im": ("3x3", "deep", "grouped, dilated", "small planes"),
    "fft": ("3x3", "depthwise"),
}

PASSES = ("forward", "input gradient", "weight gradient", "transposed")


def passes(
    geometry: tuple, dtype: type, layout: str, algorithm: str = "auto"
) -> dict[str, Callable[[], np.ndarray]]:
    """Every pass over one geometry as a function without arguments."""
    input_shape, weight_shape, stride, padding, dilation, groups = geometry
    rank = len(weight_shape) - 2
    generator = np.random.default_rng(11)
    input = lay_out(generator.standard_normal(input_shape).astype(dtype), layout, 1)
    weight = generator.standard_normal(weight_shape).astype(dtype)
    bias = generator.standard_normal(weight_shape[0]).astype(dtype)
    parameters = (stride, padding, dilation, groups)
    shape = CONV[rank](input, weight, bias, *parameters).shape
    grad_output = lay_out(generator.standard_normal(shape).astype(dtype), layout, 1)
    in_bias = generator.standard_normal(input_shape[1]).astype(dtype)
    flops = 2 * np.prod(weight_shape) * np.prod(shape) / shape[1]
    assert flops > THREADED_FLOPS
    return {
        "forward": lambda: CONV[rank](
            input, weight, bias, *parameters, activation="relu", algorithm=algorithm
        ),
        "input gradient": lambda: CONV_INPUT[rank](
            input_shape, weight, grad_output, *parameters, algorithm=algorithm
        ),
        "weight gradient": lambda: CONV_WEIGHT[rank](
            input, weight_shape, grad_output, *parameters, algorithm=algorithm
        ),
        "transposed": lambda: CONV_TRANSPOSE[rank](
            grad_output, weight, in_bias, stride, padding, 0, groups, dilation
        ),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "channels_last"])
@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "highest") for name in GEOMETRIES), ("3x3", "high")],
)
def test_same_bits_at_any_number_of_threads(
    isa: str, name: str, layout: str, dtype: type, precision: str
) -> None:
    """1, 2 and 5 threads, more than the machine has, and the same call again."""
    geometry = GEOMETRIES[name]
    fastconv.set_precision(precision)
    for direction, run in passes(geometry, dtype, layout).items():
        fastconv.set_num_threads(1)
        expected = run()
        for threads in (2, 5, 5, 1):
            fastconv.set_num_threads(threads)
            np.testing.assert_array_equal(run(), expected, err_msg=f"{direction} at {threads} threads")


@pytest.mark.parametrize("layout", ["C", "channels_last"])
@pytest.mark.parametrize(
    ("algorithm", "name"), [(algorithm, name) for algorithm, names in ALGORITHMS.items() for name in names]
)
def test_same_bits_by_every_algorithm(isa: str, algorithm: str, name: str, layout: str) -> None:
    """The promise holds for each algorithm by its name, not only for those that `auto` takes."""
    calls = passes(GEOMETRIES[name], np.float32, layout, algorithm)
    calls.pop("transposed")  # chooses for itself
    if algorithm in ("sliding", "depthwise", "col2im"):
        calls.pop("weight gradient")  # there is none
    if algorithm == "col2im":
        calls.pop("forward")  # likewise
    for direction, run in calls.items():
        fastconv.set_num_threads(1)
        expected = run()
        for threads in (2, 5):
            fastconv.set_num_threads(threads)
            np.testing.assert_array_equal(run(), expected, err_msg=f"{direction} at {threads} threads")


def test_every_algorithm_is_in_the_table() -> None:
    assert {"auto", *ALGORITHMS} == set(algorithms.ALGORITHMS)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_threads_are_really_used(run_python: Callable) -> None:
    """The tests here would pass on an engine that never starts a thread; this one would not."""
    result = run_python(
        "import os, numpy, fastconv\n"
        "x, w = numpy.ones((4, 64, 28, 28), 'f'), numpy.ones((64, 64, 3, 3), 'f')\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "fastconv.set_num_threads(1); fastconv.conv2d(x, w)\n"
        "print(len(os.listdir('/proc/self/task')) - before)\n"
        "fastconv.set_num_threads(5); fastconv.conv2d(x, w)\n"
        "print(len(os.listdir('/proc/self/task')) - before)\n"
        "fastconv.conv2d(x[:1, :1, :9, :9], w[:1, :1])\n"
        "print(len(os.listdir('/proc/self/task')) - before)\n",
        OPENBLAS_NUM_THREADS="1",
    )
    assert result.stdout.split() == ["0", "4", "4"], result.stderr


@pytest.mark.parametrize("precision", ["highest", "high"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "channels_last", "sliced"])
@pytest.mark.parametrize("size", [(5, 7), (9, 33), (1, 70), (22, 21)])
def test_an_image_does_not_depend_on_its_neighbours(
    isa: str, size: tuple[int, int], layout: str, dtype: type, precision: str
) -> None:
    """Alone, unbatched, in a batch of 5, in any place of it: the same bits, forward and input gradient."""
    fastconv.set_precision(precision)
    generator = np.random.default_rng(12)
    input = lay_out(generator.standard_normal((5, 45, *size)).astype(dtype), layout, 1)
    weight = generator.standard_normal((39, 45, 3, 3)).astype(dtype)
    bias = generator.standard_normal(39).astype(dtype)
    for stride in (1, 2):
        output = fastconv.conv2d(input, weight, bias, stride, 1, activation="leaky_relu")
        gradient = grad.conv2d_input(input.shape, weight, output, stride, 1)
        backwards = fastconv.conv2d(input[::-1], weight, bias, stride, 1, activation="leaky_relu")
        np.testing.assert_array_equal(backwards[::-1], output)
        for image in range(5):
            alone = fastconv.conv2d(input[image], weight, bias, stride, 1, activation="leaky_relu")
            pair = fastconv.conv2d(input[image : image + 2], weight, bias, stride, 1, activation="leaky_relu")
            np.testing.assert_array_equal(alone, output[image])
            np.testing.assert_array_equal(pair[0], output[image])
            grad_alone = grad.conv2d_input(input.shape[1:], weight, output[image], stride, 1)
            np.testing.assert_array_equal(grad_alone, gradient[image])


@pytest.mark.parametrize("name", PASSES)
def test_the_layout_does_not_change_the_result(isa: str, name: str) -> None:
    """Large enough for several threads: the layouts meet the ways work is shared out."""
    geometry = GEOMETRIES["grouped, dilated"]
    expected = passes(geometry, np.float64, "C")[name]()
    for layout in ("channels_last", "F", "reversed", "sliced", "cropped"):
        result = passes(geometry, np.float64, layout)[name]()
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12 * abs(expected).max())


@pytest.mark.parametrize("shape", [(3, 4, 3, 3), (3, 16, 12, 14)])
def test_nan_in_one_image_stays_there(isa: str, shape: tuple[int, ...]) -> None:
    """A batch neighbour that is not finite changes no bit of the others, in panels they share neither."""
    generator = np.random.default_rng(14)
    for layout in ("C", "channels_last"):
        values = generator.standard_normal(shape).astype(np.float32)
        weight = generator.standard_normal((16, shape[1], 3, 3)).astype(np.float32)
        clean = fastconv.conv2d(lay_out(values, layout, 1), weight)
        values[1] = np.nan
        spoilt = fastconv.conv2d(lay_out(values, layout, 1), weight)
        np.testing.assert_array_equal(spoilt[[0, 2]], clean[[0, 2]])
        assert np.isnan(spoilt[1]).all()


#: Layers that every algorithm with blocks for L2 takes: rows, stages, strips, columns, tiles of Winograd.
BLOCKED = (
    "conv2d n2 c64 56x56 k64 3x3 p1",
    "conv2d n2 c16 83x61 k32 3x3 s2 p1",
    "conv2d n2 c96 29x31 k200 1x1",
    "conv2d n2 c6 14x14 k16 5x5",
    "conv2d n2 c64 64x64 k64 3x3 p6 d6",
)
HASHES = """
import hashlib
import numpy as np
import fastconv
from fastconv.functional.case import Case
for line in LINES:
    case = Case.parse(line)
    options = (case.geometry.stride[1:], case.geometry.before[1:], case.geometry.dilation[1:])
    random = np.random.default_rng(0)
    shapes = case.geometry.input_shape, case.geometry.weight_shape
    x, w = (random.standard_normal(shape).astype("f") for shape in shapes)
    for order in (x, x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)):
        y = fastconv.conv2d(order, w, None, *options)
        made = y, fastconv.grad.conv2d_input(x.shape, w, y, *options)
        for array in (*made, fastconv.grad.conv2d_weight(order, w.shape, y, *options)):
            print(hashlib.sha256(np.ascontiguousarray(array)).hexdigest())
"""


def test_the_machines_cache_decides_no_bit(run_python: Callable) -> None:
    """Blocks for L2 follow the machine; where sums are cut does not."""
    code = f"LINES = {BLOCKED!r}\n{HASHES}"
    sizes = [str(size << 10) for size in (256, 512, 1024)]
    results = [run_python(code, FASTCONV_L2_BYTES=size) for size in sizes]
    assert all(result.returncode == 0 for result in results), results[0].stderr
    assert len(results[0].stdout.split()) == 6 * len(BLOCKED)
    assert len({result.stdout for result in results}) == 1
