"""``bnfold calibrate``: a run or an ONNX file with population statistics that are computed anew."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnfold.errors import InputError
from bnfold.progress import Progress, silent
from bnfold_cli.work.files import require_distinct, require_file_output
from bnfold_cli.work.speaking import is_one_of_several

if TYPE_CHECKING:
    from bnfold.data import Dataset
    from bnfold.population import CalibrationReport
    from bnfold.training import Metrics


@dataclass(frozen=True)
class Calibrated:
    """What was calibrated, and what that did to the model on the data's test split.

    Attributes:
        source: the run or the ONNX file that it comes from.
        output: what was written.
        data: what it was calibrated on.
        report: what became of each layer.
        before: loss and accuracy with the statistics that were there; None without labels, and for ONNX files.
        after: the same with the new ones.
        picture: where the histograms are drawn, None without ``--report``.
        picture_problem: why they could not be drawn.
    """

    source: Path
    output: Path
    data: str
    report: "CalibrationReport"
    before: "Metrics | None" = None
    after: "Metrics | None" = None
    picture: Path | None = None
    picture_problem: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "source": str(self.source),
            ("run" if self.output.is_dir() else "output"): str(self.output),
            "data": self.data,
            "before": None if self.before is None else asdict(self.before),
            "after": None if self.after is None else asdict(self.after),
            "picture": None if self.picture is None else str(self.picture),
            "report": self.report.to_dict(),
        }


@dataclass(frozen=True)
class Settings:
    """How to calibrate, for runs and ONNX files alike.

    Attributes:
        estimator: name of a `bnfold.population.Estimator`.
        batch_size: samples a minibatch.
        samples: how many to use; None for all.
        seed: of the order in which samples are drawn.
        until_relative_error: stop once every channel is known this well; None to use all samples.
        memory_budget: MiB that batches may hold between two layers; None for the library's default.
        device: where a run is calibrated, a `bnfold.training.Device`.
    """

    estimator: str = "self-consistent"
    batch_size: int = 64
    samples: int | None = None
    seed: int = 0
    until_relative_error: float | None = None
    memory_budget: int | None = None
    device: str = "auto"

    @property
    def memory_bytes(self) -> int:
        """The memory budget in bytes."""
        from bnfold.population.spill import MEMORY_BUDGET

        return MEMORY_BUDGET if self.memory_budget is None else self.memory_budget << 20

    def order(self, dataset: "Dataset") -> "Any":
        """Return the indices of the samples to use, in the order in which they are drawn.

        Raises:
            InputError: the data has fewer samples than asked for.
        """
        import numpy as np

        # `take` refuses a number that the data does not have.
        count = len(dataset) if self.samples is None else len(dataset.take(self.samples))
        return np.random.default_rng(self.seed).permutation(len(dataset))[:count]


def calibrate(
    source: Path,
    output: Path,
    *,
    data: str | None = None,
    settings: Settings | None = None,
    provider: str | None = None,
    model: str | None = None,
    include_frozen: bool = False,
    report: Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> Calibrated | None:
    """Compute the statistics of ``source`` anew and write the calibrated run or file to ``output``.

    Under torchrun the samples of a run are shared out over the processes, each sample to one of them; the first process
    writes, and the others return None. What is wrong in one of them is raised in all.

    Args:
        source: a finished run, or an ONNX file.
        output: the run folder or the file to write.
        data: what to calibrate on, by default the run's own; its training split is used.
        settings: how.
        provider: where an ONNX file runs; None for the CPU.
        model: the user's word for the run's model.
        include_frozen: calibrate layers too that training had frozen.
        report: JSON file to write the figures of every channel to; a picture of their histograms goes beside it.
        force: replace outputs that are there.
        progress: told of every minibatch.

    Raises:
        InputError: no run or graph, no such data, or an output is in the way.
        MissingDependencyError: torch or ONNX Runtime is not installed.
        AttestationError: the provider cannot be used here.
    """
    from bnfold_cli.work.calibrate_file import calibrate_file
    from bnfold_cli.work.calibrate_run import calibrate_run
    from bnfold_cli.work.statistics_report import picture_of, write_report

    settings = settings or Settings()
    if source.is_file() or source.suffix == ".onnx":
        _require_one_process(source)
        require_report(report, source, output, force=force)
        if model is not None or include_frozen:
            raise InputError(f"{source}: --model and --include-frozen are for runs; an ONNX file knows neither.")
        calibrated = calibrate_file(
            source, output, data=data, settings=settings, provider=provider, force=force, progress=progress
        )
    else:
        if provider is not None:
            raise InputError(f"{source}: --provider is for ONNX files; a run is calibrated by torch.")
        calibrated = calibrate_run(
            source,
            output,
            data=data,
            settings=settings,
            model=model,
            include_frozen=include_frozen,
            report=report,
            force=force,
            progress=progress,
        )
    if calibrated is None or report is None:
        return calibrated
    problem = write_report(calibrated, report)
    picture = picture_of(report) if problem is None else None
    return replace(calibrated, picture=picture, picture_problem=problem)


def require_report(report: Path | None, source: Path, output: Path, *, force: bool) -> None:
    """Check that a report and its picture can be written.

    Raises:
        InputError: they would replace another file, or the name is that of a picture.
    """
    from bnfold_cli.work.statistics_report import picture_of

    require_distinct(source, output, report)
    if report is None:
        return
    if report.suffix == ".png":
        raise InputError(f"{report}: the report is JSON, and its picture goes beside it; choose a name without .png.")
    require_file_output(report, force=force)
    require_file_output(picture_of(report), force=force)


def _require_one_process(source: Path) -> None:
    if is_one_of_several():
        raise InputError(f"{source}: processes of torchrun share runs; calibrate an ONNX file without torchrun.")
