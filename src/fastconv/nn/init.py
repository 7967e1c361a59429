"""Random starting values that keep the size of signals from growing or shrinking layer by layer.

Every function fills an array or a parameter in place, from a seeded Generator, and returns what it filled.
The weight of a layer knows its fans, stride and groups included; of a plain array they are read off the
shape, which is taken for a weight's: (K, C, *kernel) or (K, C), stride 1 and one group. `fans` explains.

Deliberate difference from torch: it counts neither stride nor groups in these, and reads the weight of a
transposed convolution, (C, K / groups, *kernel), as if its first axis were the outputs'. With as many
channels in as out and stride 2, two-dimensional signals then come out at half their deviation.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

from fastconv.geometry import as_array, per_axis, whole_number
from fastconv.nn.arguments import Rng, generator, real
from fastconv.nn.parameter import Parameter

Target = TypeVar("Target", Parameter, np.ndarray)


def fans(
    shape: tuple[int, ...], *, stride: Any = 1, groups: int = 1, transposed: bool = False
) -> tuple[float, float]:
    """(fan_in, fan_out): how many products an output is the sum of, and how many outputs an input reaches.

    Of a convolution an output is the sum over C / groups channels and all taps. An input meets K / groups
    channels, in each as many taps as fall on an output: a stride of s leaves one in s per axis. A transposed
    convolution is the same with the roles of input and output exchanged. Counts are means over all places:
    stride 2 and 3 taps make 1 or 2, so 1.5 per axis.

    Parameters
    ----------
    shape : tuple of int
        (K, C / groups, *kernel) or (K, C); of a transposed convolution (C, K / groups, *kernel).
    stride : int or one int per axis, default 1
    groups : int, default 1
    transposed : bool, default False

    Raises
    ------
    ValueError, TypeError
        Fewer than two axes, an empty one, or a stride or number of groups that is none.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.init.fans((8, 3, 5, 5))
    (75.0, 200.0)
    >>> nn.init.fans((8, 4, 3, 3), stride=2, transposed=True)
    (18.0, 36.0)
    """
    if len(shape) < 2 or 0 in shape:
        raise ValueError(
            f"target: shape {shape} must have at least two axes (out channels, in channels), none empty"
        )
    taps = math.prod(shape[2:])
    steps = math.prod(per_axis("stride", stride, len(shape) - 2, 1))
    from_many = float(shape[1] * taps)
    to_many = shape[0] * taps / (whole_number("groups", groups, 1) * steps)
    return (to_many, from_many) if transposed else (from_many, to_many)


def _fans_of(target: Parameter | np.ndarray, given: tuple[float, float] | None) -> tuple[float, float]:
    if given is not None:
        fan_in, fan_out = given
        return real("fans[0]", fan_in, above=0), real("fans[1]", fan_out, above=0)
    known = target.fans if isinstance(target, Parameter) else None
    return fans(_array(target).shape) if known is None else known


def _fill_uniform(target: Target, bound: float, rng: Rng) -> Target:
    array = _array(target)
    array[...] = generator("rng", rng).uniform(-bound, bound, array.shape)
    return target


def _fill_normal(target: Target, deviation: float, rng: Rng) -> Target:
    array = _array(target)
    array[...] = generator("rng", rng).normal(0.0, deviation, array.shape)
    return target


def _array(target: Parameter | np.ndarray) -> np.ndarray:
    if isinstance(target, Parameter):
        return target.value
    if not isinstance(target, np.ndarray):
        raise TypeError(f"target: must be a Parameter or a NumPy array, not {type(target).__name__}")
    if not target.flags.writeable:
        raise ValueError("target: must be writable")
    return as_array("target", target)


def he_uniform(
    target: Target, rng: Rng = None, *, gain: float = math.sqrt(2.0), fans: tuple[float, float] | None = None
) -> Target:
    """Uniform within +-gain * sqrt(3 / fan_in): for layers followed by ReLU, and what layers start with.

    Parameters
    ----------
    target : Parameter or ndarray, shape (K, C, ...)
        Filled in place. The weight of a layer knows its fan_in, whatever its kind.
    rng : numpy.random.Generator, int seed or None
    gain : float, default sqrt(2)
        Makes up for what the activation takes away: sqrt(2) for ReLU, 1 for none.
    fans : (fan_in, fan_out), optional
        What to go by instead, such as `nn.init.fans(weight.shape, stride=2, transposed=True)`.

    Returns
    -------
    `target`

    Raises
    ------
    ValueError, TypeError
        A target that is not of float32 or float64, writable and of two axes at least; an `rng` that is none.

    Notes
    -----
    He et al., "Delving deep into rectifiers", arXiv:1502.01852.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> weight = nn.init.he_uniform(np.empty((4, 6)), rng=0)
    >>> bool(abs(weight).max() <= 1.0)
    True
    """
    gain = real("gain", gain, above=0)
    return _fill_uniform(target, gain * math.sqrt(3.0 / _fans_of(target, fans)[0]), rng)


def he_normal(
    target: Target, rng: Rng = None, *, gain: float = math.sqrt(2.0), fans: tuple[float, float] | None = None
) -> Target:
    """Normal with deviation gain / sqrt(fan_in); everything else as `he_uniform`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.init.he_normal(np.empty((4, 6)), rng=0).shape
    (4, 6)
    """
    gain = real("gain", gain, above=0)
    return _fill_normal(target, gain / math.sqrt(_fans_of(target, fans)[0]), rng)


def glorot_uniform(
    target: Target, rng: Rng = None, *, gain: float = 1.0, fans: tuple[float, float] | None = None
) -> Target:
    """Uniform within +-gain * sqrt(6 / (fan_in + fan_out)): for tanh, sigmoid and linear layers.

    Parameters and errors as `he_uniform`.

    Notes
    -----
    Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> layer = nn.Linear(6, 4)
    >>> nn.init.glorot_uniform(layer.weight, rng=0)
    Parameter('weight', shape=(4, 6), dtype=float32)
    """
    gain = real("gain", gain, above=0)
    return _fill_uniform(target, gain * math.sqrt(6.0 / sum(_fans_of(target, fans))), rng)


def glorot_normal(
    target: Target, rng: Rng = None, *, gain: float = 1.0, fans: tuple[float, float] | None = None
) -> Target:
    """Normal with deviation gain * sqrt(2 / (fan_in + fan_out)); everything else as `glorot_uniform`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.init.glorot_normal(np.empty((4, 6)), rng=0).shape
    (4, 6)
    """
    gain = real("gain", gain, above=0)
    return _fill_normal(target, gain * math.sqrt(2.0 / sum(_fans_of(target, fans))), rng)
