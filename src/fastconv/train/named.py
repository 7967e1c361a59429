"""Specs that have a name: nets of the literature, the example's, and one made to measure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fastconv.train.errors import SpecError

#: The names; N of the last is a depth.
NAMES = ("auto", "deck", "lenet", "cifar10_quick", "resnet-N")

#: LeNet as Caffe ships it, after LeCun et al., "Gradient-based learning applied to document recognition",
#: Proc. IEEE 86 (1998); and Caffe's net for CIFAR-10.
LENET = "conv 20 5, pool 2, conv 50 5, pool 2, fc 500, relu, fc"
CIFAR10_QUICK = (
    "conv 32 5 pad 2, pool 3 stride 2, relu, conv 32 5 pad 2, relu, avg 3 stride 2, "
    "conv 64 5 pad 2, relu, avg 3 stride 2, fc 64, fc"
)

#: Residual nets for large pictures: blocks of each width.
DEEP: dict[int, tuple[int, ...]] = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}

#: Largest depth of a residual net for small pictures.
DEEPEST = 302


#: Inputs of this size or less are little; features are cheap there.
LITTLE = 16


def is_name(text: str) -> bool:
    """Whether a spec is one word that names another, rather than an item.

    Examples
    --------
    >>> from fastconv.train.named import is_name
    >>> is_name("resnet-20"), is_name("conv 8 3, relu, fc"), is_name("fc")
    (True, False, False)
    """
    word = text.strip().lower()
    return word in NAMES or word.startswith("resnet")


def expand(name: str, input_shape: Sequence[int]) -> str:
    """The spec that a name stands for.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    input_shape : sequence of int
        (C, *spatial): `auto` and `deck` are as deep as it allows.

    Raises
    ------
    SpecError
        A depth that no residual net has.

    Examples
    --------
    >>> from fastconv.train.named import expand
    >>> expand("deck", (1, 9, 9))
    'conv 16 3, relu, conv 16 3, relu, pool 2, conv 16 3, relu, pool 2, fc 32, relu, fc'
    """
    word = name.strip().lower()
    if word == "lenet":
        return LENET
    if word == "cifar10_quick":
        return CIFAR10_QUICK
    if word == "deck":
        return deck(input_shape)
    if word == "auto":
        return auto(input_shape)
    return _resnet(word)


def deck(
    input_shape: Sequence[int],
    *,
    features: Sequence[int] = (16,),
    feature_size: int = 3,
    pool: int = 2,
    stride: int | None = None,
    neurons: Sequence[int] = (32,),
    depth: int | None = None,
) -> str:
    """The example's stack of layers with its knobs: conv relu conv relu pool conv relu pool, votes.

    Parameters
    ----------
    input_shape : sequence of int
        (C, *spatial).
    features : sequence of int, default (16,)
        Of each convolution; the last number holds for all further ones.
    feature_size, pool : int, default 3, 2
        Sizes of features and of pool windows.
    stride : int, optional
        Between pool windows; without it `pool`.
    neurons : sequence of int, default (32,)
        Of each hidden layer between the last maps and the votes; () for none.
    depth : int, optional
        How many convolutions; from the second on each is followed by a pool. Without it three, or as many
        of them as there is room for.

    Returns
    -------
    str

    Examples
    --------
    >>> from fastconv.train.named import deck
    >>> deck((1, 28, 28), features=(8, 16), pool=3, stride=2, neurons=(), depth=2)
    'conv 8 3, relu, conv 16 3, relu, pool 3 stride 2, fc'
    """
    step = pool if stride is None else stride
    room = min(input_shape[1:], default=1)
    words: list[str] = []
    for number in range(3 if depth is None else depth):
        if depth is None and number and room < feature_size:
            break
        count = features[min(number, len(features) - 1)]
        words += [f"conv {count} {feature_size}", "relu"]
        room -= feature_size - 1
        if number or depth == 1:
            words.append(f"pool {pool}" + (f" stride {step}" if step != pool else ""))
            room = max(1, -(-(room - pool) // step) + 1)
    for count in neurons:
        words += [f"fc {count}", "relu"]
    return ", ".join([*words, "fc"])


def auto(input_shape: Sequence[int]) -> str:
    """A net that does well on most small data: pairs of convolutions with batch norm, and halvings.

    Examples
    --------
    >>> from fastconv.train.named import auto
    >>> auto((1, 8, 8)).count("pool"), auto((3, 64, 64)).count("pool")
    (2, 4)
    """
    sizes = list(input_shape[1:])
    words: list[str] = []
    # few features where maps are large, twice as many on the next level: each costs about the same
    width = 32 if max(sizes) <= LITTLE else 16
    if min(sizes) >= 48:
        step = 4 if min(sizes) >= 96 else 2
        words += [f"conv {width} 5 stride {step} pad same", "bn", "relu"]
        sizes = [-(-size // step) for size in sizes]
    while True:
        kernel = "3" if min(sizes) >= 3 else "x".join(str(min(3, size)) for size in sizes)
        for _ in range(2 if max(sizes) <= LITTLE // 2 else 1):
            words += [f"conv {width} {kernel} pad same", "bn", "relu"]
        window = [2 if size >= 4 else 1 for size in sizes]
        if max(window) == 1:
            break
        words.append("pool 2" if min(window) == 2 else f"pool {'x'.join(map(str, window))}")
        sizes = [-(-size // step) for size, step in zip(sizes, window)]
        if max(sizes) <= 3:
            break
        width = min(2 * width, 128)
    words.append("drop 0.3")
    return ", ".join([*words, "fc 128", "relu", "fc"])


def words(input_shape: Sequence[int]) -> str:
    """A net for text: features that are as high as the dictionary, and where each fits best.

    Notes
    -----
    Y. Kim, "Convolutional neural networks for sentence classification", arXiv:1408.5882, with one width.

    Examples
    --------
    >>> from fastconv.train.named import words
    >>> words((1000, 64)), words((1, 1000, 64)).split(",")[0], words((64,)).split(",")[0]
    ('conv 64 3, relu, pool all, drop 0.5, fc', 'conv 64 fullx3', 'embed 32')
    """
    size = min(3, input_shape[-1])
    high = "full" * (len(input_shape) == 3) + "x" * (len(input_shape) == 3)
    front = "embed 32, " * (len(input_shape) == 1)
    return f"{front}conv 64 {high}{size}, relu, pool all, drop 0.5, fc"


def _resnet(word: str) -> str:
    """He et al., "Deep residual learning for image recognition", arXiv:1512.03385, sections 4.1 and 4.2."""
    match = re.fullmatch(r"resnet-?(\d{1,4})", word)
    depth = int(match[1]) if match else 0
    words: list[str] = []
    if depth in DEEP:
        words = ["conv 64 7 stride 2 pad 3", "bn", "relu", "pool 3 stride 2 pad 1"]
        blocks, width = DEEP[depth], 64
    elif depth >= 8 and depth % 6 == 2 and depth <= DEEPEST:
        words = ["conv 16 3 pad 1", "bn", "relu"]
        blocks, width = ((depth - 2) // 6,) * 3, 16
    else:
        known = ", ".join(map(str, DEEP))
        raise SpecError(
            f"net: {word!r}: N of resnet-N must be {known}, or 6n + 2 from 8 to {DEEPEST}: 8, 14, 20, ..."
        )
    for stage, count in enumerate(blocks):
        for number in range(count):
            step = " stride 2" if stage and not number else ""
            words.append(f"res {width << stage}{step}")
    return ", ".join([*words, "avg all", "fc"])
