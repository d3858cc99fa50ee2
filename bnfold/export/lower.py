"""Operator sets downwards, to 13: what a newer operator says, said with older ones.

The converter of the onnx package has few rules in this direction, and onnxscript's has none.
"""

import onnx
import onnx_ir as ir
from onnx.defs import OpSchema

from bnfold.export.definitions import expand_definitions, find_schema
from bnfold.export.lower_rules import RULES, CannotConvertError

LOWEST = 13
"""Below it Softmax, Squeeze and others mean something else."""

_REDEFINED = {"RoiAlign": 16, "GridSample": 20, "DFT": 20, "GroupNormalization": 21}
"""Operators whose meaning changed under the same attributes, and the operator set that changed it."""

_NEW_VALUES = {
    ("Pad", "mode", "wrap"): 19,
    ("Resize", "coordinate_transformation_mode", "half_pixel_symmetric"): 19,
    ("ScatterElements", "reduction", "max"): 18,
    ("ScatterElements", "reduction", "min"): 18,
    ("ScatterND", "reduction", "max"): 18,
    ("ScatterND", "reduction", "min"): 18,
}
"""Values that an older operator does not know for an attribute that it has, and the operator set that brought them."""


def lower(model: ir.Model, target: int) -> None:
    """Rewrite ``model`` in place for opset ``target``, at least `LOWEST` and below its own.

    A node stays if its operator did not change. Otherwise

    1. an operator that the target lacks is expanded by its definition in the standard, if that is as precise;
    2. what moved between inputs and attributes moves back (`bnfold.export.lower_rules.RULES`);
    3. an attribute that the target lacks is dropped if it has its default, which is the older behaviour.

    Raises:
        CannotConvertError: a node says what the target cannot say; the message names it.
    """
    current = model.graph.opset_imports[""]
    expand_definitions(model, target)
    for graph in model.graphs():
        for node in list(graph):
            if node.domain == "":
                _lower_node(graph, node, current, target)
    model.graph.opset_imports[""] = target


def _lower_node(graph: ir.Graph, node: ir.Node, current: int, target: int) -> None:
    new, old = onnx.defs.get_schema(node.op_type, current, ""), find_schema(node.op_type, target)
    try:
        if old is None:
            raise CannotConvertError("the operator is newer")
        if new.since_version != old.since_version:
            _require_same_meaning(node, current, target)
            if node.op_type in RULES:
                RULES[node.op_type](graph, node, old)
            _drop_new_defaults(node, new, old)
    except CannotConvertError as error:
        raise CannotConvertError(f"{node.op_type} {node.name}: {error}") from error


def _require_same_meaning(node: ir.Node, current: int, target: int) -> None:
    if target < _REDEFINED.get(node.op_type, 0) <= current:
        raise CannotConvertError(f"opset {_REDEFINED[node.op_type]} changed its meaning")
    for attribute in node.attributes.values():
        if target < _NEW_VALUES.get((node.op_type, attribute.name, str(attribute.value)), 0):
            raise CannotConvertError(f"{attribute.name}={attribute.value} is newer")


def _drop_new_defaults(node: ir.Node, new: OpSchema, old: OpSchema) -> None:
    for attribute in [attribute for attribute in node.attributes.values() if attribute.name not in old.attributes]:
        if not _is_default(attribute, new):
            raise CannotConvertError(f"the attribute {attribute.name} is newer, and is {attribute.value}")
        del node.attributes[attribute.name]
    if len(node.inputs) > old.max_input:
        raise CannotConvertError(f"it has {len(node.inputs)} inputs, at most {old.max_input} are possible")


def _is_default(attribute: ir.Attr, schema: OpSchema) -> bool:
    if attribute.name == "dilations":  # the standard says its default in words: 1 along every axis
        return set(attribute.as_ints()) == {1}
    default = schema.attributes[attribute.name].default_value
    return default.name != "" and ir.from_proto(default).value == attribute.value
