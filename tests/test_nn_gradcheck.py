"""gradcheck: it fails wrong gradients, passes right ones, and tells kinks from mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from nn_cases import rng, small_net

from fastconv import nn


def function(value, slope):
    """An elementwise function in the form that gradcheck takes."""
    return lambda x: (value(x), lambda grad: grad * slope(x))


def smooth(x: np.ndarray) -> np.ndarray:
    return np.sin(3 * x) + x**3


def smooth_slope(x: np.ndarray) -> np.ndarray:
    return 3 * np.cos(3 * x) + 3 * x**2


def test_a_right_gradient_passes() -> None:
    report = nn.gradcheck(function(smooth, smooth_slope), rng().standard_normal((3, 4)))
    assert report.passed
    assert report
    assert report.checked == 12
    assert not report.kinks
    assert report.worst < 1e-8
    assert "passed" in str(report)


@pytest.mark.parametrize("mistake", [1e-4, -1e-3, 1.0])
def test_a_small_mistake_in_one_place_is_found(mistake: float) -> None:
    """One number off by a ten-thousandth of the largest slope, and the report says where."""
    x = rng().standard_normal((3, 4))

    def wrong(x: np.ndarray) -> np.ndarray:
        slopes = smooth_slope(x)
        slopes[1, 2] += mistake * abs(slopes).max()
        return slopes

    report = nn.gradcheck(function(smooth, wrong), x)
    assert not report
    assert report.place == "input[1, 2]"
    assert abs(report.backprop - report.numeric) > 0
    assert "FAILED" in str(report)
    assert "input[1, 2]" in str(report)


def test_mistakes_in_parameters_are_found() -> None:
    """A bias whose gradient is too large by half."""

    class Wrong(nn.Linear):
        def vjp(self, input: np.ndarray):
            output, backprop = super().vjp(input)

            def worse(grad_output: np.ndarray) -> np.ndarray:
                assert self.bias is not None
                self.bias.add_grad(0.5 * grad_output.sum(axis=0))
                return backprop(grad_output)

            return output, worse

    net = nn.Sequential(nn.Tanh(), Wrong(3, 2, rng=0))
    report = nn.gradcheck(net, rng().standard_normal((4, 3)))
    assert not report
    assert report.place.startswith("1.bias[")


def test_kinks_are_reported_not_failed() -> None:
    """ReLU at 0: no derivative there, so it is left out; both slopes are told."""
    x = np.array([-1.0, 0.0, 2.0])
    report = nn.gradcheck(nn.ReLU(), x)
    assert report
    assert [kink.place for kink in report.kinks] == ["input[1]"]
    (kink,) = report.kinks
    assert kink.below == 0
    assert abs(kink.above) > 0.01
    assert kink.backprop == 0
    assert "1 of them kinks" in str(report)


def test_pool_ties_are_kinks() -> None:
    """Two equal maxima under one window: raising either counts, lowering it does not."""
    x = np.array([[[1.0, 1.0, 0.0, 5.0]]])
    report = nn.gradcheck(nn.MaxPool1d(2), x)
    assert report
    assert [kink.place for kink in report.kinks] == ["input[0, 0, 0]", "input[0, 0, 1]"]


def test_a_picture_full_of_ties() -> None:
    """The deck's pictures of +1 and -1 tie under many windows; the check still passes on what is smooth."""
    x = np.where(np.eye(9) + np.eye(9)[::-1] > 0, 1.0, -1.0)[None, None]
    report = nn.gradcheck(small_net(), np.concatenate([x, rng().standard_normal((1, 1, 9, 9))]))
    assert report, str(report)
    assert report.kinks


def test_a_kink_next_to_the_place_is_no_kink() -> None:
    """A bend 3e-6 away is stepped around with smaller steps, and compared."""
    x = np.array([3e-6, -3e-6, 1.0])
    report = nn.gradcheck(nn.ReLU(), x)
    assert report
    assert not report.kinks


def test_a_wrong_gradient_is_not_excused_by_kinks() -> None:
    """Kinks are found by looking at the function alone: wrong on the smooth side is wrong."""
    wrong = function(lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, 1.1, 0.0))
    assert not nn.gradcheck(wrong, np.array([0.0, 1.0]))


