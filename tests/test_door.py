"""The second call of the same kind is served from memory: it must mean what the first one meant."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastconv

RNG = np.random.default_rng(5)


def array(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


INPUT, WEIGHT, BIAS = array(2, 4, 9, 8), array(6, 4, 3, 3), array(6)


def loops(input: np.ndarray, weight: np.ndarray, bias: Any = None, *args: Any, **how: Any) -> np.ndarray:
    """The same by the plain loop nest."""
    return fastconv.conv2d(input, weight, bias, *args, **how, algorithm="reference")


# ---- one meaning per call ----------------------------------------------------------------------------

#: Calls of the same shapes that differ in one parameter each, and ways to write the same one.
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"bias": BIAS},
    "stride": {"stride": 2},
    "stride of one axis": {"stride": (1, 2)},
    "stride of the other": {"stride": [2, 1]},
    "padding": {"padding": 1},
    "padding per axis": {"padding": (0, 1)},
    "padding pairs": {"padding": ((0, 1), (1, 0))},
    "padding pairs, turned": {"padding": ((1, 0), (0, 1))},
    "same": {"padding": "same"},
    "valid": {"padding": "valid"},
    "dilation": {"dilation": 2},
    "dilation of one axis": {"dilation": (2, 1)},
    "NumPy integers": {"stride": np.int64(2), "dilation": (np.int8(1), 2)},
    "relu": {"activation": "relu"},
    "leaky_relu": {"activation": "leaky_relu"},
    "relu6": {"activation": "relu6", "padding": 1},
}


@pytest.mark.parametrize("again", [1, 2, 3])
def test_calls_that_differ_in_one_parameter_are_told_apart(again: int) -> None:
    """In any order, the first time and later."""
    names = list(VARIANTS)
    np.random.default_rng(again).shuffle(names)
    for name in names:
        expected = loops(INPUT, WEIGHT, **VARIANTS[name])
        for algorithm in ("direct", "auto"):
            got = fastconv.conv2d(INPUT, WEIGHT, **VARIANTS[name], algorithm=algorithm)
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4, err_msg=name)


def test_calls_that_differ_in_arrays_are_told_apart() -> None:
    """Dtype, batch, shapes that hold the same numbers elsewhere, memory order."""
    square = array(4, 4, 9, 9)
    cases = [
        (INPUT, WEIGHT),
        (INPUT.astype(np.float64), WEIGHT.astype(np.float64)),
        (INPUT[0], WEIGHT),
        (INPUT[:1], WEIGHT),
        (INPUT.transpose(0, 1, 3, 2), WEIGHT),
        (square, WEIGHT),
        (square[:, :, ::-1, ::2], WEIGHT),
        (np.ascontiguousarray(INPUT.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), WEIGHT),
        (INPUT, np.ascontiguousarray(WEIGHT.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1)),
        (np.broadcast_to(INPUT[:1], INPUT.shape), WEIGHT),
        (INPUT[:0], WEIGHT),
    ]
    for _ in range(2):
        for input, weight in cases:
            expected = loops(input, weight)
            got = fastconv.conv2d(input, weight)
            assert got.dtype == input.dtype
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_more_shapes_than_are_remembered() -> None:
    """What is forgotten is found again."""
    weight = array(1, 1, 2)
    inputs = [array(1, 1, size) for size in range(2, 1400)]
    for _ in range(2):
        for input in inputs:
            got = fastconv.conv1d(input, weight)[0, 0]
            np.testing.assert_allclose(got, np.correlate(input[0, 0], weight[0, 0]), rtol=1e-4, atol=1e-5)


def test_gradients_of_one_shape_are_told_apart() -> None:
    """Two input sizes lead to one output size; padding before is not padding after."""
    grad_output = array(2, 6, 4, 4)
    for _ in range(2):
        for size in (9, 10):
            for padding in (0, ((1, 0), (1, 0)), ((0, 1), (0, 1))):
                parameters = (2, padding)
                shape = (2, 4, size - (padding != 0), size - (padding != 0))
                input = array(*shape)
                for name, arguments in (
                    ("conv2d_input", (shape, WEIGHT, grad_output)),
                    ("conv2d_weight", (input, WEIGHT.shape, grad_output)),
                ):
                    gradient: Callable[..., np.ndarray] = getattr(fastconv.grad, name)
                    np.testing.assert_allclose(
                        gradient(*arguments, *parameters),
                        gradient(*arguments, *parameters, algorithm="reference"),
                        rtol=1e-4,
                        atol=1e-4,
                    )


def test_precision_is_looked_at_in_every_call() -> None:
    """It may choose another algorithm for the same shapes, at once and back again."""
    input, weight = array(1, 32, 40, 40), array(32, 32, 3, 3)
    exact = loops(input.astype(np.float64), weight.astype(np.float64))
    highest, high = [], []
    for _ in range(2):
        highest.append(fastconv.conv2d(input, weight))
        with fastconv.precision("high"):
            high.append(fastconv.conv2d(input, weight))
    assert np.array_equal(highest[0], highest[1])
    assert np.array_equal(high[0], high[1])
    assert np.abs(highest[0] - exact).max() < np.abs(high[0] - exact).max()


def test_threads_that_meet_in_the_same_calls() -> None:
    """Nobody gets the result of another's call."""
    calls = [(array(1, 1, 5 + i, 7), array(2, 1, 3, 3)) for i in range(40)]
    expected = [fastconv.conv2d(*call) for call in calls]

    def work(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(len(calls) * 20) % len(calls)
        return all(np.array_equal(fastconv.conv2d(*calls[i]), expected[i]) for i in order)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


# ---- out= --------------------------------------------------------------------------------------------

OUTPUT = (2, 6, 7, 6)


@pytest.mark.parametrize("again", [0, 1])
def test_out_is_written_whatever_its_strides(again: int) -> None:
    """Rows apart, reversed, transposed, every other element: and nothing beside them."""
    expected = fastconv.conv2d(INPUT, WEIGHT)
    room = np.full((2, 2 * 6, 7 + 2, 2 * 6), -7.0, np.float32)
    views = [
        np.empty(OUTPUT, np.float32),
        room[:, :6, 1:8, :6],
        room[:, ::2, 1:8, ::-2],
        room[::-1, 6:, 8:1:-1, 1::2],
        np.empty(OUTPUT[::-1], np.float32).T,
    ]
    for view in views:
        room.fill(-7.0)
        assert fastconv.conv2d(INPUT, WEIGHT, out=view) is view
        np.testing.assert_allclose(view, expected, rtol=1e-5, atol=1e-5)
        if view.base is room:
            view[...] = -7.0
            assert (room == -7.0).all()


@pytest.mark.parametrize("function", ["conv2d", "conv2d_weight"])
def test_out_that_overlaps_is_refused_every_time(function: str) -> None:
    """Also by a call whose plan is known; arrays that only lie in one another's gaps are allowed."""
    memory = array(2, 2, 12, 8)
    halves = memory[:, :, ::2], memory[:, :, 1::2]
    one = np.ones((2, 2, 1, 1), np.float32)
    grad_output = array(2, 2, 6, 8)

    def call(input: np.ndarray, out: np.ndarray) -> np.ndarray:
        if function == "conv2d":
            return fastconv.conv2d(input, one, out=out)
        return fastconv.grad.conv2d_weight(input, one.shape, grad_output, out=out)

    small = memory[:, :, 1:2, :1] if function == "conv2d_weight" else halves[1]
    for _ in range(2):
        expected = call(halves[0], np.empty(small.shape, np.float32))
        assert np.array_equal(call(halves[0], small), expected)
        inside = memory[:, :, 2:3, :1] if function == "conv2d_weight" else halves[0]
        before = memory.copy()
        with pytest.raises(ValueError, match="out: overlaps input"):
            call(halves[0], inside)
        with pytest.raises(ValueError, match="out: shape"):
            call(halves[0], small[:1])
        with pytest.raises(TypeError, match="out: dtype"):
            call(halves[0], small.astype(np.float64))
        with pytest.raises(ValueError, match="out: strides"):
            call(halves[0], np.lib.stride_tricks.as_strided(small, strides=(0, 0, 0, 0)))
        locked = small.copy()
        locked.flags.writeable = False
        with pytest.raises(ValueError, match="out: must be writable"):
            call(halves[0], locked)
        assert np.array_equal(memory, before)


# ---- what is wrong stays wrong -----------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "dtype of weight": ({"weight": WEIGHT.astype(np.float64)}, TypeError, "weight: dtype"),
    "dtype of bias": ({"bias": BIAS.astype(np.float64)}, TypeError, "bias: dtype"),
    "length of bias": ({"bias": BIAS[:5]}, ValueError, "bias: shape"),
    "channels": ({"input": INPUT[:, :3]}, ValueError, "input: 3 channels"),
    "groups": ({"groups": 3}, ValueError, "input: 4 channels"),
    "no groups": ({"groups": 0}, ValueError, "groups=0"),
    "bool": ({"stride": True}, TypeError, "stride=True"),
    "negative": ({"padding": -1}, ValueError, "padding=-1"),
    "huge": ({"dilation": 2**70}, ValueError, "dilation=1180591620717411303424"),
    "axes of stride": ({"stride": (1, 1, 1)}, ValueError, "stride=(1, 1, 1)"),
    "word": ({"padding": "full"}, ValueError, "padding='full'"),
    "activation": ({"activation": "tanh"}, ValueError, "activation='tanh'"),
    "algorithm": ({"algorithm": "fast"}, ValueError, "algorithm='fast'"),
    "kind of algorithm": ({"algorithm": 1}, TypeError, "algorithm=1"),
    "unhashable": ({"activation": ["relu"]}, TypeError, "activation=['relu']"),
    "axes": ({"input": INPUT[0, 0]}, ValueError, "input: shape (9, 8)"),
    "big end": ({"input": INPUT.astype(">f4")}, TypeError, "input: dtype"),
    "list": ({"input": INPUT.tolist()}, TypeError, "input: must be an array"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_is_refused_after_a_right_one(name: str) -> None:
    """Of the same shapes, the second time as the first."""
    change, error, message = WRONG[name]
    for _ in range(2):
        right = {"input": INPUT, "weight": WEIGHT, "bias": BIAS}
        fastconv.conv2d(**right)
        with pytest.raises(error) as caught:
            fastconv.conv2d(**{**right, **change})
        assert message in str(caught.value)


def test_arrays_that_are_not_plain_give_the_same_bits() -> None:
    """A subclass, a memoryview, a strided bias: as if they were plain."""
    expected = fastconv.conv2d(INPUT, WEIGHT, BIAS)

    class Picture(np.ndarray):
        pass

    strided = np.repeat(BIAS, 2)[::2]
    for _ in range(2):
        assert np.array_equal(fastconv.conv2d(INPUT.view(Picture), WEIGHT, strided), expected)
        assert np.array_equal(fastconv.conv2d(memoryview(INPUT), memoryview(WEIGHT), BIAS), expected)
