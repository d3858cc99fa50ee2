"""What a training came to."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import figures, percent

if TYPE_CHECKING:
    from bnfold.training import Measurement
    from bnfold_cli.work.train import Trained


def measured(measurement: "Measurement") -> str:
    """Return the line that a measurement is told in while the training goes on."""
    return (
        f"epoch {measurement.epoch:<5.3g} step {measurement.step:<6d} loss {measurement.train_loss:.4f} "
        f"test {measurement.test_loss:.4f} {percent(measurement.test_accuracy)} {measurement.seconds:.1f} s"
    )


def trained(result: "Trained") -> Iterator[Table | str]:
    """Yield the final figures and where the run is."""
    final = result.result.final
    rows = [
        ("epochs", f"{final.epoch:.4g}"),
        ("steps", str(final.step)),
        ("training loss", f"{final.train_loss:.4f}"),
        ("test loss", f"{final.test_loss:.4f}"),
        ("test accuracy", percent(final.test_accuracy)),
        ("time", f"{final.seconds:.1f} s"),
    ]
    yield figures((result.model, f"on {result.data}"), rows)
    if result.result.resumed_from is not None:
        yield f"Resumed from step {result.result.resumed_from}."
    yield f"The run is in {result.result.folder}."
