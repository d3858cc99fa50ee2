"""What a fold did, or would do: the graph before and after, and every normalization with its reason."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import count, figures, size, texts

if TYPE_CHECKING:
    from bnfold.folding import FoldReport, Outcome
    from bnfold_cli.work.fold import Inspected

    Outcomes = tuple[Outcome, ...]


_NAMED = 4
"""Weights named for one normalization; the JSON document has all."""


def folded(report: "FoldReport", *, explain: bool) -> Iterator[Table | str]:
    """Yield the graph's figures, then all normalizations or those that were kept, and the verdict in a sentence."""
    yield graph(report)
    if explain:
        yield outcomes(report.batch_norms)
    elif report.kept_count:
        yield kept(report.batch_norms)
    yield verdict(report.batch_norms, "are folded")


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


def _into(weights: tuple[str, ...]) -> str:
    named = ", ".join(weights[:_NAMED])
    more = len(weights) - _NAMED
    return f"into {named}" + (f" and {more} more" if more > 0 else "")


def _why(outcome: "Outcome") -> str:
    witness = f" ({outcome.witness})" if outcome.witness and outcome.witness not in outcome.detail else ""
    return f"{outcome.detail or outcome.reason}{witness}"
