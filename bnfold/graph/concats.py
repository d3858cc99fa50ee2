"""Concat of what is a Concat itself: one node, and one copy of the data less."""

from collections.abc import Iterator

import onnx_ir as ir


def join_concats(model: ir.Model) -> None:
    """Give every Concat the operands of each Concat along its axis that it alone reads, in place.

    What was read through another Concat stays as an unused node.
    """
    for node in model.graph.all_nodes():  # from the inputs on: what is inside is joined already
        if _is_concat(node) and any(_joins(value, node) for value in node.inputs):
            operands = list(_operands(node))
            node.resize_inputs(len(operands))
            for slot, value in enumerate(operands):
                node.replace_input_with(slot, value)


def _operands(node: ir.Node) -> Iterator[ir.Value | None]:
    for value in node.inputs:
        producer = value.producer() if value is not None and _joins(value, node) else None
        yield from (value,) if producer is None else producer.inputs


def _joins(value: ir.Value | None, node: ir.Node) -> bool:
    producer = None if value is None else value.producer()
    if value is None or producer is None or not _is_concat(producer) or producer.graph is not node.graph:
        return False
    alone = len(value.uses()) == 1 and not value.is_graph_output()
    return alone and _axis(producer, value.shape) == _axis(node, node.outputs[0].shape)


def _is_concat(node: ir.Node) -> bool:
    return node.op_type == "Concat" and node.domain == ""


def _axis(node: ir.Node, shape: ir.Shape | None) -> int:
    """Return the axis, counted from the front where the rank is known."""
    axis = node.attributes.get_int("axis", 1)
    return axis % len(shape) if axis < 0 and shape is not None else axis
