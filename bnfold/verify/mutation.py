"""The mutation self-test: would this comparison have caught a wrong candidate, on this model and these inputs?"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bnfold.errors import InputError
from bnfold.graph.save import write_beside
from bnfold.progress import Progress
from bnfold.verify.baseline import Baseline, open_baseline
from bnfold.verify.meta_mutant import MetaMutant
from bnfold.verify.mutants import Mutant
from bnfold.verify.oracle import Array
from bnfold.verify.samples import Arrays, as_doubles, batch_of
from bnfold.verify.tolerance import Size

MUTANTS = 8
"""How many are tried where the caller does not say."""


@dataclass(frozen=True)
class Trial:
    """One mutant: the mistake, the node that it is in, and its error over the limit that it should exceed.

    The error is that of the batches that were run: there are no more than it took to exceed the limit. None where the
    mutant failed to run or gave another shape, which is caught as well.
    """

    kind: str
    node: str
    error_over_limit: float | None
    killed: bool


@dataclass(frozen=True)
class Mutation:
    """The outcome of the self-test."""

    trials: tuple[Trial, ...]

    @property
    def killed(self) -> int:
        """Return how many mutants were caught."""
        return sum(trial.killed for trial in self.trials)

    @property
    def kill_rate(self) -> float | None:
        """Return the part that was caught, None where there was nothing to mutate."""
        return self.killed / len(self.trials) if self.trials else None

    @property
    def words(self) -> str:
        """Return the outcome in a sentence."""
        if not self.trials:
            return "No wrong candidates could be made: the graph holds no weights of linear operators."
        missed = ", ".join(f"{trial.kind} in {trial.node}" for trial in self.trials if not trial.killed)
        caught = f"{self.killed} of {len(self.trials)} wrong candidates were caught on these inputs"
        return f"{caught}; not caught: {missed}." if missed else f"{caught}."

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome for JSON."""
        return {
            "total": len(self.trials),
            "killed": self.killed,
            "kill_rate": self.kill_rate,
            "words": self.words,
            "mutants": [asdict(trial) for trial in self.trials],
        }


@dataclass(frozen=True)
class Expected:
    """What a mutant is compared with: the oracle's outputs by batch, and the limit of each output."""

    batches: Sequence[Mapping[str, Array]]
    limits: Mapping[str, Size]

    @property
    def elements(self) -> dict[str, int]:
        """Return how many numbers each output has over all batches."""
        return {name: sum(batch[name].size for batch in self.batches) for name in self.limits}


def try_mutants(
    candidate: ir.Model,
    mutants: Sequence[Mutant],
    inputs: Arrays,
    plan: Sequence[slice],
    expected: Expected,
    progress: Progress,
) -> Mutation:
    """Run every mutant as a baseline is run, batch by batch, until its error exceeds a limit.

    The runtime's own optimizations are off: they change roundings, which no mutant is judged by.
    """
    if not mutants:
        return Mutation(())
    together = MetaMutant(candidate, mutants)
    with tempfile.TemporaryDirectory(prefix="bnfold-mutants-") as name:
        path = Path(name) / "mutants.onnx"
        write_beside(together.model, path, "weights", small=_SMALL)
        with open_baseline(path, together.model) as run:
            trials = [
                _trial(mutant, together.feeds(mutant), run, inputs, plan, expected)
                for mutant in progress(mutants, description="wrong candidates")
            ]
    return Mutation(tuple(trials))


_SMALL = 4096
"""Bytes up to which a weight is written with the graph: what shape inference reads has to be in it."""


def _trial(
    mutant: Mutant, feeds: Arrays, run: Baseline, inputs: Arrays, plan: Sequence[slice], expected: Expected
) -> Trial:
    worst = 0.0
    try:
        for where, right in zip(plan, expected.batches, strict=True):
            worst = max(worst, excess(as_doubles(run({**batch_of(inputs, where), **feeds})), right, expected))
            if worst > 1:
                break
    except InputError:  # it runs, and fails: an index that the mistake has moved out of its table
        return Trial(mutant.mistake.value, mutant.node, None, killed=True)
    return Trial(mutant.mistake.value, mutant.node, worst, killed=worst > 1)


def excess(wrong: Arrays, right: Arrays, expected: Expected) -> float:
    """Return the error of one batch over the limits of all together: all together exceed them by at least as much.

    The largest error of a part is at most that of the whole. Its root mean square over n of N numbers gives at least
    √(n/N) of itself over all of them, whatever the others are. Another shape, NaN and infinity exceed every limit.
    """
    found = 0.0
    for name, limit in expected.limits.items():
        if wrong[name].shape != right[name].shape:
            return float("inf")
        size = Size.of_difference(wrong[name], right[name])
        share = sqrt(right[name].size / max(1, expected.elements[name]))
        ratio = Size(size.rms * share, size.largest) / limit
        found = max(found, ratio if ratio == ratio else float("inf"))
    return found
