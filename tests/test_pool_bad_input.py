"""Every argument of every pooling function, wrong in every way: one error naming it, and nothing touched."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import grad

LARGEST = 2**61


def ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def places(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.int64)


#: The calls that are right, by name: the function and its arguments.
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "max_pool2d": (
        fastconv.max_pool2d,
        {"input": ones(2, 3, 6, 7), "kernel_size": 3, "stride": 2, "padding": 1, "dilation": 1},
    ),
    "avg_pool2d": (
        fastconv.avg_pool2d,
        {"input": ones(2, 3, 6, 7), "kernel_size": 3, "stride": 2, "padding": 1, "divisor_override": None},
    ),
    "lp_pool2d": (fastconv.lp_pool2d, {"input": ones(2, 3, 6, 7), "norm_type": 2, "kernel_size": 3}),
    "max_unpool2d": (
        fastconv.max_unpool2d,
        {"input": ones(2, 3, 3, 3), "indices": places(2, 3, 3, 3), "kernel_size": 2},
    ),
    "adaptive_avg_pool2d": (fastconv.adaptive_avg_pool2d, {"input": ones(2, 3, 6, 7), "output_size": 2}),
    "adaptive_max_pool2d": (fastconv.adaptive_max_pool2d, {"input": ones(2, 3, 6, 7), "output_size": 2}),
    "global_avg_pool": (fastconv.global_avg_pool, {"input": ones(2, 3, 6, 7)}),
    "global_max_pool": (fastconv.global_max_pool, {"input": ones(2, 3, 6, 7)}),
    "max_pool2d_input": (
        grad.max_pool2d_input,
        {"input_size": (2, 3, 6, 6), "indices": places(2, 3, 3, 3), "grad_output": ones(2, 3, 3, 3)},
    ),
    "adaptive_max_pool2d_input": (
        grad.adaptive_max_pool2d_input,
        {"input_size": (2, 3, 6, 6), "indices": places(2, 3, 3, 3), "grad_output": ones(2, 3, 3, 3)},
    ),
    "max_unpool2d_input": (
        grad.max_unpool2d_input,
        {"input_size": (2, 3, 3, 3), "indices": places(2, 3, 3, 3), "grad_output": ones(2, 3, 6, 6)},
    ),
    "avg_pool2d_input": (
        grad.avg_pool2d_input,
        {"input_size": (2, 3, 6, 6), "grad_output": ones(2, 3, 3, 3), "kernel_size": 2},
    ),
    "adaptive_avg_pool2d_input": (
        grad.adaptive_avg_pool2d_input,
        {"input_size": (2, 3, 6, 6), "grad_output": ones(2, 3, 4, 4)},
    ),
    "lp_pool2d_input": (
        grad.lp_pool2d_input,
        {
            "input": ones(2, 3, 6, 6),
            "output": ones(2, 3, 3, 3),
            "grad_output": ones(2, 3, 3, 3),
            "norm_type": 2,
            "kernel_size": 2,
        },
    ),
}

WINDOWED = ("max_pool2d", "avg_pool2d", "lp_pool2d", "avg_pool2d_input", "lp_pool2d_input")
WITH_INPUT = tuple(name for name, (_, arguments) in CALLS.items() if "input" in arguments)
WITH_INDICES = tuple(name for name, (_, arguments) in CALLS.items() if "indices" in arguments)
WITH_SIZE = tuple(name for name, (_, arguments) in CALLS.items() if "input_size" in arguments)
WITH_GRADIENT = tuple(name for name, (_, arguments) in CALLS.items() if "grad_output" in arguments)
WITH_ALGORITHM = tuple(name for name in CALLS if "unpool" not in name)
ADAPTIVE = ("adaptive_avg_pool2d", "adaptive_max_pool2d")
INTEGER = "must be an integer"

#: (functions, argument, value, error, rule named in the message)
RULES: list[tuple[tuple[str, ...], str, Any, type[Exception], str]] = [
    (WITH_INPUT, "input", [[1.0]], TypeError, "must be an array"),
    (WITH_INPUT, "input", None, TypeError, "must be an array"),
    (WITH_INPUT, "input", ones(2, 3, 6, 7, dtype=np.float16), TypeError, "must be float32 or float64"),
    (WITH_INPUT, "input", ones(2, 3, 6, 7, dtype=np.int64), TypeError, "must be float32 or float64"),
    (WITH_INPUT, "input", ones(2, 3, 6, 7, dtype=">f4"), TypeError, "native byte order"),
    (WITH_INPUT, "input", np.ma.masked_array(ones(2, 3, 6, 7)), TypeError, "is a masked array"),
    (WITH_INPUT, "input", ones(6), ValueError, "ax[ei]s"),
    (WITH_INPUT, "input", ones(1, 2, 3, 6, 7, 8), ValueError, "ax[ei]s"),
    (WITH_INPUT, "input", ones(2, 3, 0, 7), ValueError, "only the batch may be empty"),
    (WITH_INPUT, "input", ones(2, 0, 6, 7), ValueError, "only the batch may be empty"),
    (WINDOWED, "kernel_size", 0, ValueError, "must be at least 1"),
    (WINDOWED, "kernel_size", -1, ValueError, "must be at least 1"),
    (WINDOWED, "kernel_size", 2.0, TypeError, INTEGER),
    (WINDOWED, "kernel_size", True, TypeError, INTEGER),
    (WINDOWED, "kernel_size", None, TypeError, INTEGER),
    (WINDOWED, "kernel_size", "same", TypeError, INTEGER),
    (WINDOWED, "kernel_size", (2, 2, 2), ValueError, "one per spatial axis"),
    (WINDOWED, "kernel_size", (), ValueError, "one per spatial axis"),
    (WINDOWED, "kernel_size", (2, 99), ValueError, "larger than the padded input's"),
    (WINDOWED, "kernel_size", LARGEST + 1, ValueError, "must be at most"),
    (WINDOWED, "stride", 0, ValueError, "must be at least 1"),
    (WINDOWED, "stride", -2, ValueError, "must be at least 1"),
    (WINDOWED, "stride", 1.5, TypeError, INTEGER),
    (WINDOWED, "stride", (1, 1, 1), ValueError, "one per spatial axis"),
    (WINDOWED, "stride", LARGEST + 1, ValueError, "must be at most"),
    (("max_pool2d", "avg_pool2d"), "padding", -1, ValueError, "must be at least 0"),
    (("max_pool2d", "avg_pool2d"), "padding", 2, ValueError, "at most half"),
    (("max_pool2d", "avg_pool2d"), "padding", ((0, 2), (0, 0)), ValueError, "at most half"),
    (("max_pool2d", "avg_pool2d"), "padding", ((0, 1, 1), (0, 0)), ValueError, "each pair"),
    (("max_pool2d", "avg_pool2d"), "padding", (1, 1, 1), ValueError, "one per spatial axis"),
    (("max_pool2d", "avg_pool2d"), "padding", "full", ValueError, "'valid' and 'same'"),
    (("max_pool2d", "avg_pool2d"), "padding", "same", ValueError, "needs stride 1"),
    (("max_pool2d", "avg_pool2d"), "padding", None, TypeError, INTEGER),
    (("max_pool2d",), "dilation", 0, ValueError, "must be at least 1"),
    (("max_pool2d",), "dilation", -1, ValueError, "must be at least 1"),
    (("max_pool2d",), "dilation", 2**31 - 1, ValueError, "kernel_size=3: spans"),
    (("max_pool2d",), "dilation", LARGEST, ValueError, "beyond what shape arithmetic can hold"),
    (("max_pool2d",), "return_indices", 1, TypeError, "must be True or False"),
    (WINDOWED, "ceil_mode", "no", TypeError, "must be True or False"),
    (("avg_pool2d", "avg_pool2d_input"), "divisor_override", 0, ValueError, "must not be 0"),
    (("avg_pool2d", "avg_pool2d_input"), "divisor_override", 2.5, TypeError, INTEGER),
    (("avg_pool2d", "avg_pool2d_input"), "divisor_override", LARGEST + 1, ValueError, "beyond"),
    (("avg_pool2d", "avg_pool2d_input"), "count_include_pad", None, TypeError, "must be True or False"),
    (("lp_pool2d", "lp_pool2d_input"), "norm_type", 0, ValueError, "must not be zero"),
    (("lp_pool2d", "lp_pool2d_input"), "norm_type", float("nan"), ValueError, "NaN"),
    (("lp_pool2d", "lp_pool2d_input"), "norm_type", "2", TypeError, "must be a number"),
    (("lp_pool2d", "lp_pool2d_input"), "norm_type", 10**400, ValueError, "must fit a float"),
    (ADAPTIVE, "output_size", 0, ValueError, "must be at least 1"),
    (ADAPTIVE, "output_size", (2, -1), ValueError, "must be at least 1"),
    (ADAPTIVE, "output_size", (2, 2, 2), ValueError, "one per spatial axis"),
    (ADAPTIVE, "output_size", 2.0, TypeError, INTEGER),
    (ADAPTIVE, "output_size", None, TypeError, INTEGER),
    (ADAPTIVE, "output_size", LARGEST, ValueError, "beyond what shape arithmetic can hold"),
    (("global_avg_pool", "global_max_pool"), "batched", 1, TypeError, "must be True or False"),
    (("max_unpool2d",), "output_size", (4, 6), ValueError, "by less than the stride"),
    (("max_unpool2d",), "output_size", (6, 8), ValueError, "by less than the stride"),
    (("max_unpool2d",), "output_size", (6,), ValueError, "the whole shape"),
    (("max_unpool2d",), "output_size", 6, ValueError, "the whole shape"),
    (("max_unpool2d",), "output_size", (2, 4, 6, 6), ValueError, "must begin with"),
    (("max_unpool2d",), "padding", 3, ValueError, "leaves no output"),
    (("max_unpool2d",), "stride", 0, ValueError, "must be at least 1"),
    (("max_unpool2d",), "stride", LARGEST, ValueError, "beyond what shape arithmetic can hold"),
    (WITH_INDICES, "indices", [[0]], TypeError, "must be an array"),
    (WITH_INDICES, "indices", np.ma.masked_array(places(2, 3, 3, 3)), TypeError, "is a masked array"),
    (WITH_INDICES, "indices", ones(2, 3, 3, 3), TypeError, "must be int64"),
    (WITH_INDICES, "indices", places(2, 3, 3, 3).astype(np.int32), TypeError, "must be int64"),
    (WITH_INDICES, "indices", places(2, 3, 3, 3).astype(np.uint64), TypeError, "must be int64"),
    (WITH_INDICES, "indices", places(2, 3, 3, 3).astype(">i8"), TypeError, "native byte order"),
    (WITH_INDICES, "indices", places(2, 3, 3, 4), ValueError, "must be (2, 3, 3, 3)"),
    (WITH_INDICES, "indices", places(3, 3, 3), ValueError, "must be (2, 3, 3, 3)"),
    (WITH_INDICES, "indices", places(2, 3, 3, 3) + 36, ValueError, "36 is outside [0, 36)"),
    (WITH_INDICES, "indices", places(2, 3, 3, 3) - 1, ValueError, "-1 is outside [0, 36)"),
    (WITH_SIZE, "input_size", 6, TypeError, "must be a shape"),
    (WITH_SIZE, "input_size", (3, 6, 6), ValueError, "must have 4 entries"),
    (WITH_SIZE, "input_size", (2, 3, 6.0, 6), TypeError, INTEGER),
    (WITH_SIZE, "input_size", (2, 3, -6, 6), ValueError, "must be at least 0"),
    (WITH_SIZE, "input_size", (2, 3, 0, 6), ValueError, "only the batch may be empty"),
    (WITH_SIZE, "input_size", (1, 3, 6, 6), ValueError, "as grad_output does"),
    (WITH_SIZE, "input_size", (2, 4, 6, 6), ValueError, "as grad_output does"),
    (WITH_SIZE, "input_size", (2, 3, 2**40, 2**40), ValueError, "beyond what shape arithmetic can hold"),
    (WITH_GRADIENT, "grad_output", [[1.0]], TypeError, "must be an array"),
    (WITH_GRADIENT, "grad_output", np.ma.masked_array(ones(2, 3, 3, 3)), TypeError, "is a masked array"),
    (WITH_GRADIENT, "grad_output", ones(2, 3, 3, 3, dtype=np.int64), TypeError, "must be float32 or float64"),
    (
        ("avg_pool2d_input", "lp_pool2d_input"),
        "grad_output",
        ones(2, 3, 3, 4),
        ValueError,
        "must be (2, 3, 3, 3)",
    ),
    (WITH_ALGORITHM, "algorithm", "winograd", ValueError, "must be one of auto, reference"),
    (WITH_ALGORITHM, "algorithm", None, ValueError, "must be one of auto, reference"),
    (("lp_pool2d_input",), "output", ones(2, 3, 3, 4), ValueError, "must be (2, 3, 3, 3)"),
    (("lp_pool2d_input",), "output", ones(2, 3, 3, 3, dtype=np.float64), TypeError, "does not match"),
    (("lp_pool2d_input",), "grad_output", ones(2, 3, 3, 3, dtype=np.float64), TypeError, "does not match"),
]


def _cases() -> list[Any]:
    return [
        pytest.param(name, argument, value, error, rule, id=f"{name}-{argument}-{number}")
        for number, (names, argument, value, error, rule) in enumerate(RULES)
        for name in names
    ]


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_are_right_but_for_what_is_broken(name: str) -> None:
    """Guards the table below: with nothing broken every call succeeds."""
    function, arguments = CALLS[name]
    assert function(**arguments) is not None


@pytest.mark.parametrize(("name", "argument", "value", "error", "rule"), _cases())
def test_bad_argument(name: str, argument: str, value: Any, error: type[Exception], rule: str) -> None:
    """The error is of the right type, begins with the argument, names the rule; arrays stay as they were."""
    function, arguments = CALLS[name]
    arrays = {key: given.copy() for key, given in arguments.items() if isinstance(given, np.ndarray)}
    with pytest.raises(error) as raised:
        function(**{**arguments, argument: value})
    message = str(raised.value)
    blamed = "kernel_size" if rule.startswith("kernel_size") else argument
    assert re.match(rf"{blamed}\b", message), message
    assert rule in message or re.search(rule, message), message
    assert "\n" not in message
    for key, before in arrays.items():
        np.testing.assert_array_equal(arguments[key], before)


@pytest.mark.parametrize("bad", [36, -1, 2**31, 2**62, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("position", [0, 26, 53])
@pytest.mark.parametrize("name", WITH_INDICES)
def test_one_bad_index_is_found_wherever_it_lies(name: str, position: int, bad: int) -> None:
    """An index outside its plane never reaches memory (CVE-2021-37674 and its kin)."""
    function, arguments = CALLS[name]
    indices = arguments["indices"].copy()
    indices.reshape(-1)[position] = bad
    for algorithm in ("auto", "reference") if name in WITH_ALGORITHM else (None,):
        options = {} if algorithm is None else {"algorithm": algorithm}
        with pytest.raises(ValueError, match=re.escape(f"indices: {bad} is outside [0, 36)")):
            function(**{**arguments, "indices": indices, **options})


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_window_that_covers_nothing(rank: int) -> None:
    """The whole input between two taps of a window: refused, as there is no maximum."""
    pool = getattr(fastconv, f"max_pool{rank}d")
    with pytest.raises(ValueError, match=r"^dilation=2: with padding=1 a window covers no element"):
        pool(ones(1, *(1,) * rank), kernel_size=2, padding=1, dilation=2)
    with pytest.raises(ValueError, match=r"^dilation=9: with padding='same' a window covers no element"):
        pool(ones(1, *(4,) * rank), kernel_size=2, stride=1, padding="same", dilation=9)
    assert pool(ones(1, *(1,) * rank), kernel_size=3, padding=2, dilation=2).shape == (1, *(1,) * rank)


def test_misaligned_data() -> None:
    """Data that is not aligned to its element size is refused, also indices."""
    raw = np.zeros(4 * 16 + 1, np.uint8)[1:].view(np.float32).reshape(1, 4, 4)
    with pytest.raises(ValueError, match=r"^input: .* must be multiples of the element size 4"):
        fastconv.max_pool2d(raw, 2)
    raw_indices = np.zeros(8 * 4 + 1, np.uint8)[1:].view(np.int64).reshape(1, 2, 2)
    with pytest.raises(ValueError, match=r"^indices: .* must be multiples of the element size 8"):
        fastconv.max_unpool2d(ones(1, 2, 2), raw_indices, 2)


@pytest.mark.parametrize("algorithm", ["auto", "reference"])
def test_size_that_cannot_be_had(algorithm: str) -> None:
    """A result no address space holds is a MemoryError, before anything is touched."""
    input = np.broadcast_to(np.float32(0), (2**20, 2**20, 2**19))
    for pool in (fastconv.max_pool1d, fastconv.avg_pool1d):
        with pytest.raises(MemoryError):
            pool(input, 1, algorithm=algorithm)
    with pytest.raises(MemoryError):
        grad.avg_pool1d_input((1, 2**59), np.ones((1, 1), np.float32), 2**59, algorithm=algorithm)


def test_huge_windows_take_no_longer_than_what_they_cover() -> None:
    """Taps that lie in the padding are never walked, however many."""
    input = np.arange(4.0).reshape(1, 4)
    for padding in (2**39, (2**39 - 1)):
        output = fastconv.max_pool1d(input, 2**40, 2**39, padding, ceil_mode=True)
        assert output.max() == 3
    assert fastconv.avg_pool1d(input, 2**40, 1, ((2**39, 2**39 - 4),), count_include_pad=False) == 1.5
