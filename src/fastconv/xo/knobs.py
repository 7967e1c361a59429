"""The knobs of the network: how many features of which size, how to pool, how many layers in what order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastconv.geometry import pool_geometry, whole_number
from fastconv.xo.errors import KnobError
from fastconv.xo.generator import SMALLEST
from fastconv.xo.pictures import LETTERS

#: The example's stack of layers; where that is too deep, its beginning; and the network the example starts
#: with.
DEEP_STACK = ("conv", "relu", "conv", "relu", "pool", "conv", "relu", "pool")
MIDDLE_STACK = DEEP_STACK[:5]
SHORT_STACK = ("conv", "relu", "pool", "pool")

#: Largest network that is built, in parameters: beyond it a knob was mistyped.
MOST_PARAMETERS = 10_000_000


@dataclass(frozen=True)
class Stage:
    """One layer of a plan and the maps that leave it: what it is, how many maps, and their side in pixels."""

    kind: str
    channels: int
    side: int


@dataclass(frozen=True)
class Knobs:
    """Everything about the network that is chosen rather than learned.

    Attributes
    ----------
    size : int, at least 5, default 9
        Height and width of the pictures.
    layers : tuple of {"conv", "relu", "pool"}, optional
        In order, up to the voting layers. Without it the first of these that the picture is large enough for:
        conv relu conv relu pool conv relu pool; conv relu conv relu pool; conv relu pool pool. After
        construction it is the one chosen.
    features : tuple of int, default (16,)
        Number of features of each convolution layer; the last number holds for all further layers.
    feature_size : int, default 3
        Height and width of a feature.
    pool, stride : int, default 2
        Window and step of max-pooling. Windows that hang over the right and bottom edge are kept.
    hidden : tuple of int, default (32,)
        Number of neurons in each layer between the last maps and the votes; () for none.

    Raises
    ------
    KnobError, TypeError
        A value no network can be built with: a feature larger than the maps it is for, pooling that leaves
        nothing, and so on.

    Examples
    --------
    >>> from fastconv.xo import Knobs
    >>> Knobs(features=(3,), layers=("conv", "relu", "pool", "pool")).plan()[-1]
    Stage(kind='pool', channels=3, side=2)
    """

    size: int = 9
    layers: tuple[str, ...] | None = None
    features: tuple[int, ...] = (16,)
    feature_size: int = 3
    pool: int = 2
    stride: int = 2
    hidden: tuple[int, ...] = (32,)

    def __post_init__(self) -> None:
        for name, minimum in (("size", SMALLEST), ("feature_size", 1), ("pool", 1), ("stride", 1)):
            object.__setattr__(self, name, check_number(name, getattr(self, name), minimum))
        for name in ("layers", "features", "hidden"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
            elif not isinstance(value, tuple) and (name, value) != ("layers", None):
                raise TypeError(f"{name}={value!r}: must be a tuple")
        for name in ("features", "hidden"):
            object.__setattr__(
                self, name, tuple(check_number(name, entry, 1) for entry in getattr(self, name))
            )
        if not self.features:
            raise KnobError("features", self.features, "must be at least one number")
        if self.layers is None:
            stacks = (DEEP_STACK, MIDDLE_STACK, SHORT_STACK)
            object.__setattr__(self, "layers", next(filter(self._fits, stacks), SHORT_STACK))
        self.plan()

    def _fits(self, layers: tuple[str, ...]) -> bool:
        try:
            self._follow(layers)
        except KnobError:
            return False
        return True

    def plan(self) -> list[Stage]:
        """The picture and the layers up to the votes, with number and side of the maps that leave each."""
        assert self.layers is not None
        stages = self._follow(self.layers)
        convolutions = self.layers.count("conv")
        if not convolutions:
            raise KnobError("layers", self.layers, "must have at least one conv")
        if len(self.features) > convolutions:
            rule = (
                f"has {len(self.features)} numbers for {convolutions} convolution{'s' * (convolutions > 1)}"
            )
            raise KnobError("features", self.features, rule)
        count = self._count_parameters(stages)
        if count > MOST_PARAMETERS:
            beyond_default = {
                "size": self.size**2 / Knobs.size**2,
                "features": max(self.features) / Knobs.features[0],
                "hidden": max(self.hidden, default=0) / Knobs.hidden[0],
            }
            knob = max(beyond_default, key=lambda name: beyond_default[name])
            rule = f"makes a network of {count:,} parameters, more than the {MOST_PARAMETERS:,} allowed"
            raise KnobError(knob, getattr(self, knob), rule)
        return stages

    def _follow(self, layers: tuple[str, ...]) -> list[Stage]:
        stages = [Stage("picture", 1, self.size)]
        convolutions = 0
        for kind in layers:
            before = stages[-1]
            channels, side = before.channels, before.side
            if kind == "conv":
                if self.feature_size > side:
                    what = f"the {side}x{side} {'picture' if before.kind == 'picture' else 'maps'}"
                    where = "" if convolutions == 0 else f" that reach convolution {convolutions + 1}"
                    raise KnobError("feature_size", self.feature_size, f"is larger than {what}{where}")
                channels = self.features[min(convolutions, len(self.features) - 1)]
                side -= self.feature_size - 1
                convolutions += 1
            elif kind == "pool":
                try:
                    side = pool_geometry(
                        (1, 1, side, side), self.pool, self.stride, 0, 1, True, 2
                    ).output_size[-1]
                except ValueError:
                    rule = f"leaves nothing of {side}x{side} maps at a stride of {self.stride}"
                    raise KnobError("pool", self.pool, rule) from None
            elif kind != "relu":
                raise KnobError("layers", layers, f"{kind!r} is none of conv, relu, pool")
            stages.append(Stage(kind, channels, side))
        return stages

    def _count_parameters(self, stages: list[Stage]) -> int:
        before = 1
        count = 0
        for stage in stages[1:]:
            if stage.kind == "conv":
                count += stage.channels * (before * self.feature_size**2 + 1)
            before = stage.channels
        width = stages[-1].channels * stages[-1].side ** 2
        for outputs in (*self.hidden, len(LETTERS)):
            count += outputs * (width + 1)
            width = outputs
        return count


def check_number(name: str, value: Any, minimum: int) -> int:
    """`value` as an int of at least `minimum`, or else a `KnobError` (out of range) or `TypeError`."""
    try:
        return whole_number(name, value, minimum)
    except ValueError as error:
        raise KnobError(name, value, str(error).partition(": ")[2]) from None
