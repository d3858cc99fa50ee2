"""``bnfold export``: fold, optimize, and bundle with golden data."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.bundle import MANIFEST
from bnfold.bundle.layout import MODEL
from bnfold.errors import InputError, NoKernelError
from bnfold.progress import Progress, silent
from bnfold_cli import choices
from bnfold_cli.work.files import require_folder_output
from bnfold_cli.work.naming import naming_source
from bnfold_cli.work.ports import Ports, prepare
from bnfold_cli.work.sources import load_graph, open_run

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from bnfold.export import Strategy, Transformed, Tuning
    from bnfold.folding import Counts, Objective
    from bnfold.verify import Provider
    from bnfold.verify.samples import Arrays


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
        tuning: what was measured to decide; None where the cost models decided.
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
    tuning: "Tuning | None" = None

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
            **({} if self.tuning is None else {"tune": self.tuning.to_dict()}),
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
    target: choices.Target = "onnx",
    equalize: bool = False,
    ports: Ports = Ports(),  # noqa: B008  (frozen)
    max_shard_size: int | None = None,
    batch: int | None = None,
    provider: choices.Provider = "cpu",
    model: str | None = None,
    force: bool = False,
    progress: Progress = silent,
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
        target: which runtimes load the model.
        equalize: even out the ranges of weights.
        ports: names, preprocessing and extents of inputs and outputs.
        max_shard_size: bytes of a file of weights beside the model; None for weights in the model, if it can hold them.
        batch: decide by measuring, with as many samples a call; None leaves it to the cost models.
        provider: where the bundle will be served: whose costs decide, or where to measure.
        model: the user's word for a run's model.
        force: replace a bundle that is there.
        progress: told of every graph and round that is measured.

    Raises:
        InputError: no such source or data, an opset that cannot be had, a batch that the graph does not take, a target
            that is of no use to it, or the folder is in the way.
        AttestationError: the provider cannot be loaded here.
    """
    require_folder_output(output, marker=MANIFEST, kind="bundle", force=force)
    from bnfold.export import Precision, Strategy, Target, Transformed, transform, write_bundle
    from bnfold.folding import Objective, count_nodes
    from bnfold.verify import Provider

    graph, provenance = load_graph(source, model=model)
    sampling = prepare(graph, ports)
    provenance = {**provenance, **ports.to_dict()}
    if data is None and source.is_dir() and ports.preprocess is None:
        data = open_run(source).data_spec
    inputs = sampling.draw(data=data, samples=samples, seed=seed)

    def made(strategy: Strategy) -> Transformed:
        return transform(
            graph.clone(),
            strategy=strategy,
            provider=provider,
            opset=opset,
            precision=None if precision is None else Precision(precision),
            inputs=inputs,
            even_ranges=equalize,
            target=Target(target),
        )

    if batch is None:
        transformed, tuning = made(Strategy(Objective(objective))), None
    else:
        transformed, tuning = _tuned(
            made, _one_batch(graph, inputs, batch), Objective(objective), Provider(provider), progress
        )
        provenance["tune"] = {"provider": provider, "batch": batch, "chosen": tuning.chosen.to_dict()}
    with naming_source(source):
        bundle = write_bundle(
            output,
            model=transformed.graph,
            original=graph,
            inputs=inputs,
            fold_report=transformed.to_dict(),
            provenance=provenance,
            force=force,
            max_shard_size=max_shard_size,
            target=transformed.target,
        )
    rare = {"double", "bfloat16"}  # in which few operators have a kernel
    return Exported(
        source=provenance,
        output=output,
        transformed=transformed,
        original=count_nodes(graph),
        final=count_nodes(transformed.graph),
        opset=transformed.graph.opset_imports[""],
        unloadable=_unloadable(output) if precision or bundle.manifest.precision in rare else None,
        samples=max(len(array) for array in inputs.values()),
        data=data,
        tuning=tuning,
    )


def _one_batch(graph: "ir.Model", inputs: "Arrays", size: int) -> "Arrays":
    """Return the first samples, again and again if there are too few."""
    import numpy as np

    from bnfold.verify.signature import Signature

    fixed = Signature.of(graph).fixed_batch
    if fixed not in {None, size}:
        raise InputError(f"--tune {size}: the graph takes batches of {fixed} only; use --tune {fixed}.")
    return {name: np.resize(array, (size, *array.shape[1:])) if array.ndim else array for name, array in inputs.items()}


def _tuned(
    made: "Callable[[Strategy], Transformed]",
    inputs: "Arrays",
    objective: "Objective",
    provider: "Provider",
    progress: Progress,
) -> "tuple[Transformed, Tuning]":
    from bnfold.export import tune

    try:
        return tune(made, inputs, objective=objective, provider=provider, progress=progress)
    except InputError as error:
        raise InputError(f"--tune: {error}") from error


def _unloadable(bundle: Path) -> str | None:
    """Return what ONNX Runtime's CPU provider says about a model that it cannot load: few types have every operator."""
    from bnfold.verify.runtime import open_session

    try:
        with open_session(bundle / MODEL, optimized=True):
            return None
    except NoKernelError as error:
        return f"it has no {error.operator} in this type"
    except InputError as error:
        return str(error)
