"""Pooling layers that are told the size of their output, and those that keep one number per image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastconv import functional, grad
from fastconv.functional.adaptive_pool import adaptive_plan
from fastconv.geometry import PoolGeometry, adaptive_pool_geometry, as_array, check_rank
from fastconv.grad.pool import max_pool_vjp
from fastconv.nn.arguments import frozen
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import Backprop, Shape

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder

# Per rank: forward and gradient; of maxima the latter is in `max_pool_vjp`.
_ADAPTIVE_AVG = {
    1: (functional.adaptive_avg_pool1d, grad.adaptive_avg_pool1d_input),
    2: (functional.adaptive_avg_pool2d, grad.adaptive_avg_pool2d_input),
    3: (functional.adaptive_avg_pool3d, grad.adaptive_avg_pool3d_input),
}
_ADAPTIVE_MAX = {
    1: functional.adaptive_max_pool1d,
    2: functional.adaptive_max_pool2d,
    3: functional.adaptive_max_pool3d,
}


class _Adaptive(Layer):
    """A pool that is told the size of its output and chooses its windows."""

    spatial_rank: ClassVar[int]

    def __init__(self, output_size: Any) -> None:
        adaptive_pool_geometry((1,) * (self.spatial_rank + 1), output_size, self.spatial_rank)
        self.output_size = frozen(output_size)

    @property
    def _is_global(self) -> bool:
        """Whether each plane becomes one value."""
        sizes = self.output_size if isinstance(self.output_size, tuple) else (self.output_size,)
        return all(size == 1 for size in sizes)

    def _geometry(self, input_shape: Shape) -> PoolGeometry:
        check_rank("input", tuple(input_shape), self.spatial_rank)
        return adaptive_pool_geometry(tuple(input_shape), self.output_size, self.spatial_rank)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return self._geometry(input_shape).output_shape

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: one per element under each window, the widest window taken for all."""
        geometry = self._geometry(input_shape)
        return math.prod(geometry.output_shape) * math.prod(geometry.kernel)


class AdaptiveAvgPool(_Adaptive):
    """Adaptive average pool of any rank; the thin names below say which. See `AdaptiveAvgPool2d`."""

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return _ADAPTIVE_AVG[self.spatial_rank][0](input, self.output_size)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        function = _ADAPTIVE_AVG[self.spatial_rank][0]
        if self._is_global:
            return builder.add("GlobalAveragePool", *values)
        return builder.apply(function, self.output_shape, *values, settings=(self.output_size,))

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_array("input", input)
        gradient, shape = _ADAPTIVE_AVG[self.spatial_rank][1], input.shape
        return self(input), lambda grad_output: gradient(shape, grad_output)


class AdaptiveAvgPool1d(AdaptiveAvgPool):
    """Adaptive average pool of (N, C, W); everything else as `AdaptiveAvgPool2d`."""

    spatial_rank = 1


class AdaptiveAvgPool2d(AdaptiveAvgPool):
    """Means of windows chosen so that the output has `output_size`, whatever the input's size.

    Parameters
    ----------
    output_size : int, or one int or None per axis
        None keeps the input's size.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, an input of another rank.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AdaptiveAvgPool2d((2, 3))(np.ones((1, 4, 7, 8), np.float32)).shape
    (1, 4, 2, 3)
    """

    spatial_rank = 2


class AdaptiveAvgPool3d(AdaptiveAvgPool):
    """Adaptive average pool of (N, C, D, H, W); everything else as `AdaptiveAvgPool2d`."""

    spatial_rank = 3


class AdaptiveMaxPool(_Adaptive):
    """Adaptive max-pool of any rank; the thin names below say which. See `AdaptiveMaxPool2d`."""

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return _ADAPTIVE_MAX[self.spatial_rank](input, self.output_size)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        function = _ADAPTIVE_MAX[self.spatial_rank]
        if self._is_global:
            return builder.add("GlobalMaxPool", *values)
        return builder.apply(function, self.output_shape, *values, settings=(self.output_size,))

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        return _adaptive_max_vjp(self.spatial_rank, input, self.output_size)


def _adaptive_max_vjp(spatial_rank: int, input: np.ndarray, output_size: Any) -> tuple[np.ndarray, Backprop]:
    input = as_array("input", input)
    return max_pool_vjp(adaptive_plan(spatial_rank, input.shape, output_size), input)


class AdaptiveMaxPool1d(AdaptiveMaxPool):
    """Adaptive max-pool of (N, C, W); everything else as `AdaptiveMaxPool2d`."""

    spatial_rank = 1


class AdaptiveMaxPool2d(AdaptiveMaxPool):
    """Largest values of windows chosen so that the output has `output_size`; else as `AdaptiveAvgPool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.AdaptiveMaxPool2d(2)(np.ones((1, 4, 7, 8), np.float32)).shape
    (1, 4, 2, 2)
    """

    spatial_rank = 2


class AdaptiveMaxPool3d(AdaptiveMaxPool):
    """Adaptive max-pool of (N, C, D, H, W); everything else as `AdaptiveMaxPool2d`."""

    spatial_rank = 3


class GlobalAvgPool(Layer):
    """The mean of each image: (N, C, *spatial) becomes (N, C, 1, ...), for one to three spatial axes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.GlobalAvgPool()(np.ones((2, 4, 7, 8), np.float32)).shape
    (2, 4, 1, 1)
    """

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return functional.global_avg_pool(input)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        return builder.add("GlobalAveragePool", *values)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_array("input", input)
        shape, output = input.shape, self(input)
        gradient = _ADAPTIVE_AVG[len(shape) - 2][1]
        return output, lambda grad_output: gradient(shape, grad_output)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return _global_shape(input_shape)

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: one per element."""
        return math.prod(input_shape)


class GlobalMaxPool(Layer):
    """The largest value of each image: (N, C, *spatial) becomes (N, C, 1, ...), one to three spatial axes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.GlobalMaxPool()(np.ones((2, 4, 7, 8), np.float32)).shape
    (2, 4, 1, 1)
    """

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return functional.global_max_pool(input)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        return builder.add("GlobalMaxPool", *values)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_array("input", input)
        spatial_rank = len(_global_shape(input.shape)) - 2
        return _adaptive_max_vjp(spatial_rank, input, (1,) * spatial_rank)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return _global_shape(input_shape)

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: one per element."""
        return math.prod(input_shape)


def _global_shape(input_shape: Shape) -> Shape:
    if not 3 <= len(input_shape) <= 5:
        raise ValueError(
            f"input: shape {tuple(input_shape)} must be (N, C, *spatial) with 1 to 3 spatial axes"
        )
    return (*input_shape[:2], *(1,) * (len(input_shape) - 2))
