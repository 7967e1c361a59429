"""Gradients of convolution and transposed convolution; names and arguments follow `torch.nn.grad`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv._kernels.conv.door import Door
from fastconv._kernels.engine.conv_pass import ConvPass
from fastconv.algorithm import check_algorithm, plan
from fastconv.geometry import (
    ConvGeometry,
    as_array,
    as_shape,
    as_sizes,
    check_allocation,
    check_out,
    check_rank,
    check_same,
    check_shape,
    conv_geometry,
    conv_transpose_geometry,
)
from fastconv.runtime import get_precision


def _find_input(
    spatial_rank: int,
    input_size: Any,
    weight_shape: tuple[int, ...],
    grad_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    algorithm: str,
    precision: str,
) -> tuple[ConvPass, tuple[int, ...]]:
    """The plan of an input gradient, and the shape of what it makes."""
    batched = check_rank("grad_output", grad_shape, spatial_rank)
    input_size = as_shape("input_size", input_size, spatial_rank, batched)
    geometry = conv_geometry(input_size, weight_shape, stride, padding, dilation, groups, spatial_rank)
    check_same("grad_output", grad_shape, geometry.output_shape)
    check_algorithm(algorithm)
    return plan(geometry, "input_gradient", algorithm, precision), input_size


def _conv_input(
    spatial_rank: int,
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    algorithm: str,
) -> np.ndarray:
    """Any call at all; plain ones have been served before they come here."""
    grad_output = as_array("grad_output", grad_output)
    check_rank("grad_output", grad_output.shape, spatial_rank)
    weight = as_array("weight", weight, grad_output.dtype)
    parameters = (stride, padding, dilation, groups, algorithm, get_precision())
    found, _ = _find_input(spatial_rank, input_size, weight.shape, grad_output.shape, *parameters)
    return found.run(grad_output, weight)


def _find_weight(
    spatial_rank: int,
    input_shape: tuple[int, ...],
    weight_size: Any,
    grad_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    algorithm: str,
    precision: str,
) -> tuple[ConvPass, tuple[int, ...]]:
    """The plan of a weight gradient, and the shape of what it makes."""
    check_rank("input", input_shape, spatial_rank)
    weight_size = as_sizes("weight_size", weight_size, (spatial_rank + 2,))
    geometry = conv_geometry(input_shape, weight_size, stride, padding, dilation, groups, spatial_rank)
    check_same("grad_output", grad_shape, geometry.output_shape)
    check_algorithm(algorithm)
    return plan(geometry, "weight_gradient", algorithm, precision), weight_size


def _conv_weight(
    spatial_rank: int,
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    algorithm: str,
    out: Any,
) -> np.ndarray:
    """Any call at all; plain ones have been served before they come here."""
    input = as_array("input", input)
    check_rank("input", input.shape, spatial_rank)
    grad_output = as_array("grad_output", grad_output, input.dtype)
    parameters = (stride, padding, dilation, groups, algorithm, get_precision())
    found, weight_size = _find_weight(spatial_rank, input.shape, weight_size, grad_output.shape, *parameters)
    if out is None:
        out = np.empty(weight_size, input.dtype)
    else:
        check_out(out, weight_size, input.dtype, {"input": input, "grad_output": grad_output})
    return found.run(input, grad_output, None, out)


_input_door = Door(_find_input, _conv_input).input_gradient
_weight_door = Door(_find_weight, _conv_weight).weight_gradient


def conv1d_input(
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient of `conv1d` with respect to its input; see `conv2d_input`."""
    return _input_door(1, input_size, weight, grad_output, stride, padding, dilation, groups, algorithm)


