"""Tests of ``bnfold.population.histograms`` and of the picture that shows them."""

from pathlib import Path

import numpy as np
import pytest

from bnfold.population.histograms import BINS, means, variances
from bnfold.population.picture import draw
from bnfold.population.report import LayerStatistics


def layer(old_variance: list[float], new_variance: list[float]) -> LayerStatistics:
    """Return a layer whose means are 0, 1, 2, … before, and one more after."""
    old, new = np.arange(len(old_variance), dtype=float), np.arange(len(new_variance), dtype=float) + 1
    return LayerStatistics("bn", 9, 0.1, old, np.array(old_variance), new, np.array(new_variance))


def test_channels_lie_in_the_bin_of_their_statistic() -> None:
    """Means in bins of one width, variances in bins of one ratio, every channel once on either side."""
    found = layer([1.0, 10.0, 100.0], [1.0, 1.0, 1000.0])
    by_mean, by_variance = means(found), variances(found)
    np.testing.assert_allclose(np.diff(by_mean.edges), 3 / BINS)
    np.testing.assert_allclose(by_variance.edges[1:] / by_variance.edges[:-1], 1000 ** (1 / BINS))
    np.testing.assert_array_equal(np.flatnonzero(by_mean.moving_average), [0, 8, 16])
    np.testing.assert_array_equal(np.flatnonzero(by_mean.population), [8, 16, 23])
    np.testing.assert_array_equal(by_variance.population[[0, -1]], [2, 1])
    assert by_variance.moving_average.sum() == by_variance.population.sum() == 3


def test_dead_and_broken_channels_are_no_harm() -> None:
    """A variance of 0 counts in the lowest bin; what is not finite is in none; all alike make one bar."""
    found = variances(layer([0.0, 2.0, np.nan], [4.0, 4.0, 4.0]))
    assert found.moving_average.sum() == 2
    assert found.moving_average[0] == 2
    assert variances(layer([0.0], [0.0])).population.sum() == 1


@pytest.mark.parametrize("values", [[1.0, 2.0], [0.0, 0.0], [3.0, 3.0]])
def test_a_picture_is_drawn_of_whatever_there_is(values: list[float], tmp_path: Path) -> None:
    """A PNG that a reader opens, for usual, dead and equal channels."""
    matplotlib = pytest.importorskip("matplotlib.image")
    draw([layer(values, values), layer([1.0, 2.0], [3.0, 5.0])], tmp_path / "p.png")
    assert matplotlib.imread(tmp_path / "p.png").shape[1] > 500
