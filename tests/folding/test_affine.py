"""The affine map of Batch Normalization at inference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bnfold.folding.affine import Affine

numbers = arrays(np.float64, 3, elements=st.floats(-100, 100))
positive = arrays(np.float64, 3, elements=st.floats(0, 100))


@given(numbers, numbers, numbers, numbers, positive, st.sampled_from([1e-5, 0.25]))
def test_the_map_is_the_normalization(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float
) -> None:
    """a·x + b is γ·(x − E)/√(Var + ε) + β."""
    affine = Affine.of_batch_norm(gamma, beta, mean, variance, epsilon)
    expected = gamma * (x - mean) / np.sqrt(variance + epsilon) + beta
    # Two products of at most 100 · 100/√ε, each rounded a few times to 2⁻⁵³.
    tolerance = 8 * 2.0**-53 * (1e4 / np.sqrt(epsilon) + 100)
    assert np.abs(affine.scale * x + affine.offset - expected).max() <= tolerance


def test_the_numbers_of_one_channel() -> None:
    """γ = 3, β = 5, E = 7, Var = 3.75, ε = 0.25: a = 1.5, b = −5.5."""
    one = [np.array([number]) for number in (3.0, 5.0, 7.0, 3.75)]
    affine = Affine.of_batch_norm(*one, epsilon=0.25)
    assert (affine.scale.tolist(), affine.offset.tolist()) == ([1.5], [-5.5])


def test_parts_of_different_shape() -> None:
    """Broadcasting is the caller's: a and b of different shape are an error that prints both."""
    with pytest.raises(ValueError, match=r"\(3,\) != \(3, 1\)"):
        Affine(np.ones(3), np.ones((3, 1)))
