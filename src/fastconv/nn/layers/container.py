"""Layers one after the other: the container that most nets are."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from fastconv.geometry import new_output, per_axis
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import (
    Backprop,
    ParameterBackprop,
    as_value,
    call,
    carried,
    check_gradients,
    check_inputs,
    dtype_of,
    each,
    each_shape,
    parameters_vjp_of,
    shape_of,
    together,
    vjp_of,
)
from fastconv.nn.layers.conv import Conv
from fastconv.nn.layers.pool import AvgPool, MaxPool

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder

# An array of LARGE_BYTES between a convolution and its pool would come from the system page by page and go
# back after each call, which may take longer than the work on it: both take a few images at a time instead.
LARGE_BYTES = 32 << 20
BLOCK_BYTES = 8 << 20
SMALL_BYTES = 1 << 20  # of an input that nothing so large comes from

# What a subclass of a convolution may have of its own: then its gradient is not taken behind the pool.
_BACKWARD = ("vjp", "vjp_parameters", "_learn")

_Stages = Sequence[tuple[int, Layer]]


def check_layers(name: str, layers: tuple[Any, ...], minimum: int) -> tuple[Layer, ...]:
    """`layers` if each is a layer and there are enough of them."""
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"{name}[{i}]: must be a layer, not {layer!r}")
    if len(layers) < minimum:
        raise ValueError(f"{name}: needs at least {minimum}")
    return layers


def _stages(layers: tuple[Layer, ...]) -> _Stages:
    """The layers with their positions; an activation is left to the layer in front where that applies it."""
    stages: list[tuple[int, Layer]] = []
    for i, layer in enumerate(layers):
        name = layer._fused_name()
        fused = stages[-1][1]._activated(name) if stages and name is not None else None
        if fused is None:
            stages.append((i, layer))
        else:
            stages[-1] = (stages[-1][0], fused)
    return tuple(stages)


def _pooled(stages: _Stages) -> tuple[tuple[int, Conv], ...]:
    """The convolutions that a pool follows, with their places among the stages.

    Not those of a subclass that calls for something else: it may look at the whole batch.
    """
    pools = (MaxPool.__call__, AvgPool.__call__)
    found: list[tuple[int, Conv]] = []
    for k, ((_, layer), (_, following)) in enumerate(pairwise(stages)):
        if not isinstance(layer, Conv) or type(layer).__call__ is not Conv.__call__:
            continue
        if type(following).__call__ in pools:
            found.append((k, layer))
    return tuple(found)


def _rectified(stages: _Stages, pooled: Sequence[tuple[int, Conv]]) -> dict[int, Conv]:
    """Those of the convolutions, by place, whose activation may find its gradient behind the pool."""
    return {
        k: conv
        for k, conv in pooled
        if conv.activation is not None
        and all(getattr(type(conv), name) is getattr(Conv, name) for name in _BACKWARD)
        and type(stages[k + 1][1]).vjp is MaxPool.vjp
    }


def _output_of(layer: Layer, value: Any) -> Any:
    """As `call`, but of one array nothing is checked: this is every call's path."""
    return call(layer, value) if isinstance(value, tuple) else layer(value)


def lowered(builder: Builder, name: str, layer: Layer, value: Any) -> Any:
    """What a layer inside adds to a graph, or None if that cannot be said."""
    if not says(type(layer), "_lower"):
        return None
    with builder.inside(name):
        return layer._lower(builder, *each(value))


def says(layer_class: type, name: str) -> bool:
    """Whether a class says by a method how it is called: a subclass called otherwise has not said it."""
    family = layer_class.__mro__
    called, said = (
        next(i for i, c in enumerate(family) if method in vars(c)) for method in ("__call__", name)
    )
    return said <= called


class _Plan:
    """How layers run one after the other; no container, so what is in it is not found a second time."""

    def __init__(self, stages: _Stages) -> None:
        self.stages = stages
        self.pooled = _pooled(stages)
        self.rectified = _rectified(stages, self.pooled)


