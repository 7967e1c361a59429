"""Operators that ONNX itself defines by others: their definitions, where fastconv has no operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import helper

from fastconv.graph import Value

#: Its functions are not among the types that onnx declares.
_schema_of: Any = onnx.defs.get_schema


def expansion(
    proto: onnx.NodeProto, domain: str, opsets: Mapping[str, int], inputs: Sequence[Value | None]
) -> onnx.FunctionProto | None:
    """The function that defines a node's operator, or None.

    Some definitions depend on the types of the inputs; they are only had where these are declared.
    """
    version = opsets.get(domain, 1)
    try:
        schema = _schema_of(proto.op_type, version, domain)
    except Exception:  # onnx raises a class of its own for an operator it does not know
        return None
    if schema.has_function:
        function = onnx.FunctionProto()
        function.ParseFromString(
            schema.get_function_with_opset_version(_closest(schema.function_opset_versions, version))
        )
        return _with_defaults(function, schema)
    if schema.has_context_dependent_function:
        types = [_type_of(value) for value in inputs]
        if any(each is None for each in types):
            return None
        versions = schema.context_dependent_function_opset_versions
        body = schema.get_context_dependent_function_with_opset_version(
            _closest(versions, version), proto.SerializeToString(), types
        )
        function = onnx.FunctionProto()
        function.ParseFromString(body)
        return _with_defaults(function, schema)
    return None


def _closest(versions: Sequence[int], wanted: int) -> int:
    return max((version for version in versions if version <= wanted), default=min(versions))


def _with_defaults(function: onnx.FunctionProto, schema: Any) -> onnx.FunctionProto:
    """The function with the operator's defaults for attributes that a node leaves out."""
    told = {each.name for each in function.attribute_proto}
    for name, attribute in schema.attributes.items():
        if name not in told and attribute.default_value.name:
            function.attribute_proto.add().CopyFrom(attribute.default_value)
    return function


def _type_of(value: Value | None) -> Any:
    """The type of an input, as onnx takes it."""
    if value is None:
        return onnx.TypeProto().SerializeToString()
    if value.dtype is None:
        return None
    element = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_type_proto(element, value.shape).SerializeToString()
