"""What a training came to."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import figures, metric

if TYPE_CHECKING:
    from bnfold.training import Measurement
    from bnfold_cli.work.train import Trained


def measured(measurement: "Measurement") -> str:
    """Return the line that a measurement is told in while the training goes on."""
    speed = measurement.samples_per_second
    loss = "" if measurement.train_loss is None else f" loss {measurement.train_loss:.4f}"
    rate = "" if speed is None else f" {speed:.0f} samples/s"
    return (
        f"epoch {measurement.epoch:<5.3g} step {measurement.step:<6d}{loss} "
        f"test {measurement.test_loss:.4f}{_metrics(measurement)}{rate} {measurement.seconds:.1f} s"
    )


def trained(result: "Trained") -> Iterator[Table | str]:
    """Yield the final figures and where the run is."""
    outcome = result.result
    final = outcome.final
    rows = [
        ("epochs", f"{final.epoch:.4g}"),
        ("steps", str(final.step)),
        *(() if final.train_loss is None else [("training loss", f"{final.train_loss:.4f}")]),
        ("test loss", f"{final.test_loss:.4f}"),
        *((f"test {name}", metric(name, value)) for name, value in final.metrics.items()),
        *((f"… {name} with population statistics", metric(name, value)) for name, value in _population(final)),
        ("time", f"{final.seconds:.1f} s"),
    ]
    yield figures((result.model, f"on {result.data}"), rows)
    if outcome.resumed_from is not None:
        yield f"Resumed from step {outcome.resumed_from}."
    if outcome.stopped_early:
        yield f"Stopped early: nothing better since step {outcome.history[outcome.best].step}."
    if result.settings.keep == "best":
        yield f"The weights are those of step {outcome.history[outcome.best].step}, the best."
    yield f"The run is in {outcome.folder}."


def _metrics(measurement: "Measurement") -> str:
    """Return the metrics of a line; what is measured with population statistics stands in brackets."""
    plain = "".join(
        f" {metric(name, value) if name == 'accuracy' else f'{name} {metric(name, value)}'}"
        for name, value in measurement.metrics.items()
    )
    renewed = " ".join(metric(name, value) for name, value in _population(measurement))
    return f"{plain} (population {renewed})" if renewed else plain


def _population(measurement: "Measurement") -> list[tuple[str, float]]:
    return list((measurement.population or {}).items())
