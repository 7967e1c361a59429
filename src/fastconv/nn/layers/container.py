"""Layers made of layers: one after the other, beside the input, side by side."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, overload

import numpy as np

from fastconv.geometry import LIMIT, as_ndarray, axis_number, new_output, per_axis, whole_number
from fastconv.nn.layers.base import Backprop, Layer, ParameterBackprop, Shape, vjp_of
from fastconv.nn.layers.conv import Conv
from fastconv.nn.layers.pool import AvgPool, MaxPool

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


def _parameter_vjp(layer: Layer, input: np.ndarray) -> tuple[np.ndarray, ParameterBackprop | None]:
    """The output, and backprop to the parameters if there are any."""
    output, learn = layer.vjp_parameters(input)
    return output, learn if layer._learns() else None


class _Plan:
    """How layers run one after the other; no container, so what is in it is not found a second time."""

    def __init__(self, stages: _Stages) -> None:
        self.stages = stages
        self.pooled = _pooled(stages)
        self.rectified = _rectified(stages, self.pooled)


class Sequential(Layer):
    """Layers one after the other; each reads what the one before it wrote.

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

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return self._infer(self._plan.stages, input)

    def _variants(self) -> Iterable[Layer]:
        return [stage for i, stage in self._plan.stages if stage is not self.layers[i]]

    def _replace_inside(self, replace: Callable[[Any], Any]) -> None:
        stages = [(i, replace(stage)) for i, stage in self._plan.stages]
        super()._replace_inside(replace)
        vars(self)["_plan"] = _Plan(tuple(stages))

    def _infer(self, stages: _Stages, input: Any) -> np.ndarray:
        """The output; large batches pass a convolution and the pool behind it in blocks."""
        input = given = as_ndarray("input", input)
        if input.nbytes < SMALL_BYTES:
            return self._run(stages, input, given)
        done = 0
        for k, conv in self._plan.pooled:
            input = self._run(stages[done:k], input, given)
            input = self._run_blocks(stages[k : k + 2], conv, input, given)
            done = k + 2
        return self._run(stages[done:], input, given)

    def _run_blocks(self, stages: _Stages, conv: Conv, input: np.ndarray, given: np.ndarray) -> np.ndarray:
        """A convolution and the pool behind it: an image's result does not depend on its neighbours."""
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

    def _run(self, stages: _Stages, input: np.ndarray, given: np.ndarray) -> np.ndarray:
        """The stages one after the other; `given` is what the net was called with."""
        i = 0
        try:
            for i, stage in stages:  # noqa: B007 - the message below names the layer
                input = stage(input)
        except (TypeError, ValueError) as error:
            raise self._located(i, error, given.shape, given.dtype) from error
        return input

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        output, backprops = self._backprops(input, True, training)

        def backward(grad_output: np.ndarray) -> np.ndarray:
            for backprop in backprops:
                grad_output = backprop(grad_output)
            return grad_output

        return output, backward

    def vjp_parameters(self, input: np.ndarray) -> tuple[np.ndarray, ParameterBackprop]:
        """See `Layer.vjp_parameters`: gradients go back as far as the first layer that learns."""
        output, backprops = self._backprops(input, False, True)

        def backward(grad_output: np.ndarray) -> None:
            gradient: Any = grad_output
            for backprop in backprops:
                gradient = backprop(gradient)

        return output, backward

    def _backprops(self, input: np.ndarray, to_input: bool, training: bool) -> tuple[np.ndarray, list[Any]]:
        """The output, and how gradients go back, last layer first: to the input, or to the parameters."""
        backprops: list[Any] = []
        input = given = as_ndarray("input", input)
        i, front, rectified = 0, input, self._plan.rectified
        try:
            for k, (i, layer) in enumerate(self._plan.stages):  # noqa: B007 - named in the message
                further = to_input or bool(backprops)  # whether what lies in front wants a gradient
                if k in rectified:
                    front, input = input, layer(input)
                elif k - 1 in rectified:
                    input, unpool = vjp_of(layer, input, training)
                    conv = rectified[k - 1]
                    backprops.append(conv.backprop_behind_pool(front, input, unpool, further, training))
                elif further:
                    input, backprop = vjp_of(layer, input, training)
                    backprops.append(backprop)
                else:
                    input, learn = layer.vjp_parameters(input)
                    if layer._learns():
                        backprops.append(learn)
        except (TypeError, ValueError) as error:
            raise self._located(i, error, given.shape, given.dtype) from error
        return input, backprops[::-1]

    def _located(self, i: int, error: Exception, given: Shape, dtype: np.dtype | None = None) -> Exception:
        """The same error, saying which layer it is about and what may be wrong with what was given."""
        if type(error) not in (TypeError, ValueError):
            return error
        text = f"layer {i}, {self.layers[i]!r}: {error}"
        advice = self._advice(given, dtype)
        return type(error)(text if advice in text else f"{text}; {advice}")

    def _advice(self, given: Shape, dtype: np.dtype | None) -> str:
        """What would help an input of this shape and dtype through the net, if that is easily said."""
        own = {parameter.value.dtype for parameter in self.parameters()}
        if dtype is not None and own and dtype not in own:
            return f"the net's parameters are {' and '.join(sorted(map(str, own)))}, its input is {dtype}"
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

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return self._inner_shapes(input_shape)[-1]

    def trace(self, input_shape: Shape) -> list[tuple[str, Layer, Shape]]:
        """See `Layer.trace`."""
        shapes = self._inner_shapes(input_shape)
        return [(str(i), layer, shape) for i, (layer, shape) in enumerate(zip(self.layers, shapes))]

    def _inner_shapes(self, input_shape: Shape) -> list[Shape]:
        shapes: list[Shape] = []
        try:
            for shape in self._shapes(input_shape):
                shapes.append(shape)
        except (TypeError, ValueError) as error:
            raise self._located(len(shapes) - 1, error, tuple(input_shape)) from error
        return shapes

    def _shapes(self, input_shape: Shape) -> Iterator[Shape]:
        """The shape of the input, and of what each layer makes of it."""
        shape = tuple(input_shape)
        yield shape
        for layer in self.layers:
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


