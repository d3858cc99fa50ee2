"""Tells, for every Batch Normalization of a graph, what a solution means for it."""

from collections.abc import Iterable, Iterator

import numpy as np
import onnx_ir as ir

from bnfold.folding.gauges import Ids
from bnfold.folding.network import Network
from bnfold.folding.refusal import Refusal
from bnfold.folding.report import Outcome, Reason
from bnfold.folding.solve import Removals


def outcomes(network: Network, removals: Removals) -> Iterator[tuple[ir.Node, Outcome]]:
    """Yield each BatchNormalization with its outcome, in graph order, those inside subgraphs included."""
    by_node = {pointwise.node: pointwise for pointwise in network.pointwise}
    weights = _Weights(network, removals)
    for node in network.facts.model.graph.all_nodes():
        if node.op_type != "BatchNormalization":
            continue
        name = node.name or node.outputs[0].name or ""
        pointwise = by_node.get(node)
        refusal = _opaque(network, node) if pointwise is None else removals.refused.get(pointwise)
        if refusal is not None:
            yield node, Outcome(name, (), refusal.reason, refusal.witness, refusal.detail)
        elif pointwise is not None:
            into = weights.of(np.union1d(pointwise.sources, pointwise.targets).tolist())
            yield node, Outcome(name, into, detail=f"folded into {', '.join(into)}" if into else "it was the identity")


def _opaque(network: Network, node: ir.Node) -> Refusal:
    """Say why a normalization's rule could not follow gauges through it."""
    opaque = network.opaque.get(node)
    if opaque is None:
        return Refusal(Reason.UNSUPPORTED, None, "it is inside a subgraph (If, Loop or Scan)")
    return Refusal(opaque.reason, None, str(opaque))


class _Weights:
    """The constants that change with the gauges, found by the gauge variables that they change with."""

    def __init__(self, network: Network, removals: Removals) -> None:
        self.gauges = network.gauges
        self.by_variable: dict[int, list[str]] = {}
        self.by_class: dict[int, list[str]] = {}
        for linear in removals.linears.values():
            ids = np.union1d(linear.targets, linear.sources)
            self._add(linear.node.inputs[linear.weight_slot], self._moved(ids, removals) | linear.silenced)
        for pointwise in removals.kept:
            ids = np.union1d(pointwise.targets, pointwise.sources)
            self._add(pointwise.node.inputs[pointwise.parameter_slots[0]], self._moved(ids, removals))

    def of(self, ids: Iterable[int]) -> tuple[str, ...]:
        """Return the names of those that read or write these variables; where none does, of those in their classes."""
        direct = [name for i in ids for name in self.by_variable.get(i, ())]
        related = [name for i in ids for name in self.by_class.get(self.gauges.root(i)[0], ())]
        return tuple(dict.fromkeys(direct or related))

    @staticmethod
    def _moved(ids: Ids, removals: Removals) -> frozenset[int]:
        scale, shift = removals.solution.scale[ids], removals.solution.shift[ids]
        return frozenset(ids[(scale != 1.0) | (shift != 0.0)].tolist())

    def _add(self, value: ir.Value | None, ids: Iterable[int]) -> None:
        assert value is not None
        for i in ids:
            self.by_variable.setdefault(i, []).append(value.name or "")
        for root in {self.gauges.root(i)[0] for i in ids}:
            self.by_class.setdefault(root, []).append(value.name or "")
