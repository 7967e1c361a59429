"""Convolution and transposed convolution.

Names, defaults and meaning follow `torch.nn.functional`. "Convolution" is cross-correlation, as in every
framework: the kernel is not flipped. `weight[..., ::-1]`, `[..., ::-1, ::-1]` and so on flip it, as views.
"""

from __future__ import annotations

from inspect import signature
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastconv._kernels.conv.direct import ACTIVATIONS
from fastconv._kernels.conv.door import Door
from fastconv._kernels.engine.conv_pass import ConvPass
from fastconv.algorithm import DIRECTIONS, check_activation, check_algorithm, plan
from fastconv.geometry import (
    ConvGeometry,
    as_array,
    as_sizes,
    check_out,
    check_rank,
    check_shape,
    conv_geometry,
    conv_transpose_geometry,
    float_dtype,
)
from fastconv.runtime import get_precision


def find_forward(
    spatial_rank: int,
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    activation: str | None,
    algorithm: str,
    precision: str,
) -> tuple[ConvPass, tuple[int, ...]]:
    """Everything about a call that follows from shapes and parameters: the plan, and the output's shape."""
    check_rank("input", input_shape, spatial_rank)
    check_activation(activation)
    if not isinstance(algorithm, str):
        raise TypeError(f"algorithm={algorithm!r}: must be a name")
    geometry = conv_geometry(input_shape, weight_shape, stride, padding, dilation, groups, spatial_rank)
    return plan(geometry, "forward", algorithm, precision), geometry.output_shape


def check_bias(bias: Any, channels: int, dtype: np.dtype) -> np.ndarray:
    """A bias of shape (channels,) and this dtype, contiguous."""
    bias = as_array("bias", bias, dtype)
    check_shape("bias", bias, (channels,))
    return np.ascontiguousarray(bias)


def any_conv(
    spatial_rank: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    activation: str | None,
    algorithm: str,
    out: np.ndarray | None,
    negative_slope: float = 0.01,
) -> np.ndarray:
    """Any call at all; plain ones have been served before they come here."""
    input = as_array("input", input)
    weight = as_array("weight", weight, input.dtype)
    found, output_shape = find_forward(
        spatial_rank,
        input.shape,
        weight.shape,
        stride,
        padding,
        dilation,
        groups,
        activation,
        algorithm,
        get_precision(),
    )
    if bias is not None:
        bias = check_bias(bias, weight.shape[0], input.dtype)
    if out is not None:
        inputs = {"input": input, "weight": weight}
        if bias is not None:
            inputs["bias"] = bias
        out = check_out(out, output_shape, input.dtype, inputs)
    return found.run(input, weight, bias, out, ACTIVATIONS[activation], negative_slope)


