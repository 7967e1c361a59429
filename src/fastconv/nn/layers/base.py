"""What every layer is: a function of arrays, with parameters.

`y = layer(x)` is inference and keeps nothing. `y, backprop = layer.vjp(x)` is training, and with
`training=False` the gradient of inference: whatever a gradient needs lives in the closure, so a layer may be
used twice in a net and by several threads at once. How several inputs and outputs go through is in `calling`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from fastconv.geometry import as_array, as_sizes, check_allocation, check_shape
from fastconv.nn.arguments import float_dtype
from fastconv.nn.layers.calling import (
    Backprop,
    ParameterBackprop,
    Shape,
    call,
    each,
    each_shape,
    shape_of,
    together,
)
from fastconv.nn.layers.inside import containers_inside, place_of, put_at, replaced, things_inside
from fastconv.nn.parameter import Buffer, Parameter

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder
    from fastconv.nn.layers.prepared import Prepared

_Self = TypeVar("_Self", bound="Layer")
_Kind = TypeVar("_Kind")


class Layer:
    """Base of all layers. A layer of your own defines `__call__` and `vjp`; the rest comes from here.

    Attributes are written once, in `__init__`, and every argument of `__init__` is kept under its own name.
    Parameters, buffers and other layers found among the attributes, or in lists, tuples and dicts there, are
    this layer's own: trained, saved, cast, counted and packed with it. They are looked for whenever somebody
    asks, so that a list may still grow.

    A `vjp` that takes `training` can also give the gradient of inference; one that takes only `input` trains.
    `vjp_parameters` may be defined as well, where it saves something that nobody wants the input's gradient.

    A layer may take several arrays, one argument each, and return a tuple of several. Its backprop then takes
    one gradient per output and returns a tuple of one per input, None for an input that has none. In a
    `Sequential` the outputs of a layer are the inputs of the next.

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
    ...     def vjp(self, input, training=True):
    ...         def backprop(grad_output):
    ...             if training:
    ...                 self.weight.add_grad((grad_output * input).sum())
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

    Two inputs:

    >>> class Product(nn.Layer):
    ...     def __call__(self, left, right):
    ...         return left * right
    ...     def vjp(self, left, right, training=True):
    ...         return left * right, lambda grad: (grad * right, grad * left)
    >>> y, backprop = nn.Sequential(Product(), nn.ReLU()).vjp(np.full((1, 2), 3.0), np.full((1, 2), 4.0))
    >>> grad_left, grad_right = backprop(np.ones_like(y))
    >>> grad_left, grad_right
    (array([[4., 4.]]), array([[3., 3.]]))
    """

    #: The attribute whose entries are named by their position alone: "0", not "layers.0".
    _positional: ClassVar[str] = ""

    # (*Any, **Any) lets a layer of one's own name its inputs as it likes

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The output for the inputs: dropout off, batch norm by its running statistics, nothing kept."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def vjp(self, *inputs: Any, **options: Any) -> tuple[Any, Backprop]:
        """Output and backprop: in training mode, or with `training=False` those of inference.

        Parameters
        ----------
        *inputs : ndarray
            Mostly one.
        training : bool, default True
            True: dropout on, batch norm by the statistics of this batch, which move the running ones. False:
            the output is that of a call, and backprop its gradient; running statistics are used and stay,
            dropout is off, and nothing is added to any parameter's `grad`: what a saliency map asks for.

        Returns
        -------
        output : ndarray, or tuple of ndarray
        backprop : function
            `grad_input = backprop(grad_output)` returns the gradient of the input and, in training, adds into
            the `grad` of every parameter used. Inputs and parameters must not change between the two calls.
            Of several outputs it takes one gradient each (None for one that is not used); of several inputs
            it returns a tuple of one gradient each (None for one that has none, such as integers).

        Raises
        ------
        TypeError
            With `training=False`: a layer of one's own inside, which the message names, only knows training.
            Another number of inputs than a layer takes, or of gradients than it has outputs.

        Examples
        --------
        >>> import numpy as np
        >>> from fastconv import nn
        >>> net = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
        >>> x = np.ones((5, 3), np.float32)
        >>> votes, backprop = net.vjp(x, training=False)
        >>> bool((votes == net(x)).all()), backprop(np.eye(5, 2, dtype=np.float32)).shape
        (True, (5, 3))
        """
        raise NotImplementedError(f"{type(self).__name__} must define vjp")

    def vjp_parameters(self, *inputs: Any) -> tuple[Any, ParameterBackprop]:
        """As `vjp` in training, but nobody wants the gradients of the inputs: for the front of a net."""
        return self.vjp(*inputs)

    def prepare(self, example: Any = None) -> Prepared:
        """This layer as it is now, made ready for inference: `prepared(x)` gives what `layer(x)` gives.

        Weights of convolutions and fully connected layers are copied and packed once, not in every call, also
        those inside layers of one's own. Later changes to parameters do not show; prepare again after
        training.

        Parameters
        ----------
        example : array or tuple of int, optional
            An input, or the shape of one, batch included: run once, so that the first call is as fast as any.
            Other shapes may be given later. Of several inputs, a tuple of these.

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
        from fastconv.nn.layers.prepared import Prepared

        prepared = Prepared(self)
        if isinstance(example, list) or (isinstance(example, tuple) and not _are_arrays(example)):
            several = any(isinstance(shape, (tuple, list)) for shape in example)
            shapes = [
                as_sizes("example", shape, (len(shape),)) for shape in (example if several else [example])
            ]
            example = together(self.example(together(shapes)))
        if example is not None:
            prepared(*each(example))
        return prepared

    def _lower(self, builder: Builder, *values: Value) -> Any:
        """Add what a call computes to a graph; returns the output, a tuple, or None if that cannot be said.

        A subclass that is called otherwise is not asked (`container.says`).
        """
        return None

    def _rows_read(self) -> int | None:
        """How many rows of a table the input, then integers, may number; None: it is none of these."""
        return None

    def _variants(self) -> Iterable[Layer]:
        """Layers that a call runs in place of some that stand inside: they share parameters with those."""
        return ()

    def _fused_name(self) -> str | None:
        """The name under which layers with weights apply this function to what they store, if they can."""
        return None

    def _activated(self, activation: str) -> Layer | None:
        """A layer with the same parameters that applies an activation as it stores, if there is one."""
        return None

    def output_shape(self, input_shape: Any) -> Any:
        """Shape of the output for an input of this shape (batch included), without computing it.

        Of several inputs, or outputs, it is a tuple of shapes. A layer that does not define it is run with
        its `example`.

        Raises
        ------
        TypeError, ValueError
            The layer does not take such an input.
        """
        return shape_of(call(self, self.example(input_shape)))

    def flops(self, input_shape: Any) -> int:
        """Multiplications, additions, comparisons and function values for one input of this shape.

        Of a layer that does not define it: those of the layers inside, as far as it calls them.
        """
        return sum(layer.flops(shape) for _, layer, shape in self.trace(input_shape))

    def trace(self, input_shape: Any) -> list[tuple[str, Layer, Any]]:
        """(name, layer, shape of its input) of the layers inside, in the order they run; mostly none.

        A layer that does not define it, but has layers inside, is run with its `example` to see what it
        calls. Of several inputs the shape is a tuple of shapes.
        """
        from fastconv.nn.layers.observed import observe

        return observe(self, self.example(input_shape)) if self.children() else []

    def example(self, input_shape: Any) -> tuple[np.ndarray, ...]:
        """Inputs to run this layer with where only shapes are known: zeros, in the dtype of the parameters.

        Of a net that begins with an `Embedding`, integers.

        A layer of your own that takes integers defines it, so that shapes can be told without data.

        Parameters
        ----------
        input_shape : tuple of int, or tuple of such shapes
            Of the input, or of several.

        Returns
        -------
        tuple of ndarray
            One per input.
        """
        parameter = next(iter(self.parameters()), None)
        dtype = np.float32 if parameter is None else parameter.value.dtype
        if self._rows_read() is not None:
            dtype = np.dtype(np.int64)
        return tuple(np.zeros(shape, dtype) for shape in each_shape(input_shape))

    # ---- what stands inside --------------------------------------------------------------------------

    def children(self) -> dict[str, Layer]:
        """The layers inside by name: "conv", "blocks.0"; a layer that is used twice is there twice."""
        return self._own(Layer)

    def _own(self, kind: type[_Kind]) -> dict[str, _Kind]:
        """All of one kind that the attributes are or hold, by path.

        Raises
        ------
        ValueError
            Two things would have the same path, through keys of a dict.
        """
        found: dict[str, _Kind] = {}
        for name, value in vars(self).items():
            for path, thing in things_inside(value, kind, "" if name == self._positional else name):
                if path in found:
                    raise ValueError(f"{type(self).__name__}: two things inside would be called {path!r}")
                found[path] = thing
        return found

    def _replace_inside(self, replace: Callable[[Any], Any]) -> None:
        """Ask `replace` about every layer, parameter and buffer inside; for a copy that nobody else has."""
        for name, value in vars(self).items():
            vars(self)[name] = replaced(value, (Layer, Buffer), replace)

    def replaced(self: _Self, path: int | str, layer: Layer) -> _Self:
        """This net with another layer in one place: a new head for a trained body, say.

        What is returned shares every other layer, and its parameters, with this net, which stays what it is.
        Nothing of it is copied but the containers on the way to that place.

        Parameters
        ----------
        path : int or str
            The place: a position in a `Sequential`, which may count from the end, or a path as
            `named_parameters` has it, such as "features.3". A layer that stands in other places, too, stays
            there.
        layer : Layer

        Raises
        ------
        TypeError, ValueError
            No layer is at `path`, or `layer` is none.

        Examples
        --------
        >>> from fastconv import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 10))
        >>> tuned = net.replaced(-1, nn.Linear(4, 2))
        >>> tuned[-1].out_features, net[-1].out_features
        (2, 10)
        >>> tuned[1] is net[1]
        True
        """
        if not isinstance(layer, Layer):
            raise TypeError(f"layer: must be a layer, not {type(layer).__name__}")
        place = place_of(path, vars(self).get(self._positional), type(self).__name__)
        children = self.children()
        name = next((name for name in children if f"{place}.".startswith(f"{name}.")), None)
        if name is None:
            raise ValueError(f"path={path!r}: no layer is there, but at {', '.join(children) or 'no path'}")
        if place != name:
            try:
                layer = children[name].replaced(place[len(name) + 1 :], layer)
            except ValueError as error:
                raise ValueError(f"path={path!r}: {error}") from None
        twin = copy.copy(self)
        twin._put(name, layer)
        return twin

    def _put(self, name: str, layer: Layer) -> None:
        """Replace the layer inside that has this name; for a copy that nobody else has."""
        for attribute, value in vars(self).items():
            start = "" if attribute == self._positional else attribute
            vars(self)[attribute] = put_at(value, Layer, name, layer, start)

    def _may_grow(self) -> list[list[Any] | dict[Any, Any]]:
        """The lists and dicts among the attributes of this layer and all inside."""
        values = [value for _, layer in self.walk() for value in vars(layer).values()]
        return [container for value in values for container in containers_inside(value)]

    # ---- arrays owned --------------------------------------------------------------------------------

    def named_buffers(self) -> dict[str, Buffer]:
        """Parameters and buffers of this layer and all layers inside, each once, by path: "0.weight"."""
        found: dict[str, Buffer] = {}
        seen: set[int] = set()
        for path, layer in self.walk():
            for name, buffer in layer._own(Buffer).items():
                if id(buffer) not in seen:
                    seen.add(id(buffer))
                    found[f"{path}{name}"] = buffer
        return found

    def named_parameters(self) -> dict[str, Parameter]:
        """Parameters of this layer and all layers inside, each once, by path: "0.weight"."""
        return {path: value for path, value in self.named_buffers().items() if isinstance(value, Parameter)}

    def parameters(self) -> list[Parameter]:
        """What an optimizer learns: the parameters of this layer and all layers inside, each once."""
        return list(self.named_parameters().values())

    def _learns(self) -> bool:
        """Whether there is a parameter in this layer or inside it."""
        return any(
            isinstance(buffer, Parameter)
            for _, layer in self.walk()
            for buffer in layer._own(Buffer).values()
        )

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
        twin._tell_dtype(dtype)
        return twin

    def _tell_dtype(self, dtype: np.dtype | None = None) -> None:
        """Make the attribute `dtype` of all layers that of their arrays, which were cast; else this."""
        for _, layer in self.walk():
            buffer = next(iter(layer.named_buffers().values()), None)
            told = dtype if buffer is None else buffer.value.dtype
            for run in (layer, *layer._variants()):
                if told is not None and "dtype" in vars(run):
                    vars(run)["dtype"] = told

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
        names = _declared(self)
        return {name: _argument(self, name) for name in names if name != "rng" and hasattr(self, name)}

    def __repr__(self) -> str:
        shown: list[str] = []
        given = self.arguments()
        for name, parameter in _declared(self).items():
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


def _declared(layer: Layer) -> Mapping[str, inspect.Parameter]:
    """What `__init__` takes."""
    kind: Any = type(layer)  # mypy does not see that a class can be a key
    return _signature(kind).parameters


#: Kept, as finding it is most of the cost of a `repr`.
_signature = lru_cache(256)(inspect.signature)


def _are_arrays(example: tuple[Any, ...]) -> bool:
    return any(getattr(entry, "shape", ()) != () for entry in example)


def _argument(layer: Layer, name: str) -> Any:
    value = getattr(layer, name)
    if name == "bias" and (value is None or isinstance(value, Parameter)):
        return value is not None  # the argument says whether, the attribute is the parameter itself
    return value


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, np.dtype):
        return default is not inspect.Parameter.empty and value == np.dtype(default)
    return type(value) is type(default) and bool(value == default)
