"""``--report`` of ``bnfold calibrate``: every channel's figures as JSON, their histograms as a picture beside it."""

from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.errors import MissingDependencyError
from bnfold_cli.work.files import write_json

if TYPE_CHECKING:
    from bnfold_cli.work.calibrate import Calibrated


def picture_of(report: Path) -> Path:
    """Return where the picture of a report goes: the same name with ``.png``."""
    return report.with_suffix(".png")


def write_report(calibrated: "Calibrated", path: Path) -> str | None:
    """Write the JSON and the picture; return why there is no picture, None if there is one.

    Raises:
        InputError: a file cannot be written.
    """
    from bnfold.population.histograms import means, variances
    from bnfold.population.picture import draw

    report = calibrated.report
    layers = [
        {
            **layer.to_dict(),
            "eps": layer.eps,
            **layer.arrays(),
            "undersampled": report.undersampled.get(layer.name, []),
            "histograms": {"mean": means(layer).to_dict(), "variance": variances(layer).to_dict()},
        }
        for layer in report.layers
    ]
    document = calibrated.to_dict()
    document["report"] = {**report.to_dict(), "layers": layers}
    write_json({"schema": "bnfold.calibrate-report/1", **document}, path)
    if not report.layers:
        return "there is no layer to draw"
    try:
        draw(report.layers, picture_of(path))
    except MissingDependencyError as error:
        return str(error)
    return None
