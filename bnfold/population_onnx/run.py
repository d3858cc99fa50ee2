"""The stages of a graph, run on ONNX Runtime: all batches through one stage, or one batch through all stages."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import numpy as np

from bnfold.errors import InputError
from bnfold.population.estimators import Estimator
from bnfold.population.findings import Findings, require_variance
from bnfold.population.ledger import Ledger
from bnfold.population.minibatch_sums import MinibatchSums
from bnfold.population.spill import States, spill_note
from bnfold.population.tally import Tally
from bnfold.population_onnx.batches import ArrayBatches, pack_arrays
from bnfold.population_onnx.layers import BatchNormLayer
from bnfold.population_onnx.measure import measure
from bnfold.population_onnx.stages import Arrays, Stage, Stages, Statistics, fed
from bnfold.progress import Progress, counting
from bnfold.verify.provider import Provider
from bnfold.verify.runtime import Session, open_session


@dataclass(frozen=True, eq=False)
class _Call:
    layer: str
    measured: MinibatchSums

    @property
    def count(self) -> int:
        """Number of values per channel."""
        return round(self.measured.values.sum())

    def sums(self) -> MinibatchSums:
        """Return the sums over the samples."""
        return self.measured


class Runner:
    """Runs single stages, each in a session that is opened when it is first needed and closed at the end."""

    def __init__(self, stages: Stages, provider: Provider) -> None:
        self._stages = stages
        self._provider = provider
        self._sessions: dict[str, Session] = {}
        self._open = ExitStack()
        self.statistics: dict[int, Statistics] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, stage: Stage, state: Arrays) -> list[tuple[int, _Call]]:
        """Compute what a stage produces, into ``state``, and return the calls of its layer by the node's position.

        Raises:
            InputError: the runtime does not take the graph or the values, or the layer gets no values.
            AttestationError: the same on another provider than the CPU.
        """
        if stage.produces:
            feeds = {name: state[name] for name in stage.reads}
            for at in stage.normalized:
                feeds |= fed(at, self.statistics[at])
            state |= self._session(stage, state).run(feeds)
        calls = [(at, self._measured(stage.layer, state[name])) for at, name in stage.measured.items()]
        for name in stage.drops:
            state.pop(name, None)
        return calls

    def close(self) -> None:
        """Close the sessions that are open; a walk needs none of them again."""
        self._open.close()
        self._sessions.clear()

    def normalize_by(self, layer: BatchNormLayer, at: int, mean: np.ndarray, variance: np.ndarray) -> Statistics:
        """Let the node at a position use these statistics, in the type that they are stored in.

        Raises:
            InputError: they do not fit it.
        """
        self.statistics[at] = rounded(layer, mean, variance)
        return self.statistics[at]

    def _session(self, stage: Stage, state: Arrays) -> Session:
        if stage.layer.name not in self._sessions:
            program = self._stages.program(stage, state, self.statistics)
            session = open_session(program, self._provider, optimized=True)
            self._sessions[stage.layer.name] = self._open.enter_context(session)
        return self._sessions[stage.layer.name]

    def _measured(self, layer: BatchNormLayer, values: np.ndarray) -> _Call:
        try:
            return _Call(layer.name, measure(values))
        except InputError as error:
            raise InputError(f"BN layer {layer.name}: {error}") from error


def rounded(layer: BatchNormLayer, mean: np.ndarray, variance: np.ndarray) -> Statistics:
    """Return statistics in the type that the graph stores them in.

    Raises:
        InputError: they do not fit it.
    """
    with np.errstate(over="ignore"):
        pair = mean.astype(layer.mean.dtype), variance.astype(layer.variance.dtype)
    if not all(np.isfinite(array.astype(np.float64)).all() for array in pair):
        found = f"{layer.mean.dtype}, found {max(np.abs(mean).max(), variance.max()):.3g}"
        raise InputError(f"BN layer {layer.name}: expected statistics that fit {found}.")
    return pair


def walk(stages: Stages, batches: ArrayBatches, provider: Provider, memory_budget: int, progress: Progress) -> Findings:
    """Return self-consistent statistics: every stage over all batches before the next, as `bnfold.population.walk`."""
    estimates = {}
    with (
        Runner(stages, provider) as runner,
        States(pack_arrays, memory_budget) as states,
        counting(progress, description="calibrate", total=batches.samples) as advance,
    ):
        for index, stage in enumerate(stages.stages):
            waiting: Iterable[Arrays] = batches if index == 0 else map(states.take, range(len(batches)))
            ledger = Ledger(Estimator.SELF_CONSISTENT)
            for number, state in enumerate(waiting):
                for _, call in runner.run(stage, state):
                    ledger.add(call)
                states.put(number, state)
                advance(batches.samples / len(batches) / len(stages.stages))
            runner.close()
            estimate = ledger.estimates[stage.layer.name]
            require_variance(stage.layer.name, estimate)
            for at in stage.measured:
                runner.normalize_by(stage.layer, at, estimate.mean, estimate.variance)
            estimates[stage.layer.name] = estimate
        notes = (spill_note(states.spilled_bytes),) if states.spilled_bytes else ()
    return Findings(estimates, batches.samples, len(batches), notes)


def one_pass(
    stages: Stages, batches: ArrayBatches, provider: Provider, estimator: Estimator, progress: Progress
) -> Findings:
    """Return statistics over minibatches by which the layers normalize, as `bnfold.population.one_pass`."""
    tally = Tally(estimator)
    with Runner(stages, provider) as runner:
        for state in progress(batches, description="calibrate", total=batches.samples, samples=_samples):
            samples = _samples(state)
            calls: list[_Call] = []
            for stage in stages.stages:
                for at, call in runner.run(stage, state):
                    mean, variance = _of_minibatch(call.measured)
                    runner.normalize_by(stage.layer, at, mean, variance)
                    calls.append(call)
            tally.add(calls, samples)
    total = Tally.total([tally])
    return Findings(total.estimates, total.samples, total.batches, total.notes)


def _of_minibatch(sums: MinibatchSums) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and biased variance (C,)."""
    count = sums.values.sum()
    offset = sums.sums.sum(axis=0) / count
    return sums.shift + offset, np.maximum(sums.squares.sum(axis=0) / count - offset**2, 0)


def _samples(state: Arrays) -> int:
    return next((len(array) for array in state.values() if array.ndim), 1)


Run = Callable[[ArrayBatches], Findings]
"""One of the two ways over the batches."""
