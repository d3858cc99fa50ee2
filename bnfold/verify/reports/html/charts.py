"""Two charts of errors on logarithmic axes: along the depth of the network, and how they are distributed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bnfold.verify.reports import words
from bnfold.verify.reports.html.axis import LogAxis, power
from bnfold.verify.reports.html.markup import Markup, element, joined

_HEIGHT = 200
_HISTOGRAM_HEIGHT = 130
_LETTER = 12
_LAST_DECADE = 300
"""Beyond it powers of ten leave the range of a double; no histogram that bnfold wrote goes there."""

Node = Mapping[str, Any]


def depth(nodes: Sequence[Node], first_fault: str | None) -> Markup | None:
    """Draw for every node the error that it introduces, what has arrived there in all, and the limit of the former.

    All are relative to the value's own size (root mean squares), in order of execution. None where there is no figure.
    """
    series = {name: [_relative(node, name) for node in nodes] for name in ("limit", "total", "introduced")}
    axis = LogAxis.over(value for values in series.values() for value in values)
    if axis is None:
        return None
    lines = element(
        "svg",
        *(_line(values, axis, name) for name, values in series.items()),
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
        width="100%",
        height=_HEIGHT,
        overflow="visible",
    )
    told = f"error along {len(nodes)} values, from {power(axis.first)} to {power(axis.last)} of their size"
    marks = joined(*_faults(nodes, axis, first_fault))
    grid, labels = _levels(axis)
    return element(
        "svg",
        grid,
        lines,
        marks,
        labels,
        class_="depth",
        role="img",
        aria_label=told,
        width="100%",
        height=_HEIGHT + 8,
    )


def _relative(node: Node, part: str) -> float | None:
    error, size = node[part]["rms"], node["size"]["rms"]
    return error / size if error is not None and size else None


def _x(position: int, number: int) -> float:
    return round(100 * (position + 0.5) / number, 3)


def _line(values: Sequence[float | None], axis: LogAxis, name: str) -> Markup:
    """Return a line through the values: over zeros (a Relu introduces no error), broken where there is no figure."""
    drawn, pen = [], "M"
    for position, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        if not value:
            continue
        drawn.append(f"{pen}{_x(position, len(values))} {round(100 - axis.place(value), 3)}")
        pen = "L"
    return element("path", d=" ".join(drawn), class_=name, vector_effect="non-scaling-stroke")


def _levels(axis: LogAxis) -> tuple[Markup, Markup]:
    """Return the lines of the decades, which are drawn first, and their labels, which are drawn last."""
    lines: list[Markup] = []
    labels: list[Markup] = []
    for exponent in axis.ticks():
        y = round(_HEIGHT * (1 - axis.place(10.0**exponent) / 100), 2)
        lines.append(element("line", x1=0, x2="100%", y1=y, y2=y, class_="grid"))
        labels.append(element("text", power(exponent), x=0, y=y + 12 if y < _LETTER else y - 3, class_="tick"))
    return joined(*lines), joined(*labels)


def _faults(nodes: Sequence[Node], axis: LogAxis, first_fault: str | None) -> Iterator[Markup]:
    """Yield a dot for each node that introduces more than its limit, the first with its name."""
    for position, node in enumerate(nodes):
        introduced = _relative(node, "introduced")
        if node["passed"] or introduced is None:
            continue
        x, y = _x(position, len(nodes)), round(_HEIGHT * (1 - axis.place(introduced) / 100), 2)
        told = f"{node['op_type']} {node['name']} introduces {words.figure(introduced)} of the size of its value"
        yield element("circle", element("title", told), cx=f"{x}%", cy=y, r=5, class_="fault")
        if node["name"] == first_fault:
            anchor = "start" if x < 50 else "end"
            label = element(
                "text", _shortened(str(node["name"])), x=f"{x}%", dx=9 if x < 50 else -9, y=y + 4, text_anchor=anchor
            )
            yield element("g", label, class_="fault-name")
            first_fault = None


def _shortened(name: str) -> str:
    return name if len(name) <= 28 else f"…{name[-27:]}"


def histogram(histogram: Mapping[str, Any]) -> Markup | None:
    """Draw how the errors of all elements of an output are distributed, the original's own run as an outline.

    Args:
        histogram: ``edges`` in decades (log₁₀|e|), ``candidate`` and ``baseline`` the counts between them.
    """
    edges, counts = histogram["edges"], {name: histogram[name] for name in ("candidate", "baseline")}
    if any(len(each) != len(edges) - 1 for each in counts.values()) or any(abs(edge) > _LAST_DECADE for edge in edges):
        return None
    highest = max((number for each in counts.values() for number in each), default=0)
    axis = LogAxis.over(10.0**edge for edge in edges)
    if not highest or axis is None:
        return None
    places = [axis.place(10.0**edge) for edge in edges]
    bars = joined(
        *(
            element(
                "rect",
                x=f"{left}%",
                width=f"{right - left:.3f}%",
                y=_bar_top(number, highest),
                class_="bar",
                height=round(_HISTOGRAM_HEIGHT * number / highest, 2),
            )
            for left, right, number in zip(places[:-1], places[1:], counts["candidate"], strict=True)
            if number
        )
    )
    outline = element(
        "svg",
        element(
            "path", d=_steps(places, counts["baseline"], highest), class_="outline", vector_effect="non-scaling-stroke"
        ),
        viewBox=f"0 0 100 {_HISTOGRAM_HEIGHT}",
        preserveAspectRatio="none",
        width="100%",
        height=_HISTOGRAM_HEIGHT,
        overflow="visible",
    )
    told = f"distribution of errors from {power(axis.first)} to {power(axis.last)}"
    height = _HISTOGRAM_HEIGHT + 24
    return element(
        "svg",
        bars,
        outline,
        _decades(axis),
        class_="histogram",
        role="img",
        aria_label=told,
        width="100%",
        height=height,
    )


def _bar_top(number: int, highest: int) -> float:
    return round(_HISTOGRAM_HEIGHT * (1 - number / highest), 2)


def _steps(places: Sequence[float], counts: Sequence[int], highest: int) -> str:
    path = [f"M{places[0]} {_HISTOGRAM_HEIGHT}"]
    for left, right, number in zip(places[:-1], places[1:], counts, strict=True):
        path.append(f"L{left} {_bar_top(number, highest)} L{right} {_bar_top(number, highest)}")
    return " ".join([*path, f"L{places[-1]} {_HISTOGRAM_HEIGHT}"])


def _decades(axis: LogAxis) -> Markup:
    base = element("line", x1=0, x2="100%", y1=_HISTOGRAM_HEIGHT, y2=_HISTOGRAM_HEIGHT, class_="track")
    labels: list[Markup] = []
    for exponent in axis.ticks():
        x = axis.place(10.0**exponent)
        anchor = "start" if x == 0 else "end" if x == 100 else "middle"
        labels.append(
            element("text", power(exponent), x=f"{x}%", y=_HISTOGRAM_HEIGHT + 17, text_anchor=anchor, class_="tick")
        )
    return joined(base, *labels)
