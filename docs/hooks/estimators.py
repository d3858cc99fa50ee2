"""The estimators of population statistics, with what each says of itself."""

import re
from inspect import cleandoc

from bnfold.population import Estimator


def table(column: str) -> str:
    """Return a row for every estimator; ``column`` heads its definition."""
    paragraphs = cleandoc(Estimator.__doc__ or "").split("\n\n")
    rows = [f"| `{estimator.value}` | {_definition(estimator, paragraphs)} |" for estimator in Estimator]
    return "\n".join([f"| estimator | {column} |", "|---|---|", *rows])


def _definition(estimator: Estimator, paragraphs: list[str]) -> str:
    """Return the paragraph that starts with the estimator's name, up to the source it names."""
    start = f"``{estimator.name}``: "
    (paragraph,) = (" ".join(text.split()) for text in paragraphs if text.startswith(start))
    text = re.split(r" Source: | For layers ", paragraph.removeprefix(start))[0]
    return text.replace("``", "`").replace("|", "\\|").replace("`POOLED`", "`pooled`")
