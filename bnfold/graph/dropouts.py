"""Dropout of operator sets 7 to 11, which has no training mode: at inference it hands its input on."""

import onnx_ir as ir

_TRAINING_MODE_SINCE = 12


def remove_old_dropouts(model: ir.Model) -> None:
    """Replace every Dropout older than opset 12 whose mask nobody reads by an Identity, in place.

    onnxscript's pass removes the newer ones.
    """
    if model.graph.opset_imports.get("", _TRAINING_MODE_SINCE) >= _TRAINING_MODE_SINCE:
        return
    for graph in model.graphs():
        for node in list(graph):
            if node.op_type == "Dropout" and node.domain == "" and not any(map(_is_read, node.outputs[1:])):
                _replace_by_identity(graph, node)


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _replace_by_identity(graph: ir.Graph, node: ir.Node) -> None:
    identity = ir.Node("", "Identity", [node.inputs[0]], name=node.name)
    ir.convenience.replace_nodes_and_values(graph, node, [node], [identity], [node.outputs[0]], [identity.outputs[0]])
