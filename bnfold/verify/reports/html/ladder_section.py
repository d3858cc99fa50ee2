"""The section of the ladder: the picture, and its figures below it."""

from bnfold.verify.reports import words
from bnfold.verify.reports.document import Document
from bnfold.verify.reports.html.ladder import ladder
from bnfold.verify.reports.html.markup import Markup, element
from bnfold.verify.reports.html.parts import figures, key, section, soft

_HEADERS = ("", "error (RMS)", "limit", "error (largest)", "limit", "error / limit", "passed")


def ladder_section(document: Document) -> Markup | None:
    """Return every rung at the output that comes closest to its limit; None where nothing was judged."""
    rungs = document["ladder"]
    if not rungs:
        return None
    criterion = document["criterion"]
    scale = criterion.get("floor_scale", 1)
    factors = f"k = {criterion['k']:g}" + (f", floors × {scale:g}" if scale != 1 else "")
    return section(
        "The ladder",
        soft(
            "From the original in float64 to the candidate where it runs: the first rung beyond its limit is where the "
            "error enters. Root mean square error against float64, logarithmic, at the output that is worst."
        ),
        element("div", ladder(rungs), class_="plot"),
        key(
            (element("circle", cx=9, cy=7, r=5, class_="error"), "error"),
            (element("line", x1=9, x2=9, y1=0, y2=14, class_="limit"), "limit"),
            (element("line", x1=9, x2=9, y1=2, y2=12, class_="baseline"), "the original's own error"),
        ),
        figures(_HEADERS, map(_row, rungs)),
        soft(f"{words.CRITERION}, {factors}, for both norms."),
        name="ladder",
    )


def _row(rung: Document) -> tuple[object, ...]:
    sizes = [words.figure(rung[part][norm]) for norm in ("rms", "largest") for part in ("error", "limit")]
    kind = {"yes": "good", "no": "bad"}.get(words.passed(rung), "soft")
    share = "–" if rung["error_over_limit"] is None else words.ratio(rung["error_over_limit"])
    return (words.rung(rung["name"]), *sizes, share, element("span", words.passed(rung), class_=kind))
