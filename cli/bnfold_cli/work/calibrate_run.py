"""A run with population statistics that are computed anew, by torch, in one process or in several."""

import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnfold.errors import BnfoldError, InputError
from bnfold.progress import Progress, silent
from bnfold_cli.samples import builtin_models
from bnfold_cli.work.sources import open_run, require_torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bnfold.data import Dataset
    from bnfold.training import Metrics, Run
    from bnfold.training.replicas import Replicas
    from bnfold_cli.work.calibrate import Calibrated, Settings

EVALUATION_BATCH = 256

BEFORE = "before-calibration.safetensors"
"""File in a calibrated run with the tensors that the calibration replaced."""


@dataclass(frozen=True)
class _Task:
    """A run that is ready to be calibrated: nothing is in the way, and the model takes the data."""

    run: "Run"
    network: "nn.Module"
    data: str
    train: "Dataset"
    test: "Dataset"


def calibrate_run(
    source: Path,
    output: Path,
    *,
    data: str | None,
    settings: "Settings",
    model: str | None,
    include_frozen: bool,
    report: Path | None,
    force: bool,
    progress: Progress,
) -> "Calibrated | None":
    """Compute the statistics of the run in ``source`` anew and write the calibrated run to ``output``.

    Arguments and errors are those of `bnfold_cli.work.calibrate.calibrate`.
    """
    require_torch(f"{source}: a run folder")
    from bnfold.population import Estimator
    from bnfold.population import calibrate as calibrate_model
    from bnfold.population.processes import Processes
    from bnfold.training import Device
    from bnfold.training.network import choose_device
    from bnfold.training.replicas import joined
    from bnfold_cli.work.calibrate import Calibrated, require_report

    device = choose_device(Device(settings.device))
    with joined(device, work="calibration", advice="nothing was written: start it again") as replicas, _told(replicas):
        together = Processes(replicas.size, replicas.rank)

        def prepare() -> _Task:
            require_report(report, source, output, force=force)
            task = _task(source, output, data, model, force=force)
            task.network.to(device)
            return task

        task = together.agree(prepare)
        run, network = task.run, task.network
        old = {name: tensor.cpu().clone() for name, tensor in network.state_dict().items()}
        before = together.agree(lambda: _metrics(run, network, task.test, model) if replicas.is_first else None)
        found = calibrate_model(
            network,
            _Batches(task.train, settings, replicas),
            estimator=Estimator(settings.estimator),
            include_frozen=include_frozen,
            until_relative_error=settings.until_relative_error,
            memory_budget=settings.memory_bytes,
            progress=progress if replicas.is_first else silent,
        )
        if not replicas.is_first:
            return None
        after = _metrics(run, network, task.test, model)
        new = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
        _write(run, output, old, new, {"data": task.data, **asdict(settings), **found.to_dict()}, model, force=force)
        return Calibrated(source, output, task.data, found, before, after)


@contextmanager
def _told(replicas: "Replicas") -> Generator[None]:
    """Turn what ends all processes into errors that one of them can tell, see `speaking_for_all`.

    An unforeseen error of another one the first has learnt from `Processes.gather`. When a process is gone, torchrun
    ends the others by SIGTERM, which may come before they miss it.
    """
    from bnfold.training.replicas import ProcessLostError, is_lost_connection

    def end(_: int, __: object) -> None:
        raise ProcessLostError(
            "another process of the calibration ended (killed, out of memory, or with an error of its own), or "
            "torchrun was told to stop; nothing was written: start it again."
        )

    after = signal.signal(signal.SIGTERM, end) if replicas.size > 1 else None
    try:
        yield
    except Exception as error:
        if isinstance(error, ProcessLostError) or is_lost_connection(error):
            # The SIGTERM that follows shall not be taken for an interruption while this is being told.
            after = None if after is None else signal.SIG_IGN
            raise
        if replicas.is_first or isinstance(error, BnfoldError):
            raise
        raise InputError(f"process {replicas.rank} of {replicas.size} failed: {error}") from error
    finally:
        if after is not None:
            signal.signal(signal.SIGTERM, after)


def _task(source: Path, output: Path, data: str | None, model: str | None, *, force: bool) -> _Task:
    from bnfold.data import Split, load_data
    from bnfold.training.run import require_run_output

    run = open_run(source)
    require_run_output(output, force=force)
    data = data or run.data_spec
    network = run.load_model(builtin_models(), model)
    task = _Task(run, network, data, load_data(data, Split.TRAIN), load_data(data, Split.TEST))
    _require_fit(network, task.train)
    return task


def _write(
    run: "Run",
    output: Path,
    old: "dict[str, Tensor]",
    new: "dict[str, Tensor]",
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
    replaced = {name: tensor for name, tensor in old.items() if not torch.equal(tensor, new[name])}
    write_run(output, record, new, files={BEFORE: save(replaced)}, force=force)


class _Batches:
    """Minibatches of samples drawn without replacement, as the model's arguments, and how many there are."""

    def __init__(self, dataset: "Dataset", settings: "Settings", replicas: "Replicas") -> None:
        self._dataset = dataset
        self._device = replicas.device
        self._batch_size = settings.batch_size
        self._order = settings.order(dataset)[replicas.rank :: replicas.size]

    def __len__(self) -> int:
        return len(self._dataset.batch_ranges(self._batch_size, size=len(self._order)))

    def __iter__(self) -> "Iterator[Tensor | dict[str, Tensor]]":
        from bnfold.training.forward import to_tensors

        for batch in self._dataset.batches(self._batch_size, order=self._order):
            inputs = to_tensors(batch.inputs, self._device)
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
