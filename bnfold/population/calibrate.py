"""The recompute pass: a model's BN statistics anew, from data, with everything else as in inference."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from operator import length_hint

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

from bnfold.errors import InputError
from bnfold.population.arguments import call_model, count_samples, has_samples, told_samples
from bnfold.population.channels_last import channels_last
from bnfold.population.estimators import Estimator
from bnfold.population.findings import Findings
from bnfold.population.kept import KeptLayer, Reason
from bnfold.population.kept_batches import KeptBatches
from bnfold.population.layers import running_buffers, split_layers
from bnfold.population.one_pass import by_hooks, by_steps, one_pass
from bnfold.population.passes import layer_passes
from bnfold.population.preserve import preserved
from bnfold.population.processes import Processes, each_sample_once
from bnfold.population.program import NotCaptured, Program, capture
from bnfold.population.report import NO_LAYERS, NOT_RECOMPUTED, CalibrationReport, LayerStatistics
from bnfold.population.rounds import enough
from bnfold.population.spill import MEMORY_BUDGET
from bnfold.population.tally import NO_BATCHES
from bnfold.population.walk import walk
from bnfold.population.write import write_statistics
from bnfold.progress import Progress, silent

ForwardFn = Callable[[nn.Module, object], object]
"""Runs a model on one batch; what it returns is not used."""


def calibrate(
    model: nn.Module,
    batches: Iterable[object],
    *,
    estimator: Estimator = Estimator.SELF_CONSISTENT,
    forward_fn: ForwardFn | None = None,
    include_frozen: bool = False,
    until_relative_error: float | None = None,
    memory_budget: int = MEMORY_BUDGET,
    distributed: bool = True,
    progress: Progress = silent,
) -> CalibrationReport:
    """Set ``running_mean`` and ``running_var`` of the model's BN layers to the population statistics of ``batches``.

    See ``Estimator`` for the formulas. ``SELF_CONSISTENT`` walks over the captured model, every step over all batches,
    and reads each batch once; a model that cannot be captured runs once for every layer, up to that layer, with the
    same result, and the report says why. The other estimators run once, and the layers normalize by their minibatch
    meanwhile, as in training. All else, dropout included, runs as in inference. A layer that is called several times in
    a forward pass takes in all calls. Statistics are float64 whatever the model's type, rounded once to the type of the
    layer's buffers, and come with standard errors; an entry of the leading axis of a layer's input is a sample.

    Nothing else of the model changes, and if anything raises, Ctrl-C included, nothing at all; see ``preserved``.
    Layers that the user froze (see ``is_frozen``), that keep no running statistics, or that no batch reaches stay as
    they are and are named in the report.

    Args:
        model: any module; where its layers are compiled, they run uncompiled meanwhile.
        batches: each a tensor (N, ...), a tuple or list of positional arguments, or a mapping of keyword arguments of
            the model, on the model's device; anything where ``forward_fn`` is given. Batches of any size, those of no
            samples being passed over, but see ``Tally`` for the last one of ``POOLED`` and ``ALGORITHM_2``.
        estimator: ``MOVING_AVERAGE`` reports what is there without a pass.
        forward_fn: runs the model on a batch, for batches that are not the model's arguments, such as
            ``lambda model, batch: model(batch[0])`` for pairs of inputs and labels. Such a model is not captured.
        include_frozen: calibrate frozen layers too.
        until_relative_error: stop reading batches once the relative error of every channel is at most this, see
            ``LayerStatistics.relative_error``. The passes are repeated with more batches until then, so that all that
            is read goes into the result; in all at most about twice the work.
        memory_budget: bytes of memory for what batches leave between two steps of ``SELF_CONSISTENT``; beyond it they
            wait on disk, with the same result.
        distributed: under an initialized ``torch.distributed`` group, merge with the other processes, which have to
            call ``calibrate`` too, each with its own batches; samples that a ``DistributedSampler`` gives twice are
            left out. Off: this process alone.
        progress: told of samples.

    Raises:
        InputError: there are no batches, a batch is not one of the above or not of the size that the estimator needs, a
            layer's input is not finite or its mask does not fit it, a statistic does not fit the buffer's type, or the
            model is uninitialized.
    """
    if isinstance(batches, Tensor | Mapping | str):
        kind = type(batches).__name__
        raise InputError(f"batches: expected an iterable of them, found one {kind}; for a single batch, give [batch].")
    if memory_budget < 0:
        raise InputError(f"memory budget: expected at least 0 bytes, found {memory_budget}.")
    layers, kept = split_layers(model, include_frozen=include_frozen)
    if estimator is Estimator.MOVING_AVERAGE or not layers:
        return _unchanged(layers, kept, estimator)
    processes = Processes.found(distributed_group=distributed)
    settings = _Settings(model, layers, estimator, forward_fn, memory_budget, processes, progress)
    with preserved(model), _uncompiled():
        if until_relative_error is None:
            own = each_sample_once(batches)
            findings = settings.run(filter(has_samples, own), length_hint(own) or None)
        else:
            with KeptBatches(filter(has_samples, each_sample_once(batches)), memory_budget) as read:
                eps = {name: layer.eps for name, layer in layers.items()}
                findings = enough(settings.run_again, read, eps, until_relative_error, processes.gather)
    reached = {name: layer for name, layer in layers.items() if name in findings.estimates}
    kept += tuple(KeptLayer(name, Reason.UNREACHED) for name in layers if name not in reached)
    statistics = tuple(_statistics(name, layer, findings) for name, layer in reached.items())
    write_statistics(reached, statistics)
    return CalibrationReport.of(estimator, findings, statistics, kept, until_relative_error)


@dataclass(frozen=True, eq=False)
class _Settings:
    """What one calibration is made with, and the choice of the way to go."""

    model: nn.Module
    layers: Mapping[str, _BatchNorm]
    estimator: Estimator
    forward_fn: ForwardFn | None
    memory_budget: int
    processes: Processes
    progress: Progress

    def run_again(self, batches: KeptBatches) -> Findings:
        return self.run(iter(batches), len(batches))

    def run(self, batches: Iterator[object], total: int | None) -> Findings:
        first, program, names = self._agreed(batches)
        rest = batches if first is None else chain((first,), batches)
        # The last batch may be smaller: near enough to tell how long it takes.
        samples = None if total is None else total * (count_samples(first) or 1)
        with nullcontext() if program is None else channels_last(program):
            return self._find(program, names, rest, samples)

    def _find(
        self, program: Program | None, names: tuple[str, ...] | str, batches: Iterator[object], total: int | None
    ) -> Findings:
        if self.estimator is not Estimator.SELF_CONSISTENT:
            run = by_hooks(self._call, self.layers) if program is None else by_steps(program, self.layers)
            told = self.progress(batches, description="calibrate", total=total, samples=told_samples)
            return one_pass(run, told, self.estimator, self.processes)
        if isinstance(names, tuple):
            return walk(
                program,
                names,
                self.layers,
                batches,
                total=total,
                memory_budget=self.memory_budget,
                processes=self.processes,
                progress=self.progress,
            )
        with KeptBatches(batches, self.memory_budget) as kept:
            self.processes.gather(kept.read)
            found = layer_passes(self._call, self.layers, kept, processes=self.processes, progress=self.progress)
        notes = (f"The statistics took a pass for every BN layer: {names}.",) if found.estimates else ()
        return Findings(found.estimates, found.samples, found.batches, (*notes, *found.notes))

    def _call(self, batch: object) -> object:
        return (self.forward_fn or call_model)(self.model, batch)

    def _agreed(self, batches: Iterator[object]) -> tuple[object, Program | None, tuple[str, ...] | str]:
        """Return this process's first batch, the captured model, and the layers in the order in which that calls them.

        In place of the layers comes the reason, if a process could not capture the model.

        Raises:
            InputError: no process has a batch.
        """
        here: list[tuple[object, Program | None]] = []

        def look() -> tuple[str, ...] | str | None:
            first = next(batches, None)
            found = None if first is None else self._captured(first)
            here.append((first, found if isinstance(found, Program) else None))
            return tuple(found.batch_norms.values()) if isinstance(found, Program) else found

        answers = [answer for answer in self.processes.gather(look) if answer is not None]
        if not answers:
            raise InputError(NO_BATCHES)
        reasons = [answer for answer in answers if isinstance(answer, str)]
        first, program = here[0]
        return (first, None, reasons[0]) if reasons else (first, program, answers[0])

    def _captured(self, batch: object) -> Program | str:
        """Return the captured model, or the reason why there is none."""
        if self.forward_fn is not None:
            return "the model is run by a forward_fn"
        try:
            program = capture(self.model, self.layers, batch)
        except NotCaptured as refusal:
            return str(refusal)
        return program if program.batch_norms else "torch.fx sees no call of one"


def _uncompiled() -> AbstractContextManager[object]:
    """Let compiled modules run as written, or they would pass by the hooks; where none can exist, import nothing."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _statistics(name: str, layer: _BatchNorm, findings: Findings | None) -> LayerStatistics:
    """Return the statistics of one layer; without findings the new ones are the old ones."""
    mean, variance = (buffer.cpu().double().numpy() for buffer in running_buffers(layer))
    if findings is None:
        return LayerStatistics(name, 0, layer.eps, mean, variance, mean, variance)
    return LayerStatistics.of(name, layer.eps, mean, variance, findings.estimates[name])


def _unchanged(
    layers: Mapping[str, _BatchNorm], kept: tuple[KeptLayer, ...], estimator: Estimator
) -> CalibrationReport:
    note = NOT_RECOMPUTED if layers else NO_LAYERS
    statistics = tuple(_statistics(name, layer, None) for name, layer in layers.items())
    return CalibrationReport(estimator, 0, 0, statistics, kept, (note, *map(str, kept)))
