"""``bnfold export``: fold, optimize, and bundle with golden data."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.bundle import MANIFEST
from bnfold.bundle.layout import MODEL
from bnfold.errors import InputError
from bnfold_cli import choices
from bnfold_cli.work.files import require_folder_output
from bnfold_cli.work.naming import missing_kernel, naming_source
from bnfold_cli.work.ports import Ports, prepare
from bnfold_cli.work.sources import load_graph, open_run

if TYPE_CHECKING:
    from bnfold.export import Transformed
    from bnfold.folding import Counts


@dataclass(frozen=True)
class Exported:
    """A bundle, and how its model came about.

    Attributes:
        source: where the model comes from.
        output: the bundle folder.
        transformed: the graph of the bundle, with the accounts of how it came about.
        original: nodes of the graph before the fold.
        final: nodes of the graph in the bundle, after fold and optimization.
        opset: operator set of the model in the bundle.
        unloadable: why ONNX Runtime's CPU provider cannot load the model of the bundle; None where it can.
        samples: golden samples.
        data: where they come from; None for random values.
    """

    source: dict[str, object]
    output: Path
    transformed: "Transformed"
    original: "Counts"
    final: "Counts"
    opset: int
    unloadable: str | None
    samples: int
    data: str | None

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "source": self.source,
            "bundle": str(self.output),
            "opset": self.opset,
            "unloadable_on_cpu": self.unloadable,
            "golden": {"samples": self.samples, "data": self.data},
            "nodes": {"before": self.original.nodes, "after": self.final.nodes},
            "elementwise": {"before": self.original.elementwise, "after": self.final.elementwise},
            "batch_norms": {"before": self.original.batch_norms, "after": self.final.batch_norms},
            "fold": self.transformed.account.report.to_dict(),
            **self.transformed.reports(),
        }


def export(
    source: Path,
    output: Path,
    *,
    opset: int | None = None,
    data: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    objective: choices.Objective = "latency",
    precision: choices.ExportPrecision | None = None,
    equalize: bool = False,
    ports: Ports = Ports(),  # noqa: B008  (frozen)
    max_shard_size: int | None = None,
    model: str | None = None,
    force: bool = False,
) -> Exported:
    """Fold, merge and optimize what ``source`` holds and write a bundle to ``output``.

    Args:
        source: an ONNX file or a run folder.
        output: the bundle folder.
        opset: operator set to write; None for the source's own.
        data: golden inputs (its test split); by default the run's own, random values for an ONNX file and for what is
            preprocessed.
        samples: how many golden samples; by default 64, or all where the data has fewer.
        seed: of random values.
        objective: what the fold is for.
        precision: name of a `bnfold.export.Precision`; None for the source's own.
        equalize: even out the ranges of weights.
        ports: names, preprocessing and extents of inputs and outputs.
        max_shard_size: bytes of a file of weights beside the model; None for weights in the model, if it can hold them.
        model: the user's word for a run's model.
        force: replace a bundle that is there.

    Raises:
        InputError: no such source or data, an opset that cannot be had, or the folder is in the way.
    """
    require_folder_output(output, marker=MANIFEST, kind="bundle", force=force)
    from bnfold.export import Precision, transform, write_bundle
    from bnfold.folding import Objective, count_nodes

    graph, provenance = load_graph(source, model=model)
    sampling = prepare(graph, ports)
    provenance = {**provenance, **ports.to_dict()}
    original = graph.clone()
    if data is None and source.is_dir() and ports.preprocess is None:
        data = open_run(source).data_spec
    inputs = sampling.draw(data=data, samples=samples, seed=seed)
    transformed = transform(
        graph,
        objective=Objective(objective),
        opset=opset,
        precision=None if precision is None else Precision(precision),
        inputs=inputs,
        even_ranges=equalize,
    )
    graph = transformed.graph
    with naming_source(source, original):
        write_bundle(
            output,
            model=graph,
            original=original,
            inputs=inputs,
            fold_report=transformed.to_dict(),
            provenance=provenance,
            force=force,
            max_shard_size=max_shard_size,
        )
    return Exported(
        source=provenance,
        output=output,
        transformed=transformed,
        original=count_nodes(original),
        final=count_nodes(graph),
        opset=graph.opset_imports[""],
        unloadable=None if precision is None else _unloadable(output),
        samples=max(len(array) for array in inputs.values()),
        data=data,
    )


def _unloadable(bundle: Path) -> str | None:
    """Return what ONNX Runtime's CPU provider says about a model that it cannot load: few types have every operator."""
    from bnfold.verify.runtime import open_session

    try:
        with open_session(bundle / MODEL, optimized=True):
            return None
    except InputError as error:
        return missing_kernel(str(error))
