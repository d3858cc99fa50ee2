"""The sums over each sample of a minibatch, on the host: the form in which torch's and ONNX's values are counted."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnfold.population.moments import Moments
from bnfold.population.sample_sums import SampleSums

Array = NDArray[np.float64]


class MinibatchSums(NamedTuple):
    """Of a minibatch of N samples: per sample and channel Σ y and Σ y² of y = x − shift, over so many values.

    Attributes:
        values: how many of a channel's values each sample has, (N,).
        shift: (C,), near the mean.
        sums: Σ y, (N, C).
        squares: Σ y², (N, C).
    """

    values: Array
    shift: Array
    sums: Array
    squares: Array


def results_of(minibatches: Sequence[MinibatchSums]) -> tuple[Moments, SampleSums]:
    """Return the moments and the sample sums of several minibatches together.

    All are moved to one reference r, the mean of their shifts: with δ = shift − r and n values in a sample ::

        Σ (x − r) = Σ y + n·δ        Σ (x − r)² = Σ y² + 2δ·Σ y + n·δ²

    Raises:
        InputError: the values were not finite.
    """
    values = np.concatenate([part.values for part in minibatches])[:, np.newaxis]
    shifts = np.stack([part.shift for part in minibatches])
    sums = np.concatenate([part.sums for part in minibatches])
    squares = np.concatenate([part.squares for part in minibatches])
    # What is not finite is refused below, with its channel.
    with np.errstate(over="ignore", invalid="ignore"):
        reference = shifts.mean(axis=0)
        delta = np.repeat(shifts - reference, [len(part.values) for part in minibatches], axis=0)
        squares += delta * (2 * sums + values * delta)
        sums += values * delta
        total, count = sums.sum(axis=0), round(values.sum())
        offset = total / count
        # m2 of a constant channel is a difference of roundings.
        m2 = np.maximum(squares.sum(axis=0) - total * offset, 0)
        return Moments(count, reference + offset, m2), SampleSums.of(values, reference, sums, squares)
