"""From a spec to a net: every item becomes layers, and must fit what reaches it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.geometry import whole_number
from fastconv.train.errors import SpecError
from fastconv.train.named import expand, is_name
from fastconv.train.spec import FULL, Item, read_items, write_items

#: Largest net that is built, in parameters: beyond it a number was mistyped.
MOST_PARAMETERS = 1 << 28

Shape = tuple[int, ...]


def spec_of(spec: str, input_shape: Sequence[int]) -> str:
    """A spec in its shortest words; a name becomes what it stands for.

    Parameters
    ----------
    spec : str
    input_shape : sequence of int
        (C, *spatial), without the batch.

    Raises
    ------
    SpecError
        Naming the item, its place and the rule.

    Examples
    --------
    >>> from fastconv.train import spec_of
    >>> spec_of("lenet", (1, 28, 28))
    'conv 20 5, pool 2, conv 50 5, pool 2, fc 500, relu, fc'
    """
    return write_items(_items(spec, _checked_shape(input_shape)))


def parse_net(
    spec: str,
    input_shape: Sequence[int],
    classes: int | Sequence[str],
    rng: np.random.Generator | int | None = None,
    *,
    rows: int | None = None,
    most_parameters: int = MOST_PARAMETERS,
) -> nn.Sequential:
    """A net from a spec, with random weights.

    Parameters
    ----------
    spec : str
        Items with commas between, or the name of a spec: `auto`, `deck`, `lenet`, `cifar10_quick`,
        `resnet-N`. See the notes.
    input_shape : sequence of int
        What the net gets, without the batch: (C, L), (C, H, W) or (C, D, H, W); or (L,), numbers of words.
    classes : int or sequence of str
        How many, or their names: that many votes come out.
    rng : numpy.random.Generator, int seed or None
        Where weights, and what dropout leaves out, are drawn from.
    rows : int, optional
        Of numbers of words, how many words there are: what `embed` has a row for.
    most_parameters : int, default 2**28
        A net with more is refused before it is built.

    Returns
    -------
    nn.Sequential
        From (N, *input_shape), float32, or integers if it begins with `embed`, to votes (N, K).

    Raises
    ------
    SpecError
        A `ValueError` that names the item, its place and the rule: an unknown word, a feature larger than the
        maps it is for, a net that does not end in K votes.
    TypeError, ValueError
        `input_shape` or `classes` that are none.

    Notes
    -----
    ========================  ===============================================================================
    item                      what it makes
    ========================  ===============================================================================
    ``conv N SIZE``           a convolution with N features; SIZE is 3, or one per axis as 3x5, where `full`
                              is the whole axis. Options: `stride S`, `pad P` (a number, one per axis, or
                              `same`), `dilation D`, `groups G`
    ``res N``                 a residual block: two convolutions of size 3 with batch norm, and the way around
                              them. Option: `stride S`
    ``pool W``, ``avg W``     maximum or mean of windows; W is as SIZE, or `all` for one number per map.
                              Options: `stride S` (default W), `pad P`, and `floor`: windows that hang over
                              the edge are left out, which else are kept with what they cover
    ``fc N``                  N neurons, each of which sees everything; without N, a vote for each class
    ``relu`` and others       leaky [SLOPE], elu, selu, gelu, silu, tanh, sigmoid, softplus
    ``bn``, ``lrn SIZE``      batch norm, local response norm
    ``drop P``                in training, a share P of the values is left out
    ``embed N``               N learned numbers for each word; only in front, for text (`layout="indices"`)
    ``flatten``               maps to a row of numbers, as the first `fc` does by itself
    ========================  ===============================================================================

    1-D, 2-D or 3-D follows from `input_shape`. A convolution before `bn` has no bias of its own.

    Examples
    --------
    >>> from fastconv.train import parse_net
    >>> net = parse_net("conv 8 3, relu, pool 2, fc 32, relu, fc", (1, 9, 9), ["X", "O"], rng=0)
    >>> net.output_shape((5, 1, 9, 9))
    (5, 2)
    >>> parse_net("conv 8 3, pool 4, conv 8 3, fc", (1, 9, 9), 2)
    Traceback (most recent call last):
      ...
    fastconv.train.errors.SpecError: net: item 3, 'conv 8 3' (character 19): its features of 3x3 do not fit
    what reaches it, 2x2
    """
    shape = _checked_shape(input_shape)
    count = whole_number("classes", classes if isinstance(classes, (int, np.integer)) else len(classes), 1)
    items = _items(spec, shape)
    builder = _Builder(shape, count, np.random.default_rng(rng), most_parameters)
    builder.rows = None if rows is None else whole_number("rows", rows, 1)
    if len(shape) == 1 and items[0].kind != "embed":
        raise items[0].fail("what reaches it are numbers of words; embed N must stand in front")
    for item, following in zip(items, [*items[1:], None]):
        builder.add(item, following)
    return builder.net(items[-1])


def _checked_shape(input_shape: Sequence[int]) -> Shape:
    if isinstance(input_shape, (str, bytes)) or not isinstance(input_shape, Sequence):
        raise TypeError(f"input_shape={input_shape!r}: must be (C, L), (C, H, W), (C, D, H, W) or (L,)")
    shape = tuple(whole_number("input_shape", size, 1) for size in input_shape)
    if not 1 <= len(shape) <= 4:
        raise ValueError(f"input_shape={shape}: must be (C, L), (C, H, W), (C, D, H, W) or (L,)")
    return shape


def _items(spec: str, shape: Shape) -> tuple[Item, ...]:
    if isinstance(spec, str) and is_name(spec):
        return read_items(expand(spec, shape))
    return read_items(spec)


def _text(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


class _Builder:
    """The layers so far, the shape that leaves them, and how many parameters they have."""

    def __init__(self, shape: Shape, classes: int, rng: np.random.Generator, most: int) -> None:
        self.shape, self.classes, self.rng, self.most = shape, classes, rng, most
        self.layers: list[nn.Layer] = []
        self.parameters = 0
        self.rows: int | None = None

    @property
    def rank(self) -> int:
        """Spatial axes of what leaves the layers; 0 once it is flat."""
        return len(self.shape) - 1

    def add(self, item: Item, following: Item | None) -> None:
        """Append an item's layers; a convolution that batch norm follows leaves the bias to that."""
        if item.kind == "conv":
            self._conv(item, following is None or following.kind != "bn")
        else:
            maker: Callable[[Item], None] = getattr(self, f"_{item.kind}", self._simple)
            maker(item)

    def net(self, last: Item) -> nn.Sequential:
        """The net, which must end in votes."""
        if self.rank and math.prod(self.shape[1:]) == 1:
            self._flat()
        if self.shape != (self.classes,):
            raise last.fail(
                f"leaves {_text(self.shape)} values; the net must end in votes for {self.classes} classes: "
                "end it with fc"
            )
        return nn.Sequential(*self.layers)

    def _put(self, item: Item, make: Callable[[], nn.Layer]) -> None:
        """Append the layer that `make` makes; what it or its shapes are refused for is the item's fault."""
        try:
            layer = make()
            shape = layer.output_shape((1, *self.shape))
        except SpecError:
            raise
        except ValueError as error:
            raise item.fail(str(error)) from None
        self.layers.append(layer)
        self.shape = tuple(shape[1:])

    def _count(self, item: Item, *factors: int) -> None:
        """Take note of a weight, before it is made."""
        self.parameters += math.prod(factors)
        if self.parameters > self.most:
            raise item.fail(f"makes a net of more than the {self.most:,} parameters allowed")

    def _class(self, item: Item, name: str) -> Any:
        """The layer of this name for the axes there are."""
        if not self.rank:
            raise item.fail("comes after the maps have become a row of numbers (by fc or flatten)")
        return getattr(nn, f"{name}{self.rank}d")

    def _per_axis(self, item: Item, name: str, value: tuple[Any, ...]) -> tuple[int, ...]:
        """One number per axis; `full` is the axis."""
        if len(value) not in (1, self.rank):
            raise item.fail(f"{name} {_text(value)}: has {len(value)} numbers for {self.rank} axes")
        whole = value * self.rank if len(value) == 1 else value
        return tuple(size if n == FULL else n for n, size in zip(whole, self.shape[1:]))

    def _padding(self, item: Item, size: Sequence[int], dilation: Sequence[int]) -> Any:
        """Numbers before and after, per axis."""
        pad = item.values["pad"]
        if pad == "same":
            spans = [(n - 1) * step for n, step in zip(size, dilation)]
            return [(span // 2, span - span // 2) for span in spans]
        return [(n, n) for n in self._per_axis(item, "pad", pad)]

    def _check_fits(self, item: Item, what: str, size: Sequence[int], span: Sequence[int], pad: Any) -> None:
        room = [size + sum(pair) for size, pair in zip(self.shape[1:], pad)]
        if any(n > there for n, there in zip(span, room)):
            padded = f" ({_text(room)} with its padding)" if room != list(self.shape[1:]) else ""
            raise item.fail(
                f"{what} of {_text(size)} do not fit what reaches it, {_text(self.shape[1:])}{padded}"
            )

    def _embed(self, item: Item) -> None:
        rows = self.rows
        if self.layers:
            raise item.fail("must stand in front: it reads numbers of words")
        if len(self.shape) != 1 or rows is None:
            raise item.fail(f"reads numbers of words, but what reaches it is {_text(self.shape)}")
        self._count(item, rows, item.values["numbers"])
        self._put(item, lambda: nn.Embedding(rows, item.values["numbers"], 0, rng=self.rng))

    def _conv(self, item: Item, bias: bool) -> None:
        conv, values = self._class(item, "Conv"), item.values
        size = self._per_axis(item, "size", values["size"])
        stride = self._per_axis(item, "stride", values["stride"])
        dilation = self._per_axis(item, "dilation", values["dilation"])
        pad = self._padding(item, size, dilation)
        span = [(n - 1) * step + 1 for n, step in zip(size, dilation)]
        self._check_fits(item, "its features", size, span, pad)
        features, groups, channels = values["features"], values["groups"], self.shape[0]
        if channels % groups or features % groups:
            raise item.fail(f"groups {groups}: must divide the {channels} maps that reach it and {features}")
        self._count(item, features, channels // groups, *size)
        self._put(
            item,
            lambda: conv(
                channels,
                features,
                _one(size),
                _one(stride),
                _plain(pad),
                _one(dilation),
                groups,
                bias,
                rng=self.rng,
            ),
        )

    def _res(self, item: Item) -> None:
        conv, norm = self._class(item, "Conv"), self._class(item, "BatchNorm")
        features, channels = item.values["features"], self.shape[0]
        stride = self._per_axis(item, "stride", item.values["stride"])
        self._count(item, features, channels + features, 3**self.rank)
        inner = [
            conv(channels, features, 3, _one(stride), 1, bias=False, rng=self.rng),
            norm(features),
            nn.ReLU(),
            conv(features, features, 3, 1, 1, bias=False, rng=self.rng),
            norm(features),
        ]
        shortcut = None
        if channels != features or max(stride) > 1:
            self._count(item, features, channels)
            shortcut = nn.Sequential(
                conv(channels, features, 1, _one(stride), bias=False, rng=self.rng), norm(features)
            )
        self._put(item, lambda: nn.Residual(*inner, shortcut=shortcut))
        self._put(item, nn.ReLU)

    def _pool(self, item: Item) -> None:
        if item.values["window"] == "all":
            self._class(item, "MaxPool")
            self._put(item, nn.GlobalMaxPool)
            return
        pool = self._class(item, "MaxPool")
        self._put(item, lambda: pool(**self._window(item)))

    def _avg(self, item: Item) -> None:
        if item.values["window"] == "all":
            self._class(item, "AvgPool")
            self._put(item, nn.GlobalAvgPool)
            return
        pool = self._class(item, "AvgPool")
        self._put(item, lambda: pool(**self._window(item)))

    def _window(self, item: Item) -> dict[str, Any]:
        size = self._per_axis(item, "window", item.values["window"])
        stride = self._per_axis(item, "stride", item.values["stride"]) if item.values["stride"] else size
        pad = self._padding(item, size, [1] * self.rank)
        floor = item.values["floor"]
        if floor:
            self._check_fits(item, "its windows", size, size, pad)
        return {
            "kernel_size": _one(size),
            "stride": None if stride == size else _one(stride),
            "padding": _plain(pad),
            "ceil_mode": not floor,
        }

    def _flat(self) -> None:
        self.layers.append(nn.Flatten())
        self.shape = (math.prod(self.shape),)

    def _flatten(self, item: Item) -> None:
        if self.rank:
            self._flat()

    def _fc(self, item: Item) -> None:
        if self.rank:
            self._flat()
        neurons = self.classes if item.values["neurons"] is None else item.values["neurons"]
        self._count(item, neurons, self.shape[0] + 1)
        self._put(item, lambda: nn.Linear(self.shape[0], neurons, rng=self.rng))

    def _bn(self, item: Item) -> None:
        norm = getattr(nn, f"BatchNorm{self.rank or 1}d")
        self._put(item, lambda: norm(self.shape[0]))

    def _lrn(self, item: Item) -> None:
        self._put(item, lambda: nn.LocalResponseNorm(item.values["size"]))

    def _drop(self, item: Item) -> None:
        (own,) = self.rng.spawn(1)  # of its own, so that how often it draws moves nothing else
        self._put(item, lambda: nn.Dropout(item.values["share"], rng=own))

    def _leaky(self, item: Item) -> None:
        slope = item.values["slope"]
        self._put(item, lambda: nn.LeakyReLU(0.01 if slope is None else slope))

    def _simple(self, item: Item) -> None:
        self._put(item, _SIMPLE[item.kind])


_SIMPLE: dict[str, Callable[[], nn.Layer]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}


def _plain(pad: list[tuple[int, int]]) -> Any:
    """Padding as few numbers: one per axis where before and after are the same, one where all are."""
    if all(before == after for before, after in pad):
        return _one(tuple(before for before, _ in pad))
    return [tuple(pair) for pair in pad]


def _one(numbers: tuple[int, ...]) -> Any:
    """One number where all are the same: layers show what they were made with."""
    return numbers[0] if len(set(numbers)) == 1 else numbers
