"""The four verdicts, and what a run must have found to earn the first of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The outcome of a verification, each with the exit code that a command ends with."""

    EQUIVALENT = "equivalent"
    NOT_EQUIVALENT = "not-equivalent"
    NOT_ATTESTED = "not-attested"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """Return 0, 1, 3 or 4; 2 and 5 belong to errors."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Verdict.EQUIVALENT: 0,
    Verdict.NOT_EQUIVALENT: 1,
    Verdict.NOT_ATTESTED: 3,
    Verdict.INCONCLUSIVE: 4,
}

_GRAVEST_FIRST = (Verdict.NOT_EQUIVALENT, Verdict.NOT_ATTESTED, Verdict.INCONCLUSIVE)
"""A difference that was seen stays a difference, wherever it was seen and whatever else was not."""


@dataclass(frozen=True)
class Finding:
    """One thing that speaks against equivalence, in words, with the verdict that it leads to.

    ``about`` tells machines what kind of thing it is: those of a ``rung`` that exceeds its limit and of an output's
    ``contrast`` follow from limits, and are made anew where a report is judged again. ``output``, ``rung`` are names.
    """

    verdict: Verdict
    words: str
    about: str = "other"
    output: str | None = None
    rung: str | None = None

    def __str__(self) -> str:
        return self.words

    def to_dict(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return {**asdict(self), "verdict": self.verdict.value}


def decide(findings: Sequence[Finding]) -> Verdict:
    """Return the gravest verdict among ``findings``, EQUIVALENT if there is none."""
    found = {finding.verdict for finding in findings}
    return next((verdict for verdict in _GRAVEST_FIRST if verdict in found), Verdict.EQUIVALENT)
