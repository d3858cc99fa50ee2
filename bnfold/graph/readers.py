"""Who reads a value."""

import onnx_ir as ir


def only_reader(value: ir.Value, graph: ir.Graph | None) -> ir.Node | None:
    """Return the one node of ``graph`` itself that alone reads a value, once; None for a graph output too."""
    if value.is_graph_output() or len(value.uses()) != 1:
        return None
    (use,) = value.uses()
    return use.node if use.node.graph is graph else None
