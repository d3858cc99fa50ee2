"""Self-consistent statistics at the price of one forward pass: every step over all batches before the next BN layer.

The steps of the captured forward pass are cut behind each BN layer's input. Stage k runs on every batch, from what
stage k − 1 left of it to the input of BN layer k, which is measured; then layer k gets the statistics of all batches,
and stage k + 1 begins with its normalization. No step runs twice, whatever the number of BN layers, and what no later
step needs is dropped at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple, cast

from torch import fx
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

from bnfold.population.arguments import count_samples
from bnfold.population.estimators import Estimator, Pooled, empty_estimate
from bnfold.population.findings import Findings, require_variance
from bnfold.population.layers import running_buffers
from bnfold.population.ledger import Ledger
from bnfold.population.minibatch import measured_calls
from bnfold.population.portions import portion_size, portions
from bnfold.population.processes import Processes
from bnfold.population.program import Environment, Program
from bnfold.population.spill import States, spill_note
from bnfold.population.tensor_states import own_storage, pack_tensors, storages_of
from bnfold.population.write import normalize_by
from bnfold.progress import Progress, counting


class Stage(NamedTuple):
    """The steps from one BN layer, which comes first, to the input of the next; ``layer`` is the name of the next."""

    nodes: Sequence[fx.Node]
    batch_norm: fx.Node
    layer: str


def stages_of(program: Program) -> list[Stage]:
    """Cut the steps of a forward pass behind the input of every BN layer."""
    stages: list[Stage] = []
    begin = 0
    for end, node in enumerate(program.nodes):
        if node in program.batch_norms:
            stages.append(Stage(program.nodes[begin:end], node, program.batch_norms[node]))
            begin = end
    return stages


def walk(
    program: Program | None,
    names: Sequence[str],
    layers: Mapping[str, _BatchNorm],
    batches: Iterable[object],
    *,
    total: int | None,
    memory_budget: int,
    processes: Processes,
    progress: Progress,
) -> Findings:
    """Return the self-consistent statistics over ``batches``, each of which is read once.

    Args:
        program: the forward pass, of a model in eval mode whose buffers may be replaced; None in a process that has no
            batches.
        names: of the BN layers that the forward pass calls, in its order.
        layers: all BN layers to calibrate, by name.
        batches: of this process.
        total: how many samples they have, where it is known.
        memory_budget: bytes that batches in waiting may hold in memory.
        processes: who else measures.
        progress: told of samples; a stage is its share of each.

    Raises:
        InputError: there are no batches, a layer's input is not finite, a layer has one value per channel, or a
            statistic does not fit its buffer.
    """
    stages = [] if program is None else stages_of(program)
    estimates: dict[str, Pooled] = {}
    kept = frozenset[int]() if program is None else storages_of(program.model)
    with (
        States[object](pack_tensors(kept), memory_budget) as states,
        counting(progress, description="calibrate", total=total) as advance,
    ):
        here = _Here(program, states, lambda samples: advance(samples / len(names)))
        for index, name in enumerate(names):
            waiting = here.begin(batches) if index == 0 else here.resume()
            stage = stages[index] if stages else None
            last = index + 1 == len(names)
            channels = running_buffers(layers[name])[0].numel()
            compute = partial(here.measure, stage, waiting, channels, last=last)
            estimates[name] = _merged(name, processes.gather(compute))
            normalize_by(name, layers[name], estimates[name].mean, estimates[name].variance)
        samples, batch_count = processes.total((here.samples, here.batches))
        spilled = states.spilled_bytes
    return Findings(estimates, samples, batch_count, (spill_note(spilled),) if spilled else ())


def _merged(name: str, parts: Sequence[Pooled]) -> Pooled:
    estimate, *others = parts
    for other in others:
        estimate.merge(other)
    require_variance(name, estimate)
    return estimate


class _Here:
    """The part of a walk that is this process's own: its batches, and how far they have come."""

    def __init__(self, program: Program | None, states: States[object], advance: Callable[[int], None]) -> None:
        self._program = program
        self._states = states
        self._advance = advance
        self._portions = 0
        self._without_tensors = 0
        self.batches = 0
        self.samples = 0

    def measure(
        self, stage: Stage | None, waiting: Iterator[tuple[int, Environment]], channels: int, *, last: bool
    ) -> Pooled:
        """Run a stage on every batch and return the moments of the BN layer's input, of this process alone.

        A portion is measured about 0 where the one before it was near 0. Should its own mean μ be far from there after
        all, the two together have a variance of μ²/12 at least, since their means differ: 3 bits are lost at most.
        """
        ledger = Ledger(Estimator.SELF_CONSISTENT)
        about_zero = False
        for index, environment in waiting:
            assert stage is not None, "a process with batches has the forward pass"
            assert self._program is not None
            for node in stage.nodes:
                self._program.run(node, environment)
            arguments = self._program.arguments_of(stage.batch_norm, environment)
            (call,) = measured_calls(stage.layer, *arguments, about_zero=about_zero)
            ledger.add(call)
            about_zero = call.measured.is_near_zero()
            if self._without_tensors:
                self.samples += self._without_tensors * call.samples
                self._without_tensors = 0
            if not last:
                self._states.put(index, environment)
            self._advance(call.samples)
        return next(iter(ledger.estimates.values()), empty_estimate(Estimator.SELF_CONSISTENT, channels))

    def begin(self, batches: Iterable[object]) -> Iterator[tuple[int, Environment]]:
        """Yield portions of the batches, numbered, as the forward pass begins with them."""
        environments = self._read(batches)
        first = next(environments, None)
        if first is None:
            return
        assert self._program is not None, "a process with batches has the forward pass"
        size = portion_size(self._program, first)
        every = chain((first,), environments)
        for environment in every if size is None else portions(every, size):
            yield self._portions, environment
            self._portions += 1

    def _read(self, batches: Iterable[object]) -> Iterator[Environment]:
        for batch in batches:
            assert self._program is not None, "a process with batches has the forward pass"
            samples = count_samples(batch)
            self.batches += 1
            self.samples += samples or 0
            # Such a batch has as many samples as its first layer is given.
            self._without_tensors += samples is None
            yield self._program.begin(own_storage(batch))

    def resume(self) -> Iterator[tuple[int, Environment]]:
        """Yield every portion with its number, as the stage before left it."""
        for index in range(self._portions):
            yield index, cast("Environment", self._states.take(index))
