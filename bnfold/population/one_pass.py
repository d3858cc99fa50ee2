"""``POOLED`` and ``ALGORITHM_2``: one pass in which the layers normalize by their minibatch."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

from bnfold.population.arguments import count_samples
from bnfold.population.estimators import Estimator
from bnfold.population.findings import Findings
from bnfold.population.minibatch import Call, measured_call, minibatch_normalization, normalize_by_minibatch, widen
from bnfold.population.processes import Processes
from bnfold.population.program import Program
from bnfold.population.tally import Tally

RunBatch = Callable[[object], Sequence[Call]]
"""Runs the model on one batch, every BN layer normalizing by it, and returns the layers' calls."""


def one_pass(
    running: AbstractContextManager[RunBatch], batches: Iterable[object], estimator: Estimator, processes: Processes
) -> Findings:
    """Return the statistics over ``batches``, normalized by minibatch.

    Raises:
        InputError: there are no batches, one is unfit for the estimator (see `Tally`), or an input is not finite.
    """

    def tally() -> Tally:
        tally = Tally(estimator)
        with running as run:
            for batch in batches:
                calls = run(batch)
                tally.add(calls, count_samples(batch) or (calls[0].samples if calls else 0))
        _ = tally.estimates
        return tally

    total = Tally.total(processes.gather(tally))
    return Findings(total.estimates, total.samples, total.batches, total.notes)


@contextmanager
def by_hooks(call_model: Callable[[object], object], layers: Mapping[str, _BatchNorm]) -> Generator[RunBatch]:
    """Yield what runs the whole model, whatever it does, and sees the calls of its layers by hooks."""
    with minibatch_normalization(layers) as calls:

        def run(batch: object) -> Sequence[Call]:
            calls.clear()
            call_model(batch)
            return calls

        yield run


@contextmanager
def by_steps(program: Program, layers: Mapping[str, _BatchNorm]) -> Generator[RunBatch]:
    """Yield what runs a captured forward pass up to the input of its last BN layer, whose output no layer needs."""
    widen(layers.values())

    def run(batch: object) -> Sequence[Call]:
        environment = program.begin(batch)
        calls: list[Call] = []
        for node in program.nodes:
            name = program.batch_norms.get(node)
            if name is not None:
                calls.append(measured_call(name, *program.arguments_of(node, environment)))
                normalize_by_minibatch(layers[name], calls[-1].measured)
            if node is not program.nodes[-1]:
                program.run(node, environment)
        return calls

    yield run
