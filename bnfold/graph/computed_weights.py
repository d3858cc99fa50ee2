"""Weights that the graph computes from other weights on every run, computed once and stored."""

import onnx_ir as ir

from bnfold.graph.constant_folding import MAX_GROWTH, growth
from bnfold.graph.constants import Constants
from bnfold.graph.editor import Editor


def store_computed_weights(model: ir.Model) -> None:
    """Store what operators of `bnfold.graph.constants.REPARAMETERIZING` compute from weights alone, in place.

    In float64, rounded once: that is more exact than what the graph computes in its own type. Exact arithmetic on
    constants is for `bnfold.graph.constant_folding`, and done before.
    """
    constants, editor = Constants(model), Editor(model)
    for node in list(model.graph):
        value = node.outputs[0]
        array = None if node.op_type == "Constant" or len(node.outputs) > 1 else constants.get(value)
        if array is None or value.is_graph_output():
            continue
        value.shape = ir.Shape(array.shape)
        if growth(node) > MAX_GROWTH:
            continue
        if any(constants.get(use.node.outputs[0]) is None for use in value.uses()):  # else it is only on the way
            editor.abandon([value])
            value.replace_all_uses_with(editor.initializer(f"{value.name}_stored", array))
    editor.prune()
