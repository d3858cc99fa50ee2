"""What a fold did, or would do: the graph before and after, and every normalization with its reason."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import count, figures, size, texts

if TYPE_CHECKING:
    from bnfold.export import Account
    from bnfold.folding import FoldReport, Outcome
    from bnfold.merging import MergeReport
    from bnfold_cli.work.fold import Inspected

    Outcomes = tuple[Outcome, ...]


_NAMED = 4
"""Weights named for one normalization; the JSON document has all."""


def folded(account: "Account", *, explain: bool) -> Iterator[Table | str]:
    """Yield the graph's figures, all normalizations or those that were kept, what was merged, and the verdict."""
    report = account.report
    yield graph(report, ranges=account.merges is None or not account.merges.merges)
    if explain:
        yield outcomes(report.batch_norms, account.merged)
    elif report.kept_count:
        yield kept(report.batch_norms)
    yield verdict(report.batch_norms, "are folded", merged=len(account.merged))
    if account.merges is not None:
        yield from merged(account.merges, explain=explain)


def merged(report: "MergeReport", *, explain: bool) -> Iterator[Table | str]:
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
    if report.nodes_after < report.nodes_before:
        yield f"Merging leaves {report.nodes_after} of the {report.nodes_before} nodes that folding left."
    else:
        yield f"Merging moves operators to where they cost less; the number of nodes stays {report.nodes_after}."


def inspected(result: "Inspected") -> Iterator[Table | str]:
    """Yield what would become of all normalizations."""
    if result.outcomes:
        yield outcomes(result.outcomes)
    yield verdict(result.outcomes, "would be folded")


def graph(report: "FoldReport", *, ranges: bool) -> Table:
    """Return what changes about the graph as a whole; ``ranges`` are those of the fold, not of merged weights."""
    rows = [
        ("BatchNormalization nodes", count(report.batch_norm_count.before), count(report.batch_norm_count.after)),
        ("element-wise passes", count(report.elementwise.before), count(report.elementwise.after)),
        ("nodes", count(report.nodes.before), count(report.nodes.after)),
        ("weights", size(report.bytes.before), size(report.bytes.after)),
    ]
    if ranges:
        pair = report.weight_range
        rows.append(("largest weight range ratio", f"{pair.before:.3g}", f"{pair.after:.3g}"))
    return figures(("", "before", "after"), rows)


def outcomes(batch_norms: "Outcomes", merged: "Outcomes" = ()) -> Table:
    """Return every normalization with what becomes of it, and why; ``merged`` are those that merging took up."""
    rows: list[tuple[str, str, str]] = []
    for outcome in batch_norms:
        if outcome.removed:
            rows.append((outcome.name, "merged" if outcome in merged else "removed", _into(outcome.into)))
        else:
            rows.append((outcome.name, "kept", _why(outcome)))
    return texts(("BatchNormalization", "outcome", "why"), rows)


def kept(batch_norms: "Outcomes") -> Table:
    """Return the reasons for which normalizations were kept, each with its number and its first node."""
    reasons = Counter(outcome.reason for outcome in batch_norms if outcome.reason is not None)
    first = {outcome.reason: outcome for outcome in reversed(batch_norms)}
    rows = [(str(reason), str(number), first[reason].name, _why(first[reason])) for reason, number in reasons.items()]
    return texts(("kept because of", "how many", "first", "why"), rows)


def verdict(batch_norms: "Outcomes", verb: str, *, merged: int = 0) -> str:
    """Return the result in a sentence; ``merged`` of the normalizations that are gone were taken up by merging."""
    total, removed = len(batch_norms), sum(outcome.removed for outcome in batch_norms)
    if total == 0:
        return "The graph has no BatchNormalization."
    if merged:
        kept_count = total - removed
        ending = f", {kept_count} kept as told above" if kept_count else ", none kept"
        folded_count = f"{removed - merged} of {total} BatchNormalization nodes {verb} into weights"
        return f"{folded_count}, {merged} that folding kept {_be(merged)} merged into convolutions{ending}."
    if removed == total:
        return f"All BatchNormalization nodes ({total}) {verb} into weights."
    return f"{removed} of {total} BatchNormalization nodes {verb} into weights, {total - removed} kept as told above."


def _be(number: int) -> str:
    return "is" if number == 1 else "are"


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _into(weights: tuple[str, ...]) -> str:
    return f"into {_listed(weights)}"


def _why(outcome: "Outcome") -> str:
    witness = f" ({outcome.witness})" if outcome.witness and outcome.witness not in outcome.detail else ""
    return f"{outcome.detail or outcome.reason}{witness}"
