"""What runs came to, side by side."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import figures, metric

if TYPE_CHECKING:
    from bnfold_cli.work.compare import Comparison, Range


def compared(result: "Comparison") -> Iterator[Table | str]:
    """Yield a row a recipe, and where the pictures are."""
    rows = [
        (
            group.name,
            _spread(group.best, lambda value: metric(result.metric, value)),
            _spread(group.steps_to(result.target), _steps),
            f"{group.reached(result.target)} of {len(group.curves)}",
        )
        for group in result.groups
    ]
    headers = (f"test {result.metric}", "best", f"steps to\n{metric(result.metric, result.target)}", "reached by")
    yield figures(headers, rows, narrow=True)
    if any(len(group.curves) > 1 for group in result.groups):
        yield "Of several runs the median, and the range from the lowest to the highest."
    yield from (f"The curves are in {path}." for path in result.plots)


def _spread(found: "Range", text: Callable[[float], str]) -> str:
    """Return the median, and the range where there is one."""
    if found.low == found.high:
        return text(found.median)
    return f"{text(found.median)} ({text(found.low).removesuffix(' %')} to {text(found.high).removesuffix(' %')})"


def _steps(value: float) -> str:
    """Return a number of steps, – for what was never reached."""
    return f"{value:.0f}" if math.isfinite(value) else "–"
