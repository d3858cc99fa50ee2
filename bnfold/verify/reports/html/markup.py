"""HTML and SVG as values: text is escaped when it becomes part of an element, and nowhere else.

A name from a hostile file can thus be shown, and never be markup: only `element` makes a `Markup`.
"""

from html import escape

from bnfold.verify.reports.words import printable


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


_VOID = frozenset({"br", "col", "hr", "meta"})


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element; children that are no `Markup` are text, None is left out.

    Attributes are escaped too; of their names ``_`` becomes ``-``, and one at the end, as in ``class_``, falls away.
    Those that are None are left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(printable(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*children: object) -> Markup:
    """Return children one after another."""
    return Markup("".join(_markup(child) for child in children if child is not None))


def _markup(child: object) -> str:
    return child if isinstance(child, Markup) else escape(printable(child), quote=False)
