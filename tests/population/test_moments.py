"""Tests of ``bnfold.population.moments``: against NumPy in float64 on all values at once."""

import random
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bnfold.errors import InputError
from bnfold.population import Moments
from bnfold.population.measure import measure
from tests.population.networks import Columns, columns, moments_of

SPREAD = np.array([1e-3, 1.0, 50.0])
"""Standard deviation of each channel of the values drawn here."""

EXACT = 32 * 2.0**-52
"""Tolerance in float64: some roundings, each at most 2^-53 of what is rounded, on either side of the comparison."""

SINGLE = 16 * 2.0**-24
"""Tolerance where deviations were rounded to float32, each by at most 2^-24 of itself, and summed in it."""


def drawn(size: tuple[int, ...], ratio: float, seed: int) -> Tensor:
    """Return normal values (N, 3, ...) in float64, of standard deviation SPREAD and mean ``ratio`` times that."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(size, generator=generator, dtype=torch.float64) + ratio
    return values * torch.from_numpy(SPREAD).view(-1, *(1 for _ in size[2:]))


@st.composite
def minibatches(draw: st.DrawFn) -> tuple[list[Tensor], float]:
    """Draw 1 to 6 minibatches (n, 3), and the mean/std, up to 1e5, that they were shifted to."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    ratio = draw(st.sampled_from([0.0, 1.0, -1e3, 1e5]))
    seed = draw(st.integers(0, 2**31))
    return [drawn((size, 3), ratio, seed + i) for i, size in enumerate(sizes)], abs(ratio)


def assert_moments(moments: Moments, values: Columns, tolerance: float) -> None:
    """Hold moments to NumPy's, the mean to ``tolerance`` standard deviations, m2 to as much per value."""
    mean = values.mean(axis=0)
    m2 = np.square(values - mean).sum(axis=0)
    assert moments.count == len(values)
    assert (np.abs(moments.mean - mean) <= tolerance * SPREAD).all(), (moments.mean - mean) / SPREAD
    assert (np.abs(moments.m2 - m2) <= tolerance * SPREAD**2 * len(values)).all(), moments.m2 / m2 - 1


@given(minibatches())
def test_merged_minibatches_have_the_moments_of_all_values(parts: tuple[list[Tensor], float]) -> None:
    """Chan's merge over minibatches of any sizes gives the moments of their concatenation, at mean/std up to 1e5."""
    values, ratio = parts
    merged = reduce(Moments.merge, map(moments_of, values))
    # A deviation from the mean carries the rounding of the mean, which is ratio standard deviations.
    assert_moments(merged, torch.cat(values).numpy(), EXACT * (1 + ratio))


@given(minibatches(), st.randoms(use_true_random=False))
def test_merging_is_commutative_and_associative(parts: tuple[list[Tensor], float], chance: random.Random) -> None:
    """Any order and any bracketing of the merges gives the same moments up to rounding."""
    values, ratio = parts
    moments = [moments_of(part) for part in values]
    chance.shuffle(moments)
    while len(moments) > 1:
        at = chance.randint(0, len(moments) - 2)
        moments[at : at + 2] = [moments[at + 1].merge(moments[at])]
    assert_moments(moments[0], torch.cat(values).numpy(), EXACT * (1 + ratio))


