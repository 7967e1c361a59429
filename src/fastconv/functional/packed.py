"""Weights packed once, for calls that come again and again: inference.

Every convolution first packs its weight into the form that its inner loops read. That is little beside a
large image, but most of the work where the image is small and the weight is large. A packed convolution is an
explicit object that has a copy of the weight and keeps the packed form; nothing is ever remembered about
arrays of yours.

The copy is kept beside the packed form, so the price is twice the weight: another memory order, precision or
instruction set packs from it, and a pickle holds it alone. What is packed never changes: a copy of it is the
object itself.
"""

from __future__ import annotations

import copyreg
from typing import Any

import numpy as np

from fastconv._kernels.conv.direct import ACTIVATIONS
from fastconv._kernels.conv.door import PackedConv
from fastconv._kernels.conv.matmul import multiply
from fastconv._kernels.engine.packed import PackedWeight
from fastconv.algorithm import check_activation, check_algorithm
from fastconv.functional.conv import any_conv, check_bias, find_forward
from fastconv.functional.linear import check_linear_weight, linear, product_plan
from fastconv.geometry import (
    as_array,
    conv_geometry,
    dilated_kernel,
    hashable,
    per_axis,
    real_number,
    whole_number,
)

__all__ = ["PackedConv", "PackedLinear", "pack_weight"]


def pack_weight(
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    negative_slope: float = 0.01,
    algorithm: str = "auto",
) -> PackedConv:
    """A convolution as a function of the input alone, its weight packed for all calls to come.

    As in `conv2d` the kernel is not flipped.

    Parameters
    ----------
    weight : array, shape (K, C / groups, *kernel) with 1 to 3 kernel axes, float32 or float64
        Copied, as `bias` is: later changes to them do not show.
    bias, stride, padding, dilation, groups, activation, algorithm
        As `conv2d`.
    negative_slope : float, default 0.01
        The factor of negative values where `activation` is "leaky_relu".

    Returns
    -------
    PackedConv
        `packed(input, out=None)` gives what `conv2d(input, weight, bias, ...)` gives, to the bit; or `conv1d`
        or `conv3d`, by the axes of the weight. Any shape of input that fits, from any number of threads.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; what depends on the input, when it is called.

    Notes
    -----
    The packed form depends on algorithm, instruction set and memory order: it is made when a call first needs
    it, and kept in the object, beside the weight itself. The object can be pickled, for joblib or
    multiprocessing; the form is made again where it is loaded, be it on another instruction set.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> edges = fastconv.pack_weight(np.array([[[[1.0, -1.0]]]]), activation="relu")
    >>> edges(np.array([[[[3.0, 1.0, 2.0]]]]))
    array([[[[2., 0.]]]])
    """
    weight = as_array("weight", weight)
    if not 3 <= weight.ndim <= 5:
        raise ValueError(f"weight: shape {weight.shape} must have 3 to 5 axes, two of them channels")
    spatial_rank = weight.ndim - 2
    check_activation(activation)
    check_algorithm(algorithm)
    # an input that the kernel just fits into answers whether the parameters are allowed
    dilations = per_axis("dilation", dilation, spatial_rank, 1)
    channels = weight.shape[1] * whole_number("groups", groups, 1)
    probe = (1, channels, *dilated_kernel(weight.shape[2:], dilations))
    conv_geometry(probe, weight.shape, stride, padding, dilation, groups, spatial_rank)
    if bias is not None:
        bias = _frozen(check_bias(bias, weight.shape[0], weight.dtype))
    # as plain numbers, which nobody can change from outside
    numbers = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    plain = {name: hashable(name, value) for name, value in numbers.items()}
    slope = real_number("negative_slope", negative_slope)
    return packed_conv(
        _frozen(weight), bias, **plain, activation=activation, algorithm=algorithm, slope=slope
    )


def packed_conv(
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    activation: str | None,
    algorithm: str = "auto",
    slope: float = 0.01,
) -> PackedConv:
    """As `pack_weight`, of arguments that have been checked and arrays that nobody else can write to."""
    parameters = (stride, padding, dilation, groups, activation, algorithm, slope)
    return PackedConv(
        find_forward, any_conv, _kept(weight), None if bias is None else _kept(bias), *parameters
    )


def _reduced_conv(packed: PackedConv) -> tuple[Any, ...]:
    """How a `PackedConv` is pickled: as the call that makes it."""
    options = (packed.stride, packed.padding, packed.dilation, packed.groups, packed.activation)
    return packed_conv, (packed.weight, packed.bias, *options, packed.algorithm, packed.negative_slope)


copyreg.pickle(PackedConv, _reduced_conv)


class PackedLinear:
    """A fully connected layer as a function of the input alone; what `pack_weight` is to `conv2d`.

    `PackedLinear(weight, bias)(input)` gives what `linear(input, weight, bias)` gives, to the bit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.functional.packed import PackedLinear
    >>> PackedLinear(np.ones((2, 3)))(np.ones((1, 3)))
    array([[3., 3.]])
    """

    def __init__(self, weight: Any, bias: Any = None, activation: str | None = None) -> None:
        weight = as_array("weight", weight)
        check_linear_weight(weight)
        check_activation(activation)
        if bias is not None:
            bias = _frozen(check_bias(bias, weight.shape[0], weight.dtype))
        self._keep(_frozen(weight), bias, activation)

    def _keep(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None) -> None:
        self.weight, self.bias, self.activation = weight, bias, activation
        self._packed = PackedWeight()

    def __call__(self, input: Any) -> np.ndarray:
        weight = self.weight
        input = as_array("input", input, weight.dtype)
        if input.ndim != 2 or input.shape[1] != weight.shape[1] or not len(input):
            return linear(input, weight, self.bias, activation=self.activation)
        out = np.empty((len(input), len(weight)), weight.dtype)
        plan = product_plan(len(weight), weight.shape[1], len(input))
        activation = ACTIVATIONS[self.activation]
        multiply(plan, weight, False, input, True, out, True, self.bias, activation, self._packed)
        return out

    def __copy__(self) -> PackedLinear:
        return self

    def __deepcopy__(self, memo: Any) -> PackedLinear:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return packed_linear, (self.weight, self.bias, self.activation)


def packed_linear(weight: np.ndarray, bias: np.ndarray | None, activation: str | None) -> PackedLinear:
    """As `PackedLinear`, of arguments that have been checked and arrays that nobody else can write to."""
    packed = PackedLinear.__new__(PackedLinear)
    packed._keep(_kept(weight), None if bias is None else _kept(bias), activation)
    return packed


def _kept(array: np.ndarray) -> np.ndarray:
    """The array itself, read-only; a copy only of what a pickle has put at an odd address."""
    array = np.require(array, requirements=["C_CONTIGUOUS", "ALIGNED", "ENSUREARRAY"])
    array.flags.writeable = False
    return array


def _frozen(array: np.ndarray) -> np.ndarray:
    """A contiguous copy that nobody can write to."""
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy
