"""An ONNX file with population statistics that are computed anew; torch is not needed."""

from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.errors import InputError
from bnfold.progress import Progress
from bnfold_cli.work.files import require_file_output
from bnfold_cli.work.sources import require_numbers

if TYPE_CHECKING:
    from bnfold_cli.work.calibrate import Calibrated, Settings


def calibrate_file(
    source: Path,
    output: Path,
    *,
    data: str | None,
    settings: "Settings",
    provider: str | None,
    force: bool,
    progress: Progress,
) -> "Calibrated":
    """Compute the statistics of the graph in ``source`` anew and write the calibrated file to ``output``.

    Raises:
        InputError: no such graph or data, data that does not fit, or the output is in the way.
        MissingDependencyError: ONNX Runtime is not installed.
        AttestationError: the provider cannot be used here.
    """
    require_file_output(output, force=force)
    if data is None:
        raise InputError(f"{source}: an ONNX file brings no data; say what to calibrate on with --data.")
    from bnfold.data import Split, load_data
    from bnfold.graph import load, save
    from bnfold.population import Estimator
    from bnfold.population_onnx import calibrate
    from bnfold.verify import Provider
    from bnfold_cli.work.calibrate import Calibrated

    model = load(source)
    require_numbers(model, source)
    dataset = load_data(data, Split.TRAIN)
    inputs = dataset.select(settings.order(dataset)).inputs
    report = calibrate(
        model,
        inputs,
        estimator=Estimator(settings.estimator),
        batch_size=settings.batch_size,
        until_relative_error=settings.until_relative_error,
        memory_budget=settings.memory_bytes,
        provider=Provider(provider or "cpu"),
        progress=progress,
    )
    save(model, output)
    return Calibrated(source, output, data, report)