@pytest.mark.parametrize("size", [(13, 3), (5, 3, 7), (5, 3, 7, 2), (2, 3, 4, 5, 6)])
def test_all_axes_but_the_channels_are_reduced(size: tuple[int, ...]) -> None:
    """Inputs of BatchNorm1d, 2d and 3d: one mean and m2 per channel over samples and positions."""
    values = drawn(size, 2.0, seed=3)
    assert_moments(moments_of(values), columns(values), EXACT * 3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_float32_values_keep_their_digits_at_large_means(layout: torch.memory_format) -> None:
    """At mean/std = 1e5 the moments of float32 values, more than fit one step, are right to float32's own rounding."""
    values = drawn((37, 3, 60, 70), 1e5, seed=5).float().contiguous(memory_format=layout)
    assert values.numel() > 1 << 18
    assert_moments(moments_of(values), columns(values), SINGLE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("size", [(37, 3, 60, 70), (41, 3, 11), (50, 3)])
def test_values_near_zero_are_measured_about_it(size: tuple[int, ...], dtype: torch.dtype) -> None:
    """Without a shift the moments are right to float32's rounding of μ² + σ², at a mean of 1.5 standard deviations."""
    values = drawn(size, 1.5, seed=5).to(dtype)
    measured = measure(values, about_zero=True)
    assert not measured.shift.any()
    assert_moments(measured.results()[0], columns(values), SINGLE * (1 + 1.5**2))


@pytest.mark.parametrize(("ratio", "near"), [(0.0, True), (1.8, True), (-1.8, True), (2.2, False), (-1e5, False)])
def test_near_zero_is_within_two_standard_deviations(ratio: float, *, near: bool) -> None:
    """One channel that is further away is enough to say no; so is one of which nothing is known."""
    values = drawn((4000, 3), 0.0, seed=9)
    values[:, 1] += ratio * SPREAD[1]
    assert measure(values).is_near_zero() == measure(values, about_zero=True).is_near_zero() == near
    assert not measure(values.index_fill(1, torch.tensor(2), torch.nan)).is_near_zero()


def test_the_tolerance_rejects_the_difference_of_squares() -> None:
    """The checker notices E[x²] − E[x]², which has no digits left at mean/std = 1e5 even in float64."""
    values = columns(drawn((37, 3, 5), 1e5, seed=6).float())
    naive = len(values) * np.maximum(0, np.square(values).mean(axis=0) - np.square(values.mean(axis=0)))
    with pytest.raises(AssertionError):
        assert_moments(Moments(len(values), values.mean(axis=0), naive), values, SINGLE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_values_are_read_exactly(dtype: torch.dtype) -> None:
    """Half-precision values are widened before anything is computed: only float32's rounding remains."""
    values = drawn((41, 3, 11), 30.0, seed=7).to(dtype)
    # The shift is a float32 mean, and so is off by at most a rounding of 30 standard deviations.
    assert_moments(moments_of(values), columns(values), SINGLE)


def test_a_constant_channel_has_no_variance() -> None:
    """A channel that never changes has m2 zero, not a rounding of either sign."""
    constants = torch.linspace(0.1, 1e4, 500)
    moments = moments_of(constants.expand(1001, 500))
    np.testing.assert_allclose(moments.mean, constants.double(), rtol=EXACT)
    # The shift is off by some roundings, whose squares are what the correction has to take away, in float32.
    assert (moments.variance <= SINGLE * np.square(SINGLE * constants.numpy())).all()


def test_unbiased_and_biased_variance() -> None:
    """The variance divides by n − 1, the biased one by n."""
    moments = moments_of(torch.tensor([[1.0], [2.0], [6.0]]))
    assert moments.mean == pytest.approx(3.0)
    assert moments.variance == pytest.approx(14 / 2)
    assert moments.biased_variance == pytest.approx(14 / 3)


def test_no_values_are_neutral() -> None:
    """Merging with the moments of no values, from either side or both, changes nothing."""
    none, some = Moments(0, np.zeros(3), np.zeros(3)), moments_of(drawn((5, 3), 1.0, seed=8))
    for merged in (none.merge(some), some.merge(none)):
        assert merged.count == some.count
        np.testing.assert_array_equal((merged.mean, merged.m2), (some.mean, some.m2))
    assert none.merge(none).count == 0


def test_moments_cannot_be_changed() -> None:
    """The arrays are copies that nobody can write to."""
    mean = np.zeros(2)
    moments = Moments(1, mean, np.zeros(2))
    mean[0] = 7.0
    assert moments.mean[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        moments.mean[0] = 7.0


@pytest.mark.parametrize(
    ("count", "mean", "m2", "message"),
    [
        (-1, [0.0], [0.0], "expected a count of at least 0, found -1"),
        (1, [0.0, 1.0], [0.0], r"found mean \(2,\) and m2 \(1,\)"),
        (1, [[0.0]], [[0.0]], r"expected one shape \(C,\)"),
        (1, [0.0, np.nan], [0.0, 0.0], "mean nan, .* in channel 1"),
        (1, [0.0], [np.inf], "deviations inf in channel 0"),
        (1, [0.0], [-1e-9], "deviations -1e-09 in channel 0"),
    ],
)
def test_impossible_moments_are_refused(count: int, mean: list[float], m2: list[float], message: str) -> None:
    """Moments check themselves when made, and say which channel is wrong."""
    with pytest.raises(InputError, match=message):
        Moments(count, np.array(mean), np.array(m2))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    """One value that is not finite is found, with its channel."""
    values = drawn((5, 3, 7), 0.0, seed=9)
    values[4, 2, 6] = value
    with pytest.raises(InputError, match="channel 2"):
        moments_of(values)


def test_what_has_no_moments_is_refused() -> None:
    """No values, no channel axis, too few values for a variance, and channels that do not match."""
    with pytest.raises(InputError, match=r"found shape \(0, 3\)"):
        moments_of(torch.zeros(0, 3))
    with pytest.raises(InputError, match=r"found shape \(3,\)"):
        moments_of(torch.zeros(3))
    with pytest.raises(InputError, match="at least 2 values per channel, found 1"):
        _ = moments_of(torch.zeros(1, 3)).variance
    with pytest.raises(InputError, match="at least 1 value per channel, found 0"):
        _ = Moments(0, np.zeros(3), np.zeros(3)).biased_variance
    with pytest.raises(InputError, match="cannot merge 3 channels with 2"):
        moments_of(torch.zeros(1, 3)).merge(moments_of(torch.zeros(1, 2)))
