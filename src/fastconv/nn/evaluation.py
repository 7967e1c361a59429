"""What a net makes of examples that it does not learn from: loss, accuracy, outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv.geometry import as_array, new_output, whole_number
from fastconv.nn.examples import (
    Batch,
    KnownNet,
    Names,
    Source,
    as_arrays,
    as_read,
    check_loss,
    check_net,
    chosen,
    is_stream,
    not_finite,
    open_source,
    opened,
)
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import each, together
from fastconv.nn.layers.prepared import Prepared
from fastconv.nn.losses.base import Loss
from fastconv.nn.losses.per_output import LossPerOutput

#: Examples that go through a net together unless told otherwise; a training takes as many.
BATCH_SIZE = 32


class Tally:
    """Losses and right answers, added up batch by batch to those of all examples together."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._total = self._divisor = self._right = self._judged = 0.0
        self._counts = True
        parts = loss.losses if isinstance(loss, LossPerOutput) else ()
        self._parts = [Tally(part) for part in parts]

    def add(self, value: float, prediction: Any, batch: Batch) -> None:
        """Take in a batch and its loss."""
        loss, targets = self._loss, batch.targets
        if isinstance(loss, LossPerOutput):  # each has its own mean over all examples
            for tally, (_, part, output, target) in zip(self._parts, loss.parts(prediction, targets)):
                part_value = part.value(output, target, *batch.extra)
                tally.add(part_value, output, batch._replace(targets=target))
            return
        divisor = loss.divisor(targets, *batch.extra)
        if loss.reduction == "sum":
            self._total += value
        elif divisor:
            self._total += value * divisor
        self._divisor += divisor
        correct = loss.correct(prediction, targets) if self._counts else None
        if correct is None:
            self._counts = False
        else:
            self._right += correct
            self._judged += loss.judged(targets)

    def result(self) -> tuple[float, float | None]:
        """Loss and accuracy; NaN is that of nothing."""
        if isinstance(self._loss, LossPerOutput):
            values, accuracies = zip(*[part.result() for part in self._parts])
            judged = [accuracy for accuracy in accuracies if accuracy is not None]
            sum_of_parts = sum(weight * value for weight, value in zip(self._loss.weights, values))
            return sum_of_parts, judged[0] if len(judged) == 1 else None
        total = self._total
        if self._loss.reduction != "sum":
            total = total / self._divisor if self._divisor else math.nan
        if not self._counts:
            return total, None
        return total, self._right / self._judged if self._judged else math.nan


def measure(net: Layer, loss: Loss, source: Source, explain: bool = False) -> tuple[float, float | None]:
    """Loss and accuracy over all of a source; if asked to explain, data that are not finite are an error."""
    tally = Tally(loss)
    for batch in source.batches():
        prediction = net(*each(batch.inputs))
        value = loss.value(prediction, batch.targets, *batch.extra)
        if explain and not math.isfinite(value):
            found = not_finite(source.names, batch)
            if found is not None:
                raise FloatingPointError(f"the loss is {value}: {found}")
        tally.add(value, prediction, batch)
    return tally.result()


def evaluate(
    net: Layer,
    x: Any,
    y: Any = None,
    *,
    loss: Loss,
    batch_size: int = BATCH_SIZE,
    sample_weight: Any = None,
) -> tuple[float, float | None]:
    """Loss and accuracy of a net over examples, in inference mode.

    Parameters
    ----------
    net, x, y, loss, sample_weight
        As `fit`; x may be an iterable of batches, or a function that makes one, and y left out.
    batch_size : int, default 32
        Examples computed together; changes memory, not results beyond rounding of the mean.

    Returns
    -------
    loss : float
        What `loss` gives for all examples together, whatever the batches: weighted means stay weighted.
    accuracy : float or None
        Share from 0 to 1 of the examples that have a label; None for a loss that does not choose among
        classes.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.evaluate(nn.Identity(), np.array([[3.0, 1.0]]), np.array([0]), loss=nn.HingeLoss())
    (0.0, 1.0)
    """
    check_net(net)
    check_loss(loss)
    batch_size = whole_number("batch_size", batch_size, 1)
    source = open_source(Names(), KnownNet(net), loss, (x, y, sample_weight), batch_size)
    return measure(net, loss, source)


