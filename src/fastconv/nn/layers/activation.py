"""Layers that bend every value: the activations, and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastconv import functional, grad
from fastconv.functional.elementwise import check_approximate, check_bounds
from fastconv.geometry import LIMIT, as_array, axis_number, layout_hint, real_number, whole_number
from fastconv.nn.arguments import float_dtype, frozen
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import Backprop, Shape

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder


#: Functions that are operators of the graph, to the bit: their names there, and those of their settings.
_OPERATORS: dict[Callable[..., np.ndarray], tuple[str, tuple[str, ...]]] = {
    functional.relu: ("Relu", ()),
    functional.leaky_relu: ("LeakyRelu", ("alpha",)),
    functional.sigmoid: ("Sigmoid", ()),
    functional.tanh: ("Tanh", ()),
    functional.elu: ("Elu", ("alpha",)),
    functional.hardswish: ("HardSwish", ()),
    functional.mish: ("Mish", ()),
    functional.softsign: ("Softsign", ()),
    functional.celu: ("Celu", ("alpha",)),
    functional.gelu: ("Gelu", ("approximate",)),
    functional.silu: ("Swish", ()),
    functional.softmax: ("Softmax", ("axis",)),
    functional.log_softmax: ("LogSoftmax", ("axis",)),
}


def _lowered(
    builder: Builder, function: Callable[..., Any], settings: tuple[Any, ...], *values: Value
) -> Value:
    """A function in the graph: its operator, or a call."""
    operator, names = _OPERATORS.get(function, ("", ()))
    if operator:
        return builder.add(operator, *values, **dict(zip(names, settings)))
    return builder.apply(function, tuple, *values, settings=settings)


class Activation(Layer):
    """Base of the elementwise functions: which one, its gradient, and the numbers both take besides."""

    _function: ClassVar[Callable[..., np.ndarray]]
    _gradient: ClassVar[Callable[..., np.ndarray]]
    _settings: tuple[Any, ...] = ()
    _fused: ClassVar[str | None] = None

    def _fused_name(self) -> str | None:
        return vars(type(self)).get("_fused")  # not of a subclass, which may compute something else

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return type(self)._function(input, *self._settings)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        return _lowered(builder, type(self)._function, self._settings, *values)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        cls, settings = type(self), self._settings
        input = as_array("input", input)
        return cls._function(input, *settings), lambda grad_output: cls._gradient(
            input, grad_output, *settings
        )

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return tuple(input_shape)

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: one per element."""
        return math.prod(input_shape)


