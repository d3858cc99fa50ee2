"""An ONNX file with population statistics that are computed anew; torch is not needed."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.errors import InputError
from bnfold.progress import Progress
from bnfold_cli.work.casting import cast_inputs
from bnfold_cli.work.files import require_file_output
from bnfold_cli.work.naming import naming_data, naming_source
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
    from bnfold.verify.signature import Signature, check_inputs
    from bnfold_cli.work.calibrate import Calibrated

    model = load(source)
    require_numbers(model, source)
    dataset = load_data(data, Split.TRAIN)
    signature = Signature.of(model)
    with naming_data(source, data):
        inputs, notes = cast_inputs(signature, dataset.select(settings.order(dataset)).inputs)
        batch = signature.fixed_batch  # what is beyond a multiple of it is left out
        check_inputs(signature, {name: array[:batch] for name, array in inputs.items()})
    with naming_source(source):
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
    return Calibrated(source, output, data, replace(report, notes=(*notes, *report.notes)))
