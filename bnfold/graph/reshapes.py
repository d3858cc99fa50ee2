"""Reshape whose target is computed at run time though it is known but for the batch, and Reshape that does nothing."""

import numpy as np
import onnx_ir as ir

from bnfold.graph.constants import Constants
from bnfold.graph.readers import only_reader

ACTIVATIONS = frozenset(
    {"Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"}
)
"""Operators on one element at a time that ONNX Runtime computes inside a Gemm in front of them."""


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


def sink_reshapes(model: ir.Model) -> None:
    """Put an activation in front of a Reshape that it alone reads, where that pays, in place.

    It pays behind a Gemm, with which the runtime fuses the activation, and in front of another Reshape, which meets the
    first. What the two compute together keeps its name.
    """
    for node in list(model.graph.all_nodes()):
        if node.op_type == "Reshape" and node.domain == "":
            while (reader := _sinks_behind(node)) is not None:
                _exchange(node, reader)


def _sinks_behind(node: ir.Node) -> ir.Node | None:
    producer = None if node.inputs[0] is None else node.inputs[0].producer()
    reader = only_reader(node.outputs[0], node.graph)
    if reader is None or reader.domain != "" or reader.op_type not in ACTIVATIONS:
        return None
    behind = only_reader(reader.outputs[0], node.graph)
    pays = any(other is not None and other.op_type == op for other, op in ((producer, "Gemm"), (behind, "Reshape")))
    return reader if pays else None


def _exchange(node: ir.Node, reader: ir.Node) -> None:
    """Let ``reader``, which alone reads ``node``, come first; the values change names and shapes with each other."""
    source, graph = node.inputs[0], reader.graph
    (inner,), (outer,) = node.outputs, reader.outputs
    assert source is not None
    assert graph is not None
    reader.replace_input_with(0, source)
    outer.replace_all_uses_with(inner, replace_graph_outputs=True)
    node.replace_input_with(0, outer)
    inner.name, inner.shape, outer.name, outer.shape = outer.name, outer.shape, inner.name, source.shape
    graph.remove(node)
    graph.insert_after(reader, node)


def skip_reshapes(model: ir.Model) -> None:
    """Make an Identity of every Reshape whose result has the extents of its input, in place.

    They must be known: as numbers, or as the same name, which stands for one extent. One may be unknown: where the
    others agree and are not 0, the number of elements settles it.
    """
    for node in model.graph.all_nodes():
        if node.op_type != "Reshape" or node.domain != "" or node.inputs[0] is None:
            continue
        before, after = node.inputs[0].shape, node.outputs[0].shape
        if before is not None and after is not None and _same_extents(before, after):
            node.op_type = "Identity"
            node.resize_inputs(1)
            node.attributes.clear()


def _same_extents(before: ir.Shape, after: ir.Shape) -> bool:
    if len(before) != len(after):
        return False
    pairs = list(zip(before, after, strict=True))
    unsettled = [old for old, new in pairs if old != new or not (isinstance(old, int) or old.value)]
    return not unsettled or (len(unsettled) == 1 and 0 not in before.dims)


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
