"""Every argument of the normalisations, wrong in every way: one error naming it, and nothing changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import grad

NAN, INF = math.nan, math.inf


def ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


#: name: a call that is right, as keyword arguments
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "batch_norm": (
        fastconv.batch_norm,
        {"input": ones(2, 3, 4), "running_mean": None, "running_var": None, "weight": ones(3),
         "bias": ones(3), "training": True, "momentum": 0.1, "eps": 1e-5},
    ),
    "batch_norm gradient": (
        grad.batch_norm,
        {"input": ones(2, 3, 4), "grad_output": ones(2, 3, 4), "running_mean": None, "running_var": None,
         "weight": ones(3), "training": True, "eps": 1e-5},
    ),
    "layer_norm": (
        fastconv.layer_norm,
        {"input": ones(2, 3, 4), "normalized_shape": (3, 4), "weight": ones(3, 4), "bias": ones(3, 4),
         "eps": 1e-5},
    ),
    "layer_norm gradient": (
        grad.layer_norm,
        {"input": ones(2, 3, 4), "normalized_shape": (3, 4), "grad_output": ones(2, 3, 4),
         "weight": ones(3, 4), "eps": 1e-5},
    ),
    "local_response_norm": (
        fastconv.local_response_norm,
        {"input": ones(2, 3, 4), "size": 2, "alpha": 1e-4, "beta": 0.75, "k": 1.0},
    ),
    "local_response_norm gradient": (
        grad.local_response_norm_input,
        {"input": ones(2, 3, 4), "grad_output": ones(2, 3, 4), "size": 2, "alpha": 1e-4, "beta": 0.75,
         "k": 1.0},
    ),
}  # fmt: skip

#: argument, bad value, error, start of the message; for every call that has the argument
EVERYWHERE: list[tuple[str, Any, type, str]] = [
    ("input", [[1.0]], TypeError, r"input: must be an array"),
    ("input", None, TypeError, r"input: must be an array"),
    ("input", ones(2, 3, 4, dtype=int), TypeError, r"input: dtype must be float32 or float64"),
    ("grad_output", ones(2, 3, 4, dtype=np.float64), TypeError, r"grad_output: dtype float64 does not match"),
    *[
        (argument, np.ma.masked_array(ones(*shape)), TypeError, f"{argument}: is a masked array")
        for argument, shape in (
            ("input", (2, 3, 4)),
            ("grad_output", (2, 3, 4)),
            ("weight", (3,)),
            ("bias", (3,)),
        )
    ],
    ("grad_output", ones(2, 3), ValueError, r"grad_output: shape \(2, 3\) must be \(2, 3, 4\)"),
    ("grad_output", ones(1, 3, 4), ValueError, r"grad_output: shape \(1, 3, 4\) must be \(2, 3, 4\)"),
    ("weight", ones(4), ValueError, r"weight: shape \(4,\) must be \(3,"),
    ("weight", 1.0, TypeError, r"weight: must be an array"),
    ("weight", ones(3, dtype=np.float64), TypeError, r"weight: dtype float64 does not match"),
    ("bias", ones(2), ValueError, r"bias: shape \(2,\) must be \(3,"),
    ("bias", ones(3, dtype=np.float64), TypeError, r"bias: dtype float64 does not match"),
    ("eps", -1e-5, ValueError, r"eps=-1e-05: must be at least 0"),
    ("eps", NAN, ValueError, r"eps=nan: must be finite"),
    ("eps", "1e-5", TypeError, r"eps='1e-5': must be a number"),
    ("eps", None, TypeError, r"eps=None: must be a number"),
    ("training", 1, TypeError, r"training=1: must be True or False"),
    ("training", None, TypeError, r"training=None: must be True or False"),
    ("training", False, ValueError, r"running_mean=None: must be given when training=False"),
    ("running_mean", ones(3), ValueError, r"running_mean, running_var: must both be given or both be None"),
    ("running_var", ones(3), ValueError, r"running_mean, running_var: must both be given or both be None"),
    ("momentum", INF, ValueError, r"momentum=inf: must be finite"),
    ("momentum", None, TypeError, r"momentum=None: must be a number"),
    ("normalized_shape", 3, ValueError, r"normalized_shape=3: must end the input's shape \(2, 3, 4\)"),
    ("normalized_shape", (2, 3), ValueError, r"normalized_shape=\(2, 3\): must end"),
    ("normalized_shape", (5, 2, 3, 4), ValueError, r"normalized_shape=\(5, 2, 3, 4\): must end"),
    ("normalized_shape", (), ValueError, r"normalized_shape=\(\): must end"),
    ("normalized_shape", (0,), ValueError, r"normalized_shape=0: must be at least 1"),
    ("normalized_shape", 4.0, TypeError, r"normalized_shape=4\.0: must be an integer"),
    ("normalized_shape", "4", TypeError, r"normalized_shape='4': must be an integer"),
    ("normalized_shape", None, TypeError, r"normalized_shape=None: must be an integer"),
    ("size", 0, ValueError, r"size=0: must be at least 1"),
    ("size", -3, ValueError, r"size=-3: must be at least 1"),
    ("size", 2.0, TypeError, r"size=2\.0: must be an integer"),
    ("size", True, TypeError, r"size=True: must be an integer"),
    ("size", 2**63, ValueError, r"size=9223372036854775808: must be at most"),
    ("alpha", NAN, ValueError, r"alpha=nan: must be finite"),
    ("beta", INF, ValueError, r"beta=inf: must be finite"),
    ("beta", [1.0], TypeError, r"beta=\[1\.0\]: must be a number"),
    ("k", None, TypeError, r"k=None: must be a number"),
]

#: call, what to change, error, start of the message
PARTICULAR: list[tuple[str, dict[str, Any], type, str]] = [
    ("batch_norm", {"input": ones(3)}, ValueError, r"input: shape \(3,\) must have 2 to 5 axes"),
    ("batch_norm", {"input": ones(1, 3, 1, 1, 1, 1)}, ValueError, r"input: shape .* must have 2 to 5 axes"),
    ("batch_norm", {"input": ones(2, 3, 0)}, ValueError, r"input: shape \(2, 3, 0\) has an empty axis"),
    ("batch_norm", {"input": ones(2, 0)}, ValueError, r"input: shape \(2, 0\) has an empty axis"),
    ("batch_norm", {"input": ones(1, 3)}, ValueError, r"input: shape \(1, 3\) has one value per channel"),
    ("batch_norm", {"eps": 0}, ValueError, r"eps=0: must be above 0 when training=True"),
    ("local_response_norm", {"input": ones(2, 3)}, ValueError, r"input: shape .* must have at least 3 axes"),
    ("local_response_norm", {"input": ones(2, 0, 3)}, ValueError, r"input: shape .* has an empty axis"),
    ("layer_norm", {"input": np.ones((), np.float32)}, ValueError, r"normalized_shape=\(3, 4\): must end"),
    ("layer_norm", {"input": ones(2, 0, 4)}, ValueError, r"normalized_shape=\(3, 4\): must end"),
]  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_are_right(name: str) -> None:
    """Otherwise the refusals below would prove nothing."""
    function, arguments = CALLS[name]
    function(**arguments)


@pytest.mark.parametrize(
    ("name", "argument", "value", "error", "message"),
    [(name, *row) for row in EVERYWHERE for name, (_, arguments) in CALLS.items() if row[0] in arguments],
)
def test_refuses(name: str, argument: str, value: Any, error: type, message: str) -> None:
    """Forward and gradient alike."""
    function, arguments = CALLS[name]
    with pytest.raises(error, match=f"^{message}"):
        function(**{**arguments, argument: value})


@pytest.mark.parametrize(("name", "change", "error", "message"), PARTICULAR)
def test_refuses_what_only_one_call_forbids(name: str, change: dict, error: type, message: str) -> None:
    function, arguments = CALLS[name]
    with pytest.raises(error, match=f"^{message}"):
        function(**{**arguments, **change})
    function, arguments = CALLS[f"{name} gradient"]
    if "input" in change:
        change = {**change, "grad_output": change["input"]}
    with pytest.raises(error, match=f"^{message}"):
        function(**{**arguments, **change})


SHARED = ones(3)


@pytest.mark.parametrize("wrong", ["running_mean", "running_var"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([0.0, 0.0, 0.0], TypeError, r"must be a NumPy array, not list"),
        (np.ma.masked_array(ones(3)), TypeError, r"is a masked array"),
        (ones(3, dtype=np.float64), TypeError, r"dtype float64 does not match"),
        (ones(4), ValueError, r"shape \(4,\) must be \(3,\)"),
        (read_only(ones(3)), ValueError, r"must be writable"),
        (np.broadcast_to(ones(1), (3,)), ValueError, r"must be writable"),
        (
            np.lib.stride_tricks.as_strided(ones(1), (3,), (0,)),
            ValueError,
            r"strides \(0,\) let elements share",
        ),
        (SHARED, ValueError, r"overlaps weight in memory"),
    ],
)
def test_running_statistics_that_cannot_be_updated(wrong: str, value: Any, error: type, message: str) -> None:
    """Training writes to them: refused before anything is computed, and the other array is as before."""
    right = np.zeros(3, np.float32)
    names = {"running_mean": right, "running_var": right, wrong: value}
    with pytest.raises(error, match=f"^{wrong}: {message}"):
        fastconv.batch_norm(ones(2, 3, 4), **names, weight=SHARED, training=True)
    np.testing.assert_array_equal(right, 0)
    np.testing.assert_array_equal(SHARED, 1)


def test_running_statistics_must_be_two_arrays() -> None:
    """One array for both would be updated twice; a part of the input would change it."""
    both = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match=r"^running_mean: overlaps running_var in memory"):
        fastconv.batch_norm(ones(2, 3, 4), both, both, training=True)
    x = ones(2, 3, 4)
    with pytest.raises(ValueError, match=r"^running_var: overlaps input in memory"):
        fastconv.batch_norm(x, both, x[0, :, 0], training=True)
    np.testing.assert_array_equal(x, 1)


def test_evaluation_takes_read_only_statistics_and_checks_them() -> None:
    """They are only read there."""
    x, statistics = ones(2, 3, 4), read_only(ones(3))
    fastconv.batch_norm(x, statistics, statistics)
    grad.batch_norm(x, x, statistics, statistics, training=False)
    for call in (
        lambda m, v: fastconv.batch_norm(x, m, v),
        lambda m, v: grad.batch_norm(x, x, m, v, training=False),
    ):
        with pytest.raises(ValueError, match=r"^running_mean: shape \(2,\) must be \(3,\)"):
            call(ones(2), statistics)
        with pytest.raises(TypeError, match=r"^running_var: dtype float64 does not match"):
            call(statistics, ones(3, dtype=np.float64))
