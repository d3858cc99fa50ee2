"""From values to findings: every output on every rung of the ladder."""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from bnfold.verify.figures import figures
from bnfold.verify.histogram import Histogram
from bnfold.verify.ladder import WHERE, Rung, RungName
from bnfold.verify.oracle import Array
from bnfold.verify.report import OutputReport
from bnfold.verify.rounding import UNIT_ROUNDOFF
from bnfold.verify.tolerance import K, Size, Yardstick
from bnfold.verify.vacuity import contrast_findings, noise_findings, value_findings, variation_over_samples
from bnfold.verify.verdict import Finding, Verdict


@dataclass(frozen=True)
class Values:
    """All evaluations of one output, float64 and of one shape, the samples along the leading axis.

    ``oracle`` and ``baseline`` are of the original, in double and as it runs; ``run`` and ``stored`` of the candidate,
    on its provider and in double; ``algebra`` of the fold carried out in double, where there is one, on the first
    samples or all. ``rounding`` is how far roundings of the candidate's weights move the output. ``cpu`` and ``tf32``
    are of the candidate on the CPU and with TF32 allowed, where measured beside. ``dtype`` is the output's type.
    """

    oracle: Array
    baseline: Array
    run: Array
    stored: Array
    rounding: Size
    algebra: Array | None = None
    cpu: Array | None = None
    tf32: Array | None = None
    dtype: ir.DataType | None = None

    @property
    def oracle_of_algebra(self) -> Array:
        """Return the oracle's values that ``algebra`` is compared with."""
        assert self.algebra is not None
        if self.oracle.ndim == 1 and self.algebra.ndim > 1:  # joined flat, since extents change from batch to batch
            return self.oracle[: self.algebra.size].reshape(self.algebra.shape)
        return self.oracle[: len(self.algebra)]

    def misshapen(self) -> Iterator[str]:
        """Yield what is wrong with the shapes, if anything."""
        oracle = self.oracle
        beside = (("run on the CPU", self.cpu), ("run with TF32", self.tf32))
        for name, values in (("run", self.run), ("float64 evaluation", self.stored), *beside):
            if values is not None and values.shape != oracle.shape:
                yield f"the candidate's {name} has shape {values.shape}, the original {oracle.shape}"
        if self.algebra is not None and self.algebra.shape != self.oracle_of_algebra.shape:
            yield f"the candidate's exact fold has shape {self.algebra.shape}, the original {oracle.shape}"


@dataclass(frozen=True)
class Precisions:
    """The coarsest floating-point types that the two graphs store weights in."""

    original: ir.DataType
    candidate: ir.DataType

    @property
    def narrowed(self) -> bool:
        """Say whether the candidate stores weights in half precision where the original does not."""
        return self.candidate in _HALF and self.original not in _HALF


_HALF = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


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
    report = _output_report(name, values, samples, precisions)
    return report, (*hollow, *_findings(report, values, samples, precisions))


def yardstick(values: Values, precisions: Precisions) -> Yardstick:
    """Return what was measured on one output, the effect of roundings bounded by what the original's own run shows."""
    baseline, output = Size.of_difference(values.baseline, values.oracle), Size.of(values.oracle)
    u_baseline, u_stored = UNIT_ROUNDOFF[precisions.original], UNIT_ROUNDOFF[precisions.candidate]
    believed = (baseline * (u_stored / u_baseline) + output * u_stored) * K
    return Yardstick(baseline, u_baseline, values.rounding.at_most(believed), u_stored, output)


def _output_report(name: str, values: Values, samples: int, precisions: Precisions) -> OutputReport:
    ladder = tuple(_ladder(values, samples, precisions))
    runtime = next(rung for rung in ladder if rung.name is RungName.RUNTIME)
    noise = 2 * runtime.tolerance.limit.largest  # either of two candidates for the best may be off by the limit
    return OutputReport(
        name,
        candidate=figures(values.run, values.oracle, noise=noise, dtype=values.dtype),
        baseline=figures(values.baseline, values.oracle, noise=noise, dtype=values.dtype),
        ladder=ladder,
        variation=variation_over_samples(values.oracle, samples),
        histogram=Histogram.of(values.run, values.baseline, values.oracle),
    )


def _ladder(values: Values, samples: int, precisions: Precisions) -> Iterator[Rung]:
    """Yield the rungs that were evaluated, in order; each allows for the arithmetic and the storage that it adds."""
    measured, oracle = yardstick(values, precisions), values.oracle
    double, stored = UNIT_ROUNDOFF[ir.DataType.DOUBLE], UNIT_ROUNDOFF[precisions.candidate]
    if values.algebra is not None:
        part = values.oracle_of_algebra
        share = round(samples * part.size / max(1, oracle.size))
        tolerance = measured.tolerance(arithmetic=double, storage=double)
        yield Rung(RungName.ALGEBRA, Size.of_difference(values.algebra, part), tolerance, samples=share)
    tolerance = measured.tolerance(arithmetic=double, storage=stored)
    name = RungName.FLOAT16 if precisions.narrowed else RungName.STORAGE
    yield Rung(name, Size.of_difference(values.stored, oracle), tolerance, samples=samples)
    tolerance = measured.tolerance(arithmetic=stored, storage=stored)
    if values.cpu is not None:
        yield Rung(RungName.CPU, Size.of_difference(values.cpu, oracle), tolerance, judged=False, samples=samples)
    yield Rung(RungName.RUNTIME, Size.of_difference(values.run, oracle), tolerance, samples=samples)
    if values.tf32 is not None:
        tolerance = measured.tolerance(arithmetic=max(U_TF32, stored), storage=stored)
        yield Rung(RungName.TF32, Size.of_difference(values.tf32, oracle), tolerance, judged=False, samples=samples)


U_TF32 = 2.0**-11
"""Unit roundoff of operands that keep 10 bits behind the leading one."""


def _findings(report: OutputReport, values: Values, samples: int, precisions: Precisions) -> Iterator[Finding]:
    failed = next((rung for rung in report.ladder if rung.judged and not rung.passed), None)
    if failed is not None:
        words = f"output {report.name}: {WHERE[failed.name]}: {_excess(failed)}"
        yield Finding(Verdict.NOT_EQUIVALENT, words, about="rung", output=report.name, rung=failed.name.value)
    limit = report.runtime.tolerance.limit
    yield from contrast_findings(report.name, values.oracle, samples, limit)
    roundoff = UNIT_ROUNDOFF[precisions.original]
    yield from noise_findings(report.name, report.baseline.error, Size.of(values.oracle), roundoff)


def _excess(rung: Rung) -> str:
    error, limit = rung.error, rung.tolerance.limit
    rms = f"rms error {error.rms:.2e} (limit {limit.rms:.2e})"
    return f"{rms}, largest {error.largest:.2e} (limit {limit.largest:.2e})"


def _differs(name: str, words: str) -> Finding:
    return Finding(Verdict.NOT_EQUIVALENT, f"output {name}: {words}", about="values", output=name)
