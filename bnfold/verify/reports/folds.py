"""What became of every Batch Normalization, with the graph around it before and after: the entry ``folds`` of a report.

The fold's own report says what was removed, into which weights, and why not. Without one, the two graphs are compared:
a normalization is removed if the candidate has no node of its name. The pictures are of one normalization, the nodes
that feed it and the nodes that read it; after the fold, of the same nodes, found again by the names of nodes and
values, and of what the fold put between them.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from bnfold.verify.reports.document import Document

NEIGHBOURS = 4
"""Nodes drawn on either side of a normalization, at most."""


def folds(original: ir.Model | None, candidate: ir.Model, fold_report: Document | None = None) -> dict[str, Any] | None:
    """Return the entry ``folds``, or None where neither the original nor a fold report is at hand.

    Args:
        original: the graph with its normalizations; without it there are no pictures of before.
        candidate: the folded graph.
        fold_report: of the fold that made the candidate, of the schema ``fold-1``.
    """
    if original is None and fold_report is None:
        return None
    before, after = None if original is None else _Graph(original), _Graph(candidate)
    if fold_report is not None:
        records = [_reported(outcome, before, after) for outcome in fold_report["batch_norms"]]
        return {"basis": "fold-report", "batch_norms": records}
    nodes = [] if before is None else [node for node in before.nodes if node.op_type == "BatchNormalization"]
    return {"basis": "graphs", "batch_norms": [_compared(node, after) for node in nodes]}


class _Graph:
    """The nodes of a main graph, found by the names that a fold keeps."""

    def __init__(self, model: ir.Model) -> None:
        self.nodes = list(model.graph)
        self.by_name = {_name(node): node for node in self.nodes}
        self.by_value = {value.name: node for node in self.nodes for value in node.outputs if value.name}

    def same(self, node: ir.Node) -> ir.Node | None:
        """Return the node of this graph that stands where ``node`` of another does."""
        found = self.by_name.get(_name(node))
        if found is None:
            found = next((self.by_value[v.name] for v in node.outputs if v.name in self.by_value), None)
        return found if found is not None and found.op_type != "BatchNormalization" else None

    def readers_of(self, weights: Iterable[str]) -> list[ir.Node]:
        """Return the nodes that read any of the initializers named ``weights``."""
        names = set(weights)
        return [node for node in self.nodes if any(v is not None and v.name in names for v in node.inputs)]


def _reported(outcome: Document, before: _Graph | None, after: _Graph) -> dict[str, Any]:
    node = None if before is None else before.by_name.get(outcome["name"])
    removed = outcome["reason"] is None
    if node is None:
        pictures = (None, _around(after.readers_of(outcome["into"])[:NEIGHBOURS], after) if removed else None)
    else:
        pictures = _pictures(node, after)
    keys = ("name", "into", "reason", "witness", "detail")
    record = {**{key: outcome[key] for key in keys}, "removed": removed}
    return {**record, "before": pictures[0], "after": pictures[1]}


def _around(readers: Sequence[ir.Node], after: _Graph) -> dict[str, Any] | None:
    """Return the nodes that read the weights that changed, with those around them; None where there is none."""
    near = {node for reader in readers for node in (*_producers(reader), reader, *_consumers(reader))}
    ordered = [node for node in after.nodes if node in near]
    return _picture(ordered, {id(reader): "changed" for reader in readers}) if ordered else None


def _compared(node: ir.Node, after: _Graph) -> dict[str, Any]:
    found = after.by_name.get(_name(node))
    removed = found is None or found.op_type != "BatchNormalization"
    detail = "the candidate has no such node" if removed else "the candidate has this node too"
    pictures = _pictures(node, after)
    return {
        "name": _name(node),
        "removed": removed,
        "into": [],
        "reason": None if removed else "kept",
        "witness": None,
        "detail": detail,
        "before": pictures[0],
        "after": pictures[1],
    }


def _pictures(batch_norm: ir.Node, after: _Graph) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the graph around a normalization of the original, before and after."""
    around = [*_producers(batch_norm), batch_norm, *_consumers(batch_norm)]
    matches = {id(node): after.same(node) for node in around}
    kept = after.by_name.get(_name(batch_norm))
    if kept is not None and kept.op_type == "BatchNormalization":
        matches[id(batch_norm)] = kept
    roles = {id(batch_norm): "batch-norm"}
    for node in around:
        match = matches[id(node)]
        if node is not batch_norm and (match is None or not _alike(node, match)):
            roles[id(node)] = "changed"
    found = [match for match in matches.values() if match is not None]
    between = [node for node in _between(found) if node not in found]
    after_roles = {id(match): roles.get(key, "same") for key, match in matches.items() if match is not None}
    after_roles |= {id(node): "new" for node in between}
    ordered = [node for node in after.nodes if id(node) in after_roles]
    return _picture(around, roles), _picture(ordered, after_roles) if ordered else None


def _producers(node: ir.Node) -> list[ir.Node]:
    first = node.inputs[0]
    producer = None if first is None else first.producer()
    return [] if producer is None else [producer]


def _consumers(node: ir.Node) -> list[ir.Node]:
    return list(dict.fromkeys(node.outputs[0].consumers()))[:NEIGHBOURS]


def _between(nodes: Sequence[ir.Node]) -> Iterator[ir.Node]:
    """Yield the nodes that read one of ``nodes`` and feed another, in one step."""
    known = set(nodes)
    for node in nodes:
        for reader in _consumers(node):
            if reader not in known and any(each in known for each in _consumers(reader)):
                yield reader


def _alike(node: ir.Node, other: ir.Node) -> bool:
    """Say whether two nodes are the same operator with the same constants."""
    ours, theirs = ([_constant(value) for value in each.inputs] for each in (node, other))
    if node.op_type != other.op_type or len(ours) != len(theirs):
        return False
    return all(
        (a is None) == (b is None) and (a is None or b is None or np.array_equal(a.numpy(), b.numpy()))
        for a, b in zip(ours, theirs, strict=True)
    )


def _constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    return None if value is None else value.const_value


def _picture(nodes: Sequence[ir.Node], roles: dict[int, str]) -> dict[str, Any]:
    positions = {id(node): position for position, node in enumerate(nodes)}
    edges = [
        [positions[id(producer)], positions[id(node)]]
        for node in nodes
        for producer in dict.fromkeys(v.producer() for v in node.inputs if v is not None)
        if producer is not None and id(producer) in positions
    ]
    drawn = [{"name": _name(node), "op_type": node.op_type, "role": roles.get(id(node), "same")} for node in nodes]
    return {"nodes": drawn, "edges": edges}


def _name(node: ir.Node) -> str:
    return node.name or node.outputs[0].name or ""
