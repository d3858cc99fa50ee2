"""A report that was read from a file and judged again."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from bnfold_cli.rendering.tables import figures, texts


def rejudged(document: Mapping[str, Any]) -> Iterator[Table | str]:
    """Yield the ladder by the new limits, what was found, what stays as it was, and the verdict."""
    from bnfold.verify.reports import words

    if document["ladder"]:
        rows = [
            (
                words.rung(rung["name"]),
                words.figure(rung["error"]["rms"]),
                words.figure(rung["limit"]["rms"]),
                words.ratio(rung["error_over_limit"]),
                {"no": "NO"}.get(words.passed(rung), words.passed(rung)),
            )
            for rung in document["ladder"]
        ]
        yield figures(("candidate", "error (RMS)", "limit", "error / limit", "passed"), rows)
    if document["findings"]:
        yield texts(("finding", "words"), [(each["verdict"], each["words"]) for each in document["findings"]])
    again = document["rejudged"]
    if again["cannot_rejudge"]:
        yield texts(("not judged again",), [(each,) for each in again["cannot_rejudge"]])
    before = again["verdict_before"].replace("-", " ")
    factors = f"k = {again['k']:g}, floors × {again['floor_scale']:g}"
    yield f"Verdict on {document['provider']}, judged again with {factors}: {words.verdict(document)} (was {before})."
