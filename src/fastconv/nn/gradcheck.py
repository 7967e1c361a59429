"""Is backprop right? Compare it with what happens when inputs and parameters are moved a little.

Where a function has a kink (ReLU at 0, a tie under a max-pool window) there is no derivative to compare with.
Such places are found by looking at the function alone, never at backprop, so a wrong gradient is not excused
by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv.geometry import as_array, as_ndarray, flag, whole_number
from fastconv.nn.arguments import Rng, generator, real
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import each, together, vjp_of

#: Step sizes tried, relative to the larger of 1 and the number moved; the first that sees a smooth function
#: counts.
STEPS = (1e-4, 1e-5, 1e-6)

#: Rounding of a float64 evaluation, relative to its largest value, that differences must not be blamed for.
ROUNDING = 64 * float(np.finfo(np.float64).eps)

#: Slopes smaller than this share of the largest anywhere are compared as if they had that size.
FLOOR = 1e-3

Function = Callable[..., tuple[Any, Callable[..., Any]]]


@dataclass(frozen=True)
class Kink:
    """A place where the function bends too sharply for a derivative.

    Attributes
    ----------
    place : str
        `input[0, 0, 2, 1]` or `0.weight[1, 0]`; of several inputs `inputs[1][0, 2]`.
    below, above : float
        Slopes on both sides.
    backprop : float
        What backprop says; a right one lies between them where a single kink is met.
    """

    place: str
    below: float
    above: float
    backprop: float


@dataclass(frozen=True)
class GradcheckReport:
    """How far backprop is from central differences; true if it passed.

    Attributes
    ----------
    passed : bool
        The worst error is within the tolerance, and something smooth was there to compare.
    worst : float
        Largest |difference|, relative to the largest slope of the same array.
    place : str
        Where that is.
    numeric, backprop : float
        The two slopes there.
    checked : int
        Numbers moved, kinks included.
    kinks : tuple of Kink
        Places left out of the comparison.
    tolerance : float
    """

    passed: bool
    worst: float
    place: str
    numeric: float
    backprop: float
    checked: int
    kinks: tuple[Kink, ...]
    tolerance: float

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        if self.checked == len(self.kinks):
            return f"gradcheck failed: nothing to compare, all {self.checked} places are kinks"
        verdict = "passed" if self.passed else "FAILED"
        text = (
            f"gradcheck {verdict}: worst error {self.worst:.2g} (tolerance {self.tolerance:g}) at "
            f"{self.place}: {self.numeric:.9g} measured, {self.backprop:.9g} by backprop; "
            f"{self.checked} places checked"
        )
        return text + (f", {len(self.kinks)} of them kinks, left out" if self.kinks else "")


@dataclass
class _Array:
    """One array that is moved, with its gradient by backprop and what was measured."""

    name: str
    values: np.ndarray
    backprop: np.ndarray
    chosen: np.ndarray  # flat positions
    numeric: np.ndarray


def gradcheck(
    net: Layer | Function,
    x: Any,
    *,
    training: bool = True,
    tolerance: float = 1e-6,
    limit: int = 200,
    rng: Rng = 0,
) -> GradcheckReport:
    """Compare backprop with central differences in float64, for the input and all parameters.

    The function is run as in training: dropout on, with the same mask every time, and batch norm by the
    statistics of the batch; or with `training=False` as in inference, where only the input has a gradient.
    The net itself is not touched: a float64 copy is checked.

    Parameters
    ----------
    net : Layer, or function from an array to (output, backprop)
        The output of a function may be an array or a number. Of several outputs, a tuple of arrays, the
        weighted sum of all is differentiated.
    x : array, float32 or float64; or tuple of arrays
        Several inputs, one argument each. Integers and booleans among them are given as they are and not
        moved; backprop returns None for those. Of an `Embedding`, a tuple of one.
    training : bool, default True
        Which gradient of a layer to check: see `Layer.vjp`.
    tolerance : float, default 1e-6
        Relative to the largest slope of each array.
    limit : int, default 200
        Numbers moved per array at most; of a larger array, that many at random.
    rng : numpy.random.Generator, int seed or None, default 0
        Draws the weights of the outputs, whose weighted sum is what is differentiated, and the places.

    Returns
    -------
    GradcheckReport
        True if backprop is right; `print` it.

    Raises
    ------
    TypeError, ValueError
        Something that cannot be checked; a function that gives two results for one input, or NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> report = nn.gradcheck(nn.Linear(3, 2, rng=0), np.ones((4, 3)))
    >>> bool(report), report.checked
    (True, 20)
    >>> def wrong(x):
    ...     return x * x, lambda grad: grad * x
    >>> bool(nn.gradcheck(wrong, np.ones(3)))
    False
    """
    tolerance = real("tolerance", tolerance, above=0)
    limit = whole_number("limit", limit, 1)
    draw = generator("rng", rng)
    training = flag("training", training)
    x = _as_inputs(x, training and isinstance(net, Layer) and bool(net.parameters()))
    twin = net.astype(np.float64) if isinstance(net, Layer) else None
    if twin is None and not callable(net):
        raise TypeError(f"net: must be a layer or a function, not {type(net).__name__}")
    run = _Repeatable(twin if twin is not None else net, training)
    output, backprop = run(x)
    again, _ = run(x)
    first, second = _row(output), _row(again)
    if not np.array_equal(first, second, equal_nan=True):
        raise ValueError("net: gives two different outputs for the same input; there is nothing to compare")
    if not np.isfinite(first).all():
        raise ValueError("net: gives NaN or infinity for this x; there is nothing to compare")
    weights = draw.standard_normal(first.shape)
    parameters = twin.named_parameters() if twin is not None and training else {}
    for parameter in parameters.values():
        parameter.zero_grad()
    arrays = _moved_inputs(x, backprop(*_like(output, weights)), limit, draw)
    for name, parameter in parameters.items():
        arrays.append(
            _Array(name, parameter.value, parameter.grad.copy(), *_choose(parameter.value, limit, draw))
        )
    kinks = [
        kink for array in arrays for kink in _measure(array, lambda: _row(run(x)[0]), weights, tolerance)
    ]
    return _report(arrays, kinks, tolerance)


def _as_inputs(x: Any, learns: bool) -> Any:
    """The inputs, those that are moved in float64: copies, so that the caller's stay as they are."""
    if not isinstance(x, tuple):
        return as_array("x", x).astype(np.float64)
    arrays = [as_ndarray(f"x[{i}]", array) for i, array in enumerate(x)]
    if not learns and not any(array.dtype.kind == "f" for array in arrays):
        raise TypeError("x: holds no float32 or float64 array, so that there is nothing to move")
    return together(
        [
            array if array.dtype.kind in "iub" else as_array(f"x[{i}]", array).astype(np.float64)
            for i, array in enumerate(arrays)
        ]
    )


