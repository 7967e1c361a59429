"""A net as steps: which layer reads what, one after the other, whoever the net came from."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.geometry import adaptive_pool_geometry, conv_geometry, pool_geometry
from fastconv.graph import Graph
from fastconv.nn.layers.activation import Activation
from fastconv.nn.layers.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool
from fastconv.nn.layers.calling import Backprop
from fastconv.nn.layers.conv import Conv
from fastconv.nn.layers.norm import BatchNorm
from fastconv.nn.layers.pool import AvgPool, MaxPool


@dataclass(frozen=True)
class Step:
    """One layer at its place.

    Attributes
    ----------
    name : str
        Where it stands: "3", "4.1", or what a file calls it.
    layer : nn.Layer
        A copy: what is learned later does not show.
    reads : tuple of int
        Numbers of the values it reads: 0 is the input, k + 1 what step k makes.
    """

    name: str
    layer: nn.Layer
    reads: tuple[int, ...]

    @property
    def kind(self) -> str:
        """What kind of layer it is, one of `KINDS`."""
        return next((kind for kind, of in KINDS.items() if isinstance(self.layer, of)), "other")

    @property
    def title(self) -> str:
        """What it is called in tables: the kind in words, without numbers."""
        name = type(self.layer).__name__
        return TITLES.get(self.kind, name) if self.kind != "activation" else name


class Add(nn.Layer):
    """The sum of its inputs: where ways around layers end."""

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        total = inputs[0]
        for each in inputs[1:]:
            total = total + each
        return total

    def vjp(self, *inputs: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `nn.Layer.vjp`."""
        shapes = [each.shape for each in inputs]

        def backprop(grad_output: np.ndarray) -> Any:
            found = tuple(_summed_to(grad_output, shape) for shape in shapes)
            return found if len(found) > 1 else found[0]

        return self(*inputs), backprop

    def output_shape(self, input_shape: Any) -> Any:
        """See `nn.Layer.output_shape`."""
        shapes = input_shape if isinstance(input_shape[0], tuple) else (input_shape,)
        return np.broadcast_shapes(*shapes)

    def flops(self, input_shape: Any) -> int:
        """See `nn.Layer.flops`: one per element and further input."""
        shapes = input_shape if isinstance(input_shape[0], tuple) else (input_shape,)
        return (len(shapes) - 1) * int(math.prod(self.output_shape(input_shape)))


