"""Convolutions and pools for JAX: in `jit`, `vmap` and `grad`, on the CPU.

Each is a `jax.pure_callback` with gradients of any order by reverse mode. Shapes and parameters are checked
before anything is traced, so that nothing is raised inside a callback. Under `vmap` a batch of inputs is one
call; forward-mode derivatives (`jax.jvp`) are not defined.

Source: https://docs.jax.dev/en/latest/external-callbacks.html.
"""

from __future__ import annotations

from fastconv.interop import missing

try:
    import jax as _jax  # noqa: F401 - asked for here, so that its absence is told once
except ImportError as error:
    raise missing("jax", error) from error

from fastconv.interop.jax.functions import (
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
