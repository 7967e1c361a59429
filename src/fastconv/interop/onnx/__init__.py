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

from fastconv.interop import missing

try:
    import onnx as _onnx  # noqa: F401
except ImportError as error:
    raise missing("onnx", error) from error

from fastconv.interop.onnx.backend import FastconvBackend
from fastconv.interop.onnx.export import export
from fastconv.interop.onnx.load import load
from fastconv.interop.onnx.reference import reference_ops

__all__ = ["FastconvBackend", "export", "load", "reference_ops"]
