"""``bnfold export``: fold, optimize, and bundle with golden data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnfold.bundle import MANIFEST
from bnfold.bundle.layout import MODEL
from bnfold.errors import InputError
from bnfold_cli.choices import ExportPrecision, Objective
from bnfold_cli.work.files import require_folder_output
from bnfold_cli.work.merged import Account, account
from bnfold_cli.work.naming import missing_kernel, naming_source
from bnfold_cli.work.ports import Ports, prepare
from bnfold_cli.work.sources import load_graph, open_run

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

    from bnfold.export import PrecisionReport
    from bnfold.folding import Counts
    from bnfold.folding.equalize import EqualizeReport


@dataclass(frozen=True)
class Exported:
    """A bundle, and how its model came about.

    Attributes:
        source: where the model comes from.
        output: the bundle folder.
        account: what fold and merge did.
        precisions: the type of every operator, if one was asked for.
        ranges: those of the weights that were evened out, if that was asked for.
        original: nodes of the graph before the fold.
        final: nodes of the graph in the bundle, after fold and optimization.
        opset: operator set of the model in the bundle.
        unloadable: why ONNX Runtime's CPU provider cannot load the model of the bundle; None where it can.
        samples: golden samples.
        data: where they come from; None for random values.
    """

    source: dict[str, object]
    output: Path
    account: Account
    precisions: "PrecisionReport | None"
    ranges: "EqualizeReport | None"
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
            "fold": self.account.report.to_dict(),
            **({} if self.account.merges is None else {"merge": self.account.merges.to_dict()}),
            **({} if self.precisions is None else {"precision": self.precisions.to_dict()}),
            **({} if self.ranges is None else {"equalize": self.ranges.to_dict()}),
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
    precision: ExportPrecision | None = None,
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
    from bnfold import folding
    from bnfold.export import write_bundle

    graph, provenance = load_graph(source, model=model)
    sampling = prepare(graph, ports)
    provenance = {**provenance, **ports.to_dict()}
    original = graph.clone()
    if data is None and source.is_dir() and ports.preprocess is None:
        data = open_run(source).data_spec
    inputs = sampling.draw(data=data, samples=samples, seed=seed)
    transformed = _transformed(graph, inputs, objective=objective, precision=precision, equalized=equalize, opset=opset)
    graph, documents = transformed.graph, transformed.documents()
    with naming_source(source, original):
        write_bundle(
            output,
            model=graph,
            original=original,
            inputs=inputs,
            fold_report=documents,
            provenance=provenance,
            force=force,
            max_shard_size=max_shard_size,
        )
    return Exported(
        source=provenance,
        output=output,
        account=transformed.account,
        precisions=transformed.precisions,
        ranges=transformed.ranges,
        original=folding.count_nodes(original),
        final=folding.count_nodes(graph),
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


@dataclass(frozen=True)
class _Transformed:
    """The graph of a bundle, and the accounts of how it came about."""

    graph: "ir.Model"
    account: Account
    precisions: "PrecisionReport | None"
    ranges: "EqualizeReport | None"

    def documents(self) -> dict[str, object]:
        """Return the fold report with the others in it."""
        others = {"merge": self.account.merges, "precision": self.precisions, "equalize": self.ranges}
        return {
            **self.account.report.to_dict(),
            **{name: each.to_dict() for name, each in others.items() if each is not None},
        }


def _transformed(
    graph: "ir.Model",
    inputs: "Mapping[str, npt.NDArray[Any]]",
    *,
    objective: Objective,
    precision: ExportPrecision | None,
    equalized: bool,
    opset: int | None,
) -> _Transformed:
    """Fold, merge and optimize; where a precision is asked for, in float64 until the weights are rounded to it once."""
    from bnfold import folding, merging
    from bnfold.export import Precision, convert_precision, in_double, optimize
    from bnfold.folding.equalize import equalize

    ports = {
        str(port.name): port.dtype for port in (*graph.graph.inputs, *graph.graph.outputs) if port.dtype is not None
    }
    if precision is not None:
        optimize(graph, opset=opset)  # which types an operator may have depends on the operator set
        graph = in_double(graph)
    report = folding.fold(graph, folding.Objective(objective))
    both = account(report, merging.merge(graph), graph)
    ranges = equalize(graph) if equalized else None
    precisions = None
    if precision is None:
        optimize(graph, opset=opset)
    else:
        precisions = convert_precision(graph, Precision(precision), ports=ports, inputs=inputs)
        optimize(graph)
    return _Transformed(graph, both, precisions, ranges)
