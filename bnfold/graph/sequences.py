"""Values that are no tensors: sequences and optionals, which the graph passes in use do not all handle."""

import onnx_ir as ir


def has_sequences(model: ir.Model) -> bool:
    """Return whether any value is a sequence or an optional; torch writes one for ``split`` and ``chunk``."""
    ports = [*model.graph.inputs, *model.graph.outputs]
    return any(isinstance(port.type, ir.SequenceType | ir.OptionalType) for port in ports) or any(
        node.domain == "" and ("Sequence" in node.op_type or "Optional" in node.op_type)
        for node in model.graph.all_nodes()
    )
