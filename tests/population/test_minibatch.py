"""Tests of ``bnfold.population.minibatch``: layers normalize as in training, and nothing of training happens."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnfold.errors import InputError
from bnfold.nn import BatchNorm2d
from bnfold.population.minibatch import minibatch_normalization
from bnfold.population.minibatch_sums import results_of
from bnfold.population.preserve import preserved
from tests.population.networks import EPS, columns, randomize

SHAPES = {
    nn.BatchNorm1d: (13, 4),
    nn.BatchNorm2d: (5, 4, 3, 2),
    nn.BatchNorm3d: (2, 4, 3, 2, 5),
    nn.SyncBatchNorm: (5, 4, 6),
    BatchNorm2d: (5, 4, 3, 2),
}


def values(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    """Return normal values of mean 2."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 2).to(dtype)


def test_large_minibatches_are_normalized_like_small_ones() -> None:
    """A float32 minibatch that is measured in several parts is normalized to float32's rounding."""
    layer = nn.BatchNorm2d(4, eps=EPS)
    inputs = values((3, 4, 150, 149), torch.float32)
    assert inputs.numel() > 1 << 18
    with preserved(layer), minibatch_normalization({"bn": layer}):
        output = layer(inputs)
    expected = nn.BatchNorm2d(4, eps=EPS).double()(inputs.double())
    # Values up to 7 and outputs up to 5: subtracting the mean, scaling and storing round once each.
    torch.testing.assert_close(output.double(), expected, rtol=0, atol=16 * 2.0**-24)


@pytest.mark.parametrize("kind", SHAPES)
def test_the_output_is_that_of_training_mode(kind: type[nn.BatchNorm2d]) -> None:
    """Each call is normalized by the biased variance of its own input, as training does, and its moments are kept."""
    layer = kind(4, eps=EPS, momentum=0.5).double()
    randomize(layer, seed=2)
    trained = copy.deepcopy(layer)
    inputs = values(SHAPES[kind])
    with preserved(layer), minibatch_normalization({"bn": layer}) as calls:
        output = layer(inputs)
    torch.testing.assert_close(output, trained(inputs), rtol=1e-12, atol=1e-12)
    assert [(call.layer, call.samples) for call in calls] == [("bn", SHAPES[kind][0])]
    np.testing.assert_allclose(
        results_of([calls[0].sums()])[0].variance, columns(inputs).var(axis=0, ddof=1), rtol=1e-12
    )


def test_the_layer_counts_and_tracks_nothing() -> None:
    """Running statistics, their counter and the hooks are as before, for a plain and for a cumulative average."""
    layer = BatchNorm2d(4, momentum=None)
    layer(values(SHAPES[nn.BatchNorm2d], torch.float32))
    before = copy.deepcopy(layer.state_dict())
    with preserved(layer), minibatch_normalization({"bn": layer}):
        layer(values(SHAPES[nn.BatchNorm2d], torch.float32) * 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())
    assert not layer._forward_pre_hooks


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_layers_compute_in_float32(dtype: torch.dtype) -> None:
    """A minibatch whose variance overflows float16 is still normalized to the rounding of its type."""
    layer = nn.BatchNorm2d(4, eps=EPS).to(dtype)
    inputs = (values(SHAPES[nn.BatchNorm2d]) * 1000).to(dtype)
    with preserved(layer), minibatch_normalization({"bn": layer}) as calls:
        output = layer(inputs)
    assert output.dtype == dtype
    assert layer.weight.dtype == dtype
    assert results_of([calls[0].sums()])[0].variance.min() > torch.finfo(torch.float16).max
    expected = nn.BatchNorm2d(4, eps=EPS).double()(inputs.double())
    # Outputs are at most 3 in magnitude, and rounded once.
    torch.testing.assert_close(output.double(), expected, rtol=0, atol=3 * torch.finfo(dtype).eps)


def test_the_input_may_come_by_keyword_and_through_a_user_s_hook() -> None:
    """What counts is what the layer is given in the end."""
    layer = nn.BatchNorm1d(4)
    layer.register_forward_pre_hook(lambda _, args, kwargs: (args, {"input": kwargs["input"] * 2}), with_kwargs=True)
    inputs = values((13, 4), torch.float32)
    with preserved(layer), minibatch_normalization({"bn": layer}) as calls:
        layer(input=inputs)
    np.testing.assert_allclose(results_of([calls[0].sums()])[0].mean, 2 * columns(inputs).mean(axis=0), rtol=1e-6)


def test_inputs_without_moments_name_the_layer() -> None:
    """An empty minibatch, and one that is not finite, are refused with the layer's name."""
    layer = nn.BatchNorm1d(4)
    with preserved(layer), minibatch_normalization({"stem.bn": layer}) as calls:
        with pytest.raises(InputError, match=r"BN layer stem\.bn: .* found shape \(0, 4\)"):
            layer(torch.zeros(0, 4))
        layer(torch.full((3, 4), torch.nan))
        with pytest.raises(InputError, match="expected finite values"):
            results_of([calls[0].sums()])[0]
