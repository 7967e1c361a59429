"""Layers that even out the size of signals: batch norm, layer norm, local response norm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastconv import functional, grad
from fastconv.functional.norm import Standard, measured_batch_norm, measured_layer_norm
from fastconv.geometry import as_array, check_shape, flag, layout_hint, real_number, whole_number
from fastconv.grad.norm import measured_batch_norm as measured_batch_norm_gradient
from fastconv.grad.norm import measured_layer_norm as measured_layer_norm_gradient
from fastconv.nn.arguments import float_dtype, real
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import Backprop, Shape

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder


def _ones(array: np.ndarray) -> None:
    array.fill(1)


def _zeros(array: np.ndarray) -> None:
    array.fill(0)


class BatchNorm(Layer):
    """Batch norm of any rank; `BatchNorm1d`, `BatchNorm2d` and `BatchNorm3d` say which. See `BatchNorm2d`."""

    spatial_ranks: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        *,
        dtype: Any = np.float32,
    ) -> None:
        self.num_features = whole_number("num_features", num_features, 1)
        self.eps = real("eps", eps, above=0)
        self.momentum = real("momentum", momentum, at_least=0, at_most=1)
        self.affine = flag("affine", affine)
        self.dtype = float_dtype("dtype", dtype)
        shape = (self.num_features,)
        self.weight = self._parameter("weight", shape, self.dtype, _ones) if affine else None
        self.bias = self._parameter("bias", shape, self.dtype, _zeros) if affine else None
        self.running_mean = self._buffer("running_mean", shape, self.dtype, _zeros)
        self.running_var = self._buffer("running_var", shape, self.dtype, _ones)

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return self._normalised(input, training=False)[0]

    def _lower(self, builder: Builder, *values: Value) -> Any:
        ones, zeros = np.ones(self.num_features, self.dtype), np.zeros(self.num_features, self.dtype)
        return builder.add(
            "BatchNormalization",
            *values,
            builder.constant(self.weight) or builder.array(ones),
            builder.constant(self.bias) or builder.array(zeros),
            builder.constant(self.running_mean),
            builder.constant(self.running_var),
            epsilon=self.eps,
        )

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`; training also moves the running statistics towards those of this batch."""
        input = as_array("input", input)
        if not training:
            return self(input), self._inference_gradient(input)
        with self.running_mean.lock:
            output, batch = self._normalised(input, training=True)

        def backprop(grad_output: np.ndarray) -> np.ndarray:
            weight = None if self.weight is None else self.weight.value
            grad_input, grad_weight, grad_bias = measured_batch_norm_gradient(
                input, grad_output, weight, batch, training=True
            )
            if self.weight is not None and self.bias is not None:
                self.weight.add_grad(grad_weight)
                self.bias.add_grad(grad_bias)
            return grad_input

        return output, backprop

    def _inference_gradient(self, input: np.ndarray) -> Backprop:
        """Gradients only pass a factor per channel: the call itself without mean and bias."""
        shape, dtype, variance = input.shape, input.dtype, self.running_var.value.copy()
        weight = None if self.weight is None else self.weight.value

        def backprop(grad_output: np.ndarray) -> np.ndarray:
            grad_output = as_array("grad_output", grad_output, dtype)
            check_shape("grad_output", grad_output, shape)
            return functional.batch_norm(grad_output, np.zeros_like(variance), variance, weight, eps=self.eps)

        return backprop

    def _normalised(self, input: np.ndarray, training: bool) -> tuple[np.ndarray, Standard | None]:
        input = as_array("input", input)
        self._check_shape(input.shape)
        return measured_batch_norm(
            input,
            self.running_mean.value,
            self.running_var.value,
            None if self.weight is None else self.weight.value,
            None if self.bias is None else self.bias.value,
            training,
            self.momentum,
            self.eps,
        )

    def _check_shape(self, input_shape: Shape) -> None:
        if len(input_shape) - 2 not in self.spatial_ranks or input_shape[1] != self.num_features:
            axes = " or ".join(f"{rank + 2} axes" for rank in self.spatial_ranks)
            raise ValueError(
                f"input: shape {tuple(input_shape)} must have {axes}, "
                f"num_features={self.num_features} along axis 1"
                f"{layout_hint('input', tuple(input_shape), self.num_features, True)}"
            )

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        self._check_shape(input_shape)
        return tuple(input_shape)

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: a multiplication and an addition per element."""
        return 2 * math.prod(input_shape)


class BatchNorm1d(BatchNorm):
    """Batch norm of (N, C) or (N, C, W); everything else as `BatchNorm2d`."""

    spatial_ranks = (0, 1)


class BatchNorm2d(BatchNorm):
    """Each channel minus its mean, divided by its deviation, times a weight, plus a bias.

    In training (`vjp`) mean and variance are those of the batch, and the running ones follow them; in
    inference they are the running ones.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float, default 1e-5
        Added to the variance.
    momentum : float, default 0.1
        How far the running statistics move towards those of a batch.
    affine : bool, default True
        Whether weight and bias are there to be learned.
    dtype : float32 or float64, default float32

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
    running_mean, running_var : Buffer, shape (num_features,)

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, an input of other channels or another rank.

    Notes
    -----
    Ioffe & Szegedy, "Batch normalization", arXiv:1502.03167.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> layer = nn.BatchNorm2d(3)
    >>> y, backprop = layer.vjp(np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2))
    >>> bool(abs(y.mean()) < 1e-6)
    True
    """

    spatial_ranks = (2,)


class BatchNorm3d(BatchNorm):
    """Batch norm of (N, C, D, H, W); everything else as `BatchNorm2d`."""

    spatial_ranks = (3,)


def normalised_last(x: np.ndarray, weight: Any, bias: Any, shape: Any, eps: float) -> np.ndarray:
    return functional.layer_norm(x, shape, weight, bias, eps)


class LayerNorm(Layer):
    """Every example by itself: its last axes minus their mean, divided by their deviation.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The last axes of the input, which are normalised together.
    eps : float, default 1e-5
    elementwise_affine : bool, default True
        Whether a weight and a bias per element are there to be learned.
    bias : bool, default True
        False leaves the bias out.
    dtype : float32 or float64, default float32

    Attributes
    ----------
    weight, bias : Parameter, shape `normalized_shape`, or None

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, an input that does not end in these axes.

    Notes
    -----
    Ba, Kiros & Hinton, "Layer normalization", arXiv:1607.06450.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.LayerNorm(4)(np.array([[1.0, 1.0, 3.0, 3.0]], np.float32)).round(3)
    array([[-1., -1.,  1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
    ) -> None:
        sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        self.normalized_shape = tuple(whole_number("normalized_shape", size, 1) for size in sizes)
        if not self.normalized_shape:
            raise ValueError("normalized_shape=(): needs at least one axis")
        self.eps = real("eps", eps, above=0)
        self.elementwise_affine = flag("elementwise_affine", elementwise_affine)
        self.dtype = float_dtype("dtype", dtype)
        shape = self.normalized_shape
        has_bias = flag("bias", bias) and elementwise_affine
        self.weight = self._parameter("weight", shape, self.dtype, _ones) if elementwise_affine else None
        self.bias = self._parameter("bias", shape, self.dtype, _zeros) if has_bias else None

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return self._normalised(input, keep=False)[0]

    def _lower(self, builder: Builder, *values: Value) -> Any:
        weight, bias = builder.constant(self.weight), builder.constant(self.bias)
        if weight is not None:
            axis = -len(self.normalized_shape)
            return builder.add("LayerNormalization", *values, weight, bias, axis=axis, epsilon=self.eps)
        return builder.apply(
            normalised_last, tuple, *values, weight, bias, settings=(self.normalized_shape, self.eps)
        )

    def _normalised(self, input: np.ndarray, keep: bool) -> tuple[np.ndarray, np.ndarray | None]:
        weight = None if self.weight is None else self.weight.value
        bias = None if self.bias is None else self.bias.value
        return measured_layer_norm(input, self.normalized_shape, weight, bias, self.eps, keep)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_array("input", input)
        output, measured = self._normalised(input, keep=True)

        def backprop(grad_output: np.ndarray) -> np.ndarray:
            weight = None if self.weight is None else self.weight.value
            grad_input, grad_weight, grad_bias = measured_layer_norm_gradient(
                input, self.normalized_shape, grad_output, weight, self.eps, measured
            )
            if training and self.weight is not None:
                self.weight.add_grad(grad_weight)
            if training and self.bias is not None:
                self.bias.add_grad(grad_bias)
            return grad_input

        return output, backprop

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        if tuple(input_shape[-len(self.normalized_shape) :]) != self.normalized_shape:
            raise ValueError(
                f"input: shape {tuple(input_shape)} must end in normalized_shape={self.normalized_shape}"
            )
        return tuple(input_shape)

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: seven per element (two for the mean and variance each, three to apply them)."""
        return 7 * math.prod(input_shape)


class LocalResponseNorm(Layer):
    """Each value divided by a power of the mean square of its neighbour channels at the same place.

    Parameters
    ----------
    size : int
        Channels in the neighbourhood.
    alpha, beta, k : float, default 1e-4, 0.75, 1.0
        As `fastconv.local_response_norm`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, an input that does not fit.

    Notes
    -----
    Krizhevsky, Sutskever & Hinton, "ImageNet classification with deep convolutional neural networks", NIPS
    2012.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.LocalResponseNorm(5)(np.ones((1, 8, 4, 4), np.float32)).shape
    (1, 8, 4, 4)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = whole_number("size", size, 1)
        self.alpha = real_number("alpha", alpha)
        self.beta = real_number("beta", beta)
        self.k = real_number("k", k)
        self._options = (self.size, self.alpha, self.beta, self.k)

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return functional.local_response_norm(input, *self._options)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        return builder.apply(functional.local_response_norm, tuple, *values, settings=self._options)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_array("input", input)
        options = self._options
        return self(input), lambda grad_output: grad.local_response_norm_input(input, grad_output, *options)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        if len(input_shape) < 3:
            raise ValueError(f"input: shape {tuple(input_shape)} must be (N, C, *spatial)")
        return tuple(input_shape)

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: per element a square, `size` sums and three more."""
        return (self.size + 4) * math.prod(input_shape)
