"""The account of a fold where merging came after it: what it says is true of the graph that is written."""

from collections import Counter
from dataclasses import dataclass, replace

import onnx_ir as ir

from bnfold.folding import Change, FoldReport, Outcome
from bnfold.folding.fold import size_of
from bnfold.merging import MergeReport


@dataclass(frozen=True)
class Account:
    """What fold and merge did together.

    Attributes:
        report: the fold's, with figures and outcomes of the merged graph; ``weight_range`` stays that of the fold.
        merges: the merge's; None where none was asked for.
        merged: the outcomes of normalizations that the fold had kept and merging took up.
    """

    report: FoldReport
    merges: MergeReport | None = None
    merged: tuple[Outcome, ...] = ()


def account(fold: FoldReport, merges: MergeReport, graph: ir.Model) -> Account:
    """Return the account of ``graph``, which was folded and then merged."""
    normalizations = (node for node in graph.graph.all_nodes() if node.op_type == "BatchNormalization")
    left = Counter(node.name or node.outputs[0].name for node in normalizations)
    merged: list[Outcome] = []
    outcomes: list[Outcome] = []
    for outcome in fold.batch_norms:
        conv = _successor(outcome.name, merges)
        if outcome.removed or conv is None or left[outcome.name]:
            left[outcome.name] -= not outcome.removed
            outcomes.append(outcome)
            continue
        taken = replace(
            outcome, into=_weights(conv, graph), reason=None, witness=None, detail=f"merged into Conv {conv}"
        )
        merged.append(taken)
        outcomes.append(taken)
    size = size_of(graph)
    report = replace(
        fold,
        batch_norms=tuple(outcomes),
        batch_norm_count=Change(fold.batch_norm_count.before, size.counts.batch_norms),
        elementwise=Change(fold.elementwise.before, size.counts.elementwise),
        nodes=Change(fold.nodes.before, size.counts.nodes),
        bytes=Change(fold.bytes.before, size.bytes),
    )
    return Account(report, merges, tuple(merged))


def _successor(name: str, merges: MergeReport) -> str | None:
    """Return the node that a node became part of, through all rounds of merging; None where it was not merged."""
    found = None
    for step in merges.merges:
        if (name if found is None else found) in step.nodes and len(step.into) == 1:  # else it only moved
            found = step.into[0]
    return found


def _weights(name: str, graph: ir.Model) -> tuple[str, ...]:
    nodes = [node for node in graph.graph if name in {node.name, node.outputs[0].name}]
    return tuple(str(value.name) for node in nodes for value in node.inputs[1:2] if value is not None)
