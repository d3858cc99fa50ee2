"""The module's own names, carried into the graph: parameters by their path, nodes by the part that they are in."""

import ast
import re
from collections.abc import Container

import onnx_ir as ir
from onnx_ir.passes import common as passes
from torch import nn

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter notes the parts of the module that a node comes from, outermost first."""


def parameter_names(module: nn.Module) -> dict[int, str]:
    """Return, for every parameter and buffer by identity, the first of its names."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {id(tensor): name for name, tensor in named}


def restore_parameter_names(model: ir.Model, names: dict[int, str]) -> None:
    """Call a tensor that the module knows under several names by the first one, as ``named_parameters`` does."""
    for value in list(model.graph.initializers.values()):
        name = names.get(id(value.const_value.raw)) if isinstance(value.const_value, ir.Tensor) else None
        if name is not None and name not in model.graph.initializers:
            value.name = name


def name_after_parts(model: ir.Model, *, parts: Container[str], stored: Container[str]) -> None:
    """Name every node ``part/Operator``, for example ``layer1.0.bn1/BatchNormalization``, and its values after it.

    Args:
        model: the graph to edit; graph inputs and outputs keep their names.
        parts: the paths of the module's parts.
        stored: names of the module's parameters and buffers, which keep them.
    """
    nodes = list(model.graph.all_nodes())
    for node in nodes:
        part = _part(node, parts)
        node.name = f"{part}/{node.op_type}" if part else node.op_type
    passes.NameFixPass()(model)  # numbers the nodes that share a part and an operator
    for node in nodes:
        _name_values(node, stored)
    passes.NameFixPass()(model)


def _name_values(node: ir.Node, stored: Container[str]) -> None:
    for index, output in enumerate(node.outputs):
        if output.name and not output.is_graph_output():
            output.name = f"{node.name}_output_{index}" if index else f"{node.name}_output"
    for index, value in enumerate(node.inputs):
        if value is not None and value.is_initializer() and (value.name or "") not in stored:
            value.name = f"{node.name}_input_{index}"


def _part(node: ir.Node, parts: Container[str]) -> str:
    scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
    # A part that is called twice is noted as part@1 the second time.
    names = [re.sub(r"@\d+$", "", scope) for scope in scopes]
    return next((name for name in reversed(names) if name in parts), "")
