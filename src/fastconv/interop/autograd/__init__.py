"""Convolutions and pools for HIPS autograd, with gradients of all orders.

A convolution, its input gradient and its weight gradient are three primitives, and the gradients of each are
the other two. Arguments may be arrays or what autograd traces; forward-mode derivatives are not defined.

Source: https://github.com/HIPS/autograd/blob/master/docs/tutorial.md, "Extend Autograd by defining your own
primitives".
"""

from __future__ import annotations

from fastconv.interop import missing

try:
    import autograd as _autograd  # noqa: F401 - asked for here, so that its absence is told once
except ImportError as error:
    raise missing("autograd", error) from error

from fastconv.interop.autograd.functions import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]
