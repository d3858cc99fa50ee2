"""The verdict, and the figures that it follows from."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import error, figures, texts

if TYPE_CHECKING:
    from bnfold.verify import VerificationReport
    from bnfold.verify.report import OutputReport


def verified(report: "VerificationReport") -> Iterator[Table | str]:
    """Yield the errors of every output, the ladder, what was found, and the verdict in a sentence."""
    if report.outputs:
        yield outputs(report.outputs)
        yield ladder(report)
        yield from told(report)
    if report.findings:
        yield texts(("finding", "words"), [(str(finding.verdict), finding.words) for finding in report.findings])
    yield verdict(report)


def told(report: "VerificationReport") -> Iterator[str]:
    """Yield a sentence on each: where the error enters, which node is at fault, the self-test, and the edge cases."""
    yield report.diagnosis
    if report.localization is not None:
        yield report.localization.words
    if report.mutation is not None:
        yield report.mutation.words
    if report.edge_cases:
        passed = sum(case.passed for case in report.edge_cases)
        names = ", ".join(case.name for case in report.edge_cases)
        yield f"{passed} of {len(report.edge_cases)} edge cases passed ({names})."


def explained() -> Iterator[Table]:
    """Yield every figure of a report with its line of help."""
    from bnfold.verify.explanations import FIGURES

    yield texts(("figure", "what it is"), list(FIGURES.items()))


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
    from bnfold.verify.reports import words

    rows = [
        (
            words.rung(rung.name.value),
            error(rung.error.rms),
            error(rung.tolerance.limit.rms),
            f"{rung.excess:.2g}",
            ("yes" if rung.passed else "NO") if rung.judged else "beside",
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