def conv2d_input(
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient of `conv2d` with respect to its input.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the input, (N, C, H, W) or (C, H, W).
    weight : array, shape (K, C / groups, KH, KW), float32 or float64
    grad_output : array, shape (N, K, OH, OW) or (K, OH, OW), same dtype
    stride, padding, dilation, groups
        As given to `conv2d`.
    algorithm : {"auto", "direct", "sliding", "winograd", "depthwise", "col2im", "fft", "reference"}

    Returns
    -------
    ndarray of shape `input_size`

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv2d_input((1, 1, 3, 3), np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)))[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    return _input_door(2, input_size, weight, grad_output, stride, padding, dilation, groups, algorithm)


def conv3d_input(
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient of `conv3d` with respect to its input; see `conv2d_input`."""
    return _input_door(3, input_size, weight, grad_output, stride, padding, dilation, groups, algorithm)


def conv1d_weight(
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `conv1d` with respect to its weight; see `conv2d_weight`."""
    return _weight_door(1, input, weight_size, grad_output, stride, padding, dilation, groups, algorithm, out)


def conv2d_weight(
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `conv2d` with respect to its weight, summed over the batch.

    Parameters
    ----------
    input : array, shape (N, C, H, W) or (C, H, W), float32 or float64
    weight_size : tuple of int
        Shape of the weight, (K, C / groups, KH, KW).
    grad_output : array, shape (N, K, OH, OW) or (K, OH, OW), same dtype
    stride, padding, dilation, groups
        As given to `conv2d`.
    algorithm : {"auto", "direct", "winograd", "fft", "reference"}
    out : ndarray, optional
        Where to write the result; must not overlap an argument.

    Returns
    -------
    ndarray of shape `weight_size`

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Notes
    -----
    Padding counts as zeros: a NaN or infinity of `grad_output` also reaches, as NaN, taps that meet it in the
    padding (not in "reference").

    Lavin & Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308, for "winograd".

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv2d_weight(np.ones((1, 1, 3, 3)), (1, 1, 2, 2), np.ones((1, 1, 2, 2)))[0, 0]
    array([[4., 4.],
           [4., 4.]])
    """
    return _weight_door(2, input, weight_size, grad_output, stride, padding, dilation, groups, algorithm, out)


def conv3d_weight(
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `conv3d` with respect to its weight; see `conv2d_weight`."""
    return _weight_door(3, input, weight_size, grad_output, stride, padding, dilation, groups, algorithm, out)


def _transpose_geometry(
    spatial_rank: int,
    input_shape: Any,
    weight_shape: Any,
    grad_output: np.ndarray,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> ConvGeometry:
    geometry = conv_transpose_geometry(
        input_shape, weight_shape, stride, padding, output_padding, groups, dilation, spatial_rank
    )
    check_shape("grad_output", grad_output, geometry.input_shape)
    return geometry


def conv_transpose_input(
    input_size: Any,
    weight: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> np.ndarray:
    """Gradient of `conv_transpose1d/2d/3d` with respect to its input: a plain convolution of grad_output.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the transposed convolution's input; its length decides the rank together with `weight`.
    weight : array, shape (C, K / groups, *kernel), float32 or float64
    grad_output : array, shape (N, K, *spatial) or (K, *spatial), same dtype
    stride, padding, output_padding, groups, dilation
        As given to the forward call.

    Returns
    -------
    ndarray of shape `input_size`

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv_transpose_input((1, 1, 2), np.ones((1, 1, 2)), np.ones((1, 1, 3)))
    array([[[2., 2.]]])
    """
    grad_output = as_array("grad_output", grad_output)
    weight = as_array("weight", weight, grad_output.dtype)
    spatial_rank = _weight_rank(weight.shape)
    batched = check_rank("grad_output", grad_output.shape, spatial_rank)
    input_size = as_shape("input_size", input_size, spatial_rank, batched)
    geometry = _transpose_geometry(
        spatial_rank, input_size, weight.shape, grad_output, stride, padding, output_padding, groups, dilation
    )
    return plan(geometry, "forward", "auto", get_precision()).run(grad_output, weight)


def conv_transpose_weight(
    input: Any,
    weight_size: Any,
    grad_output: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> np.ndarray:
    """Gradient of `conv_transpose1d/2d/3d` with respect to its weight.

    Parameters
    ----------
    input : array, shape (N, C, *spatial) or (C, *spatial), float32 or float64
    weight_size : tuple of int
        Shape of the weight, (C, K / groups, *kernel).
    grad_output : array, shape (N, K, *spatial) or (K, *spatial), same dtype
    stride, padding, output_padding, groups, dilation
        As given to the forward call.

    Returns
    -------
    ndarray of shape `weight_size`

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv_transpose_weight(np.ones((1, 1, 2)), (1, 1, 2), np.ones((1, 1, 3)))
    array([[[2., 2.]]])
    """
    input = as_array("input", input)
    weight_size = as_sizes("weight_size", weight_size, (3, 4, 5))
    spatial_rank = _weight_rank(weight_size)
    check_rank("input", input.shape, spatial_rank)
    grad_output = as_array("grad_output", grad_output, input.dtype)
    geometry = _transpose_geometry(
        spatial_rank, input.shape, weight_size, grad_output, stride, padding, output_padding, groups, dilation
    )
    check_allocation(geometry.weight_shape, input.dtype)
    out = np.empty(geometry.weight_shape, input.dtype)
    return plan(geometry, "weight_gradient", "auto", get_precision()).run(grad_output, input, None, out)


def _weight_rank(weight_shape: tuple[int, ...]) -> int:
    if not 3 <= len(weight_shape) <= 5:
        raise ValueError(f"weight: shape {weight_shape} must have 3 to 5 axes, two of them channels")
    return len(weight_shape) - 2