class ReLU(Activation):
    """Every negative value becomes 0; see `fastconv.relu`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    _function = staticmethod(functional.relu)
    _gradient = staticmethod(grad.relu_input)
    _fused = "relu"


class ReLU6(Activation):
    """Values are held between 0 and 6; see `fastconv.relu6`."""

    _function = staticmethod(functional.relu6)
    _gradient = staticmethod(grad.relu6_input)
    _fused = "relu6"


class LeakyReLU(Activation):
    """Negative values are multiplied by `negative_slope`; see `fastconv.leaky_relu`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.LeakyReLU(0.5)(np.array([-1.0, 2.0]))
    array([-0.5,  2. ])
    """

    _function = staticmethod(functional.leaky_relu)
    _gradient = staticmethod(grad.leaky_relu_input)
    _fused = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = real_number("negative_slope", negative_slope)
        self._settings = (self.negative_slope,)

    def _fused_name(self) -> str | None:
        return super()._fused_name() if self.negative_slope == 0.01 else None


class ELU(Activation):
    """alpha * (exp(x) - 1) for negative values; see `fastconv.elu`."""

    _function = staticmethod(functional.elu)
    _gradient = staticmethod(grad.elu_input)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = real_number("alpha", alpha)
        self._settings = (self.alpha,)


class SELU(Activation):
    """ELU with the constants that keep mean 0 and variance 1; see `fastconv.selu`."""

    _function = staticmethod(functional.selu)
    _gradient = staticmethod(grad.selu_input)


class CELU(Activation):
    """ELU whose slope has no jump for any `alpha`, which must not be 0; see `fastconv.celu`."""

    _function = staticmethod(functional.celu)
    _gradient = staticmethod(grad.celu_input)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = real_number("alpha", alpha, nonzero=True)
        self._settings = (self.alpha,)


class GELU(Activation):
    """x times the normal distribution function of x; see `fastconv.gelu`.

    Parameters
    ----------
    approximate : {"none", "tanh"}
    """

    _function = staticmethod(functional.gelu)
    _gradient = staticmethod(grad.gelu_input)

    def __init__(self, approximate: str = "none") -> None:
        check_approximate(approximate)
        self.approximate = frozen(approximate)
        self._settings = (self.approximate,)


class SiLU(Activation):
    """x * sigmoid(x), also called swish; see `fastconv.silu`."""

    _function = staticmethod(functional.silu)
    _gradient = staticmethod(grad.silu_input)


class Mish(Activation):
    """x * tanh(softplus(x)); see `fastconv.mish`."""

    _function = staticmethod(functional.mish)
    _gradient = staticmethod(grad.mish_input)


class Sigmoid(Activation):
    """1 / (1 + exp(-x)); see `fastconv.sigmoid`."""

    _function = staticmethod(functional.sigmoid)
    _gradient = staticmethod(grad.sigmoid_input)


class Hardsigmoid(Activation):
    """Sigmoid made of three straight lines; see `fastconv.hardsigmoid`."""

    _function = staticmethod(functional.hardsigmoid)
    _gradient = staticmethod(grad.hardsigmoid_input)


class Hardswish(Activation):
    """x * hardsigmoid(x); see `fastconv.hardswish`."""

    _function = staticmethod(functional.hardswish)
    _gradient = staticmethod(grad.hardswish_input)


class LogSigmoid(Activation):
    """log(sigmoid(x)); see `fastconv.logsigmoid`."""

    _function = staticmethod(functional.logsigmoid)
    _gradient = staticmethod(grad.logsigmoid_input)


class Tanh(Activation):
    """Hyperbolic tangent; see `fastconv.tanh`."""

    _function = staticmethod(functional.tanh)
    _gradient = staticmethod(grad.tanh_input)


class Tanhshrink(Activation):
    """x - tanh(x); see `fastconv.tanhshrink`."""

    _function = staticmethod(functional.tanhshrink)
    _gradient = staticmethod(grad.tanhshrink_input)


class Hardtanh(Activation):
    """Values are held between `min_val` and `max_val`; see `fastconv.hardtanh`."""

    _function = staticmethod(functional.hardtanh)
    _gradient = staticmethod(grad.hardtanh_input)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        self.min_val, self.max_val = check_bounds(min_val, max_val)
        self._settings = (self.min_val, self.max_val)


class Softplus(Activation):
    """log(1 + exp(beta * x)) / beta, and x where beta * x is above `threshold`; see `fastconv.softplus`."""

    _function = staticmethod(functional.softplus)
    _gradient = staticmethod(grad.softplus_input)

    def __init__(self, beta: float = 1.0, threshold: float = math.inf) -> None:
        self.beta = real_number("beta", beta, nonzero=True)
        self.threshold = real_number("threshold", threshold, finite=False)
        self._settings = (self.beta, self.threshold)


class Softsign(Activation):
    """x / (1 + |x|); see `fastconv.softsign`."""

    _function = staticmethod(functional.softsign)
    _gradient = staticmethod(grad.softsign_input)


class Softshrink(Activation):
    """Values move `lambd` towards 0 and stop there; see `fastconv.softshrink`."""

    _function = staticmethod(functional.softshrink)
    _gradient = staticmethod(grad.softshrink_input)

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = real_number("lambd", lambd, at_least=0)
        self._settings = (self.lambd,)


class Hardshrink(Activation):
    """Values no larger than `lambd` become 0; see `fastconv.hardshrink`."""

    _function = staticmethod(functional.hardshrink)
    _gradient = staticmethod(grad.hardshrink_input)

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = real_number("lambd", lambd)
        self._settings = (self.lambd,)


class Threshold(Activation):
    """Values that are not above `threshold` become `value`; see `fastconv.threshold`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Threshold(0.5, -1.0)(np.array([0.4, 0.6]))
    array([-1. ,  0.6])
    """

    _function = staticmethod(functional.threshold)
    _gradient = staticmethod(grad.threshold_input)

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold = real_number("threshold", threshold, finite=False)
        self.value = real_number("value", value, finite=False)
        self._settings = (self.threshold, self.value)


class PReLU(Layer):
    """Negative values are multiplied by a slope that is learned; see `fastconv.prelu`.

    Parameters
    ----------
    num_parameters : int, default 1
        One slope for all, or one per channel (axis 1).
    init : float, default 0.25
        Where every slope starts.
    dtype : float32 or float64, default float32

    Attributes
    ----------
    weight : Parameter, shape (num_parameters,)

    Notes
    -----
    He et al., "Delving deep into rectifiers", arXiv:1502.01852.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.PReLU()(np.array([[-4.0, 2.0]], np.float32))
    array([[-1.,  2.]], dtype=float32)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = np.float32) -> None:
        self.num_parameters = whole_number("num_parameters", num_parameters, 1)
        self.init = real_number("init", init)
        self.dtype = float_dtype("dtype", dtype)
        self.weight = self._parameter(
            "weight", (self.num_parameters,), self.dtype, lambda array: array.fill(self.init)
        )

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return functional.prelu(input, self.weight.value)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        return builder.apply(functional.prelu, tuple, *values, builder.constant(self.weight))

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_array("input", input)
        weight = self.weight.value

        def backprop(grad_output: np.ndarray) -> np.ndarray:
            if training:
                self.weight.add_grad(grad.prelu_weight(input, weight, grad_output))
            return grad.prelu_input(input, grad_output, weight)

        return self(input), backprop

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        if self.num_parameters > 1 and (len(input_shape) < 2 or input_shape[1] != self.num_parameters):
            raise ValueError(
                f"input: shape {tuple(input_shape)} must have "
                f"num_parameters={self.num_parameters} channels (axis 1)"
                f"{layout_hint('input', tuple(input_shape), self.num_parameters, True)}"
            )
        return tuple(input_shape)

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: one per element."""
        return math.prod(input_shape)


class Softmax(Layer):
    """Exponentials along one axis, divided by their sum: votes become probabilities; see `fastconv.softmax`.

    Parameters
    ----------
    dim : int, default -1

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Softmax()(np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """

    _function = staticmethod(functional.softmax)
    _gradient = staticmethod(grad.softmax_input)

    def __init__(self, dim: int = -1) -> None:
        self.dim = whole_number("dim", dim, -LIMIT)

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return type(self)._function(input, self.dim)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        return _lowered(builder, type(self)._function, (self.dim,), *values)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        output, gradient, dim = self(input), type(self)._gradient, self.dim
        return output, lambda grad_output: gradient(output, grad_output, dim)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        axis_number("dim", self.dim, len(input_shape))
        return tuple(input_shape)

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: five per element (largest, difference, exponential, sum, quotient)."""
        return 5 * math.prod(input_shape)


class LogSoftmax(Softmax):
    """Logarithm of `Softmax`, without its rounding; see `fastconv.log_softmax`.

    Parameters
    ----------
    dim : int, default -1
    """

    _function = staticmethod(functional.log_softmax)
    _gradient = staticmethod(grad.log_softmax_input)
