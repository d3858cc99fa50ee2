"""The forms that a verification report can be written in, chosen by the suffix of the file's name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from bnfold.errors import InputError
from bnfold.json_text import json_text
from bnfold.verify.reports.document import Document
from bnfold.verify.reports.html import html
from bnfold.verify.reports.junit import junit
from bnfold.verify.reports.markdown import markdown

FORMS: Mapping[str, Callable[[Document], str]] = {
    ".json": json_text,
    ".xml": junit,
    ".md": markdown,
    ".html": html,
}
"""For each suffix: JSON with every figure, JUnit XML, GitHub's Markdown, and one page for people."""


def report_text(document: Document, path: Path) -> str:
    """Return ``document`` in the form that the suffix of ``path`` asks for.

    Raises:
        InputError: there is no such form.
    """
    return FORMS[require_form(path)](document)


def require_form(path: Path) -> str:
    """Return the suffix of ``path`` if a report can be written to such a file.

    Raises:
        InputError: there is no such form.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMS:
        raise InputError(f"{path}: the name of a report ends in one of {', '.join(FORMS)}.")
    return suffix
