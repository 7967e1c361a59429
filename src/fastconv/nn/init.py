"""Random starting values that keep the size of signals from growing or shrinking layer by layer.

Every function fills an array or a parameter in place, from a seeded Generator, and returns what it filled.
The shape is read as a weight's: (K, C / groups, *kernel) or (K, C), so that fan_in = C / groups * taps and
fan_out = K * taps.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from fastconv.nn.arguments import Rng, generator, real
from fastconv.nn.parameter import Parameter

Target = TypeVar("Target", Parameter, np.ndarray)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out): how many values one output is made of, and how many outputs one input reaches.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.init.fans((8, 3, 5, 5))
    (75, 200)
    """
    if len(shape) < 2:
        raise ValueError(f"target: shape {shape} must have at least two axes (out channels, in channels)")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


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
    return target


def he_uniform(target: Target, rng: Rng = None, *, gain: float = math.sqrt(2.0)) -> Target:
    """Uniform within +-gain * sqrt(3 / fan_in): for layers followed by ReLU, and what layers start with.

    Parameters
    ----------
    target : Parameter or ndarray, shape (K, C, ...)
        Filled in place.
    rng : numpy.random.Generator, int seed or None
    gain : float, default sqrt(2)
        Makes up for what the activation takes away: sqrt(2) for ReLU, 1 for none.

    Returns
    -------
    `target`

    Raises
    ------
    ValueError, TypeError
        Fewer than two axes, or an `rng` that is none.

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
    return _fill_uniform(target, gain * math.sqrt(3.0 / fans(_array(target).shape)[0]), rng)


def he_normal(target: Target, rng: Rng = None, *, gain: float = math.sqrt(2.0)) -> Target:
    """Normal with deviation gain / sqrt(fan_in); everything else as `he_uniform`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.init.he_normal(np.empty((4, 6)), rng=0).shape
    (4, 6)
    """
    gain = real("gain", gain, above=0)
    return _fill_normal(target, gain / math.sqrt(fans(_array(target).shape)[0]), rng)


def glorot_uniform(target: Target, rng: Rng = None, *, gain: float = 1.0) -> Target:
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
    return _fill_uniform(target, gain * math.sqrt(6.0 / sum(fans(_array(target).shape))), rng)


def glorot_normal(target: Target, rng: Rng = None, *, gain: float = 1.0) -> Target:
    """Normal with deviation gain * sqrt(2 / (fan_in + fan_out)); everything else as `glorot_uniform`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.init.glorot_normal(np.empty((4, 6)), rng=0).shape
    (4, 6)
    """
    gain = real("gain", gain, above=0)
    return _fill_normal(target, gain * math.sqrt(2.0 / sum(fans(_array(target).shape))), rng)
