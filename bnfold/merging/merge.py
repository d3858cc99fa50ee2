"""Merging as one call: poolings, then regions, until nothing merges any more."""

import onnx_ir as ir

from bnfold.graph.constants import Constants
from bnfold.graph.editor import Editor
from bnfold.merging.apply import write_region
from bnfold.merging.cost import work
from bnfold.merging.facts import Facts, name_of
from bnfold.merging.plan import Plan, before, make_plan
from bnfold.merging.pooling import move_pools, move_thresholds
from bnfold.merging.report import Merge, MergeReport, Unmergeable, Unmerged


def merge(model: ir.Model) -> MergeReport:
    """Merge linear operators of ``model``, in place; what it computes stays the same.

    1. A tree of linear operators over one value, parallel or in sequence, becomes one Conv where that costs less: its
       kernels are laid into one, its products multiplied out, in float64, rounded once. Values that are read elsewhere,
       or are outputs of the graph, stay. Matrix products become one Gemm, or one MatMul, in the same way.
    2. Constants added or multiplied per channel go into the Conv in front or behind, zeros padded go into its pads.
    3. A maximum with a constant in front of a MaxPool moves behind it, an AveragePool behind a pointwise Conv in front.

    Inputs and outputs keep names, types, order and shapes. Only the main graph is looked at.
    """
    nodes = _running(model)
    editor, facts = Editor(model), Facts(model)
    merges = [*move_thresholds(editor, facts), *move_pools(editor, facts)]
    failed: dict[str, Unmerged] = {}
    while True:
        facts.forget()
        plan = make_plan(facts, frozenset(failed))
        merges += _apply(editor, facts, plan, failed)
        if not plan.regions:
            break
    editor.prune()
    return MergeReport(tuple(merges), (*plan.unmerged, *failed.values()), nodes, _running(model))


def _apply(editor: Editor, facts: Facts, plan: Plan, failed: dict[str, Unmerged]) -> list[Merge]:
    """Write the regions of a plan; note in ``failed``, by the value that they compute, those that do not fit."""
    merges: list[Merge] = []
    renewed: dict[ir.Value, ir.Value] = {}
    for region in plan.regions:
        names, value, apart = tuple(map(name_of, region.nodes)), region.root.outputs[0], before(region, facts)
        try:
            new = write_region(editor, region, renewed.get(region.base, region.base))
        except Unmergeable as reason:
            failed[value.name or ""] = Unmerged(name_of(region.root), reason.hindrance, str(reason))
            continue
        renewed[value] = new[-1].outputs[0]
        merges.append(Merge(region.rule, names, tuple(map(name_of, new)), apart, work(region.convolution.geometry)))
    return merges


def _running(model: ir.Model) -> int:
    """Count the nodes of the main graph that depend on a run-time input."""
    constants = Constants(model)
    return sum(constants.get(node.outputs[0]) is None for node in model.graph)
