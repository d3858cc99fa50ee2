"""What documents for people show: fenced blocks, and the commands in them."""

import re
from collections.abc import Iterator


def blocks(text: str, language: str) -> list[str]:
    """Return the contents of the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[str]:
    """Yield what a document tells a user to type: the lines of its console blocks that start with a prompt."""
    for block in blocks(text, "console"):
        yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))


def make_targets(makefile: str) -> set[str]:
    """Return the targets of a Makefile that a user may name."""
    return set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
