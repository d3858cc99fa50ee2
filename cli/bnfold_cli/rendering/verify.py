"""The verdict, and the figures that it follows from."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import error, figures, texts

if TYPE_CHECKING:
    from bnfold.verify import VerificationReport
    from bnfold.verify.report import OutputReport

_RUNGS = {
    "algebra": "exact fold, in float64",
    "storage": "as stored, in float64",
    "runtime": "on the runtime",
}


def verified(report: "VerificationReport") -> Iterator[Table | str]:
    """Yield the errors of every output, the ladder, what was found, and the verdict in a sentence."""
    if report.outputs:
        yield outputs(report.outputs)
        yield ladder(report)
    if report.findings:
        yield texts(("finding", "words"), [(str(finding.verdict), finding.words) for finding in report.findings])
    yield verdict(report)


def outputs(reports: "tuple[OutputReport, ...]") -> Table:
    """Return the error of the original's own run and of the candidate's, both against float64."""
    rows = [
        (
            output.name,
            error(output.baseline.relative_rmse),
            error(output.candidate.relative_rmse),
            error(output.candidate.max_absolute),
            _top1(output),
        )
        for output in reports
    ]
    headers = ("error against float64", "original", "candidate", "largest", "same top-1")
    return figures(headers, rows)


def ladder(report: "VerificationReport") -> Table:
    """Return each rung at the output where it is closest to its limit."""
    rows = [
        (
            _RUNGS.get(rung.name.value, rung.name.value),
            error(rung.error.rms),
            error(rung.tolerance.limit.rms),
            f"{rung.excess:.2g}",
            "yes" if rung.passed else "NO",
        )
        for rung in report.ladder
    ]
    return figures(("candidate", "error (RMS)", "limit", "error / limit", "passed"), rows)


def verdict(report: "VerificationReport") -> str:
    """Return the verdict with what it rests on."""
    sizes = ", ".join(map(str, report.batch_sizes)) or "none"
    basis = f"{report.compared_elements} numbers of {report.samples} samples in batches of {sizes}"
    return f"Verdict on {report.provider}: {report.verdict.replace('-', ' ')} ({basis})."


def _top1(output: "OutputReport") -> str:
    top1 = output.candidate.top1
    return "-" if top1 is None else f"{top1.agreeing}/{top1.counted}"
