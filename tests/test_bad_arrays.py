"""Every array of every convolution function, wrong in every way: one error naming it, nothing touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calls import (
    CALLS,
    CONVOLUTIONS,
    F32,
    conv_call,
    conv_input_call,
    conv_weight_call,
    linear_call,
    linear_input_call,
    linear_weight_call,
    misaligned,
    ones,
    refuse,
    transpose_call,
)

NOT_ARRAYS = {
    "None": None,
    "list": [[[1.0]]],
    "number": 3.5,
    "text": "input",
    "bytes": b"1234",
    "int64": ones(2, 4, 6, 7, dtype=np.int64),
    "bool": ones(2, 4, 6, 7, dtype=bool),
    "float16": ones(2, 4, 6, 7, dtype=np.float16),
    "longdouble": ones(2, 4, 6, 7, dtype=np.longdouble),
    "complex": ones(2, 4, 6, 7, dtype=np.complex64),
    "object": ones(2, 4, 6, 7, dtype=object),
    "text array": np.array(["a"]),
    "records": np.zeros((2, 4, 6, 7), [("a", "f4")]),
    "datetime": np.zeros((2, 4, 6, 7), "M8[s]"),
    "byte-swapped": ones(2, 4, 6, 7, dtype=np.dtype(F32).newbyteorder()),
    "masked": np.ma.masked_array(ones(2, 4, 6, 7)),
}
ARRAYS = [
    (name, argument)
    for name, (make, ranks) in CALLS.items()
    for argument, value in make(ranks[0])[1].items()
    if isinstance(value, np.ndarray)
]


@pytest.mark.parametrize("value", NOT_ARRAYS.values(), ids=NOT_ARRAYS)
@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_only_float_arrays(name: str, argument: str, value: Any) -> None:
    """Lists are refused too: building an array from them would be a copy behind the caller's back."""
    make, ranks = CALLS[name]
    for rank in ranks:
        if value is None and argument in ("bias", "out"):
            make(rank)[0](**{**make(rank)[1], argument: None})  # None means without
        else:
            refuse(make(rank), {argument: value}, TypeError, f"{argument}:")


@pytest.mark.parametrize(("name", "argument"), [row for row in ARRAYS if not row[0].endswith("_bias")])
def test_mixed_dtypes(name: str, argument: str) -> None:
    """float32 and float64 are not promoted silently."""
    make, ranks = CALLS[name]
    for rank in ranks:
        function, arguments = make(rank)
        other = arguments[argument].astype(np.float64)
        refuse((function, arguments), {argument: other}, TypeError, "float64", "float32")


@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_misaligned_arrays(name: str, argument: str) -> None:
    """Elements across their natural boundaries: refused by every algorithm, never read in pieces."""
    make, ranks = CALLS[name]
    for rank in ranks:
        function, arguments = make(rank)
        value = misaligned(*arguments[argument].shape)
        for algorithm in ("auto", "direct", "reference"):
            if "algorithm" in arguments:
                arguments["algorithm"] = algorithm
            refuse((function, arguments), {argument: value}, ValueError, f"{argument}:", "multiple")


@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_wrong_number_of_axes(name: str, argument: str) -> None:
    make, ranks = CALLS[name]
    for rank in ranks:
        function, arguments = make(rank)
        right = arguments[argument].ndim
        allowed = {right, right - 1} if argument in ("input", "grad_output") else {right}
        if rank == 0:  # linear takes any number of leading axes
            allowed = set(range(1 if name != "conv_bias" else 2, 9)) if argument != "weight" else {2}
        for axes in set(range(7)) - allowed:
            value = ones(*(3,) * axes) if axes else np.array(1, F32)
            if name.startswith("conv_transpose_") and argument == "weight" and axes in (3, 4, 5):
                continue  # the weight's rank decides the call's; the other arrays then do not fit
            refuse((function, arguments), {argument: value}, ValueError, argument, str(value.shape))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_empty_axes(name: str) -> None:
    """Only the batch may be empty."""
    for rank in (1, 2, 3):
        function, arguments = CALLS[name][0](rank)
        for argument in ("input", "weight", "grad_output"):
            if argument not in arguments:
                continue
            shape = arguments[argument].shape
            for axis in range(argument != "weight", len(shape)):
                empty = np.zeros((*shape[:axis], 0, *shape[axis + 1 :]), F32)
                refuse((function, arguments), {argument: empty}, ValueError, argument, str(empty.shape))
        for argument in ("input_size", "weight_size"):
            if argument not in arguments:
                continue
            shape = arguments[argument]
            for axis in range(argument == "input_size", len(shape)):
                empty_shape = (*shape[:axis], 0, *shape[axis + 1 :])
                refuse((function, arguments), {argument: empty_shape}, ValueError, str(empty_shape))


