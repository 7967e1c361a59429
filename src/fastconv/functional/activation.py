"""Activations: functions of one value at a time, and softmax, which looks along one axis.

Names, defaults and meaning follow `torch.nn.functional`; so does NaN. Deliberate differences: a function's
value at an infinity is its limit, where torch's may be NaN (silu, mish, gelu, hardswish, softsign); none
overflows on the way to a finite result; softplus is exact unless a threshold is asked for; parameters must be
finite where an infinite one has no meaning; `dim` is -1 by default. All functions take

    input : array of any shape (for softmax: with the axis `dim`), float32 or float64, any strides

and return a new array of its shape, dtype and, softmax apart, memory order. NaN in gives NaN out. They raise
`TypeError` or `ValueError` naming the argument, its value and the rule it breaks before anything is computed.

Exponentials are computed a vector at a time (csrc/tile/exponential.h says how). A result is within 8 units in
its last place of the exact one, small results included, in float32 and float64, on every instruction set.
Exceptions are those whose exponent is itself rounded, the tanh form of gelu, and celu and softplus with a
parameter that is no power of two: there it is within 8 units in the last place of the larger of input and
result. An element's bits depend on no other element.
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
    pointwise,
    prelu_slopes,
)
from fastconv.geometry import as_array, axis_number, real_number

# ---- piecewise linear --------------------------------------------------------------------------------


def relu(input: Any) -> np.ndarray:
    """Rectified linear unit: max(x, 0).

    Parameters
    ----------
    input : array, any shape, float32 or float64

    Returns
    -------
    ndarray of the same shape and dtype

    Raises
    ------
    TypeError
        Not an array of float32 or float64.

    Notes
    -----
    Nair & Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return pointwise("relu", as_array("input", input))


def relu6(input: Any) -> np.ndarray:
    """min(max(x, 0), 6); everything else as `relu`.

    Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    return pointwise("relu6", as_array("input", input))


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> np.ndarray:
    """min(max(x, min_val), max_val), where `min_val` is at most `max_val`; everything else as `relu`.

    Collobert, "Large scale machine learning", thesis, Paris VI, 2004.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.hardtanh(np.array([-3.0, 0.5, 3.0]))
    array([-1. ,  0.5,  1. ])
    """
    low, high = check_bounds(min_val, max_val)
    return pointwise("hardtanh", as_array("input", input), low, high)


def leaky_relu(input: Any, negative_slope: float = 0.01) -> np.ndarray:
    """x if x > 0, else negative_slope * x; everything else as `relu`.

    Maas, Hannun & Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.leaky_relu(np.array([-1.0, 2.0]), 0.5)
    array([-0.5,  2. ])
    """
    slope = real_number("negative_slope", negative_slope)
    x = as_array("input", input)
    return (
        pointwise("leaky_relu", x, slope) if slope else pointwise("relu", x)
    )  # 0 * infinity is not the limit


def prelu(input: Any, weight: Any) -> np.ndarray:
    """x if x > 0, else weight * x: a leaky_relu whose slopes are learned.

    Parameters
    ----------
    input : array, (N, C, ...) if there is a slope per channel, else any shape
    weight : array, shape (C,), or (1,) or () for one slope in all, same dtype

    Notes
    -----
    He et al., "Delving deep into rectifiers", arXiv:1502.01852. Everything else as `relu`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.prelu(np.array([[-1.0, -1.0]]), np.array([0.5, 0.25]))
    array([[-0.5 , -0.25]])
    """
    x = as_array("input", input)
    return pointwise("prelu", x, slopes=prelu_slopes(x, weight))


def threshold(input: Any, threshold: float, value: float) -> np.ndarray:
    """x if x > threshold, else value; everything else as `relu`.

    `torch.nn.functional.threshold`; with 0 and 0 it is `relu`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.threshold(np.array([0.5, 1.5]), 1.0, -7.0)
    array([-7. ,  1.5])
    """
    bound = real_number("threshold", threshold, finite=False)
    below = real_number("value", value, finite=False)
    return pointwise("threshold", as_array("input", input), bound, below)


def hardsigmoid(input: Any) -> np.ndarray:
    """min(max(x + 3, 0), 6) / 6; everything else as `relu`.

    Howard et al., "Searching for MobileNetV3", arXiv:1905.02244.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.hardsigmoid(np.array([-4.0, 0.0, 4.0]))
    array([0. , 0.5, 1. ])
    """
    return pointwise("hardsigmoid", as_array("input", input))


def hardswish(input: Any) -> np.ndarray:
    """x * hardsigmoid(x); everything else as `relu`.

    Howard et al., "Searching for MobileNetV3", arXiv:1905.02244.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.hardswish(np.array([-4.0, 1.5, 4.0]))
    array([-0.   ,  1.125,  4.   ])
    """
    return pointwise("hardswish", as_array("input", input))


def softshrink(input: Any, lambd: float = 0.5) -> np.ndarray:
    """x moved towards zero by `lambd` >= 0, and no further than to it; everything else as `relu`.

    Soft thresholding: Donoho & Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.softshrink(np.array([-2.0, 0.25, 2.0]))
    array([-1.5,  0. ,  1.5])
    """
    bound = real_number("lambd", lambd, at_least=0)
    return pointwise("softshrink", as_array("input", input), bound)


def hardshrink(input: Any, lambd: float = 0.5) -> np.ndarray:
    """0 if |x| <= lambd, else x; everything else as `relu`.

    Hard thresholding: Donoho & Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.hardshrink(np.array([-2.0, 0.25, 2.0]))
    array([-2.,  0.,  2.])
    """
    bound = real_number("lambd", lambd)
    return pointwise("hardshrink", as_array("input", input), bound)


# ---- sigmoids ----------------------------------------------------------------------------------------


def sigmoid(input: Any) -> np.ndarray:
    """1 / (1 + exp(-x)); everything else as `relu`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return pointwise("sigmoid", as_array("input", input))


