"""Operators that the standard defines by others, expanded into them."""

from typing import Any

import onnx
import onnx_ir as ir
from onnx import FunctionProto
from onnx.defs import OpSchema, SchemaError
from onnx_ir.passes import common as passes

_EXPANDABLE = frozenset({"CastLike", "Gelu", "HardSwish", "Mish", "Swish"})
"""Operators that lose no precision when they are replaced by their definition.

LayerNormalization is not among them: its definition takes E[x²] − E[x]² for the variance."""


def expand_definitions(model: ir.Model, target: int) -> None:
    """Replace, in place, every node of `_EXPANDABLE` that opset ``target`` lacks by what it is defined as.

    A node whose inputs have no known type stays, since its definition depends on them.
    """
    current = model.graph.opset_imports[""]
    for number, node in enumerate(model.graph.all_nodes()):
        if _is_expandable(node, target):
            function = ir.from_proto(_definition(node, onnx.defs.get_schema(node.op_type, current, "")))
            node.overload = function.overload = f"bnfold_{number}"  # a function a node: it depends on the call
            function.opset_imports[""] = current
            model.functions[function.identifier()] = function
    if model.functions:
        passes.InlinePass()(model)
        passes.ShapeInferencePass(check_type=False, strict_mode=False)(model)
        expand_definitions(model, target)  # definitions use CastLike, which has one itself


def find_schema(op_type: str, opset: int) -> OpSchema | None:
    """Return the schema of an operator in an operator set, or None where that set does not have it."""
    try:
        return onnx.defs.get_schema(op_type, opset, "")
    except SchemaError:
        return None


def _is_expandable(node: ir.Node, target: int) -> bool:
    candidate = node.domain == "" and node.op_type in _EXPANDABLE
    typed = all(value is not None and value.type is not None for value in node.inputs)
    return candidate and typed and find_schema(node.op_type, target) is None


def _definition(node: ir.Node, schema: Any) -> FunctionProto:  # onnx's stubs lack the definitions of a schema
    if schema.has_function:
        version = schema.function_opset_versions[-1]
        return FunctionProto.FromString(schema.get_function_with_opset_version(version))
    version = schema.context_dependent_function_opset_versions[-1]
    call = ir.serde.serialize_node(node).SerializeToString()
    types = [ir.serde.serialize_type(value.type).SerializeToString() for value in node.inputs if value and value.type]
    return FunctionProto.FromString(schema.get_context_dependent_function_with_opset_version(version, call, types))
