import numpy as np
import onnx_ir as ir
import pytest

from bnfold.verify.figures import Agreement, figures


def test_figures_of_known_values() -> None:
    """Each figure is its formula: errors (3, −4) against an oracle of (30, 40)."""
    result = figures(np.array([[33.0, 36.0]]), np.array([[30.0, 40.0]]))
    assert result.elements == 2
    assert (result.max_absolute, result.max_relative) == (4.0, 0.1)
    assert (result.rmse, result.relative_rmse) == (pytest.approx(np.sqrt(12.5)), pytest.approx(0.1))
    assert result.cosine == pytest.approx((33 * 30 + 36 * 40) / (np.hypot(33, 36) * 50), rel=1e-14)
    assert result.sqnr_db == pytest.approx(20.0)
    assert result.top1 is None


def test_equal_values_have_no_error() -> None:
    """No error is infinitely far below the signal, also where there is no signal."""
    for oracle in (np.ones((2, 3)), np.zeros((2, 3))):
        result = figures(oracle, oracle)
        assert (result.rmse, result.relative_rmse, result.sqnr_db) == (0.0, 0.0, np.inf)
        assert result.cosine == pytest.approx(1.0)


def test_error_where_nothing_should_be() -> None:
    """Against an output of zeros, every relative error is infinite."""
    result = figures(np.ones((2, 3)), np.zeros((2, 3)))
    assert (result.max_relative, result.relative_rmse, result.sqnr_db, result.cosine) == (np.inf, np.inf, -np.inf, 0.0)


def test_values_that_are_not_finite_show() -> None:
    """NaN in the values makes the figures NaN, without a warning on the way."""
    result = figures(np.array([[1.0, np.nan]]), np.ones((1, 2)), noise=0.1)
    assert np.isnan([result.rmse, result.max_absolute, result.relative_rmse]).all()


def test_top1_counts_clear_decisions_only() -> None:
    """Of three decisions one is kept, one is lost, and one was within the noise to begin with."""
    oracle = np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 1.01]])
    values = np.array([[1.1, 1.9], [1.0, 1.1], [1.1, 1.0]])
    assert figures(values, oracle, noise=0.1).top1 == Agreement(counted=2, agreeing=1, unclear=1)


def test_top1_along_axis_one_of_maps() -> None:
    """A segmentation decides at every position."""
    oracle = np.zeros((2, 3, 4))
    oracle[:, 1] = 1
    assert figures(oracle, oracle, noise=0.5).top1 == Agreement(counted=8, agreeing=8, unclear=0)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (0, 3)])
def test_no_choice_no_decision(shape: tuple[int, ...]) -> None:
    """Without at least two values along axis 1 there is nothing to decide."""
    assert figures(np.ones(shape), np.ones(shape), noise=0.1).top1 is None


def test_units_in_the_last_place() -> None:
    """Steps of the output's own type at the oracle's value: 2⁻²³ at 1 and 1.9, 2⁻²² at 2."""
    oracle = np.array([[1.0, 1.9, 2.0, 0.0]])
    error = np.array([[2.0**-23, 3 * 2.0**-23, 2.0**-22, 0.0]])
    result = figures(oracle + error, oracle, dtype=ir.DataType.FLOAT)
    assert (result.max_ulp, result.rms_ulp) == (3.0, pytest.approx(np.sqrt(11 / 4)))
    assert figures(oracle + 2.0**-10, oracle, dtype=ir.DataType.FLOAT16).max_ulp == pytest.approx(2.0**-10 / 2.0**-24)
    assert figures(oracle, oracle).max_ulp is None
    assert figures(oracle, oracle, dtype=ir.DataType.INT64).rms_ulp is None
