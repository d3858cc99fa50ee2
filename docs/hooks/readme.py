"""Sections of README, so that nothing is told twice."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def section(title: str) -> str:
    """Return what stands below a heading of the second level; ``top`` is what stands above the first of them.

    Raises:
        KeyError: README has no such section.
    """
    text = README.read_text(encoding="utf-8")
    first, *others = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    sections = dict(zip(others[::2], others[1::2], strict=True))
    body = first.partition("\n")[2] if title == "top" else sections[title]
    return body.strip().replace("](docs/", "](")
