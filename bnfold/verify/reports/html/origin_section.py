"""Where the work ran, and what took part."""

from collections.abc import Iterator

from bnfold.verify.reports import words
from bnfold.verify.reports.document import Document
from bnfold.verify.reports.html.markup import Markup, element
from bnfold.verify.reports.html.parts import entries, section, soft

_SHOWN = 20
"""Nodes named that ran elsewhere; the JSON report has all."""


def origin_sections(document: Document) -> Iterator[Markup]:
    """Yield the sections of placement and of circumstances."""
    yield _placement(document["placement"])
    files = [
        (role, element("span", file.get("path", ""), element("br"), element("code", file.get("sha256", "")[:16])))
        for role, file in document["files"].items()
    ]
    inputs = [
        (f"input {name}", f"{given['dtype']} {' × '.join(map(str, given['shape'])) or 'scalar'}")
        for name, given in (document.get("inputs") or {}).items()
    ]
    versions = [(name, version) for name, version in document["environment"].items() if version]
    yield section("What took part", entries([*files, *inputs, *versions]), name="environment")


def _placement(placement: Document) -> Markup:
    kernels = placement.get("kernels") or {}
    executed = [
        (name, words.number_of("kernels", number) + _operators(kernels.get(name, {})))
        for name, number in placement["executed"].items()
    ]
    options = [
        (f"options of {name}", ", ".join(f"{key}={value}" for key, value in given.items()))
        for name, given in placement["options"].items()
        if given
    ]
    elsewhere = placement["elsewhere"]
    strays = [element("li", name) for name in elsewhere[:_SHOWN]]
    more = len(elsewhere) - _SHOWN
    return section(
        "Where it ran",
        entries([*executed, ("assigned nodes", placement["assigned"]), *options]),
        soft(f"Not on {placement['providers'][0]}:") if strays else None,
        element("ul", *strays) if strays else None,
        soft(f"… and {more} more.") if more > 0 else None,
        name="placement",
    )


def _operators(kinds: Document) -> str:
    """Return how many kernels of each operator ran: fusions have operators of their own."""
    told = ", ".join(f"{number} {op_type}" for op_type, number in sorted(kinds.items(), key=lambda kind: -kind[1]))
    return f": {told}" if told else ""
