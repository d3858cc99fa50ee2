"""The best measurement so far: which one it is, and when waiting for a better one has been long enough.

Everything follows from the history, so that nothing about it has to be kept in a checkpoint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bnfold.data.factories import did_you_mean
from bnfold.errors import InputError
from bnfold.training.metrics import Metric
from bnfold.training.record import Measurement

LOSS = "loss"


@dataclass(frozen=True)
class Monitor:
    """The measure that decides.

    Attributes:
        name: ``loss`` or a metric's.
        greater_is_better: which way is up.
        patience: measurements without a better one after which training stops; None for never.
    """

    name: str
    greater_is_better: bool
    patience: int | None = None

    def best(self, history: Sequence[Measurement]) -> int:
        """Return the place of the best measurement, the first of equals."""
        choose: Callable[..., int] = max if self.greater_is_better else min
        return choose(range(len(history)), key=lambda place: self._value(history[place]))

    def gives_up(self, history: Sequence[Measurement]) -> bool:
        """Return whether the last so many measurements brought nothing better."""
        if self.patience is None or not history:
            return False
        return len(history) - 1 - self.best(history) >= self.patience

    def _value(self, measurement: Measurement) -> float:
        return measurement.test_loss if self.name == LOSS else measurement.metrics[self.name]


def make_monitor(name: str | None, patience: int | None, metrics: dict[str, Metric]) -> Monitor:
    """Return the monitor of a measure; None for the first metric, without any the loss.

    Raises:
        InputError: nothing of that name is measured.
    """
    name = name or next(iter(metrics), LOSS)
    if name == LOSS:
        return Monitor(LOSS, greater_is_better=False, patience=patience)
    if name not in metrics:
        names = [LOSS, *metrics]
        raise InputError(f"monitor: {name!r} is not measured{did_you_mean(name, names)}; {', '.join(names)} are.")
    return Monitor(name, metrics[name].greater_is_better, patience)
