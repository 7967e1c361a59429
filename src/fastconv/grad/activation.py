"""Gradients of the activations: grad_output times the slope at every input value.

`<name>_input(input, grad_output, ...)` takes the input of `fastconv.functional.<name>`, grad_output of the
same shape and dtype, and the same parameters; it returns grad_input, in the memory order of the input.
Softmax and log_softmax take their output instead.

Conventions, as torch's. At a kink the slope is that of the flat side, if there is one (0 at x = 0 for relu,
at either end for hardtanh), else that of the negative side (for hardswish at 3: 1). Where a piecewise linear
function is flat the gradient is 0 even if grad_output is infinite or NaN. At x = NaN a piecewise function
takes the branch that its comparisons lead to, where the gradient may be finite; a smooth one gives NaN.

Deliberate differences: at x = NaN hardtanh, relu6, softshrink and hardshrink always pass grad_output on (some
of torch's loops do not); the slope of hardsigmoid is 1/6 to the last bit; at infinity, and where torch's
slope of a large finite x is NaN (gelu "tanh", softplus), a slope is its limit here.

All raise `TypeError` or `ValueError` naming the argument, its value and the rule it breaks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastconv.functional.elementwise import (
    SELU_ALPHA,
    SELU_SCALE,
    along_axis,
    check_approximate,
    check_bounds,
    check_operands,
    image_slices,
    pointwise,
    prelu_slopes,
)
from fastconv.geometry import as_array, axis_number, real_number

# ---- piecewise linear --------------------------------------------------------------------------------


def relu_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `relu` with respect to its input: grad_output where x > 0, else 0.

    Parameters
    ----------
    input : array, any shape, float32 or float64
    grad_output : array, same shape and dtype

    Returns
    -------
    ndarray of the same shape and dtype

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.relu_input(np.array([-1.0, 0.0, 2.0]), np.array([5.0, 6.0, 7.0]))
    array([0., 0., 7.])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("relu", x, grad=grad)


def relu6_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `relu6`: grad_output where 0 < x < 6, else 0; see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.relu6_input(np.array([-1.0, 2.0, 8.0]), np.ones(3))
    array([0., 1., 0.])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("relu6", x, grad=grad)


def hardtanh_input(input: Any, grad_output: Any, min_val: float = -1.0, max_val: float = 1.0) -> np.ndarray:
    """Gradient of `hardtanh`: grad_output where min_val < x < max_val, else 0; see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.hardtanh_input(np.array([-1.0, 0.0, 1.0]), np.ones(3))
    array([0., 1., 0.])
    """
    x, grad = check_operands(input, grad_output)
    low, high = check_bounds(min_val, max_val)
    return pointwise("hardtanh", x, low, high, grad=grad)


def leaky_relu_input(input: Any, grad_output: Any, negative_slope: float = 0.01) -> np.ndarray:
    """Gradient of `leaky_relu`: grad_output * (1 if x > 0 else negative_slope); see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.leaky_relu_input(np.array([-1.0, 2.0]), np.ones(2), 0.5)
    array([0.5, 1. ])
    """
    x, grad = check_operands(input, grad_output)
    slope = real_number("negative_slope", negative_slope)
    return pointwise("leaky_relu", x, slope, grad=grad)


def prelu_input(input: Any, grad_output: Any, weight: Any) -> np.ndarray:
    """Gradient of `prelu` by its input: grad_output * (1 if x > 0 else weight); see `relu_input`.

    Parameters
    ----------
    input : array, (N, C, ...) if there is a slope per channel, else any shape
    grad_output : array, same shape and dtype
    weight : array, shape (C,), (1,) or (), same dtype

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.prelu_input(np.array([[-1.0, 1.0]]), np.ones((1, 2)), np.array([0.5, 0.25]))
    array([[0.5, 1. ]])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("prelu", x, grad=grad, slopes=prelu_slopes(x, weight))


