"""One right call of every convolution function, and `refuse`: the same call made wrong in one argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conv_cases import CONV, CONV_INPUT, CONV_TRANSPOSE, CONV_WEIGHT

import fastconv
from fastconv import grad

F32 = np.float32


def ones(*shape: int, dtype: Any = F32) -> np.ndarray:
    return np.ones(shape, dtype)


def misaligned(*shape: int) -> np.ndarray:
    """A float32 array at an address that is no multiple of 4."""
    count = int(np.prod(shape))
    memory = np.zeros(4 * count + 1, np.uint8)
    return memory[1:].view(F32).reshape(shape)


# ---- the calls that are right ------------------------------------------------------------------------

STRIDED = {"stride": 1, "padding": 0, "dilation": 1, "groups": 2, "algorithm": "auto"}
TRANSPOSED = {"stride": 2, "padding": 0, "output_padding": 0, "groups": 2, "dilation": 1}


def conv_call(rank: int) -> tuple[Callable, dict[str, Any]]:
    size = (6, 7, 8)[:rank]
    return CONV[rank], {
        "input": ones(2, 4, *size),
        "weight": ones(6, 2, *(3,) * rank),
        "bias": ones(6),
        **STRIDED,
        "activation": None,
        "out": np.zeros((2, 6, *(s - 2 for s in size)), F32),
    }


def conv_input_call(rank: int) -> tuple[Callable, dict[str, Any]]:
    size = (6, 7, 8)[:rank]
    return CONV_INPUT[rank], {
        "input_size": (2, 4, *size),
        "weight": ones(6, 2, *(3,) * rank),
        "grad_output": ones(2, 6, *(s - 2 for s in size)),
        **STRIDED,
    }


def conv_weight_call(rank: int) -> tuple[Callable, dict[str, Any]]:
    size = (6, 7, 8)[:rank]
    return CONV_WEIGHT[rank], {
        "input": ones(2, 4, *size),
        "weight_size": (6, 2, *(3,) * rank),
        "grad_output": ones(2, 6, *(s - 2 for s in size)),
        **STRIDED,
    }


def transpose_call(rank: int) -> tuple[Callable, dict[str, Any]]:
    return CONV_TRANSPOSE[rank], {
        "input": ones(2, 4, *(3, 4, 5)[:rank]),
        "weight": ones(4, 3, *(3,) * rank),
        "bias": ones(6),
        **TRANSPOSED,
    }


def transpose_input_call(rank: int) -> tuple[Callable, dict[str, Any]]:
    size = (3, 4, 5)[:rank]
    return grad.conv_transpose_input, {
        "input_size": (2, 4, *size),
        "weight": ones(4, 3, *(3,) * rank),
        "grad_output": ones(2, 6, *(2 * s + 1 for s in size)),
        **TRANSPOSED,
    }


def transpose_weight_call(rank: int) -> tuple[Callable, dict[str, Any]]:
    size = (3, 4, 5)[:rank]
    return grad.conv_transpose_weight, {
        "input": ones(2, 4, *size),
        "weight_size": (4, 3, *(3,) * rank),
        "grad_output": ones(2, 6, *(2 * s + 1 for s in size)),
        **TRANSPOSED,
    }


def linear_call(_: int) -> tuple[Callable, dict[str, Any]]:
    return fastconv.linear, {"input": ones(5, 4), "weight": ones(3, 4), "bias": ones(3)}


def linear_input_call(_: int) -> tuple[Callable, dict[str, Any]]:
    return grad.linear_input, {"weight": ones(3, 4), "grad_output": ones(5, 3)}


def linear_weight_call(_: int) -> tuple[Callable, dict[str, Any]]:
    return grad.linear_weight, {"input": ones(5, 4), "grad_output": ones(5, 3)}


def conv_bias_call(_: int) -> tuple[Callable, dict[str, Any]]:
    return grad.conv_bias, {"grad_output": ones(5, 3, 4)}


def linear_bias_call(_: int) -> tuple[Callable, dict[str, Any]]:
    return grad.linear_bias, {"grad_output": ones(5, 3)}


CALLS: dict[str, tuple[Callable, tuple[int, ...]]] = {
    "conv": (conv_call, (1, 2, 3)),
    "conv_input": (conv_input_call, (1, 2, 3)),
    "conv_weight": (conv_weight_call, (1, 2, 3)),
    "conv_transpose": (transpose_call, (1, 2, 3)),
    "conv_transpose_input": (transpose_input_call, (1, 2, 3)),
    "conv_transpose_weight": (transpose_weight_call, (1, 2, 3)),
    "linear": (linear_call, (0,)),
    "linear_input": (linear_input_call, (0,)),
    "linear_weight": (linear_weight_call, (0,)),
    "linear_bias": (linear_bias_call, (0,)),
    "conv_bias": (conv_bias_call, (0,)),
}
CONVOLUTIONS = [name for name in CALLS if name.startswith("conv") and name != "conv_bias"]


def refuse(call: tuple[Callable, dict[str, Any]], changes: dict[str, Any], error: Any, *texts: str) -> None:
    """The call with some arguments changed raises `error`, each text in its message, no array touched."""
    function, arguments = call
    arguments = {**arguments, **changes}
    arrays = {
        name: (value, value.copy()) for name, value in arguments.items() if isinstance(value, np.ndarray)
    }
    with pytest.raises(error) as caught:
        function(**arguments)
    assert type(caught.value) in (ValueError, TypeError) or isinstance(caught.value, MemoryError)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    for text in texts:
        assert text in message, f"{text!r} is not in {message!r}"
    for name, (value, before) in arrays.items():
        assert value.tobytes() == before.tobytes(), f"{name} was changed"