def tanh(input: Any) -> np.ndarray:
    """Hyperbolic tangent; everything else as `relu`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.tanh(np.array([-1000.0, 0.0, 1000.0]))
    array([-1.,  0.,  1.])
    """
    return pointwise("tanh", as_array("input", input))


def logsigmoid(input: Any) -> np.ndarray:
    """log(sigmoid(x)), computed as min(x, 0) - log(1 + exp(-|x|)); everything else as `relu`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.logsigmoid(np.array([-1000.0, 1000.0])).tolist()
    [-1000.0, 0.0]
    """
    return pointwise("logsigmoid", as_array("input", input))


def softsign(input: Any) -> np.ndarray:
    """x / (1 + |x|); everything else as `relu`.

    Turian, Bergstra & Bengio, "Quadratic features and deep architectures for chunking", NAACL 2009.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.softsign(np.array([-1.0, 3.0]))
    array([-0.5 ,  0.75])
    """
    return pointwise("softsign", as_array("input", input))


def tanhshrink(input: Any) -> np.ndarray:
    """x - tanh(x), as `torch.nn.functional.tanhshrink`; everything else as `relu`.

    Near 0, where the two cancel, it is computed by a polynomial: tanhshrink(x) is x^3 / 3 there.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.tanhshrink(np.array([0.0, 1000.0]))
    array([  0., 999.])
    """
    return pointwise("tanhshrink", as_array("input", input))


# ---- smooth rectifiers -------------------------------------------------------------------------------


