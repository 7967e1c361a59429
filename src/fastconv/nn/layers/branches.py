"""Layers beside each other: around their input, or as branches that are joined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.geometry import LIMIT, axis_number, whole_number
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import (
    Backprop,
    ParameterBackprop,
    Shape,
    added,
    as_value,
    call,
    carried,
    check_gradients,
    each,
    each_shape,
    parameters_vjp_of,
    shape_of,
    together,
    vjp_of,
)
from fastconv.nn.layers.container import Sequential, check_layers, lowered

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder


def _learning(layer: Layer, value: Any) -> tuple[Any, Callable[[Any], Any] | None]:
    """The output, and backprop to the parameters if there are any, from value to value."""
    output, learn = parameters_vjp_of(layer, value)
    return output, carried(layer, learn, value, output, False) if layer._learns() else None


class Residual(Sequential):
    """Layers one after the other, and their input added to what comes out: `layers(x) + shortcut(x)`.

    Of several outputs each is added to the input, or output of `shortcut`, in its place.

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

    def __call__(self, *inputs: Any) -> Any:
        value = as_value(inputs)
        output = super().__call__(*inputs)
        around = value if self.shortcut is None else call(self.shortcut, value)
        return self._sum(output, around)

    def _lower(self, builder: Builder, *values: Value) -> Any:
        output, around = super()._lower(builder, *values), together(values)
        if self.shortcut is not None:
            around = lowered(builder, "shortcut", self.shortcut, around)
        if output is None or around is None:
            return None
        return together([builder.add("Add", *pair) for pair in zip(each(output), each(around))])

    def _sum(self, output: Any, around: Any) -> Any:
        self._check_ends(shape_of(output), shape_of(around))
        return added(output, around)

    def vjp(self, *inputs: Any, training: bool = True) -> tuple[Any, Backprop]:
        """See `Layer.vjp`."""
        value = as_value(inputs)
        output, backprop = super().vjp(*inputs, training=training)
        around, around_backprop = value, None
        if self.shortcut is not None:
            around, backprop_around = vjp_of(self.shortcut, value, training)
            around_backprop = carried(self.shortcut, backprop_around, value, around)
        total = self._sum(output, around)

        def backward(*gradients: Any) -> Any:
            gradient = together(gradients)
            grad_around = gradient if around_backprop is None else around_backprop(gradient)
            return added(backprop(*gradients), grad_around)

        return total, backward

    def vjp_parameters(self, *inputs: Any) -> tuple[Any, ParameterBackprop]:
        """See `Layer.vjp_parameters`: both ways end at their first layer that learns."""
        value = as_value(inputs)
        output, learn = super().vjp_parameters(*inputs)
        around, around_learn = value, None
        if self.shortcut is not None:
            around, around_learn = _learning(self.shortcut, value)
        total = self._sum(output, around)

        def backward(*gradients: Any) -> None:
            learn(*gradients)
            if around_learn is not None:
                around_learn(together(gradients))

        return total, backward

    def output_shape(self, input_shape: Any) -> Any:
        """See `Layer.output_shape`."""
        shape = super().output_shape(input_shape)
        self._check_ends(
            shape, input_shape if self.shortcut is None else self.shortcut.output_shape(input_shape)
        )
        return shape

    def trace(self, input_shape: Any) -> list[tuple[str, Layer, Any]]:
        """See `Layer.trace`."""
        around = [] if self.shortcut is None else [("shortcut", self.shortcut, tuple(input_shape))]
        return [*super().trace(input_shape), *around]

    def flops(self, input_shape: Any) -> int:
        """See `Layer.flops`; the sum of the two ways counts one per element."""
        return super().flops(input_shape) + sum(map(math.prod, each_shape(self.output_shape(input_shape))))

    def _check_ends(self, output_shape: Any, around_shape: Any) -> None:
        if each_shape(output_shape) != each_shape(around_shape):
            raise ValueError(
                f"Residual: the layers end in shape {output_shape}, the way around them in {around_shape}; "
                "both must agree (give shortcut=, a layer that makes them)"
            )