_door = Door(find_forward, any_conv).forward


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """1-D convolution of (N, C, W) or (C, W) with (K, C / groups, KW); everything else as `conv2d`.

    The kernel is not flipped: what SciPy calls correlation. `weight[..., ::-1]` flips it.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.conv1d(np.ones((1, 1, 5)), np.ones((1, 1, 3)))
    array([[[3., 3., 3.]]])
    """
    return _door(1, input, weight, bias, stride, padding, dilation, groups, activation, algorithm, out)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """2-D convolution, with bias and activation applied as the result is stored.

    The kernel is not flipped: what SciPy calls correlation. `weight[..., ::-1, ::-1]` flips it.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W), float32 or float64
        Any strides (channels-last, sliced, reversed, broadcast, read-only): it is read where it lies. Masked
        arrays are refused, here and everywhere.
    weight : array, shape (K, C / groups, KH, KW), same dtype
    bias : array, shape (K,), same dtype, optional
    stride, dilation : int or one int per axis, default 1
        A tuple of one entry counts for all axes, as in torch; so it does wherever one per axis is taken.
    padding : int, one int per axis, one (before, after) pair per axis, "valid" or "same", default 0
        Zeros around the input, in elements. "same" keeps the size (stride 1 only); where that takes an odd
        number, the extra one lies behind.
    groups : int, default 1
        Splits the channels into that many independent convolutions; `groups == C` is depthwise.
    activation : {None, "relu", "leaky_relu", "relu6"}
        Applied after the bias; "leaky_relu" has slope 0.01.
    algorithm : {"auto", "direct", "sliding", "winograd", "depthwise", "fft", "reference"}
        "auto" chooses by shape and precision (`conv_info` tells); one named here is used or, where it cannot
        serve the call, refused. "reference" is the plain loop nest that all others are tested against.
    out : ndarray, optional
        Where to write the result, through its own strides; must not overlap an argument.

    Returns
    -------
    ndarray, shape (N, K, OH, OW) or (K, OH, OW)
        `OH = (H + before + after - dilation * (KH - 1) - 1) // stride + 1`. Channels-last in memory if the
        input is.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks; nothing has been computed.
    MemoryError
        The output or the workspace cannot be allocated.

    Notes
    -----
    A NaN or infinity of the input reaches exactly the outputs whose window covers it. Padding counts as
    zeros: one in the weight also reaches, as NaN, outputs that meet it in the padding (not in "reference").

    Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, for the shapes;
    Georganas et al., "Anatomy of high-performance deep learning convolutions on SIMD architectures",
    arXiv:1808.05567, for the blocking.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> picture = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> edge = np.array([[[[1.0, -1.0]]]])
    >>> fastconv.conv2d(picture, edge).shape
    (1, 1, 4, 3)
    """
    return _door(2, input, weight, bias, stride, padding, dilation, groups, activation, algorithm, out)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """3-D convolution of (N, C, D, H, W) or (C, D, H, W) with (K, C / groups, KD, KH, KW); see `conv2d`.

    The kernel is not flipped: what SciPy calls correlation. `weight[..., ::-1, ::-1, ::-1]` flips it.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.conv3d(np.ones((1, 2, 4, 4, 4)), np.ones((3, 2, 3, 3, 3))).shape
    (1, 3, 2, 2, 2)
    """
    return _door(3, input, weight, bias, stride, padding, dilation, groups, activation, algorithm, out)


class ConvInfo(NamedTuple):
    """What `conv_info` tells of a call."""

    algorithm: str
    way: str  #: what the algorithm does for these shapes and this memory order, where it has several ways
    isa: str
    tile: tuple[int, int]  #: rows x columns of the micro-kernel
    threads: int
    tasks: int  #: independent pieces of work that the threads share
    flops: int
    bytes: int  #: input, weight and output, each once
    packed_weight_bytes: int
    workspace_bytes: int  #: per thread


def conv_info(
    input_shape: tuple[int, ...] | str,
    weight_shape: tuple[int, ...] | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    dtype: Any = np.float32,
    channels_last: bool = False,
    algorithm: str = "auto",
    direction: str = "forward",
) -> ConvInfo:
    """Tell which algorithm, tile, threads and memory a convolution of these shapes would use.

    Parameters
    ----------
    input_shape : tuple of int, (N, C, *spatial), or str
        A line such as "conv2d n4 c64 56x56 k64 3x3 p1" says everything, so that nothing else may be given:
        operation, images, channels, size, output channels, kernel; then, where they are not the default,
        ``s`` stride, ``p`` padding (``p1``, ``p1x2`` per axis, ``p1:2`` before and after, ``psame``), ``d``
        dilation, ``g`` groups, ``o`` output_padding, ``bias``, ``activation=relu``, ``float64``,
        ``channels_last``, ``input_gradient``, ``algorithm=fft``, ``precision=high``. The operation may be
        conv_transpose1d, 2d or 3d too.
    weight_shape : tuple of int, (K, C / groups, *kernel)
    stride, padding, dilation, groups, algorithm
        As for `conv2d`.
    dtype : float32 or float64
    channels_last : bool
        Whether the input's channels are adjacent in memory.
    direction : {"forward", "input_gradient", "weight_gradient"}, default "forward"
        The pass. A transposed convolution is an input gradient, its input shape the shape of `grad_output`.

    Raises
    ------
    ValueError, TypeError
        Whatever the call itself would raise.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.conv_info((1, 64, 56, 56), (64, 64, 3, 3), padding=1).flops
    231211008
    >>> fastconv.conv_info("conv2d c64 56x56 k64 3x3 p1 input_gradient").algorithm
    'winograd'
    """
    if isinstance(input_shape, str):
        others = (weight_shape, stride, padding, dilation, groups, dtype, channels_last, algorithm, direction)
        return _line_info(input_shape, others)
    dtype = float_dtype("dtype", dtype)
    weight_shape = as_sizes("weight_shape", weight_shape, (3, 4, 5))
    spatial_rank = len(weight_shape) - 2
    input_shape = as_sizes("input_shape", input_shape, (spatial_rank + 1, spatial_rank + 2))
    check_rank("input_shape", input_shape, spatial_rank)
    check_algorithm(algorithm)
    if direction not in DIRECTIONS:
        raise ValueError(f"direction={direction!r}: must be one of {', '.join(map(repr, DIRECTIONS))}")
    geometry = conv_geometry(input_shape, weight_shape, stride, padding, dilation, groups, spatial_rank)
    return _geometry_info(geometry, direction, algorithm, get_precision(), dtype, channels_last)


