"""Judges a report again from its figures, without running anything: other k, other floors.

    limit = k · baseline + floor_scale · floor

for every rung of every output, and for every edge case. Four kinds of finding follow from limits and are made anew: a
rung or an edge case that exceeds its limit, an output that varies too little over the samples for its limit to tell
anything, and a self-test that caught nothing. All others stand as they are: no factor makes a run on the wrong
provider, a NaN or a constant output acceptable. What rests on limits and cannot be redone from figures is said, in
``rejudged.cannot_rejudge``.

A planted fault whose error was e times its limit is still caught for certain if e > g, where no limit grew by more than
the factor g; which output and norm e is of is not known, so that is all that counts.

The floor itself has a term in k (``bnfold.verify.tolerance``), measured once; ``k`` here scales the baseline alone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bnfold.errors import InputError
from bnfold.verify.edge_judgement import edge_words
from bnfold.verify.report import RungName
from bnfold.verify.reports import words
from bnfold.verify.reports.document import Document
from bnfold.verify.self_test import doubt, doubtful, none_caught
from bnfold.verify.vacuity import DISCERNIBLE
from bnfold.verify.verdict import Finding, Verdict, decide

NORMS = ("rms", "largest")

_REMADE = frozenset({"rung", "contrast", "self-test"})
"""Subjects (``findings[].about``) of the findings that follow from limits."""


@dataclass(frozen=True)
class Criterion:
    """The two factors that a report is judged by."""

    k: float
    floor_scale: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("--k", self.k), ("--floor-scale", self.floor_scale)):
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} {value}: expected a finite number, 0 or above.")

    def limit(self, rung: Document) -> dict[str, float | None]:
        """Return the limit of a rung in both norms; None where a part of it is not finite."""
        return {norm: self._limit(rung["baseline"][norm], rung["floor"][norm]) for norm in NORMS}

    def _limit(self, baseline: float | None, floor: float | None) -> float | None:
        return None if baseline is None or floor is None else self.k * baseline + self.floor_scale * floor


def rejudge(document: Document, *, k: float | None = None, floor_scale: float | None = None) -> dict[str, Any]:
    """Return the report as it would be with another ``k`` (default: its own) and its floors times ``floor_scale``.

    Without either, the report is judged by its own criterion, which tells whether it agrees with its figures.

    Raises:
        InputError: a factor is negative or not finite.
    """
    before = document["criterion"]
    criterion = Criterion(
        before["k"] if k is None else k, before.get("floor_scale", 1.0) if floor_scale is None else floor_scale
    )
    outputs = [
        {**output, "ladder": [_judged(rung, criterion) for rung in output["ladder"]]} for output in document["outputs"]
    ]
    mutation = _self_test(document.get("mutation"), _growth(document["outputs"], outputs))
    cases = [_edge_case(case, criterion) for case in document.get("edge_cases", ())]
    remade = _REMADE | ({"edge-case"} if _has_edge_figures(document) else set())
    standing = [finding for finding in document["findings"] if finding.get("about") not in remade]
    findings = [*standing, *_findings(outputs, mutation), *(_edge_findings(cases) if "edge-case" in remade else ())]
    verdict = _verdict(findings, document)
    return {
        **document,
        "verdict": verdict.value,
        "exit_code": verdict.exit_code,
        "findings": findings,
        "criterion": {**before, "k": criterion.k, "floor_scale": criterion.floor_scale},
        "ladder": [_worst(rung["name"], outputs) for rung in document["ladder"]],
        "outputs": outputs,
        **({"mutation": mutation} if "mutation" in document else {}),
        **({"edge_cases": cases} if "edge_cases" in document else {}),
        "rejudged": {
            "k": criterion.k,
            "floor_scale": criterion.floor_scale,
            "verdict_before": document["verdict"],
            "cannot_rejudge": list(_untouched(document)),
        },
    }


def _judged(rung: Document, criterion: Criterion) -> dict[str, Any]:
    limit = criterion.limit(rung)
    pairs = [(rung["error"][norm], limit[norm]) for norm in NORMS]
    passed = all(error is not None and bound is not None and error <= bound for error, bound in pairs)
    return {**rung, "limit": limit, "passed": passed, "error_over_limit": _excess(pairs)}


def _excess(pairs: list[tuple[float | None, float | None]]) -> float | None:
    """Return the larger quotient; 0/0 is 0, and what is not finite has none."""
    quotients: list[float] = []
    for error, limit in pairs:
        if error is None or limit is None or (error and not limit):
            return None
        quotients.append(error / limit if error else 0.0)
    return max(quotients)


def _has_edge_figures(document: Document) -> bool:
    """Say whether a report holds the figures of its edge cases, which those of older versions do not."""
    return all("outputs" in case for case in document.get("edge_cases", ()))


def _edge_case(case: Document, criterion: Criterion) -> dict[str, Any]:
    """Return an edge case by its own figures; one that failed to run, or has none, stays as it is."""
    if not case.get("outputs"):
        return dict(case)
    judged = [_judged(output, criterion) for output in case["outputs"]]
    excesses = [output["error_over_limit"] for output in judged]
    worst = None if None in excesses else max(excesses)
    return {**case, "passed": all(output["passed"] for output in judged), "error_over_limit": worst}


def _edge_findings(cases: Sequence[Document]) -> Iterator[dict[str, Any]]:
    for case in cases:
        if not case["passed"]:
            told = edge_words(case["name"], case["words"], case["error_over_limit"])
            yield _finding(Verdict.NOT_EQUIVALENT, told, "edge-case", None, None)


def _worst(name: str, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    rungs = [rung for output in outputs for rung in output["ladder"] if rung["name"] == name]
    return max(rungs, key=lambda rung: math.inf if rung["error_over_limit"] is None else rung["error_over_limit"])


def _growth(before: Sequence[Document], after: Sequence[Document]) -> float:
    """Return the largest factor by which a limit grew; infinite where there was none, 1 without outputs."""
    factors = [
        new["limit"][norm] / old["limit"][norm] if old["limit"][norm] and new["limit"][norm] is not None else math.inf
        for ours, theirs in zip(before, after, strict=True)
        for old, new in zip(ours["ladder"], theirs["ladder"], strict=True)
        for norm in NORMS
        if words.judged(new)
    ]
    return max(factors, default=1.0)


def _self_test(mutation: Document | None, growth: float) -> dict[str, Any] | None:
    """Return the self-test by limits that grew by no more than ``growth``: what is caught for certain."""
    if mutation is None:
        return None
    mutants = [{**mutant, **_caught(mutant, growth)} for mutant in mutation["mutants"]]
    killed = sum(mutant["killed"] for mutant in mutants)
    told = f"{killed} of {len(mutants)} wrong candidates are caught for certain by these limits."
    return {
        **mutation,
        "killed": killed,
        "kill_rate": killed / len(mutants) if mutants else None,
        "words": told if growth > 1 else mutation["words"],
        "mutants": mutants,
    }


def _caught(mutant: Document, growth: float) -> dict[str, Any]:
    """A mutant without an error failed to run, or gave another shape: that is seen by any limit."""
    excess = mutant["error_over_limit"]
    if excess is None or growth <= 1:
        return {}
    return {"error_over_limit": excess / growth, "killed": mutant["killed"] and excess > growth}


def _findings(outputs: Sequence[Document], mutation: Document | None) -> Iterator[dict[str, Any]]:
    """Yield what follows from limits, in the words and by the rules of ``bnfold.verify.self_test``."""
    tried, caught = (0, 0) if mutation is None else (mutation["total"], mutation["killed"])
    reason = doubt(len(outputs), tried, caught)
    for output in outputs:
        yield from _output_findings(output, reason)
    if tried and not caught:
        yield _finding(Verdict.INCONCLUSIVE, none_caught(tried), "self-test", None, None)


def _output_findings(output: Document, reason: str | None) -> Iterator[dict[str, Any]]:
    rungs = [rung for rung in output["ladder"] if words.judged(rung)]
    failed = next((rung for rung in rungs if not rung["passed"]), None)
    if failed is not None:
        told = ", ".join(
            f"{norm} error {words.figure(failed['error'][norm])} (limit {words.figure(failed['limit'][norm])})"
            for norm in NORMS
        )
        sentence = f"output {output['name']}: {words.rung(failed['name'])}: {told}"
        yield _finding(Verdict.NOT_EQUIVALENT, sentence, "rung", output["name"], failed["name"])
    limit = next((rung["limit"]["rms"] for rung in rungs if rung["name"] == RungName.RUNTIME), None)
    variation = output.get("variation")
    sentence = _contrast(variation, limit)
    if sentence and not (variation and reason is None):
        told = f"output {output['name']} {sentence}: it would not show a difference"
        told = doubtful(told, reason) if variation and reason is not None else told
        yield _finding(Verdict.INCONCLUSIVE, told, "contrast", output["name"], None)


def _contrast(variation: float | None, limit: float | None) -> str | None:
    """Say what is wrong with an output that varies over the samples by too little, as `bnfold.verify.vacuity` does."""
    if variation is None or limit is None:
        return None
    if not variation:
        return "is the same for every sample"
    if variation < DISCERNIBLE * limit:
        return f"varies over the samples by {variation:.1e}, less than {DISCERNIBLE:.0f} times its limit {limit:.1e}"
    return None


def _finding(verdict: Verdict, sentence: str, about: str, output: str | None, rung: str | None) -> dict[str, Any]:
    return {"verdict": verdict.value, "words": sentence, "about": about, "output": output, "rung": rung}


def _verdict(findings: Sequence[Mapping[str, Any]], document: Document) -> Verdict:
    if not findings and not document["compared_elements"]:
        return Verdict.INCONCLUSIVE
    return decide([Finding(Verdict(finding["verdict"]), finding["words"]) for finding in findings])


def _untouched(document: Document) -> Iterator[str]:
    """Yield what rests on the limits of the first judgement and stays as it was."""
    if any("about" not in finding for finding in document["findings"]):
        yield "findings that do not say what they are about: the report is of an older bnfold, verify again"
    if any("variation" not in output for output in document["outputs"]):
        yield "whether the outputs vary enough over the samples: the report does not hold by how much they do"
    if any(output["candidate"]["top1"] for output in document["outputs"]):
        yield "which top-1 decisions are clear: that took the values"
    if document.get("localization"):
        yield "the localization: its limits are those of single nodes"
    if not _has_edge_figures(document):
        yield "the edge cases: the report does not hold their figures"
    if document.get("stability"):
        yield "the stability of the outputs"
