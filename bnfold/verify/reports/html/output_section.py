"""The section of the outputs: the figures that people quote, and how the errors are distributed."""

from collections.abc import Iterator

from bnfold.verify.reports import words
from bnfold.verify.reports.document import Document
from bnfold.verify.reports.html.charts import histogram
from bnfold.verify.reports.html.markup import Markup, element, joined
from bnfold.verify.reports.html.parts import entries, figures, key, section, soft

_HEADERS = ("output", "numbers", "original", "candidate", "largest", "cosine", "ULP (RMS)", "SQNR", "same top-1")

_SHOWN = 12
"""Histograms, at most; a detection network has dozens of outputs."""


def output_section(document: Document) -> Markup | None:
    """Return the figures of every output; None where none was compared."""
    outputs = document["outputs"]
    if not outputs:
        return None
    explained = document.get("figures_explained") or {}
    return section(
        "Outputs",
        soft("Errors against float64, relative to the output: of the original's own run, and of the candidate."),
        figures(_HEADERS, map(_row, outputs)),
        *_histograms(outputs),
        element("details", element("summary", "What each figure means"), entries(explained.items()))
        if explained
        else None,
        name="outputs",
    )


def _row(output: Document) -> tuple[object, ...]:
    candidate, baseline = output["candidate"], output["baseline"]
    cosine = candidate["cosine"]
    return (
        output["name"],
        words.count(candidate["elements"]),
        words.figure(baseline["relative_rmse"]),
        words.figure(candidate["relative_rmse"]),
        words.figure(candidate["max_relative"]),
        "not finite" if cosine is None else f"{cosine:.9f}".rstrip("0").rstrip("."),
        words.ratio(candidate["rms_ulp"]) if candidate.get("rms_ulp") is not None else "–",
        words.decibels(candidate),
        words.top1(candidate),
    )


def _histograms(outputs: list[Document]) -> Iterator[Markup]:
    drawn = [(output["name"], histogram(output["histogram"])) for output in outputs if output.get("histogram")]
    plots = [element("div", element("h3", name), plot, class_="plot") for name, plot in drawn if plot is not None]
    if plots:
        yield element("h3", "How the errors are distributed")
        yield soft(
            "Absolute errors of all elements, logarithmic; a second hump is a group of elements that went wrong."
        )
        yield key(
            (element("rect", x=0, y=2, width=16, height=11, class_="bar"), "candidate"),
            (element("path", d="M0 12 V4 H16 V12", class_="outline"), "the original's own run"),
        )
        yield joined(*plots[:_SHOWN])
    if len(plots) > _SHOWN:
        yield soft(f"… and {len(plots) - _SHOWN} more outputs.")