class Concat(Layer):
    """Branches side by side: each reads the same input, their outputs are joined along one axis.

    Of several inputs each branch reads all. Branches with several outputs must have as many each: the first
    ones are joined, the second ones, and so on.

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

    def __call__(self, *inputs: Any) -> Any:
        value = as_value(inputs)
        return self._join([call(branch, value) for branch in self.branches])

    def _lower(self, builder: Builder, *values: Value) -> Any:
        value = together(values)
        outputs = [lowered(builder, str(i), branch, value) for i, branch in enumerate(self.branches)]
        if any(output is None for output in outputs):
            return None
        parts = zip(*map(each, outputs))
        return together([builder.add("Concat", *one, axis=self.dim) for one in parts])

    def _join(self, outputs: Sequence[Any]) -> Any:
        self._joined([shape_of(output) for output in outputs])
        return together([np.concatenate(parts, axis=self.dim) for parts in zip(*map(each, outputs))])

    def vjp(self, *inputs: Any, training: bool = True) -> tuple[Any, Backprop]:
        """See `Layer.vjp`."""
        value = as_value(inputs)
        outputs: list[Any] = []
        backprops: list[Any] = []
        for branch in self.branches:
            output, backprop = vjp_of(branch, value, training)
            outputs.append(output)
            backprops.append(carried(branch, backprop, value, output))
        joined, split = self._join(outputs), self._splitter(outputs)

        def backward(*gradients: Any) -> Any:
            parts = split(gradients)
            grad_input = backprops[0](parts[0])
            for backprop, part in zip(backprops[1:], parts[1:]):
                grad_input = added(grad_input, backprop(part))
            return together([None] * len(inputs)) if grad_input is None else grad_input

        return joined, backward

    def vjp_parameters(self, *inputs: Any) -> tuple[Any, ParameterBackprop]:
        """See `Layer.vjp_parameters`: each branch ends at its first layer that learns."""
        value = as_value(inputs)
        outputs, learns = zip(*[_learning(branch, value) for branch in self.branches])
        joined, split = self._join(outputs), self._splitter(outputs)

        def backward(*gradients: Any) -> None:
            for learn, part in zip(learns, split(gradients)):
                if learn is not None:
                    learn(part)

        return joined, backward

    def _splitter(self, outputs: Sequence[Any]) -> Callable[[tuple[Any, ...]], list[Any]]:
        """What takes the gradients of joined outputs apart: a value for each branch."""
        dim, joined = self.dim, list(zip(*map(each, outputs)))
        ends = [np.cumsum([part.shape[dim] for part in parts])[:-1] for parts in joined]

        def split(gradients: tuple[Any, ...]) -> list[Any]:
            check_gradients("backprop of Concat", len(gradients), len(ends))
            parts = [
                [None] * len(outputs) if gradient is None else np.split(gradient, end, axis=dim)
                for gradient, end in zip(gradients, ends)
            ]
            return [together(own) for own in zip(*parts)]

        return split

    def output_shape(self, input_shape: Any) -> Any:
        """See `Layer.output_shape`."""
        return self._joined([branch.output_shape(input_shape) for branch in self.branches])

    def trace(self, input_shape: Any) -> list[tuple[str, Layer, Any]]:
        """See `Layer.trace`."""
        return [(str(i), branch, tuple(input_shape)) for i, branch in enumerate(self.branches)]

    def _joined(self, shapes: list[Any]) -> Any:
        """The shape that outputs of these shapes join to."""
        several = [each_shape(shape) for shape in shapes]
        if any(len(own) != len(several[0]) for own in several):
            counts = ", ".join(str(len(own)) for own in several)
            raise ValueError(f"Concat: branches have {counts} outputs; all must have as many")
        return together([self._joined_one(list(parts)) for parts in zip(*several)])

    def _joined_one(self, shapes: list[Shape]) -> Shape:
        """As `_joined`, of branches with one output."""
        rank = len(shapes[0])
        dim = axis_number("dim", self.dim, rank)
        others = [(*shape[:dim], *shape[dim + 1 :]) for shape in shapes]
        if any(len(shape) != rank for shape in shapes) or any(other != others[0] for other in others):
            raise ValueError(
                f"Concat: branches end in shapes {', '.join(map(str, shapes))}; all but axis "
                f"{self.dim} must agree"
            )
        return (*shapes[0][:dim], sum(shape[dim] for shape in shapes), *shapes[0][dim + 1 :])