def prelu_weight(input: Any, weight: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `prelu` by its weight: grad_output * x, summed over the x <= 0 that share a slope.

    Parameters
    ----------
    input : array, (N, C, ...) if there is a slope per channel, else any shape
    weight : array, shape (C,), (1,) or (), same dtype
    grad_output : array, shape of the input, same dtype

    Returns
    -------
    ndarray, shape of the weight
        Summed in double precision.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.prelu_weight(np.array([[-1.0], [3.0]]), np.array([0.5]), np.ones((2, 1)))
    array([-1.])
    """
    x, grad = check_operands(input, grad_output)
    prelu_slopes(x, weight)
    weight = as_array("weight", weight)
    x, grad = np.atleast_2d(x), np.atleast_2d(grad)
    axes = None if weight.size == 1 else (0, *range(2, x.ndim))
    total = np.zeros(weight.size)
    with np.errstate(all="ignore"):
        for images in image_slices(x.shape):
            products = pointwise("prelu_slope", x[images], grad=grad[images])
            total += products.sum(axis=axes, dtype=np.float64)
        out: np.ndarray = total.astype(weight.dtype).reshape(weight.shape)
    return out


def threshold_input(input: Any, grad_output: Any, threshold: float, value: float = 0.0) -> np.ndarray:
    """Gradient of `threshold`: grad_output where x > threshold, else 0, whatever `value`; see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.threshold_input(np.array([0.5, 1.5]), np.ones(2), 1.0, -7.0)
    array([0., 1.])
    """
    x, grad = check_operands(input, grad_output)
    bound = real_number("threshold", threshold, finite=False)
    real_number("value", value, finite=False)
    return pointwise("threshold", x, bound, grad=grad)


def hardsigmoid_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `hardsigmoid`: grad_output / 6 where -3 < x < 3, else (at NaN too) 0; see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.hardsigmoid_input(np.array([-3.0, 0.0, 3.0]), np.full(3, 6.0))
    array([0., 1., 0.])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("hardsigmoid", x, grad=grad)


def hardswish_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `hardswish`: grad_output * (0 if x <= -3, x / 3 + 1/2 if x < 3, else 1); see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.hardswish_input(np.array([-3.0, 0.0, 3.0]), np.ones(3))
    array([0. , 0.5, 1. ])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("hardswish", x, grad=grad)


def softshrink_input(input: Any, grad_output: Any, lambd: float = 0.5) -> np.ndarray:
    """Gradient of `softshrink`: grad_output where |x| > lambd, else 0; see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.softshrink_input(np.array([-2.0, 0.5, 2.0]), np.ones(3))
    array([1., 0., 1.])
    """
    real_number("lambd", lambd, at_least=0)
    return hardshrink_input(input, grad_output, lambd)


def hardshrink_input(input: Any, grad_output: Any, lambd: float = 0.5) -> np.ndarray:
    """Gradient of `hardshrink`: grad_output where |x| > lambd, else 0; see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.hardshrink_input(np.array([-2.0, 0.5, 2.0]), np.ones(3))
    array([1., 0., 1.])
    """
    x, grad = check_operands(input, grad_output)
    bound = real_number("lambd", lambd)
    return pointwise("hardshrink", x, bound, grad=grad)


# ---- sigmoids ----------------------------------------------------------------------------------------


def sigmoid_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `sigmoid`: grad_output * s (1 - s) with s = sigmoid(x); see `relu_input`.

    Computed as e / (1 + e)^2 with e = exp(-|x|), so that it vanishes gradually at both ends.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.sigmoid_input(np.array([0.0]), np.ones(1))
    array([0.25])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("sigmoid", x, grad=grad)


def tanh_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `tanh`: grad_output * (1 - tanh(x)^2), computed as 4 s'(2x), see `sigmoid_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.tanh_input(np.array([0.0]), np.ones(1))
    array([1.])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("tanh", x, grad=grad)


def logsigmoid_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `logsigmoid`: grad_output * sigmoid(-x); see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.logsigmoid_input(np.array([-1000.0, 0.0]), np.ones(2))
    array([1. , 0.5])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("logsigmoid", x, grad=grad)


def softsign_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `softsign`: grad_output / (1 + |x|)^2; see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.softsign_input(np.array([-1.0]), np.ones(1))
    array([0.25])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("softsign", x, grad=grad)


def tanhshrink_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `tanhshrink`: grad_output * tanh(x)^2; see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.tanhshrink_input(np.array([0.0, 1000.0]), np.ones(2))
    array([0., 1.])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("tanhshrink", x, grad=grad)


# ---- smooth rectifiers -------------------------------------------------------------------------------


def softplus_input(
    input: Any, grad_output: Any, beta: float = 1.0, threshold: float = math.inf
) -> np.ndarray:
    """Gradient of `softplus`: grad_output * (1 if beta x > threshold else sigmoid(beta x)); see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.softplus_input(np.array([0.0, 1000.0]), np.ones(2))
    array([0.5, 1. ])
    """
    x, grad = check_operands(input, grad_output)
    beta = real_number("beta", beta, nonzero=True)
    bound = real_number("threshold", threshold, finite=False)
    return pointwise("softplus", x, beta, bound, grad=grad)


def elu_input(input: Any, grad_output: Any, alpha: float = 1.0) -> np.ndarray:
    """Gradient of `elu`: grad_output * (1 if x > 0 else alpha * exp(x)); see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.elu_input(np.array([0.0, 2.0]), np.ones(2), 0.5)
    array([0.5, 1. ])
    """
    x, grad = check_operands(input, grad_output)
    alpha = real_number("alpha", alpha)
    return pointwise("elu", x, 1.0, alpha, 1.0, grad=grad)


def selu_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `selu`: grad_output * 1.0507 * (1 if x > 0 else 1.6733 * exp(x)); see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.selu_input(np.array([0.0, 2.0]), np.ones(2)).round(4)
    array([1.7581, 1.0507])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("elu", x, SELU_SCALE, SELU_ALPHA * SELU_SCALE, 1.0, grad=grad)


def celu_input(input: Any, grad_output: Any, alpha: float = 1.0) -> np.ndarray:
    """Gradient of `celu`: grad_output * (1 if x > 0 else exp(x / alpha)); see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.celu_input(np.array([-1000.0, 0.0]), np.ones(2), 0.5)
    array([0., 1.])
    """
    x, grad = check_operands(input, grad_output)
    alpha = real_number("alpha", alpha, nonzero=True)
    return pointwise("elu", x, 1.0, 1.0, alpha, grad=grad)


def silu_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `silu`: grad_output * (s + x s (1 - s)) with s = sigmoid(x); see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.silu_input(np.array([0.0, 1000.0]), np.ones(2))
    array([0.5, 1. ])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("silu", x, grad=grad)


def mish_input(input: Any, grad_output: Any) -> np.ndarray:
    """Gradient of `mish`: grad_output * (t + x s (1 - t^2)), t = tanh(softplus(x)), s = sigmoid(x).

    See `relu_input` for the arguments.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.mish_input(np.array([0.0, 1000.0]), np.ones(2))
    array([0.6, 1. ])
    """
    x, grad = check_operands(input, grad_output)
    return pointwise("mish", x, grad=grad)


def gelu_input(input: Any, grad_output: Any, approximate: str = "none") -> np.ndarray:
    """Gradient of `gelu`: grad_output * (Phi(x) + x Phi'(x)), Phi in the same form; see `relu_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.gelu_input(np.array([0.0, 1000.0]), np.ones(2))
    array([0.5, 1. ])
    """
    x, grad = check_operands(input, grad_output)
    check_approximate(approximate)
    return pointwise("gelu" if approximate == "none" else "gelu_tanh", x, grad=grad)


# ---- along an axis -----------------------------------------------------------------------------------


def softmax_input(output: Any, grad_output: Any, dim: int = -1) -> np.ndarray:
    """Gradient of `softmax` with respect to its input: output * (grad_output - sum of grad_output * output).

    Parameters
    ----------
    output : array, any shape, float32 or float64
        What `softmax` returned.
    grad_output : array, same shape and dtype
    dim : int
        The axis given to `softmax`; the sum runs along it.

    Returns
    -------
    ndarray of the same shape and dtype

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.softmax_input(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    array([ 0.25, -0.25])
    """
    y, grad = check_operands(output, grad_output, "output")
    return along_axis(False, y, axis_number("dim", dim, y.ndim), grad)


def log_softmax_input(output: Any, grad_output: Any, dim: int = -1) -> np.ndarray:
    """Gradient of `log_softmax`: grad_output - exp(output) * sum of grad_output; see `softmax_input`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.log_softmax_input(np.log([0.5, 0.5]), np.array([1.0, 0.0]))
    array([ 0.5, -0.5])
    """
    y, grad = check_operands(output, grad_output, "output")
    return along_axis(True, y, axis_number("dim", dim, y.ndim), grad)