def _row(output: Any) -> np.ndarray:
    """An output as one array: several end to end."""
    if isinstance(output, tuple):
        return np.concatenate([np.ravel(array) for array in output])
    return np.asarray(output)


def _like(output: Any, row: np.ndarray) -> tuple[Any, ...]:
    """A row of weights as an array (or number) for each output; None for one of integers."""
    if not isinstance(output, tuple):
        return (row if row.ndim else float(row),)
    ends = np.cumsum([np.size(array) for array in output])[:-1]
    return tuple(
        part.reshape(np.shape(array)) if np.asarray(array).dtype.kind == "f" else None
        for part, array in zip(np.split(row, ends), output)
    )


def _moved_inputs(x: Any, gradients: Any, limit: int, rng: np.random.Generator) -> list[_Array]:
    """The inputs that are moved, with what backprop returned for them."""
    inputs, found = each(x), each(gradients)
    if len(found) != len(inputs):
        raise ValueError(f"net: backprop returns {len(found)} gradients for {len(inputs)} inputs")
    arrays = []
    for i, (array, gradient) in enumerate(zip(inputs, found)):
        name = "input" if len(inputs) == 1 else f"inputs[{i}]"
        if array.dtype.kind != "f":
            if gradient is not None:
                raise ValueError(
                    f"net: backprop returns a gradient for {name}, of {array.dtype}; it has none"
                )
            continue
        gradient = np.zeros_like(array) if gradient is None else np.array(gradient)
        if gradient.shape != array.shape:
            what = "an input" if len(inputs) == 1 else name
            raise ValueError(
                f"net: backprop returns shape {gradient.shape} for {what} of shape {array.shape}"
            )
        arrays.append(_Array(name, array, gradient, *_choose(array, limit, rng)))
    return arrays


class _Repeatable:
    """A net or function, whose generators draw the same numbers at every call."""

    def __init__(self, net: Any, training: bool) -> None:
        is_layer = isinstance(net, Layer)
        run_layer = lambda *x: vjp_of(net, together(x), training)  # noqa: E731
        self._function: Function = run_layer if is_layer else net
        layers = net.walk() if is_layer else ()
        self._generators = [g for _, layer in layers for g in layer._own(np.random.Generator).values()]
        self._states = [value.bit_generator.state for value in self._generators]

    def __call__(self, x: Any) -> tuple[Any, Callable[..., Any]]:
        for draw, state in zip(self._generators, self._states):
            draw.bit_generator.state = state
        return self._function(*each(x))


