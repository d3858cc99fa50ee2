"""Tests of ``bnfold.population.estimators``: against the formulas written out in NumPy."""

import numpy as np
import pytest
import torch

from bnfold.errors import InputError
from bnfold.population.estimators import Estimator, empty_estimate
from bnfold.population.measure import measure
from tests.population.networks import columns, moments_of

MINIBATCHES = [
    torch.randn(6, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) + i for i in range(3)
]
ROUNDING = 1e-13


def test_pooled_is_the_moments_of_all_values() -> None:
    """Pooled: mean and unbiased variance of the values of all minibatches together, weighted by count."""
    ragged = [*MINIBATCHES, MINIBATCHES[0][:2] * 3]
    estimate = empty_estimate(Estimator.POOLED, 4)
    for minibatch in ragged:
        estimate.add(*measure(minibatch).results())
    values = columns(torch.cat(ragged))
    assert estimate.count == len(values)
    np.testing.assert_allclose(estimate.mean, values.mean(axis=0), rtol=ROUNDING)
    np.testing.assert_allclose(estimate.variance, values.var(axis=0, ddof=1), rtol=ROUNDING)


def test_algorithm_2_is_the_paper_s_formula() -> None:
    """Algorithm 2: E_B[μ_B] and m/(m−1)·E_B[σ²_B], where m counts positions as well as samples (m·p·q)."""
    estimate = empty_estimate(Estimator.ALGORITHM_2, 4)
    for minibatch in MINIBATCHES:
        estimate.add(*measure(minibatch).results())
    values = [columns(minibatch) for minibatch in MINIBATCHES]
    m = 6 * 5
    assert estimate.count == 3 * m
    np.testing.assert_allclose(estimate.mean, np.mean([batch.mean(axis=0) for batch in values], axis=0), rtol=ROUNDING)
    expected = m / (m - 1) * np.mean([batch.var(axis=0) for batch in values], axis=0)
    np.testing.assert_allclose(estimate.variance, expected, rtol=ROUNDING)


def test_algorithm_2_misses_the_variance_between_minibatches() -> None:
    """Minibatches that differ only in their mean: algorithm-2 sees none of that in the variance, pooled all of it."""
    algorithm_2, pooled = (empty_estimate(estimator, 4) for estimator in (Estimator.ALGORITHM_2, Estimator.POOLED))
    for offset in (0.0, 1e3):
        for estimate in (algorithm_2, pooled):
            estimate.add(*measure(MINIBATCHES[0] + offset).results())
    np.testing.assert_allclose(algorithm_2.mean, pooled.mean, rtol=ROUNDING)
    np.testing.assert_allclose(algorithm_2.variance, moments_of(MINIBATCHES[0]).variance, rtol=1e-9)
    assert (pooled.variance > 0.2 * 1e6).all()


def test_a_moving_average_takes_in_no_minibatches() -> None:
    """The moving average is what training tracked: there is no estimate to begin."""
    with pytest.raises(InputError, match="expected pooled, self-consistent, algorithm-2, found moving-average"):
        empty_estimate(Estimator.MOVING_AVERAGE, 4)


def test_names_of_the_estimators() -> None:
    """The names are what a user types and what reports hold."""
    assert [str(estimator) for estimator in Estimator] == ["moving-average", "algorithm-2", "pooled", "self-consistent"]
