"""The ladder as a picture: for every rung its error on one logarithmic axis, and the limit that it must not pass.

Positions along the axis are percentages and sizes of letters are fixed, so that the picture is as wide as the page and
is read on a phone as well.
"""

from collections.abc import Iterator, Sequence

from bnfold.verify.reports import words
from bnfold.verify.reports.document import Document
from bnfold.verify.reports.html.axis import LogAxis, power
from bnfold.verify.reports.html.markup import Markup, element, joined

_ROW = 54
_BAR = 34
"""Below the top of a row: where its bar is; its words stand above."""


def ladder(rungs: Sequence[Document]) -> Markup | None:
    """Draw the rungs; None where no figure of them is finite and positive."""
    figures = [rung[part]["rms"] for rung in rungs for part in ("error", "limit")]
    axis = LogAxis.over(figures)
    if axis is None:
        return None
    height = _ROW * len(rungs)
    rows = joined(*(_row(rung, index * _ROW, axis) for index, rung in enumerate(rungs)))
    told = "; ".join(f"{words.rung(rung['name'])}: {words.share(rung)}" for rung in rungs)
    return element(
        "svg", _grid(axis, height), rows, class_="ladder", role="img", aria_label=told, width="100%", height=height + 24
    )


def _grid(axis: LogAxis, height: int) -> Markup:
    lines: list[Markup] = []
    for exponent in axis.ticks():
        x = axis.place(10.0**exponent)
        anchor = "start" if x == 0 else "end" if x > 95 else "middle"
        lines.append(element("line", x1=f"{x}%", x2=f"{x}%", y1=0, y2=height, class_="grid"))
        lines.append(element("text", power(exponent), x=f"{x}%", y=height + 17, text_anchor=anchor, class_="tick"))
    return joined(*lines)


def _row(rung: Document, top: int, axis: LogAxis) -> Markup:
    middle = top + _BAR
    return element(
        "g",
        element("text", words.rung(rung["name"]), x=0, y=top + 16, class_="label"),
        element("text", words.share(rung), x="100%", y=top + 16, text_anchor="end", class_="state"),
        element("line", x1=0, x2="100%", y1=middle, y2=middle, class_="track"),
        *_allowed(rung, middle, axis),
        *_marks(rung, middle, axis),
        class_=_kind(rung),
    )


def _allowed(rung: Document, middle: int, axis: LogAxis) -> Iterator[Markup]:
    """Yield the stretch up to the limit, and the limit itself."""
    limit = rung["limit"]["rms"]
    if limit is not None:
        x = axis.place(limit)
        yield element("rect", x=0, y=middle - 5, width=f"{x}%", height=10, class_="allowed")
        yield element("line", x1=f"{x}%", x2=f"{x}%", y1=middle - 10, y2=middle + 10, class_="limit")


def _marks(rung: Document, middle: int, axis: LogAxis) -> Iterator[Markup]:
    """Yield the error, a dot within the limit and a cross beyond it, and the baseline's as a tick where it is in view.

    Of a rung in double the baseline is that of double arithmetic, far to the left of all that matters.
    """
    baseline, error = rung["baseline"]["rms"], rung["error"]["rms"]
    x = axis.place(baseline) if baseline else -1
    if x >= 0:
        yield element("line", x1=f"{x}%", x2=f"{x}%", y1=middle - 5, y2=middle + 5, class_="baseline")
    if error is None:
        return
    told = element("title", f"error {words.figure(error)}, limit {words.figure(rung['limit']['rms'])}")
    x = f"{axis.place(error)}%"
    if rung["passed"]:
        yield element("circle", told, cx=x, cy=middle, r=6, class_="error")
    else:
        cross = element("path", told, d="M-6 -6 L6 6 M-6 6 L6 -6", class_="error", transform=f"translate(0 {middle})")
        yield element("svg", cross, x=x, overflow="visible")


def _kind(rung: Document) -> str:
    return "beside" if not words.judged(rung) else "passed" if rung["passed"] else "failed"
