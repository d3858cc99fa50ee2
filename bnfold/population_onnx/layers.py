"""The BN layers of an ONNX graph: nodes, and the tensors that hold their statistics."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from bnfold.graph.constants import Constants
from bnfold.population.kept import KeptLayer, Reason
from bnfold.population.report import LayerStatistics

_MEAN, _VARIANCE = 3, 4
"""Positions of mean and variance among the inputs of BatchNormalization, in every opset."""


@dataclass(frozen=True, eq=False)
class BatchNormLayer:
    """One or more BatchNormalization nodes with the same statistics: the calls of one layer.

    Attributes:
        name: of the first node, or of its output where the node has none.
        nodes: in the graph's order.
        eps: ε, in units of variance.
        mean: the statistics that the graph holds, (C,), in their own type.
        variance: the same.
    """

    name: str
    nodes: tuple[ir.Node, ...]
    eps: float
    mean: np.ndarray
    variance: np.ndarray

    def statistics(self) -> LayerStatistics:
        """Return the statistics that the graph holds, as old and as new ones."""
        mean, variance = self.mean.astype(np.float64), self.variance.astype(np.float64)
        return LayerStatistics(self.name, 0, self.eps, mean, variance, mean, variance)


def find_layers(model: ir.Model) -> tuple[list[BatchNormLayer], tuple[KeptLayer, ...]]:
    """Return the layers whose statistics can be set, in the graph's order, and those that stay, with the reason.

    Nodes that share all four of scale, bias, mean and variance are calls of one layer. Tools that store equal tensors
    once make new layers look so too, before they are trained: where mean is 0 and variance 1 throughout, every node is
    a layer of its own.
    """
    constants = Constants(model)
    groups: dict[object, list[ir.Node]] = {}
    kept = [KeptLayer(_name(node), Reason.NESTED) for node in _nested(model)]
    for node in model.graph:
        if not _is_batch_norm(node):
            continue
        mean, variance = constants.get(node.inputs[_MEAN]), constants.get(node.inputs[_VARIANCE])
        if _attribute(node, "training_mode", 0):
            kept.append(KeptLayer(_name(node), Reason.TRAINING))
        elif mean is None or variance is None:
            kept.append(KeptLayer(_name(node), Reason.COMPUTED))
        else:
            is_new = not mean.any() and bool((variance == 1).all())
            groups.setdefault(node if is_new else tuple(map(id, node.inputs[1:])), []).append(node)
    return [_layer(nodes, constants) for nodes in groups.values()], tuple(kept)


def store(model: ir.Model, layer: BatchNormLayer, mean: np.ndarray, variance: np.ndarray) -> None:
    """Set the statistics of a layer, which are of the graph's own type; tensors that others read stay as they are."""
    for position, array in ((_MEAN, mean), (_VARIANCE, variance)):
        value = layer.nodes[0].inputs[position]
        assert value is not None, "BatchNormalization has five inputs"
        readers = {(node, index) for node, index in value.uses()}
        own = {(node, position) for node in layer.nodes}
        if value.is_initializer() and readers == own and not value.is_graph_output():
            value.const_value = ir.Tensor(array, name=value.name)
            continue
        new = ir.val(_free_name(model, layer.name, position), const_value=ir.Tensor(array))
        model.graph.register_initializer(new)
        for node in layer.nodes:
            node.replace_input_with(position, new)


def _layer(nodes: list[ir.Node], constants: Constants) -> BatchNormLayer:
    mean, variance = constants.get(nodes[0].inputs[_MEAN]), constants.get(nodes[0].inputs[_VARIANCE])
    assert mean is not None, "chosen for being constant"
    assert variance is not None, "chosen for being constant"
    return BatchNormLayer(_name(nodes[0]), tuple(nodes), float(_attribute(nodes[0], "epsilon", 1e-5)), mean, variance)


def _is_batch_norm(node: ir.Node) -> bool:
    # Five outputs are how opsets before 14 say training mode.
    return node.op_type == "BatchNormalization" and node.domain in {"", "ai.onnx"} and len(node.inputs) == 5


def _attribute(node: ir.Node, name: str, default: float) -> float:
    attribute = node.attributes.get(name)
    if name == "training_mode" and sum(bool(output.name) for output in node.outputs) > 1:
        return 1
    return default if attribute is None else attribute.value


def _nested(model: ir.Model) -> Iterator[ir.Node]:
    yield from (n for n in model.graph.all_nodes() if n.graph is not model.graph and _is_batch_norm(n))


def _name(node: ir.Node) -> str:
    return node.name or node.outputs[0].name or node.op_type


def _free_name(model: ir.Model, layer: str, position: int) -> str:
    taken = {value.name for node in model.graph.all_nodes() for value in (*node.inputs, *node.outputs) if value}
    taken |= set(model.graph.initializers) | {value.name for value in model.graph.inputs}
    wanted = f"{layer}.{'running_mean' if position == _MEAN else 'running_var'}"
    while wanted in taken:
        wanted += "_"
    return wanted
