"""Convolution and transposed convolution as layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastconv import functional, grad
from fastconv.algorithm import check_activation
from fastconv.geometry import (
    check_rank,
    conv_geometry,
    conv_transpose_geometry,
    dilated_kernel,
    padding_pairs,
    per_axis,
    whole_number,
)
from fastconv.grad.bias import through_activation
from fastconv.nn.arguments import Rng, float_dtype, frozen
from fastconv.nn.layers.calling import Backprop, Shape
from fastconv.nn.layers.weighted import Weighted

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder

# Per rank: forward, gradient of the input, gradient of the weight.
_CONV = {
    1: (functional.conv1d, grad.conv1d_input, grad.conv1d_weight),
    2: (functional.conv2d, grad.conv2d_input, grad.conv2d_weight),
    3: (functional.conv3d, grad.conv3d_input, grad.conv3d_weight),
}
_CONV_TRANSPOSE = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def _check_groups(in_channels: int, out_channels: int, groups: int) -> None:
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups:
            raise ValueError(f"groups={groups}: must divide {name}={channels}")


class Conv(Weighted):
    """A convolution of any rank; `Conv1d`, `Conv2d` and `Conv3d` say which. See `Conv2d`."""

    spatial_rank: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        activation: str | None = None,
        rng: Rng = None,
        dtype: Any = np.float32,
    ) -> None:
        rank = self.spatial_rank
        self.in_channels = whole_number("in_channels", in_channels, 1)
        self.out_channels = whole_number("out_channels", out_channels, 1)
        kernel = per_axis("kernel_size", kernel_size, rank, 1)
        strides = per_axis("stride", stride, rank, 1)
        dilations = per_axis("dilation", dilation, rank, 1)
        padding_pairs(padding, rank, tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations)), strides)
        self.kernel_size = frozen(kernel_size)
        self.stride = frozen(stride)
        self.padding = frozen(padding)
        self.dilation = frozen(dilation)
        self.groups = whole_number("groups", groups, 1)
        _check_groups(self.in_channels, self.out_channels, self.groups)
        check_activation(activation)
        self.activation = frozen(activation)
        self.dtype = float_dtype("dtype", dtype)
        self._options = (self.stride, self.padding, self.dilation, self.groups)
        shape = (self.out_channels, self.in_channels // self.groups, *kernel)
        self._make(shape, self.out_channels, bias, rng, stride=stride, groups=self.groups)

    def __call__(self, input: np.ndarray) -> np.ndarray:
        bias = None if self.bias is None else self.bias.value
        forward = _CONV[self.spatial_rank][0]
        return forward(input, self.weight.value, bias, *self._options, activation=self.activation)

    def _learn(self, input: np.ndarray, output: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
        grad_output, grad_bias = self._in_front_of_activation(output, grad_output)
        self._add_gradients(input, grad_output, grad_bias)
        return grad_output

    def _in_front_of_activation(
        self, output: np.ndarray, grad_output: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The gradient there, and that of the bias."""
        channel = output.ndim - self.spatial_rank - 1
        return through_activation(self.activation, output, grad_output, channel, self.bias is not None)

    def _add_gradients(self, input: np.ndarray, gradient: np.ndarray, grad_bias: np.ndarray | None) -> None:
        arguments = (input, self.weight.value.shape, gradient, *self._options)
        self.weight.add_grad_of(_CONV[self.spatial_rank][2], *arguments)
        if self.bias is not None and grad_bias is not None:
            self.bias.add_grad(grad_bias)

    def backprop_behind_pool(
        self, input: np.ndarray, pooled: np.ndarray, unpool: Backprop, to_input: bool, training: bool
    ) -> Backprop:
        """How gradients go back from behind a max-pool: to the input, and in training to the parameters.

        An activation's gradient depends on what it made, which is the maximum wherever the pool sends a
        gradient. So it is applied behind the pool, to fewer elements, and `unpool` writes what the gradients
        of weight and input read.
        """

        def backprop(grad_output: np.ndarray) -> np.ndarray:
            grad_output, grad_bias = self._in_front_of_activation(pooled, grad_output)
            gradient = unpool(grad_output)
            if training:
                self._add_gradients(input, gradient, grad_bias)
            return self._input_gradient(input.shape, gradient) if to_input else gradient

        return backprop

    def _lower(self, builder: Builder, *values: Value) -> Any:
        rank = self.spatial_rank
        kernel = self.weight.value.shape[2:]
        strides, dilations = (
            per_axis("stride", self.stride, rank, 1),
            per_axis("dilation", self.dilation, rank, 1),
        )
        window = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations))
        pads = padding_pairs(self.padding, rank, window, strides)
        return builder.add(
            "Conv",
            *values,
            builder.constant(self.weight),
            builder.constant(self.bias),
            strides=strides,
            dilations=dilations,
            pads=(*(before for before, _ in pads), *(after for _, after in pads)),
            group=self.groups,
            activation=self.activation,
        )

    def _input_gradient(self, input_shape: Shape, grad_output: np.ndarray) -> np.ndarray:
        return _CONV[self.spatial_rank][1](input_shape, self.weight.value, grad_output, *self._options)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        check_rank("input", tuple(input_shape), self.spatial_rank)
        return conv_geometry(
            tuple(input_shape), self.weight.value.shape, *self._options, self.spatial_rank
        ).output_shape

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: windows that overhang the edge counted whole, bias and activation not at all."""
        check_rank("input", tuple(input_shape), self.spatial_rank)
        return conv_geometry(
            tuple(input_shape), self.weight.value.shape, *self._options, self.spatial_rank
        ).flops


class Conv1d(Conv):
    """1-D convolution of (N, C, W); everything else as `Conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Conv1d(2, 4, 3)(np.ones((1, 2, 10), np.float32)).shape
    (1, 4, 8)
    """

    spatial_rank = 1
    _fuses = True


class Conv2d(Conv):
    """2-D convolution with bias and, fused, an activation: one filtered image per feature.

    The kernel is not flipped, as in `fastconv.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
        Images read, and features: images written.
    kernel_size : int or one int per axis
    stride, padding, dilation, groups
        As `fastconv.conv2d`.
    bias : bool, default True
    activation : {None, "relu", "leaky_relu", "relu6"}
        Applied as the result is stored.
    rng : numpy.random.Generator, int seed or None
        Draws the weight (`nn.init.he_uniform`); the bias starts as zeros.
    dtype : float32 or float64, default float32

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, *kernel_size)
    bias : Parameter, shape (out_channels,), or None

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, an input that does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> layer = nn.Conv2d(1, 3, 3, padding=1, activation="relu", rng=0)
    >>> layer
    Conv2d(in_channels=1, out_channels=3, kernel_size=3, padding=1, activation='relu')
    >>> layer(np.ones((10, 1, 9, 9), np.float32)).shape
    (10, 3, 9, 9)
    """

    spatial_rank = 2
    _fuses = True


class Conv3d(Conv):
    """3-D convolution of (N, C, D, H, W); everything else as `Conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Conv3d(1, 2, 3, stride=2)(np.ones((1, 1, 7, 7, 7), np.float32)).shape
    (1, 2, 3, 3, 3)
    """

    spatial_rank = 3
    _fuses = True


class ConvTranspose(Weighted):
    """A transposed convolution of any rank; the thin names below say which. See `ConvTranspose2d`."""

    spatial_rank: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        *,
        rng: Rng = None,
        dtype: Any = np.float32,
    ) -> None:
        rank = self.spatial_rank
        self.in_channels = whole_number("in_channels", in_channels, 1)
        self.out_channels = whole_number("out_channels", out_channels, 1)
        kernel = per_axis("kernel_size", kernel_size, rank, 1)
        self.kernel_size = frozen(kernel_size)
        self.stride = frozen(stride)
        self.padding = frozen(padding)
        self.output_padding = frozen(output_padding)
        self.dilation = frozen(dilation)
        self.groups = whole_number("groups", groups, 1)
        _check_groups(self.in_channels, self.out_channels, self.groups)
        self.dtype = float_dtype("dtype", dtype)
        self._options = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        shape = (self.in_channels, self.out_channels // self.groups, *kernel)
        # an input that padding cannot eat up answers whether the parameters are allowed
        pads = padding_pairs(padding, rank, kernel, (1,) * rank)
        probe = (1, self.in_channels, *(1 + sum(pair) for pair in pads))
        conv_transpose_geometry(probe, shape, *self._options, rank)
        how = {"stride": stride, "groups": self.groups, "transposed": True}
        self._make(shape, self.out_channels, bias, rng, **how)

    def __call__(self, input: np.ndarray) -> np.ndarray:
        bias = None if self.bias is None else self.bias.value
        return _CONV_TRANSPOSE[self.spatial_rank](input, self.weight.value, bias, *self._options)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        rank = self.spatial_rank
        kernel = self.weight.value.shape[2:]
        strides = per_axis("stride", self.stride, rank, 1)
        dilations = per_axis("dilation", self.dilation, rank, 1)
        pads = padding_pairs(self.padding, rank, dilated_kernel(kernel, dilations), (1,) * rank)
        return builder.add(
            "ConvTranspose",
            *values,
            builder.constant(self.weight),
            builder.constant(self.bias),
            strides=strides,
            dilations=dilations,
            pads=(*(before for before, _ in pads), *(after for _, after in pads)),
            output_padding=per_axis("output_padding", self.output_padding, rank, 0),
            group=self.groups,
        )

    def _learn(self, input: np.ndarray, output: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
        shape = self.weight.value.shape
        self.weight.add_grad(grad.conv_transpose_weight(input, shape, grad_output, *self._options))
        if self.bias is not None:
            self.bias.add_grad(grad.conv_bias(grad_output, grad_output.ndim == self.spatial_rank + 2))
        return grad_output

    def _input_gradient(self, input_shape: Shape, grad_output: np.ndarray) -> np.ndarray:
        return grad.conv_transpose_input(input_shape, self.weight.value, grad_output, *self._options)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        check_rank("input", tuple(input_shape), self.spatial_rank)
        shape, weight = tuple(input_shape), self.weight.value.shape
        return conv_transpose_geometry(shape, weight, *self._options, self.spatial_rank).input_shape

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: parts that padding cuts off counted as well, the bias not at all."""
        check_rank("input", tuple(input_shape), self.spatial_rank)
        shape = self.weight.value.shape
        return conv_transpose_geometry(tuple(input_shape), shape, *self._options, self.spatial_rank).flops


class ConvTranspose1d(ConvTranspose):
    """1-D transposed convolution of (N, C, W); everything else as `ConvTranspose2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ConvTranspose1d(2, 1, 2, stride=2)(np.ones((1, 2, 5), np.float32)).shape
    (1, 1, 10)
    """

    spatial_rank = 1


class ConvTranspose2d(ConvTranspose):
    """2-D transposed convolution: paints a feature wherever the input says, to make images larger.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or one int per axis
    stride, padding, output_padding, groups, dilation
        As `fastconv.conv_transpose2d`.
    bias : bool, default True
    rng : numpy.random.Generator, int seed or None
        Draws the weight (`nn.init.he_uniform`, which counts the taps that meet at an output: on average one
        in `stride` per axis); the bias starts as zeros.
    dtype : float32 or float64, default float32

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, *kernel_size)
    bias : Parameter, shape (out_channels,), or None

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, an input that does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ConvTranspose2d(8, 4, 2, stride=2)(np.ones((1, 8, 5, 5), np.float32)).shape
    (1, 4, 10, 10)
    """

    spatial_rank = 2


class ConvTranspose3d(ConvTranspose):
    """3-D transposed convolution of (N, C, D, H, W); everything else as `ConvTranspose2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ConvTranspose3d(2, 1, 2, stride=2)(np.ones((1, 2, 2, 2, 2), np.float32)).shape
    (1, 1, 4, 4, 4)
    """

    spatial_rank = 3
