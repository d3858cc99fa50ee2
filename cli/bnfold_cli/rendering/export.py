"""What a bundle holds."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.fold import kept, verdict
from bnfold_cli.rendering.tables import figures

if TYPE_CHECKING:
    from bnfold_cli.work.export import Exported


def exported(result: "Exported") -> Iterator[Table | str]:
    """Yield the graph before and in the bundle, what was kept and why, and where the bundle is."""
    before, after = result.original, result.final
    rows = [
        ("BatchNormalization nodes", str(before.batch_norms), str(after.batch_norms)),
        ("element-wise passes", str(before.elementwise), str(after.elementwise)),
        ("nodes", str(before.nodes), str(after.nodes)),
    ]
    yield figures(("", "source", "bundle"), rows)
    if result.report.kept_count:
        yield kept(result.report.batch_norms)
    yield verdict(result.report.batch_norms, "are folded")
    golden = result.data or "random values"
    yield f"Opset {result.opset}; {result.samples} golden samples of {golden}."
    yield f"The bundle is in {result.output}."
