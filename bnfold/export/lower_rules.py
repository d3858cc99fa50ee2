"""Operators that say in another way in older sets what they say in newer ones: a rule an operator."""

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from onnx.defs import OpSchema


class CannotConvertError(Exception):
    """A node says what another operator set cannot; the text is the reason."""


def reduction(graph: ir.Graph, node: ir.Node, old: OpSchema) -> None:  # noqa: ARG001  (the signature of a rule)
    """Reductions before opset 18: the axes are an attribute, no axes means all."""
    if "axes" not in old.attributes:
        return
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    values = [] if axes is None else constant_integers(axes)
    if not values and node.attributes.get_int("noop_with_empty_axes", 0) == 1:
        raise CannotConvertError("it reduces over no axis")
    node.resize_inputs(1)
    node.attributes.pop("noop_with_empty_axes", None)
    if values:
        node.attributes.add(ir.AttrInt64s("axes", values))


def split(graph: ir.Graph, node: ir.Node, old: OpSchema) -> None:
    """Split before opset 18: the sizes are written out, where opset 18 makes the last part smaller."""
    if "num_outputs" in old.attributes or node.attributes.pop("num_outputs", None) is None:
        return
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    extent = None if shape is None else shape[node.attributes.get_int("axis", 0)]
    if not isinstance(extent, int):
        raise CannotConvertError("the extent that it splits is not known")
    size = math.ceil(extent / len(node.outputs))
    rest = extent - size * (len(node.outputs) - 1)
    node.resize_inputs(2)
    node.replace_input_with(1, constant(graph, node, [size] * (len(node.outputs) - 1) + [rest]))


def shape(graph: ir.Graph, node: ir.Node, old: OpSchema) -> None:
    """Shape before opset 15: the whole, of which a Slice takes the part."""
    if "start" in old.attributes or not {"start", "end"} & set(node.attributes):
        return
    bounds = node.attributes.get_int("start", 0), node.attributes.get_int("end", np.iinfo(np.int64).max)
    whole = ir.node("Shape", [node.inputs[0]])
    part = ir.node("Slice", [whole.outputs[0], *(constant(graph, node, [bound]) for bound in bounds)])
    ir.convenience.replace_nodes_and_values(graph, node, [node], [whole, part], node.outputs, part.outputs)


RULES: dict[str, Callable[[ir.Graph, ir.Node, OpSchema], None]] = {
    "ReduceL1": reduction,
    "ReduceL2": reduction,
    "ReduceLogSum": reduction,
    "ReduceLogSumExp": reduction,
    "ReduceMax": reduction,
    "ReduceMean": reduction,
    "ReduceMin": reduction,
    "ReduceProd": reduction,
    "ReduceSumSquare": reduction,
    "Shape": shape,
    "Split": split,
}
"""Operator → the rule that edits a node of the newer operator into one of the older, whose schema it is given."""


def constant_integers(value: ir.Value) -> list[int]:
    """Return the integers that ``value`` holds.

    Raises:
        CannotConvertError: they are computed at run time.
    """
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or value.is_graph_input():
        raise CannotConvertError(f"its input {value.name} is computed at run time")
    return [int(number) for number in tensor.numpy().ravel()]


def constant(graph: ir.Graph, before: ir.Node, values: list[int]) -> ir.Value:
    """Add a Constant node with int64 ``values`` in front of a node and return its output."""
    node = ir.node("Constant", [], {"value": ir.tensor(np.array(values, np.int64))})
    graph.insert_before(before, node)
    return node.outputs[0]
