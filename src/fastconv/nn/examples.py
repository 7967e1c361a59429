"""What a net is shown: arrays of examples, or batches that come one by one; checked before it sees them.

Every public way into training comes through here: `learn` checks the batch it is given, `fit` and `evaluate`
a whole data set once, and of batches from an iterable each as it comes.

Inputs and targets are an array, or a tuple of arrays of one length: for nets with several inputs, losses with
several targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from fastconv.geometry import as_array, as_ndarray
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import Value, ValueShape, call, each, each_shape, shape_of, together
from fastconv.nn.layers.inside import Contents
from fastconv.nn.losses.base import Loss, as_sample_weight, check_takes_weights
from fastconv.nn.parameter import Buffer, Parameter

#: Shapes of input whose output shape is remembered; nets that meet more start to remember afresh.
SHAPES = 64


class Batch(NamedTuple):
    """Examples that are learned from together; `targets` and `weights` as the loss takes them."""

    inputs: Value
    targets: Any
    weights: np.ndarray | None
    where: slice | np.ndarray  # which examples of the data these are

    @property
    def size(self) -> int:
        """How many examples these are."""
        return len(each(self.inputs)[0])

    @property
    def extra(self) -> tuple[np.ndarray, ...]:
        """The weights as further arguments of a loss: none if there are none."""
        return () if self.weights is None else (self.weights,)


class Names(NamedTuple):
    """What the caller calls inputs, targets and weights."""

    inputs: str = "x"
    targets: str = "y"
    weights: str = "sample_weight"


VALIDATION = Names("validation[0]", "validation[1]", "validation[2]")
LEARN = Names("input", "target", "sample_weight")


def check_net(net: Any) -> None:
    """Raise `TypeError` unless `net` is a layer."""
    if not isinstance(net, Layer):
        raise TypeError(f"net: must be an nn.Layer, not {type(net).__name__}")


def check_loss(loss: Any) -> None:
    """Raise `TypeError` or `ValueError` unless `loss` is a loss that gives one number per batch."""
    if not isinstance(loss, Loss):
        raise TypeError(f"loss: must be an nn.Loss, not {type(loss).__name__}")
    if loss.reduction == "none":
        raise ValueError("loss: reduction='none' gives no single number; take 'mean' or 'sum'")


class KnownNet:
    """What checking has found out about one net, so that the next batch need not ask again.

    It stays true for as long as there is the same inside the net (lists of layers may grow). A copy knows
    nothing: the copy of what holds it will meet another net.
    """

    def __init__(self, net: Layer | None = None) -> None:
        self.net = net
        self._contents = Contents([] if net is None else net._may_grow())
        buffers = [] if net is None else list(net.named_buffers().values())
        parameters = [buffer for buffer in buffers if isinstance(buffer, Parameter)]
        self.parameters = set(map(id, parameters))
        self._first = parameters[0] if parameters else None
        #: What a training pass moves although nobody learns it.
        self.statistics: list[Buffer] = [b for b in buffers if not isinstance(b, Parameter)]
        self._shapes: dict[ValueShape, tuple[ValueShape, np.dtype]] = {}

    def __reduce__(self) -> tuple[type[KnownNet], tuple[()]]:
        return KnownNet, ()

    def is_of(self, net: Layer) -> bool:
        """Whether this is still what there is to know about `net`."""
        return net is self.net and self._contents.are_the_same()

    @property
    def dtype(self) -> np.dtype | None:
        """Of the parameters as they are now; None if there are none."""
        return None if self._first is None else self._first.value.dtype

    def keep_statistics(self) -> Callable[[], None]:
        """A function that puts the statistics back to what they are now."""
        kept = [(buffer.value, buffer.value.copy()) for buffer in self.statistics]

        def put_back() -> None:
            for value, before in kept:
                value[...] = before

        return put_back

    def take(self, names: Names, loss: Loss, x: Any, y: Any, weights: Any = None) -> Batch:
        """Examples as one batch.

        Raises
        ------
        TypeError, ValueError
            Naming the argument, its value and the rule.
        """
        if self.net is not None:
            x = as_read(self.net, x)
        if isinstance(x, tuple):
            x = self._several(names.inputs, x)
        else:
            x = as_array(names.inputs, x)
            if x.ndim < 2 or len(x) == 0:
                raise ValueError(
                    f"{names.inputs}: shape {x.shape} must be (N, ...) with at least one example"
                )
            self._check_dtype(names.inputs, x)
        count = len(each(x)[0])
        one, dtype = self._output(names.inputs, x)
        shape = together([(count, *own) for own in each_shape(one)])
        try:
            targets = loss._prepared(shape, dtype, y)
            if weights is not None:
                check_takes_weights(loss)
                weights = as_sample_weight(weights, each_shape(shape)[0])
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(_renamed(names, str(error))) from error
        return Batch(x, targets, weights, slice(0, count))

    def _several(self, name: str, x: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
        """Inputs of one length; those that are not integers or booleans in the dtype of the net."""
        arrays = as_arrays(name, x)
        if len(arrays[0]) == 0:
            raise ValueError(f"{name}[0]: shape {arrays[0].shape} must have at least one example")
        for i, array in enumerate(arrays):
            if array.dtype.kind not in "iub":
                self._check_dtype(f"{name}[{i}]", as_array(f"{name}[{i}]", array))
        return arrays

    def _check_dtype(self, name: str, x: np.ndarray) -> None:
        if self.dtype is not None and x.dtype != self.dtype:
            raise TypeError(
                f"{name}: dtype {x.dtype}, but the net's parameters are {self.dtype}; "
                f"{name}.astype(np.{self.dtype}) converts it"
            )

    def _output(self, name: str, x: Any) -> tuple[ValueShape, np.dtype]:
        """Shape and dtype of the net's output for one example of x, the shape without its batch axis."""
        one = together([array.shape[1:] for array in each(x)])
        found = self._shapes.get(one)
        if found is None:
            assert self.net is not None
            if isinstance(x, tuple):  # zeros might not do: integers may stand for anything
                first = call(self.net, together([array[:1] for array in x]))
                whole, dtype = shape_of(first), each(first)[0].dtype
            else:
                whole, dtype = self.net.output_shape((1, *one)), x.dtype
            for own in each_shape(whole):
                if len(own) < 1 or own[0] != 1:
                    raise ValueError(
                        f"net: turns one example of {name} into shape {own}; it must keep the batch axis"
                    )
            if len(self._shapes) >= SHAPES:
                self._shapes.clear()
            found = together([tuple(own[1:]) for own in each_shape(whole)]), dtype
            self._shapes[one] = found
        return found


