"""Tests of masked layers: padding counts in no statistic, in any estimator and on either way."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnfold.errors import InputError
from bnfold.nn import BatchNorm1d
from bnfold.population import Estimator, calibrate
from tests.population.networks import EPS, Columns, randomize


class Sequences(nn.Module):
    """Two normalized layers over sequences (N, 3, L), padded to one length; the mask (N, L) goes to both."""

    def __init__(self) -> None:
        super().__init__()
        self.first = BatchNorm1d(3, eps=EPS)
        self.mix = nn.Conv1d(3, 4, 1)
        self.second = BatchNorm1d(4, eps=EPS)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return (N, 4, L), 0 where there is padding."""
        return self.second(self.mix(self.first(values, mask)).tanh(), mask=mask)


def padded() -> dict[str, Tensor]:
    """Return 23 sequences of 1 to 9 positions, NaN behind their ends."""
    generator = torch.Generator().manual_seed(4)
    values = torch.randn(23, 3, 9, generator=generator, dtype=torch.float64) + 2
    lengths = torch.randint(1, 10, (23,), generator=generator)
    mask = torch.arange(9) < lengths[:, None]
    return {"values": values.masked_fill(~mask[:, None], torch.nan), "mask": mask}


def model() -> Sequences:
    """Return the network in float64 with random parameters."""
    made = Sequences()
    randomize(made, seed=3)
    return made.double()


def expected() -> list[tuple[Columns, Columns]]:
    """Return mean and unbiased variance of both layers' inputs over all positions that are no padding."""
    network, batch = model(), padded()
    inside = batch["values"].movedim(1, -1)[batch["mask"]]
    mean, variance = inside.mean(0), inside.var(0)
    norm = network.first
    with torch.no_grad():
        hidden = norm.weight * (inside - mean) / (variance + EPS).sqrt() + norm.bias
        seen = network.mix(hidden.t()[None])[0].t().tanh()
    return [(x.mean(0).numpy(), x.var(0).numpy()) for x in (inside, seen)]


@pytest.mark.parametrize("size", [1, 5, 23])
@pytest.mark.parametrize("captured", [True, False])
def test_padding_counts_nowhere(size: int, *, captured: bool) -> None:
    """Batches as dicts, of any size, walked or in passes: the moments of the positions inside."""
    batches = [
        dict(zip(padded(), parts, strict=True))
        for parts in zip(*(v.split(size) for v in padded().values()), strict=True)
    ]
    network = model()
    report = calibrate(network, batches, forward_fn=None if captured else lambda m, b: m(**b))  # pyright: ignore[reportCallIssue]  # a dict
    for layer, (mean, variance) in zip(report.layers, expected(), strict=True):
        assert layer.count == int(padded()["mask"].sum())
        np.testing.assert_allclose(layer.new_mean, mean, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(layer.new_variance, variance, rtol=1e-10)
    assert report.samples == 23
    assert any("pass for every" in note for note in report.notes) != captured


def test_standard_errors_count_sequences() -> None:
    """Of sequences of different length: Cochran's ratio estimate, written out for the lowest layer."""
    batch = padded()
    layer = calibrate(model(), [batch]).layers[0]
    counts = batch["mask"].sum(1).double()
    sums = (batch["values"].nan_to_num() - torch.from_numpy(layer.new_mean.copy())[None, :, None]) * batch["mask"][
        :, None
    ]
    error = (23 / 22 * sums.sum(2).square().sum(0)).sqrt() / counts.sum()
    np.testing.assert_allclose(layer.mean_error, error, rtol=1e-10)  # type: ignore[arg-type]


@pytest.mark.parametrize("estimator", [Estimator.POOLED, Estimator.ALGORITHM_2])
def test_minibatches_are_normalized_without_padding(estimator: Estimator) -> None:
    """One batch of everything: the lowest layer's statistics are those of the positions inside."""
    layer = calibrate(model(), [padded()], estimator=estimator).layers[0]
    np.testing.assert_allclose(layer.new_mean, expected()[0][0], rtol=1e-10)
    np.testing.assert_allclose(layer.new_variance, expected()[0][1], rtol=1e-10)


def test_a_mask_without_anything_inside_is_refused() -> None:
    """There is nothing to measure."""
    batch = padded()
    nothing = {**batch, "mask": torch.zeros_like(batch["mask"])}
    with pytest.raises(
        InputError, match="BN layer first: no value, under masks that are nowhere true, has no variance"
    ):
        calibrate(model(), [nothing])
    with pytest.raises(InputError, match="batch 1: its mask is nowhere true at BN layer first"):
        calibrate(model(), [nothing, batch], estimator=Estimator.POOLED)


@pytest.mark.parametrize("captured", [True, False])
def test_a_batch_of_padding_counts_as_nothing(*, captured: bool) -> None:
    """Among others it changes no statistic, walked or in passes."""
    batch = padded()
    nothing = {**batch, "mask": torch.zeros_like(batch["mask"])}
    report = calibrate(model(), [nothing, batch, nothing], forward_fn=None if captured else lambda m, b: m(**b))  # pyright: ignore[reportCallIssue]  # a dict
    for layer, (mean, variance) in zip(report.layers, expected(), strict=True):
        np.testing.assert_allclose(layer.new_mean, mean, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(layer.new_variance, variance, rtol=1e-10)


@pytest.mark.parametrize("estimator", [Estimator.POOLED, Estimator.SELF_CONSISTENT])
@pytest.mark.parametrize(
    ("mask", "found"),
    [(torch.ones(4, 8, dtype=torch.bool), r"torch\.bool \(4, 8\)"), (torch.ones(4, 9), r"torch\.float32 \(4, 9\)")],
)
def test_masks_that_do_not_fit_are_refused(mask: Tensor, found: str, estimator: Estimator) -> None:
    """Another shape or type than booleans for every position: one line that names the layer."""
    batch = {"values": padded()["values"][:4], "mask": mask}
    with pytest.raises(InputError, match=rf"BN layer first: expected a mask of torch\.bool \(4, 9\), .* found {found}"):
        calibrate(model(), [batch], estimator=estimator)
