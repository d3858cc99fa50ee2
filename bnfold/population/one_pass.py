"""``POOLED`` and ``ALGORITHM_2``: one pass in which the layers normalize by their minibatch."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import NamedTuple

from torch import fx
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

from bnfold.population.arguments import count_samples
from bnfold.population.estimators import Estimator
from bnfold.population.findings import Findings
from bnfold.population.measure import Measured
from bnfold.population.minibatch import (
    Call,
    measured_calls,
    minibatch_normalization,
    normalize_by_minibatch,
    normalized_side_by_side,
    widen,
)
from bnfold.population.portions import portion_size, side_by_side
from bnfold.population.processes import Processes
from bnfold.population.program import Environment, Program
from bnfold.population.tally import Tally


class Minibatch(NamedTuple):
    """What a forward pass on one minibatch showed: the calls of the layers, and how many samples it has."""

    calls: Sequence[Call]
    samples: int


RunBatches = Callable[[Iterable[object]], Iterator[Minibatch]]
"""Runs the model on batches, every BN layer normalizing by each of them."""


def one_pass(
    running: AbstractContextManager[RunBatches], batches: Iterable[object], estimator: Estimator, processes: Processes
) -> Findings:
    """Return the statistics over ``batches``, normalized by minibatch.

    Raises:
        InputError: there are no batches, one is unfit for the estimator (see `Tally`), or an input is not finite.
    """

    def tally() -> Tally:
        tally = Tally(estimator)
        with running as run:
            for minibatch in run(batches):
                tally.add(*minibatch)
        _ = tally.estimates
        return tally

    total = Tally.total(processes.gather(tally))
    return Findings(total.estimates, total.samples, total.batches, total.notes)


@contextmanager
def by_hooks(call_model: Callable[[object], object], layers: Mapping[str, _BatchNorm]) -> Generator[RunBatches]:
    """Yield what runs the whole model, whatever it does, and sees the calls of its layers by hooks."""
    with minibatch_normalization(layers) as calls:

        def run(batches: Iterable[object]) -> Iterator[Minibatch]:
            for batch in batches:
                calls.clear()
                call_model(batch)
                yield Minibatch(calls, count_samples(batch) or (calls[0].samples if calls else 0))

        yield run


@contextmanager
def by_steps(program: Program, layers: Mapping[str, _BatchNorm]) -> Generator[RunBatches]:
    """Yield what runs a captured forward pass up to the input of its last BN layer, whose output no layer needs.

    Small minibatches run side by side where every other step treats samples apart.
    """
    widen(layers.values())

    def run(batches: Iterable[object]) -> Iterator[Minibatch]:
        sizes: deque[int | None] = deque()

        def begin(batch: object) -> Environment:
            sizes.append(count_samples(batch))
            return program.begin(batch)

        for environment, minibatches in _side_by_side(program, map(begin, batches)):
            calls = _run(program, layers, environment, minibatches)
            for position in range(minibatches):
                own = [of_layer[position] for of_layer in calls]
                yield Minibatch(own, sizes.popleft() or own[0].samples)

    yield run


def _side_by_side(program: Program, environments: Iterator[Environment]) -> Iterator[tuple[Environment, int]]:
    first = next(environments, None)
    if first is None:
        return
    every = chain((first,), environments)
    without_masks = all(len(node.args) == 1 and not node.kwargs for node in program.batch_norms)
    size = portion_size(program, first) if without_masks else None
    yield from ((environment, 1) for environment in every) if size is None else side_by_side(every, size)


def _run(
    program: Program, layers: Mapping[str, _BatchNorm], environment: Environment, minibatches: int
) -> list[list[Call]]:
    """Run the steps and return, for every layer, its call on each of the minibatches in the environment."""
    calls: list[list[Call]] = []
    *steps, last = program.nodes
    for node in steps:
        if node in program.batch_norms:
            calls.append(_measured(program, node, environment, minibatches))
            _normalize(program, node, layers[program.batch_norms[node]], environment, calls[-1][0].measured)
        else:
            program.run(node, environment)
    return [*calls, _measured(program, last, environment, minibatches)]


def _measured(program: Program, node: fx.Node, environment: Environment, minibatches: int) -> list[Call]:
    arguments = program.arguments_of(node, environment)
    return measured_calls(program.batch_norms[node], *arguments, minibatches=minibatches)


def _normalize(
    program: Program, node: fx.Node, layer: _BatchNorm, environment: Environment, measured: Measured
) -> None:
    if len(measured.shift) == 1:
        normalize_by_minibatch(layer, measured)
        program.run(node, environment)
    else:
        ((values,), _) = program.arguments_of(node, environment)
        out = values if node in program.overwriting else None
        environment[node] = normalized_side_by_side(layer, values, measured, out=out)
        program.drop_dead(node, environment)
