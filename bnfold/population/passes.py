"""Self-consistent statistics of models that cannot be captured: a pass for every BN layer, cut short behind it.

A first pass, normalized by minibatch, finds out which layers each batch calls, how often, and in which order. Then
layer after layer is measured, those before it normalizing by the statistics that they have just got, and a batch's pass
ends at the layer in question where the batch calls it once.

A layer that a forward pass calls several times takes in the values of all calls, and its statistics are to be those
with which they come out the same: S = moments of all inputs, given that all calls normalize by S. Where the calls do
not depend on one another, as in two towers with shared weights, the passes above find S. Where one does, they give
where to begin (earlier calls are normalized by minibatch), and passes over the whole model follow, each with the
statistics of the one before, until these are steady.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Final, NamedTuple, TypedDict

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

from bnfold.errors import InputError
from bnfold.population.arguments import count_samples, told_samples
from bnfold.population.estimators import Estimator, Pooled, empty_estimate
from bnfold.population.findings import Findings, require_variance
from bnfold.population.kept_batches import KeptBatches
from bnfold.population.layers import running_buffers
from bnfold.population.ledger import Ledger
from bnfold.population.minibatch import minibatch_normalization, observed
from bnfold.population.processes import Processes
from bnfold.population.tally import NO_BATCHES
from bnfold.population.write import normalize_by
from bnfold.progress import Progress

STEADY: Final = 1e-6
"""Change of a mean in units of √(variance + ε), and relative change of a variance, below which statistics are steady:
a tenth of the precision that they are wanted to, and ten times the rounding of float32."""

SWEEPS: Final = 50
"""Passes over the whole model at most, until the statistics are steady."""

RunBatch = Callable[[object], object]
"""Runs the model on one batch."""

Layers = Mapping[str, _BatchNorm]
Estimates = dict[str, Pooled]


class _Told(TypedDict):
    description: str
    total: int
    samples: Callable[[object], int]


class _Reached(BaseException):
    """The pass came to its last call of the layer in question. No Exception, which a model's own code might catch."""


class _Seen(NamedTuple):
    """What the first pass saw in this process: the layers that each batch called, and how many samples it held."""

    calls: list[list[str]]
    samples: list[int]


def layer_passes(
    run: RunBatch, layers: Layers, batches: KeptBatches, *, processes: Processes, progress: Progress
) -> Findings:
    """Return the self-consistent statistics over ``batches``.

    Args:
        run: runs the model, which is in eval mode and whose buffers may be replaced, on a batch.
        layers: the BN layers to calibrate, by name.
        batches: of this process.
        processes: who else measures.
        progress: told of the batches of each pass.

    Raises:
        InputError: there are no batches, a layer's input is not finite, a layer has one value per channel, or a
            statistic does not fit its buffer.
    """
    first = processes.gather(
        lambda: _first_pass(run, layers, progress(batches, **_told("order of the layers", batches)))
    )
    calls = [batch for part in first for batch in part.calls]
    if not calls:
        raise InputError(NO_BATCHES)
    order, is_acyclic = _order(calls)
    estimates: Estimates = {}
    for position, name in enumerate(order):
        pending = {later: layers[later] for later in order[position:]}
        where = _told(f"layer {position + 1} of {len(order)}", batches)
        once = [batch.count(name) == 1 for batch in first[processes.rank].calls]
        parts = processes.gather(lambda: _one_layer(run, name, pending, progress(batches, **where), once))  # noqa: B023  # called at once
        estimates[name] = _set(name, layers[name], [part[name] for part in parts if name in part])
    several = sorted({name for batch in calls for name in batch if batch.count(name) > 1})
    notes: tuple[str, ...] = ()
    if several or not is_acyclic:
        estimates, steady = _until_steady(run, layers, estimates, batches, processes, progress)
        notes = _notes(several, steady=steady)
    return Findings(estimates, sum(sum(part.samples) for part in first), len(calls), notes)


def _first_pass(run: RunBatch, layers: Layers, batches: Iterable[object]) -> _Seen:
    seen = _Seen([], [])
    with minibatch_normalization(layers) as calls:
        for batch in batches:
            calls.clear()
            run(batch)
            seen.calls.append([call.layer for call in calls])
            seen.samples.append(count_samples(batch) or (calls[0].samples if calls else 0))
    return seen


