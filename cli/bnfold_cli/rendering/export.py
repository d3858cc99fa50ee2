"""What a bundle holds."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.fold import kept, merged, verdict
from bnfold_cli.rendering.tables import figures, milliseconds, texts

if TYPE_CHECKING:
    from bnfold.export import PrecisionReport, TargetReport, Tuning
    from bnfold.folding.equalize import EqualizeReport
    from bnfold_cli.work.export import Exported


def exported(result: "Exported") -> Iterator[Table | str]:
    """Yield the graph before and in the bundle, what was kept and why, and where the bundle is."""
    before, after = result.original, result.final
    rows = [
        ("BatchNormalization nodes", str(before.batch_norms), str(after.batch_norms)),
        ("element-wise passes", str(before.elementwise), str(after.elementwise)),
        ("nodes", str(before.nodes), str(after.nodes)),
    ]
    yield figures(("", "source", "bundle"), rows)
    account = result.transformed.account
    if account.report.kept_count:
        yield kept(account.report.batch_norms)
    yield verdict(account.report.batch_norms, "are folded", merged=len(account.merged))
    if account.merges is not None and (account.merges.merges or account.merges.unmerged):
        yield from merged(account.merges, explain=False)
    if result.transformed.ranges is not None:
        yield from equalized(result.transformed.ranges)
    if result.transformed.precisions is not None:
        yield from precisions(result.transformed.precisions)
        yield from limits(result.transformed.precisions, result)
    if result.transformed.target is not None:
        yield fused(result.transformed.target)
    if result.unloadable is not None:
        yield (
            f"Note: ONNX Runtime's CPU provider cannot load this bundle: {result.unloadable}. Verify and run it on a "
            "provider that can, such as --provider cuda, or export with --precision float32, float16 or mixed."
        )
    if result.tuning is not None:
        yield from tuned(result.tuning)
    golden = result.data or "random values"
    yield f"Opset {result.opset}; {result.samples} golden samples of {golden}."
    yield f"The bundle is in {result.output}."


def fused(report: "TargetReport") -> str:
    """Return what ONNX Runtime made of the graph."""
    own = ", ".join(f"{number} {operator}" for operator, number in report.operators.items())
    which = f"with {own}, which only ONNX Runtime knows" if own else "none of them its own"
    return f"ONNX Runtime {report.onnxruntime} has fused {report.before} nodes to {report.after}, {which}."


def tuned(tuning: "Tuning") -> Iterator[Table | str]:
    """Yield the graphs that were measured, and which one the bundle holds."""
    rows = [
        (
            str(trial.strategy),
            str(trial.nodes),
            milliseconds(trial.seconds.median),
            "" if trial.pair is None else f"{trial.pair.ratio.median:.3f}",
            "" if trial.pair is None else _DIFFERENCES[trial.pair.difference.value],
        )
        for trial in tuning.trials
        if trial.seconds is not None
    ]
    if not rows:
        yield "Nothing to tune: all ways to decide give the same graph."
        return
    yield figures(("decided by", "nodes", "a call", "ratio", ""), rows)
    yield f"The bundle holds {tuning.chosen}, by {tuning.rounds} rounds on {tuning.provider}."


_DIFFERENCES = {"faster": "faster", "slower": "slower", "cannot-tell": "cannot tell"}


def equalized(report: "EqualizeReport") -> Iterator[Table | str]:
    """Yield the ranges of the weights that were evened out, the most uneven first."""
    worst = sorted(report.weights, key=lambda weight: -weight.ratio.before)[:_NAMED]
    if worst:
        rows = [(weight.name, f"{weight.ratio.before:.3g}", f"{weight.ratio.after:.3g}") for weight in worst]
        yield figures(("largest over smallest channel", "before", "after"), rows)
    yield f"{report.scaled} channels of {len(report.weights)} weights are scaled by powers of two."


_NAMED = 12
"""Rows of a table; the fold report in the bundle has all."""


def precisions(report: "PrecisionReport") -> Iterator[Table | str]:
    """Yield the operators that are wider than asked for, with the reason, and how many have which type."""
    kept = report.kept
    if kept:
        yield texts(
            ("stays in float32", "operator", "why"), [(x.name, x.operator, str(x.reason)) for x in kept[:_NAMED]]
        )
    if len(kept) > _NAMED:
        yield f"{len(kept) - _NAMED} more are in fold.json of the bundle."
    types = Counter(layer.dtype for layer in report.layers)
    told = ", ".join(f"{number} in {_NUMPY.get(name, name)}" for name, number in sorted(types.items()))
    yield f"Operators: {told}; {report.casts} Casts; ranges of {report.samples} samples."


def limits(report: "PrecisionReport", result: "Exported") -> Iterator[str]:
    """Yield what the operator set keeps from the type that was asked for."""
    lacking = f"opset {result.opset} has no "
    operators = dict.fromkeys(layer.operator for layer in report.kept if (layer.reason or "").startswith(lacking))
    newer = _NEWER.get(report.precision.value)
    if operators and newer is not None and result.opset < newer:
        yield (
            f"Note: opset {result.opset} has no {', '.join(operators)} in {report.precision}; "
            f"with --opset {newer} they are narrowed too."
        )


_NEWER = {"bfloat16": 22}
"""The operator set that brought a type to convolutions, poolings and most activations."""

_NUMPY = {"float": "float32"}
"""ONNX's name of a type, where the usual one is another."""
