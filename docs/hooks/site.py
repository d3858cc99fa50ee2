"""MkDocs' hook: what pages take from the code and from README, when the site is built."""

from collections.abc import Mapping
from typing import Any

from docs.hooks import api, diagrams, estimators, families, listing, operators, options, readme
from docs.hooks.directives import Maker, replaced

MAKERS: Mapping[str, Maker] = {
    "api": api.reference,
    "estimators": estimators.table,
    "operators": operators.table,
    "options": options.tables,
    "readme": readme.section,
    "source": listing.source,
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page with its directives carried out and its diagrams set into it."""
    return diagrams.inlined(replaced(families.folded(markdown), MAKERS))
