"""Static shapes of every value, without touching the model that they describe."""

import onnx_ir as ir
from onnx_ir.passes import common as passes

Dims = tuple[int | str | None, ...]
"""One entry an axis: its extent, the name of a symbolic extent, or None where nothing is known."""


def infer_shapes(model: ir.Model) -> dict[str, Dims]:
    """Return the dims of every value of the main graph whose rank is known, by value name."""
    return {name: dims_of(value.shape) for name, value in infer_values(model).items() if value.shape is not None}


def dims_of(shape: ir.Shape) -> Dims:
    """Return a shape's extents as plain values."""
    return tuple(dim if isinstance(dim, int) else dim.value for dim in shape)


def infer_values(model: ir.Model) -> dict[str, ir.Value]:
    """Return a description of every value of the main graph, its shape and type as far as they are known, by name.

    Inference runs on a clone, and the values are the clone's: the model's own value infos stay what they were. What a
    file declares for results counts only where inference finds nothing: it is a comment to a runtime, and may be stale.
    """
    clone = model.clone()
    declared: dict[ir.Value, ir.Shape | None] = {}
    for node in clone.graph.all_nodes():
        for output in node.outputs:
            declared[output], output.shape = output.shape, None
    passes.ShapeInferencePass(check_type=False, strict_mode=False)(clone)
    for output, shape in declared.items():
        output.shape = output.shape or shape
    values = [*clone.graph.inputs, *clone.graph.initializers.values()]
    values += [output for node in clone.graph for output in node.outputs]
    return {value.name: value for value in values if value.name}
