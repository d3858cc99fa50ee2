"""What changed between two reports, and what got worse."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import figures, texts

if TYPE_CHECKING:
    from bnfold.verify.reports import Difference


def compared(found: "Difference") -> Iterator[Table | str]:
    """Yield the errors side by side, what changed, what got worse, and the outcome in a sentence."""
    if found.rungs:
        yield rungs(found)
    changes = [*found.versions, *found.placement]
    if changes:
        rows = [(change.what, change.old or "-", change.new or "-") for change in changes]
        yield texts(("changed", "old", "new"), rows)
    if found.caveats:
        yield texts(("not quite comparable",), [(each,) for each in found.caveats])
    if found.worse:
        yield texts(("worse",), [(each,) for each in found.worse])
    old, new = (verdict.replace("-", " ") for verdict in found.verdict)
    outcome = "Worse" if found.worse else "Not worse"
    yield f"{outcome} beyond noise (a factor of {found.noise:.3g}); the verdict was {old} and is {new}."


def rungs(found: "Difference") -> Table:
    """Return the error of every rung in both reports."""
    from bnfold.verify.reports import words

    rows = [
        (
            f"{rung.output}: {words.rung(rung.rung)}",
            words.figure(rung.old["rms"]),
            words.figure(rung.new["rms"]),
            words.ratio(rung.growth),
            "WORSE" if rung.worse else "no" if rung.judged else "not judged",
        )
        for rung in found.rungs
    ]
    return figures(("error (RMS)", "old", "new", "growth", "worse"), rows)
