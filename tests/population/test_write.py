"""Tests of ``bnfold.population.write``: rounded once, all or none."""

import numpy as np
import pytest
import torch
from torch import nn

from bnfold.errors import InputError
from bnfold.population.layers import running_buffers
from bnfold.population.report import LayerStatistics
from bnfold.population.write import write_statistics


def statistics(name: str, mean: float, variance: float) -> LayerStatistics:
    """Return new statistics of two equal channels."""
    old, new = np.zeros(2), np.ones(2)
    return LayerStatistics(name, 2, 1e-5, old, old, mean * new, variance * new)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_statistics_are_rounded_once_into_the_same_tensors(dtype: torch.dtype) -> None:
    """The buffers stay the tensors that they were, and hold the float64 values rounded to their type."""
    layer = nn.BatchNorm1d(2).to(dtype)
    mean, variance = running_buffers(layer)
    write_statistics({"bn": layer}, [statistics("bn", 1 / 3, 2 / 7)])
    assert layer.running_mean is mean
    assert layer.running_var is variance
    assert torch.equal(mean, torch.full((2,), 1 / 3, dtype=torch.float64).to(dtype))
    assert torch.equal(variance, torch.full((2,), 2 / 7, dtype=torch.float64).to(dtype))


def test_what_does_not_fit_is_refused_before_anything_is_written() -> None:
    """A variance beyond float16 names its layer, and the layer before it keeps its statistics."""
    layers = {"first": nn.BatchNorm1d(2).half(), "second": nn.BatchNorm1d(2).half()}
    with pytest.raises(InputError, match=r"BN layer second: .* torch\.float16 buffers, found 7e\+04; .* float32"):
        write_statistics(layers, [statistics("first", 3.0, 3.0), statistics("second", 3.0, 7e4)])
    for layer in layers.values():
        assert torch.equal(running_buffers(layer)[1], torch.ones(2).half())


def test_a_failure_halfway_takes_everything_back() -> None:
    """If a buffer cannot be written to, those written before get their old values again."""
    layers = {"first": nn.BatchNorm1d(2), "second": nn.BatchNorm1d(2)}
    with torch.inference_mode():
        layers["second"].running_mean = torch.zeros(2)
    with pytest.raises(RuntimeError, match="inference tensor"):
        write_statistics(layers, [statistics("first", 3.0, 3.0), statistics("second", 3.0, 3.0)])
    assert torch.equal(running_buffers(layers["first"])[0], torch.zeros(2))
