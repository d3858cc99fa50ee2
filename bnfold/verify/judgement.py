"""From values to findings: every output on every rung of the ladder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from bnfold.verify.figures import figures
from bnfold.verify.oracle import Array
from bnfold.verify.report import OutputReport, Rung, RungName
from bnfold.verify.rounding import UNIT_ROUNDOFF
from bnfold.verify.tolerance import K, Size, Yardstick
from bnfold.verify.vacuity import contrast_findings, noise_findings, value_findings
from bnfold.verify.verdict import Finding, Verdict


@dataclass(frozen=True)
class Values:
    """All evaluations of one output, float64 and of one shape, the samples along the leading axis.

    ``oracle`` and ``baseline`` are of the original, in double and as it runs; ``run`` and ``stored`` of the candidate,
    on its provider and in double; ``algebra`` of the fold carried out in double, where there is one. ``rounding`` is
    how far roundings of the candidate's weights move the output.
    """

    oracle: Array
    baseline: Array
    run: Array
    stored: Array
    rounding: Size
    algebra: Array | None = None

    def misshapen(self) -> Iterator[str]:
        """Yield what is wrong with the shapes, if anything."""
        for name, values in (("run", self.run), ("float64 evaluation", self.stored), ("exact fold", self.algebra)):
            if values is not None and values.shape != self.oracle.shape:
                yield f"the candidate's {name} has shape {values.shape}, the original {self.oracle.shape}"


@dataclass(frozen=True)
class Precisions:
    """The coarsest floating-point types that the two graphs store weights in."""

    original: ir.DataType
    candidate: ir.DataType


def judge(
    name: str, values: Values, samples: int, precisions: Precisions
) -> tuple[OutputReport | None, tuple[Finding, ...]]:
    """Return figures and findings of one output; no figures where shapes differ or the original is hollow."""
    if values.baseline.shape != values.oracle.shape:
        words = f"output {name} of the original has shape {values.baseline.shape} on the runtime, {values.oracle.shape}"
        return None, (Finding(Verdict.INCONCLUSIVE, f"{words} in the float64 oracle"),)
    shapes = tuple(_differs(name, words) for words in values.misshapen())
    if shapes:
        return None, shapes
    hollow = tuple(value_findings(name, values.oracle, values.baseline, values.run))
    if any(finding.verdict is Verdict.INCONCLUSIVE for finding in hollow):
        return None, hollow
    report = _output_report(name, values, _yardstick(values, precisions), precisions)
    return report, (*hollow, *_findings(report, values, samples, precisions))


def _yardstick(values: Values, precisions: Precisions) -> Yardstick:
    baseline, output = Size.of_difference(values.baseline, values.oracle), Size.of(values.oracle)
    u_baseline, u_stored = UNIT_ROUNDOFF[precisions.original], UNIT_ROUNDOFF[precisions.candidate]
    believed = (baseline * (u_stored / u_baseline) + output * u_stored) * K
    return Yardstick(baseline, u_baseline, values.rounding.at_most(believed), u_stored, output)


def _output_report(name: str, values: Values, yardstick: Yardstick, precisions: Precisions) -> OutputReport:
    double, stored = UNIT_ROUNDOFF[ir.DataType.DOUBLE], UNIT_ROUNDOFF[precisions.candidate]
    evaluated = {
        RungName.ALGEBRA: (values.algebra, yardstick.tolerance(arithmetic=double, storage=double)),
        RungName.STORAGE: (values.stored, yardstick.tolerance(arithmetic=double, storage=stored)),
        RungName.RUNTIME: (values.run, yardstick.tolerance(arithmetic=stored, storage=stored)),
    }
    ladder = [
        Rung(rung, Size.of_difference(array, values.oracle), tolerance)
        for rung, (array, tolerance) in evaluated.items()
        if array is not None
    ]
    noise = 2 * ladder[-1].tolerance.limit.largest  # either of two candidates for the best may be off by the limit
    return OutputReport(
        name,
        candidate=figures(values.run, values.oracle, noise=noise),
        baseline=figures(values.baseline, values.oracle, noise=noise),
        ladder=tuple(ladder),
    )


def _findings(report: OutputReport, values: Values, samples: int, precisions: Precisions) -> Iterator[Finding]:
    failed = next((rung for rung in report.ladder if not rung.passed), None)
    if failed is not None:
        yield _differs(report.name, f"{_WHERE[failed.name]}: {_excess(failed)}")
    limit = report.ladder[-1].tolerance.limit
    yield from contrast_findings(report.name, values.oracle, samples, limit)
    roundoff = UNIT_ROUNDOFF[precisions.original]
    yield from noise_findings(report.name, report.baseline.error, Size.of(values.oracle), roundoff)


_WHERE: Mapping[RungName, str] = {
    RungName.ALGEBRA: "the fold itself is wrong, in exact arithmetic",
    RungName.STORAGE: "the candidate's graph or weights are wrong, before any runtime",
    RungName.RUNTIME: "the graph is right, the runtime's result is not",
}
"""What a failure means on the first rung where it shows."""


def _excess(rung: Rung) -> str:
    error, limit = rung.error, rung.tolerance.limit
    rms = f"rms error {error.rms:.2e} (limit {limit.rms:.2e})"
    return f"{rms}, largest {error.largest:.2e} (limit {limit.largest:.2e})"


def _differs(name: str, words: str) -> Finding:
    return Finding(Verdict.NOT_EQUIVALENT, f"output {name}: {words}")
