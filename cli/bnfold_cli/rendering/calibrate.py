"""What a calibration did."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from bnfold_cli.rendering.tables import figures, metric

if TYPE_CHECKING:
    from bnfold.population.report import LayerStatistics
    from bnfold_cli.work.calibrate import Calibrated
    from bnfold_cli.work.undo import Undone


def calibrated(result: "Calibrated") -> Iterator[Table | str]:
    """Yield how far each layer's statistics moved, what that did to the model, and where the run is."""
    report = result.report
    recomputed = any(layer.count for layer in report.layers)
    if recomputed:
        yield moves(report.layers)
    if result.before is not None and result.after is not None:
        before, after = ({**metrics.values, "loss": metrics.loss} for metrics in (result.before, result.after))
        changes = [(f"test {name}", metric(name, value), metric(name, after[name])) for name, value in before.items()]
        yield figures(("", "before", str(report.estimator)), changes)
    if recomputed:
        yield f"{report.samples} samples of {result.data} in {report.batches} batches."
    yield from report.notes
    if result.picture is not None:
        yield f"Histograms of both are drawn in {result.picture}."
    if result.picture_problem is not None:
        yield f"No picture was drawn: {result.picture_problem}"
    kind = "run" if result.output.is_dir() else "model"
    if recomputed:
        yield f"The calibrated {kind} is in {result.output}."
    else:
        yield f"Nothing was recalibrated: {result.output} holds the {kind} with the statistics that it had."


def moves(layers: "tuple[LayerStatistics, ...]") -> Table:
    """Return how far the statistics of each layer moved, and how well the new ones are known."""
    rows = [
        (
            layer.name,
            str(layer.new_mean.size),
            str(layer.count),
            f"{layer.mean_shift:.3g}",
            f"{layer.variance_ratio:.3g}",
            "" if layer.relative_error is None else f"{layer.relative_error.max():.2g}",
        )
        for layer in layers
    ]
    # Headers in lines of a word or two leave the room to the names.
    headers = ("layer", "channels", "values a\nchannel", "mean\nmoved\nby σ", "variance\nfactor", "relative\nerror")
    return figures(headers, rows, narrow=True)


def undone(result: "Undone") -> Iterator[Table | str]:
    """Yield what was put back."""
    yield f"{len(result.tensors)} tensors are what they were before the calibration; the run is in {result.output}."
