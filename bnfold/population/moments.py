"""Moments of a set of values per channel, merged exactly; `bnfold.population.measure` takes them of tensors.

With n values x of a channel::

    count = n        mean = (1/n) Σ x        m2 = Σ (x − mean)²

never through E[x²] − E[x]², which has no digits left once mean/std reaches 1e4 in float32.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bnfold.errors import InputError


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of ``count`` values per channel; ``mean`` and ``m2`` (C,) in float64, read-only.

    ``m2`` is the sum of squared deviations from the mean, in squared units of the values.

    Raises:
        InputError: ``count`` is negative, the shapes are not one (C,), a figure is not finite or ``m2`` is negative.
    """

    count: int
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", frozen_array(self.mean))
        object.__setattr__(self, "m2", frozen_array(self.m2))
        if self.mean.ndim != 1 or self.mean.shape != self.m2.shape:
            raise InputError(f"moments: expected one shape (C,), found mean {self.mean.shape} and m2 {self.m2.shape}.")
        if self.count < 0:
            raise InputError(f"moments: expected a count of at least 0, found {self.count}.")
        sound = np.isfinite(self.mean) & (self.m2 >= 0) & np.isfinite(self.m2)
        if not sound.all():
            channel = int(np.argmin(sound))
            found = f"mean {self.mean[channel]}, sum of squared deviations {self.m2[channel]}"
            raise InputError(f"moments: expected finite values, found {found} in channel {channel}.")

    @classmethod
    def none(cls, channels: int) -> "Moments":
        """Return the moments of no values."""
        return cls(0, np.zeros(channels), np.zeros(channels))

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of values together, by Chan's formula.

        ::

            n = n_a + n_b    δ = mean_b − mean_a    mean = mean_a + δ·n_b/n    m2 = m2_a + m2_b + δ²·n_a·n_b/n

        Associative and commutative up to rounding. Chan, Golub, LeVeque 1983, section 2.

        Raises:
            InputError: the two have different numbers of channels.
        """
        if self.mean.shape != other.mean.shape:
            raise InputError(f"moments: cannot merge {self.mean.size} channels with {other.mean.size}.")
        count = self.count + other.count
        if count == 0:
            return self
        delta, share = other.mean - self.mean, other.count / count
        return Moments(count, self.mean + delta * share, self.m2 + other.m2 + delta**2 * (self.count * share))

    @property
    def variance(self) -> NDArray[np.float64]:
        """The unbiased variance m2/(n−1), of the population that the values are a sample of."""
        if self.count < 2:
            raise InputError(f"variance: expected at least 2 values per channel, found {self.count}.")
        return self.m2 / (self.count - 1)

    @property
    def biased_variance(self) -> NDArray[np.float64]:
        """The biased variance m2/n, by which a minibatch is normalized."""
        if self.count < 1:
            raise InputError("biased variance: expected at least 1 value per channel, found 0.")
        return self.m2 / self.count


def frozen_array(values: ArrayLike) -> NDArray[np.float64]:
    """Return a read-only float64 copy, which a frozen value can hold."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
