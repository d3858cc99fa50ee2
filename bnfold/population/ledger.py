"""Calls of BN layers, counted into an estimate per layer."""

from collections.abc import Iterable
from typing import Final, Protocol

from bnfold.errors import InputError
from bnfold.population.estimators import Estimator, Pooled, empty_estimate
from bnfold.population.minibatch_sums import MinibatchSums, results_of

_HELD: Final = 1 << 21
"""Figures that wait to be counted together, 16 MiB of them in float64: counting one call by itself costs as much as the
normalization of a small minibatch."""


class Observed(Protocol):
    """One call of a BN layer."""

    @property
    def layer(self) -> str:
        """Name of the layer."""
        ...

    @property
    def count(self) -> int:
        """Number of values per channel that the layer was given."""
        ...

    def sums(self) -> MinibatchSums:
        """Return the sums over the samples."""
        ...


class Ledger:
    """The estimates of some layers, and calls that are not yet counted in."""

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self._estimates: dict[str, Pooled] = {}
        self._waiting: dict[str, list[MinibatchSums]] = {}
        self._held = 0

    def add(self, call: Observed) -> None:
        """Take in one call; one whose mask is nowhere true counts as none.

        Raises:
            InputError: a layer was given values that are not finite; of this call, or of one that had waited.
        """
        if call.count == 0:
            return
        sums = call.sums()
        self._waiting.setdefault(call.layer, []).append(sums)
        self._held += sums.sums.size
        if self._held > _HELD:
            self._count()

    @property
    def estimates(self) -> dict[str, Pooled]:
        """The estimate of every layer that was called, by name.

        Raises:
            InputError: a layer was given values that are not finite.
        """
        self._count()
        return self._estimates

    def merge(self, other: "Ledger") -> None:
        """Take in what another process has counted."""
        self._count()
        for layer, estimate in other.estimates.items():
            self._estimate(layer, estimate.mean.size).merge(estimate)

    def _estimate(self, layer: str, channels: int) -> Pooled:
        return self._estimates.setdefault(layer, empty_estimate(self._estimator, channels))

    def _count(self) -> None:
        waiting, self._waiting, self._held = self._waiting, {}, 0
        for layer, minibatches in waiting.items():
            estimate = self._estimate(layer, minibatches[0].shift.size)
            # Algorithm 2 is an average over minibatches, each by itself.
            apart = self._estimator is Estimator.ALGORITHM_2
            groups: Iterable[list[MinibatchSums]] = ([m] for m in minibatches) if apart else [minibatches]
            for group in groups:
                try:
                    estimate.add(*results_of(group))
                except InputError as error:
                    advice = "look at the data and at the weights before it"
                    raise InputError(f"BN layer {layer}: its input is not finite ({error}); {advice}.") from error
