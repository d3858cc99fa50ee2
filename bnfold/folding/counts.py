"""Figures of a graph that a fold changes."""

from dataclasses import dataclass

import onnx_ir as ir

from bnfold.graph.constants import Constants

ELEMENTWISE = frozenset(
    {
        "Abs",
        "Add",
        "BatchNormalization",
        "Clip",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Max",
        "Min",
        "Mish",
        "Mul",
        "Neg",
        "Pow",
        "PRelu",
        "Relu",
        "Selu",
        "Sigmoid",
        "Softplus",
        "Sqrt",
        "Sub",
        "Sum",
        "Tanh",
        "Where",
    }
)
"""Operators that read and write a whole activation tensor, element by element: each costs a pass over memory."""


@dataclass(frozen=True)
class Counts:
    """Nodes that run, those inside subgraphs included; those that only prepare constants are not counted."""

    nodes: int
    batch_norms: int
    elementwise: int


def count_nodes(model: ir.Model) -> Counts:
    """Count a model's nodes."""
    constants = Constants(model)
    running = [node for node in model.graph.all_nodes() if constants.get(node.outputs[0]) is None]
    return Counts(
        nodes=len(running),
        batch_norms=sum(node.op_type == "BatchNormalization" for node in running),
        elementwise=sum(node.op_type in ELEMENTWISE for node in running),
    )


def initializer_bytes(model: ir.Model) -> int:
    """Return the size of all initializers of the main graph."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
