"""ONNX models as functions of NumPy arrays, and nets of `fastconv.nn` as ONNX models; extra `[onnx]`.

`load` reads a model into a graph that can be called:

>>> from fastconv.interop import onnx
>>> onnx.load(b"")
Traceback (most recent call last):
    ...
ValueError: model: holds no graph

`export` writes one.
"""

from __future__ import annotations

try:
    import onnx as _onnx  # noqa: F401
except ImportError as error:  # pragma: no cover - what is installed
    raise ImportError("fastconv.interop.onnx needs the package onnx: pip install 'fastconv[onnx]'") from error

from fastconv.interop.onnx.export import export
from fastconv.interop.onnx.load import load

__all__ = ["export", "load"]
