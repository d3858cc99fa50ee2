"""``bnfold calibrate``: a run or an ONNX file with population statistics that are computed anew."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnfold.errors import InputError
from bnfold.progress import Progress, silent
from bnfold_cli.samples import builtin_models
from bnfold_cli.work.files import require_distinct, require_file_output
from bnfold_cli.work.sources import open_run

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bnfold.data import Dataset
    from bnfold.population import CalibrationReport
    from bnfold.training import Metrics, Run
    from bnfold.training.replicas import Replicas

EVALUATION_BATCH = 256

BEFORE = "before-calibration.safetensors"
"""File in a calibrated run with the tensors that the calibration replaced."""


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
    """

    estimator: str = "self-consistent"
    batch_size: int = 64
    samples: int | None = None
    seed: int = 0
    until_relative_error: float | None = None
    memory_budget: int | None = None

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
    writes, and the others return None.

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
    from bnfold_cli.work.statistics_report import picture_of, write_report

    settings = settings or Settings()
    _require_report(report, source, output, force=force)
    if source.is_file() or source.suffix == ".onnx":
        if model is not None or include_frozen:
            raise InputError(f"{source}: --model and --include-frozen are for runs; an ONNX file knows neither.")
        calibrated = calibrate_file(
            source, output, data=data, settings=settings, provider=provider, force=force, progress=progress
        )
    else:
        if provider is not None:
            raise InputError(f"{source}: --provider is for ONNX files; a run is calibrated by torch.")
        calibrated = _calibrate_run(
            source,
            output,
            data=data,
            settings=settings,
            model=model,
            include_frozen=include_frozen,
            force=force,
            progress=progress,
        )
    if calibrated is None or report is None:
        return calibrated
    problem = write_report(calibrated, report)
    picture = picture_of(report) if problem is None else None
    return replace(calibrated, picture=picture, picture_problem=problem)


def _require_report(report: Path | None, source: Path, output: Path, *, force: bool) -> None:
    from bnfold_cli.work.statistics_report import picture_of

    require_distinct(source, output, report)
    if report is None:
        return
    if report.suffix == ".png":
        raise InputError(f"{report}: the report is JSON, and its picture goes beside it; choose a name without .png.")
    require_file_output(report, force=force)
    require_file_output(picture_of(report), force=force)


def _calibrate_run(
    source: Path,
    output: Path,
    *,
    data: str | None,
    settings: Settings,
    model: str | None,
    include_frozen: bool,
    force: bool,
    progress: Progress,
) -> Calibrated | None:
    run = open_run(source)
    from bnfold.data import Split, load_data
    from bnfold.population import Estimator
    from bnfold.population import calibrate as calibrate_model
    from bnfold.training.forward import device_of
    from bnfold.training.replicas import joined
    from bnfold.training.run import require_run_output

    require_run_output(output, force=force)
    data = data or run.data_spec
    network = run.load_model(builtin_models(), model)
    train, test = load_data(data, Split.TRAIN), load_data(data, Split.TEST)
    _require_fit(network, train)
    with joined(device_of(network)) as replicas:
        before = _metrics(run, network, test, model) if replicas.is_first else None
        old = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        report = calibrate_model(
            network,
            _Batches(train, settings, replicas),
            estimator=Estimator(settings.estimator),
            include_frozen=include_frozen,
            until_relative_error=settings.until_relative_error,
            memory_budget=settings.memory_bytes,
            progress=progress if replicas.is_first else silent,
        )
        if not replicas.is_first:
            return None
        _write(run, output, network, old, {"data": data, **asdict(settings), **report.to_dict()}, model, force=force)
        return Calibrated(source, output, data, report, before, _metrics(run, network, test, model))


def _write(
    run: "Run",
    output: Path,
    network: "nn.Module",
    old: "dict[str, Tensor]",
    calibration: dict[str, object],
    model: str | None,
    *,
    force: bool,
) -> None:
    import torch
    from safetensors.torch import save

    from bnfold.training import resolve_model, write_run

    record = dict(run.record)
    if model is not None:
        # The new run names the code that made it, so that the user's word need not be given again.
        record["model"] = resolve_model(model, record["model"].get("args") or {}, builtin_models()).to_dict()
    record["calibration"] = {**calibration, "before": record.get("calibration")}
    new = network.state_dict()
    replaced = {name: tensor for name, tensor in old.items() if not torch.equal(tensor, new[name])}
    write_run(output, record, new, files={BEFORE: save(replaced)}, force=force)


class _Batches:
    """Minibatches of samples drawn without replacement, as the model's arguments, and how many there are."""

    def __init__(self, dataset: "Dataset", settings: Settings, replicas: "Replicas") -> None:
        self._dataset = dataset
        self._batch_size = settings.batch_size
        self._order = settings.order(dataset)[replicas.rank :: replicas.size]

    def __len__(self) -> int:
        return len(self._dataset.batch_ranges(self._batch_size, size=len(self._order)))

    def __iter__(self) -> "Iterator[Tensor | dict[str, Tensor]]":
        import torch

        from bnfold.training.forward import to_tensors

        for batch in self._dataset.batches(self._batch_size, order=self._order):
            inputs = to_tensors(batch.inputs, torch.device("cpu"))
            yield next(iter(inputs.values())) if len(inputs) == 1 else inputs


def _require_fit(network: "nn.Module", dataset: "Dataset") -> None:
    """Check that the model takes the data, before anything is computed.

    Raises:
        InputError: it raises on two samples.
    """
    import torch

    from bnfold.training.forward import call, device_of, to_tensors

    probe = dataset.take(min(len(dataset), 2)).inputs
    with torch.no_grad():
        call(network, to_tensors(probe, device_of(network)))


def _metrics(run: "Run", network: "nn.Module", dataset: "Dataset", model: str | None) -> "Metrics | None":
    """Return the run's own loss and metrics, None where the data have no labels."""
    from bnfold.training import evaluate_as_trained

    if dataset.labels is None:
        return None
    return evaluate_as_trained(run, network, dataset, EVALUATION_BATCH, builtin_models(), model)
