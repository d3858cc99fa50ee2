"""The one generic check of a merge: same results in float64, same signature, a true account, nothing left to merge."""

import json
from collections.abc import Mapping

import onnx_ir as ir

from bnfold.merging import MergeReport, merge
from bnfold.merging.facts import name_of
from bnfold.verify.oracle import Value
from tests.folding.checker import RELATIVE, check_results, check_signature, check_valid, random_inputs, running_nodes

SIDE = 12
"""Extent of an axis that the graph leaves open."""


def merge_checked(
    model: ir.Model, inputs: Mapping[str, Value] | None = None, *, relative: float = RELATIVE
) -> tuple[ir.Model, MergeReport]:
    """Merge a copy of ``model``, hold it to what merging promises, and return it with the report."""
    candidate = model.clone()
    report = merge(candidate)
    check_signature(model, candidate)
    check_valid(candidate)
    check_results(model, candidate, random_inputs(model, batch=SIDE) if inputs is None else inputs, relative=relative)
    check_account(model, candidate, report)
    again = candidate.clone()
    assert not merge(again).merges, "merging again merges more"
    assert ir.to_proto(again) == ir.to_proto(candidate), "merging again changed something"
    return candidate, report


def check_account(model: ir.Model, candidate: ir.Model, report: MergeReport) -> None:
    """Nodes that the report says are gone are gone, those that it says are new are there; its figures are counted."""
    names = set(map(name_of, candidate.graph))
    alive = set(map(name_of, model.graph))
    for step in report.merges:
        assert alive.issuperset(step.nodes), f"{step.nodes} are not all there"
        alive = alive.difference(step.nodes).union(step.into)
        assert step.work_after < step.work_before or step.rule != "pool-before-pointwise"
    assert alive == names
    assert {stays.name for stays in report.unmerged} <= names
    assert report.nodes_before == len(running_nodes(model, bodies=False))
    assert report.nodes_after == len(running_nodes(candidate, bodies=False))
    json.dumps(report.to_dict())


def operators(model: ir.Model) -> list[str]:
    """Return the operators of a graph in order."""
    return [node.op_type for node in model.graph]
