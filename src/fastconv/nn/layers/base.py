"""What every layer is: a function of one array, with parameters.

`y = layer(x)` is inference and keeps nothing. `y, backprop = layer.vjp(x)` is training: whatever the gradient
needs lives in the closure, so a layer may be used twice in a net and by several threads at once.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from fastconv.geometry import as_array, as_sizes, check_allocation, check_shape
from fastconv.nn.arguments import float_dtype
from fastconv.nn.parameter import Buffer, Parameter

Shape = tuple[int, ...]

#: From the gradient of the output to the gradient of the input.
Backprop = Callable[[np.ndarray], np.ndarray]

#: As `Backprop`, but only parameters get a gradient; whatever it returns means nothing.
ParameterBackprop = Callable[[np.ndarray], object]

_Self = TypeVar("_Self", bound="Layer")


class Layer:
    """Base of all layers. A layer of your own defines `__call__` and `vjp`; the rest comes from here.

    Attributes are written once, in `__init__`, and every argument of `__init__` is kept under its own name.
    Parameters and other layers found among the attributes are this layer's own.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> class Scale(nn.Layer):
    ...     def __init__(self, factor=1.0):
    ...         self.factor = factor
    ...         self.weight = nn.Parameter(np.array([factor]), "weight")
    ...     def __call__(self, input):
    ...         return input * self.weight.value
    ...     def vjp(self, input):
    ...         def backprop(grad_output):
    ...             self.weight.add_grad((grad_output * input).sum())
    ...             return grad_output * self.weight.value
    ...         return self(input), backprop
    >>> net = nn.Sequential(Scale(2.0), nn.Flatten())
    >>> net
    Sequential(Scale(factor=2.0), Flatten())
    >>> y, backprop = net.vjp(np.ones((1, 2, 2)))
    >>> backprop(np.ones_like(y))[0, 0]
    array([2., 2.])
    >>> net.parameters()[0].grad
    array([4.])
    """

    def __call__(self, input: np.ndarray) -> np.ndarray:
        """The output for `input`: dropout off, batch norm by its running statistics, nothing kept."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def vjp(self, input: np.ndarray) -> tuple[np.ndarray, Backprop]:
        """Output and backprop, in training mode: dropout on, batch norm by the statistics of this batch.

        Returns
        -------
        output : ndarray
        backprop : function
            `grad_input = backprop(grad_output)` adds into the `grad` of every parameter used and returns the
            gradient of `input`. `input` and parameters must not change between the two calls.
        """
        raise NotImplementedError(f"{type(self).__name__} must define vjp")

    def vjp_parameters(self, input: np.ndarray) -> tuple[np.ndarray, ParameterBackprop]:
        """As `vjp`, but nobody wants the gradient of `input`: for the front of a net."""
        return self.vjp(input)

    def prepare(self, example: Any = None) -> Prepared:
        """This layer as it is now, made ready for inference: `prepared(x)` gives what `layer(x)` gives.

        Weights of convolutions and fully connected layers are copied and packed once, not in every call.
        Later changes to parameters do not show; prepare again after training.

        Parameters
        ----------
        example : array or tuple of int, optional
            An input, or the shape of one, batch included: run once, so that the first call is as fast as any.
            Other shapes may be given later.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv import nn
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2, rng=1))
        >>> prepared = net.prepare((1, 1, 4, 4))
        >>> x = np.ones((5, 1, 4, 4), np.float32)
        >>> np.array_equal(prepared(x), net(x))
        True
        """
        prepared = Prepared(self)
        if isinstance(example, (tuple, list)):
            found = self.parameters()
            shape = as_sizes("example", example, (len(example),))
            example = np.zeros(shape, found[0].value.dtype if found else np.float32)
        if example is not None:
            prepared(example)
        return prepared

    def _inference(self) -> Callable[[np.ndarray], np.ndarray]:
        """A function that computes what calling this layer does now, whatever becomes of its parameters."""
        return copy.deepcopy(self)

    def _fused_name(self) -> str | None:
        """The name under which layers with weights apply this function to what they store, if they can."""
        return None

    def _activated(self, activation: str) -> Layer | None:
        """A layer with the same parameters that applies an activation as it stores, if there is one."""
        return None

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output for an input of this shape (batch included), without computing it.

        A layer that does not define it is asked with zeros.

        Raises
        ------
        ValueError
            The layer does not take such an input.
        """
        found = self.parameters()
        return self(np.zeros(input_shape, found[0].value.dtype if found else np.float32)).shape

    def flops(self, input_shape: Shape) -> int:
        """Multiplications, additions, comparisons and function values for one input of this shape."""
        return sum(layer.flops(shape) for _, layer, shape in self.trace(input_shape))

    def trace(self, input_shape: Shape) -> list[tuple[str, Layer, Shape]]:
        """(name, layer, shape of its input) of the layers inside, in the order they run; mostly none."""
        return []

    def children(self) -> dict[str, Layer]:
        """The layers inside by name; a layer that is used twice is there twice."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Layer)}

    # ---- arrays owned --------------------------------------------------------------------------------

    def named_buffers(self) -> dict[str, Buffer]:
        """Parameters and buffers of this layer and all layers inside, each once, by path: "0.weight"."""
        found: dict[str, Buffer] = {}
        seen: set[int] = set()
        for path, layer in self.walk():
            for name, value in vars(layer).items():
                if isinstance(value, Buffer) and id(value) not in seen:
                    seen.add(id(value))
                    found[f"{path}{name}"] = value
        return found

    def named_parameters(self) -> dict[str, Parameter]:
        """Parameters of this layer and all layers inside, each once, by path: "0.weight"."""
        return {path: value for path, value in self.named_buffers().items() if isinstance(value, Parameter)}

    def parameters(self) -> list[Parameter]:
        """What an optimizer learns: the parameters of this layer and all layers inside, each once."""
        return list(self.named_parameters().values())

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to zero."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by path."""
        return {path: buffer.value.copy() for path, buffer in self.named_buffers().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy the arrays of a `state_dict` into this layer's parameters and buffers.

        One of torch for a net of the same layers will do: names, shapes and their meaning agree. Entries
        called `num_batches_tracked`, where torch's batch norm counts its batches, are left out.

        Raises
        ------
        ValueError, TypeError
            A name is missing or unknown, a shape or dtype differs; then nothing has been copied.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state: must be a mapping from names to arrays, not {type(state).__name__}")
        buffers = self.named_buffers()
        given = [name for name in state if str(name).rpartition(".")[2] != "num_batches_tracked"]
        for name in [*given, *buffers]:
            if name not in buffers or name not in state:
                known = ", ".join(buffers) or "none"
                raise ValueError(
                    f"state: {name!r} is {'missing' if name in buffers else 'unknown'}; expected {known}"
                )
        arrays = {
            name: as_array(f"state[{name!r}]", state[name], b.value.dtype) for name, b in buffers.items()
        }
        for name, buffer in buffers.items():
            check_shape(f"state[{name!r}]", arrays[name], buffer.value.shape)
        for name, buffer in buffers.items():
            buffer.value[...] = arrays[name]

    def astype(self: _Self, dtype: Any) -> _Self:
        """A copy of this layer, and of all inside, whose parameters and buffers are float32 or float64.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv import nn
        >>> nn.Linear(3, 2).astype(np.float64).weight
        Parameter('weight', shape=(2, 3), dtype=float64)
        """
        dtype = float_dtype("dtype", dtype)
        twin = copy.deepcopy(self)
        for buffer in twin.named_buffers().values():
            buffer.cast(dtype)
        for _, layer in twin.walk():
            if "dtype" in vars(layer):
                vars(layer)["dtype"] = dtype
        return twin

    def walk(self) -> Iterator[tuple[str, Layer]]:
        """(path, layer) of this layer and all inside, each once; the path ends in a dot, or is empty."""
        seen = {id(self)}
        waiting: list[tuple[str, Layer]] = [("", self)]
        while waiting:
            path, layer = waiting.pop()
            yield path, layer
            fresh = []
            for name, child in layer.children().items():
                if id(child) not in seen:
                    seen.add(id(child))
                    fresh.append((f"{path}{name}.", child))
            waiting.extend(reversed(fresh))

    def _parameter(
        self, name: str, shape: Shape, dtype: np.dtype, fill: Callable[[np.ndarray], Any]
    ) -> Parameter:
        return Parameter(self._initial(name, shape, dtype, fill), name)

    def _buffer(self, name: str, shape: Shape, dtype: np.dtype, fill: Callable[[np.ndarray], Any]) -> Buffer:
        return Buffer(self._initial(name, shape, dtype, fill), name)

    def _initial(
        self, name: str, shape: Shape, dtype: np.dtype, fill: Callable[[np.ndarray], Any]
    ) -> np.ndarray:
        """A starting value: from the file a net is being loaded from, or a new array filled by `fill`."""
        saved = vars(self).get("_saved")
        if saved is not None:
            return saved.take(name, shape, dtype)  # type: ignore[no-any-return]
        check_allocation(shape, dtype)
        array = np.empty(shape, dtype)
        fill(array)
        return array

    # ---- arguments -----------------------------------------------------------------------------------

    def arguments(self) -> dict[str, Any]:
        """What `__init__` was given, by name, as far as it is kept; no generators, `*layers` as a tuple."""
        names = inspect.signature(type(self)).parameters
        return {name: _argument(self, name) for name in names if name != "rng" and hasattr(self, name)}

    def __repr__(self) -> str:
        shown: list[str] = []
        given = self.arguments()
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name not in given:
                continue
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                shown += map(repr, given[name])
            elif not _same(given[name], parameter.default):
                value = given[name].name if isinstance(given[name], np.dtype) else repr(given[name])
                shown.append(f"{name}={value}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self):
            raise AttributeError(f"{type(self).__name__}.{name}: a layer does not change; make a new one")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name}: a layer does not change; make a new one")


_INFERENCE = ("__call__", "_inference")


def inference_of(layer: Layer) -> Callable[[np.ndarray], np.ndarray]:
    """What `layer` computes now, as a function that later changes to its parameters do not reach."""
    family = type(layer).__mro__
    called, prepared = (next(i for i, c in enumerate(family) if name in vars(c)) for name in _INFERENCE)
    # a subclass that calls for something else has not said how to prepare it
    return layer._inference() if prepared <= called else copy.deepcopy(layer)


class Prepared:
    """A net made ready for inference, as it was when `Layer.prepare` made this; call it with an input.

    Several threads may call it at once, with inputs of any shape that the net takes.
    """

    def __init__(self, layer: Layer) -> None:
        self._shown = repr(layer)
        self._run = inference_of(layer)

    def __call__(self, input: Any) -> np.ndarray:
        """What the net gives for `input`, to the bit."""
        return self._run(input)

    def __repr__(self) -> str:
        return f"Prepared({self._shown})"


def _argument(layer: Layer, name: str) -> Any:
    value = getattr(layer, name)
    if name == "bias":  # the argument says whether, the attribute is the parameter itself
        return value is not None
    return value


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, np.dtype):
        return default is not inspect.Parameter.empty and value == np.dtype(default)
    return type(value) is type(default) and bool(value == default)
