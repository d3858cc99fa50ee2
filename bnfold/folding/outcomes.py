"""Tells, for every Batch Normalization of a graph, what a solution means for it."""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from bnfold.folding.gauges import Ids
from bnfold.folding.journal import distinct
from bnfold.folding.network import Network
from bnfold.folding.refusal import Refusal
from bnfold.folding.report import Outcome, Reason
from bnfold.folding.solve import Removals


def outcomes(network: Network, removals: Removals) -> Iterator[tuple[ir.Node, Outcome]]:
    """Yield each BatchNormalization of the graph with its outcome, in order; bodies in it have plans of their own."""
    weights = _Weights(removals)
    for node in network.facts.nodes:
        if node.op_type != "BatchNormalization":
            continue
        name = node.name or node.outputs[0].name or ""
        pointwise = network.maps.get(node)
        refusal = _opaque(network, node) if pointwise is None else removals.refused.get(pointwise)
        if refusal is not None:
            yield node, Outcome(name, (), refusal.reason, refusal.witness, refusal.detail)
        elif pointwise is not None:
            into = weights.of(distinct(pointwise.sources, pointwise.targets))
            yield node, Outcome(name, into, detail=f"folded into {', '.join(into)}" if into else "it was the identity")


def _opaque(network: Network, node: ir.Node) -> Refusal:
    """Say why a normalization's rule could not follow gauges through it."""
    opaque = network.opaque.get(node)
    if opaque is None:
        return Refusal(Reason.UNSUPPORTED, None, f"it is an operator of another domain ({node.domain})")
    return Refusal(opaque.reason, None, str(opaque))


class _Weights:
    """The constants that change with the gauges, found by the gauge variables that they change with."""

    def __init__(self, removals: Removals) -> None:
        self.classes = removals.classes
        self.names: list[str] = []
        owners, variables = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for value, ids in _changed(removals):
            owners.append(np.full(len(ids), len(self.names)))
            variables.append(ids)
            self.names.append(value.name or "")
        owner, variable = np.concatenate(owners), np.concatenate(variables)
        self.by_variable = _Index(variable, owner)
        self.by_class = _Index(self.classes[variable], owner)

    def of(self, ids: Ids) -> tuple[str, ...]:
        """Return the names of those that read or write these variables; where none does, of those in their classes."""
        owners = self.by_variable.of(ids)
        if not owners.size:
            owners = self.by_class.of(self.classes[ids])
        return tuple(dict.fromkeys(self.names[owner] for owner in owners.tolist()))


class _Index:
    """Which owners each key has."""

    def __init__(self, keys: Ids, owners: Ids) -> None:
        self.keys, self.owners = np.divmod(distinct(keys * (base := int(owners.max(initial=0)) + 1) + owners), base)

    def of(self, keys: Ids) -> Ids:
        """Return the owners of any of ``keys``, in order."""
        keys = distinct(keys)
        first, last = (np.searchsorted(self.keys, keys, side=side) for side in ("left", "right"))
        found = [self.owners[i:j] for i, j in zip(first.tolist(), last.tolist(), strict=True) if i < j]
        return distinct(*found) if found else np.empty(0, dtype=np.int64)


def _changed(removals: Removals) -> Iterator[tuple[ir.Value, Ids]]:
    """Yield each constant that a rewritten operator reads, and the variables that are not (1, 0) in it."""
    for linear in removals.linears.values():
        moved = _moved(distinct(linear.targets, linear.sources), removals)
        silenced = np.array(list(linear.silenced), dtype=np.int64)
        yield _operand(linear.node, linear.weight_slot), distinct(moved, silenced)
    for pointwise in removals.kept:
        ids = distinct(pointwise.targets, pointwise.sources)
        yield _operand(pointwise.node, pointwise.parameter_slots[0]), _moved(ids, removals)


def _moved(ids: Ids, removals: Removals) -> Ids:
    scale, shift = removals.solution.scale[ids], removals.solution.shift[ids]
    return ids[(scale != 1.0) | (shift != 0.0)]


def _operand(node: ir.Node, slot: int) -> ir.Value:
    value = node.inputs[slot]
    assert value is not None
    return value
