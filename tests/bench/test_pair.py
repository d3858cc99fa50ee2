import pytest

from bnfold.bench.pair import Difference, Pair, ratios
from bnfold.bench.spread import Spread

QUIET = Spread.of([0.99, 1.0, 1.0, 1.0, 1.01])
NOISY = Spread.of([0.5, 0.7, 1.0, 1.4, 2.0])


def test_a_spread_is_numpys_quartiles() -> None:
    """Range, quartiles and median of five figures, in any order; of one figure, that figure."""
    assert Spread.of([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(1.0, 2.0, 3.0, 4.0, 5.0)
    assert Spread.of([5.0, 1.0, 4.0, 2.0, 3.0]).interquartile == 2.0
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0, 7.0, 7.0)


def test_ratios_are_taken_within_rounds() -> None:
    """A machine that slows down by a hundred between rounds changes no ratio."""
    spread = ratios([2.0, 200.0, 20.0], [1.0, 100.0, 10.0])
    assert (spread.lowest, spread.highest) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("found", "control", "difference"),
    [
        ([0.79, 0.80, 0.80, 0.80, 0.81], QUIET, Difference.FASTER),
        ([1.19, 1.20, 1.20, 1.20, 1.21], QUIET, Difference.SLOWER),
        # Half of the rounds lie on both sides of 1.
        ([0.70, 0.90, 0.95, 1.10, 1.30], QUIET, Difference.UNCLEAR),
        # Always faster, but a model differs from itself by more.
        ([0.79, 0.80, 0.80, 0.80, 0.81], NOISY, Difference.UNCLEAR),
    ],
)
def test_what_noise_hides_is_not_claimed(found: list[float], control: Spread, difference: Difference) -> None:
    """A model is faster or slower only where the rounds agree and the model beside itself is steadier than that."""
    pair = Pair("new", "old", Spread.of(found), control)
    assert pair.difference is difference
    assert ("too noisy" in pair.words) == (difference is Difference.UNCLEAR)
    assert pair.words.startswith("new ")
    assert "old" in pair.words
