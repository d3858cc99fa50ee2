"""The report of a verification: frozen data, and its form as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bnfold.json_text import finite
from bnfold.verify.edge_cases import EdgeCaseReport
from bnfold.verify.emulation import Arithmetic
from bnfold.verify.explanations import FIGURES
from bnfold.verify.figures import Figures
from bnfold.verify.histogram import Histogram
from bnfold.verify.ladder import Rung, RungName, where_the_error_enters, worst
from bnfold.verify.localization import Localization
from bnfold.verify.mutation import Mutation
from bnfold.verify.placement import Placement
from bnfold.verify.provider import Provider
from bnfold.verify.stability import Stability
from bnfold.verify.tolerance import K
from bnfold.verify.verdict import Finding, Verdict, decide

SCHEMA = "bnfold.verification/1"

CRITERION = "error <= k * baseline + floor, for the root mean square and for the largest element, on every rung"


@dataclass(frozen=True)
class OutputReport:
    """One output: figures of the candidate and of the original's own float32 run, and the ladder of the former.

    ``variation`` is the root mean square deviation from the mean over the samples; ``histogram`` how errors distribute.
    """

    name: str
    candidate: Figures
    baseline: Figures
    ladder: tuple[Rung, ...]
    variation: float | None = None
    histogram: Histogram | None = None

    @property
    def runtime(self) -> Rung:
        """Return the rung that the verdict rests on: the candidate on its provider."""
        return next(rung for rung in self.ladder if rung.name is RungName.RUNTIME)

    def to_dict(self) -> dict[str, Any]:
        """Return the output for JSON."""
        return {
            "name": self.name,
            "candidate": self.candidate.to_dict(),
            "baseline": self.baseline.to_dict(),
            "ladder": [rung.to_dict() for rung in self.ladder],
            "variation": self.variation,
            "histogram": None if self.histogram is None else asdict(self.histogram),
        }


@dataclass(frozen=True)
class VerificationReport:
    """What was compared, where it ran, what was found, and the verdict that follows from the findings.

    ``files`` holds path and SHA-256 by role, ``environment`` the versions that took part, None for those of a device
    that did not, ``inputs`` by name what was fed. ``localization``, ``mutation`` and ``stability`` are None where they
    were not done. ``fingerprint`` is the coarser arithmetic that a failing run's errors are those of, if one is found.
    """

    provider: Provider
    outputs: tuple[OutputReport, ...]
    findings: tuple[Finding, ...]
    placement: Placement
    samples: int
    batch_sizes: tuple[int, ...]
    files: Mapping[str, Mapping[str, str]]
    environment: Mapping[str, str | None]
    inputs: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    localization: Localization | None = None
    mutation: Mutation | None = None
    stability: tuple[Stability, ...] | None = None
    edge_cases: tuple[EdgeCaseReport, ...] = ()
    fingerprint: Arithmetic | None = None

    @property
    def verdict(self) -> Verdict:
        """Return the gravest verdict among the findings; EQUIVALENT only if there is none and numbers were compared."""
        return decide(self.findings) if self.findings or self.compared_elements else Verdict.INCONCLUSIVE

    @property
    def exit_code(self) -> int:
        """Return the exit code that belongs to the verdict."""
        return self.verdict.exit_code

    @property
    def compared_elements(self) -> int:
        """Return how many numbers of the candidate were compared with the oracle's."""
        return sum(output.candidate.elements for output in self.outputs)

    @property
    def ladder(self) -> tuple[Rung, ...]:
        """Return every rung at the output that comes closest to its limit, or exceeds it the most."""
        return worst([rung for output in self.outputs for rung in output.ladder])

    @property
    def diagnosis(self) -> str:
        """Return the sentence that names the rung where the error enters."""
        return where_the_error_enters(self.ladder, self.fingerprint)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able data; numbers that are not finite become null."""
        report = {
            "schema": SCHEMA,
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "findings": [finding.to_dict() for finding in self.findings],
            "provider": self.provider.value,
            "samples": self.samples,
            "batch_sizes": list(self.batch_sizes),
            "compared_elements": self.compared_elements,
            "criterion": {"k": K, "words": CRITERION},
            "diagnosis": self.diagnosis,
            "ladder": [rung.to_dict() for rung in self.ladder],
            "outputs": [output.to_dict() for output in self.outputs],
            "placement": self.placement.to_dict(),
            "files": {role: dict(file) for role, file in self.files.items()},
            "environment": dict(self.environment),
            "inputs": {name: dict(what) for name, what in self.inputs.items()},
            "localization": None if self.localization is None else self.localization.to_dict(),
            "mutation": None if self.mutation is None else self.mutation.to_dict(),
            "stability": None if self.stability is None else [asdict(each) for each in self.stability],
            "edge_cases": [case.to_dict() for case in self.edge_cases],
            "figures_explained": dict(FIGURES),
        }
        return finite(report)
