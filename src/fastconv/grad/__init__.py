"""The gradient of everything in `fastconv.functional`; names and arguments follow `torch.nn.grad`."""

from fastconv.grad.conv import (
    conv1d_input,
    conv1d_weight,
    conv2d_input,
    conv2d_weight,
    conv3d_input,
    conv3d_weight,
    conv_bias,
    conv_transpose_input,
    conv_transpose_weight,
    linear_bias,
    linear_input,
    linear_weight,
)

__all__ = [
    "conv1d_input",
    "conv1d_weight",
    "conv2d_input",
    "conv2d_weight",
    "conv3d_input",
    "conv3d_weight",
    "conv_bias",
    "conv_transpose_input",
    "conv_transpose_weight",
    "linear_bias",
    "linear_input",
    "linear_weight",
]
