"""Tests of the error bars as a goal: how many samples it takes, and which channels stay undersampled."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnfold.errors import InputError
from bnfold.population import Estimator, calibrate
from bnfold.population.report import relative_error


def values(samples: int) -> Tensor:
    """Return standard-normal values (samples, 3)."""
    return torch.randn(samples, 3, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("estimator", [Estimator.SELF_CONSISTENT, Estimator.POOLED])
@pytest.mark.parametrize("goal", [0.3, 0.1])
def test_reading_stops_when_the_goal_is_met(estimator: Estimator, goal: float) -> None:
    """Of normal values the variance is known to √(2/N): about 2/goal² samples, and not all of 20000."""
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Sigmoid(), nn.BatchNorm1d(3))
    read: list[int] = []
    batches = (read.append(len(batch)) or batch for batch in values(20_000).split(25))
    report = calibrate(model, batches, estimator=estimator, until_relative_error=goal)
    assert report.samples == sum(read)
    worst = max(float(layer.relative_error.max()) for layer in report.layers if layer.relative_error is not None)
    assert worst <= goal
    assert 1 / goal**2 < report.samples < 12 / goal**2
    assert report.undersampled == {}
    same = calibrate(model, values(20_000)[: report.samples].split(25), estimator=estimator)
    for layer, again in zip(report.layers, same.layers, strict=True):
        np.testing.assert_array_equal(layer.new_variance, again.new_variance)


def test_too_few_samples_are_all_used_and_the_channels_named() -> None:
    """A goal that the data cannot meet: everything is read, and every layer's channels are in the report."""
    model = nn.Sequential(nn.BatchNorm1d(3))
    report = calibrate(model, values(60).split(25), until_relative_error=0.01)
    assert report.samples == 60
    assert report.undersampled == {"0": [0, 1, 2]}
    assert report.notes[-1] == ("BN layer 0: 3 of 3 channels are undersampled (relative error above 0.01): 0, 1, 2.")


def test_a_channel_that_is_rarely_on_is_named_without_a_goal() -> None:
    """Nine channels of noise, and one that is on in a single sample of 500."""
    inputs = torch.randn(500, 10, generator=torch.Generator().manual_seed(3))
    inputs[:, 7] = 0
    inputs[123, 7] = 5
    report = calibrate(nn.Sequential(nn.BatchNorm1d(10)), inputs.split(50))
    assert report.undersampled == {"0": [7]}


def test_many_layers_have_few_notes() -> None:
    """Five layers are told of by name; the report has the channels of all."""
    model = nn.Sequential(*(nn.BatchNorm1d(3) for _ in range(8)))
    report = calibrate(model, values(40).split(25), until_relative_error=0.01)
    assert len(report.undersampled) == 8
    assert len([note for note in report.notes if "undersampled" in note]) == 6
    assert report.notes[-1].startswith("3 more BN layers are undersampled too")


def test_a_goal_of_nothing_is_refused() -> None:
    """Zero is never met."""
    with pytest.raises(InputError, match=r"expected a number above 0, found 0\.0"):
        calibrate(nn.Sequential(nn.BatchNorm1d(3)), [values(4)], until_relative_error=0.0)


def test_relative_errors_by_hand() -> None:
    """The larger of SE(mean)/√(variance + ε) and SE(variance)/(variance + ε); 0 for a constant channel without ε."""
    variance = np.array([3.0, 3.0, 0.0])
    found = relative_error(np.array(variance), 1.0, np.array([0.5, 0.1, 0.0]), np.array([0.4, 2.0, 0.0]))
    np.testing.assert_allclose(found, [0.25, 0.5, 0.0])
    assert relative_error(np.zeros(1), 0.0, np.zeros(1), np.zeros(1))[0] == 0
