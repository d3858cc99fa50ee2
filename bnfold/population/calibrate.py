"""The recompute pass: a model's BN statistics anew, from data, with everything else as in inference."""

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from operator import length_hint
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

from bnfold.errors import InputError
from bnfold.population.estimators import Estimator
from bnfold.population.layers import KeptLayer, Reason, running_buffers, split_layers
from bnfold.population.minibatch import Call, minibatch_normalization
from bnfold.population.preserve import preserved
from bnfold.population.report import CalibrationReport, LayerStatistics
from bnfold.population.tally import Tally
from bnfold.population.write import write_statistics
from bnfold.progress import Progress, silent

ForwardFn = Callable[[nn.Module, object], object]
"""Runs a model on one batch; what it returns is not used."""


def calibrate(
    model: nn.Module,
    batches: Iterable[object],
    *,
    estimator: Estimator = Estimator.POOLED,
    forward_fn: ForwardFn | None = None,
    include_frozen: bool = False,
    progress: Progress = silent,
) -> CalibrationReport:
    """Set ``running_mean`` and ``running_var`` of the model's BN layers to the population statistics of ``batches``.

    See ``Estimator`` for the formulas. In the pass the layers normalize by their minibatch, as in training; all else,
    dropout included, runs as in inference. A layer that is called several times in a forward pass takes in all calls.
    Statistics are float64 whatever the model's type, rounded once to the type of the layer's buffers.

    Nothing else of the model changes, and if anything raises, Ctrl-C included, nothing at all; see ``preserved``.
    Layers that the user froze (see ``is_frozen``), that keep no running statistics, or that no batch reaches stay as
    they are and are named in the report.

    Args:
        model: any module; where its layers are compiled, they run uncompiled meanwhile.
        batches: each a tensor (N, ...), a tuple or list of positional arguments, or a mapping of keyword arguments of
            the model, on the model's device; anything where ``forward_fn`` is given. Batches of any size, but see
            ``Tally`` for the last one.
        estimator: ``MOVING_AVERAGE`` reports what is there without a pass.
        forward_fn: runs the model on a batch, for batches that are not the model's arguments, such as
            ``lambda model, batch: model(batch[0])`` for pairs of inputs and labels.
        include_frozen: calibrate frozen layers too.
        progress: wraps ``batches``.

    Raises:
        InputError: there are no batches, a batch is not one of the above or not of the size that the estimator needs, a
            layer's input is not finite, a statistic does not fit the buffer's type, or the model is uninitialized.
    """
    layers, kept = split_layers(model, include_frozen=include_frozen)
    if estimator is Estimator.MOVING_AVERAGE or not layers:
        return _unchanged(layers, kept, estimator)
    tally = Tally(estimator)
    with preserved(model), _uncompiled(), minibatch_normalization(layers) as calls:
        for batch in progress(batches, description="calibrate", total=length_hint(batches) or None):
            calls.clear()
            (forward_fn or call_model)(model, batch)
            tally.add(calls, _count_samples(batch, calls))
    tally.finish()
    reached = {name: layer for name, layer in layers.items() if name in tally.estimates}
    kept += tuple(KeptLayer(name, Reason.UNREACHED) for name in layers if name not in reached)
    statistics = tuple(_statistics(name, layer, tally) for name, layer in reached.items())
    write_statistics(reached, statistics)
    notes = (*tally.notes, *map(str, kept))
    return CalibrationReport(estimator, tally.samples, tally.batches, statistics, kept, notes)


def call_model(model: nn.Module, batch: object) -> object:
    """Run ``model`` on a tensor, on a tuple or list of arguments, or on a mapping of keyword arguments.

    Raises:
        InputError: ``batch`` is none of these.
    """
    match batch:
        case Tensor():
            return model(batch)
        case tuple() | list():
            return model(*batch)
        case Mapping():
            return model(**cast("Mapping[str, object]", batch))
        case _:
            raise InputError(
                f"batch: expected a tensor, a tuple or a mapping, found {type(batch).__name__}; pass a forward_fn."
            )


def _count_samples(batch: object, calls: list[Call]) -> int:
    """Return the leading extent of the first tensor in ``batch``; where it has none, of the first BN layer's input."""
    items = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else (batch,)
    tensors = (item for item in items if isinstance(item, Tensor) and item.ndim > 0)
    first = next(tensors, None)
    if first is not None:
        return len(first)
    return calls[0].samples if calls else 0


def _uncompiled() -> AbstractContextManager[object]:
    """Let compiled modules run as written, or they would pass by the hooks; where none can exist, import nothing."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _statistics(name: str, layer: _BatchNorm, tally: Tally | None) -> LayerStatistics:
    """Return the statistics of one layer; without a tally the new ones are the old ones."""
    mean, variance = (buffer.double().cpu().numpy() for buffer in running_buffers(layer))
    if tally is None:
        return LayerStatistics(name, 0, layer.eps, mean, variance, mean, variance)
    estimate = tally.estimates[name]
    return LayerStatistics(name, estimate.count, layer.eps, mean, variance, estimate.mean, estimate.variance)


def _unchanged(
    layers: Mapping[str, _BatchNorm], kept: tuple[KeptLayer, ...], estimator: Estimator
) -> CalibrationReport:
    found = "Nothing was recomputed: the statistics are those that training tracked."
    note = found if layers else "Nothing was recomputed: the model has no BN layer to calibrate."
    statistics = tuple(_statistics(name, layer, None) for name, layer in layers.items())
    return CalibrationReport(estimator, 0, 0, statistics, kept, (note, *map(str, kept)))