def _renamed(names: Names, message: str) -> str:
    """What a loss says about its arguments, in the caller's words."""
    for word, name in (("target", names.targets), ("sample_weight", names.weights)):
        if message.startswith(word):
            return message if name == word else f"{name} (the {word}): {message}"
    return f"loss: {message}"


def check_something_counts(names: Names, loss: Loss, batch: Batch) -> None:
    """Raise `ValueError` if all the examples of a data set weigh 0."""
    if loss.divisor(batch.targets, *batch.extra) == 0:
        raise ValueError(f"{names.targets}: nothing counts, every label is ignored or weighs 0")


def not_finite(names: Names, batch: Batch) -> str | None:
    """The first place of a batch that is infinite or NaN, in words; None if there is none."""
    for name, array in [*_named(names.inputs, batch.inputs), *_named(names.targets, batch.targets)]:
        if getattr(array, "dtype", np.dtype(int)).kind != "f":
            continue
        for i, example in enumerate(array):
            if not np.isfinite(example).all():
                number = batch.where[i] if isinstance(batch.where, np.ndarray) else batch.where.start + i
                inner = tuple(np.argwhere(~np.isfinite(example))[0])
                return f"{name}[{', '.join(map(str, (number, *inner)))}] is {example[inner]}"
    return None


def _named(name: str, value: Any) -> list[tuple[str, Any]]:
    """The arrays of a value, each with what the caller calls it."""
    if not isinstance(value, tuple):
        return [(name, value)]
    return [(f"{name}[{i}]", array) for i, array in enumerate(value)]