def _order(calls: Sequence[Sequence[str]]) -> tuple[list[str], bool]:
    """Return the layers, each after those called before it in any batch, and whether there is such an order.

    Where there is none, they come as they are first called.
    """
    # Dicts and no sets, so that all processes come to one order.
    predecessors: dict[str, dict[str, None]] = {}
    for batch in calls:
        first_calls = list(dict.fromkeys(batch))
        for name in first_calls:
            predecessors.setdefault(name, {})
        for before, after in pairwise(first_calls):
            predecessors[after][before] = None
    try:
        return list(TopologicalSorter(predecessors).static_order()), True
    except CycleError:
        return list(predecessors), False


def _one_layer(run: RunBatch, name: str, pending: Layers, batches: Iterable[object], once: Sequence[bool]) -> Estimates:
    """Measure one layer; it and those behind it, ``pending``, have no statistics yet and normalize by minibatch.

    ``once`` tells of each batch whether it calls the layer once, so that there is nothing behind the call to see.
    """
    ledger = Ledger(Estimator.SELF_CONSISTENT)
    with minibatch_normalization(pending) as calls:
        for batch, stop in zip(batches, once, strict=True):
            calls.clear()
            handle = pending[name].register_forward_pre_hook(_stop) if stop else None
            try:
                run(batch)
            except _Reached:
                pass
            finally:
                if handle is not None:
                    handle.remove()
            for call in calls:
                if call.layer == name:
                    ledger.add(call)
    return ledger.estimates


def _until_steady(
    run: RunBatch,
    layers: Layers,
    estimates: Estimates,
    batches: KeptBatches,
    processes: Processes,
    progress: Progress,
) -> tuple[Estimates, bool]:
    """Repeat passes that measure all layers at once, each with the statistics of the one before."""
    for sweep in range(SWEEPS):
        where = _told(f"pass {sweep + 1} until steady", batches)
        parts = processes.gather(lambda: _all_layers(run, layers, progress(batches, **where)))  # noqa: B023  # called at once
        before, estimates = estimates, {}
        for name in before:
            estimates[name] = _set(name, layers[name], [part[name] for part in parts if name in part])
        if all(_is_steady(before[name], estimates[name], layers[name].eps) for name in before):
            return estimates, True
    return estimates, False


def _all_layers(run: RunBatch, layers: Layers, batches: Iterable[object]) -> Estimates:
    ledger = Ledger(Estimator.SELF_CONSISTENT)
    with observed(layers) as calls:
        for batch in batches:
            calls.clear()
            run(batch)
            for call in calls:
                ledger.add(call)
    return ledger.estimates


def _set(name: str, layer: _BatchNorm, parts: Sequence[Pooled]) -> Pooled:
    """Return the estimate of all processes, and let the layer normalize by it."""
    estimate = empty_estimate(Estimator.SELF_CONSISTENT, running_buffers(layer)[0].numel())
    for part in parts:
        estimate.merge(part)
    require_variance(name, estimate)
    normalize_by(name, layer, estimate.mean, estimate.variance)
    return estimate


def _is_steady(before: Pooled, after: Pooled, eps: float) -> bool:
    spread = after.variance + eps
    shift, change = np.abs(after.mean - before.mean), np.abs(after.variance - before.variance)
    return bool((shift <= STEADY * np.sqrt(spread)).all() and (change <= STEADY * spread).all())


def _stop(_: nn.Module, __: object) -> None:
    raise _Reached


def _told(what: str, batches: KeptBatches) -> _Told:
    return {"description": f"calibrate, {what}", "total": batches.samples, "samples": told_samples}


def _notes(several: Sequence[str], *, steady: bool) -> tuple[str, ...]:
    notes = [
        f"BN layer {name} is called several times in a forward pass; it takes in the values of all calls."
        for name in several
    ]
    if not steady:
        notes.append(
            f"The statistics did not become steady in {SWEEPS} passes: layers depend on themselves in this model, and "
            "what inference sees differs from what is stored."
        )
    return tuple(notes)
