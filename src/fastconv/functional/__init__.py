"""Everything a network computes, as functions of NumPy arrays; names and defaults follow torch."""

from fastconv.functional.conv import (
    conv1d,
    conv2d,
    conv3d,
    conv_info,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    linear,
)

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_info",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "linear",
]
