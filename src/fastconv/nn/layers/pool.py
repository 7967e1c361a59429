"""Pooling layers: walk a window over each image and keep one number per place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastconv import functional, grad
from fastconv.functional.pool import pool_plan
from fastconv.geometry import (
    PoolGeometry,
    as_array,
    check_rank,
    divisor,
    flag,
    padding_pairs,
    per_axis,
    pool_geometry,
    pool_strides,
    real_number,
    unpool_shape,
)
from fastconv.grad.pool import max_pool_vjp
from fastconv.nn.arguments import frozen
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import Backprop, Shape, each_shape

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder

_MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}

# Per rank: forward and gradient.
_AVG = {
    1: (functional.avg_pool1d, grad.avg_pool1d_input),
    2: (functional.avg_pool2d, grad.avg_pool2d_input),
    3: (functional.avg_pool3d, grad.avg_pool3d_input),
}
_LP = {
    1: (functional.lp_pool1d, grad.lp_pool1d_input),
    2: (functional.lp_pool2d, grad.lp_pool2d_input),
    3: (functional.lp_pool3d, grad.lp_pool3d_input),
}
_UNPOOL = {
    1: (functional.max_unpool1d, grad.max_unpool1d_input),
    2: (functional.max_unpool2d, grad.max_unpool2d_input),
    3: (functional.max_unpool3d, grad.max_unpool3d_input),
}


class _Window(Layer):
    """A layer that walks a window of fixed size; `_shape_options` is what shapes depend on."""

    spatial_rank: ClassVar[int]
    _shape_options: tuple[Any, Any, Any, Any, bool]

    def _set_window(self, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any) -> None:
        """Keep what shapes depend on, and refuse what no input would suit."""
        ceil_mode = flag("ceil_mode", ceil_mode)
        options = (frozen(kernel_size), frozen(stride), frozen(padding), frozen(dilation), ceil_mode)
        kernel = per_axis("kernel_size", kernel_size, self.spatial_rank, 1)
        dilations = per_axis("dilation", dilation, self.spatial_rank, 1)
        window = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations))
        pool_geometry((1, *window), *options, self.spatial_rank)
        self._shape_options = options

    def _windows(self) -> dict[str, Any]:
        """The windows in the graph's words."""
        kernel_size, stride, padding, dilation, ceil_mode = self._shape_options
        rank = self.spatial_rank
        kernel = per_axis("kernel_size", kernel_size, rank, 1)
        strides, dilations = pool_strides(stride, kernel), per_axis("dilation", dilation, rank, 1)
        window = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations))
        pads = padding_pairs(padding, rank, window, strides)
        told = {"kernel_shape": kernel, "strides": strides, "ceil_mode": int(ceil_mode)}
        told["pads"] = (*(before for before, _ in pads), *(after for _, after in pads))
        return told if set(dilations) == {1} else {**told, "dilations": dilations}

    def _geometry(self, input_shape: Shape) -> PoolGeometry:
        check_rank("input", tuple(input_shape), self.spatial_rank)
        return pool_geometry(tuple(input_shape), *self._shape_options, self.spatial_rank)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return self._geometry(input_shape).output_shape

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: one per element under each window."""
        geometry = self._geometry(input_shape)
        return math.prod(geometry.output_shape) * math.prod(geometry.kernel)


class MaxPool(_Window):
    """Max-pool of any rank; `MaxPool1d`, `MaxPool2d` and `MaxPool3d` say which. See `MaxPool2d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> None:
        self._set_window(kernel_size, stride, padding, dilation, ceil_mode)
        self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode = self._shape_options

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return _MAX[self.spatial_rank](input, *self._shape_options)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        return builder.add("MaxPool", *values, **self._windows())

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_array("input", input)
        return max_pool_vjp(pool_plan(self.spatial_rank, input.shape, *self._shape_options), input)


class MaxPool1d(MaxPool):
    """Max-pool of (N, C, W); everything else as `MaxPool2d`."""

    spatial_rank = 1


class MaxPool2d(MaxPool):
    """The largest value under each window; the first in scan order wins a tie, forward and backward.

    Parameters
    ----------
    kernel_size : int or one int per axis
    stride : int or one int per axis, default `kernel_size`
    padding, dilation, ceil_mode
        As `fastconv.max_pool2d`; `ceil_mode=True` keeps windows that hang over the end.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, an input that does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.MaxPool2d(2, ceil_mode=True)(np.ones((1, 3, 7, 7), np.float32)).shape
    (1, 3, 4, 4)
    """

    spatial_rank = 2


class MaxPool3d(MaxPool):
    """Max-pool of (N, C, D, H, W); everything else as `MaxPool2d`."""

    spatial_rank = 3


class AvgPool(_Window):
    """Average pool of any rank; the thin names below say which. See `AvgPool2d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self._set_window(kernel_size, stride, padding, 1, ceil_mode)
        self.kernel_size, self.stride, self.padding, _, self.ceil_mode = self._shape_options
        self.count_include_pad = flag("count_include_pad", count_include_pad)
        self.divisor_override = divisor(divisor_override) or None
        self._options = (
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return _AVG[self.spatial_rank][0](input, *self._options)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        if self.divisor_override is not None:
            function = _AVG[self.spatial_rank][0]
            return builder.apply(function, self.output_shape, *values, settings=self._options)
        counted = int(self.count_include_pad)
        return builder.add("AveragePool", *values, count_include_pad=counted, **self._windows())

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_array("input", input)
        gradient, shape, options = _AVG[self.spatial_rank][1], input.shape, self._options
        return self(input), lambda grad_output: gradient(shape, grad_output, *options)


class AvgPool1d(AvgPool):
    """Average pool of (N, C, W); everything else as `AvgPool2d`."""

    spatial_rank = 1


class AvgPool2d(AvgPool):
    """The mean under each window.

    Parameters
    ----------
    kernel_size : int or one int per axis
    stride : int or one int per axis, default `kernel_size`
    padding, ceil_mode, count_include_pad, divisor_override
        As `fastconv.avg_pool2d`.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, an input that does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AvgPool2d(2)(np.ones((1, 3, 8, 8), np.float32)).shape
    (1, 3, 4, 4)
    """

    spatial_rank = 2


class AvgPool3d(AvgPool):
    """Average pool of (N, C, D, H, W); everything else as `AvgPool2d`."""

    spatial_rank = 3


class LPPool(_Window):
    """Lp-pool of any rank; the thin names below say which. See `LPPool2d`."""

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        self.norm_type = real_number("norm_type", norm_type, nonzero=True, finite=False)
        self._set_window(kernel_size, stride, 0, 1, ceil_mode)
        self.kernel_size, self.stride, _, _, self.ceil_mode = self._shape_options
        self._options = (self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return _LP[self.spatial_rank][0](input, *self._options)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        return builder.apply(_LP[self.spatial_rank][0], self.output_shape, *values, settings=self._options)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_array("input", input)
        gradient, output, options = _LP[self.spatial_rank][1], self(input), self._options
        return output, lambda grad_output: gradient(input, output, grad_output, *options)


class LPPool1d(LPPool):
    """Lp-pool of (N, C, W); everything else as `LPPool2d`."""

    spatial_rank = 1


class LPPool2d(LPPool):
    """(sum of x ** p) ** (1 / p) under each window; see `fastconv.lp_pool2d`.

    Parameters
    ----------
    norm_type : float
        The p, neither 0 nor NaN; perhaps infinite.
    kernel_size : int or one int per axis
    stride : int or one int per axis, default `kernel_size`
    ceil_mode : bool, default False

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, an input that does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.LPPool2d(2.0, 2)(np.ones((1, 1, 2, 2), np.float32))
    array([[[[2.]]]], dtype=float32)
    """

    spatial_rank = 2


class LPPool3d(LPPool):
    """Lp-pool of (N, C, D, H, W); everything else as `LPPool2d`."""

    spatial_rank = 3


class MaxUnpool(Layer):
    """Max-unpool of any rank; the thin names below say which. See `MaxUnpool2d`."""

    spatial_rank: ClassVar[int]

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        kernel = per_axis("kernel_size", kernel_size, self.spatial_rank, 1)
        padding_pairs(padding, self.spatial_rank, kernel, pool_strides(stride, kernel))
        self.kernel_size, self.stride, self.padding = frozen(kernel_size), frozen(stride), frozen(padding)

    def __call__(  # takes what max-pool returned, as torch's does
        self, input: np.ndarray, indices: np.ndarray, output_size: Shape | None = None
    ) -> np.ndarray:
        forward = _UNPOOL[self.spatial_rank][0]
        return forward(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def vjp(
        self, input: np.ndarray, indices: np.ndarray, output_size: Shape | None = None, training: bool = True
    ) -> tuple[np.ndarray, Backprop]:
        """Output and backprop to `input`, None being the gradient of the indices; see `Layer.vjp`."""
        input = as_array("input", input)
        gradient, shape = _UNPOOL[self.spatial_rank][1], input.shape
        output = self(input, indices, output_size)
        return output, lambda grad_output: (gradient(shape, indices, grad_output), None)

    def output_shape(self, input_shape: Any) -> Shape:
        """See `Layer.output_shape`: without `output_size`; of the input, or of input and indices."""
        input_shape = each_shape(input_shape)[0]
        check_rank("input", tuple(input_shape), self.spatial_rank)
        options = (self.kernel_size, self.stride, self.padding, None)
        return unpool_shape(tuple(input_shape), *options, self.spatial_rank)

    def flops(self, input_shape: Any) -> int:
        """See `Layer.flops`: values are only moved."""
        return 0


class MaxUnpool1d(MaxUnpool):
    """Max-unpool of (N, C, W); everything else as `MaxUnpool2d`."""

    spatial_rank = 1


class MaxUnpool2d(MaxUnpool):
    """Puts values back where `fastconv.max_pool2d(..., return_indices=True)` found them, zeros elsewhere.

    Called with two arrays, as in torch: in a `Sequential` behind a layer that gives both. The gradient of the
    indices is None.

    Parameters
    ----------
    kernel_size : int or one int per axis
    stride : int or one int per axis, default `kernel_size`
    padding : int or one int per axis, default 0
        All three as given to the pool.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, arrays that do not fit.

    Examples
    --------
    >>> import fastconv, numpy as np
    >>> from fastconv import nn
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> largest, indices = fastconv.max_pool2d(x, 2, return_indices=True)
    >>> nn.MaxUnpool2d(2)(largest, indices)[0, 0]
    array([[ 0.,  0.,  0.,  0.],
           [ 0.,  5.,  0.,  7.],
           [ 0.,  0.,  0.,  0.],
           [ 0., 13.,  0., 15.]])
    """

    spatial_rank = 2


class MaxUnpool3d(MaxUnpool):
    """Max-unpool of (N, C, D, H, W); everything else as `MaxUnpool2d`."""

    spatial_rank = 3
