"""Where a net's time goes, layer by layer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from fastconv.geometry import as_array, as_ndarray, whole_number
from fastconv.nn.examples import as_read, check_net
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import Shape, ValueShape, call, each, each_shape, shape_of, together
from fastconv.tables import table


@dataclass(frozen=True)
class ProfileRow:
    """One layer of a net.

    Attributes
    ----------
    path, text : str
        Where it stands ("", "0", "2.1") and what it is; of a layer that holds others only the name.
    output_shape : tuple of int
        Of several outputs, a tuple of shapes.
    seconds : float
        Median time of a call, with the layers inside. 0 for an activation that the layer in front applies
        as it stores.
    share : float
        Of the whole net's time.
    flops : int
        Multiplications, additions, comparisons and function values of a call.
    fused : bool
        Whether the layer in front does this one's work.
    """

    path: str
    text: str
    output_shape: ValueShape
    seconds: float
    share: float
    flops: int
    fused: bool

    @property
    def gflops(self) -> float:
        """Billions of operations per second."""
        return self.flops / self.seconds / 1e9 if self.seconds else 0.0


@dataclass(frozen=True)
class Profile:
    """A table of the time that a net's layers take; `print` it. The first row is the net itself.

    Attributes
    ----------
    input_shape : tuple of int
        Of several inputs, a tuple of shapes.
    rows : tuple of ProfileRow
        The net, then the layers inside in the order they run, each before the layers inside it. Layers are
        timed one by one, so their times need not add up to the net's.
    repeats : int
    """

    input_shape: ValueShape
    rows: tuple[ProfileRow, ...]
    repeats: int

    @property
    def seconds(self) -> float:
        """Median time of a call of the net."""
        return self.rows[0].seconds

    def __str__(self) -> str:
        lines = [("layer", "output shape", "ms", "share", "GFLOP/s")]
        for row in self.rows:
            depth = row.path.count(".") + 1 if row.path else 0
            name = row.path.rpartition(".")[2]
            label = "  " * depth + (f"{name} {row.text}" if name else row.text)
            figures = (f"{row.seconds * 1e3:.3f}", f"{row.share:.1%}", f"{row.gflops:.1f}")
            lines.append((label, str(row.output_shape), *(("fused", "", "") if row.fused else figures)))
        times = "time" if self.repeats == 1 else "times"
        told = f"input {self.input_shape}: median of {self.repeats} {times}"
        return "\n".join([*table(lines, "<<>>>"), told])


@dataclass
class _Stage:
    """A layer with an input that it gets; `call` is what computes it, None if the layer in front does."""

    path: str
    layer: Layer
    text: str
    call: Layer | None
    input: Any
    output_shape: ValueShape
    flops: int


def profile(net: Layer, x: Any, repeats: int = 10) -> Profile:
    """Time of each layer of a net for one input, in inference mode.

    Parameters
    ----------
    net : Layer
    x : array
        An input, batch included; a tuple of arrays for a net with several inputs.
    repeats : int, default 10
        Rounds over all layers; each row is the median of so many times, after one call that warms up.

    Returns
    -------
    Profile
        With a table as its `str`.

    Raises
    ------
    TypeError, ValueError
        No layer, no array, or an input that the net does not take.

    Notes
    -----
    Layers inside run on their own, in order, on what really reaches them; a layer of one's own that does not
    say what is inside it (`Layer.trace`) counts as one. Time goes by `time.perf_counter`, on as many threads
    as a call takes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(392, 2, rng=1))
    >>> found = nn.profile(net, np.ones((4, 1, 9, 9), np.float32))
    >>> [row.path for row in found.rows if row.fused]
    ['1']
    >>> 0 < found.seconds < 1
    True

    `print(found)` shows::

        layer                                                     output shape     ms   share  GFLOP/s
        ----------------------------------------------------------------------------------------------
        Sequential                                                (4, 2)        0.046  100.0%      0.8
          0 Conv2d(in_channels=1, out_channels=8, kernel_size=3)  (4, 8, 7, 7)  0.015   31.8%      1.9
          1 ReLU()                                                (4, 8, 7, 7)  fused
          2 Flatten()                                             (4, 392)      0.008   17.4%      0.0
          3 Linear(in_features=392, out_features=2)               (4, 2)        0.021   45.9%      0.3
        ----------------------------------------------------------------------------------------------
        input (4, 1, 9, 9): median of 10 times
    """
    check_net(net)
    x = as_read(net, x)
    if isinstance(x, tuple):
        x = tuple(as_ndarray(f"x[{i}]", array) for i, array in enumerate(x))
    else:
        x = as_array("x", x)
    repeats = whole_number("repeats", repeats, 1)
    stages: list[_Stage] = []
    _add_stages(stages, "", net, net, x)
    times: list[list[float]] = [[] for _ in stages]
    for _ in range(repeats):
        for stage, seconds in zip(stages, times):
            began = time.perf_counter()
            if stage.call is not None:
                stage.call(*each(stage.input))
            seconds.append(time.perf_counter() - began if stage.call is not None else 0.0)
    medians = [median(seconds) for seconds in times]
    rows = [
        ProfileRow(
            stage.path,
            stage.text,
            stage.output_shape,
            seconds,
            seconds / medians[0] if medians[0] else 0.0,
            stage.flops,
            stage.call is None,
        )
        for stage, seconds in zip(stages, medians)
    ]
    return Profile(shape_of(x), tuple(rows), repeats)


def _add_stages(stages: list[_Stage], path: str, layer: Layer, run: Layer | None, input: Any) -> Any:
    """Append a layer and those inside it; returns what it makes of the input."""
    output = input if run is None else call(run, input)
    inner = layer.trace(shape_of(input))
    text = type(layer).__name__ if inner else repr(layer)
    flops = layer.flops(shape_of(input))
    stages.append(_Stage(path, layer, text, run, input, shape_of(output), flops))
    arrays = list(each(input))
    skip = False
    for i, (name, child, shape) in enumerate(inner):
        read = together([_newest(arrays, one) for one in each_shape(shape)])
        fused = None if skip or i + 1 == len(inner) else _fused(child, inner[i + 1][1])
        inside = f"{path}.{name}" if path else name
        arrays += each(_add_stages(stages, inside, child, None if skip else fused or child, read))
        skip = fused is not None
    return output


def _newest(arrays: list[np.ndarray], shape: Shape) -> np.ndarray:
    """What a layer inside reads: it only says of which shape that is."""
    found = next((array for array in reversed(arrays) if array.shape == shape), None)
    return np.ones(shape, arrays[0].dtype) if found is None else found


def _fused(layer: Layer, following: Layer) -> Layer | None:
    """The layer that does the work of both, if there is one: an activation applied as results are stored."""
    name = following._fused_name()
    return None if name is None else layer._activated(name)
