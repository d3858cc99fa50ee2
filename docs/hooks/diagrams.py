"""Diagrams as part of their page, where they take its colours: light or dark, whichever the reader has chosen.

As files of their own (on a page that shows images only) they follow the system, by a style that is left out here.
"""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "diagrams"

_IMAGE = re.compile(r"^!\[(?P<alt>[^\]]+)\]\((?:\.\./)*diagrams/(?P<name>[\w-]+\.svg)\)$", flags=re.MULTILINE)
_STYLE = re.compile(r"<style>.*?</style>", flags=re.DOTALL)


def inlined(markdown: str) -> str:
    """Return the page with each image of an own diagram replaced by the diagram."""
    return _IMAGE.sub(_figure, markdown)


def _figure(match: re.Match[str]) -> str:
    svg = _STYLE.sub("", (FOLDER / match["name"]).read_text(encoding="utf-8"))
    lines = "\n".join(line for line in svg.splitlines() if line.strip())
    return f'<figure class="diagram" role="img" aria-label="{match["alt"]}">\n{lines}\n</figure>'
