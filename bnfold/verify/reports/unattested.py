"""The report of a verification that could not start, because its provider cannot be loaded.

The verification itself raises; a CI system that shows reports has to show this too, rather than none.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnfold.errors import AttestationError
from bnfold.files import sha256
from bnfold.verify.environment import environment
from bnfold.verify.placement import Placement
from bnfold.verify.provider import Provider
from bnfold.verify.report import VerificationReport
from bnfold.verify.verdict import Finding, Verdict


def unattested(error: AttestationError, provider: str, files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the document of a report whose one finding is ``error``; ``files`` are paths by role."""
    report = VerificationReport(
        provider=Provider(provider),
        outputs=(),
        findings=(Finding(Verdict.NOT_ATTESTED, str(error), "attestation"),),
        placement=Placement((), {}, (), ()),
        samples=0,
        batch_sizes=(),
        files={role: {"path": str(path), "sha256": sha256(path)} for role, path in files.items()},
        environment=environment({}),
    )
    return report.to_dict()