def as_arrays(name: str, x: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
    """Several inputs as arrays of one length.

    Raises
    ------
    TypeError, ValueError
        None at all, something that is no array, or another number of examples than in the first.
    """
    arrays = tuple(as_ndarray(f"{name}[{i}]", array) for i, array in enumerate(x))
    if not arrays:
        raise ValueError(f"{name}: is an empty tuple; it must hold an array for each input of the net")
    for i, array in enumerate(arrays):
        if array.ndim < 1:
            raise ValueError(f"{name}[{i}]: shape {array.shape} must be (N, ...)")
        if len(array) != len(arrays[0]):
            raise ValueError(
                f"{name}[{i}]: has {len(array)} examples, {name}[0] {len(arrays[0])}; all must have as many"
            )
    return arrays


def as_read(net: Any, x: Any) -> Any:
    """What a net reads: whole numbers, which have no gradient, are a tuple, be it of one."""
    return (x,) if not isinstance(x, tuple) and net._rows_read() is not None else x


def chosen(value: Any, which: Any) -> Any:
    """Some of the examples in an array, or in each of several."""
    return tuple(array[which] for array in value) if isinstance(value, tuple) else value[which]


class Examples:
    """Arrays of examples, shown in batches."""

    def __init__(self, names: Names, examples: Batch, batch_size: int, drop_last: bool = False) -> None:
        self.names, self._examples = names, examples
        self._batch_size = batch_size
        count = examples.size
        self.steps: int | None = count // batch_size if drop_last else math.ceil(count / batch_size)
        if self.steps == 0:
            raise ValueError(f"drop_last=True: {count} examples do not fill a batch of {batch_size}")

    def single(self) -> Value | None:
        """An example that will make a batch alone; None if none does."""
        count = self._examples.size
        alone = self._batch_size == 1 or count == 1
        alone |= count % self._batch_size == 1 and self.steps != count // self._batch_size
        return chosen(self._examples.inputs, slice(0, 1)) if alone else None

    def batches(self, rng: np.random.Generator | None = None) -> Iterator[Batch]:
        """Every example once; in random order, if there is a generator."""
        x, y, weights, _ = self._examples
        order = None if rng is None else rng.permutation(self._examples.size)
        for number in range(self.steps or 0):
            start = number * self._batch_size
            which: Any = slice(start, start + self._batch_size)
            if order is not None:
                which = order[which]
            some = None if weights is None else weights[which]
            yield Batch(chosen(x, which), chosen(y, which), some, which)


class Stream:
    """Batches of (x, y) or (x, y, sample_weight) from an iterable, or from a function that makes one."""

    def __init__(self, name: str, source: Any, net: KnownNet, loss: Loss) -> None:
        self._name, self._source, self._net, self._loss = name, source, net, loss
        self.names = Names(f"{name}: x of a batch")
        #: Batches in an epoch, if that is known.
        self.steps: int | None = length_of(source)

    def single(self) -> None:
        """Nobody knows what will come."""

    def batches(self, rng: np.random.Generator | None = None) -> Iterator[Batch]:
        """The batches in the order in which they come, each checked."""
        number = 0
        for number, item in enumerate(opened(self._name, self._source), 1):
            where = f"{self._name}: batch {number}"
            if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
                raise TypeError(f"{where}: must be (x, y) or (x, y, sample_weight), not {_described(item)}")
            self.names = Names(f"{where}: x", f"{where}: y", f"{where}: sample_weight")
            # loaders collate several arrays to lists as well as to tuples
            parts = [tuple(part) if isinstance(part, list) else part for part in item]
            yield self._net.take(self.names, self._loss, *parts)
        if number == 0:
            raise ValueError(f"{self._name}: gave no batch; an iterator gives its batches only once")
        self.steps = number


Source = Examples | Stream


def _described(item: Any) -> str:
    if isinstance(item, (tuple, list)):
        return f"{len(item)} things"
    return type(item).__name__


def opened(name: str, source: Any) -> Iterable[Any]:
    """The batches of an iterable, or of a function that makes one."""
    batches = source() if callable(source) else source
    if not isinstance(batches, Iterable):
        raise TypeError(f"{name}: the function must return an iterable, not {type(batches).__name__}")
    return batches


def length_of(source: Any) -> int | None:
    """How many batches a source says it has; some have a length that they cannot tell."""
    with suppress(TypeError, NotImplementedError):
        return len(source) if isinstance(source, Sized) else None
    return None


def is_stream(x: Any) -> bool:
    """Whether x gives batches, rather than being an array."""
    is_array = isinstance(x, np.ndarray) or hasattr(x, "__dlpack__") or hasattr(x, "__array__")
    return (
        not is_array and not isinstance(x, (str, bytes, Layer)) and (callable(x) or isinstance(x, Iterable))
    )


def open_source(
    names: Names,
    net: KnownNet,
    loss: Loss,
    data: tuple[Any, Any, Any],
    batch_size: int,
    *,
    drop_last: bool = False,
    times: int = 1,
) -> Source:
    """What x, y and weights of a call stand for: arrays, or with y None batches; read so many times."""
    x, y, weights = data
    if y is not None:
        examples = net.take(names, loss, x, y, weights)
        check_something_counts(names, loss, examples)
        return Examples(names, examples, batch_size, drop_last)
    name = names.inputs.removesuffix("[0]")
    if not is_stream(x):
        raise TypeError(
            f"{names.targets}: is missing, and {name} is no iterable of batches (x, y) nor a function that "
            f"makes one but {type(x).__name__}"
        )
    if weights is not None:
        raise ValueError(f"{names.weights}: of batches, give it as the third of (x, y, sample_weight)")
    if times > 1 and not callable(x) and isinstance(x, Iterator):
        raise ValueError(
            f"{name}: an iterator gives its batches only once, not in {times} epochs; give a function that "
            "makes one"
        )
    return Stream(name, x, net, loss)
