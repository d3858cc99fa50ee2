"""A run's network measured again, by the loss and the metrics that it was trained with."""

from pathlib import Path

from torch import nn

from bnfold.data.dataset import Dataset
from bnfold.training import trust
from bnfold.training.evaluation import Metrics, evaluate
from bnfold.training.functions import function_file
from bnfold.training.losses import resolve_loss
from bnfold.training.metrics import resolve_metrics
from bnfold.training.run import Run


def evaluate_as_trained(
    run: Run, network: nn.Module, dataset: Dataset, batch_size: int, builtins: Path, model: str | None = None
) -> Metrics:
    """Return what training would have measured of ``network``, such as the calibrated one of the run.

    Args:
        run: the run.
        network: its network, with whatever weights and statistics.
        dataset: labelled data.
        batch_size: samples at a time.
        builtins: folder of the built-in models.
        model: the user's word for the model's source, in place of the run's.

    Raises:
        InputError: the run names code that it may not have run (`bnfold.training.trust`), or the data do not fit.
    """
    settings = run.hyperparameters
    hashes: dict[str, str | None] = run.record.get("functions", {})
    for spec in (settings.loss, *(settings.metrics or ())):
        path = function_file(spec)
        if path is not None:
            trust.require_unchanged(path, hashes.get(spec), option="a new training")
    source = run.source(builtins, model)
    loss = resolve_loss(settings.loss, source)
    metrics = resolve_metrics(loss.default_metrics if settings.metrics is None else settings.metrics, source)
    return evaluate(network, dataset, batch_size, loss=loss, metrics=metrics)