class Sequential(Layer):
    """Layers one after the other; each reads what the one before it wrote.

    The outputs of a layer that has several are the inputs of the next, one argument each; the net takes what
    its first layer takes, and returns what its last returns.

    Parameters
    ----------
    *layers : Layer
        The same layer may stand in several places and then shares its parameters.

    Raises
    ------
    TypeError
        Something that is no layer.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> net = nn.Sequential(nn.Linear(4, 3, rng=0), nn.Flatten(), nn.Linear(3, 2, rng=1))
    >>> net(np.ones((5, 4), np.float32)).shape
    (5, 2)
    >>> net[0]
    Linear(in_features=4, out_features=3)
    """

    _positional = "layers"

    def __init__(self, *layers: Layer) -> None:
        self.layers = check_layers("layers", layers, 0)
        self._plan = _Plan(_stages(layers))

    def __call__(self, *inputs: Any) -> Any:
        return self._infer(self._plan.stages, as_value(inputs))

    def _lower(self, builder: Builder, *values: Value) -> Any:
        value = together(values)
        for i, layer in enumerate(self.layers):
            value = lowered(builder, str(i), layer, value)
            if value is None:
                return None
        return value

    def _rows_read(self) -> int | None:
        return self.layers[0]._rows_read() if self.layers else None

    def _variants(self) -> Iterable[Layer]:
        return [stage for i, stage in self._plan.stages if stage is not self.layers[i]]

    def _replace_inside(self, replace: Callable[[Any], Any]) -> None:
        stages = [(i, replace(stage)) for i, stage in self._plan.stages]
        super()._replace_inside(replace)
        vars(self)["_plan"] = _Plan(tuple(stages))

    def _put(self, name: str, layer: Layer) -> None:
        super()._put(name, layer)
        vars(self)["_plan"] = _Plan(_stages(self.layers))

    def _infer(self, stages: _Stages, given: Any) -> Any:
        """The output; large batches pass a convolution and the pool behind it in blocks."""
        if isinstance(given, tuple) or given.nbytes < SMALL_BYTES:
            return self._run(stages, given, given)
        done, value = 0, given
        for k, conv in self._plan.pooled:
            value = self._run(stages[done:k], value, given)
            value = self._run_blocks(stages[k : k + 2], conv, value, given)
            done = k + 2
        return self._run(stages[done:], value, given)

    def _run_blocks(self, stages: _Stages, conv: Conv, input: Any, given: np.ndarray) -> Any:
        """A convolution and the pool behind it: an image's result does not depend on its neighbours."""
        if isinstance(input, tuple):
            return self._run(stages, input, given)
        between_bytes = input.nbytes // conv.in_channels * conv.out_channels  # padding aside
        between_bytes //= math.prod(per_axis("stride", conv.stride, conv.spatial_rank, 1))
        if input.ndim != conv.spatial_rank + 2 or between_bytes < LARGE_BYTES:
            return self._run(stages, input, given)
        count = max(1, BLOCK_BYTES * len(input) // between_bytes)
        output = None
        for i in range(0, len(input), count):
            block = self._run(stages, input[i : i + count], given)
            if output is None:
                output = new_output((len(input), *block.shape[1:]), block.dtype, block)
            output[i : i + count] = block
        assert output is not None  # an empty batch is not large
        return output

    def _run(self, stages: _Stages, value: Any, given: Any) -> Any:
        """The stages one after the other; `given` is what the net was called with."""
        i = 0
        try:
            for i, stage in stages:  # noqa: B007 - the message below names the layer
                value = _output_of(stage, value)
        except (TypeError, ValueError) as error:
            raise self._located(i, error, value, shape_of(given), dtype_of(given)) from error
        return value

    def vjp(self, *inputs: Any, training: bool = True) -> tuple[Any, Backprop]:
        """See `Layer.vjp`."""
        return self._vjp(as_value(inputs), True, training)

    def vjp_parameters(self, *inputs: Any) -> tuple[Any, ParameterBackprop]:
        """See `Layer.vjp_parameters`: gradients go back as far as the first layer that learns."""
        return self._vjp(as_value(inputs), False, True)

    def _vjp(self, given: Any, to_input: bool, training: bool) -> tuple[Any, Backprop]:
        """The output, and how gradients go back: to the inputs, or to the parameters."""
        output, backprops = self._backprops(given, to_input, training)
        outputs, inputs = len(each(output)), len(each(given))

        def backward(*gradients: Any) -> Any:
            check_gradients("backprop", len(gradients), outputs)
            gradient = None if all(one is None for one in gradients) else together(gradients)
            for backprop in backprops:
                if gradient is None:  # nothing further in front has one
                    break
                gradient = backprop(gradient)
            return together([None] * inputs) if gradient is None or not to_input else gradient

        return output, backward

    def _backprops(self, given: Any, to_input: bool, training: bool) -> tuple[Any, list[Any]]:
        """The output, and how gradients go back, last layer first: from value to value."""
        backprops: list[Any] = []
        i, value, front, rectified = 0, given, given, self._plan.rectified
        try:
            for k, (i, layer) in enumerate(self._plan.stages):  # noqa: B007 - named in the message
                further = to_input or bool(backprops)  # whether what lies in front wants a gradient
                if k in rectified:
                    front, value = value, _output_of(layer, value)
                elif k - 1 in rectified:
                    value, unpool = vjp_of(layer, value, training)
                    conv = rectified[k - 1]
                    backprops.append(conv.backprop_behind_pool(front, value, unpool, further, training))
                elif further:
                    output, backprop = vjp_of(layer, value, training)
                    backprops.append(carried(layer, backprop, value, output))
                    value = output
                else:
                    output, learn = parameters_vjp_of(layer, value)
                    if layer._learns():
                        backprops.append(carried(layer, learn, value, output, False))
                    value = output
        except (TypeError, ValueError) as error:
            raise self._located(i, error, value, shape_of(given), dtype_of(given)) from error
        return value, backprops[::-1]

    def _located(self, i: int, error: Exception, value: Any, given: Any, dtype: Any = None) -> Exception:
        """The same error, saying which layer it is about and what may be wrong with what was given.

        `value` is what the layer was to read; if it takes another number of inputs, that is the error.
        """
        if type(error) not in (TypeError, ValueError):
            return error
        try:
            check_inputs(self.layers[i], len(each(value)))
        except TypeError as miscounted:
            error = miscounted
        text = f"layer {i}, {self.layers[i]!r}: {error}"
        advice = self._advice(given, dtype)
        return type(error)(text if advice in text else f"{text}; {advice}")

    def _advice(self, given: Any, dtype: np.dtype | None) -> str:
        """What would help an input of this shape and dtype through the net, if that is easily said."""
        own = {parameter.value.dtype for parameter in self.parameters()}
        if dtype is not None and own and dtype not in own and self._rows_read() is None:
            return f"the net's parameters are {' and '.join(sorted(map(str, own)))}, its input is {dtype}"
        if len(each_shape(given)) > 1:
            return ""
        readings = {
            given: "",  # the shape is not what is wrong
            (1, *given): "the batch axis seems to be missing: x[None] has it",
            (1, 1, *given): "batch and channels seem to be missing: x[None, None] has them",
        }
        for shape, words in readings.items():
            with contextlib.suppress(Exception):  # layers of one's own may raise anything
                list(self._shapes(shape))
                return words
        return ""

    def output_shape(self, input_shape: Any) -> Any:
        """See `Layer.output_shape`."""
        return self._inner_shapes(input_shape)[-1]

    def trace(self, input_shape: Any) -> list[tuple[str, Layer, Any]]:
        """See `Layer.trace`."""
        shapes = self._inner_shapes(input_shape)
        return [(str(i), layer, shape) for i, (layer, shape) in enumerate(zip(self.layers, shapes))]

    def _inner_shapes(self, input_shape: Any) -> list[Any]:
        shapes: list[Any] = []
        try:
            for shape in self._shapes(input_shape):
                shapes.append(shape)
        except (TypeError, ValueError) as error:
            i, read = len(shapes) - 1, each_shape(shapes[-1])
            raise self._located(i, error, read, shapes[0]) from error
        return shapes

    def _shapes(self, input_shape: Any) -> Iterator[Any]:
        """The shape of the input, and of what each layer makes of it."""
        shape = together(each_shape(input_shape))
        yield shape
        for layer in self.layers:
            check_inputs(layer, len(each_shape(shape)))
            shape = layer.output_shape(shape)
            yield shape

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Layer | Sequential:
        """One layer, or for a slice a `Sequential` of the same layers, which shares their parameters."""
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]
