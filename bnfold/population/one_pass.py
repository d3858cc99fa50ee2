"""``POOLED`` and ``ALGORITHM_2``: one pass in which the layers normalize by their minibatch."""

from collections.abc import Callable, Iterable, Mapping

from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # torch names its base no other way

from bnfold.population.arguments import count_samples
from bnfold.population.estimators import Estimator
from bnfold.population.findings import Findings
from bnfold.population.minibatch import Call, measured_call, minibatch_normalization
from bnfold.population.processes import Processes
from bnfold.population.program import Program
from bnfold.population.tally import Tally

RunBatch = Callable[[object, list[Call]], object]
"""Runs the model on one batch; calls of BN layers that are not made are added to the list."""


def one_pass(
    run: RunBatch,
    layers: Mapping[str, _BatchNorm],
    batches: Iterable[object],
    estimator: Estimator,
    processes: Processes,
) -> Findings:
    """Return the statistics over ``batches``, normalized by minibatch.

    Raises:
        InputError: there are no batches, one is unfit for the estimator (see `Tally`), or an input is not finite.
    """

    def tally() -> Tally:
        tally = Tally(estimator)
        with minibatch_normalization(layers) as calls:
            for batch in batches:
                calls.clear()
                run(batch, calls)
                tally.add(calls, count_samples(batch) or (calls[0].samples if calls else 0))
        _ = tally.estimates
        return tally

    total = Tally.total(processes.gather(tally))
    return Findings(total.estimates, total.samples, total.batches, total.notes)


def run_to_last_layer(program: Program) -> RunBatch:
    """Return what runs a captured forward pass up to the input of its last BN layer, whose output no layer needs."""
    *steps, last = program.nodes

    def run(batch: object, calls: list[Call]) -> None:
        environment = program.begin(batch)
        for node in steps:
            program.run(node, environment)
        calls.append(measured_call(program.batch_norms[last], *program.arguments_of(last, environment)))

    return run
