"""Every argument of every convolution function, wrong in every way: one error naming it, nothing touched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
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

import fastconv

INT32_MAX, INT64_MAX = 2**31 - 1, 2**63 - 1


@pytest.mark.parametrize(("name", "rank"), [(name, r) for name, (_, ranks) in CALLS.items() for r in ranks])
def test_the_right_calls_are_right(name: str, rank: int) -> None:
    """Each table below changes one argument of these."""
    function, arguments = CALLS[name][0](rank)
    function(**arguments)


# ---- numbers per axis --------------------------------------------------------------------------------

NOT_INTEGERS = {
    "None": None,
    "float": 1.5,
    "whole float": 1.0,
    "bool": True,
    "NumPy bool": np.True_,
    "NumPy float": np.float32(1),
    "complex": 1j,
    "array": np.array([1.5, 2.5]),
    "dict": {1: 2},
    "set": {1},
    "bytes": b"1",
}


@pytest.mark.parametrize("value", NOT_INTEGERS.values(), ids=NOT_INTEGERS)
@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (name, argument)
        for name in CONVOLUTIONS
        for argument in ("stride", "dilation", "padding", "output_padding", "groups")
        if argument in CALLS[name][0](1)[1]
    ],
)
def test_numbers_must_be_integers(name: str, argument: str, value: Any) -> None:
    """Also inside a tuple or list, and also right after the same call with the integer 1 has been made."""
    for rank in (1, 2, 3):
        function, arguments = CALLS[name][0](rank)
        for right in (arguments[argument], 1):
            with contextlib.suppress(ValueError):  # a legal 1 may not fit the other arguments
                function(**{**arguments, argument: right})
        refuse((function, arguments), {argument: value}, TypeError, argument)
        if argument != "groups":
            refuse((function, arguments), {argument: (value,) * rank}, TypeError, argument)
            refuse((function, arguments), {argument: [value] * rank}, TypeError, argument)


@pytest.mark.parametrize("value", [0, -1, -(2**31), -(2**63), -(2**70)])
@pytest.mark.parametrize("argument", ["stride", "dilation", "groups"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_steps_and_groups_must_be_positive(name: str, argument: str, value: int) -> None:
    for rank in (1, 2, 3):
        call = CALLS[name][0](rank)
        refuse(call, {argument: value}, ValueError, f"{argument}={value}", "at least 1")
        if argument != "groups":
            last = (*(1,) * (rank - 1), value)
            refuse(call, {argument: last}, ValueError, argument, str(value), "at least 1")


@pytest.mark.parametrize("argument", ["padding", "output_padding"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_paddings_must_not_be_negative(name: str, argument: str) -> None:
    for rank in (1, 2, 3):
        call = CALLS[name][0](rank)
        if argument not in call[1]:
            continue
        for value in (-1, (0,) * (rank - 1) + (-1,), [-1] * rank):
            refuse(call, {argument: value}, ValueError, argument, "-1", "at least 0")
        if argument == "padding":
            refuse(call, {argument: ((0, -1),) * rank}, ValueError, argument, "-1", "at least 0")


@pytest.mark.parametrize("argument", ["stride", "dilation", "padding", "output_padding"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_one_number_per_spatial_axis(name: str, argument: str) -> None:
    for rank in (1, 2, 3):
        call = CALLS[name][0](rank)
        if argument not in call[1]:
            continue
        for length in {0, 1, 2, 3, 4} - {rank}:
            for value in ((1,) * length, [1] * length):
                refuse(call, {argument: value}, ValueError, argument, f"{rank} entries")


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_padding_pairs_have_two_entries(name: str) -> None:
    for rank in (1, 2, 3):
        call = CALLS[name][0](rank)
        for pair in ((), (1,), (1, 1, 1), [1, 2, 3]):
            refuse(call, {"padding": (pair,) * rank}, ValueError, "padding", "(before, after)")
        refuse(call, {"padding": (((1, 1), 1),) * rank}, TypeError, "padding")


@pytest.mark.parametrize("word", ["full", "SAME", "", "1"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_padding_words(name: str, word: str) -> None:
    refuse(CALLS[name][0](2), {"padding": word}, ValueError, f"padding={word!r}")


@pytest.mark.parametrize("argument", ["stride", "dilation", "groups", "output_padding"])
def test_words_are_for_padding_alone(argument: str) -> None:
    for name in ("conv", "conv_input", "conv_weight", "conv_transpose"):
        call = CALLS[name][0](2)
        if argument in call[1]:
            refuse(call, {argument: "same"}, (TypeError, ValueError), argument, "same")


def test_same_padding_needs_stride_1() -> None:
    for rank in (1, 2, 3):
        for name in ("conv", "conv_input", "conv_weight"):
            refuse(
                CALLS[name][0](rank), {"padding": "same", "stride": 2}, ValueError, "padding='same'", "stride"
            )
        refuse(CALLS["conv_transpose"][0](rank), {"padding": "same"}, ValueError, "padding='same'")


# ---- sizes that cannot be ----------------------------------------------------------------------------

HUGE = (INT32_MAX, 2**32, 2**61, 2**62, INT64_MAX, 2**63, 2**64 + 1, 10**30)


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_huge_dilation(name: str, value: int) -> None:
    """(k - 1) * dilation must not wrap around and look small again."""
    for rank in (1, 2, 3):
        for dilation in (value, (value,) * rank, (*(1,) * (rank - 1), value)):
            refuse(CALLS[name][0](rank), {"dilation": dilation}, (ValueError, MemoryError))


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("name", ["conv", "conv_input", "conv_weight"])
def test_huge_padding(name: str, value: int) -> None:
    """Sums and products of the padded size must not wrap; what fits an int64 is too much for any memory."""
    for rank in (2, 3):
        call = CALLS[name][0](rank)
        changes = {"out": None} if "out" in call[1] else {}
        refuse(call, {**changes, "padding": value}, (ValueError, MemoryError))
        refuse(
            call,
            {**changes, "padding": ((0, 0),) * (rank - 1) + ((value, value),)},
            (ValueError, MemoryError),
        )


@pytest.mark.parametrize("value", HUGE)
def test_huge_padding_with_huge_dilation_or_stride(value: int) -> None:
    """Padding, dilation and stride that make up for each other are legal or refused, never wrong."""
    input, weight = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0]]])
    if value < 2**61:
        output = fastconv.conv1d(input, weight, padding=((0, value - 1),), dilation=value)
        np.testing.assert_array_equal(output, [[[1.0]]])
        output = fastconv.conv1d(input, weight, padding=((0, value),), stride=value)
        np.testing.assert_array_equal(output, [[[21.0, 0.0]]])
    else:
        with pytest.raises(ValueError, match=r"dilation|padding"):
            fastconv.conv1d(input, weight, padding=((0, value - 1),), dilation=value)


@pytest.mark.parametrize("value", HUGE)
def test_huge_transposed_stride(value: int) -> None:
    refuse(CALLS["conv_transpose"][0](2), {"stride": value}, (ValueError, MemoryError))
    refuse(CALLS["conv_transpose"][0](2), {"stride": (value, 1)}, (ValueError, MemoryError))


@pytest.mark.parametrize("value", HUGE)
def test_huge_groups(value: int) -> None:
    for name in CONVOLUTIONS:
        refuse(CALLS[name][0](2), {"groups": value}, ValueError, "groups")


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_kernel_larger_than_the_padded_input(rank: int) -> None:
    call = conv_call(rank)
    refuse(call, {"input": ones(2, 4, *(2,) * rank)}, ValueError, "weight", "larger", "2")
    refuse(call, {"dilation": 4}, ValueError, "dilation=4", "9", "larger")
    refuse(call, {"input": ones(2, 4, *(2,) * rank), "padding": ((0, 0),) * rank}, ValueError, "larger")


BOMBS = {
    "output of padding": "fastconv.conv1d(one(1, 1, 3), one(1, 1, 1), padding=2**49)",
    "output of broadcast input": "fastconv.conv2d(one(1, 1, 2**24, 2**24), one(1, 1, 1, 1))",
    "output channels": "fastconv.conv1d(one(1, 1, 2**20), one(2**29, 1, 1))",
    "transposed": "fastconv.conv_transpose1d(one(1, 1, 2), one(1, 1, 1), stride=2**49)",
    "transposed channels": "fastconv.conv_transpose1d(one(1, 1, 2**20), one(1, 2**29, 1))",
    "grad_input": "fastconv.grad.conv1d_input((1, 1, 2**49), one(1, 1, 1), one(1, 1, 1), stride=2**49)",
    "grad_weight": "fastconv.grad.conv1d_weight(one(1, 2**20, 1), (2**29, 2**20, 1), one(1, 2**29, 1))",
    "grad_weight past int64": (
        "fastconv.grad.conv1d_weight(one(1, 2**40, 1), (2**40, 2**40, 1), one(1, 2**40, 1))"
    ),
    "transposed grad_weight": (
        "fastconv.grad.conv_transpose_weight(one(1, 2**20, 1), (2**20, 2**29, 1), one(1, 2**29, 1))"
    ),
    "linear": "fastconv.linear(one(2**29, 1), one(2**20, 1))",
    "linear past int64": "fastconv.linear(one(2**40, 1), one(2**40, 1))",
    "linear_input": "fastconv.grad.linear_input(one(1, 2**20), one(2**29, 1))",
    "linear_weight": "fastconv.grad.linear_weight(one(1, 2**29), one(1, 2**20))",
    "linear_weight past int64": "fastconv.grad.linear_weight(one(1, 2**40), one(1, 2**40))",
    "packed weights": "fastconv.conv1d(one(1, 2**47, 2**12), one(4, 2**47, 1), out=out)",
    "packed weights, channels-last": "fastconv.conv1d(one(1, 2**47, 2**12), one(2, 2**47, 1), out=pixels)",
    "packed weights past int64": "fastconv.conv1d(one(1, 2**57, 15), one(2, 2**57, 1), out=pixels[..., :15])",
    "kernel": "fastconv.conv1d(one(1, 1, 2**49 + 2**12 - 1), one(4, 1, 2**49), out=out)",
    "kernel of a gradient": "fastconv.grad.conv1d_weight(one(1, 1, 2**49), (1, 1, 2**49), one(1, 1, 1))",
}


@pytest.mark.parametrize("call", BOMBS.values(), ids=BOMBS)
def test_a_size_that_cannot_be_allocated_is_a_memory_error(call: str, run_python: Callable) -> None:
    """Broadcast arrays are small and claim to be huge: refused at once, in a process that lives on.

    Each of these needs 2**50 bytes or more, beyond the address space of any machine.
    """
    result = run_python(
        "import resource, numpy, fastconv\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\n"
        "def one(*shape): return numpy.broadcast_to(numpy.float32(1), shape)\n"
        "out = numpy.zeros((1, 4, 2**12), 'f')\n"
        "pixels = numpy.zeros((1, 2**12, 2), 'f').transpose(0, 2, 1)\n"
        "fastconv.set_num_threads(2)\n"
        f"try: {call}\n"
        "except MemoryError: pass\n"
        "else: raise SystemExit('no MemoryError')\n"
        "assert not (out.any() or pixels.any())\n"
        "x = numpy.ones((1, 1, 4))\n"
        "assert (fastconv.conv1d(x, x) == 4).all()\n",
        timeout=60,
    )
    assert result.returncode == 0, result.stderr[-2000:]


# ---- arrays ------------------------------------------------------------------------------------------

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


# ---- shapes as arguments -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*NOT_INTEGERS.values(), "3"], ids=[*NOT_INTEGERS, "text"])
@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if name not in ("conv", "conv_transpose")])
def test_shapes_must_be_integers(name: str, value: Any) -> None:
    for rank in (1, 2, 3):
        function, arguments = CALLS[name][0](rank)
        argument = "input_size" if "input_size" in arguments else "weight_size"
        shape = arguments[argument]
        refuse((function, arguments), {argument: value}, TypeError, argument)
        for axis in range(len(shape)):
            wrong = (*shape[:axis], value, *shape[axis + 1 :])
            refuse((function, arguments), {argument: wrong}, TypeError, argument)


@pytest.mark.parametrize("value", [-1, -3, -(2**63), 2**61 + 1, 2**64 + 3])
@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if name not in ("conv", "conv_transpose")])
def test_shapes_must_be_sizes(name: str, value: int) -> None:
    for rank in (1, 2, 3):
        function, arguments = CALLS[name][0](rank)
        argument = "input_size" if "input_size" in arguments else "weight_size"
        shape = arguments[argument]
        for axis in range(len(shape)):
            wrong = (*shape[:axis], value, *shape[axis + 1 :])
            refuse((function, arguments), {argument: wrong}, ValueError, argument, str(value))
        for length in set(range(7)) - {len(shape)}:
            if name == "conv_transpose_weight" and length in (3, 4, 5):
                continue  # its length decides the rank; the arrays then do not fit
            refuse((function, arguments), {argument: (3,) * length}, ValueError, argument)


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if "grad_output" in CALLS[name][0](2)[1]])
def test_grad_output_must_fit(name: str) -> None:
    """Every axis of grad_output follows from the other arguments."""
    for rank in (1, 2, 3):
        function, arguments = CALLS[name][0](rank)
        shape = arguments["grad_output"].shape
        for axis, change in [(axis, change) for axis in range(len(shape)) for change in (-1, 1)]:
            wrong = ones(*(size + change * (i == axis) for i, size in enumerate(shape)))
            refuse((function, arguments), {"grad_output": wrong}, ValueError, "grad_output", str(wrong.shape))
        refuse((function, arguments), {"grad_output": ones(*shape[1:])}, ValueError)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_sizes(rank: int) -> None:
    call = transpose_call(rank)
    for extra in (2, 5, INT32_MAX):
        refuse(call, {"output_padding": extra}, ValueError, f"output_padding={extra}", "2")
    refuse(call, {"output_padding": (0,) * (rank - 1) + (2,)}, ValueError, "output_padding", "2")
    refuse(call, {"padding": 10}, ValueError, "padding=10", "7")
    refuse(call, {"padding": ((7, 0),) * rank}, ValueError, "padding", "7")


# ---- words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["gelu", "ReLU", "", 1, True, 1.5, ["relu"], ("relu",), {"relu"}, {}, np.ones(2)]
)
def test_activation_names(value: Any) -> None:
    refuse(conv_call(2), {"activation": value}, (ValueError, TypeError), "activation")


@pytest.mark.parametrize("value", ["fast", "DIRECT", "", None, 1, ["direct"], {"direct"}, np.ones(2)])
@pytest.mark.parametrize("name", ["conv", "conv_input", "conv_weight"])
def test_algorithm_names(name: str, value: Any) -> None:
    """An algorithm that does not exist is an error, never a silent replacement."""
    refuse(CALLS[name][0](2), {"algorithm": value}, (ValueError, TypeError), "algorithm")


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