def predict(net: Layer | Prepared, x: Any, batch_size: int = BATCH_SIZE) -> Any:
    """A net's outputs for any number of examples, computed a batch at a time.

    Parameters
    ----------
    net : Layer or what `Layer.prepare` returns
    x : array, shape (N, ...)
        Of a net with several inputs a tuple of arrays, length N each. Or batches of such, for data larger
        than memory: an iterable that is no tuple, or a function without arguments that returns one.
    batch_size : int, default 32
        Examples computed together; bounds the memory on the way, does not change a bit of the result. Batches
        of an iterable are computed as they come.

    Returns
    -------
    ndarray, shape (N, ...)
        Of several outputs, a tuple of these. Of batches from an iterable an iterator over the outputs of each
        batch, computed when they are asked for.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3, rng=1))
    >>> nn.predict(net, np.zeros((100, 1, 8, 8), np.float32), batch_size=16).shape
    (100, 3)

    >>> pictures = (np.zeros((n, 1, 8, 8), np.float32) for n in (16, 16, 5))
    >>> [votes.shape for votes in nn.predict(net, pictures)]
    [(16, 3), (16, 3), (5, 3)]
    """
    if not isinstance(net, (Layer, Prepared)):
        raise TypeError(f"net: must be an nn.Layer, not {type(net).__name__}")
    batch_size = whole_number("batch_size", batch_size, 1)
    is_numbers = isinstance(x, list) and bool(x) and isinstance(x[0], (list, int, float))  # refused below
    if is_stream(x) and not isinstance(x, tuple) and not is_numbers:
        return _predictions(net, opened("x", x))
    x = _inputs("x", as_read(net, x))
    count = len(each(x)[0])
    outputs: tuple[np.ndarray, ...] | None = None
    for start in range(0, max(count, 1), batch_size):
        which = slice(start, start + batch_size)
        part = _prediction(net, "x", chosen(x, which))
        if len(each(part)[0]) == count:
            return part
        if outputs is None:
            outputs = tuple(_room_for(count, array) for array in each(part))
        for output, array in zip(outputs, each(part)):
            output[which] = array
    assert outputs is not None
    return together(outputs)


def _inputs(name: str, x: Any) -> Any:
    """What is predicted from: an array, or several of one length."""
    if not isinstance(x, tuple):
        x = as_array(name, x)
        if x.ndim < 2:
            raise ValueError(f"{name}: shape {x.shape} must be (N, ...)")
        return x
    return as_arrays(name, x)


def _prediction(net: Layer | Prepared, name: str, x: Any) -> Any:
    """What a net makes of some examples, one after the other in every output."""
    inputs = each(x)
    output, count = net(*inputs), len(inputs[0])
    for part in each(output):
        if part.ndim < 1 or len(part) != count:
            raise ValueError(
                f"net: turns {count} examples of {name} into shape {part.shape}; it must keep the batch axis"
            )
    return output


def _predictions(net: Layer | Prepared, batches: Any) -> Iterator[Any]:
    number = 0
    for number, batch in enumerate(batches, 1):
        name = f"x: batch {number}"
        x = as_read(net, tuple(batch) if isinstance(batch, list) else batch)
        yield _prediction(net, name, _inputs(name, x))
    if number == 0:
        raise ValueError("x: gave no batch; an iterator gives its batches only once")


def _room_for(count: int, part: np.ndarray) -> np.ndarray:
    """An array for so many examples, in the memory order of some of them."""
    shape = (count, *part.shape[1:])
    return new_output(shape, part.dtype, part) if 2 < part.ndim < 6 else np.empty(shape, part.dtype)
