"""One input on its way through a net: every map, and what is to be said about each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import functional, nn
from fastconv.explain.fields import Field, fields_of
from fastconv.explain.steps import Axis, Step, axes_of, steps_of
from fastconv.geometry import as_array, whole_number
from fastconv.nn.layers.calling import call, together

if TYPE_CHECKING:
    from fastconv.explain.cells import Cell, Voters, Windows
    from fastconv.explain.curve import WeightCurve
    from fastconv.explain.gradients import Gradients
    from fastconv.explain.occlusion import Occlusion

#: Bars of a histogram.
BARS = 24


@dataclass(frozen=True)
class Map:
    """What one layer makes of the input, or the input itself.

    Attributes
    ----------
    number : int
        0 is the input, k + 1 what the step k makes.
    name, title, text : str
        Where the layer stands, what kind it is, and all its settings.
    kind : str
        One of `fastconv.explain.steps.KINDS`, "input" or "other".
    reads : tuple of int
        Numbers of the maps it is made from.
    values : ndarray, shape (C, *spatial) or (C,)
        Read-only.
    parameters, flops : int
        Learned numbers of the layer, and what it computes for this input.
    field : tuple of int
        Receptive field in the input: pixels along each spatial axis, as far as the borders let it be.
    """

    number: int
    name: str
    title: str
    text: str
    kind: str
    reads: tuple[int, ...]
    values: np.ndarray
    parameters: int
    flops: int
    field: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels first."""
        return self.values.shape

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.values.nbytes

    @property
    def minimum(self) -> float:
        """Smallest value."""
        return float(self.values.min())

    @property
    def mean(self) -> float:
        """Mean, summed in float64."""
        with np.errstate(all="ignore"):
            return float(self.values.mean(dtype=np.float64))

    @property
    def maximum(self) -> float:
        """Largest value."""
        return float(self.values.max())

    def histogram(self, bars: int = BARS) -> tuple[np.ndarray, np.ndarray]:
        """How many values lie between which edges; those that are not finite are left out."""
        finite = self.values[np.isfinite(self.values)].astype(np.float64)
        counts, edges = np.histogram(finite, bars)
        return counts, edges

    @property
    def dead(self) -> np.ndarray:
        """Channels that are 0 everywhere: nothing behind them hears of them."""
        flat = self.values.reshape(len(self.values), -1)
        found: np.ndarray = np.flatnonzero(~flat.any(axis=1))
        return found