def _line_info(line: str, others: tuple[Any, ...]) -> ConvInfo:
    """`conv_info` of a line; `others` are its further arguments, which must be the defaults."""
    parameters = list(signature(conv_info).parameters.values())[1:]
    for parameter, value in zip(parameters, others, strict=True):
        name, default = parameter.name, parameter.default
        if type(value) is not type(default) or value != default:
            raise ValueError(f"{name}={value!r}: must not be given beside the line {line!r}")
    from fastconv.functional.case import Case  # few calls are lines

    case = Case.parse(line)
    geometry = case.geometry
    if not isinstance(geometry, ConvGeometry):
        raise ValueError(f"{case.function!r} in {line!r}: must be a convolution")
    precision = case.precision or get_precision()
    return _geometry_info(
        geometry,
        case.geometry_direction,
        case.algorithm,
        precision,
        np.dtype(case.dtype),
        case.channels_last,
    )


def _geometry_info(
    geometry: ConvGeometry,
    direction: str,
    algorithm: str,
    precision: str,
    dtype: np.dtype,
    channels_last: bool,
) -> ConvInfo:
    shapes = (geometry.input_shape, geometry.weight_shape, geometry.output_shape)
    moved = sum(prod(shape) for shape in shapes) * dtype.itemsize
    info = plan(geometry, direction, algorithm, precision).info(dtype, channels_last)
    return ConvInfo(flops=geometry.flops, bytes=moved, **info)


def _conv_transpose(
    spatial_rank: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> np.ndarray:
    input = as_array("input", input)
    check_rank("input", input.shape, spatial_rank)
    weight = as_array("weight", weight, input.dtype)
    geometry = conv_transpose_geometry(
        input.shape, weight.shape, stride, padding, output_padding, groups, dilation, spatial_rank
    )
    if bias is not None:
        bias = check_bias(bias, geometry.in_channels, input.dtype)
    return plan(geometry, "input_gradient", "auto", get_precision()).run(input, weight, bias)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> np.ndarray:
    """1-D transposed convolution of (N, C, W) or (C, W) with (C, K / groups, KW); see `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.conv_transpose1d(np.ones((1, 1, 3)), np.ones((1, 1, 2)), stride=2)
    array([[[1., 1., 1., 1., 1., 1.]]])
    """
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> np.ndarray:
    """2-D transposed convolution: the input gradient of a `conv2d` with the same parameters, plus a bias.

    Every input value paints the kernel, as it stands and times that value, into the output.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W), float32 or float64
    weight : array, shape (C, K / groups, KH, KW), same dtype
    bias : array, shape (K,), same dtype, optional
    stride, dilation : int or one int per axis, default 1
    padding : int, one int per axis or one (before, after) pair per axis, default 0
        Elements taken off the full output.
    output_padding : int or one int per axis, default 0
        Elements added at the end, smaller than stride or dilation: several input sizes of a strided
        convolution share one output size, this chooses among them.
    groups : int, default 1

    Returns
    -------
    ndarray, shape (N, K, OH, OW) or (K, OH, OW)
        `OH = (H - 1) * stride - before - after + dilation * (KH - 1) + output_padding + 1`.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Notes
    -----
    Zeiler et al., "Deconvolutional networks", CVPR 2010. No zeros are inserted: a stride s is computed as s
    dense convolutions per axis, one per output parity.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.conv_transpose2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), stride=2).shape
    (1, 1, 4, 4)
    """
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> np.ndarray:
    """3-D transposed convolution of (N, C, D, H, W) with (C, K / groups, KD, KH, KW); see `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.conv_transpose3d(np.ones((1, 1, 2, 2, 2)), np.ones((1, 4, 2, 2, 2)), stride=2).shape
    (1, 4, 4, 4, 4)
    """
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)
