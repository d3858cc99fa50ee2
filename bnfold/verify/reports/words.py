"""What figures and names of a report look like in every form of it that people read."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bnfold.verify.reports.document import Document

RUNGS: Mapping[str, str] = {
    "algebra": "exact fold, in float64",
    "storage": "as stored, in float64",
    "runtime": "on the runtime",
    "float16": "as stored, in half precision",
    "cpu": "on the CPU runtime",
    "tf32": "on the runtime, with TF32",
}
"""What each rung of the ladder evaluates."""

CRITERION = "error ≤ k · baseline + floor"

_TWO_DIGITS, _THOUSAND = 10, 1000

_UNPRINTABLE = re.compile(
    "[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
"""What XML 1.0 has no form for, and what changes how the rest of a line looks: controls and overrides of direction."""


def printable(text: object) -> str:
    """Return ``text`` with each character that no page should carry replaced by U+FFFD; names come from files."""
    return _UNPRINTABLE.sub("\ufffd", str(text))


def rung(name: str) -> str:
    """Return what the rung ``name`` evaluates."""
    return RUNGS.get(name, name)


def judged(rung: Mapping[str, Any]) -> bool:
    """Say whether the verdict depends on a rung; the others are measured beside it."""
    return rung.get("judged", True)


def passed(rung: Mapping[str, Any]) -> str:
    """Return whether a rung is within its limit, in a word."""
    return ("yes" if rung["passed"] else "no") if judged(rung) else "not judged"


def figure(value: float | None) -> str:
    """Return an error, whose power of ten is what matters; JSON has null for what is not finite."""
    return "not finite" if value is None else "0" if value == 0 else f"{value:.1e}"


def ratio(value: float | None) -> str:
    """Return a quotient of two errors, two digits."""
    if value is None:
        return "not finite"
    return (
        f"{value:.0f}" if _TWO_DIGITS <= value < _THOUSAND else f"{value:.2g}" if value < _THOUSAND else f"{value:.0e}"
    )


def share(rung: Mapping[str, Any]) -> str:
    """Return how an error compares with its limit."""
    excess = rung["error_over_limit"]
    if excess is None:
        return "not finite" if rung["error"]["rms"] is None else "beyond a limit of 0"
    return f"{ratio(excess)} of the limit" if excess <= 1 else f"{ratio(excess)} × the limit"


def number_of(things: str, number: int) -> str:
    """Return a number of things, named in the plural (``values``)."""
    return f"{count(number)} {things.removesuffix('s') if number == 1 else things}"


def count(value: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,}".replace(",", "\u202f")


def top1(figures: Mapping[str, Any]) -> str:
    """Return how many clear top-1 decisions agree."""
    agreement = figures["top1"]
    return "–" if agreement is None else f"{agreement['agreeing']} of {agreement['counted']}"


def decibels(figures: Mapping[str, Any]) -> str:
    """Return the signal to quantization noise ratio; an error of zero has none."""
    value = figures["sqnr_db"]
    return f"{value:.0f} dB" if value is not None else "∞" if figures["rmse"] == 0 else "not finite"


def verdict(document: Document) -> str:
    """Return the verdict in words."""
    return str(document["verdict"]).replace("-", " ")


def basis(document: Document) -> str:
    """Return what the verdict rests on."""
    if not document["compared_elements"]:
        return "nothing was compared"
    sizes = ", ".join(map(str, document["batch_sizes"])) or "none"
    numbers, samples = document["compared_elements"], document["samples"]
    return f"{count(numbers)} numbers of {samples} samples, in batches of {sizes}"


def remarks(document: Document) -> Iterator[tuple[str, str]]:
    """Yield what the report says besides figures, each as a title and a sentence; nothing of what it does not hold."""
    if document.get("diagnosis"):
        yield "Ladder", document["diagnosis"]
    localization = document.get("localization")
    if localization:
        yield "Localization", localization["words"]
    mutation = document.get("mutation")
    if mutation:
        yield "Self-test", mutation["words"]
    cases = document.get("edge_cases")
    if cases:
        passed = sum(bool(case["passed"]) for case in cases)
        failed = ", ".join(case["name"] for case in cases if not case["passed"])
        yield "Edge cases", f"{passed} of {len(cases)} passed" + (f"; not {failed}" if failed else "")
    rejudged = document.get("rejudged")
    if rejudged:
        factors = f"k = {rejudged['k']:g}, floors × {rejudged['floor_scale']:g}"
        yield "Judged again", f"{factors}; before: {rejudged['verdict_before'].replace('-', ' ')}"
        for each in rejudged["cannot_rejudge"]:
            yield "Not judged again", each


def versions(document: Document) -> str:
    """Return the versions that took part, in a line."""
    return ", ".join(f"{name} {version}" for name, version in document["environment"].items() if version)
