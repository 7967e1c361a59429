"""fastconv: a convolution engine for NumPy arrays, and the ConvNets built on it.

Four floors, and an import never points up:

4. applications: `fastconv.xo`, the `fastconv` command
3. Python API: `fastconv.functional` (its names are here too), `fastconv.grad`, `fastconv.nn`,
   `fastconv.ndimage` and `fastconv.signal` (SciPy's names), `fastconv.runtime`;
   `fastconv.geometry` decides whether a call is allowed
2. Cython kernels (`fastconv._kernels`): in what order tiles are walked, on which threads, in which memory
1. C tiles (`csrc`): one tile, one thread, one instruction set
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from fastconv import functional, grad
from fastconv.functional import *  # noqa: F403
from fastconv.limits import register_when_imported as _register_when_imported
from fastconv.runtime import (
    get_include,
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
    from fastconv import ndimage as ndimage
    from fastconv import nn as nn
    from fastconv import signal as signal

__version__ = "0.1.0"

__all__ = [
    "functional",
    "get_include",
    "get_isa",
    "get_num_threads",
    "get_precision",
    "grad",
    "ndimage",
    "nn",
    "precision",
    "set_isa",
    "set_num_threads",
    "set_precision",
    "show_config",
    "signal",
    *functional.__all__,
]

_register_when_imported(__version__)

#: Parts imported when they are first asked for: together they would double the time of an import.
_WHEN_ASKED_FOR = {"ndimage", "nn", "signal"}


def __getattr__(name: str) -> ModuleType:
    """A part of the package that `import fastconv` leaves out."""
    if name not in _WHEN_ASKED_FOR:
        raise AttributeError(f"module 'fastconv' has no attribute {name!r}")
    return import_module(f"fastconv.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHEN_ASKED_FOR})
