"""Reports as GitHub-flavoured Markdown: the summary of a CI step, or a comment on a change.

Names come from files that anybody may have written: they are shown as they are and never read as markup.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from bnfold.verify.reports import words
from bnfold.verify.reports.document import Document

MARKS = {"equivalent": "✅", "not-equivalent": "❌", "not-attested": "⚠️", "inconclusive": "⚠️"}

SHOWN = 50
"""Rows of a table, at most; a step summary may have one mebibyte, and a person reads less."""

_MARKUP = re.compile(r"([\\`*_{}\[\]#|~])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"}


def markdown(document: Document) -> str:
    """Return the verdict, the ladder, the outputs, what was found, and what took part."""
    return "\n\n".join(_sections(document)) + "\n"


def text(value: object) -> str:
    """Return ``value`` such that Markdown shows it as it is, on one line."""
    line = " ".join(words.printable(value).split())
    return "".join(_ENTITIES.get(character, character) for character in _MARKUP.sub(r"\\\1", line))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, figures: int) -> str:
    """Return a table whose last ``figures`` columns are aligned right; of many rows the first `SHOWN`."""
    rows = list(rows)
    rule = ["---"] * (len(headers) - figures) + ["---:"] * figures
    lines = [f"| {' | '.join(row)} |" for row in (headers, rule, *rows[:SHOWN])]
    more = len(rows) - SHOWN
    return "\n".join(lines) + (f"\n\n… and {more} more rows, in the JSON report." if more > 0 else "")


def _sections(document: Document) -> Iterator[str]:
    mark = MARKS[document["verdict"]]
    yield f"## {mark} bnfold verify: {words.verdict(document)} on {text(document['provider'])}"
    yield f"{text(words.basis(document))}."
    if document["findings"]:
        rows = [(finding["verdict"].replace("-", " "), text(finding["words"])) for finding in document["findings"]]
        yield table(("finding", "what"), rows, figures=0)
    remarks = [f"- **{title}:** {text(sentence)}" for title, sentence in words.remarks(document)]
    if remarks:
        yield "\n".join(remarks)
    if document["ladder"]:
        yield table(
            ("rung", "passed", "error (RMS)", "limit", "error / limit"), map(_rung, document["ladder"]), figures=3
        )
    if document["outputs"]:
        headers = ("output", "original", "candidate", "largest", "SQNR", "same top-1")
        yield f"Error against float64, relative:\n\n{table(headers, map(_output, document['outputs']), figures=5)}"
    yield _details("What took part", _circumstances(document))


def _rung(rung: Document) -> Sequence[str]:
    figures = (words.figure(rung["error"]["rms"]), words.figure(rung["limit"]["rms"]))
    passed = words.passed(rung)
    return (
        text(words.rung(rung["name"])),
        "**no**" if passed == "no" else passed,
        *figures,
        words.ratio(rung["error_over_limit"]),
    )


def _output(output: Document) -> Sequence[str]:
    candidate = output["candidate"]
    errors = (output["baseline"]["relative_rmse"], candidate["relative_rmse"], candidate["max_relative"])
    return (text(output["name"]), *map(words.figure, errors), words.decibels(candidate), words.top1(candidate))


def _circumstances(document: Document) -> str:
    placement = document["placement"]
    executed = [f"{number} kernels on {text(name)}" for name, number in placement["executed"].items()]
    rows = [
        *(
            (text(f"file: {role}"), text(f"{f.get('path', '')} (SHA-256 {f.get('sha256', '')})"))
            for role, f in document["files"].items()
        ),
        ("placement", ", ".join(executed) or "no kernel ran"),
        *((text(name), text(version)) for name, version in document["environment"].items() if version),
        ("criterion", text(f"{words.CRITERION}, k = {document['criterion']['k']:g}")),
    ]
    return table(("", ""), rows, figures=0)


def _details(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
