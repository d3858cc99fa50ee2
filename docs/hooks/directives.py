"""Lines of a page that stand for what is made from the code: ``<!-- name: argument -->``, alone on their line."""

import re
from collections.abc import Callable, Mapping

Maker = Callable[[str], str]
"""Makes Markdown of a directive's argument."""

_LINE = re.compile(r"^<!-- ([a-z]+): (.+?) -->$", flags=re.MULTILINE)


def replaced(markdown: str, makers: Mapping[str, Maker]) -> str:
    """Return the page with every directive replaced by what its maker makes.

    Raises:
        KeyError: there is no such directive.
    """
    return _LINE.sub(lambda match: makers[match[1]](match[2]), markdown)
