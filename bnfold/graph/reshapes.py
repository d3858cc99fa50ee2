"""Reshape whose target is computed at run time though it is known but for the batch, and Reshape that does nothing."""

import numpy as np
import onnx_ir as ir

from bnfold.graph.constants import Constants


def make_reshapes_static(model: ir.Model) -> None:
    """Give a Reshape whose target is computed a constant target, where at most one extent has to be inferred.

    Exporters write ``x.flatten(1)`` as Shape → Gather → Concat → Reshape. The target becomes, axis by axis:

    1. the extent, where it is known and not 0;
    2. 0 (copy from the input), where the input has the same symbolic extent at the same axis: this also holds for an
       empty batch;
    3. -1 for the one extent left, if any.

    A node that this does not describe stays as it is. ``allowzero`` is dropped where no 0 is meant literally, since
    operator sets below 14 do not know it.
    """
    for node in list(model.graph):
        if node.op_type == "Reshape" and node.domain == "":
            target = _stored_target(node) or _static_target(node)
            if target is not None:
                _set_target(model.graph, node, target)


def free_batches(model: ir.Model) -> None:
    """Let a Reshape copy its leading extent from its input, where it stores the same number, in place.

    Files that were exported with a fixed batch hold it in the targets of their Reshapes. The extents that are known now
    decide; what the graph computes at these stays the same.
    """
    constants = Constants(model)
    for node in model.graph.all_nodes():
        if node.op_type != "Reshape" or node.domain != "" or node.inputs[0] is None:
            continue
        source, stored = node.inputs[0].shape, constants.get(node.inputs[1])
        target = [] if stored is None else stored.tolist()
        literal_zero = node.attributes.get_int("allowzero", 0) == 1
        if source is not None and source[:1] and target[:1] == [source[0]] and not literal_zero and node.graph:
            node.replace_input_with(1, _stored(node.graph, node, [0, *target[1:]]))


def skip_reshapes(model: ir.Model) -> None:
    """Make an Identity of every Reshape whose result has the extents of its input, in place.

    All of them must be known: as numbers, or as the same name, which stands for one extent.
    """
    for node in model.graph.all_nodes():
        if node.op_type != "Reshape" or node.domain != "" or node.inputs[0] is None:
            continue
        before, after = node.inputs[0].shape, node.outputs[0].shape
        if before is not None and before == after and all(isinstance(d, int) or d.value for d in before):
            node.op_type = "Identity"
            node.resize_inputs(1)
            node.attributes.clear()


def _stored_target(node: ir.Node) -> list[int] | None:
    shape = node.inputs[1]
    if shape is None or shape.const_value is None or shape.is_graph_input():
        return None
    target: list[int] = shape.const_value.numpy().tolist()
    literal_zero = 0 in target and node.attributes.get_int("allowzero", 0) == 1
    return None if literal_zero else target


def _static_target(node: ir.Node) -> list[int] | None:
    data, shape = node.inputs[0], node.outputs[0].shape
    computed = node.inputs[1] is not None and node.inputs[1].const_value is None
    if data is None or shape is None or not computed:
        return None
    source = [] if data.shape is None else data.shape.dims
    target = [_extent(dim, source[axis] if axis < len(source) else None) for axis, dim in enumerate(shape.dims)]
    return target if target.count(-1) <= 1 and 0 not in shape.dims else None


def _extent(dim: int | ir.SymbolicDim, source: int | ir.SymbolicDim | None) -> int:
    if isinstance(dim, int):
        return dim
    return 0 if dim.value is not None and dim == source else -1


def _set_target(graph: ir.Graph, node: ir.Node, target: list[int]) -> None:
    node.attributes.pop("allowzero", None)
    shape = node.inputs[1]
    if shape is not None and shape.const_value is None:
        node.replace_input_with(1, _stored(graph, node, target))


def _stored(graph: ir.Graph, node: ir.Node, target: list[int]) -> ir.Value:
    """Return a new initializer with the target of a Reshape."""
    name = _free_name(graph, f"{node.outputs[0].name}_shape")
    tensor = ir.Tensor(np.array(target, np.int64), name=name)
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)
    graph.register_initializer(value)
    return value


def _free_name(graph: ir.Graph, name: str) -> str:
    candidates = (name, *(f"{name}_{number}" for number in range(len(graph.initializers))))
    return next(candidate for candidate in candidates if candidate not in graph.initializers)
