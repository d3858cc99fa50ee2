import json
from dataclasses import replace

import numpy as np
import pytest

from bnfold.verify.figures import figures
from bnfold.verify.provider import Provider
from bnfold.verify.report import OutputReport, Rung, RungName, VerificationReport
from bnfold.verify.tolerance import Size, Tolerance
from bnfold.verify.verdict import Finding, Verdict
from tests.verify.recordings import ON_CUDA


def rung(error: float, name: RungName = RungName.RUNTIME) -> Rung:
    """Return a rung whose limit is 9 in both norms."""
    return Rung(name, Size(error, error), Tolerance(Size(1.0, 1.0), Size(1.0, 1.0)))


def output(name: str, *errors: float) -> OutputReport:
    """Return an output with two rungs, of the stored graph and of the runtime."""
    values = figures(np.ones((2, 3)), np.ones((2, 3)))
    return OutputReport(name, values, values, tuple(map(rung, errors, [RungName.STORAGE, RungName.RUNTIME])))


@pytest.fixture
def report() -> VerificationReport:
    """Return a report on two outputs, without findings."""
    return VerificationReport(
        provider=Provider.CUDA,
        outputs=(output("y", 1.0, 2.0), output("z", 3.0, 1.0)),
        findings=(),
        placement=ON_CUDA,
        samples=2,
        batch_sizes=(1, 2),
        files={"candidate": {"path": "b.onnx", "sha256": "0"}},
        environment={"onnx": "1"},
    )


def test_only_a_comparison_without_findings_is_equivalent(report: VerificationReport) -> None:
    """Findings decide; and where no number was compared, their absence does not make a pass."""
    assert (report.verdict, report.exit_code, report.compared_elements) == (Verdict.EQUIVALENT, 0, 12)
    finding = Finding(Verdict.NOT_ATTESTED, "ran elsewhere")
    assert replace(report, findings=(finding,)).exit_code == 3
    assert replace(report, outputs=()).verdict is Verdict.INCONCLUSIVE


def test_the_ladder_shows_the_worst_output_of_each_rung(report: VerificationReport) -> None:
    """One figure a rung, and none hides behind a better one; NaN is the worst of all."""
    assert [(step.name, step.error.rms) for step in report.ladder] == [(RungName.STORAGE, 3.0), (RungName.RUNTIME, 2.0)]
    broken = replace(report, outputs=(*report.outputs, output("nan", 0.0, np.nan), output("w", 0.0, 5.0)))
    assert np.isnan(broken.ladder[-1].error.rms)


def test_a_rung_passes_up_to_its_limit() -> None:
    """k·baseline + floor = 9: at it, beyond it, and not a number."""
    assert rung(9.0).tolerance.limit == Size(9.0, 9.0)
    assert (rung(9.0).passed, rung(9.01).passed, rung(np.nan).passed) == (True, False, False)
    assert rung(18.0).excess == 2.0


def test_json_has_no_numbers_that_are_not_finite(report: VerificationReport) -> None:
    """Infinite SQNR of an error of zero and NaN of a broken output become null."""
    broken = replace(report, outputs=(*report.outputs, output("nan", 0.0, np.nan)))
    document = json.loads(json.dumps(broken.to_dict(), allow_nan=False))
    assert document["outputs"][0]["candidate"]["sqnr_db"] is None
    assert document["ladder"][-1]["error"] == {"rms": None, "largest": None}
    assert document["placement"]["options"]["CUDAExecutionProvider"] == {"use_tf32": "0"}


def test_findings_come_with_their_verdicts(report: VerificationReport) -> None:
    """Machines read the verdict of each finding and what it is about, people its words."""
    finding = Finding(Verdict.NOT_ATTESTED, "bn ran elsewhere", about="attestation")
    document = replace(report, findings=(finding,)).to_dict()
    told = {"verdict": "not-attested", "words": "bn ran elsewhere", "about": "attestation"}
    assert document["findings"] == [{**told, "output": None, "rung": None}]
    assert (document["verdict"], document["exit_code"]) == ("not-attested", 3)
