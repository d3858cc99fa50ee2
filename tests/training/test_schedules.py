import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.training.hyperparameters import Hyperparameters, Schedule
from bnfold.training.schedules import FACTORS, Position, learning_rate


def rates(schedule: Schedule, *, epochs: int, per_epoch: int, **options: float) -> list[float]:
    """Return the rate of every step."""
    settings = Hyperparameters(epochs=epochs, schedule=schedule, learning_rate=0.4, **options)  # pyright: ignore[reportArgumentType]  (floats only)
    total = epochs * per_epoch
    return [learning_rate(settings, Position(step, per_epoch, total)) for step in range(total)]


def test_every_schedule_has_a_formula() -> None:
    """The table is complete."""
    assert set(FACTORS) == set(Schedule)


def test_constant_stays() -> None:
    """The constant schedule is the initial rate throughout."""
    assert set(rates(Schedule.CONSTANT, epochs=3, per_epoch=4)) == {0.4}


def test_step_falls_at_whole_periods() -> None:
    """The rate is multiplied by the decay every so many epochs and stays in between."""
    expected = [0.4] * 10 + [0.2] * 10 + [0.1] * 5
    assert rates(Schedule.STEP, epochs=5, per_epoch=5, decay=0.5, decay_epochs=2) == expected


def test_exponential_is_one_factor_a_step() -> None:
    """The ratio of neighbouring rates is d^(1/(E·steps an epoch)), so that after E epochs the rate fell by d."""
    values = rates(Schedule.EXPONENTIAL, epochs=4, per_epoch=3, decay=0.25, decay_epochs=2)
    assert values[0] == 0.4
    assert values[6] == pytest.approx(0.1, rel=1e-15)
    # A few roundings of a relative 2^-53 each.
    assert [later / earlier for earlier, later in pairwise(values)] == pytest.approx([0.25 ** (1 / 6)] * 11, rel=1e-14)


def test_cosine_falls_from_the_rate_to_almost_nothing() -> None:
    """Half of the rate at half of the way, and the last step is not yet zero."""
    values = rates(Schedule.COSINE, epochs=4, per_epoch=5)
    assert values[0] == 0.4
    assert values[10] == pytest.approx(0.2, rel=1e-15)
    assert values[-1] == pytest.approx(0.2 * (1 + math.cos(math.pi * 19 / 20)), rel=1e-15)
    assert 0 < values[-1] < 0.004


@pytest.mark.parametrize("schedule", Schedule)
def test_warming_up_is_a_line_to_the_schedule(schedule: Schedule) -> None:
    """The t-th of w updates has t/w of the rate, from the first, which is not zero, to the w-th, which is the whole."""
    plain = rates(schedule, epochs=4, per_epoch=5)
    warmed = rates(schedule, epochs=4, per_epoch=5, warmup_epochs=1.6)
    # Two roundings of 2⁻⁵³ each.
    assert warmed == pytest.approx([rate * min(1, (step + 1) / 8) for step, rate in enumerate(plain)], rel=2**-51)


@given(
    schedule=st.sampled_from(Schedule),
    epochs=st.integers(1, 9),
    per_epoch=st.integers(1, 9),
    decay=st.floats(0.01, 1),
    decay_epochs=st.floats(0.1, 20),
)
def test_rates_never_rise_and_stay_positive(
    schedule: Schedule, epochs: int, per_epoch: int, decay: float, decay_epochs: float
) -> None:
    """Whatever the settings, the rate begins at the initial one, never rises, and is never zero."""
    values = rates(schedule, epochs=epochs, per_epoch=per_epoch, decay=decay, decay_epochs=decay_epochs)
    assert values[0] == 0.4
    assert min(values) > 0
    assert all(later <= earlier for earlier, later in pairwise(values))
