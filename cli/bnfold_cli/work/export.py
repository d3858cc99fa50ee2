"""``bnfold export``: fold, optimize, and bundle with golden data."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.bundle import MANIFEST
from bnfold_cli.choices import Objective
from bnfold_cli.work.files import require_folder_output
from bnfold_cli.work.sources import load_graph, open_run
from bnfold_cli.work.verify import SAMPLES, sample_inputs

if TYPE_CHECKING:
    from bnfold.folding import Counts, FoldReport


@dataclass(frozen=True)
class Exported:
    """A bundle, and how its model came about.

    Attributes:
        source: where the model comes from.
        output: the bundle folder.
        report: what the fold did.
        original: nodes of the graph before the fold.
        final: nodes of the graph in the bundle, after fold and optimization.
        opset: operator set of the model in the bundle.
        samples: golden samples.
        data: where they come from; None for random values.
    """

    source: dict[str, object]
    output: Path
    report: "FoldReport"
    original: "Counts"
    final: "Counts"
    opset: int
    samples: int
    data: str | None

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "source": self.source,
            "bundle": str(self.output),
            "opset": self.opset,
            "golden": {"samples": self.samples, "data": self.data},
            "nodes": {"before": self.original.nodes, "after": self.final.nodes},
            "elementwise": {"before": self.original.elementwise, "after": self.final.elementwise},
            "batch_norms": {"before": self.original.batch_norms, "after": self.final.batch_norms},
            "fold": self.report.to_dict(),
        }


def export(
    source: Path,
    output: Path,
    *,
    opset: int | None = None,
    data: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    objective: Objective = "latency",
    model: str | None = None,
    force: bool = False,
) -> Exported:
    """Fold and optimize what ``source`` holds and write a bundle to ``output``.

    Args:
        source: an ONNX file or a run folder.
        output: the bundle folder.
        opset: operator set to write; None for the source's own.
        data: golden inputs (its test split); by default the run's own, random values for an ONNX file.
        samples: how many golden samples; by default `SAMPLES`, or all where the data has fewer.
        seed: of random values.
        objective: what the fold is for.
        model: the user's word for a run's model.
        force: replace a bundle that is there.

    Raises:
        InputError: no such source or data, an opset that cannot be had, or the folder is in the way.
    """
    require_folder_output(output, marker=MANIFEST, kind="bundle", force=force)
    from bnfold import folding
    from bnfold.export import optimize, write_bundle

    graph, provenance = load_graph(source, model=model)
    original = graph.clone()
    if data is None and source.is_dir():
        data = open_run(source).data_spec
    inputs = sample_inputs(original, data=data, samples=samples, seed=seed, at_most=SAMPLES)
    report = folding.fold(graph, folding.Objective(objective))
    optimize(graph, opset=opset)
    write_bundle(
        output,
        model=graph,
        original=original,
        inputs=inputs,
        fold_report=report.to_dict(),
        provenance=provenance,
        force=force,
    )
    return Exported(
        source=provenance,
        output=output,
        report=report,
        original=folding.count_nodes(original),
        final=folding.count_nodes(graph),
        opset=graph.opset_imports[""],
        samples=max(len(array) for array in inputs.values()),
        data=data,
    )
