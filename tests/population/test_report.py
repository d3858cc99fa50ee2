"""Tests of ``bnfold.population.report``: the summary figures, by hand."""

import json

import numpy as np
import pytest

from bnfold.population.estimators import Estimator
from bnfold.population.kept import KeptLayer, Reason
from bnfold.population.report import CalibrationReport, LayerStatistics


def layer(old_mean: list[float], old_variance: list[float], eps: float = 0.25) -> LayerStatistics:
    """Return statistics whose new means are 1 and 4, new variances 3.75 and 0."""
    old = np.array(old_mean), np.array(old_variance)
    return LayerStatistics("bn", 12, eps, *old, np.array([1.0, 4.0]), np.array([3.75, 0.0]))


def test_the_shift_is_the_largest_in_units_of_the_layer_s_denominator() -> None:
    """|1 − 0|/√(3.75 + 0.25) = 0.5 and |4 − 3|/√(0 + 0.25) = 2: a dead channel counts by ε."""
    assert layer([0.0, 3.0], [1.0, 1.0]).mean_shift == pytest.approx(2.0)


@pytest.mark.parametrize(("old", "ratio"), [([0.75, 0.25], 4.0), ([15.75, 0.25], 4.0), ([3.75, 1.0], 5.0)])
def test_the_ratio_is_the_largest_factor_either_way(old: list[float], ratio: float) -> None:
    """A variance four times too small and one four times too large both count four."""
    assert layer([0.0, 0.0], old).variance_ratio == pytest.approx(ratio)


def test_the_report_is_json_without_the_statistics() -> None:
    """to_dict holds what a machine needs, in JSON's own types, and no arrays."""
    kept = (KeptLayer("aux.bn", Reason.UNREACHED),)
    report = CalibrationReport(Estimator.POOLED, 6, 2, (layer([0.0, 3.0], [1.0, 1.0]),), kept, ("a note",))
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False)) == {
        "estimator": "pooled",
        "samples": 6,
        "batches": 2,
        "layers": [
            {
                "name": "bn",
                "count": 12,
                "channels": 2,
                "mean_shift": 2.0,
                "variance_ratio": pytest.approx(5.0),
                "relative_error": None,
            },
        ],
        "kept": [{"name": "aux.bn", "reason": "unreached"}],
        "undersampled": {},
        "notes": ["a note"],
    }


def test_figures_of_broken_old_statistics_are_null() -> None:
    """Where training left NaN or infinity behind there is no figure, and still JSON."""
    summary = layer([float("nan"), 0.0], [float("inf"), 0.0]).to_dict()
    assert (summary["mean_shift"], summary["variance_ratio"]) == (None, None)
    assert layer([1.0, 4.0], [0.0, 0.0], eps=0.0).to_dict()["variance_ratio"] is None


def test_statistics_cannot_be_changed() -> None:
    """The arrays are read-only copies."""
    with pytest.raises(ValueError, match="read-only"):
        layer([0.0, 3.0], [1.0, 1.0]).new_mean[0] = 0.0
