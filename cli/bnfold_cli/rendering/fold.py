"""What a fold did, or would do: the graph before and after, and every normalization with its reason."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import count, figures, size, texts

if TYPE_CHECKING:
    from bnfold.folding import FoldReport, Outcome
    from bnfold.merging import MergeReport
    from bnfold_cli.work.fold import Inspected

    Outcomes = tuple[Outcome, ...]


_NAMED = 4
"""Weights named for one normalization; the JSON document has all."""


def folded(report: "FoldReport", merges: "MergeReport | None", *, explain: bool) -> Iterator[Table | str]:
    """Yield the graph's figures, all normalizations or those that were kept, what was merged, and the verdict."""
    yield graph(report)
    if explain:
        yield outcomes(report.batch_norms)
    elif report.kept_count:
        yield kept(report.batch_norms)
    yield verdict(report.batch_norms, "are folded")
    if merges is not None:
        yield from merged(merges, report, explain=explain)


def merged(report: "MergeReport", fold: "FoldReport", *, explain: bool) -> Iterator[Table | str]:
    """Yield what was merged, by rule or node by node, what stayed and why, and how many nodes are left."""
    if report.merges and explain:
        rows = [(str(step.rule), _listed(step.nodes), _listed(step.into)) for step in report.merges]
        yield texts(("merged", "nodes", "into"), rows)
    elif report.merges:
        steps = {
            rule: [step for step in report.merges if step.rule == rule]
            for rule in dict.fromkeys(s.rule for s in report.merges)
        }
        rows = [
            (str(rule), str(len(group)), str(sum(len(step.nodes) for step in group)), _listed(group[0].into))
            for rule, group in steps.items()
        ]
        yield texts(("merged", "how many", "nodes", "first into"), rows)
    if report.unmerged:
        yield texts(("not merged", "why"), [(stays.name, stays.detail) for stays in report.unmerged])
    if not report.merges:
        yield "No linear operators merge."
        return
    gone = {name for step in report.merges for name in step.nodes}
    normal = sum(outcome.name in gone for outcome in fold.batch_norms)
    also = f"; it takes up {normal} of the BatchNormalization nodes that folding kept" if normal else ""
    yield f"Merging leaves {report.nodes_after} of {report.nodes_before} nodes{also}."


def inspected(result: "Inspected") -> Iterator[Table | str]:
    """Yield what would become of all normalizations."""
    if result.outcomes:
        yield outcomes(result.outcomes)
    yield verdict(result.outcomes, "would be folded")


def graph(report: "FoldReport") -> Table:
    """Return what the fold changes about the graph as a whole."""
    rows = [
        ("BatchNormalization nodes", count(report.batch_norm_count.before), count(report.batch_norm_count.after)),
        ("element-wise passes", count(report.elementwise.before), count(report.elementwise.after)),
        ("nodes", count(report.nodes.before), count(report.nodes.after)),
        ("weights", size(report.bytes.before), size(report.bytes.after)),
        ("largest weight range ratio", f"{report.weight_range.before:.3g}", f"{report.weight_range.after:.3g}"),
    ]
    return figures(("", "before", "after"), rows)


def outcomes(batch_norms: "Outcomes") -> Table:
    """Return every normalization with what becomes of it, and why."""
    rows = [
        (outcome.name, "removed", _into(outcome.into)) if outcome.removed else (outcome.name, "kept", _why(outcome))
        for outcome in batch_norms
    ]
    return texts(("BatchNormalization", "outcome", "why"), rows)


def kept(batch_norms: "Outcomes") -> Table:
    """Return the reasons for which normalizations were kept, each with its number and its first node."""
    reasons = Counter(outcome.reason for outcome in batch_norms if outcome.reason is not None)
    first = {outcome.reason: outcome for outcome in reversed(batch_norms)}
    rows = [(str(reason), str(number), first[reason].name, _why(first[reason])) for reason, number in reasons.items()]
    return texts(("kept because of", "how many", "first", "why"), rows)


def verdict(batch_norms: "Outcomes", verb: str) -> str:
    """Return the result in a sentence."""
    total, removed = len(batch_norms), sum(outcome.removed for outcome in batch_norms)
    if total == 0:
        return "The graph has no BatchNormalization."
    if removed == total:
        return f"All BatchNormalization nodes ({total}) {verb} into weights."
    return f"{removed} of {total} BatchNormalization nodes {verb} into weights, {total - removed} kept as told above."


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _into(weights: tuple[str, ...]) -> str:
    return f"into {_listed(weights)}"


def _why(outcome: "Outcome") -> str:
    witness = f" ({outcome.witness})" if outcome.witness and outcome.witness not in outcome.detail else ""
    return f"{outcome.detail or outcome.reason}{witness}"
