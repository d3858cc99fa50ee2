"""``until_relative_error``: as many batches as it takes, and no more."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from bnfold.errors import InputError
from bnfold.population.findings import Findings
from bnfold.population.report import relative_error

LEAST_SAMPLES: Final = 32
"""Samples before a standard error is believed: with N it is itself off by about 1/√(2(N − 1)), 13 % with these."""

_GROWTH: Final = (1.25, 4.0)
"""Bounds of the factor from round to round: rounds that get smaller cost in all no more than a few of the last."""


class Readable(Protocol):
    """Batches of which so many have been read."""

    exhausted: bool

    def read(self, count: int) -> None:
        """Read until there are ``count`` batches, or to the end; then ``exhausted`` is true."""
        ...


BatchesT = TypeVar("BatchesT", bound=Readable)
Gather = Callable[[Callable[[], Any]], list[Any]]
"""`bnfold.population.processes.Processes.gather`."""


def enough(
    run: Callable[[BatchesT], Findings], batches: BatchesT, eps: Mapping[str, float], goal: float, gather: Gather
) -> Findings:
    """Return the findings on the first so many batches that no channel's relative error exceeds ``goal``, or on all.

    ``eps`` is the ε of each layer, by name. Round after round measures from the beginning, since new batches change
    what upper layers see. A standard error falls with the square root of the number of samples, which tells how many
    batches the next round should have.

    Raises:
        InputError: ``goal`` is not above 0, or what ``run`` raises.
    """
    if not goal > 0:
        raise InputError(f"until relative error: expected a number above 0, found {goal}.")
    count = 1
    while True:
        gather(lambda: batches.read(count))  # noqa: B023  # called at once
        done = all(gather(lambda: batches.exhausted))
        findings = _tried(run, batches, done=done)
        error = math.inf if findings is None else _worst(findings, eps)
        if findings is not None and (done or (error <= goal and findings.samples >= LEAST_SAMPLES)):
            return findings
        low, high = _GROWTH
        count = math.ceil(count * min(high, max(low, (error / goal) ** 2)))


def _tried(run: Callable[[BatchesT], Findings], batches: BatchesT, *, done: bool) -> Findings | None:
    """Return None where the first few samples are too few for a variance."""
    try:
        return run(batches)
    except InputError:
        if done:
            raise
        return None


def _worst(findings: Findings, eps: Mapping[str, float]) -> float:
    worst = 0.0
    for name, estimate in findings.estimates.items():
        errors = relative_error(estimate.variance, eps[name], *estimate.standard_errors())
        worst = max(worst, float(errors.max()))
    return worst
