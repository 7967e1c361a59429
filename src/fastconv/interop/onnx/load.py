"""Models from files: found, checked as far as a file can be, and read into a graph."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from fastconv.geometry import whole_number
from fastconv.graph import Graph
from fastconv.graph.operators.control import MAX_ITERATIONS
from fastconv.interop.onnx.read import read


def load(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto,
    fixed: Mapping[str, int] | None = None,
    *,
    fallback: str | None = None,
    max_iterations: int = MAX_ITERATIONS,
) -> Graph:
    """A model as a function of NumPy arrays.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
        A file, what a file holds, or a model read already. Weights that lie in other files must lie in the
        model's folder or below.
    fixed : mapping of str to int, optional
        Sizes for symbolic dimensions, such as ``{"batch": 1}``.
    fallback : {None, "reference"}
        What to do about operators that fastconv does not have: raise, or run them by `onnx.reference`, which
        is slow; `graph.summary()` tells which.
    max_iterations : int
        Iterations after which a Loop raises, naming its node: one whose condition never turns false would not
        end.

    Returns
    -------
    Graph
        Call it with arrays: by position, by name, or with a dict. `inputs`, `outputs` and `metadata` tell
        what the file declares.

    Raises
    ------
    ValueError
        No model: cut off, malformed, with weights outside its folder, of an opset that is not known; an
        operator, a type or an attribute that is not served, naming it and its node; a size in `fixed` that
        the model has not.
    OSError
        The file cannot be read.

    Notes
    -----
    The operators are those of https://onnx.ai/onnx/operators, of opset 6 and newer.

    Examples
    --------
    >>> import numpy as np, onnx
    >>> from onnx import TensorProto, helper
    >>> from fastconv.interop.onnx import load
    >>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    >>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [x], [y])
    >>> net = load(helper.make_model(graph))
    >>> net(np.array([-1, 2], np.float32))
    array([0., 2.], dtype=float32)
    """
    if fallback not in (None, "reference"):
        raise ValueError(f"fallback={fallback!r}: must be None or 'reference'")
    proto, folder = _parsed(model)
    sizes = {str(name): whole_number(f"fixed[{name!r}]", size, 1) for name, size in (fixed or {}).items()}
    return read(proto, folder, sizes, fallback, whole_number("max_iterations", max_iterations, 0))


def _parsed(model: Any) -> tuple[onnx.ModelProto, Path | None]:
    """The model, and the folder that weights outside it are looked for in."""
    folder = None
    if isinstance(model, onnx.ModelProto):
        return model, None
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        data, folder = path.read_bytes(), path.resolve().parent
    elif isinstance(model, (bytes, bytearray, memoryview)):
        data = bytes(model)
    else:
        raise TypeError(f"model: must be a path, bytes or an onnx.ModelProto, not {type(model).__name__}")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:  # protobuf's own class has moved between its versions
        raise ValueError(f"model: is no ONNX model, or one that is cut off: {error}") from None
    if not proto.HasField("graph"):
        raise ValueError("model: holds no graph")
    return proto, folder