class Residual(Sequential):
    """Layers one after the other, and their input added to what comes out: `layers(x) + shortcut(x)`.

    Parameters
    ----------
    *layers : Layer
        At least one.
    shortcut : Layer, optional
        What the input goes through on its way around; needed where `layers` change the shape.

    Raises
    ------
    TypeError, ValueError
        Something that is no layer; no layer at all; when run, two ways that end in different shapes.

    Notes
    -----
    He et al., "Deep residual learning for image recognition", arXiv:1512.03385.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> block = nn.Residual(nn.Conv2d(4, 4, 3, padding=1, activation="relu"), nn.Conv2d(4, 4, 3, padding=1))
    >>> block(np.ones((1, 4, 8, 8), np.float32)).shape
    (1, 4, 8, 8)
    """

    def __init__(self, *layers: Layer, shortcut: Layer | None = None) -> None:
        check_layers("layers", layers, 1)
        super().__init__(*layers)
        if shortcut is not None:
            check_layers("shortcut", (shortcut,), 1)
        self.shortcut = shortcut

    def __call__(self, input: np.ndarray) -> np.ndarray:
        input = as_ndarray("input", input)
        output = super().__call__(input)
        around = input if self.shortcut is None else self.shortcut(input)
        return self._sum(output, around)

    def _sum(self, output: np.ndarray, around: np.ndarray) -> np.ndarray:
        self._check_ends(output.shape, around.shape)
        total: np.ndarray = output + around
        return total

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_ndarray("input", input)
        output, backprop = super().vjp(input, training)
        around, around_backprop = input, None
        if self.shortcut is not None:
            around, around_backprop = vjp_of(self.shortcut, input, training)
        self._check_ends(output.shape, around.shape)

        def backward(grad_output: np.ndarray) -> np.ndarray:
            grad_around = grad_output if around_backprop is None else around_backprop(grad_output)
            grad_input: np.ndarray = backprop(grad_output) + grad_around
            return grad_input

        return output + around, backward

    def vjp_parameters(self, input: np.ndarray) -> tuple[np.ndarray, ParameterBackprop]:
        """See `Layer.vjp_parameters`: both ways end at their first layer that learns."""
        output, learn = super().vjp_parameters(input)
        around, around_learn = input, None
        if self.shortcut is not None:
            around, around_learn = _parameter_vjp(self.shortcut, input)
        total = self._sum(output, around)

        def backward(grad_output: np.ndarray) -> None:
            learn(grad_output)
            if around_learn is not None:
                around_learn(grad_output)

        return total, backward

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        shape = super().output_shape(input_shape)
        self._check_ends(
            shape, input_shape if self.shortcut is None else self.shortcut.output_shape(input_shape)
        )
        return shape

    def trace(self, input_shape: Shape) -> list[tuple[str, Layer, Shape]]:
        """See `Layer.trace`."""
        around = [] if self.shortcut is None else [("shortcut", self.shortcut, tuple(input_shape))]
        return [*super().trace(input_shape), *around]

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`; the sum of the two ways counts one per element."""
        return super().flops(input_shape) + math.prod(self.output_shape(input_shape))

    def _check_ends(self, output_shape: Shape, around_shape: Shape) -> None:
        if tuple(output_shape) != tuple(around_shape):
            raise ValueError(
                f"Residual: the layers end in shape {output_shape}, the way around them in {around_shape}; "
                "both must agree (give shortcut=, a layer that makes them)"
            )


class Concat(Layer):
    """Branches side by side: each reads the same input, their outputs are joined along one axis.

    Parameters
    ----------
    *branches : Layer
        At least one; `nn.Identity()` passes the input on.
    dim : int, default 1
        Axis along which outputs are joined, the channels of (N, C, *spatial).

    Raises
    ------
    TypeError, ValueError
        Something that is no layer; no branch at all; when run, outputs that differ along another axis.

    Notes
    -----
    Szegedy et al., "Going deeper with convolutions", arXiv:1409.4842.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> fan = nn.Concat(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 8, 3, padding=1), nn.Identity())
    >>> fan(np.ones((1, 3, 6, 6), np.float32)).shape
    (1, 15, 6, 6)
    """

    _positional = "branches"

    def __init__(self, *branches: Layer, dim: int = 1) -> None:
        self.branches = check_layers("branches", branches, 1)
        self.dim = whole_number("dim", dim, -LIMIT)

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return self._join([branch(input) for branch in self.branches])

    def _join(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        self._joined([output.shape for output in outputs])
        return np.concatenate(outputs, axis=self.dim)

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`."""
        input = as_ndarray("input", input)
        outputs, backprops = zip(*[vjp_of(branch, input, training) for branch in self.branches])
        output = self._join(outputs)
        split = self._splitter(outputs)

        def backward(grad_output: np.ndarray) -> np.ndarray:
            parts = split(grad_output)
            grad_input: np.ndarray = backprops[0](parts[0])
            for backprop, part in zip(backprops[1:], parts[1:]):
                grad_input = grad_input + backprop(part)
            return grad_input

        return output, backward

    def vjp_parameters(self, input: np.ndarray) -> tuple[np.ndarray, ParameterBackprop]:
        """See `Layer.vjp_parameters`: each branch ends at its first layer that learns."""
        outputs, learns = zip(*[_parameter_vjp(branch, input) for branch in self.branches])
        output = self._join(outputs)
        split = self._splitter(outputs)

        def backward(grad_output: np.ndarray) -> None:
            for learn, part in zip(learns, split(grad_output)):
                if learn is not None:
                    learn(part)

        return output, backward

    def _splitter(self, outputs: Sequence[np.ndarray]) -> Callable[[np.ndarray], list[np.ndarray]]:
        """What takes the gradient of joined outputs apart."""
        dim = self.dim
        ends = np.cumsum([output.shape[dim] for output in outputs])[:-1]
        return lambda grad_output: np.split(grad_output, ends, axis=dim)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        return self._joined([branch.output_shape(input_shape) for branch in self.branches])

    def trace(self, input_shape: Shape) -> list[tuple[str, Layer, Shape]]:
        """See `Layer.trace`."""
        return [(str(i), branch, tuple(input_shape)) for i, branch in enumerate(self.branches)]

    def _joined(self, shapes: list[Shape]) -> Shape:
        """The shape that outputs of these shapes join to."""
        rank = len(shapes[0])
        dim = axis_number("dim", self.dim, rank)
        others = [(*shape[:dim], *shape[dim + 1 :]) for shape in shapes]
        if any(len(shape) != rank for shape in shapes) or any(other != others[0] for other in others):
            raise ValueError(
                f"Concat: branches end in shapes {', '.join(map(str, shapes))}; all but axis "
                f"{self.dim} must agree"
            )
        return (*shapes[0][:dim], sum(shape[dim] for shape in shapes), *shapes[0][dim + 1 :])
