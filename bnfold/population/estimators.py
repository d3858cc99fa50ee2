"""Estimators of the population statistics: from the moments of minibatches to one mean and variance per channel."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bnfold.errors import InputError
from bnfold.population.moments import Moments
from bnfold.population.sample_sums import SampleSums


class Estimator(StrEnum):
    """How a BN layer's population mean and variance are estimated, all variances unbiased.

    ``MOVING_AVERAGE``: what training tracked, nothing is recomputed. With momentum α,
    ``running ← (1 − α)·running + α·minibatch``. Noisiest for large batches early in training.
    Source: Ioffe & Szegedy 2015, section 3.1, last paragraph; ``torch.nn.BatchNorm2d``.

    ``ALGORITHM_2``: ``E[x] = E_B[μ_B]``, ``Var[x] = m/(m−1)·E_B[σ²_B]`` with σ²_B biased, over minibatches of one
    size; m counts the values of a channel in a minibatch, m·p·q for a feature map of p×q (section 3.2). It misses the
    variance between minibatch means. Source: Ioffe & Szegedy 2015, Algorithm 2.

    ``POOLED``: the moments of all values, whatever minibatch they came in, merged by count. Lower layers are normalized
    by their minibatch, one pass for all layers; above the lowest BN the result therefore depends on the batch size.
    Source: Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3 and appendix, there through
    ``E[μ_B² + σ_B²] − E[μ_B]²``, here by Chan's formula.

    ``SELF_CONSISTENT``: the moments of all values, as ``POOLED``, with the layers below normalized by their own
    self-consistent statistics: just what inference feeds the layer with. For layers 1, 2, … in their order ::

        (E[x_k], Var[x_k]) = moments of x_k over all samples
        where, for j < k, y_j = γ_j·(x_j − E[x_j])/√(Var[x_j] + ε_j) + β_j

    Each y_j is a function of its sample alone, so that the result depends neither on the batch size nor on the order
    of the samples nor on how they are divided over processes. Source: Algorithm 2, lines 8 to 12, done layer after
    layer; the fixed point of section 3.1's "frozen" inference network.
    """

    MOVING_AVERAGE = "moving-average"
    ALGORITHM_2 = "algorithm-2"
    POOLED = "pooled"
    SELF_CONSISTENT = "self-consistent"


class Pooled:
    """``POOLED`` and ``SELF_CONSISTENT``: ``mean`` and ``m2/(n−1)`` of all values together."""

    def __init__(self, channels: int) -> None:
        self.moments = Moments.none(channels)
        self.sums = SampleSums.none(channels)

    @property
    def count(self) -> int:
        """Number of values per channel seen so far."""
        return self.moments.count

    @property
    def mean(self) -> NDArray[np.float64]:
        """Population mean (C,)."""
        return self.moments.mean

    @property
    def variance(self) -> NDArray[np.float64]:
        """Population variance (C,), unbiased."""
        return self.moments.variance

    def standard_errors(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the standard errors (C,) of mean and variance, from how far the samples differ; see `SampleSums`."""
        return self.sums.standard_errors(self.moments)

    def add(self, moments: Moments, sums: SampleSums) -> None:
        """Take one more minibatch in, weighted by its count."""
        self.moments = self.moments.merge(moments)
        self.sums = self.sums.merge(sums)

    def merge(self, other: "Pooled") -> None:
        """Take in what another process has found, with the same estimator."""
        self.add(other.moments, other.sums)


class Algorithm2(Pooled):
    """``ALGORITHM_2``: the averages of μ_B and of m/(m−1)·σ²_B over the minibatches, each with the same weight."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.minibatches = 0
        self._mean, self._variance = np.zeros(channels), np.zeros(channels)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Population mean (C,)."""
        return self._mean

    @property
    def variance(self) -> NDArray[np.float64]:
        """Population variance (C,), unbiased."""
        return self._variance

    def add(self, moments: Moments, sums: SampleSums) -> None:
        """Take one more minibatch in; that its size is that of the others is for the caller to see to."""
        super().add(moments, sums)
        self._average(moments.mean, moments.variance, 1)

    def merge(self, other: Pooled) -> None:
        """Take in what another process has found, each minibatch with the same weight."""
        assert isinstance(other, Algorithm2), "one estimator in all processes"
        super().add(other.moments, other.sums)
        self._average(other.mean, other.variance, other.minibatches)

    def _average(self, mean: NDArray[np.float64], variance: NDArray[np.float64], minibatches: int) -> None:
        if minibatches:
            self.minibatches += minibatches
            share = minibatches / self.minibatches
            self._mean = self._mean + (mean - self._mean) * share
            self._variance = self._variance + (variance - self._variance) * share


_EMPTY: Final[dict[Estimator, Callable[[int], Pooled]]] = {
    Estimator.POOLED: Pooled,
    Estimator.SELF_CONSISTENT: Pooled,
    Estimator.ALGORITHM_2: Algorithm2,
}


def empty_estimate(estimator: Estimator, channels: int) -> Pooled:
    """Return the estimate of ``channels`` channels before the first minibatch.

    Raises:
        InputError: the estimator takes in no minibatches (``MOVING_AVERAGE``).
    """
    if estimator not in _EMPTY:
        raise InputError(f"estimator: expected {', '.join(_EMPTY)}, found {estimator}, which recomputes nothing.")
    return _EMPTY[estimator](channels)