class Walk:
    """A net, an input, and everything in between; made by `walk`.

    Attributes
    ----------
    steps : list of Step
    maps : tuple of Map
        The input first.
    classes : tuple of str
    loss : nn.Loss
        What `curve` measures error by.
    """

    def __init__(
        self, steps: list[Step], input: np.ndarray, classes: Sequence[str] | None, loss: nn.Loss
    ) -> None:
        self.steps, self.loss = steps, loss
        self._values: list[Any] = run(steps, [input], 0)
        for step, value in zip(steps, self._values[1:]):
            if not isinstance(value, np.ndarray) or value.ndim < 2 or len(value) != 1:
                raise ValueError(f"model: layer {step.name}, {step.layer!r}, does not make one array")
        if self._values[-1].ndim != 2:
            made = self._values[-1].shape
            raise ValueError(f"model: ends in shape {made}; must end in votes, (1, number of classes)")
        count = self._values[-1].shape[1]
        if classes is not None and len(classes) != count:
            raise ValueError(f"classes: {len(classes)} names, but the net has {count} votes")
        self.classes = tuple(map(str, range(count) if classes is None else classes))
        shapes = self.shapes
        fields = _fields(steps, shapes)
        self.maps = tuple(self._map(k, shapes, fields[k]) for k in range(len(shapes)))

    def _map(self, number: int, shapes: list[tuple[int, ...]], field: tuple[int, ...]) -> Map:
        values = self._values[number][0].view()
        values.flags.writeable = False
        if number == 0:
            return Map(0, "", "input", "the input", "input", (), values, 0, 0, field)
        step = self.steps[number - 1]
        reads = together([(1, *shapes[read]) for read in step.reads])
        parameters = sum(parameter.value.size for parameter in step.layer.parameters())
        return Map(
            number,
            step.name,
            step.title,
            repr(step.layer),
            step.kind,
            step.reads,
            values,
            parameters,
            step.layer.flops(reads),
            field,
        )

    # ---- what there is ---------------------------------------------------------------------------------

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of all maps, the input first."""
        return [value.shape[1:] for value in self._values]

    @property
    def input(self) -> np.ndarray:
        """With a batch of one."""
        found: np.ndarray = self._values[0]
        return found

    def value(self, number: int) -> np.ndarray:
        """A map with a batch of one."""
        found: np.ndarray = self._values[number]
        return found

    @property
    def vote_number(self) -> int:
        """Number of the map that holds the votes: the last one, or what its softmax reads."""
        last = self.steps[-1] if self.steps else None
        return len(self.steps) if last is None or last.kind != "softmax" else last.reads[0]

    @property
    def votes(self) -> np.ndarray:
        """One per class, before any softmax."""
        return self.maps[self.vote_number].values

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the votes."""
        found: np.ndarray = functional.softmax(self.votes[None], 1)[0]
        return found

    def tail(self, number: int, value: np.ndarray, last: int | None = None) -> np.ndarray:
        """What comes of other values of a map: the map `last`, without it the votes.

        Parameters
        ----------
        number : int
            The map that is replaced.
        value : ndarray, shape (N, *shape)
            N cases.
        """
        last = self.vote_number if last is None else last
        before = [each if k < number else None for k, each in enumerate(self._values[: number + 1])]
        known: list[Any] = [*before[:number], value]
        found: np.ndarray = run(self.steps[:last], known, number)[last]
        return found

    def axes(self, number: int) -> tuple[Axis, ...] | None:
        """The windows that a map was made by, if it was made by windows."""
        if number == 0:
            return None
        step = self.steps[number - 1]
        return axes_of(step.layer, self.shapes[step.reads[0]])

    # ---- what there is to say --------------------------------------------------------------------------

    def field(self, number: int, cell: Sequence[int]) -> dict[int, Field]:
        """The receptive field of a cell in its own map and every earlier one.

        Parameters
        ----------
        number : int
            Of the map.
        cell : sequence of int
            Its place, channel first.

        Returns
        -------
        dict of int to tuple of ndarray
            Per map the places along each axis. Along ways that part and meet again, those of all ways.

        Raises
        ------
        TypeError, ValueError
            No such map, or no such cell in it.
        """
        number, place = self.place(number, cell)
        return fields_of(self.steps, self.shapes, number, place)

    def cell(self, number: int, cell: Sequence[int]) -> Cell:
        """The arithmetic of one cell of a convolution or fully connected layer; see `Cell`."""
        from fastconv.explain.cells import cell_of

        return cell_of(self, *self.place(number, cell))

    def windows(self, number: int) -> Windows:
        """The windows of a max-pool with their winners; see `Windows`."""
        from fastconv.explain.cells import windows_of

        return windows_of(self, self.number(number))

    def voters(self, number: int, output: int) -> Voters:
        """Which values voted for what in a fully connected layer; see `Voters`."""
        from fastconv.explain.cells import voters_of

        return voters_of(self, *self.place(number, (output,)))

    def gradients(self, vote: int | str) -> Gradients:
        """The gradient of a vote at every map and every weight; see `Gradients`."""
        from fastconv.explain.gradients import gradients_of

        return gradients_of(self, self.class_number("vote", vote))

    def curve(
        self, number: int, index: Sequence[int], target: int | str, lr: float = 0.1, **options: Any
    ) -> WeightCurve:
        """The error against one weight; see `fastconv.explain.curve.curve_of`."""
        from fastconv.explain.curve import curve_of

        number = self.number(number)
        return curve_of(self, number, tuple(index), self.class_number("target", target), lr, **options)

    def occlusion(self, vote: int | str, **options: Any) -> Occlusion:
        """What a vote becomes where a part of the input is hidden; see `fastconv.explain.occlude`."""
        from fastconv.explain.occlusion import occlude

        return occlude(self, self.class_number("vote", vote), **options)

    # ---- arguments -------------------------------------------------------------------------------------

    def number(self, number: Any) -> int:
        """The number of a map, checked."""
        found: int = whole_number("number", number, 0)
        if found >= len(self.maps):
            raise ValueError(f"number={found}: the last map is {len(self.maps) - 1}")
        return found

    def place(self, number: Any, cell: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """The number of a map and a cell in it, checked."""
        number = self.number(number)
        shape, places = self.shapes[number], tuple(cell)
        if len(places) != len(shape) or any(
            not 0 <= whole_number("cell", place, 0) < size for place, size in zip(places, shape)
        ):
            raise ValueError(f"cell={places}: map {number} has shape {shape}")
        return number, places

    def class_number(self, name: str, told: Any) -> int:
        """A class by its number or name."""
        if isinstance(told, str):
            if told not in self.classes:
                raise ValueError(f"{name}={told!r}: must be one of {', '.join(self.classes)}")
            return self.classes.index(told)
        number = whole_number(name, told, 0)
        if number >= len(self.classes):
            raise ValueError(f"{name}={number}: there are {len(self.classes)} classes")
        return number


def walk(
    model: Any,
    input: Any,
    *,
    classes: Sequence[str] | None = None,
    loss: nn.Loss | None = None,
) -> Walk:
    """Take one input through a net, and keep every step.

    Parameters
    ----------
    model : nn.Layer or fastconv.graph.Graph
        Ends in one vote per class, with or without a softmax behind. Of layers inside containers each is a
        step; a layer of one's own is one step. Nodes of a graph become the layers that stand for them.
    input : array, shape (C, *spatial) or (C,)
        Without a batch.
    classes : sequence of str, optional
        Names of the classes; without it their numbers.
    loss : nn.Loss, optional
        What error is, for `Walk.curve`; without it `nn.CrossEntropyLoss()`.

    Returns
    -------
    Walk

    Raises
    ------
    TypeError, ValueError
        Naming the argument and the rule; or the layer that does not take what reaches it.

    Notes
    -----
    The net is run layer by layer, by fastconv's own layers, in inference mode: what is shown is what is
    computed.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import explain, nn
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(98, 3, rng=1))
    >>> seen = explain.walk(net, np.ones((1, 9, 9), np.float32), classes=["a", "b", "c"])
    >>> [each.shape for each in seen.maps]
    [(1, 9, 9), (2, 7, 7), (2, 7, 7), (98,), (3,)]
    >>> bool(np.allclose(seen.votes, net(np.ones((1, 1, 9, 9), np.float32))[0]))
    True
    """
    array = as_array("input", input)
    if array.ndim < 1 or math.prod(array.shape) == 0:
        raise ValueError(f"input: shape {array.shape} must be (C, *spatial), without a batch")
    array = np.ascontiguousarray(array[None]).copy()
    loss = nn.CrossEntropyLoss() if loss is None else loss
    return Walk(steps_of(model, array), array, classes, loss)


def run(steps: Sequence[Step], values: list[Any], number: int) -> list[Any]:
    """The values of all steps from what map `number` holds on; earlier ones are repeated per case."""
    values = list(values)
    count = len(values[number])
    for k in range(number, len(steps)):
        step = steps[k]
        read = [_repeated(values[i], count) if i < number else values[i] for i in step.reads]
        try:
            values.append(call(step.layer, together(read)))
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {step.name}, {step.layer!r}: {error}") from error
    return values


def _fields(steps: Sequence[Step], shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Per map the pixels that a cell in its middle depends on, along each axis."""
    found: list[tuple[int, ...]] = [(1,) * (len(shapes[0]) - 1)]
    for number, step in enumerate(steps, 1):
        if step.kind in ("flatten", "activation", "norm", "affine", "identity"):  # as what it reads
            found.append(found[step.reads[0]])
            continue
        middle = tuple(size // 2 for size in shapes[number])
        seen = fields_of(steps, shapes, number, middle).get(0, ())
        found.append(tuple(int(np.ptp(places)) + 1 for places in seen[1:]))
    return found


def _repeated(value: np.ndarray, count: int) -> np.ndarray:
    return value if len(value) == count else np.repeat(value, count, axis=0)
