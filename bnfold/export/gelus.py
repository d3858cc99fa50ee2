"""Gelus as runtimes know them: the operator where the operator set has it, else the nodes that they look for."""

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bnfold.graph.constants import Constants
from bnfold.graph.editor import Editor, graph_of
from bnfold.graph.gelus import Gelu, find_gelus

OPERATOR_SINCE = 20
"""The operator set in which Gelu is an operator."""


def use_gelus(model: ir.Model) -> None:
    """Write every Gelu of several nodes as one, in place; before opset 20, as the nodes that ONNX Runtime fuses.

    Its result may round elsewhere.
    """
    constants, editor = Constants(model), Editor(model)
    has_operator = model.graph.opset_imports.get("", 0) >= OPERATOR_SINCE
    for gelu in list(find_gelus(model.graph, constants)):
        if has_operator:
            _replace(gelu, [ir.node("Gelu", [gelu.x])], editor)
        elif not gelu.is_fusable:
            _replace(gelu, _fusable(gelu, constants, editor), editor)
    editor.prune()


def _fusable(gelu: Gelu, constants: Constants, editor: Editor) -> list[ir.Node]:
    """Return (x/2)·(1 + erf(x/√2)); halving x first, the product cannot overflow."""
    name, plus = gelu.nodes[-1].outputs[0].name, gelu.nodes[2]
    dtype = next(array.dtype for array in map(constants.get, plus.inputs) if array is not None)
    root, one, half = (
        editor.initializer(f"{name}_{word}", np.array(number).astype(dtype))
        for word, number in (("root", math.sqrt(2.0)), ("one", 1.0), ("half", 0.5))
    )
    divided = ir.node("Div", [gelu.x, root])
    erf = ir.node("Erf", divided.outputs)
    total = ir.node("Add", [erf.outputs[0], one])
    halved = ir.node("Mul", [gelu.x, half])
    for node, word in ((divided, "divided"), (erf, "erf"), (total, "sum"), (halved, "halved")):
        node.outputs[0].name = editor.unique(f"{name}_{word}")
    return [divided, erf, total, halved, ir.node("Mul", [halved.outputs[0], total.outputs[0]])]


def _replace(gelu: Gelu, nodes: Sequence[ir.Node], editor: Editor) -> None:
    last = gelu.nodes[-1]
    nodes[-1].name = last.name
    graph_of(last).insert_before(last, nodes[:-1])
    editor.replace(last, nodes[-1])
