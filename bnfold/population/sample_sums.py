"""How far samples differ from one another, per channel: what standard errors of population statistics come from.

The values of one sample, the pixels of one image, are not independent of one another; samples are. So the unit is the
sample: with n_i values x of a channel in sample i, a reference r, and ::

    s_i = Σ (x − r)      q_i = Σ (x − r)²      v_i = (n_i, s_i, q_i)      M = Σ_i v_i v_iᵀ      (3, 3)

both statistics are ratios of sums over samples, with r the mean μ and n = Σ n_i::

    μ − r = Σ s_i / n        σ² = Σ q_i / n

and the standard error of a ratio R = Σ a_i / Σ n_i over N samples is, to first order (Cochran 1977, "Sampling
Techniques", section 2.11)::

    SE(R)² = N/(N−1) · Σ (a_i − R·n_i)² / n²

which is a quadratic form of M. Another reference r + δ is a linear map of v_i, so that M follows from M alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnfold.errors import InputError
from bnfold.population.moments import Moments, frozen_array

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SampleSums:
    """Of N = ``samples`` samples the ``reference`` r (C,) and the ``matrix`` M (C, 3, 3), see above; float64."""

    samples: int
    reference: Array
    matrix: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "reference", frozen_array(self.reference))
        object.__setattr__(self, "matrix", frozen_array(self.matrix))
        if self.matrix.shape != (self.reference.size, 3, 3):
            raise InputError(f"sample sums: {self.reference.size} channels, but a matrix of shape {self.matrix.shape}.")

    @classmethod
    def none(cls, channels: int) -> "SampleSums":
        """Return the sums of no samples."""
        return cls(0, np.zeros(channels), np.zeros((channels, 3, 3)))

    @classmethod
    def of(cls, values: Array, reference: Array, sums: Array, squares: Array) -> "SampleSums":
        """Return the sums of N samples, whose n_i are ``values`` (N, 1), and whose s_i and q_i are (N, C)."""
        rows = (np.broadcast_to(values, sums.shape), sums, squares)
        matrix = np.empty((reference.size, 3, 3))
        for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)):
            matrix[:, i, j] = matrix[:, j, i] = np.einsum("nc,nc->c", rows[i], rows[j])
        return cls(len(sums), reference, matrix)

    def about(self, reference: Array) -> "SampleSums":
        """Return the same samples with another reference.

        With δ = reference − r::

            s' = s − δ·n        q' = q − 2δ·s + δ²·n        M' = T M Tᵀ
        """
        delta = reference - self.reference
        transform = np.zeros((delta.size, 3, 3))
        transform[:, [0, 1, 2], [0, 1, 2]] = 1
        transform[:, 1, 0] = -delta
        transform[:, 2, 0] = delta**2
        transform[:, 2, 1] = -2 * delta
        return SampleSums(self.samples, reference, transform @ self.matrix @ transform.transpose(0, 2, 1))

    def merge(self, other: "SampleSums") -> "SampleSums":
        """Return both sets of samples together, about the reference of the first that holds any."""
        if self.samples == 0:
            return other
        moved = other.about(self.reference) if other.samples else other
        return SampleSums(self.samples + other.samples, self.reference, self.matrix + moved.matrix)

    def standard_errors(self, moments: Moments) -> tuple[Array, Array]:
        """Return the standard errors (C,) of mean and variance, in units of the values and of their squares.

        ``moments`` are those of all values of the samples. Infinite for fewer than two samples.
        """
        if self.samples < 2:
            unknown = np.full(self.reference.size, np.inf)
            return unknown, unknown
        matrix = self.about(moments.mean).matrix
        of_mean = matrix[:, 1, 1]
        variance = moments.biased_variance
        of_variance = matrix[:, 2, 2] - 2 * variance * matrix[:, 0, 2] + variance**2 * matrix[:, 0, 0]
        scale = self.samples / (self.samples - 1) / moments.count**2
        # A difference of roundings can be below 0.
        return np.sqrt(scale * np.maximum(of_mean, 0)), np.sqrt(scale * np.maximum(of_variance, 0))
