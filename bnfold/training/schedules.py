"""The learning rate at every step: one table from the schedule's name to its formula.

With α the initial rate, d the decay, E the epochs it takes, e the epochs done so far (a fraction within an epoch), and
p in [0, 1) the part of the whole training that is done:

    constant      α
    step          α · d^⌊e/E⌋
    exponential   α · d^(e/E)                 the paper's decay
    cosine        α · (1 + cos(π·p)) / 2      I. Loshchilov, F. Hutter, "SGDR", 2017, without restarts

Warming up, the t-th of w updates (from 1) takes t/w of that (P. Goyal et al., "Accurate, Large Minibatch SGD", 2017).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bnfold.training.hyperparameters import Hyperparameters, Schedule


@dataclass(frozen=True)
class Position:
    """Where a training stands before an update."""

    step: int
    steps_per_epoch: int
    total_steps: int

    @property
    def epochs(self) -> float:
        """Epochs done, e above."""
        return self.step / self.steps_per_epoch

    @property
    def part(self) -> float:
        """Part of the training that is done, p above."""
        return self.step / self.total_steps


Factor = Callable[[Hyperparameters, Position], float]

FACTORS: Mapping[Schedule, Factor] = {
    Schedule.CONSTANT: lambda _, __: 1.0,
    Schedule.STEP: lambda settings, at: settings.decay ** (at.step // (settings.decay_epochs * at.steps_per_epoch)),
    Schedule.EXPONENTIAL: lambda settings, at: settings.decay ** (at.epochs / settings.decay_epochs),
    Schedule.COSINE: lambda _, at: (1 + math.cos(math.pi * at.part)) / 2,
}

# These rates depend on the end of the training: a finished run cannot be extended to what a longer one would be.
NEEDS_END = frozenset({Schedule.COSINE})


def learning_rate(settings: Hyperparameters, at: Position) -> float:
    """Return the rate of the update at ``at``."""
    rate = settings.learning_rate * FACTORS[settings.schedule](settings, at)
    warming = settings.warmup_epochs * at.steps_per_epoch
    return rate * (at.step + 1) / warming if at.step + 1 < warming else rate
