"""From the values of an edge case to a finding: each case by itself, against the original on that very input."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bnfold.verify.edge_cases import WORDS, EdgeCaseReport, EdgeOutput
from bnfold.verify.evidence import OnEdge
from bnfold.verify.judgement import Precisions
from bnfold.verify.oracle import Array
from bnfold.verify.rounding import UNIT_ROUNDOFF
from bnfold.verify.samples import Arrays, as_doubles
from bnfold.verify.tolerance import Size, Tolerance
from bnfold.verify.verdict import Finding, Verdict


def edge_output(
    name: str, run: Array, exact: Array, baseline: Array, usual: Size, precisions: Precisions
) -> EdgeOutput | None:
    """Return the error of one output and its tolerance, None where the original is not finite.

    limit = k·(b·u_s/u_b + u_s·y') + u_s·|y|, with b the original's own error on the case and y' the output's ``usual``
    size, on ordinary inputs. Where a case happens to make an output zero, b is zero too, and roundings of biases that
    cancel there are no fault: they are as large as those of ordinary inputs.
    """
    if not (np.isfinite(exact).all() and np.isfinite(baseline).all()):
        return None
    u_stored = UNIT_ROUNDOFF[precisions.candidate]
    own = Size.of_difference(baseline, exact) * (u_stored / UNIT_ROUNDOFF[precisions.original])
    tolerance = Tolerance(own + usual * u_stored, Size.of(exact) * u_stored)
    error = Size.of_difference(run, exact) if run.shape == exact.shape else Size(np.inf, np.inf)
    return EdgeOutput(name, error, tolerance)


def edge_reports(
    names: Sequence[str],
    original: Sequence[OnEdge | None],
    runs: Sequence[Arrays],
    usual: Mapping[str, Size],
    precisions: Precisions,
    failure: str | None,
) -> Iterator[EdgeCaseReport]:
    """Yield the report of every case that the original takes; others say nothing about the candidate.

    Args:
        names: of the cases.
        original: in double, and as it runs, by case.
        runs: what the candidate gave for the cases, up to the first on which it failed.
        usual: size of every output on ordinary inputs.
        precisions: of both graphs.
        failure: why the candidate failed, if it did.
    """
    for index, (name, both) in enumerate(zip(names, original, strict=True)):
        if both is None:
            continue
        if index >= len(runs):
            words = f"the candidate fails where the original runs: {failure}"
            yield EdgeCaseReport(name, words, passed=False, finite=False, error_over_limit=None)
            return
        (exact, own), found = both, as_doubles(runs[index])
        outputs = [
            edge_output(output, found[output], exact[output], own[output], size, precisions)
            for output, size in usual.items()
        ]
        known = tuple(output for output in outputs if output is not None)
        worst = max((output.excess for output in known), default=None)
        passed = worst is None or worst <= 1
        yield EdgeCaseReport(name, WORDS[name], passed, len(known) == len(outputs), worst, known)


def edge_findings(cases: Sequence[EdgeCaseReport]) -> Iterator[Finding]:
    """Yield the cases that the candidate does not pass."""
    for case in cases:
        if not case.passed:
            excess = case.error_over_limit
            yield Finding(Verdict.NOT_EQUIVALENT, edge_words(case.name, case.words, excess), "edge-case")


def edge_words(name: str, words: str, excess: float | None) -> str:
    """Return the words for a case that is not passed."""
    more = "" if excess is None else f": the error is {excess:.2g} times its limit"
    return f"edge case {name} ({words}){more}"
