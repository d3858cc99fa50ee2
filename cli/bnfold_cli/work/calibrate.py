"""``bnfold calibrate``: a run with population statistics that are computed anew."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnfold.progress import Progress, silent
from bnfold_cli.samples import builtin_models
from bnfold_cli.work.sources import open_run

if TYPE_CHECKING:
    from torch import nn

    from bnfold.data import Batch, Dataset
    from bnfold.population import CalibrationReport
    from bnfold.training import Metrics

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Calibrated:
    """A calibrated run, and what the calibration did to the model on the data's test split.

    Attributes:
        source: the run that it comes from.
        output: the run that was written.
        data: what it was calibrated on.
        report: what became of each layer.
        before: loss and accuracy with the statistics that were there; None without labels.
        after: the same with the new ones.
    """

    source: Path
    output: Path
    data: str
    report: "CalibrationReport"
    before: "Metrics | None"
    after: "Metrics | None"

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "source": str(self.source),
            "run": str(self.output),
            "data": self.data,
            "before": None if self.before is None else asdict(self.before),
            "after": None if self.after is None else asdict(self.after),
            "report": self.report.to_dict(),
        }


def calibrate(
    source: Path,
    output: Path,
    *,
    data: str | None = None,
    estimator: str = "pooled",
    batch_size: int = 64,
    samples: int | None = None,
    seed: int = 0,
    model: str | None = None,
    include_frozen: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> Calibrated:
    """Compute the statistics of the run ``source`` anew and write the calibrated run to ``output``.

    Args:
        source: a finished run.
        output: the run folder to write.
        data: what to calibrate on, by default the run's own; its training split is used.
        estimator: name of a `bnfold.population.Estimator`.
        batch_size: samples a minibatch.
        samples: how many to use; None for all.
        seed: of the order in which samples are drawn.
        model: the user's word for the run's model.
        include_frozen: calibrate layers too that training had frozen.
        force: replace a run that is there.
        progress: told of every minibatch.

    Raises:
        InputError: no run, no such data, or the folder is in the way.
        MissingDependencyError: torch is not installed.
    """
    run = open_run(source)
    from bnfold.data import Split, load_data
    from bnfold.population import Estimator
    from bnfold.population import calibrate as calibrate_model
    from bnfold.training import resolve_model, write_run
    from bnfold.training.run import require_run_output

    require_run_output(output, force=force)
    data = data or run.data_spec
    network = run.load_model(builtin_models(), model)
    test = load_data(data, Split.TEST)
    before = _metrics(network, test)
    batches = _Batches(load_data(data, Split.TRAIN), batch_size, samples, seed)
    report = calibrate_model(
        network,
        batches,
        estimator=Estimator(estimator),
        forward_fn=_forward,
        include_frozen=include_frozen,
        progress=progress,
    )
    record = dict(run.record)
    if model is not None:
        # The new run names the code that made it, so that the user's word need not be given again.
        record["model"] = resolve_model(model, record["model"].get("args") or {}, builtin_models()).to_dict()
    calibration = {"data": data, "batch_size": batch_size, "samples": samples, "seed": seed, **report.to_dict()}
    write_run(output, {**record, "calibration": calibration}, network.state_dict(), force=force)
    return Calibrated(source, output, data, report, before, _metrics(network, test))


class _Batches:
    """Minibatches of samples drawn without replacement, and how many there are."""

    def __init__(self, dataset: "Dataset", batch_size: int, samples: int | None, seed: int) -> None:
        import numpy as np

        # `take` refuses a number that the data does not have.
        count = len(dataset) if samples is None else len(dataset.take(samples))
        self._dataset = dataset
        self._batch_size = batch_size
        self._order: np.ndarray[Any, np.dtype[np.int64]] = np.random.default_rng(seed).permutation(len(dataset))[:count]

    def __len__(self) -> int:
        return len(self._dataset.batch_ranges(self._batch_size, size=len(self._order)))

    def __iter__(self) -> "Iterator[Batch]":
        return self._dataset.batches(self._batch_size, order=self._order)


def _forward(network: "nn.Module", batch: object) -> object:
    from bnfold.data import Batch
    from bnfold.training.forward import call, device_of, to_tensors

    assert isinstance(batch, Batch)
    return call(network, to_tensors(batch.inputs, device_of(network)))


def _metrics(network: "nn.Module", dataset: "Dataset") -> "Metrics | None":
    from bnfold.training import evaluate

    return None if dataset.labels is None else evaluate(network, dataset, EVALUATION_BATCH)
