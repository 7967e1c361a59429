"""torch's convolutions and pools, run by fastconv: operators, existing models, weights both ways.

| module | question it answers |
|---|---|
| `operators` | what is computed, on which tensors, and what are its gradients? |
| `functions` | how is it called, as torch's own functions are? |
| `takeover` | how do models that exist come to it? |
| `layers`, `graph`, `weights` | how does a module become a net of `fastconv.nn`, and its weights come back? |

Tensors lie on the CPU and are float32 or float64; they are read where they lie, and results are tensors on
the memory that fastconv wrote. Channels-last inputs give channels-last outputs. Gradients are by reverse
mode, of any order; forward-mode differentiation (`torch.func.jvp`) is not there.

Source: https://docs.pytorch.org/docs/stable/library.html for operators from outside.
"""

from __future__ import annotations

from fastconv.interop import missing

try:
    import torch as _torch  # noqa: F401 - asked for here, so that its absence is told once
except ImportError as error:
    raise missing("torch", error) from error

from fastconv.interop.torch.functions import (
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
from fastconv.interop.torch.takeover import accelerate, active
from fastconv.interop.torch.weights import from_torch, to_torch

__all__ = [
    "accelerate",
    "active",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "from_torch",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "to_torch",
]
