"""fastconv: a convolution engine for NumPy arrays, and the ConvNets built on it.

Four floors, and an import never points up:

4. applications: `fastconv.xo`, the `fastconv` command
3. Python API: `fastconv.functional` (its names are here too), `fastconv.grad`, `fastconv.nn`,
   `fastconv.runtime`; `fastconv.geometry` decides whether a call is allowed
2. Cython kernels (`fastconv._kernels`): in what order tiles are walked, on which threads, in which memory
1. C tiles (`csrc`): one tile, one thread, one instruction set
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from fastconv import functional, grad
from fastconv.functional import *  # noqa: F403
from fastconv.runtime import (
    get_isa,
    get_num_threads,
    get_precision,
    precision,
    set_isa,
    set_num_threads,
    set_precision,
    show_config,
)

if TYPE_CHECKING:
    from fastconv import nn as nn

__version__ = "0.1.0"

__all__ = [
    "functional",
    "get_isa",
    "get_num_threads",
    "get_precision",
    "grad",
    "nn",
    "precision",
    "set_isa",
    "set_num_threads",
    "set_precision",
    "show_config",
    *functional.__all__,
]


def __getattr__(name: str) -> ModuleType:
    """`fastconv.nn`, imported when it is first asked for: half of the time of all imports."""
    if name != "nn":
        raise AttributeError(f"module 'fastconv' has no attribute {name!r}")
    return import_module("fastconv.nn")


def __dir__() -> list[str]:
    return sorted({*globals(), "nn"})
