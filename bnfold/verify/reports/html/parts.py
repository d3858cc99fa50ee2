"""The pieces that every section of the page is made of."""

from collections.abc import Iterable, Sequence

from bnfold.verify.reports.html.markup import Markup, element


def section(title: str, *children: object, name: str) -> Markup:
    """Return a section under a heading, which ``#name`` leads to."""
    return element("section", element("h2", title), *children, id=name)


def soft(text: str) -> Markup:
    """Return a line of explanation."""
    return element("p", text, class_="soft")


def figures(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table of a name and right-aligned figures; what is too wide scrolls within itself."""
    return element("div", _table(headers, rows, "figures"), class_="table")


def prose(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table of texts, whose cells stand one below the other on a narrow page."""
    return _table(headers, rows, "prose")


def entries(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Return names with what they stand for."""
    return element("dl", *(element(tag, part) for pair in pairs for tag, part in zip(("dt", "dd"), pair, strict=True)))


def chip(text: str, kind: str) -> Markup:
    """Return a word in a frame; its colour, the class ``kind``, says the same as the word."""
    return element("span", text, class_=f"chip {kind}")


def key(*samples: tuple[Markup, str]) -> Markup:
    """Return the key of a picture: how each mark looks, and what it means."""
    items = [
        element("li", element("svg", mark, width=18, height=14, aria_hidden="true"), meaning)
        for mark, meaning in samples
    ]
    return element("ul", *items, class_="key")


def _table(headers: Sequence[str], rows: Iterable[Sequence[object]], kind: str) -> Markup:
    head = element("thead", element("tr", *(element("th", header) for header in headers)))
    # On a narrow page a cell stands alone, and says itself which column it is of.
    cells = (
        [element("td", cell, data_label=header) for header, cell in zip(headers, row, strict=True)] for row in rows
    )
    body = element("tbody", *(element("tr", *row) for row in cells))
    return element("table", head, body, class_=kind)
