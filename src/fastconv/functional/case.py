"""One line that names one problem: `conv2d n4 c64 56x56 k64 3x3 p1`, in tests, benchmarks and bug reports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fastconv._kernels.conv.direct import ACTIVATIONS
from fastconv._kernels.engine.fastconv_native import PRECISIONS
from fastconv.algorithm import ALGORITHMS, DIRECTIONS
from fastconv.geometry import (
    ConvGeometry,
    PoolGeometry,
    conv_geometry,
    conv_transpose_geometry,
    dilated_kernel,
    padding_pairs,
    pool_geometry,
)

#: The operations, and those words that not all of them have.
OPERATIONS: dict[str, tuple[str, ...]] = {
    "conv": ("k", "d", "g", "bias", "activation", "algorithm", "precision", "weight_gradient"),
    "conv_transpose": ("k", "d", "g", "o", "bias", "precision", "weight_gradient"),
    "max_pool": ("d", "ceil_mode"),
    "avg_pool": ("ceil_mode",),
}

OPTIONAL = {word for words in OPERATIONS.values() for word in words}

#: The letters in front of numbers, and the smallest number that each takes.
LEAST = {"n": 0, "c": 1, "size": 1, "k": 1, "kernel": 1, "s": 1, "p": 0, "o": 0, "d": 1, "g": 1}

DTYPES = ("float32", "float64")

#: Words of the form name=value, and their values.
CHOICES = {
    "activation": tuple(name for name in ACTIVATIONS if name),
    "algorithm": ALGORITHMS,
    "precision": PRECISIONS,
}

#: A transposed convolution runs a convolution backwards: its passes, as those of that convolution.
BACKWARDS = {"forward": "input_gradient", "input_gradient": "forward", "weight_gradient": "weight_gradient"}

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call in words. `Case.parse` reads a line, `str` writes the shortest line that says the same.

    A line begins with the operation: conv, conv_transpose, max_pool or avg_pool, each with 1d, 2d or 3d. Then
    come, in any order but size before kernel:

    ==================  ====================================================  =================
    word                says                                                  if left out
    ==================  ====================================================  =================
    ``n4``              images                                                ``n1``
    ``c64``             input channels                                        must be there
    ``56x56``           size of the input                                     must be there
    ``k64``             output channels, not of pools                         must be there
    ``3x3``             size of the kernel, the second of the two             must be there
    ``s2``, ``s2x1``    stride                                                1; pools: kernel
    ``p1``, ``p1x2``    padding; ``p1:2`` before and after, ``psame``         ``p0``
    ``o1``              output_padding, of conv_transpose                     ``o0``
    ``d2``              dilation, not of avg_pool                             ``d1``
    ``g8``              groups, not of pools                                  ``g1``
    ``ceil_mode``       of pools                                              not so
    ``bias``            of the forward pass of convolutions                   none
    ``activation=relu`` of the forward pass of conv                           none
    ``float64``         dtype                                                 ``float32``
    ``channels_last``   memory order of the input                             contiguous
    ``input_gradient``  the pass; ``weight_gradient``, not of pools           ``forward``
    ``algorithm=fft``   of conv                                               ``algorithm=auto``
    ``precision=high``  of convolutions                                       the one in force
    ==================  ====================================================  =================

    One number counts for all axes.

    Examples
    --------
    >>> from fastconv.functional.case import Case
    >>> case = Case.parse("conv2d p1x1 c64 n4 56 k64 3x3 s1")
    >>> str(case)
    'conv2d n4 c64 56x56 k64 3x3 p1'
    >>> case.input_shape, case.weight_shape
    ((4, 64, 56, 56), (64, 64, 3, 3))
    """

    operation: str
    n: int
    in_channels: int
    size: tuple[int, ...]
    out_channels: int  #: of a pool, as many as in_channels
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs | str  #: (before, after) per axis, or "same"
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    ceil_mode: bool
    bias: bool
    activation: str | None
    dtype: str
    channels_last: bool
    direction: str
    algorithm: str
    precision: str | None  #: None is the one in force

    @classmethod
    def parse(cls, line: str) -> Case:
        """Read a line.

        Raises
        ------
        ValueError
            Naming the word that breaks a rule, and the rule; or what the call itself would raise.
        TypeError
            Not a string.
        MemoryError
            Arrays that cannot be allocated.
        """
        if not isinstance(line, str):
            raise TypeError(f"line={line!r}: must be a string such as 'conv2d n4 c64 56x56 k64 3x3 p1'")
        return _Words(line).case()

    def __str__(self) -> str:
        words = [
            f"n{self.n}" if self.n != 1 else "",
            f"c{self.in_channels}",
            "x".join(map(str, self.size)),
            f"k{self.out_channels}" if not self.is_pool else "",
            "x".join(map(str, self.kernel)),
            _unless(self.kernel if self.is_pool else (1,) * self.rank, "s", self.stride),
            _padding_word(self.padding),
            _unless((0,) * self.rank, "o", self.output_padding),
            _unless((1,) * self.rank, "d", self.dilation),
            f"g{self.groups}" if self.groups != 1 else "",
            "ceil_mode" if self.ceil_mode else "",
            "bias" if self.bias else "",
            f"activation={self.activation}" if self.activation else "",
            self.dtype if self.dtype != DTYPES[0] else "",
            "channels_last" if self.channels_last else "",
            self.direction if self.direction != DIRECTIONS[0] else "",
            f"algorithm={self.algorithm}" if self.algorithm != ALGORITHMS[0] else "",
            f"precision={self.precision}" if self.precision else "",
        ]
        return " ".join([self.function, *filter(None, words)])

    @property
    def rank(self) -> int:
        """Spatial axes."""
        return len(self.size)

    @property
    def function(self) -> str:
        """The name of the function, such as conv2d."""
        return f"{self.operation}{self.rank}d"

    @property
    def is_pool(self) -> bool:
        """Whether there is no weight."""
        return self.operation.endswith("pool")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(N, C, *spatial)."""
        return (self.n, self.in_channels, *self.size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(K, C / groups, *kernel), or (C, K / groups, *kernel) of a transposed convolution."""
        first, second = self.out_channels, self.in_channels
        if self.operation == "conv_transpose":
            first, second = second, first
        return (first, second // self.groups, *self.kernel)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(N, K, *spatial)."""
        geometry = self.geometry
        return geometry.input_shape if self.operation == "conv_transpose" else geometry.output_shape

    @property
    def padding_pairs(self) -> Pairs:
        """(before, after) per axis, also of "same"."""
        window = dilated_kernel(self.kernel, self.dilation)
        return padding_pairs(self.padding, self.rank, window, self.stride)

    @property
    def parameters(self) -> dict[str, Any]:
        """Keyword arguments of the function and its gradients; one number where all axes agree."""
        padding: Any = self.padding
        if not isinstance(padding, str) and all(before == after for before, after in padding):
            padding = _one_number(tuple(before for before, _ in padding))
        window: dict[str, Any] = {"stride": _one_number(self.stride), "padding": padding}
        if self.is_pool:
            window = {"kernel_size": self.kernel, **window, "ceil_mode": self.ceil_mode}
        if self.operation != "avg_pool":
            window["dilation"] = _one_number(self.dilation)
        if self.operation == "conv_transpose":
            window["output_padding"] = _one_number(self.output_padding)
        return window if self.is_pool else {**window, "groups": self.groups}

    @property
    def call_parameters(self) -> dict[str, Any]:
        """Keyword arguments of this pass alone, where they are not the default."""
        named = {"activation": self.activation} if self.activation else {}
        return {**named, "algorithm": self.algorithm} if self.algorithm != ALGORITHMS[0] else named

    @cached_property
    def geometry(self) -> ConvGeometry | PoolGeometry:
        """In numbers; of a transposed convolution, the convolution whose input gradient it is."""
        window = (self.stride, self.padding)
        if self.is_pool:
            return pool_geometry(
                self.input_shape, self.kernel, *window, self.dilation, self.ceil_mode, self.rank
            )
        shapes = (self.input_shape, self.weight_shape)
        if self.operation == "conv":
            return conv_geometry(*shapes, *window, self.dilation, self.groups, self.rank)
        return conv_transpose_geometry(
            *shapes, *window, self.output_padding, self.groups, self.dilation, self.rank
        )

    @property
    def geometry_direction(self) -> str:
        """This pass, as one of the convolution in `geometry`."""
        return BACKWARDS[self.direction] if self.operation == "conv_transpose" else self.direction


# ---- writing -----------------------------------------------------------------------------------------


def _one_number(values: tuple[int, ...]) -> Any:
    """What all entries are, or the tuple."""
    return values[0] if len(set(values)) == 1 else values


def _unless(default: tuple[int, ...], letter: str, values: tuple[int, ...]) -> str:
    if values == default:
        return ""
    return letter + "x".join(map(str, values[:1] if len(set(values)) == 1 else values))


def _padding_word(padding: Pairs | str) -> str:
    if isinstance(padding, str):
        return f"p{padding}"
    axes = [f"{before}:{after}" if before != after else str(before) for before, after in padding]
    return "" if set(axes) == {"0"} else "p" + "x".join(axes[:1] if len(set(axes)) == 1 else axes)


# ---- reading -----------------------------------------------------------------------------------------


class _Words:
    """A line taken apart: `found` holds what each word says, under the name of what it says it about."""

    def __init__(self, line: str) -> None:
        self.line = line
        first, *words = line.split() or [""]
        match = re.fullmatch(rf"({'|'.join(OPERATIONS)})([123])d", first)
        if match is None:
            names = ", ".join(f"{name}1d" for name in OPERATIONS)
            raise self.error(first, f"a line begins with an operation: {names}, or the same in 2d and 3d")
        self.operation, self.rank = match[1], int(match[2])
        self.words = {"size": "", "kernel": ""}  # as they were written
        self.found: dict[str, Any] = {}
        for word in words:
            self._read(word)

    def error(self, word: str, rule: str) -> ValueError:
        return ValueError(f"{word!r} in {self.line!r}: {rule}")

    def _read(self, word: str) -> None:
        """Enter what a word says into `found`."""
        match = re.fullmatch(r"([nckspodg]?)([0-9].*)|(p)(same)", word)
        name, separator, value = word.partition("=")
        if match:
            about = (match[1] or match[3]) or ("kernel" if self.words["size"] else "size")
            said: Any = match[2] or match[4]
        elif separator and name in CHOICES:
            about, said = name, value
            if value not in CHOICES[name]:
                raise self.error(word, f"{name} must be one of {', '.join(CHOICES[name])}")
        elif word in DTYPES:
            about, said = "dtype", word
        elif word in DIRECTIONS:
            about, said = "direction", word
        elif word in ("bias", "ceil_mode", "channels_last"):
            about, said = word, True
        else:
            raise self.error(word, "is no word of this language; help(fastconv.conv_info) tells them")
        owned = word if about == "direction" else about
        if owned in OPTIONAL - set(OPERATIONS[self.operation]):
            raise self.error(word, f"does not go with {self.operation}{self.rank}d")
        if self.words.get(about):
            raise self.error(word, f"{about} has been said before, by {self.words[about]!r}")
        self.words[about] = word
        self.found[about] = self._padding(word, said) if about == "p" else said
        if about in LEAST and about != "p":
            self.found[about] = self._numbers(about, word, said)

    def _numbers(self, about: str, word: str, text: str) -> tuple[int, ...]:
        """One number, or one per axis where there are several."""
        alone = about in ("n", "c", "k", "g")
        if not re.fullmatch(r"[0-9]{1,19}" if alone else r"[0-9]{1,19}(x[0-9]{1,19})*", text):
            raise self.error(word, "takes one number" if alone else "takes numbers with x between them")
        numbers = tuple(map(int, text.split("x")))
        if min(numbers) < LEAST[about]:
            raise self.error(word, f"must be at least {LEAST[about]}")
        return numbers if alone else self._per_axis(word, numbers)

    def _padding(self, word: str, text: str) -> Pairs | str:
        """Pairs per axis, or "same"."""
        if text == "same":
            return text
        entry = r"[0-9]{1,19}(:[0-9]{1,19})?"
        if not re.fullmatch(rf"{entry}(x{entry})*", text):
            raise self.error(word, "padding is p1, p1x2 for each axis, p1:2 for before and after, or psame")
        sides = [tuple(map(int, axis.split(":"))) for axis in text.split("x")]
        return self._per_axis(word, tuple((side[0], side[-1]) for side in sides))

    def _per_axis(self, word: str, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(entries) not in (1, self.rank):
            raise self.error(word, f"must have {self.rank} entries, one per spatial axis, or one for all")
        return entries if len(entries) == self.rank else entries * self.rank

    def case(self) -> Case:
        """All of it, checked as the call itself would be."""
        found, is_pool = self.found, self.operation.endswith("pool")
        needed = {"c": "c64", "size": "a size such as 56x56", "kernel": "a kernel such as 3x3", "k": "k64"}
        for about, said in needed.items():
            if about not in found and not (is_pool and about == "k"):
                raise ValueError(f"{self.line!r}: lacks {said}")
        direction = found.get("direction", DIRECTIONS[0])
        for about in ("bias", "activation"):
            if about in found and direction != DIRECTIONS[0]:
                raise self.error(self.words[about], "goes with the forward pass alone")
        (channels,), (groups,) = found["c"], found.get("g", (1,))
        outputs = channels if is_pool else found["k"][0]
        if channels % groups or outputs % groups:
            raise self.error(self.words["g"], f"must divide the channels, c{channels} and k{outputs}")
        ones = (1,) * self.rank
        case = Case(
            operation=self.operation,
            n=found.get("n", (1,))[0],
            in_channels=channels,
            size=found["size"],
            out_channels=outputs,
            kernel=found["kernel"],
            stride=found.get("s", found["kernel"] if is_pool else ones),
            padding=found.get("p", ((0, 0),) * self.rank),
            output_padding=found.get("o", (0,) * self.rank),
            dilation=found.get("d", ones),
            groups=groups,
            ceil_mode="ceil_mode" in found,
            bias="bias" in found,
            activation=found.get("activation"),
            dtype=found.get("dtype", DTYPES[0]),
            channels_last="channels_last" in found,
            direction=direction,
            algorithm=found.get("algorithm", ALGORITHMS[0]),
            precision=found.get("precision"),
        )
        try:
            _ = case.geometry  # refuses what cannot be computed
        except ValueError as error:
            raise ValueError(f"{self.line!r}: {error}") from None
        return case
