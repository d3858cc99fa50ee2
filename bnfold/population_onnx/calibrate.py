"""The statistics of an ONNX graph anew, from arrays."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir

from bnfold.errors import InputError
from bnfold.population.estimators import Estimator
from bnfold.population.findings import Findings
from bnfold.population.kept import KeptLayer
from bnfold.population.report import NO_LAYERS, NOT_RECOMPUTED, CalibrationReport, LayerStatistics
from bnfold.population.rounds import enough
from bnfold.population.spill import MEMORY_BUDGET
from bnfold.population_onnx.batches import ArrayBatches
from bnfold.population_onnx.layers import BatchNormLayer, find_layers, store
from bnfold.population_onnx.run import Run, one_pass, rounded, walk
from bnfold.population_onnx.stages import Stages, Statistics
from bnfold.progress import Progress, silent
from bnfold.verify.provider import Provider
from bnfold.verify.signature import Signature, check_inputs


def calibrate(
    model: ir.Model,
    inputs: Mapping[str, np.ndarray],
    *,
    estimator: Estimator = Estimator.SELF_CONSISTENT,
    batch_size: int = 64,
    until_relative_error: float | None = None,
    memory_budget: int = MEMORY_BUDGET,
    provider: Provider = Provider.CPU,
    progress: Progress = silent,
) -> CalibrationReport:
    """Set mean and variance of the BatchNormalization nodes of ``model`` to the population statistics of ``inputs``.

    The graph is cut into stages, each of which ends at the input of a BN layer and runs on ONNX Runtime; sums are made
    here, in float64. Statistics, standard errors and report are those of `bnfold.population.calibrate`, and what is not
    needed for any BN layer does not run. All or none of the statistics are set.

    Args:
        model: a graph in inference mode. What cannot be set (see ``Reason``) stays and is named in the report.
        inputs: an array (N, ...) for every input of the graph, by name.
        estimator: ``MOVING_AVERAGE`` reports what is there without a pass.
        batch_size: samples at a time; a graph with a fixed batch gets that, and samples beyond a multiple of it are
            left out.
        until_relative_error: stop with the first so many batches that the relative error of every channel is at most
            this, see ``LayerStatistics.relative_error``.
        memory_budget: bytes of memory for what batches leave between two stages of ``SELF_CONSISTENT``.
        provider: where it runs.
        progress: told of the batches.

    Raises:
        InputError: the inputs do not fit the graph, ONNX Runtime refuses it, values are not finite, there are too few
            of them, or statistics do not fit the type that they are stored in.
        AttestationError: the provider cannot be used here.
    """
    if batch_size < 1:
        raise InputError(f"batch size: expected at least 1, found {batch_size}.")
    layers, kept = find_layers(model)
    if estimator is Estimator.MOVING_AVERAGE or not layers:
        return _unchanged(layers, kept, estimator)
    ir.external_data.load_to_model(model)
    stages = Stages(model, layers)
    batches = _batches(model, inputs, batch_size)
    if not stages.stages:
        return _unchanged([], (*kept, *stages.kept), estimator)
    run: Run = (
        partial(walk, stages, provider=provider, memory_budget=memory_budget, progress=progress)
        if estimator is Estimator.SELF_CONSISTENT
        else partial(one_pass, stages, provider=provider, estimator=estimator, progress=progress)
    )
    if until_relative_error is None:
        findings = run(batches)
    else:
        eps = {layer.name: layer.eps for layer in layers}
        findings = enough(run, batches, eps, until_relative_error, lambda compute: [compute()])
    reached = [layer for layer in layers if layer.name in findings.estimates]
    new = [_rounded(layer, findings) for layer in reached]
    for layer, (mean, variance) in zip(reached, new, strict=True):
        store(model, layer, mean, variance)
    statistics = tuple(_statistics(layer, findings) for layer in reached)
    notes = (*_left_out(batches), *findings.notes)
    findings = Findings(findings.estimates, findings.samples, findings.batches, notes)
    return CalibrationReport.of(estimator, findings, statistics, (*kept, *stages.kept), until_relative_error)


def _batches(model: ir.Model, inputs: Mapping[str, np.ndarray], batch_size: int) -> ArrayBatches:
    signature = Signature.of(model)
    batches = ArrayBatches(inputs, batch_size, signature.fixed_batch)
    if len(batches) == 0:
        raise InputError(f"inputs: the graph takes batches of {batches.size} samples, found {batches.left_out}.")
    kept = {name: array[: batches.samples] if array.ndim else array for name, array in inputs.items()}
    check_inputs(signature, kept)
    return batches


def _rounded(layer: BatchNormLayer, findings: Findings) -> Statistics:
    estimate = findings.estimates[layer.name]
    return rounded(layer, estimate.mean, estimate.variance)


def _statistics(layer: BatchNormLayer, findings: Findings) -> LayerStatistics:
    old = layer.mean.astype(np.float64), layer.variance.astype(np.float64)
    return LayerStatistics.of(layer.name, layer.eps, *old, findings.estimates[layer.name])


def _left_out(batches: ArrayBatches) -> tuple[str, ...]:
    if not batches.left_out:
        return ()
    return (f"The graph takes batches of {batches.size}: the last {batches.left_out} samples were left out.",)


def _unchanged(layers: list[BatchNormLayer], kept: tuple[KeptLayer, ...], estimator: Estimator) -> CalibrationReport:
    note = NOT_RECOMPUTED if layers else NO_LAYERS
    statistics = tuple(layer.statistics() for layer in layers)
    return CalibrationReport(estimator, 0, 0, statistics, kept, (note, *map(str, kept)))
