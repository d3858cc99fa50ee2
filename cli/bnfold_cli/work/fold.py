"""``bnfold fold`` and ``bnfold inspect``: from a file or a run to a folded file and its report."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold_cli.choices import Objective, Provider
from bnfold_cli.work.files import require_distinct, require_file_output, write_json
from bnfold_cli.work.naming import naming_graph

if TYPE_CHECKING:
    from bnfold.export import Account
    from bnfold.folding import Outcome


@dataclass(frozen=True)
class Folded:
    """A folded file with the account of how it came about."""

    source: dict[str, object]
    output: Path
    account: "Account"

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-able data; ``merge`` is there if merging was asked for."""
        merges = self.account.merges
        merged = {} if merges is None else {"merge": merges.to_dict()}
        return {**self.account.report.to_dict(), **merged, "source": self.source, "output": str(self.output)}


@dataclass(frozen=True)
class Inspected:
    """What a fold would do to each normalization."""

    source: dict[str, object]
    outcomes: "tuple[Outcome, ...]"

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        batch_norms = [{**asdict(outcome), "removed": outcome.removed} for outcome in self.outcomes]
        return {"source": self.source, "batch_norms": batch_norms}


def fold(
    source: Path,
    output: Path,
    *,
    report: Path | None = None,
    objective: Objective = "latency",
    provider: Provider = "cpu",
    merge: bool = False,
    duplicate_weights: bool = True,
    model: str | None = None,
    force: bool = False,
) -> Folded:
    """Fold what ``source`` holds and write it to ``output``, and the report to ``report``; ``merge`` what is linear.

    Raises:
        InputError: ``source`` is no model or run, its weights are not finite, or an output is in the way.
    """
    require_file_output(output, force=force, suffix=".onnx")
    if report is not None:
        require_file_output(report, force=force)
    require_distinct(source, output, report)
    from bnfold import folding, merging
    from bnfold.export import Account, account
    from bnfold.graph import save
    from bnfold_cli.work.sources import load_graph

    graph, provenance = load_graph(source, model=model)
    with naming_graph(source):
        folds = folding.fold(
            graph, folding.Objective(objective), provider=provider, duplicate_weights=duplicate_weights
        )
    folded = Folded(provenance, output, account(folds, merging.merge(graph), graph) if merge else Account(folds))
    save(graph, output)
    if report is not None:
        write_json(folded.to_dict(), report)
    return folded


def inspect(
    source: Path, *, objective: Objective = "latency", provider: Provider = "cpu", model: str | None = None
) -> Inspected:
    """Return what `fold` would do; nothing is written.

    Raises:
        InputError: ``source`` is no model or run, or its weights are not finite.
    """
    from bnfold import folding
    from bnfold_cli.work.sources import load_graph

    graph, provenance = load_graph(source, model=model)
    with naming_graph(source):
        return Inspected(provenance, folding.inspect(graph, folding.Objective(objective), provider=provider))


def remarks(objective: Objective, provider: Provider) -> Iterator[str]:
    """Yield what a user should know of a fold for a provider that has not been measured."""
    from bnfold.folding import COSTS

    if objective == "latency" and COSTS[provider] is None:
        yield (
            f"what a pass costs on {provider} has not been measured, so that only what is free is folded; "
            "--objective no-bn folds the rest, too"
        )
