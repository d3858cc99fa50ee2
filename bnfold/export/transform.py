"""All that makes a graph fit to be served, in the order in which it pays: fold, merge, narrow, optimize, fuse."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from bnfold.export.account import Account, account
from bnfold.export.optimize import optimize
from bnfold.export.precision import Precision, PrecisionReport, convert_precision, in_double
from bnfold.export.target import Target, TargetReport, fuse, require_fusable
from bnfold.folding import Objective, fold
from bnfold.folding.equalize import EqualizeReport, equalize
from bnfold.merging import merge


@dataclass(frozen=True)
class Strategy:
    """How to decide what has a price: by the cost models, as long as nothing else is said.

    Attributes:
        objective: what the fold is for.
        duplicate_weights: whether calls that share a weight may get copies.
        merge: whether linear operators become one where the cost model of `bnfold.merging` says that this is cheaper.
    """

    objective: Objective = Objective.LATENCY
    duplicate_weights: bool = True
    merge: bool = True

    def __str__(self) -> str:
        limits = [] if self.duplicate_weights else ["weights stay shared"]
        limits += [] if self.merge else ["nothing merged"]
        return ", ".join([self.objective, *limits])

    def to_dict(self) -> dict[str, Any]:
        """Return the strategy for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Transformed:
    """The graph that a server loads, and the accounts of how it came about.

    Attributes:
        graph: what was given, edited, or a copy of it in another precision.
        account: what fold and merge did.
        precisions: the type of every operator, if one was asked for.
        ranges: those of the weights that were evened out, if that was asked for.
        target: what ONNX Runtime made of the graph, if that was asked for.
    """

    graph: ir.Model
    account: Account
    precisions: PrecisionReport | None = None
    ranges: EqualizeReport | None = None
    target: TargetReport | None = None

    def reports(self) -> dict[str, Any]:
        """Return the reports beside the fold's, for JSON: those of the steps that were asked for."""
        reports = {
            "merge": self.account.merges,
            "precision": self.precisions,
            "equalize": self.ranges,
            "target": self.target,
        }
        return {name: report.to_dict() for name, report in reports.items() if report is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return the fold report with the others in it, for JSON."""
        return {**self.account.report.to_dict(), **self.reports()}


def transform(
    graph: ir.Model,
    *,
    strategy: Strategy = Strategy(),
    provider: str = "cpu",
    opset: int | None = None,
    precision: Precision | None = None,
    inputs: Mapping[str, npt.NDArray[Any]] | None = None,
    even_ranges: bool = False,
    target: Target = Target.ONNX,
) -> Transformed:
    """Fold, merge and optimize ``graph``, which is edited; where a precision is asked for, in float64 until the end.

    Args:
        graph: a network at inference.
        strategy: how to decide what has a price.
        provider: where the model will run, as `bnfold.fold`: its cost model decides.
        opset: operator set to write; None for the graph's own.
        precision: type of the weights, rounded to it once; None for the graph's own types.
        inputs: by which ``precision`` tells what may be narrowed, each (N, *sample).
        even_ranges: whether the ranges of weights are evened out, for those who quantize next.
        target: whether ONNX Runtime's own operators may be in the graph; see `bnfold.export.target`.

    Raises:
        InputError: the model is not a valid one, its weights are not finite, or it cannot be said in ``opset``; or
            ``target`` is of no use to it.
        MissingDependencyError: ``target`` is `Target.ORT`, and ONNX Runtime is not installed.
    """
    ports = {
        str(port.name): port.dtype for port in (*graph.graph.inputs, *graph.graph.outputs) if port.dtype is not None
    }
    if precision is not None:
        precision = Precision(precision)  # a plain string has the value, but none of the properties
    if Target(target) is Target.ORT:
        require_fusable(graph, dtype=None if precision is None else precision.dtype, provider=provider)
    if precision is not None:
        optimize(graph, opset=opset)  # which types an operator may have depends on the operator set
        graph = in_double(graph)
    report = fold(graph, strategy.objective, provider=provider, duplicate_weights=strategy.duplicate_weights)
    both = account(report, merge(graph), graph) if strategy.merge else Account(report)
    ranges = equalize(graph) if even_ranges else None
    precisions = None
    if precision is not None:
        precisions = convert_precision(graph, precision, ports=ports, inputs=inputs or {})
        opset = None  # converted already
    optimize(graph, opset=opset)
    fused = fuse(graph) if Target(target) is Target.ORT else None
    return Transformed(graph, both, precisions, ranges, fused)