class Join(nn.Layer):
    """Inputs side by side along their channels."""

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        return np.concatenate(inputs, axis=1)

    def vjp(self, *inputs: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `nn.Layer.vjp`."""
        ends = np.cumsum([each.shape[1] for each in inputs])[:-1]

        def backprop(grad_output: np.ndarray) -> Any:
            found = tuple(np.split(grad_output, ends, axis=1))
            return found if len(found) > 1 else found[0]

        return self(*inputs), backprop

    def flops(self, input_shape: Any) -> int:
        """See `nn.Layer.flops`: nothing is computed."""
        return 0


class Affine(nn.Layer):
    """Values times a factor plus a shift, each a number or one per channel."""

    def __init__(self, factor: np.ndarray, shift: np.ndarray) -> None:
        self.factor, self.shift = factor, shift

    def __call__(self, input: np.ndarray) -> np.ndarray:
        found: np.ndarray = input * self.factor + self.shift
        return found

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `nn.Layer.vjp`."""
        return self(input), lambda grad_output: grad_output * self.factor

    def flops(self, input_shape: Any) -> int:
        """See `nn.Layer.flops`: two per element."""
        return 2 * int(math.prod(input_shape))


class Match(nn.Conv2d):
    """A convolution without bias whose sums are divided by the number of pixels of a feature.

    So 1 is a perfect match and -1 its opposite, where pixels are +1 and -1.
    """

    @property
    def divisor(self) -> int:
        """Pixels of a feature."""
        return int(math.prod(self.weight.value.shape[1:]))

    def __call__(self, input: np.ndarray) -> np.ndarray:
        sums = super().__call__(input)
        found: np.ndarray = sums / sums.dtype.type(self.divisor)
        return found

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `nn.Layer.vjp`."""
        sums, backprop = super().vjp(input, training)
        divisor = sums.dtype.type(self.divisor)
        return sums / divisor, lambda grad_output: backprop(grad_output / divisor)


#: Kinds of layers that more is told of than their values.
KINDS: dict[str, tuple[type, ...]] = {
    "conv": (Conv,),
    "max pool": (MaxPool, AdaptiveMaxPool, nn.GlobalMaxPool),
    "average pool": (AvgPool, AdaptiveAvgPool, nn.GlobalAvgPool),
    "full": (nn.Linear,),
    "softmax": (nn.Softmax, nn.LogSoftmax),
    "activation": (Activation, nn.PReLU),
    "norm": (BatchNorm,),
    "affine": (Affine,),
    "flatten": (nn.Flatten,),
    "identity": (nn.Identity, nn.Dropout),
    "add": (Add,),
    "join": (Join,),
}

#: What they are called.
TITLES = {
    "conv": "convolution",
    "max pool": "max-pool",
    "average pool": "average pool",
    "flatten": "flattened",
    "full": "fully connected",
    "norm": "batch norm",
    "affine": "scale and shift",
    "identity": "passed on",
    "add": "sum",
    "join": "side by side",
}


def _summed_to(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of something that was broadcast: summed where it was repeated."""
    extra = gradient.ndim - len(shape)
    gradient = gradient.sum(tuple(range(extra)))
    axes = tuple(i for i, size in enumerate(shape) if size == 1 and gradient.shape[i] != 1)
    found: np.ndarray = gradient.sum(axes, keepdims=True) if axes else gradient
    return found


# ---- from nets ----------------------------------------------------------------------------------------


def steps_of(model: Any, input: np.ndarray) -> list[Step]:
    """The steps of a net, or of a graph, for an input.

    Parameters
    ----------
    model : nn.Layer or Graph
    input : ndarray
        With a batch of one.

    Raises
    ------
    TypeError, ValueError
        Neither of these; a graph with several inputs or outputs, or one that does not take the input.
    """
    if isinstance(model, Graph):
        from fastconv.explain.from_graph import steps_of_graph

        return steps_of_graph(model, input)
    if not isinstance(model, nn.Layer):
        raise TypeError(f"model: must be a layer of fastconv.nn or a graph, not {type(model).__name__}")
    steps: list[Step] = []
    _add(steps, "", copy.deepcopy(model), 0)
    return steps


def _add(steps: list[Step], name: str, layer: nn.Layer, read: int) -> int:
    """Append the steps of a layer that reads a value; returns the number of what it makes."""
    if type(layer) is nn.Sequential:
        return _in_turn(steps, name, layer, read)
    if type(layer) is nn.Residual:
        made = _in_turn(steps, name, layer, read)
        if layer.shortcut is not None:
            read = _add(steps, _inside(name, "shortcut"), layer.shortcut, read)
        return _put(steps, name, Add(), (made, read))
    if type(layer) is nn.Concat and layer.dim == 1:
        ends = [_add(steps, _inside(name, str(i)), each, read) for i, each in enumerate(layer.branches)]
        return _put(steps, name, Join(), tuple(ends))
    return _put(steps, name, layer, (read,))


def _in_turn(steps: list[Step], name: str, layers: nn.Sequential, read: int) -> int:
    for i, each in enumerate(layers):
        read = _add(steps, _inside(name, str(i)), each, read)
    return read


def _inside(name: str, place: str) -> str:
    return f"{name}.{place}" if name else place


def _put(steps: list[Step], name: str, layer: nn.Layer, reads: tuple[int, ...]) -> int:
    steps.append(Step(name or str(len(steps)), layer, reads))
    return len(steps)


# ---- where windows lie --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """How outputs along one axis reach back to inputs: by windows.

    Attributes
    ----------
    size : int
        Of the input.
    count : int
        Of the output.
    kernel, stride, before, dilation : int
        The window, its step, the padding in front, the distance of its elements.
    adaptive : bool
        Windows cut the input evenly instead; the numbers above say nothing.
    """

    size: int
    count: int
    kernel: int = 1
    stride: int = 1
    before: int = 0
    dilation: int = 1
    adaptive: bool = False

    def window(self, place: int) -> np.ndarray:
        """Where the elements of a window lie, those in the padding too."""
        if self.adaptive:
            first, last = place * self.size // self.count, -(-(place + 1) * self.size // self.count)
            return np.arange(first, last)
        first = place * self.stride - self.before
        return first + np.arange(self.kernel) * self.dilation

    def taps(self, place: int) -> np.ndarray:
        """Where the elements of a window lie that are inside."""
        found = self.window(place)
        return found[(found >= 0) & (found < self.size)]


def axes_of(layer: nn.Layer, shape: Sequence[int]) -> tuple[Axis, ...] | None:
    """The windows of a convolution or pool over an input of this shape, without the batch; else None."""
    whole = (1, *shape)
    if isinstance(layer, Conv):
        rank = layer.spatial_rank
        strides = (layer.stride, layer.padding, layer.dilation, layer.groups)
        return _axes(conv_geometry(whole, layer.weight.value.shape, *strides, rank), rank)
    if isinstance(layer, (MaxPool, AvgPool)):
        rank = layer.spatial_rank
        dilation = layer.dilation if isinstance(layer, MaxPool) else 1
        windows = (layer.kernel_size, layer.stride, layer.padding, dilation, layer.ceil_mode)
        return _axes(pool_geometry(whole, *windows, rank), rank)
    if isinstance(layer, (AdaptiveMaxPool, AdaptiveAvgPool)):
        rank = layer.spatial_rank
        sizes = adaptive_pool_geometry(whole, layer.output_size, rank).output_size[3 - rank :]
        return tuple(Axis(size, count, adaptive=True) for size, count in zip(shape[1:], sizes))
    if isinstance(layer, (nn.GlobalAvgPool, nn.GlobalMaxPool)):
        return tuple(Axis(size, 1, adaptive=True) for size in shape[1:])
    return None


def _axes(geometry: Any, rank: int) -> tuple[Axis, ...]:
    parts = (
        geometry.input_size,
        geometry.output_size,
        geometry.kernel,
        geometry.stride,
        geometry.before,
        geometry.dilation,
    )
    return tuple(Axis(*numbers) for numbers in zip(*(part[3 - rank :] for part in parts)))