@pytest.mark.parametrize("name", ["linear", "linear_input", "linear_weight"])
def test_linear_without_features(name: str) -> None:
    function, arguments = CALLS[name][0](0)
    for argument in ("input", "weight", "grad_output"):
        if argument in arguments:
            shape = (*arguments[argument].shape[:-1], 0)
            refuse((function, arguments), {argument: np.zeros(shape, F32)}, ValueError, str(shape))
    if "weight" in arguments:
        refuse((function, arguments), {"weight": np.zeros((0, 4), F32)}, ValueError, "weight", "(0, 4)")


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_channels_that_do_not_fit(rank: int) -> None:
    size, kernel = (6, 7, 8)[:rank], (3,) * rank
    refuse(conv_call(rank), {"input": ones(2, 5, *size)}, ValueError, "input", "5", "groups=2", "4")
    refuse(conv_call(rank), {"weight": ones(6, 3, *kernel)}, ValueError, "input", "4", "6")
    refuse(conv_call(rank), {"weight": ones(5, 2, *kernel), "bias": ones(5)}, ValueError, "groups=2", "5")
    refuse(conv_call(rank), {"groups": 3}, ValueError, "groups=3")
    refuse(conv_call(rank), {"groups": 4}, ValueError, "groups=4")
    refuse(conv_input_call(rank), {"input_size": (2, 5, *size)}, ValueError, "5", "groups=2")
    refuse(conv_weight_call(rank), {"weight_size": (6, 3, *kernel)}, ValueError, "(6, 3", "groups=2")
    refuse(conv_weight_call(rank), {"weight_size": (5, 2, *kernel)}, ValueError, "groups=2", "5")
    refuse(transpose_call(rank), {"weight": ones(5, 3, *kernel)}, ValueError, "input", "4", "5")
    refuse(transpose_call(rank), {"groups": 3}, ValueError, "groups=3", "4")


@pytest.mark.parametrize("shape", [(5,), (7,), (1,), (0,), (6, 1), (1, 6), ()])
def test_bias_shape(shape: tuple[int, ...]) -> None:
    """One per output channel; never broadcast."""
    for rank in (1, 2, 3):
        for call in (conv_call(rank), transpose_call(rank)):
            refuse(call, {"bias": np.ones(shape, F32)}, ValueError, "bias", str(shape), "(6,)")
    refuse(linear_call(0), {"bias": np.ones(shape, F32)}, ValueError, "bias", str(shape), "(3,)")


def test_linear_shapes() -> None:
    refuse(linear_call(0), {"input": ones(5, 3)}, ValueError, "input", "(5, 3)", "4")
    refuse(linear_input_call(0), {"grad_output": ones(5, 4)}, ValueError, "grad_output", "(5, 4)")
    refuse(linear_weight_call(0), {"grad_output": ones(4, 3)}, ValueError, "grad_output", "(4, 3)", "(5, 3)")
    refuse(linear_weight_call(0), {"input": ones(5, 2, 4)}, ValueError, "grad_output", "(5, 3)", "(5, 2, 3)")


# ---- out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_out_of_another_shape(rank: int) -> None:
    function, arguments = conv_call(rank)
    shape = arguments["out"].shape
    for axis, change in [(axis, change) for axis in range(len(shape)) for change in (-1, 1)]:
        wrong = np.zeros([size + change * (i == axis) for i, size in enumerate(shape)], F32)
        refuse((function, arguments), {"out": wrong}, ValueError, "out", str(wrong.shape), str(shape))
    refuse((function, arguments), {"out": np.zeros(shape[1:], F32)}, ValueError, "out", str(shape))
    refuse((function, arguments), {"out": np.zeros((1, *shape), F32)}, ValueError, "out", str(shape))


def test_out_that_is_read_only() -> None:
    function, arguments = conv_call(2)
    arguments["out"].flags.writeable = False
    refuse((function, arguments), {}, ValueError, "out", "writable")


@pytest.mark.parametrize("algorithm", ["auto", "direct", "reference"])
def test_out_that_shares_memory(algorithm: str) -> None:
    """With any input by as little as one element, or with itself: broadcast, or windows that slide."""
    memory = np.ones(4096, F32)
    input, out = memory[:336].reshape(2, 4, 6, 7), memory[335:575].reshape(2, 6, 4, 5)
    weight = memory[574:682].reshape(6, 2, 3, 3)
    call = conv_call(2)
    changes = {"algorithm": algorithm, "out": out}
    refuse(call, {**changes, "input": input}, ValueError, "out", "input")
    refuse(call, {**changes, "weight": weight}, ValueError, "out", "weight")
    refuse(call, {**changes, "bias": memory[335:341]}, ValueError, "out", "bias")
    refuse(call, {**changes, "input": memory[:336].reshape(2, 4, 6, 7)[::-1]}, ValueError, "out", "input")
    windows = np.lib.stride_tricks.as_strided
    for strides in ((480, 80, 20, 0), (0, 80, 20, 4), (480, 80, 4, 4), (480, 64, 20, 4), (-480, 80, -16, 4)):
        sliding = windows(np.zeros(4096, F32)[2048:], (2, 6, 4, 5), strides)
        refuse(call, {**changes, "out": sliding}, ValueError, "out", str(strides))


def test_out_may_be_any_other_view() -> None:
    """The rule above refuses no slice, transpose, reversal or diagonal."""
    function, arguments = conv_call(2)
    expected = function(**arguments).copy()
    memory = np.zeros((9, 12, 20, 17, 9), F32)
    views = (
        memory[::5, ::2, 3:7, ::4, 0],
        memory[0:2, 0:6, 0:4, 0:5, 8],
        memory.T[2:4, :6, ::5, 4::-1, 0],
        memory[3, ::-2, ::-4, ::-4, ::4].transpose(3, 0, 1, 2)[1:, :, :4],
        np.einsum("nixyi->nixy", memory[:, :9])[::5, :6, :4, :5],  # a diagonal
    )
    for view in views:
        result = function(**{**arguments, "out": view})
        np.testing.assert_array_equal(result, expected)
