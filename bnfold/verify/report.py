"""The report of a verification: frozen data, and its form as JSON."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from bnfold.json_text import finite
from bnfold.verify.figures import Figures
from bnfold.verify.placement import Placement
from bnfold.verify.provider import Provider
from bnfold.verify.tolerance import K, Size, Tolerance
from bnfold.verify.verdict import Finding, Verdict, decide

SCHEMA = "bnfold.verification/1"

CRITERION = "error <= k * baseline + floor, for the root mean square and for the largest element, on every rung"


class RungName(StrEnum):
    """The rungs of the ladder, from the original in float64 down to the device."""

    ALGEBRA = "algebra"
    STORAGE = "storage"
    RUNTIME = "runtime"


@dataclass(frozen=True)
class Rung:
    """One step from the original in float64 towards the candidate where it will run, judged by itself.

    ALGEBRA is the fold carried out in double and not rounded, evaluated in double; STORAGE the candidate as it is
    stored, evaluated in double; RUNTIME the candidate on its provider. ``error`` is against the original in float64.
    """

    name: RungName
    error: Size
    tolerance: Tolerance

    @property
    def passed(self) -> bool:
        """Say whether the error is within the limit."""
        return self.error.within(self.tolerance.limit)

    @property
    def excess(self) -> float:
        """Return the error as a multiple of the limit, by the norm that is worse."""
        return self.error / self.tolerance.limit

    def to_dict(self) -> dict[str, Any]:
        """Return the rung for JSON."""
        return {
            "name": self.name.value,
            "passed": self.passed,
            "error_over_limit": self.excess,
            "error": asdict(self.error),
            "limit": asdict(self.tolerance.limit),
            "baseline": asdict(self.tolerance.baseline),
            "floor": asdict(self.tolerance.floor),
        }


@dataclass(frozen=True)
class OutputReport:
    """One output: figures of the candidate and of the original's own float32 run, and the ladder of the former."""

    name: str
    candidate: Figures
    baseline: Figures
    ladder: tuple[Rung, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the output for JSON."""
        return {
            "name": self.name,
            "candidate": self.candidate.to_dict(),
            "baseline": self.baseline.to_dict(),
            "ladder": [rung.to_dict() for rung in self.ladder],
        }


@dataclass(frozen=True)
class VerificationReport:
    """What was compared, where it ran, what was found, and the verdict that follows from the findings.

    ``files`` holds path and SHA-256 by role, ``environment`` the versions that took part.
    """

    provider: Provider
    outputs: tuple[OutputReport, ...]
    findings: tuple[Finding, ...]
    placement: Placement
    samples: int
    batch_sizes: tuple[int, ...]
    files: Mapping[str, Mapping[str, str]]
    environment: Mapping[str, str]

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
        rungs = [rung for output in self.outputs for rung in output.ladder]
        by_name = {name: [rung for rung in rungs if rung.name is name] for name in RungName}
        return tuple(max(same, key=_badness) for same in by_name.values() if same)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able data; numbers that are not finite become null."""
        report = {
            "schema": SCHEMA,
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "findings": [{"verdict": finding.verdict.value, "words": finding.words} for finding in self.findings],
            "provider": self.provider.value,
            "samples": self.samples,
            "batch_sizes": list(self.batch_sizes),
            "compared_elements": self.compared_elements,
            "criterion": {"k": K, "words": CRITERION},
            "ladder": [rung.to_dict() for rung in self.ladder],
            "outputs": [output.to_dict() for output in self.outputs],
            "placement": self.placement.to_dict(),
            "files": {role: dict(file) for role, file in self.files.items()},
            "environment": dict(self.environment),
        }
        return finite(report)


def _badness(rung: Rung) -> float:
    return math.inf if math.isnan(rung.excess) else rung.excess
