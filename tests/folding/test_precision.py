"""One rounding into a weight's type, against exact rational arithmetic, and what a type cannot hold."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnfold.folding.precision import misfits
from bnfold.graph.rounding import rounded

TYPES = [ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE]


def exactly_rounded(value: float, dtype: ir.DataType) -> float:
    """Return ``value`` rounded to nearest, ties to even, by rational arithmetic; infinity beyond the range."""
    info = ml_dtypes.finfo(dtype.numpy())
    if value == 0.0:
        return value
    exponent = max(math.frexp(value)[1] - 1, int(info.minexp))
    quantum = Fraction(2) ** (exponent - int(info.nmant))
    result = round(Fraction(value) / quantum) * quantum  # Python rounds a fraction to even
    if abs(result) > Fraction(float(info.max)):
        return math.copysign(math.inf, value)
    return math.copysign(float(result), value)


@st.composite
def near_ties(draw: st.DrawFn, dtype: ir.DataType) -> float:
    """Draw a number in the middle between two of a type, or the least bit off the middle."""
    info = ml_dtypes.finfo(dtype.numpy())
    significand = draw(st.integers(0, 2 ** int(info.nmant))) + draw(st.sampled_from([0.0, 0.25, 0.5, 0.75]))
    exponent = draw(st.integers(int(info.minexp) - 2, int(info.maxexp)))
    middle = math.ldexp(significand, exponent - int(info.nmant)) if exponent < 900 else 1.0
    off = draw(st.sampled_from([middle, math.nextafter(middle, 0.0), math.nextafter(middle, math.inf)]))
    return draw(st.sampled_from([off, -off]))


@pytest.mark.parametrize("dtype", TYPES[:3], ids=str)
def test_ties_and_their_neighbours_are_rounded_once(dtype: ir.DataType) -> None:
    """Exactly between two numbers the even one, the least bit beside it the nearer: no double rounding on the way."""

    @given(st.lists(near_ties(dtype), min_size=1, max_size=20))
    def run(values: list[float]) -> None:
        result = rounded(np.array(values), dtype).astype(np.float64)
        assert result.tolist() == [exactly_rounded(value, dtype) for value in values]

    run()


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_any_number_is_rounded_to_nearest(dtype: ir.DataType) -> None:
    """The same over all doubles: subnormal results, overflow to infinity, signed zeros."""

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def run(value: float) -> None:
        (result,) = rounded(np.array([value]), dtype).astype(np.float64).tolist()
        expected = exactly_rounded(value, dtype)
        assert (result, math.copysign(1, result)) == (expected, math.copysign(1, expected))

    run()


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_the_result_has_the_type(dtype: ir.DataType) -> None:
    """Rounding returns an array of the weight's own type and shape."""
    result = rounded(np.ones((2, 3)), dtype)
    assert ir.DataType.from_numpy(result.dtype) is dtype
    assert result.shape == (2, 3)


def test_a_double_rounding_would_show() -> None:
    """The classical case: through float32 it would be a tie, and go down."""
    value = 1.0 + 2.0**-8 + 2.0**-40
    assert rounded(np.array([value]), ir.DataType.BFLOAT16).astype(np.float64).tolist() == [1.0 + 2.0**-7]


LIMITS = ml_dtypes.finfo(np.float16)
TINY, MAX = float(LIMITS.smallest_normal), float(LIMITS.max)


def mask(before: list[list[float]], after: list[list[float]]) -> list[list[bool]]:
    """Return `misfits` of float16 weights (output channels, inputs)."""
    return misfits(np.array(before), np.array(after), ir.DataType.FLOAT16, (1,)).tolist()


def test_what_fits() -> None:
    """Normal numbers that stay normal, and zeros that stay zeros."""
    assert mask([[1.0, 0.0]], [[MAX, 0.0]]) == [[False, False]]


def test_overflow() -> None:
    """An entry beyond the largest number, and no other."""
    assert mask([[1.0, 1.0]], [[1.01 * MAX, 1.0]]) == [[True, False]]


def test_the_last_number_that_rounds_into_the_range() -> None:
    """Half a unit above the largest number is where infinity begins."""
    unit = 2.0**5
    assert mask([[1.0, 1.0]], [[MAX + 0.49 * unit, MAX + 0.5 * unit]]) == [[False, True]]


def test_flushed_to_zero() -> None:
    """A normal number that becomes 0, also beside large ones."""
    assert mask([[1.0, 1.0]], [[1e-9, 1.0]]) == [[True, False]]


def test_what_was_zero_or_subnormal_may_vanish() -> None:
    """Numbers that the type did not hold well before are nobody's loss."""
    assert mask([[TINY / 4, 1.0]], [[1e-9, 1.0]]) == [[False, False]]


def test_a_whole_sum_that_fades() -> None:
    """Where all weights of an output become subnormal, it loses digits; where one stays normal, it does not."""
    faded = [[1.0, 1.0], [1.0, 1.0]]
    assert mask(faded, [[TINY / 2, TINY / 2], [TINY / 2, 1.0]]) == [[True], [False]] or mask(
        faded, [[TINY / 2, TINY / 2], [TINY / 2, 1.0]]
    ) == [[True, True], [False, False]]
