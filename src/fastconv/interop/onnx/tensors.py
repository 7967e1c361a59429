"""Tensors and types of ONNX as arrays and dtypes, each checked before it is believed."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fastconv.geometry import check_memory

#: Axes that NumPy's arrays have at most: 64 since its version 2.
MOST_AXES = 32

#: Elements per byte of the types that are packed.
PACKED = {"UINT4": 2, "INT4": 2, "FLOAT4E2M1": 2, "UINT2": 4, "INT2": 4}


def dtype_of(element_type: int) -> np.dtype:
    """The dtype of an element type.

    Raises
    ------
    ValueError
        No such type.
    """
    if element_type == TensorProto.STRING:
        return np.dtype(object)
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(element_type))
    except KeyError:
        raise ValueError(f"element type {element_type}: is none that ONNX knows") from None


def array_of(tensor: TensorProto, folder: Path | None) -> np.ndarray:
    """A tensor as an array; data outside the file is read from `folder`.

    Raises
    ------
    ValueError
        A shape or type that is none, data that is shorter or longer than the shape says, or lies elsewhere.
    """
    name = f"tensor {tensor.name!r}"
    try:
        dtype = dtype_of(tensor.data_type)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    shape = tuple(tensor.dims)
    _check_shape(name, shape)
    count = prod(shape)
    if tensor.data_location == TensorProto.EXTERNAL:
        data = _external(tensor, name, count * dtype.itemsize, folder)
        if dtype.kind == "O":
            raise ValueError(f"{name}: text cannot lie outside the model")
        inside = TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=data)
        return numpy_helper.to_array(inside).reshape(shape)
    _check_length(tensor, name, dtype, count)
    try:
        array = numpy_helper.to_array(tensor)
    except Exception as error:
        raise ValueError(f"{name}: cannot be read: {error}") from None
    if dtype.kind == "O":
        texts = [
            each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in array.reshape(-1)
        ]
        array = np.array(texts, object)
    if array.size != count:
        raise ValueError(f"{name}: shape {shape} needs {count} elements, the model has {array.size}")
    return array.reshape(shape)


def _check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Sizes that there are, and no more axes than an array has."""
    if any(size < 0 for size in shape):
        raise ValueError(f"{name}: shape {shape} has a negative size")
    if len(shape) > MOST_AXES:
        raise ValueError(f"{name}: {len(shape)} axes are more than the {MOST_AXES} of an array")


def _check_length(tensor: TensorProto, name: str, dtype: np.dtype, count: int) -> None:
    """Data of as many elements as the shape says: looked at before anything of that size is made."""
    kind = TensorProto.DataType.Name(tensor.data_type)
    per_byte = PACKED.get(kind, 0)
    if tensor.HasField("raw_data"):
        expected = -(-count // per_byte) if per_byte else count * dtype.itemsize
        found, unit = len(tensor.raw_data), "bytes"
    else:
        field = helper.tensor_dtype_to_field(tensor.data_type)
        found, unit = len(getattr(tensor, field)), "numbers"
        expected = 2 * count if dtype.kind == "c" else count
        if per_byte:
            expected = -(-count // per_byte)
    if found != expected:
        raise ValueError(f"{name}: shape {tuple(tensor.dims)} needs {expected} {unit}, the model has {found}")


def _external(tensor: TensorProto, name: str, nbytes: int, folder: Path | None) -> bytes:
    """Data from a file of the model's folder, never from elsewhere, nor through a link to elsewhere."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    location = told.get("location", "")
    if folder is None:
        raise ValueError(
            f"{name}: lies in the file {location!r}; load the model from its own file to find it"
        )
    if "\0" in location:
        raise ValueError(f"{name}: lies in {location!r}, which is no name of a file")
    path = folder / location
    inside = os.path.realpath(path)
    if not location or os.path.commonpath([os.path.realpath(folder), inside]) != os.path.realpath(folder):
        raise ValueError(f"{name}: lies in {location!r}, which is outside the model's folder")
    if Path(inside) != Path(os.path.normpath(path)) or not os.path.isfile(inside):
        raise ValueError(f"{name}: lies in {location!r}, which is no plain file of the model's folder")
    try:
        offset, length = int(told.get("offset", 0)), int(told.get("length", nbytes))
    except ValueError:
        raise ValueError(f"{name}: offset and length of {location!r} must be numbers") from None
    size = os.path.getsize(inside)
    if offset < 0 or length != nbytes or offset + length > size:
        raise ValueError(
            f"{name}: needs {nbytes} bytes, but {length} at {offset} of {location!r} with {size} are told"
        )
    with open(inside, "rb") as file:
        file.seek(offset)
        return file.read(length)


def sparse_array_of(sparse: onnx.SparseTensorProto, folder: Path | None) -> np.ndarray:
    """A sparse tensor as a dense array."""
    values, indices = array_of(sparse.values, folder), array_of(sparse.indices, folder)
    shape, name = tuple(sparse.dims), f"sparse tensor {sparse.values.name!r}"
    _check_shape(name, shape)
    if indices.ndim not in (1, 2) or indices.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: indices of {indices.dtype} and shape {indices.shape} must be one list, or rows"
        )
    if indices.ndim == 2 and indices.shape[1] != len(shape):
        raise ValueError(f"{name}: indices of shape {indices.shape} must have {len(shape)} columns")
    if indices.size and indices.min() < 0:
        raise ValueError(f"{name}: index {indices.min()} must be 0 or more")
    try:
        check_memory(shape, values.dtype)
        array = np.zeros(shape, values.dtype)
    except MemoryError as error:
        raise MemoryError(f"{name}: {error}") from None
    try:
        if indices.ndim == 1:
            array.reshape(-1)[indices] = values
        else:
            array[tuple(indices.T)] = values
    except (IndexError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from None
    return array


def value_type(proto: Any) -> tuple[np.dtype | None, tuple[int | str | None, ...] | None]:
    """dtype and shape that are declared; (None, None) for what is no tensor."""
    if proto.type.WhichOneof("value") != "tensor_type":
        return None, None
    tensor = proto.type.tensor_type
    if not tensor.elem_type:
        return None, None
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            size.dim_value if size.WhichOneof("value") == "dim_value" else (size.dim_param.strip("?") or None)
            for size in tensor.shape.dim
        )
    return dtype_of(tensor.elem_type), shape
