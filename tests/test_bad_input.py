"""Every number, shape and word given to a convolution function, wrong in every way: one error naming it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from calls import (
    CALLS,
    CONVOLUTIONS,
    conv_call,
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
        for length in {0, 2, 3, 4} - {rank}:  # one entry counts for all axes
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
def test_a_size_that_cannot_be_allocated_is_a_memory_error(call: str, run_forked: Callable) -> None:
    """Broadcast arrays are small and claim to be huge: refused at once, in a process that lives on.

    Each of these needs 2**50 bytes or more, beyond the address space of any machine.
    """
    result = run_forked(
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
