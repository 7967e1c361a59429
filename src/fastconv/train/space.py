"""What a search may choose from: the knobs of the example's stack of layers, and the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fastconv.train import named
from fastconv.train.build import parse_net
from fastconv.train.errors import SettingError, SpecError

#: Largest net that is tried, in parameters.
MOST_PARAMETERS = 5_000_000

#: Draws that may not fit the input, one after the other, before there is said to be nothing to find.
TRIES = 1000

#: The knobs in the order in which they are shown.
KNOBS = ("features", "feature_size", "pool", "stride", "neurons", "depth")


@dataclass(frozen=True)
class Candidate:
    """One choice: numbers by knob, the learning rate, and the net that they make."""

    features: int
    feature_size: int
    pool: int
    stride: int
    neurons: int
    depth: int
    lr: float
    spec: str


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a search may choose from.

    Attributes
    ----------
    features, feature_size, pool, stride, neurons, depth : tuple of int
        Of each one is chosen, all as likely: features of each convolution and their size; windows of pools
        and the steps between them, no longer than the windows; neurons before the votes, 0 for none; how many
        convolutions.
    lr : (low, high)
        The learning rate is drawn between them, its logarithm uniformly.

    Raises
    ------
    SettingError
        Naming the attribute, its value and the rule.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.train import Space
    >>> Space(features=(8,), depth=(2,)).draw(np.random.default_rng(0), (1, 28, 28), 10).features
    8
    """

    features: tuple[int, ...] = (8, 16, 32, 64)
    feature_size: tuple[int, ...] = (2, 3, 5)
    pool: tuple[int, ...] = (2, 3)
    stride: tuple[int, ...] = (1, 2, 3)
    neurons: tuple[int, ...] = (0, 32, 64, 128)
    depth: tuple[int, ...] = (1, 2, 3, 4)
    lr: tuple[float, float] = (3e-4, 3e-2)

    def __post_init__(self) -> None:
        for name in KNOBS:
            value = tuple(getattr(self, name))
            object.__setattr__(self, name, value)
            least = 0 if name == "neurons" else 1
            if not value or not all(type(n) is int and least <= n <= 100_000 for n in value):
                raise SettingError(name, value, f"must be whole numbers from {least} to 100,000")
        lr = tuple(map(float, self.lr))
        object.__setattr__(self, "lr", lr)
        if len(lr) != 2 or not 0 < lr[0] <= lr[1] < math.inf:
            raise SettingError("lr", lr, "must be two numbers above 0, the smaller first")

    def draw(self, rng: np.random.Generator, input_shape: Sequence[int], classes: int) -> Candidate:
        """A choice whose net fits the input.

        Raises
        ------
        SpecError
            None of many did; the last one's fault.
        """
        fault = SpecError("net: no choice fits")
        for _ in range(TRIES):
            knobs = {name: int(rng.choice(getattr(self, name))) for name in KNOBS}
            lr = float(np.exp(rng.uniform(*np.log(self.lr))))
            if knobs["stride"] > knobs["pool"]:
                continue
            spec = named.deck(
                input_shape,
                features=(knobs["features"],),
                feature_size=knobs["feature_size"],
                pool=knobs["pool"],
                stride=knobs["stride"],
                neurons=(knobs["neurons"],) if knobs["neurons"] else (),
                depth=knobs["depth"],
            )
            try:
                parse_net(spec, input_shape, classes, 0, most_parameters=MOST_PARAMETERS)
            except SpecError as error:
                fault = error
                continue
            return Candidate(**knobs, lr=lr, spec=spec)
        raise SpecError(f"no choice of {TRIES:,} fits the input {tuple(input_shape)}; the last: {fault}")

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: list(value) for name, value in asdict(self).items()}
