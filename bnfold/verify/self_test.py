"""What the mutation self-test says about the comparison that it was made with.

1. If it caught no wrong candidate, the comparison shows nothing.
2. An output that varies little over the samples (`bnfold.verify.vacuity`) is one in which a fault might not show. The
   self-test can answer that, and answers it only if *every* wrong candidate was caught and `ENOUGH` of them were
   tried: one that was missed is a fault of its size that would have passed. An output that does not vary at all is
   never excused, and where there are several the self-test does not tell in which a fault showed.
"""

from collections.abc import Iterator, Sequence

from bnfold.verify.mutation import Mutation
from bnfold.verify.report import OutputReport
from bnfold.verify.verdict import Finding, Verdict

ENOUGH = 8
"""Wrong candidates that must be tried, and all be caught, for an output that varies little to be compared on.

A comparison that misses three mistakes in ten catches eight of eight with a probability of 0.7⁸ = 6 %. All six kinds of
`bnfold.verify.mutants` are among eight where a graph has them.
"""

REMEDY = (
    "compare on real data (--data; for a bundle, where it is exported) or store the candidate in a tighter precision"
)
"""What to do about an output that varies by too little for its limit."""


def doubt(outputs: int, tried: int, caught: int) -> str | None:
    """Return why the self-test does not speak for an output that varies little; None where it does."""
    if outputs != 1:
        return "with several outputs the self-test does not tell in which of them a fault shows"
    if tried < ENOUGH:
        return f"the self-test tried {tried or 'no'} wrong candidates, at least {ENOUGH} must be tried and caught"
    if caught < tried:
        return f"the self-test missed {tried - caught} of {tried} wrong candidates"
    return None


def doubtful(words: str, reason: str) -> str:
    """Return the words of a finding of little variation with why it stands, and what to do about it."""
    return f"{words}, and {reason}; {REMEDY}"


def none_caught(tried: int) -> str:
    """Return the words for a self-test that caught nothing."""
    return f"the self-test caught none of {tried} wrong candidates: these inputs would show nothing"


def with_self_test(
    findings: Sequence[Finding], mutation: Mutation | None, outputs: Sequence[OutputReport]
) -> Iterator[Finding]:
    """Yield the findings in the light of the self-test, None where there was none; see the rules above."""
    tried, caught = (0, 0) if mutation is None else (len(mutation.trials), mutation.killed)
    reason = doubt(len(outputs), tried, caught)
    little = {output.name for output in outputs if output.variation}
    for finding in findings:
        if finding.about != "contrast" or finding.output not in little:
            yield finding
        elif reason is not None:
            yield Finding(finding.verdict, doubtful(finding.words, reason), finding.about, finding.output)
    if tried and not caught:
        yield Finding(Verdict.INCONCLUSIVE, none_caught(tried), "self-test")
