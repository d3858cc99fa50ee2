import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bnfold.verify.tolerance import K, Size, Yardstick

VALUES = arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e300, 1e300))


@given(values=VALUES)
def test_norms_are_ordered_and_finite(values: npt.NDArray[np.float64]) -> None:
    """0 ≤ rms ≤ largest, also where squares would overflow or underflow."""
    size = Size.of(values)
    assert 0 <= size.rms <= size.largest * (1 + 1e-15)
    assert size.largest == np.abs(values).max()
    assert size.rms >= size.largest / np.sqrt(values.size) * (1 - 1e-12)


def test_rms_of_known_values() -> None:
    """√((9 + 16)/2), and nothing of nothing."""
    size = Size.of(np.array([3.0, -4.0]))
    assert (size.rms, size.largest) == (pytest.approx(np.sqrt(12.5)), 4.0)
    assert Size.of(np.zeros(0)) == Size(0.0, 0.0)


def test_pooled_size_is_that_of_all_values() -> None:
    """Pooling sizes of equally many values is measuring them together."""
    values = np.random.default_rng(0).standard_normal((4, 25))
    together = Size.of(values)
    pooled = Size.pooled([Size.of(row) for row in values])
    assert (pooled.rms, pooled.largest) == (pytest.approx(together.rms), together.largest)
    assert Size.pooled([]) == Size(0.0, 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_within_no_limit(bad: float) -> None:
    """NaN and infinity exceed every finite limit, in either norm."""
    limit = Size(1.0, 1.0)
    assert not Size.of(np.array([0.0, bad])).within(limit)
    assert Size(0.5, 1.0).within(limit)
    assert not Size(1.5, 1.0).within(limit)
    assert not Size(0.5, 1.5).within(limit)


def test_excess_is_by_the_worse_norm() -> None:
    """The quotient is that of the norm which is closer to its limit; nothing over nothing is nothing."""
    assert Size(1.0, 9.0) / Size(2.0, 3.0) == 3.0
    assert Size(6.0, 9.0) / Size(2.0, 9.0) == 3.0
    assert Size(0.0, 0.0) / Size(0.0, 0.0) == 0.0
    assert Size(1.0, 1.0) / Size(0.0, 1.0) == np.inf


def test_limit_is_the_formula_of_the_module() -> None:
    """limit = k·(b·u_a/u_b + r·u_s/u_r) + u_a·|y|, by its parts."""
    yardstick = Yardstick(
        baseline=Size(3.0, 5.0),
        u_baseline=2.0**-24,
        rounding=Size(7.0, 11.0),
        u_stored=2.0**-11,
        output=Size(13.0, 17.0),
    )
    tolerance = yardstick.tolerance(arithmetic=2.0**-22, storage=2.0**-10)
    assert tolerance.baseline == Size(12.0, 20.0)
    assert tolerance.floor == Size(14 * K + 13 * 2.0**-22, 22 * K + 17 * 2.0**-22)
    assert tolerance.limit == Size(12 * K + tolerance.floor.rms, 20 * K + tolerance.floor.largest)
