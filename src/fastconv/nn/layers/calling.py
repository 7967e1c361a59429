"""How layers are called: one array goes in and comes out, or several as a tuple.

A layer takes its inputs one by one and returns an array, or a tuple of arrays where it has several outputs;
its backprop takes as many gradients as there were outputs and returns as many as there were inputs. A *value*
is what passes from one layer to the next: an array, or a tuple of arrays. A gradient may be None: nobody uses
that output, or that input has no gradient, as integers have none.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fastconv.geometry import as_ndarray

Shape = tuple[int, ...]

#: An array, or several.
Value = np.ndarray | tuple[np.ndarray, ...]

#: The shape of an array, or those of several.
ValueShape = Shape | tuple[Shape, ...]

#: From the gradients of the outputs to those of the inputs, several as a tuple.
Backprop = Callable[..., Any]

#: As `Backprop`, but only parameters get a gradient; whatever it returns means nothing.
ParameterBackprop = Callable[..., object]


def each(value: Any) -> tuple[Any, ...]:
    """The arrays of a value."""
    return value if isinstance(value, tuple) else (value,)


def together(arrays: Sequence[Any]) -> Any:
    """The value that some arrays are: one of them itself."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def each_shape(shape: Any) -> tuple[Shape, ...]:
    """The shapes that a shape, or a tuple of shapes, holds."""
    if shape and isinstance(shape[0], (tuple, list)):
        return tuple(map(tuple, shape))
    return (tuple(shape),)


def shape_of(value: Any) -> ValueShape:
    """The shape of a value: of several arrays a tuple of shapes."""
    return tuple(array.shape for array in value) if isinstance(value, tuple) else value.shape


def dtype_of(value: Any) -> np.dtype | None:
    """The dtype of an array; None for several."""
    return None if isinstance(value, tuple) else value.dtype


def as_value(inputs: tuple[Any, ...]) -> Any:
    """What a net was called with as a value.

    Raises
    ------
    TypeError
        Nothing, or something that is no array.
    """
    if len(inputs) == 1:
        return as_ndarray("input", inputs[0])
    if not inputs:
        raise TypeError("input: is missing")
    if isinstance(inputs[-1], bool):
        raise TypeError(f"training={inputs[-1]!r}: must be given by name")
    return tuple(as_ndarray(f"inputs[{i}]", input) for i, input in enumerate(inputs))


# ---- inputs --------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _inputs_of(call: Callable[..., Any]) -> tuple[int, float]:
    """The fewest and the most inputs that a method takes."""
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(call).parameters.values())
    positional = [p for p in parameters if p.kind in places][1:]  # without self
    fewest = sum(p.default is inspect.Parameter.empty for p in positional)
    endless = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    return fewest, math.inf if endless else len(positional)


def check_inputs(layer: Any, count: int) -> None:
    """Raise `TypeError` unless a layer takes so many inputs."""
    kind = getattr(type(layer), "_original", type(layer))  # what a stand-in stands for
    fewest, most = _inputs_of(kind.__call__)
    if fewest <= count <= most:
        return
    takes = f"{fewest} to {most}" if fewest < most < math.inf else f"{fewest}"
    takes = f"at least {fewest}" if most == math.inf else takes
    raise TypeError(f"{kind.__name__} takes {takes} input{'s' if most > 1 else ''}, and was given {count}")


def call(layer: Any, value: Any) -> Any:
    """What a layer makes of a value.

    Raises
    ------
    TypeError
        It takes another number of inputs.
    """
    inputs = each(value)
    check_inputs(layer, len(inputs))
    return layer(*inputs)


@lru_cache(maxsize=256)
def _names_training(vjp: Callable[..., Any]) -> bool:
    parameters = inspect.signature(vjp).parameters.values()
    return any(p.name == "training" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def takes_training(layer: Any) -> bool:
    """Whether a layer's `vjp` can be asked for the gradient of inference."""
    return _names_training(type(layer).vjp)


def vjp_of(layer: Any, inputs: Any, training: bool) -> tuple[Any, Backprop]:
    """`layer.vjp(*inputs, training)`, also of a layer that only knows training where that is asked for.

    Raises
    ------
    TypeError
        Inference is asked for, and the layer's class does not say what that is; or it takes another number
        of inputs.
    """
    if isinstance(inputs, tuple):
        check_inputs(layer, len(inputs))
    if training:
        return layer.vjp(*each(inputs))  # type: ignore[no-any-return]
    if not takes_training(layer):
        raise TypeError(
            f"training=False: {type(layer).__name__}.vjp only knows training; define it as "
            "vjp(self, input, training=True) to say what the gradient of inference is"
        )
    return layer.vjp(*each(inputs), training=False)  # type: ignore[no-any-return]


def parameters_vjp_of(layer: Any, inputs: Any) -> tuple[Any, ParameterBackprop]:
    """`layer.vjp_parameters(*inputs)`; raises `TypeError` if it takes another number of inputs."""
    if not isinstance(inputs, tuple):
        return layer.vjp_parameters(inputs)  # type: ignore[no-any-return]
    check_inputs(layer, len(inputs))
    return layer.vjp_parameters(*inputs)  # type: ignore[no-any-return]


# ---- gradients -----------------------------------------------------------------------------------------


def output_gradients(name: str, gradients: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """One gradient per output: zeros where there is None, but for outputs that have none (integers).

    Raises
    ------
    TypeError
        More or fewer gradients than outputs.
    """
    check_gradients(name, len(gradients), len(outputs))
    return tuple(
        np.zeros(output.shape, output.dtype) if gradient is None and output.dtype.kind == "f" else gradient
        for gradient, output in zip(gradients, outputs)
    )


def check_gradients(name: str, given: int, outputs: int) -> None:
    """Raise `TypeError` unless there are as many gradients as outputs."""
    if given != outputs:
        plural = "s" if outputs != 1 else ""
        raise TypeError(f"{name}: takes {outputs} gradient{plural}, one per output, and was given {given}")


def carried(
    layer: Any, backprop: Callable[..., Any], inputs: Any, outputs: Any, to_input: bool = True
) -> Callable[[Any], Any]:
    """`backprop` from value to value: what connects layers of several inputs and outputs."""
    if not isinstance(inputs, tuple) and not isinstance(outputs, tuple):
        return backprop
    count = len(each(inputs))
    shapes = tuple(np.broadcast_to(output.dtype.type(0), output.shape) for output in each(outputs))
    name = f"backprop of {type(layer).__name__}"

    def backward(gradient: Any) -> Any:
        found = each(backprop(*output_gradients(name, each(gradient), shapes)))
        if not to_input:
            return None
        if len(found) != count:
            raise TypeError(
                f"{name}: must return {count} gradients, one per input (None where there is none), and "
                f"returned {len(found)}"
            )
        return None if all(gradient is None for gradient in found) else together(found)

    return backward


def added(left: Any, right: Any) -> Any:
    """The sum of two values or gradients, array by array; None adds nothing."""
    if isinstance(left, tuple) or isinstance(right, tuple):
        return together([added(a, b) for a, b in zip(each(left), each(right), strict=True)])
    if left is None or right is None:
        return right if left is None else left
    return left + right
