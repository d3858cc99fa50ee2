"""What runs came to, side by side."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import figures

if TYPE_CHECKING:
    from bnfold_cli.work.compare import Comparison, Range


def compared(result: "Comparison") -> Iterator[Table | str]:
    """Yield a row a recipe, and where the pictures are."""
    target = f"{result.target:.4g}"
    rows = [
        (
            group.name,
            _spread(group.best, "{:.4f}"),
            _spread(group.steps_to(result.target), "{:.0f}"),
            f"{group.reached(result.target)} of {len(group.curves)}",
        )
        for group in result.groups
    ]
    yield figures((f"test {result.metric}", "best (range)", f"steps to {target} (range)", "reached by"), rows)
    yield from (f"The curves are in {path}." for path in result.plots)


def _spread(found: "Range", form: str) -> str:
    """Return the median, and the range where there is one; – for what was never reached."""
    if found.low == found.high:
        return _figure(found.median, form)
    return f"{_figure(found.median, form)} ({_figure(found.low, form)} to {_figure(found.high, form)})"


def _figure(value: float, form: str) -> str:
    return form.format(value) if math.isfinite(value) else "–"
