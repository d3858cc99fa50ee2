"""Estimators of the population statistics: from the moments of minibatches to one mean and variance per channel."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bnfold.errors import InputError
from bnfold.population.moments import Moments


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
    """

    MOVING_AVERAGE = "moving-average"
    ALGORITHM_2 = "algorithm-2"
    POOLED = "pooled"


class Estimate(Protocol):
    """An estimate in the making: one per BN layer, fed with the moments of one minibatch after the other."""

    @property
    def count(self) -> int:
        """Number of values per channel seen so far."""
        ...

    @property
    def mean(self) -> NDArray[np.float64]:
        """Population mean (C,)."""
        ...

    @property
    def variance(self) -> NDArray[np.float64]:
        """Population variance (C,), unbiased."""
        ...

    def add(self, minibatch: Moments) -> None:
        """Take one more minibatch in."""
        ...


@dataclass
class Pooled:
    """``POOLED``: ``mean`` and ``m2/(n−1)`` of all values together."""

    moments: Moments

    @classmethod
    def empty(cls, channels: int) -> "Pooled":
        """Return the estimate before the first minibatch."""
        return cls(Moments(0, np.zeros(channels), np.zeros(channels)))

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

    def add(self, minibatch: Moments) -> None:
        """Take one more minibatch in, weighted by its count."""
        self.moments = self.moments.merge(minibatch)


@dataclass
class Algorithm2:
    """``ALGORITHM_2``: the averages of μ_B and of m/(m−1)·σ²_B over the minibatches, each with the same weight."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    count: int = field(default=0)
    minibatches: int = field(default=0)

    @classmethod
    def empty(cls, channels: int) -> "Algorithm2":
        """Return the estimate before the first minibatch."""
        return cls(np.zeros(channels), np.zeros(channels))

    def add(self, minibatch: Moments) -> None:
        """Take one more minibatch in; that its size is that of the others is for the caller to see to."""
        self.minibatches += 1
        self.count += minibatch.count
        self.mean = self.mean + (minibatch.mean - self.mean) / self.minibatches
        self.variance = self.variance + (minibatch.variance - self.variance) / self.minibatches


_EMPTY: Final = {Estimator.POOLED: Pooled.empty, Estimator.ALGORITHM_2: Algorithm2.empty}


def empty_estimate(estimator: Estimator, channels: int) -> Estimate:
    """Return the estimate of ``channels`` channels before the first minibatch.

    Raises:
        InputError: the estimator takes in no minibatches (``MOVING_AVERAGE``).
    """
    if estimator not in _EMPTY:
        raise InputError(f"estimator: expected {' or '.join(_EMPTY)}, found {estimator}, which recomputes nothing.")
    return _EMPTY[estimator](channels)
