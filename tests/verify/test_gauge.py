"""A gauge is measured where there is one, and not made up where there is none."""

import numpy as np
import pytest

from bnfold.verify.gauge import Gauge, measured_gauge

SHAPE = (2, 3, 5, 4)
SCALE, SHIFT = np.array([0.5, -2.0, 3.0]), np.array([1.0, 0.0, -4.0])


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_scale_and_shift_come_back(axis: int) -> None:
    """stored = s·(v + σ) along any axis but the samples': smallest and largest of both."""
    value = np.moveaxis(np.random.default_rng(0).normal(size=SHAPE), 1, axis)
    along = [1] * 4
    along[axis] = 3
    stored = SCALE.reshape(along) * (value + SHIFT.reshape(along))
    gauge = measured_gauge(value, stored)
    assert gauge is not None
    np.testing.assert_allclose([gauge.scale, gauge.shift], [(-2, 3), (-4, 1)], atol=1e-12)


def test_equal_values_have_the_identity() -> None:
    """Also where too few points would tell."""
    assert measured_gauge(np.ones((1, 3)), np.ones((1, 3))) == Gauge((1.0, 1.0), (0.0, 0.0))


def test_what_is_no_gauge_is_not_taken_for_one() -> None:
    """Another function, another shape, two points, a constant: None."""
    value = np.random.default_rng(0).normal(size=SHAPE)
    assert measured_gauge(value, value**2) is None
    assert measured_gauge(value, value[:1]) is None
    assert measured_gauge(value[:1, :1, :1, :2], 2 * value[:1, :1, :1, :2]) is None
    assert measured_gauge(np.ones(SHAPE), np.full(SHAPE, 2.0)) is None


def test_dead_channels_are_left_out() -> None:
    """A channel that is zero throughout has any scale; the others tell theirs."""
    value = np.random.default_rng(0).normal(size=SHAPE)
    value[:, 1] = 0
    gauge = measured_gauge(value, 3 * value)
    assert gauge is not None
    np.testing.assert_allclose(gauge.scale, (3, 3))