def _choose(values: np.ndarray, limit: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which numbers of an array are moved, and room for their slopes (NaN: not measured, a kink)."""
    chosen = np.arange(values.size)
    if values.size > limit:
        chosen = np.sort(rng.choice(values.size, limit, replace=False))
    return chosen, np.full(chosen.size, np.nan)


def _measure(
    array: _Array, output: Callable[[], np.ndarray], weights: np.ndarray, tolerance: float
) -> Iterator[Kink]:
    """Fill in `array.numeric`; yields the places where there is no slope."""
    numbers = array.values.reshape(-1)
    here = output().copy()
    for i, position in enumerate(array.chosen):
        for relative in STEPS:
            step = relative * max(1.0, abs(float(numbers[position])))
            slopes = _slopes(numbers, position, step, output, here)
            if _is_smooth(slopes, step, here, tolerance):
                array.numeric[i] = float((weights * slopes.fine).sum())
                break
        else:
            index = np.unravel_index(position, array.values.shape)
            place = f"{array.name}[{', '.join(str(int(k)) for k in index)}]"
            below, above = (float((weights * side).sum()) for side in (slopes.below, slopes.above))
            yield Kink(place, below, above, float(array.backprop.reshape(-1)[position]))


@dataclass(frozen=True)
class _Slopes:
    """Slopes of every output along one number, over a step to both sides and over half of it."""

    coarse: np.ndarray
    fine: np.ndarray
    coarse_bend: np.ndarray  # slope above minus slope below
    fine_bend: np.ndarray
    below: np.ndarray
    above: np.ndarray


def _slopes(
    numbers: np.ndarray, position: int, step: float, output: Callable[[], np.ndarray], here: np.ndarray
) -> _Slopes:
    kept = numbers[position]
    found = {}
    try:
        for offset in (step, -step, step / 2, -step / 2):
            numbers[position] = kept + offset
            found[offset] = (output() - here) / (numbers[position] - kept)  # the step as rounded
    finally:
        numbers[position] = kept
    above, below = found[step], found[-step]
    near_above, near_below = found[step / 2], found[-step / 2]
    return _Slopes(
        (above + below) / 2,
        (near_above + near_below) / 2,
        above - below,
        near_above - near_below,
        near_below,
        near_above,
    )


def _is_smooth(slopes: _Slopes, step: float, here: np.ndarray, tolerance: float) -> bool:
    """Whether halving the step changes what it must for a smooth function: no slope, and half of every bend.

    A kink at the place keeps its bend whatever the step; one beside it, within the step, changes the slope.
    """
    largest = max(float(np.abs(slopes.coarse).max()), float(np.abs(slopes.fine).max()))
    noise = ROUNDING * max(1.0, float(np.abs(here).max())) / step
    allowed = tolerance / 4 * largest + noise
    change = np.abs(slopes.coarse - slopes.fine).max()
    excess = np.abs(slopes.coarse_bend - 2 * slopes.fine_bend).max()
    return bool(change <= allowed and excess <= 2 * allowed)


def _report(arrays: list[_Array], kinks: list[Kink], tolerance: float) -> GradcheckReport:
    pairs = [(array, array.backprop.reshape(-1)[array.chosen]) for array in arrays]
    largest = [
        max((float(np.nanmax(np.abs(v), initial=0.0)) for v in (array.numeric, found)), default=0.0)
        for array, found in pairs
    ]
    floor = FLOOR * max(largest) or 1.0
    worst, place, numeric, backprop = -1.0, "", 0.0, 0.0
    for (array, found), scale in zip(pairs, largest):
        errors = np.abs(array.numeric - found) / max(scale, floor)
        errors[np.isnan(array.numeric)] = -1.0  # a kink
        errors[np.isnan(errors)] = np.inf  # backprop is NaN
        i = int(errors.argmax())
        if errors[i] > worst:
            index = np.unravel_index(array.chosen[i], array.values.shape)
            place = f"{array.name}[{', '.join(str(int(k)) for k in index)}]"
            worst, numeric, backprop = float(errors[i]), float(array.numeric[i]), float(found[i])
    checked = sum(array.chosen.size for array in arrays)
    passed = 0.0 <= worst <= tolerance
    return GradcheckReport(passed, worst, place, numeric, backprop, checked, tuple(kinks), tolerance)
