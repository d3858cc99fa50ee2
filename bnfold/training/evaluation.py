"""How good a model is on labelled data."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bnfold.data.dataset import Batch, Dataset
from bnfold.errors import InputError
from bnfold.nn.batch_norm import BatchNorm
from bnfold.population import Estimator, calibrate
from bnfold.training.forward import (
    call,
    device_of,
    evaluating,
    map_tensors,
    require_fit,
    to_labels,
    to_tensors,
    widened,
)
from bnfold.training.losses import Loss
from bnfold.training.metrics import METRICS, Metric, SummedMetric, WholeMetric
from bnfold.training.replicas import Replicas

POPULATION_SAMPLES = 10_000
"""Training samples that population statistics are taken from: 10³ to 10⁴ suffice (Wu and Johnson, 2021)."""

_CLASSIFICATION: Mapping[str, Metric] = {"accuracy": METRICS["accuracy"]}


@dataclass(frozen=True)
class Metrics:
    """The mean loss over the samples (nats for the cross-entropy), and the metrics.

    ``accuracy``, the part of the labels met, in [0, 1], is NaN where it is not among the metrics.
    """

    loss: float
    accuracy: float
    values: Mapping[str, float] = field(default_factory=dict[str, float])


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    batch_size: int,
    *,
    loss: Loss | None = None,
    metrics: Mapping[str, Metric] = _CLASSIFICATION,
    replicas: Replicas | None = None,
) -> Metrics:
    """Return the metrics of ``model`` in evaluation mode, wherever its parameters live; every sample counts once.

    Args:
        model: the network.
        dataset: the labelled data.
        batch_size: samples at a time; without influence on the result, up to rounding.
        loss: by default the cross-entropy.
        metrics: by name.
        replicas: processes that share the work; each has to call this.

    Raises:
        InputError: the data has no labels, or does not fit the model, the loss or a metric.
    """
    loss, replicas = loss or Loss(), replicas or Replicas()
    require_fit(model, dataset, loss, metrics.values())
    summed = {name: metric for name, metric in metrics.items() if isinstance(metric, SummedMetric)}
    whole = {name: metric for name, metric in metrics.items() if isinstance(metric, WholeMetric)}
    losses, sums, kept = torch.zeros(2, dtype=torch.float64), dict[str, Tensor](), list[tuple[int, Any, Tensor]]()
    with evaluating(model), torch.no_grad():
        for place, (samples, outputs, labels) in enumerate(_passes(model, dataset, batch_size, replicas)):
            exact = outputs if loss.function else map_tensors(_doubled, outputs)
            losses += torch.tensor([float(loss(exact, labels)) * samples, samples], dtype=torch.float64)
            for name, metric in summed.items():
                found = metric.sums(map_tensors(_doubled, outputs), labels).cpu()
                sums[name] = sums[name] + found if name in sums else found
            if whole:
                kept.append((place * replicas.size + replicas.rank, map_tensors(Tensor.cpu, outputs), labels.cpu()))
    total = replicas.sum(losses)
    values = {name: metric.finish(_sum(sums.get(name), replicas)) for name, metric in summed.items()}
    values |= _whole_values(whole, kept, replicas) if whole else {}
    values = {name: values[name] for name in metrics}
    return Metrics(float(total[0] / total[1]), values.get("accuracy", float("nan")), values)


def evaluate_population(
    model: nn.Module, train_set: Dataset, test_set: Dataset, batch_size: int, **options: Any
) -> Metrics:
    """Return what `evaluate` says of a copy of the model with population statistics of the training data.

    Moments are pooled over up to `POPULATION_SAMPLES` samples, in minibatches as in training (`bnfold.calibrate`).
    """
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if isinstance(module, BatchNorm):
            module.pool()  # likewise
    device = device_of(twin)
    batches = [batch for batch in _first_batches(train_set, batch_size) if len(batch) > 1]
    with torch.no_grad():
        calibrate(
            twin,
            batches,
            estimator=Estimator.POOLED,
            distributed=False,  # every process takes the same samples
            forward_fn=lambda network, batch: call(network, to_tensors(_inputs(batch), device)),
        )
    return evaluate(twin, test_set, batch_size, **options)


def _first_batches(dataset: Dataset, batch_size: int) -> list[Batch]:
    return list(dataset.take(min(len(dataset), POPULATION_SAMPLES)).batches(batch_size))


def _inputs(batch: object) -> dict[str, Any]:
    assert isinstance(batch, Batch)
    return batch.inputs


def _passes(
    model: nn.Module, dataset: Dataset, batch_size: int, replicas: Replicas
) -> Iterator[tuple[int, Any, Tensor]]:
    """Yield samples, outputs and labels of this process's batches: every so many of them."""
    device = device_of(model)
    for batch_range in dataset.batch_ranges(batch_size)[replicas.rank :: replicas.size]:
        batch = dataset.select(batch_range)
        assert batch.labels is not None
        yield len(batch), widened(call(model, to_tensors(batch.inputs, device))), to_labels(batch.labels, device)


def _doubled(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x


def _sum(own: Tensor | None, replicas: Replicas) -> Tensor:
    """Return the sum over processes, of which some may have had no batch."""
    if replicas.size == 1:
        assert own is not None
        return own
    every = [sums for sums in replicas.gather(own) if sums is not None]
    return torch.stack(every).sum(0)


def _whole_values(
    metrics: Mapping[str, WholeMetric], kept: list[tuple[int, Any, Tensor]], replicas: Replicas
) -> dict[str, float]:
    parts = sorted((part for own in replicas.gather(kept) for part in own), key=lambda part: part[0])
    outputs = _concatenated([part[1] for part in parts])
    labels = torch.cat([part[2] for part in parts])
    return {name: metric.value(outputs, labels) for name, metric in metrics.items()}


def _concatenated(parts: list[Any]) -> Any:
    """Return outputs of several batches as those of one, in dicts, lists and tuples too."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if isinstance(first, Mapping):
        return {key: _concatenated([part[key] for part in parts]) for key in first}
    if isinstance(first, list | tuple):
        joined = [_concatenated(list(items)) for items in zip(*parts, strict=True)]
        return tuple(joined) if isinstance(first, tuple) else joined
    raise InputError(f"metrics: the model returns {type(first).__name__}, expected tensors in dicts, lists or tuples.")
