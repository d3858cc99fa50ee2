"""Tests of ``bnfold.population.sample_sums``: against the formulas written out, and against chance."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnfold.errors import InputError
from bnfold.population.measure import measure
from bnfold.population.minibatch_sums import results_of
from bnfold.population.moments import Moments
from bnfold.population.sample_sums import SampleSums


def drawn(samples: int, extent: int, seed: int, offset: float = 0.0) -> torch.Tensor:
    """Return (samples, 3, extent) in float64, samples of different level and contrast."""
    generator = torch.Generator().manual_seed(seed)
    level, contrast = torch.randn(2, samples, 3, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(samples, 3, extent, generator=generator, dtype=torch.float64)
    return noise * contrast + level + offset


def written_out(parts: list[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Return SE(mean) and SE(variance) as Cochran has them, from all values at once."""
    samples = [sample.numpy() for part in parts for sample in part]
    counts = np.array([sample.shape[1] for sample in samples])[:, None]
    everything = np.concatenate(samples, axis=1)
    n, mean, variance = everything.shape[1], everything.mean(axis=1), everything.var(axis=1)
    s = np.array([(sample - mean[:, None]).sum(axis=1) for sample in samples])
    q = np.array([((sample - mean[:, None]) ** 2).sum(axis=1) for sample in samples])
    scale = len(samples) / (len(samples) - 1) / n**2
    return np.sqrt(scale * (s**2).sum(axis=0)), np.sqrt(scale * ((q - variance * counts) ** 2).sum(axis=0))


@given(
    shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 7)), min_size=1, max_size=5),
    offset=st.sampled_from([0.0, -3.0, 1e5]),
    seed=st.integers(0, 2**31),
    together=st.booleans(),
)
def test_merged_minibatches_have_the_errors_of_all_samples(
    shapes: list[tuple[int, int]], offset: float, seed: int, *, together: bool
) -> None:
    """Minibatches of any number and size of samples, counted together or merged one by one, at any mean."""
    parts = [drawn(*shape, seed + index, offset) for index, shape in enumerate(shapes)]
    measured = [measure(part) for part in parts]
    if together:
        moments, sums = results_of([sums for part in measured for sums in part.on_host])
    else:
        moments, sums = Moments.none(3), SampleSums.none(3)
        for part in measured:
            more, others = part.results()
            moments, sums = moments.merge(more), sums.merge(others)
    found = sums.standard_errors(moments)
    if sums.samples < 2:
        assert np.isinf(found).all()
        return
    spread = float(max(part.abs().max() for part in parts) - 0) if offset == 0 else 10.0
    for mine, expected, unit in zip(found, written_out(parts), (spread, spread**2), strict=True):
        # Sums of squares of a few dozen values, each with the rounding of the offset: its square root is left of a
        # variance that is 0, as of two samples that are the same to a rounding.
        assert (np.abs(mine - expected) <= 1e-7 * unit * (1 + abs(offset) * 1e-3)).all(), (mine, expected)


def test_the_errors_are_those_of_repeated_sampling() -> None:
    """Over 400 draws of 60 samples whose values hang together, mean and variance scatter by what each draw told."""
    means, variances, errors = [], [], []
    for seed in range(400):
        moments, sums = measure(drawn(60, 11, seed)).results()
        means.append(moments.mean)
        variances.append(moments.variance)
        errors.append(sums.standard_errors(moments))
    told = np.sqrt(np.square(errors).mean(axis=0))
    # A standard deviation of 400 draws is itself known to 1/√800, 3.5 %: four of these. The variance's error, of values
    # with heavy tails, is told too small by a few percent, as all linearized errors of 60 samples are.
    np.testing.assert_allclose(np.std(means, axis=0), told[0], rtol=0.15)
    np.testing.assert_allclose(np.std(variances, axis=0), told[1], rtol=0.2)
    # Pixels taken for independent would tell an error √11 times too small, which this rejects.
    naive = np.std(means, axis=0) / (np.sqrt(np.mean(variances, axis=0) / (60 * 11)))
    assert (naive > 1.5).all()


def test_figures_that_do_not_belong_together_are_refused() -> None:
    """One matrix a channel."""
    with pytest.raises(InputError, match="2 channels, but a matrix of shape"):
        SampleSums(1, np.zeros(2), np.zeros((3, 3, 3)))