def test_nothing_but_kinks_does_not_pass() -> None:
    report = nn.gradcheck(nn.ReLU(), np.zeros(3))
    assert not report
    assert "all 3 places are kinks" in str(report)


def test_steep_curves_are_not_taken_for_kinks() -> None:
    """A function with large higher derivatives needs a smaller step, nothing else."""
    steep = function(lambda x: np.exp(30 * x), lambda x: 30 * np.exp(30 * x))
    report = nn.gradcheck(steep, np.array([0.1, 0.3, 0.5]))
    assert report, str(report)
    assert not report.kinks


def test_a_constant_function_passes() -> None:
    assert nn.gradcheck(function(np.ones_like, np.zeros_like), np.zeros(4))


def test_the_net_is_not_touched() -> None:
    """A float32 net is checked in float64, on a copy: parameters, gradients, statistics, generators stay."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, rng=0),
        nn.BatchNorm2d(2),
        nn.Dropout(0.3, rng=4),
        nn.Flatten(),
        nn.Linear(18, 2, rng=1),
    )
    net.parameters()[0].grad += 1
    before, grads = net.state_dict(), [p.grad.copy() for p in net.parameters()]
    draws = net[2].rng.bit_generator.state
    x = rng().standard_normal((3, 1, 5, 5)).astype(np.float32)
    report = nn.gradcheck(net, x)
    assert report, str(report)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    for parameter, grad in zip(net.parameters(), grads):
        np.testing.assert_array_equal(parameter.grad, grad)
    assert net[2].rng.bit_generator.state == draws


def test_large_arrays_are_sampled_from_the_seed() -> None:
    x = rng().standard_normal((40, 40))
    seen: list[set[int]] = []
    for seed in (0, 0, 1):
        moved: set[int] = set()

        def watch(z: np.ndarray, moved: set[int] = moved):
            moved.update(np.flatnonzero(z.ravel() != x.ravel()).tolist())
            return np.tanh(z), lambda grad: grad / np.cosh(x) ** 2

        report = nn.gradcheck(watch, x, limit=25, rng=seed)
        assert report
        assert report.checked == 25 == len(moved)
        seen.append(moved)
    assert seen[0] == seen[1] != seen[2]


def test_scalar_functions() -> None:
    """A loss: the output is a number, the gradient it gets back is a number."""

    def square(x: np.ndarray):
        return float((x**2).sum()), lambda grad: 2 * grad * x

    assert nn.gradcheck(square, rng().standard_normal(5))


def bad_shape(x: np.ndarray):
    return x, lambda grad: grad[:1]


def not_finite(x: np.ndarray):
    return x * np.nan, lambda grad: grad


def make_random():
    draw = rng()
    return lambda x: (x + draw.random(), lambda grad: grad)


@pytest.mark.parametrize(
    ("net", "x", "options", "error", "message"),
    [
        (3, np.ones(2), {}, TypeError, "net: must be a layer or a function, not int"),
        (nn.ReLU(), [1.0], {}, TypeError, "x: must be an array"),
        (nn.ReLU(), np.ones(2), {"tolerance": 0}, ValueError, "tolerance=0: must be above 0"),
        (nn.ReLU(), np.ones(2), {"limit": 0}, ValueError, "limit=0"),
        (nn.ReLU(), np.ones(2), {"rng": "x"}, TypeError, "rng='x'"),
        (
            bad_shape,
            np.ones(2),
            {},
            ValueError,
            r"backprop returns shape \(1,\) for an input of shape \(2,\)",
        ),
        (not_finite, np.ones(2), {}, ValueError, "NaN or infinity"),
        (make_random(), np.ones(2), {}, ValueError, "two different outputs"),
        (nn.Linear(3, 2), np.ones((2, 4)), {}, ValueError, "features"),
    ],
)
def test_bad_input(net, x, options, error, message) -> None:
    with pytest.raises(error, match=message):
        nn.gradcheck(net, x, **options)
