import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.verify.reports.html.axis import LogAxis, power


def test_an_axis_has_whole_decades() -> None:
    """The smallest and the largest value lie within; what is not positive has no place on it."""
    assert LogAxis.over([3e-7, 2e-4, 0.0, None]) == LogAxis(-7, -3)
    assert LogAxis.over([1e-3]) == LogAxis(-3, -2)
    assert LogAxis.over([0.0, None]) is None


def test_places_are_logarithmic() -> None:
    """Each decade takes the same share."""
    axis = LogAxis(-8, -4)
    assert [axis.place(value) for value in (1e-8, 1e-6, 1e-4, 0.0)] == [0, 50, 100, 0]


@given(st.lists(st.floats(5e-324, 1.7e308), min_size=1))
def test_values_lie_on_their_axis_and_labels_are_few(values: list[float]) -> None:
    """Also over six hundred decades."""
    axis = LogAxis.over(values)
    assert axis is not None
    assert all(-1e-6 <= axis.place(value) <= 100 + 1e-6 for value in values)
    assert 2 <= len(axis.ticks()) <= 8
    assert [axis.place(10.0**tick) for tick in axis.ticks()] == sorted({axis.place(10.0**t) for t in axis.ticks()})


@pytest.mark.parametrize(("exponent", "text"), [(-12, "10⁻¹²"), (0, "10⁰"), (3, "10³")])
def test_powers_are_written_as_people_write_them(exponent: int, text: str) -> None:
    """With superscripts, which need no markup inside a picture."""
    assert power(exponent) == text
