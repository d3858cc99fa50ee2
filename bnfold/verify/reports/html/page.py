"""The page: verdict on top, then the figures it follows from, then where and with what it was reached."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from string import Template

from bnfold.verify.reports import words
from bnfold.verify.reports.document import Document
from bnfold.verify.reports.html.fold_section import fold_section
from bnfold.verify.reports.html.ladder_section import ladder_section
from bnfold.verify.reports.html.markup import Markup, element, joined
from bnfold.verify.reports.html.origin_section import origin_sections
from bnfold.verify.reports.html.output_section import output_section
from bnfold.verify.reports.html.trial_sections import trial_sections


def html(document: Document) -> str:
    """Return the report as one HTML file that loads nothing and runs nothing.

    What the report does not hold (localization, histograms, the account of the fold, ...) has no section.
    """
    title = element("title", f"{words.verdict(document)}: bnfold verify").removeprefix("<title>")
    return Template(_file("page.html")).substitute(
        title=title.removesuffix("</title>"), style=_file("style.css"), body=joined(*_body(document))
    )


@cache
def _file(name: str) -> str:
    return (files("bnfold.verify.reports.html") / name).read_text(encoding="utf-8").rstrip("\n")


def _body(document: Document) -> Iterator[Markup]:
    yield _header(document)
    yield element("main", *(section for section in _sections(document) if section is not None))
    release = document["environment"].get("bnfold")
    yield element("footer", f"Written by bnfold {release or ''} · {document['schema']}")


def _header(document: Document) -> Markup:
    findings = [element("li", finding["words"]) for finding in document["findings"]]
    remarks = [
        element("p", element("b", f"{title}: "), sentence, class_="remark")
        for title, sentence in words.remarks(document)
    ]
    return element(
        "header",
        element("h1", words.verdict(document).capitalize()),
        element("p", f"On {document['provider']}: {words.basis(document)}."),
        element("ul", *findings, class_="findings") if findings else None,
        *remarks,
        class_=document["verdict"],
        id="verdict",
    )


def _sections(document: Document) -> Iterator[Markup | None]:
    yield ladder_section(document)
    yield output_section(document)
    yield from trial_sections(document)
    yield fold_section(document)
    yield from origin_sections(document)