def softplus(input: Any, beta: float = 1.0, threshold: float = math.inf) -> np.ndarray:
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold; everything else as `relu`.

    `beta` is not zero. log(1 + exp(z)) is computed as max(z, 0) + log(1 + exp(-|z|)), which never overflows
    and needs no threshold: by default there is none. torch has one of 20, where x is 2e-9 short of the value.
    Dugas et al., "Incorporating second-order functional knowledge for better option pricing", NIPS 2000.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.softplus(np.array([-1000.0, 0.0])).round(4)
    array([0.    , 0.6931])
    """
    beta = real_number("beta", beta, nonzero=True)
    bound = real_number("threshold", threshold, finite=False)
    return pointwise("softplus", as_array("input", input), beta, bound)


def elu(input: Any, alpha: float = 1.0) -> np.ndarray:
    """x if x > 0, else alpha * (exp(x) - 1); everything else as `relu`.

    Clevert, Unterthiner & Hochreiter, "Fast and accurate deep network learning by exponential linear units",
    arXiv:1511.07289.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.elu(np.array([-1000.0, 2.0]))
    array([-1.,  2.])
    """
    alpha = real_number("alpha", alpha)
    return pointwise("elu", as_array("input", input), 1.0, alpha, 1.0)


def selu(input: Any) -> np.ndarray:
    """1.0507 * elu(x, 1.6733): keeps mean 0 and variance 1 from layer to layer; everything else as `relu`.

    Klambauer et al., "Self-normalizing neural networks", arXiv:1706.02515.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.selu(np.array([-1000.0, 1.0])).round(4)
    array([-1.7581,  1.0507])
    """
    return pointwise("elu", as_array("input", input), SELU_SCALE, SELU_SCALE * SELU_ALPHA, 1.0)


def celu(input: Any, alpha: float = 1.0) -> np.ndarray:
    """x if x > 0, else alpha * (exp(x / alpha) - 1), with `alpha` not zero; everything else as `relu`.

    Barron, "Continuously differentiable exponential linear units", arXiv:1704.07483.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.celu(np.array([-1000.0, 2.0]), 0.5)
    array([-0.5,  2. ])
    """
    alpha = real_number("alpha", alpha, nonzero=True)
    return pointwise("elu", as_array("input", input), 1.0, alpha, alpha)


def silu(input: Any) -> np.ndarray:
    """x * sigmoid(x), also called swish; everything else as `relu`.

    Elfwing, Uchibe & Doya, "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning", arXiv:1702.03118.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.silu(np.array([0.0, 1000.0]))
    array([   0., 1000.])
    """
    return pointwise("silu", as_array("input", input))


def mish(input: Any) -> np.ndarray:
    """x * tanh(softplus(x)); everything else as `relu`.

    Misra, "Mish: a self regularized non-monotonic activation function", arXiv:1908.08681.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.mish(np.array([0.0, 1000.0]))
    array([   0., 1000.])
    """
    return pointwise("mish", as_array("input", input))


def gelu(input: Any, approximate: str = "none") -> np.ndarray:
    """x * Phi(x), with Phi the standard normal distribution function.

    Parameters
    ----------
    input : array, any shape, float32 or float64
    approximate : {"none", "tanh"}
        "none" computes Phi from the error function; "tanh" takes
        0.5 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) for it.

    Notes
    -----
    Hendrycks & Gimpel, "Gaussian error linear units", arXiv:1606.08415. Everything else as `relu`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.gelu(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    check_approximate(approximate)
    return pointwise("gelu" if approximate == "none" else "gelu_tanh", as_array("input", input))


# ---- along an axis -----------------------------------------------------------------------------------


def softmax(input: Any, dim: int = -1) -> np.ndarray:
    """exp(x) / sum of exp(x) along an axis: votes as probabilities.

    Parameters
    ----------
    input : array, any shape, float32 or float64
    dim : int
        The axis whose values add up to 1.

    Returns
    -------
    ndarray of the same shape and dtype, channels-last in memory if the input is, else C-contiguous

    Raises
    ------
    TypeError, ValueError
        Not an array of float32 or float64; no such axis.

    Notes
    -----
    The maximum is subtracted first, so that nothing overflows: Blanchard, Higham & Higham, "Accurately
    computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 2021. A slice that holds NaN or
    +infinity becomes NaN. Sums are in double precision.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    x = as_array("input", input)
    return along_axis(False, x, axis_number("dim", dim, x.ndim))


def log_softmax(input: Any, dim: int = -1) -> np.ndarray:
    """log(softmax(x)) along an axis, without taking the logarithm of an underflown zero; else as `softmax`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.log_softmax(np.array([0.0, 1000.0])).tolist()
    [-1000.0, 0.0]
    """
    x = as_array("input", input)
    return along_axis(True, x, axis_number("dim", dim, x.ndim))
