"""Tests of calibration by several processes, each a process of its own in a gloo group."""

from pathlib import Path

import numpy as np
import pytest

from bnfold.population import Estimator, calibrate
from bnfold.population.processes import each_sample_once
from tests.population.families import FAMILIES, family, full_batch, furthest, pictures
from tests.population.group import BATCH, Figures, everything, in_processes, one_fails

INDEPENDENT = 1e-5
"""What the estimator promises, see `test_self_consistent`."""


@pytest.mark.parametrize("count", [2, 4])
def test_processes_agree_with_one(count: int, tmp_path: Path) -> None:
    """2 and 4 processes find what one does, in each way to go, each sample counted once, the same in all."""
    first, *others = in_processes(count, tmp_path, everything)
    assert isinstance(first, dict), first
    for other in others:
        assert other == first
    for name in (*FAMILIES, "passes", "loader", "uneven", "alone"):
        network = {"passes": "headed", "loader": "residual", "uneven": "plain", "alone": "plain"}.get(name, name)
        assert furthest(_arrays(first, name), full_batch(family(network), pictures())) < INDEPENDENT, name
    for estimator in (Estimator.POOLED, Estimator.ALGORITHM_2):
        report = calibrate(family("plain"), pictures()[: count * BATCH].split(BATCH), estimator=estimator)
        expected = {layer.name: (layer.new_mean, layer.new_variance) for layer in report.layers}
        # The same minibatches, whose moments are merged in the same order.
        assert furthest(_arrays(first, estimator), expected) < 1e-12, estimator


def test_one_process_that_fails_ends_all(tmp_path: Path) -> None:
    """NaN in one process is told by all of them, and none waits forever."""
    healthy, failed = in_processes(2, tmp_path, one_fails)
    assert failed.startswith("BN layer 0.1: its input is not finite")
    assert healthy == f"process 1 of 2 failed: {failed}"


def test_batches_that_repeat_nothing_stay_as_they_are() -> None:
    """Only a loader over a DistributedSampler is made anew."""
    batches = pictures().split(8)
    assert each_sample_once(batches) is batches


def _arrays(figures: Figures, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {layer: (np.array(mean), np.array(variance)) for layer, (mean, variance) in figures[name].items()}
